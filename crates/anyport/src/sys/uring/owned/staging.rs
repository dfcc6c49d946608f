//! What handlers have started and the kernel has not seen: a list that any thread adds to, and that
//! whoever holds the lease drains, the owner into its submission queue or another that takes over.
//!
//! * An entry leaves the list once, and in the order in which it came.
//! * From the end of its `push` until somebody has begun to drain it, `has_any` says true to whoever
//!   looks. After that it may say true of an empty list, and costs the looker a vain attempt.

use crate::atomic::{AtomicBool, Ordering};
use crate::latch::{Latch, LatchGuard};
use std::collections::VecDeque;

/// See the module documentation.
pub(super) struct Staging<E> {
    entries: Latch<VecDeque<E>>,
    /// Something was staged since the list was last drained, or was left over then.
    has_any: AtomicBool,
}

impl<E> Staging<E> {
    pub(super) fn new() -> Self {
        Staging { entries: Latch::default(), has_any: AtomicBool::new(false) }
    }

    pub(super) fn push(&self, entry: E) {
        self.entries.lock().push_back(entry);
        // After the list: were it first, a drain in between would clear it and miss the entry.
        self.has_any.store(true, Ordering::Release);
    }

    /// True when something is to be drained. Whoever reads false because of a drain also sees what
    /// the drainer did before it.
    pub(super) fn has_any(&self) -> bool {
        self.has_any.load(Ordering::Acquire)
    }

    /// Gives `take` the entries until it has no room for one; false when it had none. That one stays
    /// the first, and `has_any` is true again.
    pub(super) fn drain(&self, mut take: impl FnMut(&E) -> bool) -> bool {
        let mut entries = self.begin();
        while let Some(entry) = entries.front() {
            if !take(entry) {
                drop(entries);
                self.note_left();
                return false;
            }
            entries.pop_front();
        }
        // Begins anew at the start of its memory, which is in the cache.
        entries.clear();
        true
    }

    /// Takes all there is.
    pub(super) fn take_all(&self) -> VecDeque<E> {
        std::mem::take(&mut *self.begin())
    }

    /// Takes out the first entry that `is_meant`; false when there is none.
    pub(super) fn remove(&self, is_meant: impl Fn(&E) -> bool) -> bool {
        let mut entries = self.entries.lock();
        let place = entries.iter().position(is_meant);
        place.is_some_and(|place| entries.remove(place).is_some())
    }

    /// What was drained has not reached the kernel: somebody must come again.
    pub(super) fn note_left(&self) {
        self.has_any.store(true, Ordering::Release);
    }

    /// The list, to be drained.
    fn begin(&self) -> LatchGuard<'_, VecDeque<E>> {
        // Cleared first: an entry that comes later than this is drained now or sets it again. Were
        // the list drained first, this would hide what came in between.
        self.has_any.store(false, Ordering::Release);
        self.entries.lock()
    }
}

#[cfg(all(test, loom))]
#[path = "staging_loom.rs"]
mod loom_models;
