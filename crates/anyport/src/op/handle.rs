//! An associated handle: its descriptor, its key, and the operations that stand in line on it.

use super::body::NONE;
use super::core::Core;
use super::receive_class::ReceiveClass;
use super::table::OpTable;
use crate::buf::{PooledBuffer, SizeClass};
use crate::latch::{Latch, LatchGuard};
use crate::sys::{Association, Descriptor};
use std::fmt;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// What all duplicates of a handle share.
pub(crate) struct HandleCore {
    pub(super) core: Arc<Core>,
    descriptor: Option<Descriptor>,
    key: usize,
    state: Latch<HandleState>,
    /// Duplicates in the user's hands; the last one closes.
    duplicates: AtomicU32,
    receive_class: ReceiveClass,
    /// New receives are refused; a pending one goes on, as on Windows. Changed, and obeyed, with
    /// the state locked; beside it only for its size.
    pub(super) is_receiving_shut_down: AtomicBool,
    /// Likewise.
    pub(super) is_closed: AtomicBool,
    /// Likewise: see `is_sending_at_once`.
    is_sending_at_once: AtomicBool,
    /// New sends are refused. Changed with or without the lock.
    pub(super) is_sending_shut_down: AtomicBool,
    /// Not by a disconnect, which may be cancelled.
    was_shut_down_at_once: AtomicBool,
    /// The peer reset the connection: from now on everything fails with that, never a clean end.
    pub(super) is_reset: AtomicBool,
    /// Ends with the open object: while it lives, associating the object again is refused.
    association: Option<Association>,
}

/// What changes; behind a lock that is taken before any operation's.
pub(super) struct HandleState {
    pub(super) receiving: OpQueue,
    pub(super) sending: OpQueue,
    /// Made with the first: sockets have none.
    #[allow(clippy::box_collection, reason = "8 bytes instead of 24 in every idle handle")]
    pub(super) unordered: Option<Box<Vec<u32>>>,
    /// Requests that were taken over and still hold the open object, so that closing the descriptor
    /// tells the peer nothing. Made with the first.
    pub(super) held_elsewhere: Option<Arc<AtomicUsize>>,
}

impl HandleState {
    /// True while a request that was taken over holds the open object.
    pub(super) fn is_held_elsewhere(&self) -> bool {
        self.held_elsewhere.as_ref().is_some_and(|count| count.load(Ordering::Acquire) > 0)
    }
}

impl HandleCore {
    pub(crate) fn new(
        core: Arc<Core>,
        descriptor: Descriptor,
        key: usize,
        association: Option<Association>,
    ) -> Self {
        let receive_class = core.receive_class();
        HandleCore {
            core,
            descriptor: Some(descriptor),
            key,
            state: Latch::new(HandleState {
                receiving: OpQueue::EMPTY,
                sending: OpQueue::EMPTY,
                unordered: None,
                held_elsewhere: None,
            }),
            is_receiving_shut_down: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_sending_at_once: AtomicBool::new(false),
            is_sending_shut_down: AtomicBool::new(false),
            was_shut_down_at_once: AtomicBool::new(false),
            is_reset: AtomicBool::new(false),
            duplicates: AtomicU32::new(1),
            receive_class,
            association,
        }
    }

    pub(crate) fn key(&self) -> usize {
        self.key
    }

    pub(crate) fn descriptor(&self) -> &Descriptor {
        self.descriptor.as_ref().expect("only taken when the handle is dropped or given away")
    }

    pub(super) fn state(&self) -> LatchGuard<'_, HandleState> {
        self.state.lock()
    }

    pub(crate) fn receive_class(&self) -> SizeClass {
        self.receive_class.get()
    }

    pub(crate) fn fix_receive_class(&self, class: SizeClass) {
        self.receive_class.fix(class);
    }

    /// See [`ReceiveClass::judge`].
    pub(super) fn judge_receive(&self, buffer: &PooledBuffer, is_drained: bool) -> bool {
        let (bytes, room) = (buffer.len(), buffer.capacity());
        self.receive_class.judge(bytes, room, is_drained, self.core.receive_class_max)
    }

    /// A thread is at a send that has no operation: nothing may begin before it.
    pub(super) fn is_sending_at_once(&self, _locked: &HandleState) -> bool {
        self.is_sending_at_once.load(Ordering::Relaxed)
    }

    pub(super) fn set_sending_at_once(&self, _locked: &mut HandleState, is_sending: bool) {
        self.is_sending_at_once.store(is_sending, Ordering::Relaxed);
    }

    pub(crate) fn add_duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    /// One duplicate less; true when it was the last.
    pub(crate) fn remove_duplicate(&self) -> bool {
        self.duplicates.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(crate) fn is_only_duplicate(&self) -> bool {
        self.duplicates.load(Ordering::Acquire) == 1
    }

    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        let has_unordered = state.unordered.as_ref().is_some_and(|u| !u.is_empty());
        state.receiving.is_empty() && state.sending.is_empty() && !has_unordered
    }

    /// Notes that this side was shut down by the user.
    pub(crate) fn note_shutdown(&self, receiving: bool, sending: bool) {
        let state = self.state();
        if receiving {
            self.is_receiving_shut_down.store(true, Ordering::Relaxed);
        }
        drop(state);
        if sending {
            self.was_shut_down_at_once.store(true, Ordering::Release);
            self.is_sending_shut_down.store(true, Ordering::Release);
        }
    }

    /// A disconnect has not happened: sends may start again. With the state locked, under which it
    /// was started.
    pub(super) fn undo_disconnect(&self) {
        if !self.was_shut_down_at_once.load(Ordering::Acquire) {
            self.is_sending_shut_down.store(false, Ordering::Release);
        }
    }

    /// True when the peer reset the connection, though a call may just have found a clean end.
    pub(super) fn lost_peer(&self) -> bool {
        // After this side has shut down, an orderly end looks like a reset to the system.
        self.is_reset.load(Ordering::Acquire)
            || !self.is_sending_shut_down.load(Ordering::Acquire) && self.descriptor().was_reset()
    }

    /// Takes the descriptor out, to give it away; nothing is under way and this is the only one.
    pub(crate) fn into_descriptor(mut self) -> Option<Descriptor> {
        self.association = None;
        let descriptor = self.descriptor.take()?;
        self.core.backend().detach(&descriptor);
        Some(descriptor)
    }
}

impl fmt::Debug for HandleCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleCore").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for HandleCore {
    fn drop(&mut self) {
        // Before the descriptor closes: its number may then be another's at once.
        self.association = None;
        if let Some(descriptor) = self.descriptor.take() {
            if self.state().is_held_elsewhere() {
                // Taken over since the last duplicate was closed.
                end_connection(&descriptor);
            }
            self.core.backend().detach(&descriptor);
        }
    }
}

/// Tells the peer of a close while the kernel keeps the socket, for a request that it has.
pub(super) fn end_connection(descriptor: &Descriptor) {
    if descriptor.is_socket() && !descriptor.is_datagram() {
        let _ = descriptor.shutdown(Shutdown::Both);
    }
}

/// Operations in the order in which they were started: a list through their slots.
pub(super) struct OpQueue {
    head: u32,
    tail: u32,
}

impl OpQueue {
    const EMPTY: OpQueue = OpQueue { head: NONE, tail: NONE };

    pub(super) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    pub(super) fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    /// Adds an operation at the end; true when it is the only one.
    pub(super) fn push(&mut self, table: &OpTable, index: u32) -> bool {
        let is_first = self.head == NONE;
        if is_first {
            self.head = index;
        } else {
            table.set_next(self.tail, index);
        }
        table.set_next(index, NONE);
        self.tail = index;
        is_first
    }

    /// Adds an operation before all others.
    pub(super) fn push_front(&mut self, table: &OpTable, index: u32) {
        table.set_next(index, self.head);
        if self.head == NONE {
            self.tail = index;
        }
        self.head = index;
    }

    /// Takes an operation out, wherever it stands; true when it was the first.
    pub(super) fn remove(&mut self, table: &OpTable, index: u32) -> bool {
        let mut previous = NONE;
        let mut current = self.head;
        while current != NONE {
            let next = table.next(current);
            if current == index {
                if previous == NONE {
                    self.head = next;
                } else {
                    table.set_next(previous, next);
                }
                if self.tail == index {
                    self.tail = previous;
                }
                return previous == NONE;
            }
            previous = current;
            current = next;
        }
        false
    }

    /// The numbers of all, in order.
    pub(super) fn numbers(&self, table: &OpTable) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut current = self.head;
        while current != NONE {
            numbers.push(current);
            current = table.next(current);
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_leave_the_queue_from_any_place_and_keep_their_order() {
        let table = OpTable::new(100);
        let mut queue = OpQueue::EMPTY;
        assert!(queue.push(&table, 3));
        for i in [1, 7, 5] {
            assert!(!queue.push(&table, i));
        }
        assert!(!queue.remove(&table, 7));
        assert_eq!(queue.numbers(&table), [3, 1, 5]);
        assert!(!queue.remove(&table, 5));
        assert!(!queue.push(&table, 9));
        assert_eq!(queue.numbers(&table), [3, 1, 9]);
        assert!(queue.remove(&table, 3));
        assert_eq!(queue.head(), Some(1));
        assert!(!queue.remove(&table, 42));
        queue.push_front(&table, 8);
        assert_eq!(queue.numbers(&table), [8, 1, 9]);
        assert!(queue.remove(&table, 8) && queue.remove(&table, 1) && queue.remove(&table, 9));
        queue.push_front(&table, 4);
        assert!(!queue.push(&table, 6));
        assert_eq!(queue.numbers(&table), [4, 6]);
    }
}
