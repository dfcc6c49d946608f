//! The right to a ring's submission side: the owner has it while it fills the submission queue and
//! is in the kernel, another thread while it takes over from the owner.
//!
//! * Only the owner waits for it; others try. So nobody waits for a thread that sleeps in the kernel
//!   but the thread itself, and the owner waits for no more than one take-over.
//! * The ring is the owner's: a take-over only looks whether it is clear. The owner gets it after
//!   what was disowned meanwhile is cancelled, so before the kernel can run anything of that.
//! * `is_emptied` changes to true under the lease only, and to false before the owner has the ring:
//!   it is never true while the kernel has something under way that was not taken over.

use crate::atomic::{AtomicBool, Mutex, MutexGuard, Ordering};
use std::sync::{PoisonError, TryLockError};
use std::vec::Drain;

/// See the module documentation. `R` is the ring.
pub(super) struct Lease<R> {
    submission: Mutex<Submission<R>>,
    /// Everything that was under way was taken over, and the owner has not been back.
    is_emptied: AtomicBool,
}

/// What the lease is for.
struct Submission<R> {
    ring: Option<R>,
    /// Disowned requests that the owner has not cancelled yet.
    uncancelled: Vec<u64>,
}

impl<R> Lease<R> {
    pub(super) fn new() -> Self {
        let submission = Submission { ring: None, uncancelled: Vec::new() };
        Lease { submission: Mutex::new(submission), is_emptied: AtomicBool::new(false) }
    }

    /// Waits while another thread takes over. Only for the owner, or who wants to be.
    pub(super) fn hold(&self) -> OwnersLease<'_, R> {
        let submission = self.submission.lock().unwrap_or_else(PoisonError::into_inner);
        OwnersLease { submission, is_emptied: &self.is_emptied }
    }

    /// For another thread than the owner; `None` while somebody has it, or when the ring is not
    /// clear: it then holds something that only its owner can bring forward.
    pub(super) fn try_borrow(&self, is_clear: impl FnOnce(&R) -> bool) -> Option<Borrowed<'_, R>> {
        let submission = match self.submission.try_lock() {
            Ok(submission) => submission,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let is_free = submission.ring.as_ref().is_none_or(is_clear);
        is_free.then(|| Borrowed { submission, is_emptied: &self.is_emptied })
    }

    /// False while the kernel may have something under way that was not taken over. Who learned
    /// from [`has_any`](super::Staging::has_any) that the owner has drained an entry finds false.
    pub(super) fn is_emptied(&self) -> bool {
        self.is_emptied.load(Ordering::Acquire)
    }

    /// The ring, when nobody else has the lane any more.
    pub(super) fn take_ring(&mut self) -> Option<R> {
        self.submission.get_mut().unwrap_or_else(PoisonError::into_inner).ring.take()
    }
}

/// The lease in its owner's hands.
pub(super) struct OwnersLease<'a, R> {
    submission: MutexGuard<'a, Submission<R>>,
    is_emptied: &'a AtomicBool,
}

impl<R> OwnersLease<'_, R> {
    pub(super) fn has_ring(&self) -> bool {
        self.submission.ring.is_some()
    }

    /// From now on the ring is to be had.
    pub(super) fn put_ring(&mut self, ring: R) {
        self.submission.ring = Some(ring);
    }

    /// The ring leaves the lane.
    pub(super) fn take_ring(&mut self) -> Option<R> {
        self.submission.ring.take()
    }

    /// Something was taken over since the owner was last here.
    pub(super) fn has_uncancelled(&self) -> bool {
        !self.submission.uncancelled.is_empty()
    }

    /// Has `cancel` end what was taken over, if anything was; the kernel must run nothing that is
    /// deferred before all of it is cancelled.
    pub(super) fn settle(&mut self, cancel: impl FnOnce(&R, Drain<'_, u64>)) {
        let Submission { ring, uncancelled } = &mut *self.submission;
        if let Some(ring) = ring
            && !uncancelled.is_empty()
        {
            cancel(ring, uncancelled.drain(..));
        }
    }

    /// The ring, to be filled and entered, after what was taken over is settled.
    pub(super) fn enter(&mut self, cancel: impl FnOnce(&R, Drain<'_, u64>)) -> Option<&R> {
        self.settle(cancel);
        let ring = self.submission.ring.as_ref()?;
        // Before an entry leaves the list: whoever sees it gone from there looks here next.
        self.is_emptied.store(false, Ordering::Release);
        Some(ring)
    }
}

/// The lease in the hands of a thread that takes over.
pub(super) struct Borrowed<'a, R> {
    submission: MutexGuard<'a, Submission<R>>,
    is_emptied: &'a AtomicBool,
}

impl<R> Borrowed<'_, R> {
    /// Leaves it to the owner to cancel this request before anything else.
    pub(super) fn disown(&mut self, word: u64) {
        self.submission.uncancelled.push(word);
    }

    /// Everything that was under way is disowned.
    pub(super) fn note_emptied(&mut self) {
        self.is_emptied.store(true, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
#[path = "lease_loom.rs"]
mod loom_models;
