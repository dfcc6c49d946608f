//! One socket as the readiness backend sees it: what is believed about its readiness, and the
//! requests that wait for it.
//!
//! An edge is noted on the socket, and the socket queued for whichever lane comes next; a further
//! edge until then is noted only. Every system call of a request is made under the socket's lock, so an edge that arrives
//! between "would block" and the note of it is not lost: its delivery waits for the lock and finds
//! the request. Called by `Readiness`.

use super::super::{Event, Outcome, Request, Token};
use super::attempt::{self, Attempt};
use super::ready::locked;
use super::remainder;
use super::selector::Selector;
use crate::buf::BufferPool;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

/// What a descriptor keeps of the readiness backend.
pub(crate) struct Registration {
    pub(super) socket: Arc<Socket>,
}

/// An attached socket. Its descriptor is open while `State::is_attached`.
pub(super) struct Socket {
    fd: RawFd,
    key: usize,
    /// `READABLE` and `WRITABLE`, as the poller found; not zero while the socket is queued.
    found: AtomicU8,
    state: Mutex<State>,
}

/// Bits of what the poller finds.
pub(super) const READABLE: u8 = 1;
pub(super) const WRITABLE: u8 = 2;
/// With `READABLE`: there may be an end, an error or urgent data behind the bytes.
pub(super) const ENDED: u8 = 4;

impl Socket {
    pub(super) fn new(fd: RawFd, key: usize) -> Self {
        // Ready until the system says otherwise: the first attempt finds out.
        let side = || Side { is_ready: true, may_have_end: false };
        let state = State {
            is_attached: true,
            tells_remainder: None,
            read: side(),
            write: side(),
            waiting_to_read: None,
            waiting_to_write: None,
        };
        Socket { fd, key, found: AtomicU8::new(0), state: Mutex::new(state) }
    }

    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// Starts a request: does it, or keeps it until the socket is ready. Gives the events that this
    /// led to: its own or none, save when arming fails.
    ///
    /// # Safety
    /// As for `Backend::issue`.
    pub(super) unsafe fn issue(
        &self,
        selector: &Selector,
        pool: &BufferPool,
        request: Request,
        token: Token,
    ) -> [Option<Event>; 2] {
        let mut state = locked(&self.state);
        debug_assert!(state.is_attached, "a request on a socket that was let go");
        let tells_remainder = state.ask_remainder(self.fd, selector, &request);
        let is_write = attempt::is_write_side(&request);
        assert!(!state.waits(is_write), "two requests in one direction of a socket");
        let side = if is_write { &mut state.write } else { &mut state.read };
        if matches!(request, Request::Connect(_)) {
            // What is known of readiness is from before the connect. Forgotten before the call:
            // the edge of a connect that is quick must not be taken for an old one.
            side.is_ready = false;
        } else if !side.is_ready {
            *state.place(is_write) = Some(Waiting { request, token });
            return self.arm(&mut state, selector);
        }
        // SAFETY: the caller's promise for the memory; the descriptor is open until the event.
        let attempt = unsafe { attempt::start(self.fd, &request, pool, tells_remainder) };
        let is_drained = matches!(attempt, Attempt::Emptied(_));
        match side.conclude(attempt) {
            Some(outcome) => [Some(Event { is_drained, ..Event::last(token, outcome) }), None],
            None => {
                *state.place(is_write) = Some(Waiting { request, token });
                self.arm(&mut state, selector)
            }
        }
    }

    /// Notes what the poller found; true when the socket is to be queued for it.
    pub(super) fn note(&self, found: u8) -> bool {
        found != 0 && self.found.fetch_or(found, Ordering::AcqRel) == 0
    }

    /// Taken from the queue: lets the requests go on that waited for what the poller found.
    pub(super) fn resume(&self, selector: &Selector, pool: &BufferPool) -> [Option<Event>; 2] {
        let mut state = locked(&self.state);
        // Before the attempts: an edge that comes after them queues the socket again.
        let found = self.found.swap(0, Ordering::AcqRel);
        if !state.is_attached {
            return [None, None];
        }
        let tells_remainder = state.tells_remainder == Some(true);
        state.read.may_have_end |= found & ENDED != 0;
        let mut events = [(false, READABLE), (true, WRITABLE)].map(|(is_write, bit)| {
            if found & bit == 0 {
                return None;
            }
            // SAFETY: attached, so the descriptor is open.
            unsafe { state.resume(is_write, self.fd, pool, tells_remainder) }
        });
        for (event, refused) in events.iter_mut().zip(self.arm(&mut state, selector)) {
            // What armed was waiting: it had no event yet.
            *event = event.take().or(refused);
        }
        events
    }

    /// Takes the request out if it still waits.
    pub(super) fn cancel(&self, token: Token) -> bool {
        let mut state = locked(&self.state);
        let State { waiting_to_read, waiting_to_write, .. } = &mut *state;
        [Some(waiting_to_read), waiting_to_write.as_deref_mut()]
            .into_iter()
            .flatten()
            .any(|place| place.take_if(|waiting| waiting.token == token).is_some())
    }

    /// No system call is made on the descriptor from now on.
    pub(super) fn detach(&self) {
        let mut state = locked(&self.state);
        debug_assert!(
            !state.waits(false) && !state.waits(true),
            "a socket was let go with a request under way"
        );
        state.is_attached = false;
        if state.tells_remainder == Some(true) {
            // The descriptor may live on, or have duplicates.
            remainder::stop_asking(self.fd);
        }
    }

    /// Where there are no edges: asks for what is waited for. A refusal ends what waits.
    fn arm(&self, state: &mut State, selector: &Selector) -> [Option<Event>; 2] {
        let wanted = |is_write, bit| if state.waits(is_write) { bit } else { 0 };
        let wanted = wanted(false, READABLE) | wanted(true, WRITABLE);
        if selector.uses_edges() || wanted == 0 {
            return [None, None];
        }
        // SAFETY: attached, so the descriptor is open.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        let Err(error) = selector.arm(fd, self.key, wanted) else {
            return [None, None];
        };
        [false, true].map(|is_write| {
            let token = state.take_waiting(is_write)?.token;
            let outcome = Outcome::Failed(attempt::code_of(&error));
            Some(Event::last(token, outcome))
        })
    }
}

struct State {
    is_attached: bool,
    /// Receives tell what they leave; `None` before the first.
    tells_remainder: Option<bool>,
    read: Side,
    write: Side,
    waiting_to_read: Option<Waiting>,
    /// Made when a request first waits, and kept: an idle connection has none.
    waiting_to_write: Option<Box<Option<Waiting>>>,
}

impl State {
    /// Asked with the first receive: a listener would pass the option on to what it accepts.
    fn ask_remainder(&mut self, fd: RawFd, selector: &Selector, request: &Request) -> bool {
        if self.tells_remainder.is_none() && attempt::tells_remainder(request) {
            self.tells_remainder = Some(selector.tells_ends() && remainder::ask(fd));
        }
        self.tells_remainder == Some(true)
    }

    fn waits(&self, is_write: bool) -> bool {
        match is_write {
            true => self.waiting_to_write.as_ref().is_some_and(|place| place.is_some()),
            false => self.waiting_to_read.is_some(),
        }
    }

    /// Where a request waits.
    fn place(&mut self, is_write: bool) -> &mut Option<Waiting> {
        match is_write {
            true => self.waiting_to_write.get_or_insert_default(),
            false => &mut self.waiting_to_read,
        }
    }

    fn take_waiting(&mut self, is_write: bool) -> Option<Waiting> {
        match is_write {
            true => self.waiting_to_write.as_mut()?.take(),
            false => self.waiting_to_read.take(),
        }
    }

    /// The socket has become ready: lets the request go on that waits for it.
    ///
    /// # Safety
    /// `fd` is open.
    unsafe fn resume(
        &mut self,
        is_write: bool,
        fd: RawFd,
        pool: &BufferPool,
        tells_remainder: bool,
    ) -> Option<Event> {
        let waiting = self.take_waiting(is_write);
        let side = if is_write { &mut self.write } else { &mut self.read };
        side.is_ready = true;
        let Waiting { request, token } = waiting?;
        // SAFETY: the request is under way (it waited), so its memory is valid by the promise that
        // was given when it was issued; `fd` is open.
        let attempt = unsafe { attempt::go_on(fd, &request, pool, tells_remainder) };
        let is_drained = matches!(attempt, Attempt::Emptied(_));
        let Some(outcome) = side.conclude(attempt) else {
            *self.place(is_write) = Some(Waiting { request, token });
            return None;
        };
        Some(Event { is_drained, ..Event::last(token, outcome) })
    }
}

/// One direction of a socket.
struct Side {
    /// A hint: an attempt may succeed.
    ///
    /// Cleared by "would block"; also by a receive that emptied the socket, unless there may be an
    /// end. What arrives after that is an edge of its own.
    is_ready: bool,
    /// An edge told of more than bytes: an end, an error, urgent data. Emptying the socket does not
    /// show that it is over, and its edge was the last; "would block" does.
    may_have_end: bool,
}

impl Side {
    /// Notes what an attempt shows of readiness; `None` when the request waits.
    fn conclude(&mut self, attempt: Attempt) -> Option<Outcome> {
        match attempt {
            Attempt::Done(outcome) => {
                self.is_ready = true;
                Some(outcome)
            }
            Attempt::Emptied(outcome) => {
                self.is_ready = self.may_have_end;
                Some(outcome)
            }
            Attempt::Wait => {
                self.is_ready = false;
                self.may_have_end = false;
                None
            }
        }
    }
}

struct Waiting {
    request: Request,
    token: Token,
}
