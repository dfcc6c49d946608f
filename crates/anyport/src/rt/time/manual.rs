//! Time that somebody moves by hand, and the timers with it.

use std::task::Waker;
use std::time::{Duration, Instant};

use super::clock;
use super::timers::Timers;

/// The time of [`Timers::manual`]: it stands still until this moves it.
///
/// # Examples
/// From one timer to the next, without waiting for any:
/// ```
/// use anyport::rt::time::{Sleep, Timers};
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Waker};
/// use std::time::Duration;
///
/// let (timers, mut time) = Timers::manual();
/// let deadline = timers.now() + Duration::from_secs(24 * 60 * 60);
/// let mut sleep = pin!(Sleep::new_in(&timers, deadline));
/// let mut cx = Context::from_waker(Waker::noop());
/// while sleep.as_mut().poll(&mut cx).is_pending() {
///     let next = time.next_expiration().expect("there is a timer");
///     time.advance_to(next);
/// }
/// assert_eq!(timers.now(), deadline);
/// ```
#[derive(Debug)]
pub struct ManualTime {
    timers: Timers,
    /// Empty between calls; kept for its memory.
    batch: Vec<Waker>,
}

impl ManualTime {
    pub(super) fn new(timers: Timers) -> Self {
        ManualTime { timers, batch: Vec::new() }
    }

    /// The present.
    pub fn now(&self) -> Instant {
        self.timers.now()
    }

    /// Sets the time to `now` and fires what is due by then, on the calling thread, in the order of
    /// the deadlines; of the same millisecond in the order in which the timers were first polled,
    /// unless they were reset. A time in the past is the present.
    ///
    /// What a task that is woken does with the other timers that are due comes too late for those:
    /// one that it cancels may still wake its task, for nothing. To give every task its turn in
    /// between, go from one [`next_expiration`](Self::next_expiration) to the next.
    ///
    /// After [`Timers::shut_down`] nothing fires.
    pub fn advance_to(&mut self, now: Instant) {
        let driver = self.timers.driver();
        driver.clock().set(now);
        if driver.is_shut_down() {
            return;
        }
        let tick = driver.clock().tick_now();
        for shard in self.timers.shards() {
            shard.fire(tick, &mut self.batch);
        }
    }

    /// As [`advance_to`](Self::advance_to) the present and `by`.
    pub fn advance(&mut self, by: Duration) {
        self.advance_to(clock::after(self.now(), by));
    }

    /// A time to advance to next: no timer fires before it. One fires then, or else timers far away
    /// are brought nearer, which is a few times in the life of a timer. `None` without timers.
    pub fn next_expiration(&self) -> Option<Instant> {
        let next = self.timers.shards().iter().filter_map(|shard| shard.next_expiration()).min()?;
        let clock = self.timers.driver().clock();
        Some(clock.instant_of(next).unwrap_or_else(|| clock::after(self.now(), Duration::MAX)))
    }
}
