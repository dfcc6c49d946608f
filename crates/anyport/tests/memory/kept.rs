//! Buffers of the tests' own that are never freed while the test looks at them: filled with a
//! pattern when they are given up, and found out when somebody writes to them afterwards.
//!
//! AddressSanitizer does not see what the kernel writes; this does.

use anyport::buf::{Buffer, RawBuffer, StableBuffer};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a buffer that was given up holds, in every byte. Nothing that the tests transfer has it.
pub(crate) const PATTERN: u8 = 0xA5;

/// What a buffer holds while it is in use and was not written to.
const FRESH: u8 = 0xC3;

/// The buffers of one test, or of one round of it. They are freed when this goes.
pub(crate) struct KeptBuffers {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Given up, and kept.
    given_up: Mutex<Vec<Block>>,
    made: AtomicUsize,
    live: AtomicUsize,
}

/// Memory that stays where it is until it is dropped.
struct Block {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: it owns its memory, as a boxed slice does.
unsafe impl Send for Block {}

impl KeptBuffers {
    pub(crate) fn new() -> Self {
        KeptBuffers { shared: Arc::default() }
    }

    /// A buffer that a receive may fill.
    pub(crate) fn writable(&self, size: usize) -> Buffer {
        Buffer::custom(self.make(size, 0, true))
    }

    /// A buffer to send, with these bytes.
    pub(crate) fn to_send(&self, bytes: &[u8]) -> Buffer {
        let kept = self.make(bytes.len(), bytes.len(), false);
        // SAFETY: the block has `bytes.len()` bytes and nobody else knows it.
        unsafe {
            kept.block.start.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len())
        };
        Buffer::custom(kept)
    }

    /// Buffers that an operation or a packet owns.
    pub(crate) fn live(&self) -> usize {
        self.shared.live.load(Ordering::Acquire)
    }

    /// Fails when a buffer was written to after it was given up, or when one was given up twice or
    /// never.
    pub(crate) fn check(&self) {
        assert_eq!(self.live(), 0, "a buffer was not given up");
        let given_up = self.shared.given_up.lock().expect("no check has failed before");
        assert_eq!(given_up.len(), self.shared.made.load(Ordering::Relaxed));
        for (number, block) in given_up.iter().enumerate() {
            if let Some((offset, found)) = block.first_change() {
                panic!(
                    "buffer {number} of {} bytes was written to after it was given up: byte \
                     {offset} is {found:#04x}",
                    block.size
                );
            }
        }
    }

    fn make(&self, size: usize, filled: usize, is_writable: bool) -> Kept {
        self.shared.made.fetch_add(1, Ordering::Relaxed);
        self.shared.live.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        Kept { block: ManuallyDrop::new(Block::new(size)), filled, is_writable, shared }
    }
}

/// One of the buffers, in use.
struct Kept {
    block: ManuallyDrop<Block>,
    filled: usize,
    is_writable: bool,
    shared: Arc<Shared>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: the block is taken out once, here.
        let block = unsafe { ManuallyDrop::take(&mut self.block) };
        block.fill(PATTERN);
        if let Ok(mut given_up) = self.shared.given_up.lock() {
            given_up.push(block);
        }
        self.shared.live.fetch_sub(1, Ordering::Release);
    }
}

// SAFETY: the block's memory is allocated once and stays where it is until `KeptBuffers` goes,
// which is after the buffer was put together again; all of it is initialised.
unsafe impl StableBuffer for Kept {
    fn into_raw(self) -> RawBuffer {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is never used again, so the reference is moved out once.
        let shared = unsafe { ptr::read(&raw const this.shared) };
        RawBuffer {
            ptr: this.block.start.as_ptr(),
            len: this.filled,
            capacity: this.block.size,
            is_writable: this.is_writable,
            token: Arc::into_raw(shared).expose_provenance(),
        }
    }

    unsafe fn from_raw(raw: RawBuffer) -> Self {
        let start = NonNull::new(raw.ptr).expect("`into_raw` gave the start of a block");
        Kept {
            block: ManuallyDrop::new(Block { start, size: raw.capacity }),
            filled: raw.len,
            is_writable: raw.is_writable,
            // SAFETY: the token is the reference that `into_raw` took apart.
            shared: unsafe { Arc::from_raw(ptr::with_exposed_provenance(raw.token)) },
        }
    }
}

impl Block {
    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size.max(1), 4096).expect("a size of the tests' own")
    }

    fn new(size: usize) -> Self {
        // SAFETY: the layout has a size that is not zero.
        let start = unsafe { alloc(Self::layout(size)) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(Self::layout(size)) };
        let block = Block { start, size };
        block.fill(FRESH);
        block
    }

    fn fill(&self, byte: u8) {
        // SAFETY: the block owns `size` writable bytes.
        unsafe { self.start.as_ptr().write_bytes(byte, self.size) };
    }

    fn first_change(&self) -> Option<(usize, u8)> {
        (0..self.size).step_by(PIECE).find_map(|at| {
            let mut piece = [0; PIECE];
            let size = PIECE.min(self.size - at);
            // SAFETY: `at + size` is within the block. A copy and not a reference: the writer
            // looked for here is the kernel, of which the compiler knows nothing.
            unsafe { self.start.as_ptr().add(at).copy_to_nonoverlapping(piece.as_mut_ptr(), size) };
            if piece[..size] == [PATTERN; PIECE][..size] {
                return None;
            }
            let offset = piece[..size].iter().position(|&b| b != PATTERN)?;
            Some((at + offset, piece[offset]))
        })
    }
}

/// How much is compared at a time, in bytes.
const PIECE: usize = 4096;

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout; blocks in use are not dropped.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.size)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_to_a_buffer_that_was_given_up_is_found() {
        let kept = KeptBuffers::new();
        let buffer = kept.writable(10_000);
        let start = buffer.as_slice().as_ptr().cast_mut();
        drop(buffer);
        kept.check();
        // SAFETY: the memory is kept as long as `kept`; this plays the kernel that writes late.
        unsafe { start.add(9_000).write(1) };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| kept.check()));
        assert!(result.is_err());
    }
}
