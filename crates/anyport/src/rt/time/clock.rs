//! What time it is for the timers, and what a tick of the wheels is: a millisecond since they began.
//!
//! A deadline is rounded up to a tick and the present down, so that no timer fires early.

use crate::sys;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// "Never", for what no [`Instant`] can say: thirty years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The system's monotonic clock or, for threads of a simulated world that take turns, its own.
    System,
    /// Stands still until it is set.
    Manual(Mutex<Instant>),
}

impl Clock {
    pub(super) fn system() -> Self {
        Clock { start: sys::now(), source: Source::System }
    }

    pub(super) fn manual() -> Self {
        let start = sys::now();
        Clock { start, source: Source::Manual(Mutex::new(start)) }
    }

    pub(super) fn now(&self) -> Instant {
        match &self.source {
            Source::System => sys::now(),
            Source::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Sets a clock that is set by hand, never back.
    pub(super) fn set(&self, to: Instant) {
        match &self.source {
            Source::System => unreachable!("nobody sets the system's clock"),
            Source::Manual(now) => {
                let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
                *now = to.max(*now);
            }
        }
    }

    /// The last tick that has come.
    pub(super) fn tick_now(&self) -> u64 {
        let since = self.now().saturating_duration_since(self.start);
        since.as_secs().saturating_mul(1000).saturating_add(since.subsec_millis().into())
    }

    /// The first tick at which `deadline` has passed.
    pub(super) fn tick_of(&self, deadline: Instant) -> u64 {
        let until = deadline.saturating_duration_since(self.start);
        let part = until.subsec_nanos().div_ceil(1_000_000);
        until.as_secs().saturating_mul(1000).saturating_add(part.into())
    }

    /// When a tick begins; `None` where the system's clock does not reach.
    pub(super) fn instant_of(&self, tick: u64) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(tick))
    }
}

/// `from + duration`, or some day far away where the system's clock does not reach.
pub(super) fn after(from: Instant, duration: Duration) -> Instant {
    from.checked_add(duration).unwrap_or_else(|| from + FAR)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_rounded_up_and_the_present_down() {
        let clock = Clock::manual();
        let start = clock.now();
        let at = |nanos| start + Duration::from_nanos(nanos);
        for (nanos, floor, ceiling) in [
            (0, 0, 0),
            (1, 0, 1),
            (999_999, 0, 1),
            (1_000_000, 1, 1),
            (61_000_000_001, 61_000, 61_001),
        ] {
            clock.set(at(nanos));
            assert_eq!(clock.tick_now(), floor, "{nanos} ns");
            assert_eq!(clock.tick_of(at(nanos)), ceiling, "{nanos} ns");
        }
        clock.set(start);
        assert_eq!(clock.now(), at(61_000_000_001), "time does not go back");
        assert_eq!(clock.instant_of(61_001), Some(at(61_001_000_000)));
    }

    #[test]
    fn what_is_before_the_start_is_tick_0_and_what_cannot_be_said_is_far_away() {
        let clock = Clock::manual();
        let now = clock.now();
        if let Some(before) = now.checked_sub(Duration::from_secs(1)) {
            assert_eq!(clock.tick_of(before), 0);
        }
        assert!(after(now, Duration::MAX) > now + Duration::from_secs(1_000_000));
        assert!(clock.instant_of(u64::MAX).is_none_or(|at| at > now));
    }
}
