//! The contexts of operations under way, by the operations' numbers. Kept apart from what the
//! kernel may touch, so that only this layer knows their type.
//!
//! A context has no lock of its own: a lock for each of put, copy and take was a seventh of the
//! port's own work for a small message. Who may touch it follows from what its operation is at:
//!
//! * from the start to its last completion nobody but who copies it for a packet of a stream, and
//!   of these one at a time: a receive stream has one packet out, accept streams copy under `cloning`;
//! * then the thread that has the last completion, or that has seen the operation end quietly, while
//!   a `CompletionPort` is in its hands;
//! * `clear`, when there is no `CompletionPort` any more, and so nobody takes completions. Starts
//!   may go on until they find the port closed: against those it takes the operation's lock.

use crate::op::Chunks;
use std::cell::UnsafeCell;
use std::sync::{Mutex, OnceLock, PoisonError};

/// See the module documentation.
pub(super) struct Contexts<T> {
    entries: Chunks<Entry<T>>,
    /// How a stream makes each packet's context; set with the first stream.
    clone: OnceLock<fn(&T) -> T>,
    cloning: Mutex<()>,
}

struct Entry<T>(UnsafeCell<Option<T>>);

// SAFETY: a context is in the hands of one thread at a time, as the module documentation says; it
// may go from one to another, so `Send` is all that it needs.
unsafe impl<T: Send> Sync for Entry<T> {}

/// How many threads may copy a context at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Copying {
    /// One: the stream hands out nothing more until its packet is back.
    One,
    Many,
}

impl<T> Contexts<T> {
    pub(super) fn new() -> Self {
        Contexts { entries: Chunks::new(), clone: OnceLock::new(), cloning: Mutex::new(()) }
    }

    /// Places the context of an operation that is about to start.
    ///
    /// # Safety
    /// The operation's lock is held, and it has not begun; the port was not closed with the lock
    /// held.
    pub(super) unsafe fn put(&self, index: u32, context: T, clone: Option<fn(&T) -> T>) {
        if let Some(clone) = clone {
            // Each gives the same: the type has one.
            let _ = self.clone.set(clone);
        }
        let entry = self.entries.get_or_make(index, |_| Entry(UnsafeCell::new(None)));
        // SAFETY: the slot is reserved for an operation that nobody knows of yet, and `clear` waits
        // for the operation's lock.
        let entry = unsafe { &mut *entry.0.get() };
        debug_assert!(entry.is_none(), "an operation has one context");
        *entry = Some(context);
    }

    /// Asks the processor for a context that will be wanted soon.
    pub(super) fn prefetch(&self, index: u32) {
        self.entries.prefetch(index);
    }

    /// Takes the context of an operation that is over.
    ///
    /// # Safety
    /// The caller has the operation's last completion, or its number from `QuietEnds`, and holds a
    /// `CompletionPort`; no copy is being made.
    pub(super) unsafe fn take(&self, index: u32) -> Option<T> {
        let entry = self.entries.get(index)?;
        // SAFETY: by the caller's promise no other thread is at it. It was put before the operation
        // was unlocked, and the completion was made with the same lock.
        unsafe { &mut *entry.0.get() }.take()
    }

    /// A clone of the context of a stream that goes on.
    ///
    /// # Safety
    /// The caller has a completion of the stream, which has not released its claim on the context,
    /// and holds a `CompletionPort`. With `Copying::One` the stream hands out nothing else.
    pub(super) unsafe fn copy(&self, index: u32, copying: Copying) -> Option<T> {
        let clone = self.clone.get()?;
        let _alone = (copying == Copying::Many)
            .then(|| self.cloning.lock().unwrap_or_else(PoisonError::into_inner));
        let entry = self.entries.get(index)?;
        // SAFETY: nobody takes it away before the claim is released, and of those who copy it is
        // one at a time, since `T` need not be `Sync`.
        unsafe { &*entry.0.get() }.as_ref().map(clone)
    }

    /// Drops all: they may hold handles, and through them this very port. `locked` calls what it is
    /// given with the lock of that operation held.
    ///
    /// # Safety
    /// No `CompletionPort` is left, and the port is closed.
    pub(super) unsafe fn clear(&self, locked: impl Fn(u32, &mut dyn FnMut())) {
        for (index, entry) in self.entries.iter() {
            let mut context = None;
            // SAFETY: nobody takes completions any more, and a start that has not found the port
            // closed is over when the lock is had.
            locked(index, &mut || context = unsafe { &mut *entry.0.get() }.take());
            // Dropped without the lock: that may call anything.
            drop(context);
        }
    }
}
