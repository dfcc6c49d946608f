//! Sizes, durations and counts as people type them (`64k`, `20ms`, `3`), and the same ones printed.
//!
//! Sizes are powers of 1,024, counts of 1,000; a bare duration is in seconds. Called by `args` while
//! the command line is read, and by the tables.

use std::time::Duration;

/// Parses a size in bytes: digits, then nothing, `k`, `m` or `g` (1,024 each), then an optional
/// `b` or `ib`, in any case.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let (number, unit) = split_number(text);
    let unit = unit.to_ascii_lowercase();
    let shift = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return Err(format!("`{text}` is not a size: write 64, 16k, 1m or 2g")),
    };
    let number: usize =
        number.parse().map_err(|_| format!("`{text}` is not a size: write 64, 16k, 1m or 2g"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is too large a size"))
}

/// Parses a count: digits, then nothing, `k` (1,000) or `m` (1,000,000).
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text.trim());
    let refuse = || format!("`{text}` is not a count: write 500, 10k or 1m");
    let factor = match unit {
        "" => 1,
        "k" | "K" => 1000,
        "m" | "M" => 1_000_000,
        _ => return Err(refuse()),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    number.checked_mul(factor).ok_or_else(refuse)
}

/// Parses a duration: a number, then `us`, `ms`, `s`, `m` (minutes), `h` or nothing for seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit) = split_number(text);
    let refuse = || format!("`{text}` is not a duration: write 3, 0.5s, 20ms, 500us or 1m");
    let number: f64 = number.parse().map_err(|_| refuse())?;
    let seconds = match unit {
        "" | "s" => number,
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(refuse()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| refuse())
}

/// Prints a size the way `parse_size` reads it: `16k`, `1m`, `100`.
pub(crate) fn format_size(bytes: usize) -> String {
    for (shift, unit) in [(30, 'g'), (20, 'm'), (10, 'k')] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Prints a duration the way `parse_duration` reads it, to a tenth of its unit: `5s`, `0.5s`, `20ms`.
pub(crate) fn format_duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (number, unit) = match seconds {
        0.0 => (0.0, "s"),
        s if s < 0.001 => (s * 1e6, "us"),
        s if s < 0.1 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let text = format!("{number:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// Prints a number with a comma between groups of three digits.
pub(crate) fn format_count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Prints the whole number nearest to `value`, with commas: rates, which are never cut off.
pub(crate) fn format_rounded(value: f64) -> String {
    format_count(value.round() as u64)
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_in_any_spelling() {
        for (text, bytes) in [
            ("0", 0),
            ("64", 64),
            ("16k", 16_384),
            ("16K", 16_384),
            ("1MiB", 1 << 20),
            ("2gb", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused_with_an_example() {
        for text in
            ["", "k", "-1", "1.5k", "16x", "16 k b", "99999999999999999999g", "999999999999g"]
        {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_size("16x").unwrap_err().contains("16k"));
    }

    #[test]
    fn a_bare_duration_is_in_seconds() {
        for (text, ms) in
            [("3", 3000), ("0.5", 500), ("3s", 3000), ("20ms", 20), ("1m", 60_000), ("2000us", 2)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for text in ["", "s", "-1s", "3d", "1e9"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_are_powers_of_1000() {
        for (text, count) in [("7", 7), ("10k", 10_000), ("2m", 2_000_000)] {
            assert_eq!(parse_count(text), Ok(count), "{text}");
        }
        for text in ["", "k", "-1", "1.5k", "3g", "99999999999999999999"] {
            assert!(parse_count(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_printed_duration_reads_back_as_itself() {
        for text in ["0s", "5s", "0.5s", "20ms", "500us", "90s"] {
            assert_eq!(format_duration(parse_duration(text).expect(text)), text);
        }
    }

    #[test]
    fn a_printed_size_reads_back_as_itself() {
        for bytes in [0, 1, 1000, 1023, 1024, 16_384, 1 << 20, 3 << 30] {
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
    }

    #[test]
    fn counts_are_grouped_by_three() {
        assert_eq!(format_count(0), "0");
        assert_eq!(format_count(999), "999");
        assert_eq!(format_count(1000), "1,000");
        assert_eq!(format_count(1_234_567), "1,234,567");
    }

    #[test]
    fn a_rate_is_rounded_and_not_cut_off() {
        assert_eq!(format_rounded(48_008.695), "48,009");
        assert_eq!(format_rounded(0.4), "0");
    }
}
