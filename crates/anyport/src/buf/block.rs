//! The raw memory behind a pooled buffer: one allocation of a size class.
//!
//! Guaranteed: a new block is not touched, so the OS need not back it with pages before its first
//! use; a lack of memory is `None`, never an abort. Called by the pool, which owns every block.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use super::SizeClass;

/// The alignment of a block in bytes: a cache line, and not more on purpose. The starts of buffers
/// are what small messages touch; were they all aligned to a page, they would compete for the same
/// few sets of the caches (a tenth of the CPU time of a 64-byte echo at 1,000 connections), and
/// glibc would spend a page more on each.
const ALIGN_BYTES: usize = 64;

/// A block that belongs to the pool and that nobody else can reach.
#[derive(Debug)]
pub(super) struct Block(pub(super) NonNull<u8>);

// SAFETY: a block is plain memory without a tie to a thread, and a `Block` is its only owner.
unsafe impl Send for Block {}

impl Block {
    /// A new block with contents that must not be read before they are written.
    pub(super) fn allocate(class: SizeClass) -> Option<Self> {
        #[cfg(test)]
        if tests::the_next_allocation_fails() {
            return None;
        }
        // SAFETY: the layout of every class has a size above zero.
        NonNull::new(unsafe { alloc(layout(class)) }).map(Self)
    }

    /// Gives the memory back to the allocator.
    ///
    /// # Safety
    /// The block was allocated with this `class`, and nothing points into it any more.
    pub(super) unsafe fn release(self, class: SizeClass) {
        // SAFETY: allocated by `allocate` with the same layout, by the caller's promise, and
        // released once because `self` is consumed.
        unsafe { dealloc(self.0.as_ptr(), layout(class)) }
    }
}

const fn layout(class: SizeClass) -> Layout {
    match Layout::from_size_align(class.bytes(), ALIGN_BYTES) {
        Ok(layout) => layout,
        Err(_) => panic!("a size class is a valid layout"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static FAIL_NEXT: Cell<bool> = const { Cell::new(false) };
    }

    /// Makes the next allocation of this thread fail as if memory had run out.
    pub(in crate::buf) fn fail_the_next_allocation() {
        FAIL_NEXT.set(true);
    }

    pub(super) fn the_next_allocation_fails() -> bool {
        FAIL_NEXT.replace(false)
    }

    #[test]
    fn a_block_starts_on_a_cache_line() {
        for class in SizeClass::ALL {
            let block = Block::allocate(class).expect("memory for one block");
            assert_eq!(block.0.as_ptr().addr() % ALIGN_BYTES, 0);
            // SAFETY: just allocated with this class; nothing points into it.
            unsafe { block.release(class) };
        }
    }
}
