//! The one thread that sleeps until the earliest timer of all shards, and wakes whom timers are for.
//!
//! It starts with the first timer and sleeps without end while there is none. [`alarm`](super::alarm)
//! has why it misses no timer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::alarm::Alarm;
use super::clock::Clock;
use super::shard::{BATCH, SharedShard};
use crate::sys::{Parker, Thread, spawn};

/// What the shards share with the driver's thread.
#[derive(Debug)]
pub(super) struct Driver {
    clock: Clock,
    alarm: Alarm,
    is_shut_down: AtomicBool,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    /// The shards wait here for the thread. They refer back to the driver: whoever makes the two
    /// must shut the driver down.
    NotStarted(Vec<SharedShard>),
    Running(Thread, Arc<Parker>),
    /// Shut down, or driven by hand: nobody is to be rung.
    Ended,
}

impl Driver {
    /// For a thread; [`attach`](Self::attach) gives it its shards.
    pub(super) fn of_a_thread() -> Self {
        Driver::new(Clock::system(), Alarm::unattended())
    }

    /// For timers that are driven by hand, with a clock that is set by hand.
    pub(super) fn manual() -> Self {
        Driver::new(Clock::manual(), Alarm::silent())
    }

    fn new(clock: Clock, alarm: Alarm) -> Self {
        Driver {
            clock,
            alarm,
            is_shut_down: AtomicBool::new(false),
            stage: Mutex::new(Stage::Ended),
        }
    }

    /// The shards that the thread will serve when it starts.
    pub(super) fn attach(&self, shards: Vec<SharedShard>) {
        *self.stage() = Stage::NotStarted(shards);
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A timer for `tick` was put into a shard, under its lock, just before.
    ///
    /// # Panics
    /// If the thread is not there yet and cannot be started.
    #[inline]
    pub(super) fn expect(self: &Arc<Self>, tick: u64) {
        turn_point!();
        if self.alarm.claim(tick) {
            turn_point!();
            self.ring();
        }
    }

    /// The thread wakes nobody any more, but for what it is at. Gives its handle, to the first who
    /// calls.
    pub(super) fn shut_down(&self) -> Option<Thread> {
        self.is_shut_down.store(true, Ordering::Release);
        turn_point!();
        let stage = std::mem::replace(&mut *self.stage(), Stage::Ended);
        match stage {
            Stage::Running(thread, parker) => {
                parker.unpark();
                Some(thread)
            }
            Stage::NotStarted(_) | Stage::Ended => None,
        }
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down.load(Ordering::Acquire)
    }

    #[cold]
    fn ring(self: &Arc<Self>) {
        let mut stage = self.stage();
        let shards = match &*stage {
            Stage::Running(_, parker) => return parker.unpark(),
            Stage::Ended => return,
            Stage::NotStarted(shards) => shards.clone(),
        };
        let driver = Arc::clone(self);
        let parker = Arc::new(Parker::new());
        let sleeps_by = Arc::clone(&parker);
        match spawn("anyport-timers", move || driver.run(&shards, &sleeps_by)) {
            Ok(thread) => *stage = Stage::Running(thread, parker),
            Err(error) => {
                // The next timer tries again.
                self.alarm.announce();
                drop(stage);
                panic!(
                    "cannot start the thread of the timers: {error}; end some threads or raise \
                     the limit on them"
                );
            }
        }
    }

    /// The thread: see the table at [`Alarm`].
    fn run(&self, shards: &[SharedShard], parker: &Parker) {
        let mut batch = Vec::with_capacity(BATCH);
        while !self.is_shut_down() {
            let now = self.clock.tick_now();
            for shard in shards {
                shard.fire(now, &mut batch);
            }
            turn_point!();
            self.alarm.announce();
            turn_point!();
            let next = shards.iter().filter_map(|shard| shard.next_expiration()).min();
            turn_point!();
            self.alarm.sleep_until(next);
            turn_point!();
            self.sleep(parker);
            self.alarm.rise();
        }
    }

    /// Until the tick that the alarm says has come, or the end.
    fn sleep(&self, parker: &Parker) {
        while !self.is_shut_down() {
            match self.alarm.asleep_until().and_then(|tick| self.clock.instant_of(tick)) {
                None => parker.park(None),
                Some(until) => {
                    if self.clock.now() >= until {
                        return;
                    }
                    parker.park(Some(until));
                }
            }
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn sleeps_without_end(&self) -> bool {
        self.alarm.asleep_until().is_none() && matches!(*self.stage(), Stage::Running(..))
    }
}
