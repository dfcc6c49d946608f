//! How the simulated system serves requests, and its disk: delays and faults.

use super::random::Chance;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How long the system takes over what it is asked, and what it does unasked.
///
/// ```
/// use anyport::sim::System;
/// use std::time::Duration;
///
/// let nasty = System::new().late_cancels(0.5).interruptions(0.05);
/// # let _ = nasty;
/// ```
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until a world has them"]
pub struct System {
    pub(super) begin: RangeInclusive<Duration>,
    pub(super) tell: RangeInclusive<Duration>,
    pub(super) late_cancel: Chance,
    pub(super) interruption: Chance,
    pub(super) early_wake: Chance,
    pub(super) hand_over: Chance,
}

impl System {
    /// Up to 20 microseconds between a request and its beginning, and between its end and its
    /// event; one cancel of four is late, one request of a hundred interrupted.
    pub fn new() -> Self {
        let delay = Duration::ZERO..=Duration::from_micros(20);
        System {
            begin: delay.clone(),
            tell: delay,
            late_cancel: Chance::of(0.25),
            interruption: Chance::of(0.01),
            early_wake: Chance::of(0.02),
            hand_over: Chance::of(0.1),
        }
    }

    /// How long until the system begins with what it was asked for. Half of the requests begin at
    /// once.
    pub fn begins_within(mut self, range: RangeInclusive<Duration>) -> Self {
        self.begin = range;
        self
    }

    /// How long after a request is over its event comes. In between, a cancel is too late. Half of
    /// the events come at once.
    pub fn tells_within(mut self, range: RangeInclusive<Duration>) -> Self {
        self.tell = range;
        self
    }

    /// How often, 0 to 1, a cancel takes its time, so that the request may be faster.
    pub fn late_cancels(mut self, probability: f64) -> Self {
        self.late_cancel = Chance::of(probability);
        self
    }

    /// How often, 0 to 1, a request ends although nobody asked, as with the thread that made it:
    /// the port starts it again. At most one half is meant.
    pub fn interruptions(mut self, probability: f64) -> Self {
        self.interruption = Chance::of(probability.min(0.5));
        self
    }

    /// How often, 0 to 1, a thread passes its turn on at each of the engine's places where that may
    /// matter, although it could go on.
    pub fn hand_overs(mut self, probability: f64) -> Self {
        self.hand_over = Chance::of(probability);
        self
    }

    /// How often, 0 to 1, a thread that waits is woken for nothing. At most one half is meant.
    pub fn early_wakes(mut self, probability: f64) -> Self {
        self.early_wake = Chance::of(probability.min(0.5));
        self
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

/// How the disk serves reads and writes at offsets. What files hold is the real system's.
///
/// ```
/// use anyport::sim::Disk;
/// use std::time::Duration;
///
/// let failing = Disk::new().errors(0.1).latency(Duration::ZERO..=Duration::from_secs(2));
/// # let _ = failing;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a disk does nothing until a world has it"]
pub struct Disk {
    pub(super) latency: RangeInclusive<Duration>,
    pub(super) short: Chance,
    pub(super) error: Chance,
    pub(super) space: Option<u64>,
}

impl Disk {
    /// A good disk: 50 to 500 microseconds, no errors, room without end.
    pub fn new() -> Self {
        Disk {
            latency: Duration::from_micros(50)..=Duration::from_micros(500),
            short: Chance::NEVER,
            error: Chance::NEVER,
            space: None,
        }
    }

    /// How long a transfer takes: each time chosen from this range.
    pub fn latency(mut self, range: RangeInclusive<Duration>) -> Self {
        self.latency = range;
        self
    }

    /// How often, 0 to 1, a transfer moves fewer bytes than it could.
    pub fn short_transfers(mut self, probability: f64) -> Self {
        self.short = Chance::of(probability);
        self
    }

    /// How often, 0 to 1, a transfer fails with the system's input/output error.
    pub fn errors(mut self, probability: f64) -> Self {
        self.error = Chance::of(probability);
        self
    }

    /// How many bytes can still be written, by all files together; `None`: without end.
    pub fn space(mut self, bytes: Option<u64>) -> Self {
        self.space = bytes;
        self
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}
