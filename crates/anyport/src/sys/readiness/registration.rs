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
        let side = || Side { is_ready: true, waiting: None };
        let state = State { is_attached: true, read: side(), write: side() };
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
        let side = state.side_of(&request);
        assert!(side.waiting.is_none(), "two requests in one direction of a socket");
        if matches!(request, Request::Connect(_)) {
            // What is known of readiness is from before the connect. Forgotten before the call:
            // the edge of a connect that is quick must not be taken for an old one.
            side.is_ready = false;
        } else if !side.is_ready {
            side.waiting = Some(Waiting { request, token });
            return self.arm(&mut state, selector);
        }
        // SAFETY: the caller's promise for the memory; the descriptor is open until the event.
        match unsafe { attempt::start(self.fd, &request, pool) } {
            Attempt::Done(outcome) => {
                side.is_ready = true;
                [Some(Event { token, outcome, more: false }), None]
            }
            Attempt::Wait => {
                side.is_ready = false;
                side.waiting = Some(Waiting { request, token });
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
        let State { read, write, .. } = &mut *state;
        let mut events = [(read, READABLE), (write, WRITABLE)].map(|(side, bit)| {
            if found & bit == 0 {
                return None;
            }
            // SAFETY: attached, so the descriptor is open.
            unsafe { side.resume(self.fd, pool) }
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
        let State { read, write, .. } = &mut *state;
        [read, write]
            .into_iter()
            .any(|side| side.waiting.take_if(|waiting| waiting.token == token).is_some())
    }

    /// No system call is made on the descriptor from now on.
    pub(super) fn detach(&self) {
        let mut state = locked(&self.state);
        debug_assert!(
            state.read.waiting.is_none() && state.write.waiting.is_none(),
            "a socket was let go with a request under way"
        );
        state.is_attached = false;
    }

    /// Where there are no edges: asks for what is waited for. A refusal ends what waits.
    fn arm(&self, state: &mut State, selector: &Selector) -> [Option<Event>; 2] {
        let wanted = |side: &Side, bit| if side.waiting.is_some() { bit } else { 0 };
        let wanted = wanted(&state.read, READABLE) | wanted(&state.write, WRITABLE);
        if selector.uses_edges() || wanted == 0 {
            return [None, None];
        }
        // SAFETY: attached, so the descriptor is open.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        let Err(error) = selector.arm(fd, self.key, wanted) else {
            return [None, None];
        };
        [&mut state.read, &mut state.write].map(|side| {
            let token = side.waiting.take()?.token;
            let outcome = Outcome::Failed(attempt::code_of(&error));
            Some(Event { token, outcome, more: false })
        })
    }
}

struct State {
    is_attached: bool,
    read: Side,
    write: Side,
}

impl State {
    fn side_of(&mut self, request: &Request) -> &mut Side {
        if attempt::is_write_side(request) { &mut self.write } else { &mut self.read }
    }
}

/// One direction of a socket.
struct Side {
    /// A hint: an attempt may succeed. Cleared by "would block" and nothing else: after a short
    /// read the end of the stream may be there already, and its edge with the data's.
    is_ready: bool,
    waiting: Option<Waiting>,
}

impl Side {
    /// # Safety
    /// `fd` is open.
    unsafe fn resume(&mut self, fd: RawFd, pool: &BufferPool) -> Option<Event> {
        self.is_ready = true;
        let Waiting { request, token } = self.waiting.take()?;
        // SAFETY: the request is under way (it waited), so its memory is valid by the promise that
        // was given when it was issued; `fd` is open.
        match unsafe { attempt::go_on(fd, &request, pool) } {
            Attempt::Done(outcome) => Some(Event { token, outcome, more: false }),
            Attempt::Wait => {
                self.is_ready = false;
                self.waiting = Some(Waiting { request, token });
                None
            }
        }
    }
}

struct Waiting {
    request: Request,
    token: Token,
}
