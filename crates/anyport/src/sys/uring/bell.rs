//! Waking a thread that waits on a ring, from any thread, whatever the ring holds.
//!
//! A message from ring to ring wakes whoever waits on the target, and runs in no user's context. The bell's
//! own ring carries nothing else: were a lane woken through its own ring, the waker would hand
//! over the lane's prepared requests too, and they would belong to the wrong thread from then on.

use super::translate;
use crate::error::Error;
use crate::sys::error_from_io;
use io_uring::IoUring;
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};

/// How often a kernel without memory is asked again.
const TRIES_MAX: u32 = 64;

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

    /// Puts a wake-up into the ring of this descriptor; false when the kernel has no memory for it
    /// now.
    pub(super) fn strike(&self, ring: RawFd) -> bool {
        let mut bell = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the entry names no memory, and the target's descriptor is open: lanes and bell
        // belong to the same backend.
        let is_queued = unsafe { bell.submission().push(&translate::wake_entry(ring)).is_ok() };
        let mut tries = 0;
        let is_submitted = loop {
            match bell.submit() {
                Ok(_) => break true,
                // Interrupted before it was taken.
                Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
                Err(_) if tries == TRIES_MAX => break false,
                Err(_) => {
                    tries += 1;
                    std::thread::yield_now();
                }
            }
        };
        // Success leaves no completion; what failed must not fill the queue. It fails for a full
        // target, which has events then, so that nobody sleeps on it.
        bell.completion().for_each(drop);
        is_queued && is_submitted
    }
}
