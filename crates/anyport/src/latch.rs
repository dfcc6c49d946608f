//! A lock for data that is held for a few instructions at a time: free, or held, and nothing else.
//!
//! The usual mutex must learn at every unlock whether somebody sleeps, which takes a second atomic
//! step as dear as the first. A message passes about ten locks here, and nearly always nobody else
//! is at them: with one step each, the port's own work for a small message shrinks by a tenth.
//!
//! The price is paid by who finds it held: it tries again, for longer and longer, and does not
//! learn at once that the lock is free. So little that may wait is done under one of these, and no
//! code of the user's. Whoever waits sleeps at last, so that a holder of lower priority on the same
//! core comes to its end.

use crate::atomic::{AtomicBool, Ordering, spin_loop, yield_now};
use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

/// Looks before a waiter gives up the core: a holder on another core is done by then.
const SPINS: u32 = if cfg!(loom) { 1 } else { 100 };

/// Times that a waiter gives up the core to any other thread before it sleeps.
const YIELDS: u32 = if cfg!(loom) { 1 } else { 20 };

/// The first sleep of a waiter; the following ones double.
const SLEEP_MIN: Duration = Duration::from_micros(20);

/// The longest sleep of a waiter.
const SLEEP_MAX: Duration = Duration::from_micros(50);

/// See the module documentation. A panic of the holder frees it; the data must then be good, as
/// with a mutex whose poison is ignored.
#[repr(C)]
pub(crate) struct Latch<T> {
    // First, beside what the value has first: most often the same line of the cache.
    is_held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one thread at a time, and may be taken out by any.
unsafe impl<T: Send> Sync for Latch<T> {}

// Whoever comes after a holder that panicked finds data that is good: see the type.
impl<T> UnwindSafe for Latch<T> {}
impl<T> RefUnwindSafe for Latch<T> {}

impl<T> Latch<T> {
    pub(crate) fn new(value: T) -> Self {
        Latch { is_held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Waits until the value is free.
    #[inline]
    pub(crate) fn lock(&self) -> LatchGuard<'_, T> {
        if !self.seize() {
            self.wait();
        }
        LatchGuard { latch: self }
    }

    /// `None` when somebody has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<LatchGuard<'_, T>> {
        // Not made unless the latch is this thread's: the drop of a guard frees it.
        self.seize().then(|| LatchGuard { latch: self })
    }

    #[inline]
    fn seize(&self) -> bool {
        self.is_held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Without the lock: nobody else can have it.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Returns when the latch is this thread's.
    #[cold]
    fn wait(&self) {
        let mut rounds = 0;
        loop {
            // First only a look, so that the holder keeps the cache line. In loom's world a look may
            // find what was there long ago, for ever.
            let may_be_free = cfg!(loom) || !self.is_held.load(Ordering::Relaxed);
            if may_be_free && self.seize() {
                return;
            }
            #[cfg(feature = "sim")]
            if crate::fault::turns::pass_on() {
                continue;
            }
            match rounds {
                0..SPINS => spin_loop(),
                _ if rounds < SPINS + YIELDS => yield_now(),
                _ => sleep(rounds - SPINS - YIELDS),
            }
            rounds = rounds.saturating_add(1);
        }
    }
}

#[cfg(not(loom))]
fn sleep(before: u32) {
    std::thread::sleep(SLEEP_MIN.saturating_mul(1 << before.min(10)).min(SLEEP_MAX));
}

/// Loom has no time: giving up the core is all that a sleep is there.
#[cfg(loom)]
fn sleep(_before: u32) {
    let _ = (SLEEP_MIN, SLEEP_MAX);
    yield_now();
}

impl<T: Default> Default for Latch<T> {
    fn default() -> Self {
        Latch::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Latch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => f.debug_tuple("Latch").field(&*value).finish(),
            None => f.write_str("Latch(held)"),
        }
    }
}

/// The value, until it is dropped.
pub(crate) struct LatchGuard<'a, T> {
    latch: &'a Latch<T>,
}

// SAFETY: a shared guard gives out shared references to the value only.
unsafe impl<T: Sync> Sync for LatchGuard<'_, T> {}

impl<T> Deref for LatchGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: whoever has the guard has the latch, and there is one guard at a time.
        unsafe { &*self.latch.value.get() }
    }
}

impl<T> DerefMut for LatchGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and the guard is borrowed alone.
        unsafe { &mut *self.latch.value.get() }
    }
}

impl<T> Drop for LatchGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.latch.is_held.store(false, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::Latch;
    use crate::atomic::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// One more, by a cell in which loom sees each access begin and end.
    fn count(cell: &UnsafeCell<u32>) {
        // SAFETY: whoever calls has the latch around the cell.
        cell.with_mut(|n| unsafe { *n += 1 });
    }

    #[test]
    fn loom_one_thread_at_a_time_has_the_value_and_sees_what_the_last_one_did() {
        loom::model(|| {
            let latch = Arc::new(Latch::new(UnsafeCell::new(0)));
            let other = {
                let latch = Arc::clone(&latch);
                thread::spawn(move || {
                    count(&latch.lock());
                    if let Some(cell) = latch.try_lock() {
                        count(&cell);
                    }
                })
            };
            count(&latch.lock());
            other.join().unwrap();
            let cell = latch.lock();
            // SAFETY: the latch is held while the cell is read.
            let total = cell.with_mut(|n| unsafe { *n });
            drop(cell);
            assert!((2..=3).contains(&total));
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn every_thread_finds_what_the_others_have_left() {
        let latch = Latch::new(0_u32);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| *latch.lock() += 1));
            }
        });
        assert_eq!(*latch.lock(), 40_000);
    }

    #[test]
    fn a_try_that_fails_leaves_the_latch_with_its_holder() {
        let latch = Latch::new(7);
        let held = latch.lock();
        assert!(latch.try_lock().is_none());
        assert!(latch.try_lock().is_none(), "the first try has not freed it");
        drop(held);
        assert_eq!(latch.try_lock().map(|value| *value), Some(7));
    }

    #[test]
    fn a_waiter_that_has_gone_to_sleep_gets_the_latch_when_its_holder_is_done() {
        let latch = Latch::new(Vec::new());
        let (begin, begun) = mpsc::channel();
        thread::scope(|scope| {
            let mut held = latch.lock();
            scope.spawn(|| {
                begin.send(()).expect("the other end waits");
                latch.lock().push(2);
            });
            begun.recv().expect("the thread sends");
            held.push(1);
            // More than all spins and yields: the waiter sleeps now and then.
            (0..100 * YIELDS).for_each(|_| thread::yield_now());
        });
        assert_eq!(*latch.lock(), [1, 2]);
    }

    #[test]
    fn a_holder_that_panics_frees_it() {
        let latch = Latch::new(());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = latch.lock();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err() && latch.try_lock().is_some());
    }
}
