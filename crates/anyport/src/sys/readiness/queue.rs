//! Events and ready sockets that wait to be taken.
//!
//! Guarantees that whatever goes in comes out however busy the rest is, and that the clerk takes
//! nothing that a lane is about to take. Called by `Ready` for what goes in and by `Readiness` for
//! what comes out.

use super::super::{Ahead, Event, Token, prefetch};
use super::registration::Socket;
use crate::latch::Latch;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The queue that all lanes take from.
#[derive(Default)]
pub(super) struct ReadyQueue {
    queue: Latch<Queue>,
    /// Length of the queue, written under its lock, so that looking takes none.
    length: AtomicUsize,
}

/// What waits in the queue.
pub(super) enum Item {
    Event(Event),
    /// The poller found it ready: whoever takes it lets its requests go on.
    Socket(Arc<Socket>),
}

/// What a lane took.
pub(super) struct Taken {
    pub(super) item: Item,
    /// The sockets should be looked at: see `LOOK_EVERY`.
    pub(super) is_look_due: bool,
}

impl ReadyQueue {
    pub(super) fn len(&self) -> usize {
        self.length.load(Ordering::Relaxed)
    }

    pub(super) fn push(&self, event: Event) {
        let mut queue = self.queue.lock();
        queue.events.push_back(event);
        self.note_length(&queue);
    }

    pub(super) fn push_sockets(&self, sockets: &mut Vec<Arc<Socket>>) {
        let mut queue = self.queue.lock();
        queue.sockets.extend(sockets.drain(..));
        self.note_length(&queue);
    }

    /// Takes what is next, for a lane. `upcoming` is told which requests the sockets behind it will
    /// let go on.
    pub(super) fn pop(&self, upcoming: impl Fn(Ahead, Token)) -> Option<Taken> {
        if self.len() == 0 {
            return None;
        }
        let mut queue = self.queue.lock();
        let item = queue.pop()?;
        queue.taken = queue.taken.wrapping_add(1);
        let is_look_due = queue.taken.is_multiple_of(LOOK_EVERY) && queue.sockets.is_empty();
        self.note_length(&queue);
        // In three steps, since each tells where the next one is.
        if let Some(next) = queue.sockets.front() {
            upcoming(Ahead::Next, next.reader());
            if let Some(soon) = queue.sockets.get(2) {
                upcoming(Ahead::Soon, soon.reader());
            }
            if let Some(later) = queue.sockets.get(4) {
                prefetch(Arc::as_ptr(later));
            }
        }
        Some(Taken { item, is_look_due })
    }

    /// Takes what is next, for the clerk, unless lanes have taken something since it last asked.
    ///
    /// What the clerk takes goes through one more queue and a wake-up to a thread of the port. So
    /// it takes only what would else be left lying, as when no thread of the port is there.
    pub(super) fn pop_neglected(&self) -> Option<Item> {
        if self.len() == 0 {
            return None;
        }
        let mut queue = self.queue.lock();
        let taken = queue.taken;
        if std::mem::replace(&mut queue.taken_when_asked, taken) != taken {
            return None;
        }
        let item = queue.pop();
        self.note_length(&queue);
        item
    }

    /// As `pop`, where only events are.
    #[cfg(test)]
    pub(super) fn pop_event(&self) -> Option<Event> {
        match self.pop(|_, _| {})?.item {
            Item::Event(event) => Some(event),
            Item::Socket(_) => None,
        }
    }

    /// True when ready sockets wait to be taken: those that a poll would find come behind them.
    pub(super) fn has_sockets(&self) -> bool {
        !self.queue.lock().sockets.is_empty()
    }

    fn note_length(&self, queue: &Queue) {
        let length = queue.events.len() + queue.sockets.len();
        self.length.store(length, Ordering::Relaxed);
    }
}

/// Taken from the queue between two looks at the sockets while it never runs dry.
///
/// A few busy sockets whose requests succeed at once could keep the queue filled for ever, so that
/// nobody waits and nobody polls for the others.
const LOOK_EVERY: usize = 64;

/// One in so many takes a socket first.
const SOCKET_FIRST_EVERY: usize = 8;

/// See `ReadyQueue`.
#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    sockets: VecDeque<Arc<Socket>>,
    /// What lanes took, counted, wrapping.
    taken: usize,
    /// `taken` when the clerk last asked.
    taken_when_asked: usize,
}

impl Queue {
    /// Events first: a socket's answer is then completed, and its buffer free again, before the
    /// next socket is read, while both are in the cache. But not always, so that requests that
    /// succeed at once do not keep the sockets waiting for ever.
    fn pop(&mut self) -> Option<Item> {
        if self.taken.is_multiple_of(SOCKET_FIRST_EVERY)
            && let Some(socket) = self.sockets.pop_front()
        {
            return Some(Item::Socket(socket));
        }
        match self.events.pop_front() {
            Some(event) => Some(Item::Event(event)),
            None => self.sockets.pop_front().map(Item::Socket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Outcome;
    use super::*;

    fn event(index: u32) -> Event {
        Event::last(Token::new(index, 1), Outcome::Interrupted)
    }

    fn socket(key: usize) -> Arc<Socket> {
        Arc::new(Socket::new(3, key))
    }

    /// The number of the event, or the socket's key.
    fn number(item: Item) -> usize {
        match item {
            Item::Event(event) => event.token.index() as usize,
            Item::Socket(socket) => socket.key(),
        }
    }

    #[test]
    fn events_come_out_in_the_order_in_which_they_went_in() {
        let queue = ReadyQueue::default();
        (1..4).for_each(|index| queue.push(event(index)));
        let order: Vec<_> =
            std::iter::from_fn(|| queue.pop(|_, _| {})).map(|t| number(t.item)).collect();
        assert_eq!(order, [1, 2, 3]);
        assert!(queue.len() == 0);
    }

    #[test]
    fn sockets_come_out_however_many_events_there_are() {
        let queue = ReadyQueue::default();
        queue.push_sockets(&mut vec![socket(1001), socket(1002)]);
        let mut sockets = 0;
        for index in 0..2 * SOCKET_FIRST_EVERY as u32 {
            queue.push(event(index));
            sockets +=
                usize::from(matches!(queue.pop(|_, _| {}).map(|t| t.item), Some(Item::Socket(_))));
        }
        assert_eq!(sockets, 2);
        assert!(!queue.has_sockets());
    }

    #[test]
    fn a_look_is_due_now_and_then_and_only_without_sockets() {
        let queue = ReadyQueue::default();
        queue.push_sockets(&mut (0..LOOK_EVERY + 1).map(socket).collect());
        assert!((0..LOOK_EVERY).all(|_| !queue.pop(|_, _| {}).expect("a socket").is_look_due));
        assert!(!queue.pop(|_, _| {}).expect("a socket").is_look_due);
        for index in 1..LOOK_EVERY as u32 {
            queue.push(event(index));
            let is_last = index as usize == LOOK_EVERY - 1;
            assert_eq!(queue.pop(|_, _| {}).expect("an event").is_look_due, is_last);
        }
    }

    #[test]
    fn the_clerk_takes_only_what_no_lane_takes() {
        let queue = ReadyQueue::default();
        (0..4).for_each(|index| queue.push(event(index)));
        assert_eq!(queue.pop(|_, _| {}).map(|t| number(t.item)), Some(0));
        assert!(queue.pop_neglected().is_none(), "a lane is at it");
        assert_eq!(queue.pop_neglected().map(number), Some(1), "no lane has come since");
        assert_eq!(queue.pop_neglected().map(number), Some(2));
        assert_eq!(queue.pop(|_, _| {}).map(|t| number(t.item)), Some(3));
        assert!(queue.len() == 0);
    }
}
