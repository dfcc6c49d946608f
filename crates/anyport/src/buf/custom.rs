//! Buffers of the user's own kind: the contract, and the raw parts the engine keeps of them.
//!
//! Guaranteed: no allocation and no trait object per operation. A buffer is taken apart into
//! plain values beside a table of its type that exists once, and put together again when it is
//! given back or dropped. Called by `Buffer`.

use std::any::TypeId;
use std::ptr::NonNull;

/// A kind of memory that an operation can own, written by the user.
///
/// [`Buffer::custom`](super::Buffer::custom) takes the value apart with
/// [`into_raw`](Self::into_raw). [`Buffer::into_custom`](super::Buffer::into_custom) puts it
/// together again with [`from_raw`](Self::from_raw); so does dropping the `Buffer`, which then
/// drops the value. Each `into_raw` is followed by at most one `from_raw` (none, if the `Buffer`
/// is leaked).
///
/// # Safety
/// From `into_raw` until the `from_raw` that belongs to it:
///
/// - `ptr` is not null, also when `capacity` is 0, and `len <= capacity <= isize::MAX`.
/// - `ptr` is good for reading `len` initialised bytes and, if `is_writable`, for writing
///   `capacity` bytes, by the kernel and by any thread; nobody else writes to these bytes, and
///   nobody else reads them if `is_writable`.
/// - The memory stays where it is and is not freed, wherever the raw parts are moved to.
/// - `from_raw` may run on any thread, with `ptr`, `capacity`, `is_writable` and `token` as they
///   were. `len` may have changed if `is_writable`; then the first `len` bytes are initialised.
///
/// ```
/// use anyport::buf::{Buffer, RawBuffer, StableBuffer};
///
/// /// A page with a colour, the colour being what must survive the operation.
/// struct Page {
///     bytes: Box<[u8; 4096]>,
///     filled: usize,
///     colour: usize,
/// }
///
/// // SAFETY: a box stays where it is until `from_raw` makes a box of it again, and all of it is
/// // initialised from the start.
/// unsafe impl StableBuffer for Page {
///     fn into_raw(self) -> RawBuffer {
///         RawBuffer {
///             ptr: Box::into_raw(self.bytes).cast(),
///             len: self.filled,
///             capacity: 4096,
///             is_writable: true,
///             token: self.colour,
///         }
///     }
///
///     unsafe fn from_raw(raw: RawBuffer) -> Self {
///         // SAFETY: by the trait's contract these are the parts that `into_raw` made of a box.
///         let bytes = unsafe { Box::from_raw(raw.ptr.cast()) };
///         Page { bytes, filled: raw.len, colour: raw.token }
///     }
/// }
///
/// let page = Page { bytes: Box::new([b'.'; 4096]), filled: 3, colour: 0xC0FFEE };
/// let buffer = Buffer::custom(page);
/// assert_eq!(buffer.as_slice(), b"...");
/// assert_eq!(buffer.capacity(), 4096);
///
/// let page = buffer.into_custom::<Page>().expect("it is a page");
/// assert_eq!((page.filled, page.colour), (3, 0xC0FFEE));
/// ```
pub unsafe trait StableBuffer: Send + 'static {
    /// Takes the buffer apart. What it owned is owned by the raw parts from now on.
    fn into_raw(self) -> RawBuffer;

    /// Puts a buffer together again.
    ///
    /// # Safety
    /// `raw` comes from `into_raw` of the same type, has not been given to `from_raw` before, and
    /// is unchanged but for `len`, of which the contract of the trait speaks.
    unsafe fn from_raw(raw: RawBuffer) -> Self;
}

/// The parts of a [`StableBuffer`] while an operation owns it.
#[derive(Clone, Copy, Debug)]
pub struct RawBuffer {
    /// The first byte; never null.
    pub ptr: *mut u8,
    /// The initialised bytes from the start: what a send sends.
    pub len: usize,
    /// The bytes that a receive may write from the start.
    pub capacity: usize,
    /// False refuses the buffer for receives and reads.
    pub is_writable: bool,
    /// Whatever `from_raw` needs beyond the other parts: an index, or the address of an owner with
    /// [exposed provenance](std::ptr#exposed-provenance).
    pub token: usize,
}

/// The pointer of a custom buffer.
#[derive(Clone, Copy)]
pub(super) struct CustomPtr(pub(super) NonNull<u8>);

// SAFETY: `StableBuffer` requires `Send`, and memory that any thread may use and free.
unsafe impl Send for CustomPtr {}
// SAFETY: through a shared `Buffer` the memory is only read, which the contract allows any thread.
unsafe impl Sync for CustomPtr {}

/// A byte count in seven bytes, which leaves one for the tag of the enum around it: this keeps a
/// `Buffer` at five words. No address space has 2^56 bytes for a process.
#[derive(Clone, Copy)]
pub(super) struct Bytes56([u8; 7]);

impl Bytes56 {
    pub(super) fn new(bytes: usize) -> Self {
        let wide = (bytes as u64).to_le_bytes();
        assert!(wide[7] == 0, "a buffer of {bytes} bytes does not exist");
        let [a, b, c, d, e, f, g, _] = wide;
        Self([a, b, c, d, e, f, g])
    }

    pub(super) fn get(self) -> usize {
        let [a, b, c, d, e, f, g] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, 0]) as usize
    }
}

/// What the engine knows of a custom type; one for each type and mode, in static memory.
pub(super) struct CustomTable {
    pub(super) type_id: TypeId,
    pub(super) is_writable: bool,
    /// Puts the buffer together and drops it.
    ///
    /// Safety: as for `StableBuffer::from_raw`, with parts of the type `type_id`.
    pub(super) drop: unsafe fn(RawBuffer),
}

impl CustomTable {
    pub(super) fn of<B: StableBuffer>(is_writable: bool) -> &'static Self {
        if is_writable { Self::new_for::<B, true>() } else { Self::new_for::<B, false>() }
    }

    fn new_for<B: StableBuffer, const IS_WRITABLE: bool>() -> &'static Self {
        const {
            &Self {
                type_id: TypeId::of::<B>(),
                is_writable: IS_WRITABLE,
                drop: put_together_and_drop::<B>,
            }
        }
    }
}

/// # Safety
/// As for `StableBuffer::from_raw`.
unsafe fn put_together_and_drop<B: StableBuffer>(raw: RawBuffer) {
    // SAFETY: the caller's promise is that of `from_raw`.
    drop(unsafe { B::from_raw(raw) });
}

#[cfg(test)]
pub(super) mod tests {
    use std::mem::ManuallyDrop;
    use std::ptr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::buf::Buffer;

    /// A vector that counts its drops, the counter being the token.
    pub(in crate::buf) struct Counted {
        pub(in crate::buf) bytes: Vec<u8>,
        pub(in crate::buf) drops: Arc<AtomicUsize>,
        pub(in crate::buf) is_writable: bool,
    }

    impl Counted {
        pub(in crate::buf) fn new(bytes: Vec<u8>, is_writable: bool) -> (Self, Arc<AtomicUsize>) {
            let drops = Arc::new(AtomicUsize::new(0));
            (Self { bytes, drops: Arc::clone(&drops), is_writable }, drops)
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.drops.fetch_add(1, Ordering::Relaxed);
        }
    }

    // SAFETY: the memory of a vector stays where it is while the vector is taken apart; its bytes
    // up to `len` are initialised.
    unsafe impl StableBuffer for Counted {
        fn into_raw(self) -> RawBuffer {
            let mut this = ManuallyDrop::new(self);
            // SAFETY: `this` is never used again, so the counter is moved out once.
            let drops = unsafe { ptr::read(&raw const this.drops) };
            RawBuffer {
                ptr: this.bytes.as_mut_ptr(),
                len: this.bytes.len(),
                capacity: this.bytes.capacity(),
                is_writable: this.is_writable,
                token: Arc::into_raw(drops).expose_provenance(),
            }
        }

        unsafe fn from_raw(raw: RawBuffer) -> Self {
            Self {
                // SAFETY: the parts of a vector, by the trait's contract.
                bytes: unsafe { Vec::from_raw_parts(raw.ptr, raw.len, raw.capacity) },
                // SAFETY: the token is an `Arc` taken apart by `into_raw`.
                drops: unsafe { Arc::from_raw(ptr::with_exposed_provenance(raw.token)) },
                is_writable: raw.is_writable,
            }
        }
    }

    struct Other;

    // SAFETY: no memory is named, so none can move.
    unsafe impl StableBuffer for Other {
        fn into_raw(self) -> RawBuffer {
            let ptr = NonNull::dangling().as_ptr();
            RawBuffer { ptr, len: 0, capacity: 0, is_writable: false, token: 0 }
        }

        unsafe fn from_raw(_: RawBuffer) -> Self {
            Self
        }
    }

    #[test]
    fn a_dropped_custom_buffer_is_dropped_once() {
        let (counted, drops) = Counted::new(vec![1; 100], true);
        let buffer = Buffer::custom(counted);
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        drop(buffer);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_eq!(Arc::strong_count(&drops), 1);
    }

    #[test]
    fn a_custom_buffer_comes_back_with_all_its_parts() {
        for is_writable in [true, false] {
            let (counted, drops) = Counted::new(b"abc".to_vec(), is_writable);
            let buffer = Buffer::custom(counted);
            assert_eq!(buffer.is_writable(), is_writable);
            let counted = buffer.into_custom::<Counted>().expect("its own type");
            assert_eq!((counted.bytes.as_slice(), counted.is_writable), (&b"abc"[..], is_writable));
            assert_eq!(drops.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn a_custom_buffer_is_not_given_out_as_another_type() {
        let (counted, drops) = Counted::new(b"abc".to_vec(), true);
        let buffer = Buffer::custom(counted);
        let Err(buffer) = buffer.into_custom::<Other>() else { panic!("it is no `Other`") };
        let buffer = buffer.into_vec().expect_err("it is no plain vector");
        assert_eq!(buffer.as_slice(), b"abc");
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        assert!(Buffer::custom(Other).into_custom::<Other>().is_ok());
    }

    #[test]
    fn a_count_of_seven_bytes_keeps_every_possible_size() {
        for bytes in [0, 1, 255, 256, 65_535, u32::MAX as usize, (1 << 47) + 3, (1 << 56) - 1] {
            assert_eq!(Bytes56::new(bytes).get(), bytes);
        }
    }
}
