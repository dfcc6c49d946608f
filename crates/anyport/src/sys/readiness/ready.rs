//! The poller, the queue of what it and others have found, and who sleeps while that is empty.
//!
//! Guarantees that whatever is pushed wakes who is to take it, as `sleepers` says. Called by
//! `Readiness` for the lanes and by the file threads for what they finish.

use super::super::Event;
use super::queue::ReadyQueue;
use super::registration::Socket;
use super::selector::Selector;
use super::sleepers::{Place, Sleepers};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module documentation.
pub(super) struct Ready {
    pub(super) selector: Selector,
    pub(super) queue: ReadyQueue,
    pub(super) sleepers: Sleepers,
}

impl Ready {
    /// For `lanes` lanes of the port and, beside them, the clerk's.
    pub(super) fn new(selector: Selector, lanes: usize) -> Self {
        Ready { selector, queue: ReadyQueue::default(), sleepers: Sleepers::new(lanes) }
    }

    /// Adds an event and wakes who is to take it.
    pub(super) fn push(&self, event: Event) {
        self.queue.push(event);
        self.sleepers.call(|| self.notify());
    }

    /// Adds an event and wakes nobody.
    pub(super) fn push_quietly(&self, event: Event) {
        self.queue.push(event);
    }

    /// Adds sockets that the calling lane is about to take itself: nobody is woken.
    pub(super) fn push_own(&self, sockets: &mut Vec<Arc<Socket>>) {
        if !sockets.is_empty() {
            self.queue.push_sockets(sockets);
        }
    }

    /// Adds sockets that the clerk has found. A lane that went to sleep since the poll is woken for
    /// them; where none is there the clerk takes them at its next turn.
    pub(super) fn push_clerks(&self, sockets: &mut Vec<Arc<Socket>>) {
        if !sockets.is_empty() {
            self.queue.push_sockets(sockets);
            self.sleepers.call_for_clerk(|| self.notify());
        }
    }

    pub(super) fn has_events(&self) -> bool {
        self.queue.len() != 0
    }

    /// As `Sleepers::enter`.
    pub(super) fn enter(&self, lane: usize) -> Place {
        self.sleepers.enter(lane, || self.notify())
    }

    /// As `Sleepers::end_look`.
    pub(super) fn end_look(&self) {
        self.sleepers.end_look(|| self.notify());
    }

    /// As `Sleepers::wake`.
    pub(super) fn wake(&self, lane: usize) {
        self.sleepers.wake(lane, || self.notify());
    }

    fn notify(&self) {
        if let Err(e) = self.selector.notify() {
            log::error!("cannot wake the thread that polls: {e}");
        }
    }
}

/// Takes a lock whose holder may have panicked: every critical section here leaves the data whole
/// at each step.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Event, Outcome, Token};
    use super::*;
    use std::sync::Arc;

    #[test]
    fn no_wake_up_is_lost_between_looking_and_sleeping() {
        const EVENTS: u32 = 20_000;
        let ready = Arc::new(Ready::new(Selector::new().expect("a selector"), 2));
        // Holds the poller's part, so that the lane under test parks.
        assert!(ready.sleepers.begin_look());
        let taker = std::thread::spawn({
            let ready = Arc::clone(&ready);
            move || {
                let mut taken = 0;
                while taken < EVENTS {
                    while ready.queue.pop_event().is_some() {
                        taken += 1;
                    }
                    if taken == EVENTS {
                        break;
                    }
                    let place = ready.enter(0);
                    if !ready.has_events() {
                        ready.sleepers.park(0, None);
                    }
                    ready.sleepers.leave(0, place);
                }
            }
        });
        for index in 0..EVENTS {
            ready.push(Event::last(Token::new(index, 1), Outcome::Interrupted));
        }
        taker.join().expect("takes every event");
    }
}
