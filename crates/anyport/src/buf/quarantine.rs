//! The pattern in freed buffers that gives away a late write.
//!
//! Sanitizers do not see what the kernel writes. A pool in quarantine mode fills a buffer that
//! comes back with [`PATTERN`], never reuses it, and checks it here. Called by the pool.

use std::fmt;

use super::SizeClass;
use super::block::Block;

/// The byte in every place of a freed buffer.
pub(super) const PATTERN: u8 = 0xA5;

/// Somebody wrote to a pooled buffer after it had been freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineError {
    /// Which buffer: the count of buffers freed before it.
    pub buffer: usize,
    /// The class of that buffer.
    pub class: SizeClass,
    /// The first byte that changed, counted in bytes from the start of the buffer.
    pub offset: usize,
    /// The byte found there, where 0xA5 was left.
    pub found: u8,
}

impl fmt::Display for QuarantineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pooled buffer {} ({:?}) was written to after it was freed: byte {} is {:#04x} instead \
             of {PATTERN:#04x}; an operation freed its buffer before its completion was seen",
            self.buffer, self.class, self.offset, self.found
        )
    }
}

impl std::error::Error for QuarantineError {}

/// Fills a freed block with the pattern.
pub(super) fn fill(block: &Block, class: SizeClass) {
    // SAFETY: a `Block` owns `class.bytes()` writable bytes, and the pool has it to itself here.
    unsafe { block.0.as_ptr().write_bytes(PATTERN, class.bytes()) }
}

/// The first byte of the block that is not the pattern, with its offset.
pub(super) fn first_change(block: &Block, class: SizeClass) -> Option<(usize, u8)> {
    const WORD: usize = size_of::<u64>();
    let words = block.0.as_ptr().cast::<u64>();
    for i in 0..class.bytes() / WORD {
        // SAFETY: `fill` initialised every one of the block's `class.bytes()` bytes, and a block is
        // aligned to more than a word. Volatile: the writer looked for here is the kernel, of
        // which the compiler knows nothing.
        let word = unsafe { words.add(i).read_volatile() };
        if word != u64::from_ne_bytes([PATTERN; WORD]) {
            let bytes = word.to_ne_bytes();
            let place = bytes.iter().position(|&byte| byte != PATTERN)?;
            return Some((i * WORD + place, bytes[place]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::{BufferPool, PoolOptions};

    fn quarantine_pool(bytes_max: usize) -> BufferPool {
        BufferPool::new(PoolOptions::new().bytes_max(bytes_max).quarantine(true))
    }

    #[test]
    fn a_write_after_the_buffer_was_freed_is_found() {
        let pool = quarantine_pool(1 << 20);
        drop(pool.take(SizeClass::Small4K));
        let mut buffer = pool.take(SizeClass::Medium16K).expect("room");
        let stale = buffer.spare_capacity_mut().as_mut_ptr();
        drop(buffer);
        assert_eq!(pool.check_quarantine(), Ok(2));
        // SAFETY: in quarantine mode the memory stays allocated as long as `pool`; this plays the
        // kernel that writes late.
        unsafe { stale.add(16_000).cast::<u8>().write(7) };
        let error =
            QuarantineError { buffer: 1, class: SizeClass::Medium16K, offset: 16_000, found: 7 };
        assert_eq!(pool.check_quarantine(), Err(error));
        assert!(error.to_string().contains("byte 16000 is 0x07 instead of 0xa5"));
    }

    #[test]
    fn a_quarantined_buffer_is_never_used_again() {
        let pool = quarantine_pool(4096);
        let mut seen = Vec::new();
        for _ in 0..8 {
            let mut buffer = pool.take(SizeClass::Small4K).expect("only live buffers count");
            assert!(pool.take(SizeClass::Small4K).is_none());
            let start = buffer.spare_capacity_mut().as_mut_ptr().addr();
            assert!(!seen.contains(&start));
            seen.push(start);
            buffer.extend_from_slice(b"seen by the user");
        }
        let stats = pool.stats();
        assert_eq!(stats.bytes_allocated, 0);
        assert_eq!(stats.bytes_quarantined, 8 * 4096);
        assert_eq!(stats.free, [0; SizeClass::COUNT]);
        assert_eq!(pool.check_quarantine(), Ok(8));
        pool.trim();
        assert_eq!(pool.check_quarantine(), Ok(8), "trim does not touch the quarantine");
    }

    #[test]
    fn a_buffer_with_data_is_overwritten_by_the_pattern() {
        let pool = quarantine_pool(1 << 20);
        for class in SizeClass::ALL {
            let mut buffer = pool.take(class).expect("room");
            buffer.extend_from_slice(&vec![1; class.bytes()]);
        }
        assert_eq!(pool.check_quarantine(), Ok(3));
    }
}
