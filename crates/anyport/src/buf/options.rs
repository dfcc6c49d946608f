//! What a buffer pool is built from.
//!
//! Plain values with defaults that suit a server of some ten thousand connections. Given to
//! `BufferPool::new`, or to the builder of a port, which makes the pool for its own receives.

/// How large a [`BufferPool`](super::BufferPool) may become and what it keeps.
///
/// ```
/// use anyport::buf::{BufferPool, PoolOptions, SizeClass};
///
/// let pool = BufferPool::new(PoolOptions::new().bytes_max(4096));
/// let first = pool.take(SizeClass::Small4K).expect("one buffer fits the bound");
/// assert!(pool.take(SizeClass::Small4K).is_none());
/// drop(first);
/// assert!(pool.take(SizeClass::Small4K).is_some());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct PoolOptions {
    pub(super) bytes_max: usize,
    pub(super) keep_bytes_max: usize,
    pub(super) is_quarantine: bool,
}

impl PoolOptions {
    /// 256 MiB at most, 64 MiB of free buffers kept, no quarantine.
    pub const fn new() -> Self {
        Self { bytes_max: 256 << 20, keep_bytes_max: 64 << 20, is_quarantine: false }
    }

    /// The most memory that the pool holds, in bytes: buffers that are taken and buffers that
    /// are free. Default 256 MiB. What the allocator needs for itself comes on top.
    ///
    /// A class larger than the bound is always refused; below 4 KiB the pool has no buffers.
    pub const fn bytes_max(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// The most memory in free buffers that is kept for reuse, in bytes. Default 64 MiB.
    ///
    /// A buffer that comes back beyond it goes to the allocator at once, so that a burst does not
    /// stay in memory. 0 keeps nothing.
    pub const fn keep_bytes_max(mut self, keep_bytes_max: usize) -> Self {
        self.keep_bytes_max = keep_bytes_max;
        self
    }

    /// For tests of memory rules: a buffer that comes back is filled with a pattern and never
    /// used again, so that [`check_quarantine`](super::BufferPool::check_quarantine) finds whoever
    /// writes to it later. Default off.
    ///
    /// In this mode the bound counts only buffers that are taken, and memory grows with every
    /// buffer until the pool is dropped.
    pub const fn quarantine(mut self, is_quarantine: bool) -> Self {
        self.is_quarantine = is_quarantine;
        self
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self::new()
    }
}
