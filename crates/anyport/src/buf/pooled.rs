//! A buffer lent by a pool, which goes back when it is dropped.
//!
//! Guaranteed: only bytes that were written can be read; the memory does not move; it lives as
//! long as the buffer, also after the pool's last handle and the port are gone. Filled by the
//! engine on a receive, or by the user for a send.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use super::SizeClass;
use super::block::Block;
use super::pool::PoolShared;

/// A buffer of a [`BufferPool`](super::BufferPool), which returns there when it is dropped.
///
/// It reads as the bytes written so far, its first [`len`](Self::len) bytes, and never grows
/// beyond its [`capacity`](Self::capacity). It may be kept as long as needed, by any thread; as
/// long as it is kept it counts against the bound of its pool.
///
/// ```
/// use anyport::buf::{BufferPool, PoolOptions, SizeClass};
///
/// let pool = BufferPool::new(PoolOptions::new());
/// let mut buffer = pool.take(SizeClass::for_bytes(10)).expect("an empty pool has room");
/// buffer.extend_from_slice(b"hello");
/// assert_eq!(&buffer[..], b"hello");
/// assert_eq!(buffer.capacity(), 4096);
/// ```
pub struct PooledBuffer {
    /// Where it goes back to; alive as long as any buffer is taken.
    pool: NonNull<PoolShared>,
    /// The start of `class.bytes()` bytes that belong to this buffer alone.
    start: NonNull<u8>,
    /// At most `class.bytes()`; the bytes before it are initialised.
    len: u32,
    class: SizeClass,
}

// SAFETY: the buffer is the only owner of its plain memory, and the pool is shared by a lock.
unsafe impl Send for PooledBuffer {}
// SAFETY: through a shared reference the memory can only be read.
unsafe impl Sync for PooledBuffer {}

impl PooledBuffer {
    /// An empty buffer over `block`, which was allocated for `class` and is counted as taken.
    pub(super) fn new(pool: &Arc<PoolShared>, block: Block, class: SizeClass) -> Self {
        Self { pool: NonNull::from(&**pool), start: block.0, len: 0, class }
    }

    /// The bytes written so far: what can be read, and what a send sends.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True if nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most bytes the buffer can hold: those of its class.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.class.bytes()
    }

    /// The size class it was taken as.
    #[must_use]
    pub fn class(&self) -> SizeClass {
        self.class
    }

    /// Appends `bytes`.
    ///
    /// # Panics
    /// If they do not fit into the spare capacity. Where the length comes from outside, use
    /// [`io::Write`], which takes what fits and says how much that was.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let spare = self.capacity() - self.len();
        assert!(
            bytes.len() <= spare,
            "{} bytes do not fit into the {spare} spare bytes of a pooled buffer: take a larger \
             class or several buffers",
            bytes.len()
        );
        // SAFETY: `bytes.len()` bytes fit behind `len`, and a `&mut` buffer is not borrowed as
        // `bytes`, so the ranges are apart.
        unsafe {
            self.as_mut_ptr().add(self.len()).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        self.len += bytes.len() as u32;
    }

    /// The bytes behind `len`, which may be uninitialised: write them, then call
    /// [`set_len`](Self::set_len).
    pub fn spare_capacity_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let (len, capacity) = (self.len(), self.capacity());
        // SAFETY: `len <= capacity`, all of it is this buffer's own memory, and `MaybeUninit`
        // allows bytes that were never written.
        unsafe { slice::from_raw_parts_mut(self.as_mut_ptr().add(len).cast(), capacity - len) }
    }

    /// Says how many bytes from the start are written.
    ///
    /// # Safety
    /// `len` is at most the capacity, and the first `len` bytes have been written. Bytes left
    /// over from an earlier user of the memory do not count as written.
    pub unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity(), "the length is within the capacity");
        self.len = len as u32;
    }

    /// Shortens the buffer to `len` bytes; does nothing if it is not longer.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.len = len as u32;
        }
    }

    /// Makes the buffer empty; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// What a receive may write: the start and the capacity. Good until the buffer is dropped; a
    /// move does not end it.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub(crate) fn write_parts(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.capacity())
    }

    /// The start of the memory, good for reading `len` bytes.
    pub(super) fn as_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    /// The start of the memory, good for writing `capacity` bytes.
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialised and belong to this buffer.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len()) }
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        // SAFETY: as in `deref`, and `&mut self` makes it the only access.
        unsafe { slice::from_raw_parts_mut(self.as_mut_ptr(), len) }
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for PooledBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Writes what fits; 0 when the buffer is full.
impl io::Write for PooledBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fitting = bytes.len().min(self.capacity() - self.len());
        self.extend_from_slice(&bytes[..fitting]);
        Ok(fitting)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Names the class and the length, not the bytes: they belong to the user.
impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBuffer")
            .field("class", &self.class)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        // SAFETY: this buffer is counted as taken until it is given back.
        unsafe { PoolShared::give_back(self.pool, Block(self.start), self.class) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::buf::{BufferPool, PoolOptions};

    fn taken(class: SizeClass) -> PooledBuffer {
        BufferPool::new(PoolOptions::new()).take(class).expect("an empty pool has room")
    }

    #[test]
    fn a_pooled_buffer_is_small_and_may_go_to_any_thread() {
        fn is_send_and_sync<B: Send + Sync>() {}
        is_send_and_sync::<PooledBuffer>();
        assert!(size_of::<PooledBuffer>() <= 24);
    }

    #[test]
    fn only_written_bytes_can_be_read() {
        let pool = BufferPool::new(PoolOptions::new());
        let mut buffer = pool.take(SizeClass::Small4K).expect("room");
        assert!(buffer.is_empty());
        assert_eq!(&buffer[..], b"");
        buffer.extend_from_slice(b"secret of the first user");
        drop(buffer);
        let again = pool.take(SizeClass::Small4K).expect("room");
        assert_eq!(&again[..], b"", "what the first user wrote is out of reach");
    }

    #[test]
    fn bytes_are_appended_changed_and_cut() {
        let mut buffer = taken(SizeClass::Small4K);
        buffer.extend_from_slice(b"hello");
        buffer.extend_from_slice(b" world");
        buffer[0] = b'J';
        assert_eq!(&buffer[..], b"Jello world");
        buffer.truncate(100);
        assert_eq!(buffer.len(), 11);
        buffer.truncate(5);
        assert_eq!(buffer.as_ref(), b"Jello");
        assert_eq!(buffer.spare_capacity_mut().len(), 4096 - 5);
        buffer.spare_capacity_mut()[0].write(b'!');
        // SAFETY: six bytes are written, five by `extend_from_slice` and one just now.
        unsafe { buffer.set_len(6) };
        assert_eq!(&buffer[..], b"Jello!");
        buffer.clear();
        assert!(buffer.is_empty());
        assert_eq!(buffer.class(), SizeClass::Small4K);
    }

    #[test]
    fn a_full_buffer_takes_what_fits_and_says_so() {
        let mut buffer = taken(SizeClass::Small4K);
        assert_eq!(buffer.write(&[1; 4000]).expect("writes to memory"), 4000);
        assert_eq!(buffer.write(&[2; 4000]).expect("writes to memory"), 96);
        assert_eq!(buffer.write(&[3; 4000]).expect("writes to memory"), 0);
        assert_eq!(buffer.len(), buffer.capacity());
        assert!(buffer.spare_capacity_mut().is_empty());
        assert_eq!(buffer[4095], 2);
    }

    #[test]
    #[should_panic(expected = "4097 bytes do not fit into the 4096 spare bytes")]
    fn appending_more_than_fits_panics_before_it_writes() {
        taken(SizeClass::Small4K).extend_from_slice(&[0; 4097]);
    }

    #[test]
    fn a_buffer_outlives_every_handle_of_its_pool() {
        let mut buffer = taken(SizeClass::Large64K);
        buffer.extend_from_slice(&[7; 65_536]);
        let other = std::thread::spawn(move || {
            assert!(buffer.iter().all(|&byte| byte == 7));
            buffer
        });
        let buffer = other.join().expect("the thread does not panic");
        assert_eq!(buffer.len(), 65_536);
    }

    #[test]
    fn debug_does_not_show_the_bytes() {
        let mut buffer = taken(SizeClass::Small4K);
        buffer.extend_from_slice(b"secret");
        let shown = format!("{buffer:?}");
        assert_eq!(shown, "PooledBuffer { class: Small4K, len: 6, .. }");
    }
}
