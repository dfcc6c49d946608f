//! From events to completions: a lane's, in the order of its events, one thread at a time; and those
//! that no lane brings, in a queue for whichever thread comes next.
//!
//! An operation stays in its handle's line until its completion has a place from which no later one
//! can be handed out first.

use super::body::Completion;
use super::core::Core;
use super::quiet::QuietEnds;
use crate::latch::LatchGuard;
use crate::sys::{Ahead, Reaped, Token};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl Core {
    /// The next completion of a lane, in the order of its events. `serving` is the lane that the
    /// calling thread serves: follow-up requests go there. `upcoming` is told the numbers of
    /// operations whose completions will follow soon.
    ///
    /// `quiet` takes up the numbers of operations that ended on the way and of which nobody is told:
    /// when it is full there may be more. Their contexts are to be dropped, and they released.
    pub(crate) fn next_completion(
        &self,
        lane: usize,
        serving: usize,
        quiet: &mut QuietEnds,
        upcoming: impl Fn(u32),
    ) -> Option<Completion> {
        let mut reaped = self.reaped(lane);
        self.reap(&mut reaped, lane, serving, quiet, upcoming)
    }

    /// As `next_completion` for another thread's lane: gives way to whoever is at it.
    pub(crate) fn steal_completion(
        &self,
        lane: usize,
        serving: usize,
        quiet: &mut QuietEnds,
        upcoming: impl Fn(u32),
    ) -> Option<Completion> {
        if !self.backend().has_events(lane) {
            return None;
        }
        let mut reaped = self.reaping[lane].try_lock()?;
        fault_point!(Stealing);
        self.reap(&mut reaped, lane, serving, quiet, upcoming)
    }

    /// Takes events of a lane, whose lock is held, until one of them completes an operation.
    fn reap(
        &self,
        reaped: &mut Reaped,
        lane: usize,
        serving: usize,
        quiet: &mut QuietEnds,
        upcoming: impl Fn(u32),
    ) -> Option<Completion> {
        let completion = self.take_event(reaped, lane, serving, Some(quiet), upcoming)?;
        if self.ready_len.load(Ordering::Acquire) == 0 {
            return Some(completion);
        }
        // An operation begins after the one before it on its handle has been taken or queued. If
        // that one was queued since this thread looked, it must not be overtaken here.
        self.push_ready(serving, completion);
        self.pop_ready()
    }

    /// Queues every completion of a lane, for a thread that handles none itself.
    pub(crate) fn queue_completions(&self, lane: usize, serving: usize) {
        self.queue_reaped(&mut self.reaped(lane), lane, serving);
    }

    /// As `queue_completions`, of a lane whose lock is held; says how many.
    pub(super) fn queue_reaped(&self, reaped: &mut Reaped, lane: usize, serving: usize) -> usize {
        let mut count = 0;
        while let Some(completion) = self.take_event(reaped, lane, serving, None, |_| {}) {
            self.push_ready(serving, completion);
            count += 1;
        }
        count
    }

    fn reaped(&self, lane: usize) -> LatchGuard<'_, Reaped> {
        self.reaping[lane].lock()
    }

    pub(super) fn take_event(
        &self,
        reaped: &mut Reaped,
        lane: usize,
        serving: usize,
        mut quiet: Option<&mut QuietEnds>,
        upcoming: impl Fn(u32),
    ) -> Option<Completion> {
        let upcoming = |ahead, token: Token| match ahead {
            Ahead::Soon => {
                self.table.prefetch(token.index());
                upcoming(token.index());
            }
            Ahead::Next => self.table.prefetch_handle(token.index()),
        };
        while let Some(event) = self.backend().next_event(lane, lane == serving, reaped, upcoming) {
            fault_point!(EventTaken);
            if let Some(completion) = self.on_event(serving, event, quiet.as_deref_mut()) {
                fault_point!(Completed);
                return Some(completion);
            }
            if quiet.as_ref().is_some_and(|quiet| quiet.is_full()) {
                return None;
            }
        }
        None
    }

    /// The next completion that no lane brings.
    pub(crate) fn next_ready(&self, serving: usize) -> Option<Completion> {
        if self.has_returned_buffer.load(Ordering::Acquire) {
            self.retry_starved(serving);
        }
        if self.ready_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.pop_ready()
    }

    fn pop_ready(&self) -> Option<Completion> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let completion = ready.pop_front();
        self.ready_len.store(ready.len(), Ordering::Release);
        completion
    }

    /// True when `next_ready` would find something to do.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready_len.load(Ordering::Acquire) > 0
            || self.has_returned_buffer.load(Ordering::Acquire)
    }

    /// Queues a completion for whichever thread comes next, and calls one.
    pub(crate) fn push_ready(&self, serving: usize, completion: Completion) {
        self.push_ready_untold(serving, completion);
        self.call_on_ready();
    }

    /// As `push_ready`, for who has yet to call a thread, when it holds nothing any more that this
    /// thread would wait for.
    pub(super) fn push_ready_untold(&self, serving: usize, mut completion: Completion) {
        let (handle, last) = (completion.in_line.take(), completion.last.take());
        let next = match &handle {
            Some(handle) => {
                let (side, index) = (completion.kind.side(), completion.index());
                // With the handle locked until it is queued: what starts on an empty line begins at
                // once, and must not be over before. And first out of the line: who takes it from the
                // queue gives the slot to another operation.
                let mut state = handle.state();
                let next = self.unlink(handle, &mut state, side, index);
                self.queue_ready_untold(completion);
                next
            }
            None => {
                self.queue_ready_untold(completion);
                None
            }
        };
        drop(handle);
        if let Some(last) = last {
            self.push_ready_untold(serving, *last);
        }
        if let Some(next) = next {
            self.begin(serving, next);
        }
    }

    /// As `push_ready`, for a completion that nobody waits behind.
    pub(super) fn queue_ready(&self, completion: Completion) {
        self.queue_ready_untold(completion);
        self.call_on_ready();
    }

    fn queue_ready_untold(&self, completion: Completion) {
        debug_assert!(completion.in_line.is_none() && completion.last.is_none());
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push_back(completion);
        self.ready_len.store(ready.len(), Ordering::Release);
    }
}
