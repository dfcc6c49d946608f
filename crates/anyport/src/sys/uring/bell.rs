//! Waking a thread that waits on a ring, from any thread, whatever the ring holds.
//!
//! A message from ring to ring completes in the target at once and in nobody's context. The bell's
//! own ring carries nothing else: were a lane woken through its own ring, the waker would hand
//! over the lane's prepared requests too, and they would belong to the wrong thread from then on.

use super::translate;
use crate::error::Error;
use crate::sys::error_from_io;
use io_uring::IoUring;
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

/// The port's bell.
pub(super) struct Bell {
    ring: Mutex<IoUring>,
}

impl Bell {
    pub(super) fn new() -> Result<Self, Error> {
        match IoUring::new(2) {
            Ok(ring) => Ok(Bell { ring: Mutex::new(ring) }),
            Err(e) => Err(error_from_io(&e, "create an io_uring")),
        }
    }

    /// Puts a wake-up into the ring of this descriptor.
    pub(super) fn strike(&self, ring: RawFd) {
        let mut bell = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the entry names no memory, and the target's descriptor is open: lanes and bell
        // belong to the same backend.
        let is_queued = unsafe { bell.submission().push(&translate::wake_entry(ring)).is_ok() };
        debug_assert!(is_queued, "each strike is submitted at once");
        // Interrupted before it was taken: again. Other failures are of a full target, which has
        // events then, so that nobody sleeps on it.
        while let Err(e) = bell.submit() {
            if e.raw_os_error() != Some(libc::EINTR) {
                break;
            }
        }
        // Success leaves no completion; what failed must not fill the queue.
        bell.completion().for_each(drop);
    }
}
