//! One socket as the readiness backend sees it: what is believed about its readiness, and the
//! requests that wait for it.
//!
//! An edge is noted on the socket, and the socket queued for whichever lane comes next; a further
//! edge until then is noted only. Every system call of a request is made under the socket's lock, so an edge that arrives
//! between "would block" and the note of it is not lost: its delivery waits for the lock and finds
//! the request. Called by `Readiness`.

use super::super::{Event, Outcome, Request, Token};
use super::attempt::{self, Attempt, Telling};
use super::remainder;
use super::selector::Selector;
use crate::buf::BufferPool;
use crate::latch::Latch;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

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
    /// Of the request that last waited to read: for what is to be in the cache before its turn.
    reader: AtomicU64,
    state: Latch<State>,
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
            telling: None,
            read: side(),
            write: side(),
            waiting_to_read: None,
            waiting_to_write: None,
        };
        Socket {
            fd,
            key,
            found: AtomicU8::new(0),
            reader: AtomicU64::new(0),
            state: Latch::new(state),
        }
    }

    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// The request that waits to read, or that last did.
    pub(super) fn reader(&self) -> Token {
        Token::from_bits(self.reader.load(Ordering::Relaxed))
    }

    /// Starts a request: does it, or keeps it until the socket is ready. `led_to` is given the events
    /// that this led to: its own or none, save when arming fails.
    ///
    /// # Safety
    /// As for `Backend::issue`.
    pub(super) unsafe fn issue(
        &self,
        selector: &Selector,
        pool: &BufferPool,
        request: Request,
        token: Token,
        mut led_to: impl FnMut(Event),
    ) {
        let mut state = self.state.lock();
        debug_assert!(state.is_attached, "a request on a socket that was let go");
        let telling = state.telling(self.fd, selector, &request);
        let is_write = attempt::is_write_side(&request);
        if !is_write {
            self.reader.store(token.bits(), Ordering::Relaxed);
        }
        assert!(!state.waits(is_write), "two requests in one direction of a socket");
        let side = if is_write { &mut state.write } else { &mut state.read };
        if matches!(request, Request::Connect(_)) {
            // What is known of readiness is from before the connect. Forgotten before the call:
            // the edge of a connect that is quick must not be taken for an old one.
            side.is_ready = false;
        } else if !side.is_ready {
            *state.place(is_write) = Some(Waiting { request, token });
            return self.arm(&mut state, selector, led_to);
        }
        // SAFETY: the caller's promise for the memory; the descriptor is open until the event.
        let attempt = unsafe { attempt::start(self.fd, &request, pool, telling) };
        fault_point!(Tried);
        match state.conclude(is_write, &request, token, attempt) {
            Some(event) => led_to(event),
            None => {
                *state.place(is_write) = Some(Waiting { request, token });
                self.arm(&mut state, selector, led_to);
            }
        }
    }

    /// Notes what the poller found; true when the socket is to be queued for it.
    pub(super) fn note(&self, found: u8) -> bool {
        found != 0 && self.found.fetch_or(found, Ordering::AcqRel) == 0
    }

    /// Taken from the queue: lets the requests go on that waited for what the poller found. Gives the
    /// event of the one that receives; `others` is given those of the other side and of failures.
    pub(super) fn resume(
        &self,
        selector: &Selector,
        pool: &BufferPool,
        mut others: impl FnMut(Event),
    ) -> Option<Event> {
        let mut state = self.state.lock();
        // Before the attempts: an edge that comes after them queues the socket again.
        let found = self.found.swap(0, Ordering::AcqRel);
        if !state.is_attached {
            return None;
        }
        fault_point!(Claimed);
        state.read.may_have_end |= found & ENDED != 0;
        if found & WRITABLE != 0 {
            // SAFETY: attached, so the descriptor is open.
            if let Some(event) = unsafe { state.resume(true, self.fd, pool) } {
                others(event);
            }
        }
        let event = match found & READABLE {
            0 => None,
            // SAFETY: as above.
            _ => unsafe { state.resume(false, self.fd, pool) },
        };
        fault_point!(Attempted);
        self.arm(&mut state, selector, others);
        event
    }

    /// Takes the request out if it still waits.
    pub(super) fn cancel(&self, token: Token) -> bool {
        let mut state = self.state.lock();
        let State { waiting_to_read, waiting_to_write, .. } = &mut *state;
        [Some(waiting_to_read), waiting_to_write.as_deref_mut()]
            .into_iter()
            .flatten()
            .any(|place| place.take_if(|waiting| waiting.token == token).is_some())
    }

    /// No system call is made on the descriptor from now on.
    pub(super) fn detach(&self) {
        let mut state = self.state.lock();
        debug_assert!(
            !state.waits(false) && !state.waits(true),
            "a socket was let go with a request under way"
        );
        state.is_attached = false;
        if matches!(state.telling, Some(Telling::ByLength | Telling::ByKernel)) {
            // The descriptor may live on, or have duplicates.
            remainder::stop_asking(self.fd);
        }
    }

    /// Where there are no edges: asks for what is waited for. A refusal ends what waits.
    fn arm(&self, state: &mut State, selector: &Selector, mut led_to: impl FnMut(Event)) {
        if selector.uses_edges() {
            return;
        }
        let wanted = |is_write, bit| if state.waits(is_write) { bit } else { 0 };
        let wanted = wanted(false, READABLE) | wanted(true, WRITABLE);
        if wanted == 0 {
            return;
        }
        // SAFETY: attached, so the descriptor is open.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        let Err(error) = selector.arm(fd, self.key, wanted) else { return };
        for is_write in [false, true] {
            if let Some(Waiting { token, .. }) = state.take_waiting(is_write) {
                let outcome = Outcome::Failed(attempt::code_of(&error));
                led_to(Event::last(token, outcome));
            }
        }
    }
}

struct State {
    is_attached: bool,
    /// How receives learn what they leave; `None` before the first.
    telling: Option<Telling>,
    read: Side,
    write: Side,
    waiting_to_read: Option<Waiting>,
    /// Made when a request first waits, and kept: an idle connection has none.
    waiting_to_write: Option<Box<Option<Waiting>>>,
}

impl State {
    /// Asked with the first receive: a listener would pass the option on to what it accepts.
    fn telling(&mut self, fd: RawFd, selector: &Selector, request: &Request) -> Telling {
        if self.telling.is_none() && attempt::tells_remainder(request) {
            let does_tell = selector.tells_ends() && remainder::ask(fd);
            self.telling = Some(if does_tell { Telling::ByLength } else { Telling::No });
        }
        self.telling.unwrap_or(Telling::No)
    }

    /// Notes what an attempt shows of readiness; `None` when the request waits.
    fn conclude(
        &mut self,
        is_write: bool,
        request: &Request,
        token: Token,
        attempt: Attempt,
    ) -> Option<Event> {
        let side = if is_write { &mut self.write } else { &mut self.read };
        let (outcome, is_drained) = match attempt {
            Attempt::Done(outcome) => {
                side.is_ready = true;
                (outcome, false)
            }
            Attempt::Emptied(outcome) => {
                side.is_ready = side.may_have_end;
                (outcome, true)
            }
            Attempt::Wait => {
                side.is_ready = false;
                side.may_have_end = false;
                return None;
            }
        };
        if let Some(telling @ (Telling::ByLength | Telling::ByKernel)) = &mut self.telling
            && !is_write
        {
            *telling = match attempt::fills(request, &outcome) {
                true => Telling::ByKernel,
                false => Telling::ByLength,
            };
        }
        Some(Event { is_drained, ..Event::last(token, outcome) })
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
    unsafe fn resume(&mut self, is_write: bool, fd: RawFd, pool: &BufferPool) -> Option<Event> {
        let waiting = self.take_waiting(is_write);
        let side = if is_write { &mut self.write } else { &mut self.read };
        side.is_ready = true;
        let Waiting { request, token } = waiting?;
        let telling = self.telling.unwrap_or(Telling::No);
        // SAFETY: the request is under way (it waited), so its memory is valid by the promise that
        // was given when it was issued; `fd` is open.
        let attempt = unsafe { attempt::go_on(fd, &request, pool, telling) };
        let event = self.conclude(is_write, &request, token, attempt);
        if event.is_none() {
            *self.place(is_write) = Some(Waiting { request, token });
        }
        event
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

struct Waiting {
    request: Request,
    token: Token,
}
