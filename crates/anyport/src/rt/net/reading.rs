//! The receiving side of a stream: one operation at a time, and what has arrived and was not taken.
//!
//! A stream of pooled receives runs as long as somebody takes what it brings. When nobody does it is
//! cancelled at a bound, and starts again when all was taken. A read into a buffer of the caller's is
//! an operation of its own while no stream runs; else it copies. Whatever arrives for a future that
//! was dropped joins what waits here, so bytes come in order and once, whoever asks.
//!
//! Buffers and wakers may have destructors of the user's: none is dropped while the side is locked.

#[cfg(any(feature = "futures-io", feature = "hyper"))]
mod copying;

use super::connection::Connection;
use super::pieces::{Piece, Pieces};
use super::wait::{Side, Wait};
use crate::buf::{Buffer, Buffers};
use crate::error::{Error, ErrorKind};
use crate::latch::{Latch, LatchGuard};
use crate::op::Operation;
use crate::rt::budget;
use crate::rt::context::{Context, Ended};
use std::sync::Arc;
use std::task::{self, Poll, Waker};

/// Pieces that wait for a reader before receiving pauses. A piece is a pooled buffer, of up to 64
/// KiB where a connection brings much.
const WAITING_MAX: usize = 8;

/// Pieces that one call uses up at most.
const SPENT_MAX: usize = 8;

/// Pieces that were used up, to be dropped when the side is free again.
type Spent = [Option<Piece>; SPENT_MAX];

/// What every message passes comes first, and the rest lies behind it: see [`Connection`].
#[derive(Default)]
#[repr(C)]
pub(super) struct Reading {
    under_way: UnderWay,
    is_over: IsOver,
    /// Nobody reads any more.
    is_closed: bool,
    /// A direct read was dropped, or never came back for its buffer: what it brings joins the rest.
    is_direct_dropped: bool,
    waker: Option<Waker>,
    waiting: Pieces,
    /// Why it failed, if it did.
    failure: Option<Error>,
    /// The buffer of a direct read that is over, for the future that waits for it: if `under_way` is
    /// `Brought`.
    direct: Option<(Result<usize, Error>, Buffer)>,
}

#[derive(Clone, Copy, Default)]
enum UnderWay {
    #[default]
    Nothing,
    Stream {
        operation: Operation,
        is_pausing: bool,
    },
    Direct(Operation),
    /// A direct read is over, and nobody has taken what it brought.
    Brought,
}

/// Whether it is over once what waits was taken.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum IsOver {
    #[default]
    No,
    /// The peer has ended its side.
    Ended,
    Failed,
}

impl Reading {
    /// As much of what waits as one call takes.
    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.waiting.iter().take(SPENT_MAX).map(Piece::bytes)
    }

    /// The first `len` bytes of `pieces` were taken; the pieces that are used up come back.
    fn consume(&mut self, mut len: usize) -> Spent {
        let mut spent = Spent::default();
        for place in &mut spent {
            let Some(piece) = self.waiting.first_mut() else { break };
            let rest = piece.bytes().len();
            if len < rest {
                piece.advance(len);
                break;
            }
            len -= rest;
            *place = self.waiting.pop();
        }
        spent
    }

    /// Keeps what a receive brought; what is not kept comes back.
    fn push(&mut self, buffers: Buffers, len: usize) -> Buffers {
        if len == 0 || self.is_closed {
            return buffers;
        }
        match buffers.into_one() {
            Some(buffer) => self.waiting.push(Piece::new(buffer, len)),
            None => debug_assert!(false, "a receive into one buffer gives one back"),
        }
        Buffers::None
    }

    /// Keeps what a direct read brought that was dropped meanwhile; what is not kept comes back.
    fn keep_direct(&mut self) -> Buffers {
        let Some((result, buffer)) = self.take_direct() else { return Buffers::None };
        match result {
            Ok(0) => self.end(),
            Ok(len) => return self.push(buffer.into(), len),
            Err(error) => self.fail(error),
        }
        buffer.into()
    }

    /// What a direct read brought, if one is over.
    fn take_direct(&mut self) -> Option<(Result<usize, Error>, Buffer)> {
        if !matches!(self.under_way, UnderWay::Brought) {
            return None;
        }
        self.under_way = UnderWay::Nothing;
        self.direct.take()
    }

    fn end(&mut self) {
        self.is_over = IsOver::Ended;
    }

    fn fail(&mut self, error: Error) {
        if error.kind() != ErrorKind::Cancelled || self.is_closed {
            self.failure = Some(error);
            self.is_over = IsOver::Failed;
        }
    }

    /// Why it failed, where it did.
    fn failure(&self) -> Error {
        debug_assert!(self.failure.is_some(), "who says that it failed says why");
        self.failure.unwrap_or_else(|| Error::new(ErrorKind::Other, "receive"))
    }

    fn register(&mut self, cx: &task::Context<'_>) -> Option<Waker> {
        match &mut self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            waker => waker.replace(cx.waker().clone()),
        }
    }
}

impl Connection {
    /// Waits until `poll` is ready, which is one of the polls below.
    pub(super) fn wait_to_receive<R, P>(&self, poll: P) -> impl Future<Output = R>
    where
        P: FnMut(&mut task::Context<'_>) -> Poll<R> + Unpin,
    {
        Wait::new(&self.reading, poll)
    }

    /// The next bytes, in the buffer in which they came; an empty one: the peer has ended its side.
    pub(super) fn poll_recv(
        self: &Arc<Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Result<Buffer, Error>> {
        let reading = task::ready!(self.poll_some(cx, true))?;
        let Some(mut reading) = reading else { return Poll::Ready(Ok(Buffer::from(Vec::new()))) };
        let piece = reading.waiting.pop();
        drop(reading);
        match piece {
            Some(piece) if piece.bytes().len() == piece.buffer.len() => {
                Poll::Ready(Ok(piece.buffer))
            }
            // A read has taken a part, or there is more in the buffer than was received.
            Some(piece) => Poll::Ready(Ok(Buffer::from(piece.bytes().to_vec()))),
            None => Poll::Ready(Ok(Buffer::from(Vec::new()))),
        }
    }

    /// Copies what has arrived into `out`; 0: the peer has ended its side, or `out` has no room.
    pub(super) fn poll_copy(
        self: &Arc<Self>,
        cx: &mut task::Context<'_>,
        out: &mut [u8],
        is_peek: bool,
    ) -> Poll<Result<usize, Error>> {
        if out.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Some(mut reading) = task::ready!(self.poll_some(cx, true))? else {
            return Poll::Ready(Ok(0));
        };
        let mut copied = 0;
        for piece in reading.pieces() {
            let len = piece.len().min(out.len() - copied);
            out[copied..copied + len].copy_from_slice(&piece[..len]);
            copied += len;
        }
        let spent = if is_peek { Spent::default() } else { reading.consume(copied) };
        drop(reading);
        drop(spent);
        Poll::Ready(Ok(copied))
    }

    /// A read into the caller's buffer, which comes back with what has arrived.
    pub(super) async fn read(self: &Arc<Self>, buffer: Buffer) -> (Result<usize, Error>, Buffer) {
        if !buffer.is_writable() {
            let error = Error::new(ErrorKind::InvalidInput, "read");
            return (Err(error.with_detail("the buffer is read-only")), buffer);
        }
        if buffer.capacity() == 0 {
            return (Ok(0), buffer);
        }
        let mut buffer = Some(buffer);
        let mut dropped = DirectDropped { connection: self, is_armed: false };
        let ended = self
            .wait_to_receive(|cx| {
                if dropped.is_armed {
                    return self.poll_direct(cx);
                }
                let reading = match self.poll_some(cx, false) {
                    Poll::Ready(Ok(reading)) => reading,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready((Err(error), buffer.take().unwrap_or_default()));
                    }
                    Poll::Pending => return Poll::Pending,
                };
                let Some(mut reading) = reading else {
                    return Poll::Ready((Ok(0), buffer.take().unwrap_or_default()));
                };
                let mut own = buffer.take().unwrap_or_default();
                if !reading.waiting.is_empty() {
                    let len = own.fill_from(reading.pieces());
                    let spent = reading.consume(len);
                    drop(reading);
                    drop(spent);
                    return Poll::Ready((Ok(len), own));
                }
                // Nothing waits and nothing is under way: straight into the caller's buffer.
                reading.is_direct_dropped = false;
                let context = Context::Source(Arc::clone(self) as _);
                match self.socket.receive(own, context) {
                    Ok(operation) => {
                        reading.under_way = UnderWay::Direct(operation);
                        let before = reading.register(cx);
                        dropped.is_armed = true;
                        drop(reading);
                        drop(before);
                        Poll::Pending
                    }
                    Err(rejected) => {
                        own = rejected.buffers.into_one().unwrap_or_default();
                        Poll::Ready((Err(rejected.error), own))
                    }
                }
            })
            .await;
        dropped.is_armed = false;
        ended
    }

    fn poll_direct(&self, cx: &task::Context<'_>) -> Poll<(Result<usize, Error>, Buffer)> {
        let mut reading = self.reading.lock();
        if let Some(ended) = reading.take_direct() {
            return Poll::Ready(ended);
        }
        let before = reading.register(cx);
        drop(reading);
        drop(before);
        Poll::Pending
    }

    /// Ready when there are bytes, with the side locked; `None`: the side has ended. Starts a stream
    /// when nothing is under way, or says that it is ready to, if `must_stream` is not set.
    fn poll_some(
        self: &Arc<Self>,
        cx: &mut task::Context<'_>,
        must_stream: bool,
    ) -> Poll<Result<Option<LatchGuard<'_, Reading>>, Error>> {
        task::ready!(budget::poll_proceed(cx));
        let mut reading = self.reading.lock();
        if matches!(reading.under_way, UnderWay::Brought) {
            // Of a read whose future was forgotten: nobody else can be waiting for it.
            let unkept = reading.keep_direct();
            drop(reading);
            drop(unkept);
            reading = self.reading.lock();
        }
        if !reading.waiting.is_empty() {
            return Poll::Ready(Ok(Some(reading)));
        }
        match reading.is_over {
            IsOver::No => {}
            IsOver::Ended => return Poll::Ready(Ok(None)),
            IsOver::Failed => return Poll::Ready(Err(reading.failure())),
        }
        if matches!(reading.under_way, UnderWay::Nothing) {
            if !must_stream {
                return Poll::Ready(Ok(Some(reading)));
            }
            // Under the lock, so that its first packet finds this up to date.
            match self.socket.receive_stream(Context::Source(Arc::clone(self) as _)) {
                Ok(operation) => {
                    reading.under_way = UnderWay::Stream { operation, is_pausing: false };
                }
                Err(rejected) => return Poll::Ready(Err(rejected.error)),
            }
        }
        let before = reading.register(cx);
        drop(reading);
        drop(before);
        budget::refund();
        Poll::Pending
    }

    /// A packet of the stream.
    pub(super) fn on_received(&self, packet: Ended) {
        let Ended { result, buffers, more, .. } = packet;
        let mut reading = self.reading.lock();
        let mut unkept = Buffers::None;
        match result {
            Ok(0) => reading.end(),
            Ok(len) => unkept = reading.push(buffers, len),
            Err(error) => reading.fail(error),
        }
        let is_full = reading.waiting.len() >= WAITING_MAX || reading.is_closed;
        let mut pause = None;
        match &mut reading.under_way {
            UnderWay::Stream { operation, is_pausing } if more && is_full && !*is_pausing => {
                *is_pausing = true;
                pause = Some(*operation);
            }
            _ => {}
        }
        if !more {
            reading.under_way = UnderWay::Nothing;
        }
        // A reader that came while it paused starts it again.
        let has_news = !more || !reading.waiting.is_empty() || reading.is_over != IsOver::No;
        let waker = has_news.then(|| reading.waker.take()).flatten();
        drop(reading);
        drop(unkept);
        if let Some(operation) = pause {
            // Fails when the stream has just ended; its last packet says so.
            let _ = self.socket.cancel(operation);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A direct read is over.
    pub(super) fn on_direct(&self, packet: Ended) {
        let mut reading = self.reading.lock();
        reading.under_way = UnderWay::Brought;
        let buffer = packet.buffers.into_one().unwrap_or_default();
        reading.direct = Some((packet.result, buffer));
        let unkept = match reading.is_direct_dropped {
            true => reading.keep_direct(),
            false => Buffers::None,
        };
        let waker = reading.waker.take();
        drop(reading);
        drop(unkept);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nobody will read any more: receiving ends, and what waits is dropped.
    pub(super) fn close_reading(&self) {
        let mut reading = self.reading.lock();
        reading.is_closed = true;
        let waiting = std::mem::take(&mut reading.waiting);
        let waker = reading.waker.take();
        let operation = match reading.under_way {
            UnderWay::Stream { operation, is_pausing: false } | UnderWay::Direct(operation) => {
                Some(operation)
            }
            _ => None,
        };
        drop(reading);
        if let Some(operation) = operation {
            // Fails when it has just ended.
            let _ = self.socket.cancel(operation);
        }
        drop((waiting, waker));
    }
}

impl Side for Latch<Reading> {
    fn forget_waiter(&self) {
        let waker = self.lock().waker.take();
        drop(waker);
    }
}

/// Hands what a dropped direct read brings to the next one.
struct DirectDropped<'a> {
    connection: &'a Arc<Connection>,
    is_armed: bool,
}

impl Drop for DirectDropped<'_> {
    fn drop(&mut self) {
        if self.is_armed {
            let mut reading = self.connection.reading.lock();
            reading.is_direct_dropped = true;
            let unkept = reading.keep_direct();
            drop(reading);
            drop(unkept);
        }
    }
}
