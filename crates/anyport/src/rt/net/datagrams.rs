//! What the tasks that use a datagram socket share: receives and sends by calls that do not wait, and
//! the operations that wait for them.
//!
//! A receive takes what is there. Where there is nothing, one operation of the socket waits, for all
//! who do; it takes one datagram, which stays here when the future that waited was dropped. So nothing
//! is received for which nobody has asked, and the system's own buffer is what bounds the rest.

use super::once::complete;
use super::waiters::{Place, WaitedFor, Waiters, Waiting};
use crate::buf::{Buffer, Buffers};
use crate::error::{Error, ErrorKind};
use crate::latch::Latch;
use crate::net::SocketHandle;
use crate::op::{DatagramIn, Operation};
use crate::rt::budget;
use crate::rt::context::{Context, Ended, Source};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{self, Poll};

/// The most datagrams that one call of a task sends before others have their turn.
const AT_ONCE_MAX: usize = 128;

pub(super) struct Datagrams {
    pub(super) socket: SocketHandle<Context>,
    receiving: Latch<Receiving>,
    /// Sends that the system had no room for. Until they have gone others queue up behind them.
    queued: AtomicUsize,
}

/// A datagram with the address of its sender or, to be sent, of its receiver.
#[derive(Debug)]
pub struct Datagram {
    /// Its bytes; a datagram may have none.
    pub bytes: Buffer,
    /// Whom it is from, or to.
    pub peer: SocketAddr,
}

/// A datagram that was received.
pub(super) struct Received {
    pub(super) buffer: Buffer,
    pub(super) sender: Option<SocketAddr>,
    /// The rest did not fit into a buffer of the pool, and is gone.
    is_truncated: bool,
}

impl Received {
    /// The datagram, if it is whole.
    fn whole(self) -> Result<Self, Error> {
        match self.is_truncated {
            true => {
                let error = Error::new(ErrorKind::Truncated, RECEIVE);
                Err(error.with_transferred(self.buffer.len()))
            }
            false => Ok(self),
        }
    }
}

#[derive(Default)]
struct Receiving {
    /// What the operation has brought, or a peek: one, and one more for each peek at the same time.
    waiting: VecDeque<Received>,
    /// Why a receive failed of which nobody has heard.
    error: Option<Error>,
    /// The operation that waits.
    under_way: Option<Operation>,
    waiters: Waiters,
    is_closed: bool,
}

impl Receiving {
    /// Keeps what the operation has brought.
    fn keep(&mut self, buffers: Buffers, sender: Option<SocketAddr>, is_truncated: bool) {
        let received = buffers.into_one().map(|buffer| Received { buffer, sender, is_truncated });
        self.waiting.extend(received);
    }

    fn has_something(&self) -> bool {
        !self.waiting.is_empty() || self.error.is_some()
    }
}

impl Datagrams {
    pub(super) fn new(socket: SocketHandle<Context>) -> Arc<Self> {
        let (receiving, queued) = (Latch::default(), AtomicUsize::new(0));
        Arc::new(Datagrams { socket, receiving, queued })
    }

    /// The next datagram, in a buffer of the pool.
    pub(super) async fn receive(self: &Arc<Self>) -> Result<Received, Error> {
        self.take(|waiting| match waiting {
            Some(received) => Poll::Ready(received.whole()),
            None => self.try_receive(),
        })
        .await
    }

    /// The next datagram, in the caller's buffer.
    pub(super) async fn receive_into(
        self: &Arc<Self>,
        buffer: &mut Buffer,
    ) -> Result<(usize, Option<SocketAddr>), Error> {
        self.take(|waiting| match waiting {
            Some(Received { buffer: from, sender, is_truncated }) => {
                let bytes = buffer.fill_from(std::iter::once(from.as_slice()));
                let is_truncated = is_truncated || bytes < from.len();
                Poll::Ready(given(DatagramIn { buffer: (), bytes, is_truncated, sender }))
            }
            None => self.socket.core().try_receive_from(buffer).map(|taken| given(taken?)),
        })
        .await
    }

    /// Copies the first bytes of the next datagram, which stays.
    pub(super) async fn peek(
        self: &Arc<Self>,
        out: &mut [u8],
    ) -> Result<(usize, Option<SocketAddr>), Error> {
        let received = self.receive().await?;
        let bytes = received.buffer.len().min(out.len());
        out[..bytes].copy_from_slice(&received.buffer.as_slice()[..bytes]);
        let sender = received.sender;
        // Nothing has waited since it was taken: no future can be dropped in between.
        let mut receiving = self.receiving.lock();
        receiving.waiting.push_front(received);
        let next = receiving.waiters.call();
        drop(receiving);
        if let Some(next) = next {
            next.wake();
        }
        Ok((bytes, sender))
    }

    /// A datagram that is there; pending when there is none, or others wait already.
    pub(super) fn receive_now(&self) -> Poll<Result<Received, Error>> {
        let mut receiving = self.receiving.lock();
        if let Some(received) = receiving.waiting.pop_front() {
            drop(receiving);
            return Poll::Ready(received.whole());
        }
        if receiving.under_way.is_some() {
            return Poll::Pending;
        }
        drop(receiving);
        self.try_receive()
    }

    /// Keeps a failure for the next who receives.
    pub(super) fn keep_error(&self, error: Error) {
        self.receiving.lock().error.get_or_insert(error);
    }

    fn try_receive(&self) -> Poll<Result<Received, Error>> {
        self.socket.core().try_receive_from_pooled().map(|taken| {
            let DatagramIn { buffer, sender, is_truncated, .. } = taken?;
            Received { buffer, sender, is_truncated }.whole()
        })
    }

    /// Waits until `take` has something: it is given what waits here or, with nothing, takes what is in
    /// the socket.
    async fn take<R>(
        self: &Arc<Self>,
        mut take: impl FnMut(Option<Received>) -> Poll<Result<R, Error>>,
    ) -> Result<R, Error> {
        let mut waiting = Waiting::on(&**self);
        poll_fn(|cx| self.poll_take(cx, &mut waiting.place, &mut take)).await
    }

    fn poll_take<R>(
        self: &Arc<Self>,
        cx: &mut task::Context<'_>,
        place: &mut Place,
        take: &mut impl FnMut(Option<Received>) -> Poll<Result<R, Error>>,
    ) -> Poll<Result<R, Error>> {
        task::ready!(budget::poll_proceed(cx));
        let mut has_looked = false;
        loop {
            let mut receiving = self.receiving.lock();
            if let Some(received) = receiving.waiting.pop_front() {
                drop(receiving);
                return take(Some(received));
            }
            if let Some(error) = receiving.error.take() {
                return Poll::Ready(Err(error));
            }
            if receiving.under_way.is_none() {
                if !has_looked {
                    has_looked = true;
                    drop(receiving);
                    match take(None) {
                        Poll::Ready(taken) => return Poll::Ready(taken),
                        Poll::Pending => continue,
                    }
                }
                // Under the lock, so that its packet finds this up to date.
                match self.socket.receive_from_pooled(Context::Source(Arc::clone(self) as _)) {
                    Ok(operation) => receiving.under_way = Some(operation),
                    Err(rejected) => return Poll::Ready(Err(rejected.error)),
                }
            }
            let before = receiving.waiters.wait(place, cx);
            drop(receiving);
            drop(before);
            budget::refund();
            return Poll::Pending;
        }
    }

    /// Sends one datagram, to `peer` or whom the socket is connected to.
    pub(super) async fn send(
        self: &Arc<Self>,
        buffers: Buffers,
        peer: Option<SocketAddr>,
    ) -> (Result<usize, Error>, Buffers) {
        poll_fn(budget::poll_proceed).await;
        match self.send_now(&buffers, peer) {
            Poll::Ready(result) => (result, buffers),
            Poll::Pending => self.send_queued(buffers, peer).await,
        }
    }

    /// Sends the first of these, which are not none: as many as there is room for, and one at least. They
    /// leave the list with the call, or operation, that sends them, and so does one that fails.
    pub(super) async fn send_first(
        self: &Arc<Self>,
        datagrams: &mut Vec<Datagram>,
    ) -> Result<usize, Error> {
        poll_fn(budget::poll_proceed).await;
        let (mut sent, mut refused) = (0, None);
        for Datagram { bytes, peer } in datagrams.iter_mut().take(AT_ONCE_MAX) {
            // Out and in again: a buffer moves, its bytes do not.
            let buffers = Buffers::from(std::mem::take(bytes));
            let result = self.send_now(&buffers, Some(*peer));
            *bytes = buffers.into_one().unwrap_or_default();
            match result {
                Poll::Ready(Ok(_)) => sent += 1,
                Poll::Ready(Err(error)) => {
                    refused = Some(error);
                    break;
                }
                Poll::Pending => break,
            }
        }
        datagrams.drain(..sent);
        if sent > 0 {
            return Ok(sent);
        }
        let Datagram { bytes, peer } = datagrams.remove(0);
        match refused {
            Some(error) => Err(error),
            None => self.send_queued(bytes.into(), Some(peer)).await.0.map(|_| 1),
        }
    }

    /// By an operation, which waits for room; its first poll starts it.
    #[allow(clippy::result_large_err, reason = "a refused start gives everything back")]
    async fn send_queued(
        self: &Arc<Self>,
        buffers: Buffers,
        peer: Option<SocketAddr>,
    ) -> (Result<usize, Error>, Buffers) {
        let queued = Queued::behind(self);
        let ended = complete(queued, |context| match peer {
            Some(peer) => self.socket.send_to(buffers, peer, context),
            None => self.socket.send(buffers, context),
        });
        match ended.await {
            Ok(ended) => (ended.result, ended.buffers),
            Err(rejected) => (Err(rejected.error), rejected.buffers),
        }
    }

    /// As `send`; pending when it would have to wait.
    pub(super) fn send_now(
        &self,
        buffers: &Buffers,
        peer: Option<SocketAddr>,
    ) -> Poll<Result<usize, Error>> {
        match self.queued.load(Ordering::Acquire) {
            0 => self.socket.core().try_send_to(buffers, peer),
            _ => Poll::Pending,
        }
    }

    /// Nobody will receive any more; what is being sent still goes.
    pub(super) fn close(&self) {
        let mut receiving = self.receiving.lock();
        receiving.is_closed = true;
        let waiting = std::mem::take(&mut receiving.waiting);
        let operation = receiving.under_way;
        drop(receiving);
        drop(waiting);
        if let Some(operation) = operation {
            // Fails when it has just ended.
            let _ = self.socket.cancel(operation);
        }
    }
}

const RECEIVE: &str = "receive a datagram";

fn given<B>(taken: DatagramIn<B>) -> Result<(usize, Option<SocketAddr>), Error> {
    Ok((taken.result(RECEIVE)?, taken.sender))
}

impl WaitedFor for Datagrams {
    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters, bool) -> R) -> R {
        let receiving = &mut *self.receiving.lock();
        // Without an operation nobody but who looks finds out what is in the socket.
        let has_news = receiving.has_something() || receiving.under_way.is_none();
        f(&mut receiving.waiters, has_news)
    }
}

impl Source for Datagrams {
    fn on_packet(&self, packet: Ended) {
        let mut receiving = self.receiving.lock();
        receiving.under_way = None;
        let mut refused = None;
        match packet.result {
            Ok(_) if receiving.is_closed => refused = Some(packet.buffers),
            Ok(_) => receiving.keep(packet.buffers, packet.peer, false),
            // Who receives into a buffer of his own has what there is of it.
            Err(error) if error.kind() == ErrorKind::Truncated && !receiving.is_closed => {
                receiving.keep(packet.buffers, packet.peer, true);
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            Err(error) => {
                receiving.error.get_or_insert(error);
            }
        }
        let next = receiving.waiters.call();
        drop(receiving);
        drop(refused);
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// A send that waits for room; what is sent meanwhile waits behind it.
struct Queued(Arc<Datagrams>);

impl Queued {
    fn behind(datagrams: &Arc<Datagrams>) -> Self {
        datagrams.queued.fetch_add(1, Ordering::AcqRel);
        Queued(Arc::clone(datagrams))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::AcqRel);
    }
}
