//! Sends of bytes that are borrowed: they are copied into a buffer that the operation owns.
//!
//! The buffer is a pooled one, so that nothing is allocated, as long as the pool has half of its bound
//! left: the rest is for receives. It counts whole as under way, however few bytes are in it, so that
//! many small writes to a peer that does not read hold no more memory than large ones.

use crate::buf::{Buffer, Buffers, SizeClass};
use crate::error::Error;
use crate::rt::budget;
use crate::rt::net::connection::Connection;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::{BACKLOG_MAX, RESUME_BELOW};

/// The most bytes that one write takes.
const COPY_MAX: usize = SizeClass::Large64K.bytes();

impl Connection {
    /// Copies from the slices, in their order, as much as one buffer holds, and hands it over to be
    /// sent; says how much that was. Waits while too much is under way, before it copies.
    pub(in crate::rt) fn poll_write<'a>(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        slices: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Poll<Result<usize, Error>> {
        let len = slices.clone().map(<[u8]>::len).fold(0, usize::saturating_add).min(COPY_MAX);
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        ready!(budget::poll_proceed(cx));
        let backlog = &self.writing.backlog;
        // A wait goes on until there is much room, and not from one send to the next.
        let below = match backlog.len() > BACKLOG_MAX {
            true => RESUME_BELOW,
            false => usize::MAX,
        };
        ready!(self.poll_backlog(cx, below))?;
        let mut buffer = match self.socket.pool().take_for_sending(SizeClass::for_bytes(len)) {
            Some(pooled) => Buffer::from(pooled),
            None => Buffer::from(Vec::with_capacity(len)),
        };
        let copied = buffer.fill_from(slices);
        let held = buffer.capacity();
        let handed_over = self.hand_over(Buffers::from(buffer), held);
        Poll::Ready(handed_over.map(|()| copied).map_err(|unsent| unsent.error))
    }

    /// Ready when all that was handed over has gone to the system.
    pub(in crate::rt) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.writing.backlog.poll_below(cx, 1)
    }

    /// What a send has failed with.
    #[cfg(feature = "hyper")]
    pub(in crate::rt) fn check_sends(&self) -> Result<(), Error> {
        self.writing.backlog.check()
    }
}
