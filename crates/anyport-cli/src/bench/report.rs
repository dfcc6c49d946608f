//! A measured row, as JSON for programs and as a table for people.
//!
//! The JSON fields are a contract: they are only ever added to. `bench` adds many (`result`), `demo`
//! writes these alone.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::tally::Tally;
use crate::units::{format_count, format_rounded, format_size};

/// One server under one load. A field is null where it was not measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// `port` or `threads`; null when the server is not ours to know.
    pub(crate) model: Option<&'static str>,
    /// What completes the port's operations; null for other models.
    pub(crate) backend: Option<&'static str>,
    pub(crate) conns: usize,
    /// Payload bytes of a message.
    pub(crate) size: usize,
    /// Messages echoed per second.
    pub(crate) msgs_per_s: f64,
    /// Payload echoed per second, one direction, in 1,000,000 bytes.
    pub(crate) mb_per_s: f64,
    /// Microseconds from queueing a message to its last byte back.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
    /// CPU time of the server's process for a message, in microseconds.
    pub(crate) cpu_us_per_msg: Option<f64>,
    /// Resident memory of the server's process for a connection, in 1,024 bytes.
    pub(crate) rss_kib_per_conn: Option<f64>,
    /// Connections that failed, broke or lacked bytes; a server that could not run is one.
    pub(crate) errors: u64,
    /// Echoed bytes that differed from what was sent.
    pub(crate) wrong_bytes: u64,
}

impl Row {
    /// A row with nothing measured yet.
    pub(crate) fn empty(conns: usize, size: usize) -> Self {
        Self {
            model: None,
            backend: None,
            conns,
            size,
            msgs_per_s: 0.0,
            mb_per_s: 0.0,
            p50_us: None,
            p99_us: None,
            p999_us: None,
            cpu_us_per_msg: None,
            rss_kib_per_conn: None,
            errors: 0,
            wrong_bytes: 0,
        }
    }

    /// What the client's side saw.
    pub(crate) fn from_outcome(conns: usize, size: usize, outcome: &Tally) -> Self {
        let per_second = |count: f64| match outcome.measured.as_secs_f64() {
            0.0 => 0.0,
            seconds => rounded(count / seconds),
        };
        let percentile = |quantile: f64| {
            (!outcome.latency.is_empty())
                .then(|| rounded(outcome.latency.value_at_quantile(quantile) as f64 / 1e3))
        };
        Self {
            msgs_per_s: per_second(outcome.messages as f64),
            mb_per_s: per_second(outcome.payload_of(outcome.wire_bytes) / 1e6),
            p50_us: percentile(0.5),
            p99_us: percentile(0.99),
            p999_us: percentile(0.999),
            errors: outcome.error_count(),
            wrong_bytes: outcome.wrong_bytes,
            ..Self::empty(conns, size)
        }
    }

    /// Whether nothing was wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors == 0 && self.wrong_bytes == 0
    }

    /// The cells of a printed row, under `HEADINGS`.
    pub(crate) fn cells(&self) -> Vec<String> {
        let maybe = |value: Option<f64>| value.map_or_else(|| "-".into(), short);
        vec![
            self.model.unwrap_or("-").into(),
            self.backend.unwrap_or("-").into(),
            format_count(self.conns as u64),
            format_size(self.size),
            format_rounded(self.msgs_per_s),
            short(self.mb_per_s),
            maybe(self.p50_us),
            maybe(self.p99_us),
            maybe(self.p999_us),
            maybe(self.cpu_us_per_msg),
            maybe(self.rss_kib_per_conn),
            format_count(self.errors),
            format_count(self.wrong_bytes),
        ]
    }
}

/// What stands above the cells of a row.
pub(crate) const HEADINGS: [&str; 13] = [
    "model",
    "backend",
    "conns",
    "size",
    "msgs/s",
    "MB/s",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "cpu us/msg",
    "KiB/conn",
    "errors",
    "wrong bytes",
];

/// Lines with every column as wide as its widest cell; text to the left, numbers to the right. `-`
/// is a number that nobody knows.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(headings[column].chars().count())
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let is_number: Vec<bool> = (0..headings.len())
        .map(|column| {
            let mut cells = rows.iter().filter_map(|row| row.get(column));
            cells.all(|cell| cell == "-" || cell.starts_with(char::is_numeric))
        })
        .collect();
    let line = |cells: &[&str]| {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let width = widths[column];
            let gap = if column > 0 { "  " } else { "" };
            text += &match is_number[column] {
                true => format!("{gap}{cell:>width$}"),
                false => format!("{gap}{cell:<width$}"),
            };
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(headings);
    for row in rows {
        text += &line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text
}

/// Prints `text`; that nobody reads it is no reason to stop.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes `value` as JSON to `path`, or to standard output when it is `-`.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), String> {
    let write = |mut to: Box<dyn Write>| -> io::Result<()> {
        serde_json::to_writer_pretty(&mut to, value)?;
        to.write_all(b"\n")?;
        to.flush()
    };
    let result = if path == Path::new("-") {
        write(Box::new(io::stdout().lock()))
    } else {
        File::create(path).and_then(|file| write(Box::new(io::BufWriter::new(file))))
    };
    result.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Three decimals are more than any of these figures is worth.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// About three digits, as many as a reader can use.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format_rounded(value),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Microseconds, in the unit that reads best.
pub(crate) fn format_latency(us: f64) -> String {
    match us {
        us if us >= 1e6 => format!("{} s", three_digits(us / 1e6)),
        us if us >= 1e3 => format!("{} ms", three_digits(us / 1e3)),
        us => format!("{} us", three_digits(us)),
    }
}

/// Three digits, without zeros at the end that say nothing.
pub(crate) fn three_digits(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_every_field_of_the_contract_and_null_where_not_measured() {
        let json = serde_json::to_value(Row::empty(1000, 16_384)).expect("serializes");
        let fields = json.as_object().expect("an object");
        for name in [
            "model",
            "backend",
            "conns",
            "size",
            "msgs_per_s",
            "mb_per_s",
            "p50_us",
            "p99_us",
            "p999_us",
            "cpu_us_per_msg",
            "rss_kib_per_conn",
            "errors",
            "wrong_bytes",
        ] {
            assert!(fields.contains_key(name), "{name}");
        }
        assert!(fields["cpu_us_per_msg"].is_null());
        assert_eq!(fields["conns"], 1000);
    }

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let rows = vec![vec!["a".to_owned(), "5".to_owned()], vec!["bcd".into(), "1,234".into()]];
        assert_eq!(table(&["name", "n"], &rows), "name      n\na         5\nbcd   1,234\n");
    }

    #[test]
    fn a_number_that_nobody_knows_stands_to_the_right_as_well() {
        let rows = [["-", "-", "-"], ["io_uring", "7", "-"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(String::from).into()).collect();
        let lines =
            ["name      count  p99 us", "-             -       -", "io_uring      7       -"];
        assert_eq!(table(&["name", "count", "p99 us"], &rows), lines.join("\n") + "\n");
    }

    #[test]
    fn every_cell_has_a_heading() {
        assert_eq!(Row::empty(1, 1).cells().len(), HEADINGS.len());
    }

    #[test]
    fn figures_are_printed_with_the_digits_that_matter() {
        assert_eq!(short(1234.56), "1,235");
        assert_eq!(short(12.345), "12.3");
        assert_eq!(short(1.2345), "1.23");
    }

    #[test]
    fn latencies_are_printed_in_the_unit_that_reads_best() {
        for (us, text) in [
            (0.5, "0.5 us"),
            (12.34, "12.3 us"),
            (100.0, "100 us"),
            (1500.0, "1.5 ms"),
            (3678.2, "3.68 ms"),
            (1e6, "1 s"),
            (20_000.0, "20 ms"),
        ] {
            assert_eq!(format_latency(us), text);
        }
    }
}
