//! The system's allocator, with a call for each allocation: what is warm is to make none.

use std::alloc::{GlobalAlloc, Layout, System};

/// What is called for each allocation. It may allocate nothing itself.
pub(crate) struct Counting(pub(crate) fn());

// SAFETY: everything is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        (self.0)();
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller, and allocated by `System`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        (self.0)();
        // SAFETY: as promised by the caller, and allocated by `System`.
        unsafe { System.realloc(ptr, layout, size) }
    }
}
