//! What was handed over to be sent and has not gone: how many bytes, who waits for them to go, and why
//! they did not.
//!
//! Count, waiter and failure are in one word, so that of the last look of who waits and the end of a
//! send one sees the other without a fence.

use crate::atomic::{AtomicU64, Ordering};
use crate::error::Error;
use crate::latch::Latch;
use std::task::{Context, Poll, Waker};

/// Somebody waits in `waiter`.
const WAITING: u64 = 1 << 63;

/// There is a `failure`.
const FAILED: u64 = 1 << 62;

/// The sending side ends when nothing is left.
const ENDS: u64 = 1 << 61;

/// The rest of the word: bytes.
const BYTES: u64 = ENDS - 1;

/// See the module documentation. What every send passes comes first.
#[repr(C)]
pub(super) struct Backlog {
    word: AtomicU64,
    /// Who waits for a backlog is called when it is below this, so that it is not called for each.
    calls_below: u64,
    waiter: Latch<Option<Waker>>,
    failure: Latch<Option<Error>>,
}

impl Backlog {
    pub(super) fn new(calls_below: usize) -> Self {
        Backlog {
            word: AtomicU64::new(0),
            waiter: Latch::new(None),
            failure: Latch::new(None),
            calls_below: calls_below as u64,
        }
    }

    /// Bytes.
    pub(super) fn len(&self) -> usize {
        (self.word.load(Ordering::Acquire) & BYTES) as usize
    }

    /// So many bytes are about to be handed over.
    pub(super) fn add(&self, len: usize) {
        self.word.fetch_add(len as u64, Ordering::Relaxed);
    }

    /// So many of them have gone, or never will. True: it was the last, and the side is to end.
    #[must_use]
    pub(super) fn remove(&self, len: usize) -> bool {
        let now = self.word.fetch_sub(len as u64, Ordering::AcqRel) - len as u64;
        if now & WAITING != 0 && now & BYTES < self.calls_below {
            self.call();
        }
        now & (BYTES | ENDS) == ENDS
    }

    /// The side ends when nothing is left. True: that is so now.
    #[must_use]
    pub(super) fn end_when_empty(&self) -> bool {
        self.word.fetch_or(ENDS, Ordering::AcqRel) & BYTES == 0
    }

    /// A send has failed. The first says why; what was queued behind it fails for the same reason.
    pub(super) fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
        if self.word.fetch_or(FAILED, Ordering::AcqRel) & WAITING != 0 {
            self.call();
        }
    }

    /// The failure, if there was one.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.word.load(Ordering::Acquire) & FAILED {
            0 => Ok(()),
            _ => self.failure.lock().map_or(Ok(()), Err),
        }
    }

    /// Ready when fewer bytes than `below` are left, or a send has failed.
    pub(super) fn poll_below(&self, cx: &mut Context<'_>, below: usize) -> Poll<Result<(), Error>> {
        let is_below = |word: u64| word & BYTES < below as u64;
        let is_over = |word: u64| word & FAILED != 0 || is_below(word);
        if !is_over(self.word.load(Ordering::Acquire)) {
            let waker = cx.waker().clone();
            let before = self.waiter.lock().replace(waker);
            drop(before);
            // From here on whoever changes the word calls; what changed before is seen.
            if !is_over(self.word.fetch_or(WAITING, Ordering::AcqRel)) {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.check())
    }

    /// Nobody sends any more: who waited, and was given up, is forgotten.
    pub(super) fn forget_waiter(&self) {
        let waker = self.waiter.lock().take();
        drop(waker);
    }

    fn call(&self) {
        // Before the waker is taken: one that is put there from now on says so again.
        self.word.fetch_and(!WAITING, Ordering::AcqRel);
        let waker = self.waiter.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(all(test, loom))]
#[path = "backlog_loom.rs"]
mod loom_backlog;
