//! Ticks at a fixed distance, and what becomes of those that were missed.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::shard::SharedShard;
use super::sleep::Sleep;
use super::timers::Timers;
use super::{clock, current};

/// Lateness up to this is none: timers have a resolution of a millisecond, and threads take a moment
/// to wake.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Ticks every `period`, the first one at once.
///
/// # Panics
/// If `period` is zero, and outside of a runtime.
///
/// # Examples
/// ```
/// use anyport::rt::{Runtime, time};
/// use std::time::Duration;
///
/// Runtime::builder().build()?.block_on(async {
///     let period = Duration::from_millis(2);
///     let mut interval = time::interval(period);
///     let first = interval.tick().await;
///     assert_eq!(interval.tick().await, first + period);
///     assert_eq!(interval.tick().await, first + 2 * period);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    let shard = current::shard();
    let start = shard.now();
    Interval::in_shard(shard, start, period)
}

/// Ticks every `period`, the first time at `start`.
///
/// # Panics
/// If `period` is zero, and outside of a runtime.
///
/// # Examples
/// ```
/// use anyport::rt::{Runtime, time};
/// use std::time::Duration;
///
/// Runtime::builder().build()?.block_on(async {
///     let period = Duration::from_millis(2);
///     let start = time::now() + period;
///     let mut interval = time::interval_at(start, period);
///     assert_eq!(interval.tick().await, start);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval::in_shard(current::shard(), start, period)
}

/// Ticks at a fixed distance. Made by [`interval`], [`interval_at`] and [`Interval::new_in`].
///
/// It is a clock of its own: what is done between two ticks does not shift the next one. When that
/// takes longer than a period, ticks are missed; [`MissedTickBehavior`] says what follows.
///
/// # Examples
/// ```
/// use anyport::rt::time::{Interval, MissedTickBehavior, Timers};
/// use std::task::{Context, Poll, Waker};
/// use std::time::Duration;
///
/// let (timers, mut time) = Timers::manual();
/// let (start, period) = (timers.now(), Duration::from_secs(1));
/// let mut interval = Interval::new_in(&timers, start, period);
/// interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
///
/// let mut cx = Context::from_waker(Waker::noop());
/// assert_eq!(interval.poll_tick(&mut cx), Poll::Ready(start));
/// time.advance(Duration::from_millis(3_500));
/// assert_eq!(interval.poll_tick(&mut cx), Poll::Ready(start + period), "late");
/// assert_eq!(interval.poll_tick(&mut cx), Poll::Pending);
/// time.advance(Duration::from_millis(500));
/// assert_eq!(interval.poll_tick(&mut cx), Poll::Ready(start + 4 * period), "in step again");
/// ```
#[derive(Debug)]
pub struct Interval {
    /// Until the next tick.
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// As [`interval_at`], with timers that need not be current.
    ///
    /// # Panics
    /// If `period` is zero.
    #[track_caller]
    pub fn new_in(timers: &Timers, start: Instant, period: Duration) -> Self {
        Interval::in_shard(SharedShard::clone(timers.shard()), start, period)
    }

    #[track_caller]
    fn in_shard(shard: SharedShard, start: Instant, period: Duration) -> Self {
        assert!(!period.is_zero(), "the period of an interval must be more than zero");
        Interval {
            sleep: Sleep::in_shard(shard, start),
            period,
            missed: MissedTickBehavior::default(),
        }
    }

    /// Waits for the next tick: the time at which it was due, which has passed.
    ///
    /// # Cancel safety
    /// A tick is taken only when this is ready: given up before, it loses none.
    ///
    /// # Panics
    /// As [`Sleep`].
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// As [`tick`](Self::tick), for futures that are written by hand. If it is `Pending`, the waker
    /// in `cx` is woken at the next tick.
    ///
    /// # Panics
    /// As [`Sleep`].
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        if Pin::new(&mut self.sleep).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let (due, now) = (self.sleep.deadline(), self.sleep.now());
        let is_missed = now.saturating_duration_since(due) > TOLERANCE;
        let behavior = if is_missed { self.missed } else { MissedTickBehavior::Burst };
        self.sleep.reset(behavior.next(due, now, self.period));
        Poll::Ready(due)
    }

    /// Starts anew: the next tick is one period from now.
    ///
    /// A task that waits in [`poll_tick`](Self::poll_tick) is woken then.
    pub fn reset(&mut self) {
        self.sleep.reset(clock::after(self.sleep.now(), self.period));
    }

    /// The distance between ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What follows when ticks were missed.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what follows when ticks were missed.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

/// What an [`Interval`] does when it is polled more than 5 ms after a tick was due. The late tick
/// itself is given out at once, in any case; this says when the next one is due.
///
/// With a period of 50 ms, ticks due at 0, 50, 100, ..., and a task that is busy from 50 to 170:
///
/// | | ticks are given out at |
/// |---|---|
/// | `Burst` | 0, 50, 170 (of 100), 170 (of 150), 200, 250 |
/// | `Delay` | 0, 50, 170 (of 100), 220, 270, 320 |
/// | `Skip` | 0, 50, 170 (of 100), 200, 250, 300 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// One period after the late tick was *due*: missed ticks follow at once, until all are made up
    /// for.
    #[default]
    Burst,
    /// One period from now: missed ticks are left out, and all later ones are shifted.
    Delay,
    /// At the next multiple of the period: missed ticks are left out, and later ones are in step.
    Skip,
}

impl MissedTickBehavior {
    /// The tick after the one that was due at `due`, which is given out `now`.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        match self {
            MissedTickBehavior::Burst => clock::after(due, period),
            MissedTickBehavior::Delay => clock::after(now, period),
            MissedTickBehavior::Skip => {
                let late = now.saturating_duration_since(due);
                let into_period = late.as_nanos() % period.as_nanos();
                // Not more than `late`: whole seconds and nanoseconds fit.
                let into_period = Duration::new(
                    (into_period / 1_000_000_000) as u64,
                    (into_period % 1_000_000_000) as u32,
                );
                clock::after(now, period - into_period)
            }
        }
    }
}
