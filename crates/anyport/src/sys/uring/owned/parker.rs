//! How the owner of a ring is woken, who may be about to sleep in the kernel, asleep, or far from
//! it: by a message to its ring, which is sent only when it is needed.
//!
//! * No wake-up is lost: when `wake` returns, the owner will find that it was woken before it sleeps,
//!   or a message is on its way into its ring, sent by this call or by one that came before.
//! * What was there before `wake` is seen by who returns from the wait that it ended.
//! * A thread that takes the message out of the ring in the owner's place passes it on.
//!
//! `is_notified` is only swapped, never just written. So of a waker and an owner at it one comes
//! second and sees all that the other did before, however many were at it in between.

use crate::atomic::{AtomicBool, Ordering};

/// See the module documentation.
pub(super) struct Parker {
    /// `wake` was called and no wait has returned since.
    is_notified: AtomicBool,
    /// The owner is in `park`.
    is_waiting: AtomicBool,
}

impl Parker {
    pub(super) fn new() -> Self {
        Parker { is_notified: AtomicBool::new(false), is_waiting: AtomicBool::new(false) }
    }

    /// Calls `prepare` and then `enter`, which may sleep until the ring has a message, unless it is
    /// told that the owner was woken. Neither is called after a wake-up that came first, nor `enter`
    /// when nothing is prepared.
    pub(super) fn park<P>(&self, prepare: impl FnOnce() -> Option<P>, enter: impl FnOnce(P, bool)) {
        // Before the swap: a waker that comes after that sees that there is somebody to wake.
        self.is_waiting.store(true, Ordering::Release);
        if !self.is_notified.swap(false, Ordering::AcqRel)
            && let Some(prepared) = prepare()
        {
            // A message that came while the owner prepared may be gone: the owner takes completions
            // out of the ring on the way.
            enter(prepared, self.is_notified.load(Ordering::Acquire));
        }
        // In this order a waker in between sends no message: it would end the next wait for nothing.
        // The swap brings what every waker has published that this wait answers for.
        self.is_waiting.store(false, Ordering::Release);
        self.is_notified.swap(false, Ordering::AcqRel);
    }

    /// Ends the current or else the next wait; `send` puts a message into the ring, and says false
    /// when it could not.
    pub(super) fn wake(&self, send: impl FnOnce() -> bool) {
        if self.is_notified.swap(true, Ordering::AcqRel) || !self.is_waiting.load(Ordering::Acquire)
        {
            return;
        }
        if !send() {
            // The next wake-up shall try again.
            self.is_notified.swap(false, Ordering::AcqRel);
        }
    }

    /// For who took a message out of the ring: it may have been all that would wake the owner.
    pub(super) fn pass_on(&self, send: impl FnOnce() -> bool) {
        if self.is_waiting.load(Ordering::Acquire) {
            self.is_notified.swap(false, Ordering::AcqRel);
            self.wake(send);
        }
    }
}

#[cfg(all(test, loom))]
#[path = "parker_loom.rs"]
mod loom_models;
