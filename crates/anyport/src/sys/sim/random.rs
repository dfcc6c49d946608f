//! The seeded choices of a world. Its own few lines, so that a seed means the same run with every
//! version of every crate: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
//! generators", 2014).

use std::ops::RangeInclusive;
use std::time::Duration;

/// A sequence of choices that its seed determines.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `bound`; 0 for a bound of 0. By multiplication: the small bias favours nobody here.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// From 1 up to `max`, which is at least 1.
    pub(super) fn up_to(&mut self, max: usize) -> usize {
        1 + self.below(max)
    }

    pub(super) fn chance(&mut self, chance: Chance) -> bool {
        // No draw where there is nothing to choose: a fault that is switched off changes no run.
        chance.0 > 0 && self.next() <= chance.0
    }

    /// Nanoseconds within the range.
    pub(super) fn within(&mut self, range: &RangeInclusive<Duration>) -> u64 {
        let (start, end) = (nanoseconds(*range.start()), nanoseconds(*range.end()));
        match end.checked_sub(start) {
            None | Some(0) => start,
            Some(span) => start + ((u128::from(self.next()) * (u128::from(span) + 1)) >> 64) as u64,
        }
    }
}

/// A duration in the unit of virtual time; what is longer than 584 years is that.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How often something happens: a part of 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const NEVER: Chance = Chance(0);

    /// From a probability; what is outside of 0 to 1 is taken as the nearer end.
    pub(super) fn of(probability: f64) -> Self {
        // A float becomes the nearest integer there is.
        Chance((probability * u64::MAX as f64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_choices() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        assert!((0..100).all(|_| a.next() == b.next()));
        assert_ne!(Random::new(7).next(), Random::new(8).next());
    }

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn choices_stay_within_their_bounds() {
        let mut random = Random::new(1);
        let range = Duration::from_nanos(3)..=Duration::from_nanos(5);
        for _ in 0..1000 {
            assert!(random.below(3) < 3);
            assert!((1..=4).contains(&random.up_to(4)));
            assert!((3..=5).contains(&random.within(&range)));
            assert!(!random.chance(Chance::NEVER));
            assert!(random.chance(Chance::of(1.0)));
        }
        assert_eq!(random.below(0), 0);
    }
}
