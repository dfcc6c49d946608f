//! A world as everything in it knows it: its state behind a lock, and how a thread waits for what
//! is in there.
//!
//! The lock is a leaf: under it nobody calls anything above the seam, and no engine lock is taken
//! but the pool's.

use super::current;
use super::state::State;
use super::threads::{Clock, ThreadId, Wait};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// See the module documentation.
pub(super) struct Shared {
    state: Mutex<State>,
    /// For threads that do not take turns.
    changed: Condvar,
    /// What `Instant`s of the world's threads are counted from.
    pub(super) start: Instant,
    pub(super) seed: u64,
}

impl Shared {
    /// A world whose clock is the real one or, from its first moment on, moved by turns.
    pub(super) fn new(seed: u64, clock: Clock) -> Self {
        let mut state = State::new(seed);
        state.threads.clock = clock;
        Shared { state: Mutex::new(state), changed: Condvar::new(), start: Instant::now(), seed }
    }

    /// Calls `f` with the state, as it is now; requests whose sockets `f` has changed go on.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let due_before = state.time.next_at();
        let result = f(&mut state);
        state.settle();
        // Who waits in real time waits for what was due next as he began to.
        let is_due_earlier = match (state.time.next_at(), due_before) {
            (Some(now), Some(before)) => now < before,
            (now, before) => now.is_some() && before.is_none(),
        };
        if std::mem::take(&mut state.has_changed) || is_due_earlier {
            self.changed.notify_all();
        }
        result
    }

    /// Waits until there is what is waited for, or until the deadline, in the world's time. May
    /// return early for no reason.
    pub(super) fn wait(&self, wait: Wait, deadline: Option<u64>) {
        let mut state = self.lock();
        if state.threads.takes_turns() {
            let me = current::thread_of(self).expect(
                "only threads of a run wait for what is in its world: start them by World::spawn",
            );
            state.threads.set_wait(me, Some((wait, deadline)));
            state.pass_turn_on();
            state = self.until_turn(state, me);
            state.threads.set_wait(me, None);
            if state.threads.takes_turns() {
                return;
            }
        }
        if let Some(stuck) = current::is_main_of(self).then(|| state.threads.stuck.take()).flatten()
        {
            drop(state);
            panic!("{stuck}");
        }
        self.wait_in_real_time(state, wait, deadline);
    }

    /// Waits so long, in the world's time.
    pub(super) fn sleep(&self, time: Duration) {
        let deadline = self.deadline(Some(time));
        while self.with(|state| Some(state.time.now()) < deadline) {
            self.wait(Wait::Time, deadline);
        }
    }

    /// The calling thread, which is new, waits for its first turn.
    pub(super) fn wait_for_first_turn(&self, me: ThreadId) {
        let mut state = self.until_turn(self.lock(), me);
        state.threads.set_wait(me, None);
    }

    /// The calling thread ends: another has the turn.
    pub(super) fn leave(&self, me: ThreadId, has_panicked: bool) {
        let mut state = self.lock();
        let name = state.threads.remove(me);
        if has_panicked {
            state.threads.panicked.insert(me, name.unwrap_or_default());
        }
        if state.threads.takes_turns() {
            state.pass_turn_on();
        }
        self.changed.notify_all();
    }

    /// Virtual nanoseconds, `timeout` from now.
    pub(super) fn deadline(&self, timeout: Option<Duration>) -> Option<u64> {
        let timeout = super::random::nanoseconds(timeout?);
        Some(self.lock().time.now().saturating_add(timeout))
    }

    /// Now, as an `Instant` of the world's threads.
    pub(super) fn now(&self) -> Instant {
        self.start + Duration::from_nanos(self.lock().time.now())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Clock::Real { since, from } = state.threads.clock {
            let now = from.saturating_add(super::random::nanoseconds(since.elapsed()));
            state.run_until(now);
        }
        state
    }

    fn until_turn<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        me: ThreadId,
    ) -> MutexGuard<'a, State> {
        let Some(turn) = state.threads.turn_of(me) else { return state };
        while state.threads.takes_turns() && state.threads.has_turn != Some(me) {
            state = turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn wait_in_real_time(
        &self,
        mut state: MutexGuard<'_, State>,
        wait: Wait,
        deadline: Option<u64>,
    ) {
        loop {
            let Clock::Real { since, from } = state.threads.clock else { return };
            let now = from.saturating_add(super::random::nanoseconds(since.elapsed()));
            state.run_until(now);
            let is_late = deadline.is_some_and(|deadline| deadline <= now);
            let is_over = is_late || state.is_over(wait);
            if std::mem::take(&mut state.has_changed) {
                self.changed.notify_all();
            }
            if is_over {
                return;
            }
            let until = deadline.into_iter().chain(state.time.next_at()).min();
            state = match until {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = Duration::from_nanos(until.saturating_sub(now));
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
