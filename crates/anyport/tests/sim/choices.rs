//! Choices that tests make by themselves: if they asked the world, its own would change with them.

use std::time::Duration;

/// Numbers that look random and follow from a seed.
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn new(seed: u64) -> Self {
        Choices(seed)
    }

    /// Another sequence, for somebody who chooses by himself.
    pub(crate) fn split(&mut self) -> Self {
        Choices(self.next().wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Less than this.
    pub(crate) fn time(&mut self, longest: Duration) -> Duration {
        let micros = (longest.as_micros() as usize).max(1);
        Duration::from_micros(self.below(micros) as u64)
    }

    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}
