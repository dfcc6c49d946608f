//! Asking the processor for memory before it is needed: a hint without effect on what a program
//! does.
//!
//! A busy port touches a few cache lines for each of thousands of operations, in no order that a
//! processor could guess, and each is a wait for a cache further out. The engine knows a few
//! packets ahead which they will be.

/// Starts to load what `pointer` points to, which need not be valid: nothing is read.
#[inline]
pub(crate) fn prefetch<T>(pointer: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64;
        let start: *const i8 = pointer.cast();
        for offset in (0..size_of::<T>()).step_by(LINE) {
            // SAFETY: a prefetch never faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(offset)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = pointer;
}
