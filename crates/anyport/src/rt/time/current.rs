//! Which timers the free functions of this module use: those that the calling thread has entered
//! last.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::time::Instant;

use super::shard::SharedShard;
use super::timers::Timers;

thread_local! {
    /// Entered and not left yet, the last one last, each with the number of its guard.
    static ENTERED: RefCell<Vec<(u64, Timers)>> = const { RefCell::new(Vec::new()) };
    static NEXT_NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// Keeps timers current on the thread that has [entered](Timers::enter) them.
///
/// When it is dropped those are current again that were before. A guard that is dropped before one
/// that was made after it ends that one too.
#[must_use = "the timers are current until this is dropped"]
#[derive(Debug)]
pub struct Entered {
    number: u64,
    /// Belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Timers {
    /// Makes these timers current on the calling thread until the guard is dropped. A runtime does
    /// it on its threads. May be nested.
    ///
    /// # Examples
    /// ```
    /// use anyport::rt::time::{self, Timers};
    ///
    /// let (timers, _time) = Timers::manual();
    /// let entered = timers.enter();
    /// assert_eq!(time::now(), timers.now());
    /// let sleep = time::sleep(std::time::Duration::from_millis(5));
    /// drop(entered);
    /// assert!(!sleep.is_elapsed(), "it is usable all the same");
    /// ```
    pub fn enter(&self) -> Entered {
        let number = NEXT_NUMBER.get();
        NEXT_NUMBER.set(number + 1);
        ENTERED.with_borrow_mut(|entered| entered.push((number, self.clone())));
        Entered { number, _not_send: PhantomData }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let leave = |entered: &RefCell<Vec<(u64, Timers)>>| {
            let Some(depth) = entered.borrow().iter().rposition(|&(n, _)| n == self.number) else {
                return;
            };
            while entered.borrow().len() > depth {
                let timers = entered.borrow_mut().pop();
                // Perhaps the last handle, whose drop must not find the list borrowed.
                drop(timers);
            }
        };
        // While the thread's locals are being destroyed there is nothing left to leave.
        let _ = ENTERED.try_with(leave);
    }
}

/// The present, by the clock of the current timers: in a simulation its own, else
/// [`Instant::now`].
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn now() -> Instant {
    shard().now()
}

/// The calling thread's shard of its current timers.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub(super) fn shard() -> SharedShard {
    let current = |entered: &RefCell<Vec<(u64, Timers)>>| {
        entered.borrow().last().map(|(_, timers)| SharedShard::clone(timers.shard()))
    };
    match ENTERED.try_with(current).ok().flatten() {
        Some(shard) => shard,
        None => panic!(
            "a timer was made outside of a runtime: make it in a task, in `block_on`, or on a \
             thread that has entered the runtime's `Timers`"
        ),
    }
}
