//! A wheel behind a lock, for some of the threads: each thread makes its timers in a shard of its
//! own, so threads seldom meet there. A timer stays in its shard, whichever thread polls or drops it.
//!
//! No code of the user's runs under the lock: a waker is cloned, woken and dropped outside.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::driver::Driver;
use super::slab::Key;
use super::wheel::{Reset, Wheel};
use crate::atomic::CachePadded;

/// Timers that fire, or are filed anew, before the driver lets go of the lock for a moment.
pub(super) const BATCH: usize = 128;

/// The lines of its own keep a shard, and the count of the timers that refer to it, apart from the
/// next one.
pub(super) type SharedShard = Arc<CachePadded<Shard>>;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Shard {
    wheel: Mutex<Wheel<Waker>>,
    driver: Arc<Driver>,
}

impl Shard {
    pub(super) fn new(driver: &Arc<Driver>) -> Self {
        Shard { wheel: Mutex::new(Wheel::new()), driver: Arc::clone(driver) }
    }

    /// The time by which this shard's timers fire.
    pub(super) fn now(&self) -> Instant {
        self.driver.clock().now()
    }

    /// A timer that wakes `waker` once, when `deadline` has passed. The caller must then
    /// [`expect`](Self::expect) it.
    pub(super) fn insert(&self, deadline: Instant, waker: Waker) -> Key {
        let tick = self.driver.clock().tick_of(deadline);
        self.lock().insert(tick, waker)
    }

    /// Wakes the driver if it would sleep beyond the deadline of a timer that was just inserted or
    /// set to an earlier one.
    ///
    /// # Panics
    /// If the driver's thread is not there yet and cannot be started. The timer stays inserted.
    pub(super) fn expect(&self, deadline: Instant) {
        self.driver.expect(self.driver.clock().tick_of(deadline));
    }

    /// True while the timer has not fired; then `waker` is the one that it will wake.
    pub(super) fn wait(&self, key: Key, waker: &Waker) -> bool {
        match self.lock().get_mut(key) {
            None => return false,
            Some(known) if known.will_wake(waker) => return true,
            Some(_) => {}
        }
        let waker = waker.clone();
        turn_point!();
        let before = match self.lock().get_mut(key) {
            None => return false,
            Some(known) => mem::replace(known, waker),
        };
        drop(before);
        true
    }

    /// Whether the timer has neither fired nor been cancelled.
    pub(super) fn is_pending(&self, key: Key) -> bool {
        self.lock().get_mut(key).is_some()
    }

    /// After this the timer wakes nobody, unless it has fired already.
    pub(super) fn cancel(&self, key: Key) {
        let waker = self.lock().cancel(key);
        drop(waker);
    }

    /// Sets another deadline. After [`Reset::Earlier`] the caller must [`expect`](Self::expect) it.
    pub(super) fn reset(&self, key: Key, deadline: Instant) -> Reset {
        let tick = self.driver.clock().tick_of(deadline);
        self.lock().reset(key, tick)
    }

    /// Wakes whom the timers up to `now` are for. `batch` is empty before and after; its memory is
    /// used again.
    pub(super) fn fire(&self, now: u64, batch: &mut Vec<Waker>) {
        loop {
            let is_done = self.lock().advance(now, BATCH, &mut |waker| batch.push(waker));
            turn_point!();
            batch.drain(..).for_each(wake);
            if is_done {
                return;
            }
        }
    }

    /// The tick at which there is next something to do; see [`Wheel::next_expiration`].
    pub(super) fn next_expiration(&self) -> Option<u64> {
        self.lock().next_expiration()
    }

    /// How many timers wait.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The wheel does not call anything that may panic but for its limit, which it finds before it
    /// has changed anything; so what a poisoned lock guards is good.
    fn lock(&self) -> MutexGuard<'_, Wheel<Waker>> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes one, and outlives its panic: all other timers depend on the caller.
fn wake(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        log::error!("a waker panicked when its timer fired; its task may not have been woken");
    }
}
