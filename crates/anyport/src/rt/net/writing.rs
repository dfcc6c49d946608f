//! The sending side of a stream: what is under way, how much went, and what failed.
//!
//! A `send` gives its bytes to an operation of which nobody hears unless it fails, and is done, as
//! long as not too much waits to be sent; then it waits. A `write` waits for its operation and has the
//! buffer back. Both leave in the order in which they were started.

#[cfg(any(feature = "futures-io", feature = "hyper"))]
mod closing;
#[cfg(any(feature = "futures-io", feature = "hyper"))]
mod copying;

use super::backlog::Backlog;
use super::connection::Connection;
use super::unsent::Unsent;
use super::wait::{Side, Wait};
use crate::buf::Buffers;
use crate::error::{Error, ErrorKind};
use crate::latch::Latch;
use crate::net::Transmission;
use crate::rt::budget;
use crate::rt::context::{Context, Ended};
use crate::rt::fs::File;
use std::future::poll_fn;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{self, Poll, Waker};

/// A backlog above which a further send waits, in bytes.
const BACKLOG_MAX: usize = 256 * 1024;

/// A send waits until less than this is left, so that it does not wait for each.
const RESUME_BELOW: usize = BACKLOG_MAX / 2;

#[repr(C)]
pub(super) struct Writing {
    sent: AtomicU64,
    backlog: Backlog,
    awaited: Latch<Awaited>,
    #[cfg(any(feature = "futures-io", feature = "hyper"))]
    closing: Latch<closing::Closing>,
}

impl Default for Writing {
    fn default() -> Self {
        Writing {
            backlog: Backlog::new(RESUME_BELOW),
            sent: AtomicU64::new(0),
            awaited: Latch::default(),
            #[cfg(any(feature = "futures-io", feature = "hyper"))]
            closing: Latch::default(),
        }
    }
}

/// Writes, and half-closes, whose packets are waited for: of several the last one is, for the futures
/// of the others were dropped.
#[derive(Default)]
struct Awaited {
    /// The number of the last one. Packets of several may be handled at the same time, by several
    /// workers.
    number: u64,
    /// What that one came to.
    outcome: Option<(Result<usize, Error>, Buffers)>,
    waker: Option<Waker>,
}

/// A write that somebody waits for, or waited for.
pub(crate) struct Written {
    sending: Sending,
    number: u64,
}

impl Written {
    /// Its packet.
    pub(crate) fn end(self, packet: Ended) {
        let Written { mut sending, number } = self;
        let connection = Arc::clone(&sending.connection);
        // What went is counted before somebody is told of it.
        match packet.result {
            Ok(len) => {
                sending.went = len;
                drop(sending);
                connection.writing.end_awaited(number, packet);
            }
            Err(error) => {
                connection.writing.count_sent(error.transferred());
                connection.writing.end_awaited(number, packet);
                // Not before: a flush that finds nothing left must find the failure.
                drop(sending);
            }
        }
    }
}

/// A part of the backlog: its end is when this is dropped.
pub(crate) struct Sending {
    connection: Arc<Connection>,
    /// As how many bytes it counts in the backlog.
    held: usize,
    /// How many bytes went.
    went: usize,
}

impl Sending {
    /// It did not go out whole.
    pub(crate) fn fail(mut self, error: Option<Error>) {
        let Some(error) = error else { return };
        self.went = error.transferred().min(self.went);
        self.connection.writing.backlog.fail(error);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let writing = &self.connection.writing;
        writing.count_sent(self.went);
        if writing.backlog.remove(self.held) {
            self.connection.end_sending();
        }
    }
}

impl Writing {
    /// Bytes that the system has taken.
    pub(super) fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::AcqRel);
    }

    /// Nobody sends any more.
    pub(super) fn forget_waiter(&self) {
        self.backlog.forget_waiter();
        #[cfg(any(feature = "futures-io", feature = "hyper"))]
        {
            let waker = self.closing.lock().forget_waiter();
            drop(waker);
        }
    }

    fn end_awaited(&self, number: u64, packet: Ended) {
        let mut awaited = self.awaited.lock();
        if awaited.number != number {
            drop(awaited);
            // Its future was dropped: whoever sends next learns of the failure.
            if let Err(error) = packet.result {
                self.backlog.fail(error);
            }
            return;
        }
        awaited.outcome = Some((packet.result, packet.buffers));
        let waker = awaited.waker.take();
        drop(awaited);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Connection {
    /// Waits until `poll` is ready, which is one that waits for the backlog.
    pub(super) fn wait_to_send<R, P>(&self, poll: P) -> impl Future<Output = R>
    where
        P: FnMut(&mut task::Context<'_>) -> Poll<R> + Unpin,
    {
        Wait::new(&self.writing.backlog, poll)
    }

    /// Hands `buffers` to the system, now or behind what was handed over before.
    pub(super) fn poll_send(
        self: &Arc<Self>,
        cx: &mut task::Context<'_>,
        buffers: &mut Option<Buffers>,
    ) -> Poll<Result<(), Error>> {
        task::ready!(budget::poll_proceed(cx));
        let backlog = &self.writing.backlog;
        if backlog.len() > BACKLOG_MAX {
            task::ready!(self.poll_backlog(cx, RESUME_BELOW))?;
        } else {
            backlog.check()?;
        }
        let Some(buffers) = buffers.take() else { return Poll::Ready(Ok(())) };
        let len = buffers.total_len();
        Poll::Ready(self.hand_over(buffers, len).map_err(|unsent| unsent.error))
    }

    /// As `Backlog::poll_below`; a wait costs nothing of the budget.
    fn poll_backlog(&self, cx: &mut task::Context<'_>, below: usize) -> Poll<Result<(), Error>> {
        let poll = self.writing.backlog.poll_below(cx, below);
        if poll.is_pending() {
            budget::refund();
        }
        poll
    }

    /// As `poll_send`, at once or not at all.
    #[allow(clippy::result_large_err, reason = "what was not handed over comes back")]
    pub(super) fn try_send(self: &Arc<Self>, buffers: Buffers) -> Result<(), Unsent> {
        let backlog = &self.writing.backlog;
        let refused = match backlog.check() {
            Ok(()) if backlog.len() > BACKLOG_MAX => Error::new(ErrorKind::Limit, "send")
                .with_detail(
                    "more than 256 KiB wait to be sent; flush, or use `send`, which waits",
                ),
            Ok(()) => {
                let len = buffers.total_len();
                return self.hand_over(buffers, len);
            }
            Err(error) => error,
        };
        Err(Unsent { error: refused, buffers })
    }

    /// Starts the send of `buffers`, however much there is before them. It counts as `held` bytes under
    /// way: no fewer than there are to send.
    #[allow(clippy::result_large_err, reason = "what was not handed over comes back")]
    fn hand_over(self: &Arc<Self>, buffers: Buffers, held: usize) -> Result<(), Unsent> {
        let len = buffers.total_len();
        if len == 0 {
            return Ok(());
        }
        let sending = Context::Sending(self.sending(held, len));
        let Err(rejected) = self.socket.send_quiet(buffers, sending) else { return Ok(()) };
        if let Context::Sending(mut sending) = rejected.context {
            sending.went = rejected.error.transferred().min(len);
        }
        Err(Unsent { error: rejected.error, buffers: rejected.buffers })
    }

    /// Drops what waits to be sent and what has arrived, and ends the connection by a reset, where
    /// the system has such. It closes when its last operation has ended, which are asked to.
    pub(super) fn abort(&self) {
        // First, so that receiving does not begin again.
        self.close_reading();
        self.socket.abort();
    }

    /// An operation that counts as `held` bytes in the backlog.
    fn sending(self: &Arc<Self>, held: usize, went: usize) -> Sending {
        self.writing.backlog.add(held);
        Sending { connection: Arc::clone(self), held, went }
    }

    /// Waits until all that was handed over has gone.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        self.wait_to_send(|cx| {
            task::ready!(budget::poll_proceed(cx));
            self.poll_backlog(cx, 1)
        })
        .await
    }

    /// Sends `buffers` and has them back when the system has taken every byte.
    pub(super) async fn write(
        self: &Arc<Self>,
        buffers: Buffers,
    ) -> (Result<usize, Error>, Buffers) {
        if let Err(error) = self.writing.backlog.check() {
            return (Err(error), buffers);
        }
        let len = buffers.total_len();
        if len == 0 {
            return (Ok(0), buffers);
        }
        let (number, context) = self.await_next(len);
        if let Err(rejected) = self.socket.send(buffers, context) {
            return (Err(rejected.error), rejected.buffers);
        }
        self.ended(number).await
    }

    /// Sends a part of a file after what was handed over before.
    pub(super) async fn send_file(
        self: &Arc<Self>,
        file: &File,
        offset: u64,
        length: Option<u64>,
    ) -> Result<usize, Error> {
        self.writing.backlog.check()?;
        let part = Transmission::new(file.handle().clone()).range(offset, length);
        // How much there is of the file is not known: it counts as something.
        let (number, context) = self.await_next(1);
        if let Err(rejected) = self.socket.transmit_file(part, context) {
            return Err(rejected.error);
        }
        self.ended(number).await.0
    }

    /// Ends the sending side after what was handed over before.
    pub(super) async fn shut_down(self: &Arc<Self>) -> Result<(), Error> {
        let (number, context) = self.await_next(0);
        if let Err(rejected) = self.socket.disconnect(context) {
            return Err(rejected.error);
        }
        let ended = self.ended(number).await.0;
        // What was handed over has ended before it, but may not have been heard of yet.
        self.flush().await?;
        ended.map(drop)
    }

    /// Nobody will send any more: the side ends after what was handed over.
    pub(super) fn close_writing(self: &Arc<Self>) {
        self.writing.forget_waiter();
        // Its packet finds nobody who waits.
        let Err(rejected) = self.socket.disconnect(Context::Nobody) else { return };
        // Else it was shut down already, or is not connected.
        if rejected.error.kind() == ErrorKind::Limit && self.writing.backlog.end_when_empty() {
            self.end_sending();
        }
    }

    /// The end of the side where there was no place for an operation: nothing is left to be sent.
    fn end_sending(&self) {
        // Fails when the peer is gone.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The number and the context of an operation that the caller is about to start and wait for, which
    /// counts `len` in the backlog.
    fn await_next(self: &Arc<Self>, len: usize) -> (u64, Context) {
        let mut awaited = self.writing.awaited.lock();
        awaited.number += 1;
        let number = awaited.number;
        // Of a future that was forgotten, not dropped.
        let nobodys = awaited.outcome.take();
        drop(awaited);
        if let Some((Err(error), _)) = &nobodys {
            self.writing.backlog.fail(*error);
        }
        (number, Context::Written(Written { sending: self.sending(len, 0), number }))
    }

    /// Waits for the awaited operation of this number.
    async fn ended(&self, number: u64) -> (Result<usize, Error>, Buffers) {
        let mut dropped = AwaitDropped { writing: &self.writing, is_armed: true };
        let outcome = poll_fn(|cx| {
            task::ready!(budget::poll_proceed(cx));
            let mut awaited = self.writing.awaited.lock();
            debug_assert_eq!(awaited.number, number, "one write at a time is waited for");
            if let Some(outcome) = awaited.outcome.take() {
                return Poll::Ready(outcome);
            }
            let before = awaited.waker.replace(cx.waker().clone());
            drop(awaited);
            drop(before);
            budget::refund();
            Poll::Pending
        })
        .await;
        dropped.is_armed = false;
        outcome
    }
}

impl Side for Backlog {
    fn forget_waiter(&self) {
        self.forget_waiter();
    }
}

/// Nobody waits for the write any more: if it fails, or has failed, whoever sends next learns of it.
struct AwaitDropped<'a> {
    writing: &'a Writing,
    is_armed: bool,
}

impl Drop for AwaitDropped<'_> {
    fn drop(&mut self) {
        if !self.is_armed {
            return;
        }
        let mut awaited = self.writing.awaited.lock();
        awaited.number += 1;
        let nobodys = awaited.outcome.take();
        // It refers to the runtime, which refers to what is under way.
        let waker = awaited.waker.take();
        drop(awaited);
        drop(waker);
        if let Some((Err(error), _)) = &nobodys {
            self.writing.backlog.fail(*error);
        }
    }
}
