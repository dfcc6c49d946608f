//! The timers of a runtime: shards for its threads, and the driver that serves them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::driver::Driver;
use super::manual::ManualTime;
use super::shard::{Shard, SharedShard};
use crate::atomic::CachePadded;
use crate::sys::{cores, turn_number};

/// More shards than this would only be more for the driver to look at.
const SHARDS_MAX: usize = 64;

/// The timers of a runtime: what [`Sleep`](super::Sleep), [`Timeout`](super::Timeout) and
/// [`Interval`](super::Interval) wait by.
///
/// A runtime has its own and makes them current on its threads; then the free functions of this
/// module find them. Clones are the same timers.
///
/// One thread, `anyport-timers`, starts with the first timer, sleeps until the earliest is due and
/// wakes whom it is for. It ends at [`shut_down`](Self::shut_down), or when the last clone is
/// dropped.
///
/// # Costs
/// Making, cancelling and resetting a timer takes a time that does not depend on how many there
/// are. A timer that waits takes 40 bytes beside its future (64-bit systems); this memory is used
/// again, and is given back when the timers and all futures of theirs are gone. There may be up to
/// 2^32 timers in each shard, of which there is about one for each core.
///
/// # Examples
/// ```
/// use anyport::rt::time::{Sleep, Timers};
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Poll, Waker};
/// use std::time::Duration;
///
/// let (timers, mut time) = Timers::manual();
/// let mut sleep = pin!(Sleep::new_in(&timers, timers.now() + Duration::from_secs(3600)));
/// let mut cx = Context::from_waker(Waker::noop());
/// assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Pending);
/// time.advance(Duration::from_secs(3600));
/// assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Ready(()));
/// ```
#[derive(Clone)]
pub struct Timers(Arc<Owner>);

/// What ends with the last `Timers`. A future refers to its shard alone, which its thread has nearly
/// for itself: a count that all threads write would cost each of them more than the timer does.
struct Owner {
    shards: Vec<SharedShard>,
    driver: Arc<Driver>,
}

impl Timers {
    /// Timers by the system's monotonic clock, with a shard for each core.
    pub fn new() -> Self {
        Timers::with_shards(cores())
    }

    /// As [`new`](Self::new) for about `shards` threads that make timers at the same time; rounded
    /// up to a power of two, at least 1 and at most 64.
    pub fn with_shards(shards: usize) -> Self {
        let timers = Timers::of(Driver::of_a_thread(), shards.clamp(1, SHARDS_MAX));
        timers.0.driver.attach(timers.0.shards.clone());
        timers
    }

    /// Timers in a time that stands still until the [`ManualTime`] moves it, and no thread: for
    /// simulations, and for tests that do not wait.
    pub fn manual() -> (Self, ManualTime) {
        // One shard: timers fire in the order of their deadlines.
        let timers = Timers::of(Driver::manual(), 1);
        (timers.clone(), ManualTime::new(timers))
    }

    fn of(driver: Driver, shards: usize) -> Self {
        let driver = Arc::new(driver);
        let shard = |_| Arc::new(CachePadded::new(Shard::new(&driver)));
        let shards = (0..shards.next_power_of_two()).map(shard).collect();
        Timers(Arc::new(Owner { shards, driver }))
    }

    /// The present, by the clock of these timers.
    pub fn now(&self) -> Instant {
        self.0.driver.clock().now()
    }

    /// How many timers wait, perhaps a moment ago: for statistics.
    pub fn pending(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Ends the driver's thread, and waits until it has ended, unless it is that thread that calls.
    ///
    /// What is pending then never fires, and nor does what is made later, except that a sleep whose
    /// deadline has passed when it is first polled is over at once. Dropping it is fine. A second
    /// call does nothing.
    pub fn shut_down(&self) {
        if let Some(thread) = self.0.driver.shut_down()
            && !thread.is_current()
        {
            // It does not panic: it catches what wakers do.
            let _ = thread.join();
        }
    }

    /// The shard of the calling thread.
    pub(super) fn shard(&self) -> &SharedShard {
        &self.0.shards[thread_number() & (self.0.shards.len() - 1)]
    }

    /// All shards, for who drives them by hand.
    pub(super) fn shards(&self) -> &[SharedShard] {
        &self.0.shards
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.0.driver
    }
}

impl Default for Timers {
    fn default() -> Self {
        Timers::new()
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("pending", &self.pending())
            .field("shards", &self.0.shards.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Does not wait for the thread: a drop may happen anywhere, on that thread too.
        let _ = self.driver.shut_down();
    }
}

/// Threads are numbered as they first make a timer, so those of one runtime, which start together,
/// get different shards; but for threads that take turns, whose numbers are the same in each run.
fn thread_number() -> usize {
    if let Some(number) = turn_number() {
        return number as usize;
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // Without a number while the thread's locals are being destroyed: any shard is right.
    NUMBER.try_with(|&number| number).unwrap_or(0)
}
