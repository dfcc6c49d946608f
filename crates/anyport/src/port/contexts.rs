//! The contexts of operations under way, by the operations' numbers. Kept apart from what the
//! kernel may touch, so that only this layer knows their type.

use crate::op::Chunks;
use std::sync::{Mutex, OnceLock, PoisonError};

/// See the module documentation.
pub(super) struct Contexts<T> {
    entries: Chunks<Mutex<Option<T>>>,
    /// How a stream makes each packet's context; set with the first stream.
    clone: OnceLock<fn(&T) -> T>,
}

impl<T> Contexts<T> {
    pub(super) fn new() -> Self {
        Contexts { entries: Chunks::new(), clone: OnceLock::new() }
    }

    pub(super) fn put(&self, index: u32, context: T, clone: Option<fn(&T) -> T>) {
        if let Some(clone) = clone {
            // Each gives the same: the type has one.
            let _ = self.clone.set(clone);
        }
        let entry = self.entries.get_or_make(index, |_| Mutex::new(None));
        let mut entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
        debug_assert!(entry.is_none(), "an operation has one context");
        *entry = Some(context);
    }

    /// Asks the processor for a context that will be wanted soon.
    pub(super) fn prefetch(&self, index: u32) {
        self.entries.prefetch(index);
    }

    /// Takes the context of an operation that is over; `None` after `clear`.
    pub(super) fn take(&self, index: u32) -> Option<T> {
        let entry = self.entries.get(index)?;
        entry.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A clone of the context of a stream that goes on.
    pub(super) fn copy(&self, index: u32) -> Option<T> {
        let entry = self.entries.get(index)?.lock().unwrap_or_else(PoisonError::into_inner);
        let clone = self.clone.get()?;
        entry.as_ref().map(clone)
    }

    /// Drops all: they may hold handles, and through them this very port.
    pub(super) fn clear(&self) {
        for entry in self.entries.iter() {
            // The guard goes before the context, whose drop may call anything.
            let context = entry.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(context);
        }
    }
}
