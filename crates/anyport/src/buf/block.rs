//! The raw memory behind a pooled buffer: one page-aligned allocation of a size class.
//!
//! Guaranteed: a new block is not touched, so the OS need not back it with pages before its first
//! use; a lack of memory is `None`, never an abort. Called by the pool, which owns every block.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use super::SizeClass;

/// The alignment of a block in bytes: a page, so that a transfer of a whole buffer touches as few
/// pages as it can, and direct file I/O takes it as it is. The price with glibc: a page of its own
/// in front of each block that is in use.
const ALIGN_BYTES: usize = 4096;

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
        Err(_) => panic!("a size class is a whole number of pages"),
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
    fn a_block_starts_on_a_page() {
        for class in SizeClass::ALL {
            let block = Block::allocate(class).expect("memory for one block");
            assert_eq!(block.0.as_ptr().addr() % ALIGN_BYTES, 0);
            // SAFETY: just allocated with this class; nothing points into it.
            unsafe { block.release(class) };
        }
    }
}
