//! The sizes of messages: one, or several with weights, and the order in which they are sent.
//!
//! `64`, `64,1k,16k` (equal shares) or `64:90,16k:10`. No I/O. Called by `args` and `pattern`.

use std::fmt;

use crate::units::{format_size, parse_size};

/// The longest message that `bench` makes, in bytes.
const SIZE_MAX: usize = 1 << 30;

/// The largest weight: a share that is smaller would not show in any run.
const WEIGHT_MAX: u32 = 1000;

/// More sizes than this say nothing more, and each has a histogram.
const PARTS_MAX: usize = 16;

/// Payload sizes and how often each is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SizeMix {
    /// Never empty; weights are from 1 up.
    parts: Vec<SizePart>,
}

/// One size of a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizePart {
    /// Payload bytes.
    pub(crate) size: usize,
    weight: u32,
}

impl SizeMix {
    /// Messages of one size.
    pub(crate) fn one(size: usize) -> Self {
        Self { parts: vec![SizePart { size, weight: 1 }] }
    }

    /// Reads what stands on the command line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(parse_part).collect::<Result<Vec<_>, _>>()?;
        if parts.len() > PARTS_MAX {
            return Err(format!("{} sizes are too many: at most {PARTS_MAX}", parts.len()));
        }
        Ok(Self { parts })
    }

    /// The sizes, in the order in which they were given.
    pub(crate) fn parts(&self) -> &[SizePart] {
        &self.parts
    }

    /// Whether there is more than one.
    pub(crate) fn is_mixed(&self) -> bool {
        self.parts.len() > 1
    }

    /// The longest one, in bytes.
    pub(crate) fn largest(&self) -> usize {
        self.parts.iter().map(|part| part.size).max().unwrap_or(0)
    }

    /// Bytes of a message on average.
    pub(crate) fn mean(&self) -> f64 {
        let bytes: f64 = self.parts.iter().map(|p| p.size as f64 * f64::from(p.weight)).sum();
        bytes / f64::from(self.total_weight())
    }

    /// The order of `count` messages: for each, the number of its part. Every part has its share,
    /// as near as `count` allows, and at least one place; neighbours are mixed.
    pub(crate) fn order(&self, count: usize) -> Vec<u16> {
        let total = u64::from(self.total_weight());
        let count = count.max(self.parts.len()) as u64;
        let mut order = Vec::new();
        let mut weight_before = 0;
        for (number, part) in (0..).zip(&self.parts) {
            // Rounded at both ends, so that the shares add up.
            let from = weight_before * count / total;
            weight_before += u64::from(part.weight);
            let places = (weight_before * count / total - from).max(1);
            order.extend(std::iter::repeat_n(number, places as usize));
        }
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        for last in (1..order.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            order.swap(last, (state % (last as u64 + 1)) as usize);
        }
        order
    }

    fn total_weight(&self) -> u32 {
        self.parts.iter().map(|part| part.weight).sum()
    }
}

impl fmt::Display for SizeMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.parts.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            write!(f, "{comma}{}", format_size(part.size))?;
            if self.parts.iter().any(|part| part.weight != 1) {
                write!(f, ":{}", part.weight)?;
            }
        }
        Ok(())
    }
}

fn parse_part(text: &str) -> Result<SizePart, String> {
    let (size, weight) = text.split_once(':').unwrap_or((text, "1"));
    let size = match parse_size(size)? {
        0 => return Err("a message has at least one byte".into()),
        bytes if bytes > SIZE_MAX => return Err("a message has at most 1g".into()),
        bytes => bytes,
    };
    match weight.parse() {
        Ok(weight @ 1..=WEIGHT_MAX) => Ok(SizePart { size, weight }),
        _ => Err(format!("`{weight}` is not a weight from 1 to {WEIGHT_MAX}: write 64:90,16k:10")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_prints_as_it_is_typed() {
        for text in ["64", "64,1k,16k", "64:90,16k:10"] {
            assert_eq!(SizeMix::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(SizeMix::parse("16384").expect("a size"), SizeMix::one(16_384));
    }

    #[test]
    fn what_is_not_a_mix_is_refused() {
        for text in ["", "0", "64,", "64:0", "64:", "64:1001", "64:x", "2g", "64;1k"] {
            assert!(SizeMix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_size_has_its_share_and_at_least_one_place() {
        let order = SizeMix::parse("64:90,16k:10").expect("a mix").order(4000);
        assert_eq!(order.len(), 4000);
        assert_eq!(order.iter().filter(|part| **part == 1).count(), 400);
        let order = SizeMix::parse("64:1000,16k:1").expect("a mix").order(10);
        assert!(order.contains(&0) && order.contains(&1));
    }

    #[test]
    fn the_mean_is_weighted() {
        assert_eq!(SizeMix::parse("100:3,500:1").expect("a mix").mean(), 200.0);
    }
}
