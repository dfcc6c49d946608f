//! The accepting side of a listener: a stream of accepts, and the connections that nobody has taken.

use super::waiters::{Place, WaitedFor, Waiters, Waiting};
use crate::error::{Error, ErrorKind};
use crate::latch::Latch;
use crate::net::{Socket, SocketHandle};
use crate::op::Operation;
use crate::rt::budget;
use crate::rt::context::{Context, Ended, Source};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{self, Poll};

/// Connections that wait for somebody to accept them before they wait in the system's own queue.
const WAITING_MAX: usize = 64;

/// A connection and its peer.
type Accepted = (Socket, Option<SocketAddr>);

pub(super) struct Accepting {
    pub(super) socket: SocketHandle<Context>,
    state: Latch<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Accepted>,
    /// The stream under way, and whether it was asked to end.
    stream: Option<(Operation, bool)>,
    /// Why it ended, for the next who accepts.
    error: Option<Error>,
    waiters: Waiters,
    is_closed: bool,
}

impl State {
    /// There is something for who accepts, be it that the stream is to be started again.
    fn has_news(&self) -> bool {
        !self.waiting.is_empty() || self.error.is_some() || self.stream.is_none()
    }
}

impl Accepting {
    pub(super) fn new(socket: SocketHandle<Context>) -> Arc<Self> {
        Arc::new(Accepting { socket, state: Latch::new(State::default()) })
    }

    /// The next connection and its peer, whose address is `None` when it is none of the internet, or the
    /// peer was gone.
    pub(super) async fn accept(self: &Arc<Self>) -> Result<Accepted, Error> {
        let mut waiting = Waiting::on(&**self);
        poll_fn(|cx| self.poll_accept(cx, &mut waiting.place)).await
    }

    fn poll_accept(
        self: &Arc<Self>,
        cx: &mut task::Context<'_>,
        place: &mut Place,
    ) -> Poll<Result<Accepted, Error>> {
        task::ready!(budget::poll_proceed(cx));
        let mut state = self.state.lock();
        if let Some(accepted) = state.waiting.pop_front() {
            return Poll::Ready(Ok(accepted));
        }
        if let Some(error) = state.error.take() {
            return Poll::Ready(Err(error));
        }
        if state.stream.is_none() {
            // Under the lock, so that its first packet finds this up to date.
            match self.socket.accept_stream(Context::Source(Arc::clone(self) as _)) {
                Ok(operation) => state.stream = Some((operation, false)),
                Err(rejected) => return Poll::Ready(Err(rejected.error)),
            }
        }
        let before = state.waiters.wait(place, cx);
        drop(state);
        drop(before);
        budget::refund();
        Poll::Pending
    }

    /// Nobody will accept any more: what waits is closed.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let stream = state.stream;
        drop(state);
        drop(waiting);
        turn_point!();
        if let Some((operation, false)) = stream {
            // Fails when it has just ended.
            let _ = self.socket.cancel(operation);
        }
    }
}

impl WaitedFor for Accepting {
    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters, bool) -> R) -> R {
        let state = &mut *self.state.lock();
        let has_news = state.has_news();
        f(&mut state.waiters, has_news)
    }
}

impl Source for Accepting {
    fn on_packet(&self, packet: Ended) {
        let mut state = self.state.lock();
        let mut refused = None;
        match (packet.result, packet.accepted) {
            (Ok(_), Some(socket)) if state.is_closed => refused = Some(socket),
            (Ok(_), Some(socket)) => state.waiting.push_back((socket, packet.peer)),
            (Ok(_), None) => {}
            // It paused.
            (Err(error), _) if error.kind() == ErrorKind::Cancelled && !state.is_closed => {}
            (Err(error), _) => state.error = Some(error),
        }
        let is_full = state.waiting.len() >= WAITING_MAX;
        let mut pause = None;
        match &mut state.stream {
            stream if !packet.more => *stream = None,
            Some((operation, is_pausing)) if is_full && !*is_pausing => {
                *is_pausing = true;
                pause = Some(*operation);
            }
            _ => {}
        }
        let next = state.has_news().then(|| state.waiters.call()).flatten();
        drop(state);
        drop(refused);
        turn_point!();
        if let Some(operation) = pause {
            let _ = self.socket.cancel(operation);
        }
        if let Some(next) = next {
            next.wake();
        }
    }
}
