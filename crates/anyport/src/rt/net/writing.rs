//! The sending side of a stream: what is under way, how much went, and what failed.
//!
//! A `send` gives its bytes to an operation of which nobody hears unless it fails, and is done, as
//! long as not too much waits to be sent; then it waits. A `write` waits for its operation and has the
//! buffer back. Both leave in the order in which they were started.

use super::connection::Connection;
use crate::buf::Buffers;
use crate::error::Error;
use crate::latch::Latch;
use crate::net::Transmission;
use crate::rt::budget;
use crate::rt::context::{Context, Ended};
use crate::rt::fs::File;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{self, Poll, Waker};

/// Bytes of sends under way above which a further send waits.
const UNDER_WAY_MAX: usize = 256 * 1024;

/// A send waits until less than this is under way, so that it does not wait for each.
const RESUME_BELOW: usize = UNDER_WAY_MAX / 2;

#[derive(Default)]
pub(super) struct Writing {
    under_way: AtomicUsize,
    sent: AtomicU64,
    /// Somebody waits in `waiter`. Set before the last look at `under_way`, so that of that look and
    /// the end of a send one sees the other.
    is_waiting: AtomicBool,
    waiter: Latch<Option<Waker>>,
    has_failed: AtomicBool,
    failure: Latch<Option<Error>>,
    awaited: Latch<Awaited>,
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
    connection: Arc<Connection>,
    number: u64,
}

impl Written {
    /// Its packet.
    pub(crate) fn end(&self, packet: Ended) {
        self.connection.writing.end_awaited(self.number, packet);
    }
}

/// The count of a quiet send: its end is when this is dropped.
pub(crate) struct Sending {
    connection: Arc<Connection>,
    len: usize,
    /// Of which went.
    went: usize,
}

impl Sending {
    /// It did not go out whole.
    pub(crate) fn fail(mut self, error: Option<Error>) {
        let Some(error) = error else { return };
        self.went = error.transferred().min(self.len);
        self.connection.writing.fail(error);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.connection.writing.went(self.len, self.went);
    }
}

impl Writing {
    /// Bytes that the system has taken.
    pub(super) fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    fn went(&self, len: usize, went: usize) {
        self.sent.fetch_add(went as u64, Ordering::AcqRel);
        let before = self.under_way.fetch_sub(len, Ordering::SeqCst);
        let is_low = before - len < RESUME_BELOW;
        if is_low && self.is_waiting.load(Ordering::SeqCst) {
            self.call();
        }
    }

    fn call(&self) {
        self.is_waiting.store(false, Ordering::SeqCst);
        let waker = self.waiter.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn fail(&self, error: Error) {
        // The first says why; what was queued behind it fails for the same reason.
        self.failure.lock().get_or_insert(error);
        // Before the look at who waits, as that one looks here after it has said so.
        self.has_failed.store(true, Ordering::SeqCst);
        if self.is_waiting.load(Ordering::SeqCst) {
            self.call();
        }
    }

    fn check(&self) -> Result<(), Error> {
        if !self.has_failed.load(Ordering::SeqCst) {
            return Ok(());
        }
        match *self.failure.lock() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn end_awaited(&self, number: u64, packet: Ended) {
        let went = match &packet.result {
            Ok(len) => *len,
            Err(error) => error.transferred(),
        };
        self.sent.fetch_add(went as u64, Ordering::AcqRel);
        let mut awaited = self.awaited.lock();
        if awaited.number != number {
            drop(awaited);
            // Its future was dropped: whoever sends next learns of the failure.
            if let Err(error) = packet.result {
                self.fail(error);
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

    /// Ready when fewer bytes than `below` are under way, or a send has failed.
    fn poll_below(&self, cx: &mut task::Context<'_>, below: usize) -> Poll<Result<(), Error>> {
        self.check()?;
        if self.under_way.load(Ordering::SeqCst) < below {
            return Poll::Ready(Ok(()));
        }
        let before = self.waiter.lock().replace(cx.waker().clone());
        drop(before);
        self.is_waiting.store(true, Ordering::SeqCst);
        self.check()?;
        match self.under_way.load(Ordering::SeqCst) < below {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl Connection {
    /// Hands `buffers` to the system, now or behind what was handed over before.
    pub(super) fn poll_send(
        self: &Arc<Self>,
        cx: &mut task::Context<'_>,
        buffers: &mut Option<Buffers>,
    ) -> Poll<Result<(), Error>> {
        task::ready!(budget::poll_proceed(cx));
        let writing = &self.writing;
        if writing.under_way.load(Ordering::Relaxed) > UNDER_WAY_MAX {
            task::ready!(writing.poll_below(cx, RESUME_BELOW))?;
        } else {
            writing.check()?;
        }
        let Some(buffers) = buffers.take() else { return Poll::Ready(Ok(())) };
        let len = buffers.total_len();
        if len == 0 {
            return Poll::Ready(Ok(()));
        }
        writing.under_way.fetch_add(len, Ordering::Relaxed);
        let sending = Sending { connection: Arc::clone(self), len, went: len };
        match self.socket.send_quiet(buffers, Context::Sending(sending)) {
            Ok(_) => Poll::Ready(Ok(())),
            Err(rejected) => {
                if let Context::Sending(mut sending) = rejected.context {
                    sending.went = rejected.error.transferred().min(len);
                }
                Poll::Ready(Err(rejected.error))
            }
        }
    }

    /// Waits until all that was handed over has gone.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        poll_fn(|cx| self.writing.poll_below(cx, 1)).await
    }

    /// Sends `buffers` and has them back when the system has taken every byte.
    pub(super) async fn write(
        self: &Arc<Self>,
        buffers: Buffers,
    ) -> (Result<usize, Error>, Buffers) {
        if let Err(error) = self.writing.check() {
            return (Err(error), buffers);
        }
        if buffers.total_len() == 0 {
            return (Ok(0), buffers);
        }
        let (number, context) = self.await_next();
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
        self.writing.check()?;
        let part = Transmission::new(file.handle().clone()).range(offset, length);
        let (number, context) = self.await_next();
        if let Err(rejected) = self.socket.transmit_file(part, context) {
            return Err(rejected.error);
        }
        self.ended(number).await.0
    }

    /// Ends the sending side after what was handed over before.
    pub(super) async fn shut_down(self: &Arc<Self>) -> Result<(), Error> {
        let (number, context) = self.await_next();
        if let Err(rejected) = self.socket.disconnect(context) {
            return Err(rejected.error);
        }
        self.ended(number).await.0.map(drop)
    }

    /// The number and the context of an operation that the caller is about to start and wait for.
    fn await_next(self: &Arc<Self>) -> (u64, Context) {
        let mut awaited = self.writing.awaited.lock();
        awaited.number += 1;
        let number = awaited.number;
        drop(awaited);
        (number, Context::Written(Written { connection: Arc::clone(self), number }))
    }

    /// Waits for the awaited operation of this number.
    async fn ended(&self, number: u64) -> (Result<usize, Error>, Buffers) {
        let mut dropped = AwaitDropped { writing: &self.writing, is_armed: true };
        let outcome = poll_fn(|cx| {
            let mut awaited = self.writing.awaited.lock();
            debug_assert_eq!(awaited.number, number, "one write at a time is waited for");
            if let Some(outcome) = awaited.outcome.take() {
                return Poll::Ready(outcome);
            }
            let before = awaited.waker.replace(cx.waker().clone());
            drop(awaited);
            drop(before);
            Poll::Pending
        })
        .await;
        dropped.is_armed = false;
        outcome
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
        drop(awaited);
        if let Some((Err(error), _)) = &nobodys {
            self.writing.fail(*error);
        }
    }
}
