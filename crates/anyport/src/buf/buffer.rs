//! One buffer of an operation, whatever kind of memory it is.
//!
//! Guaranteed: moving a `Buffer` does not move the memory it names, so a pointer from
//! `read_parts` or `write_parts` stays good until the buffer is changed or dropped; taking a
//! buffer in and giving it back copies and allocates nothing. Made by whoever starts an operation;
//! read and filled by the engine.

use std::any::TypeId;
use std::fmt;
use std::mem::{self, MaybeUninit};
use std::ptr::{self, NonNull};
use std::slice;

use bytes::{Bytes, BytesMut};

use super::custom::{Bytes56, CustomPtr, CustomTable};
use super::{PooledBuffer, RawBuffer, StableBuffer};

/// Memory that an operation owns from its start to its packet.
///
/// Made from a `Vec<u8>`, a `Box<[u8]>`, [`Bytes`], [`BytesMut`], static bytes or text, a
/// [`PooledBuffer`], or a kind of your own ([`StableBuffer`]); given back as what it was by the
/// `into_` methods, without a copy.
///
/// A send sends [`as_slice`](Self::as_slice). A receive writes from the start, over what was
/// there, up to [`capacity`](Self::capacity), and then sets the length to the bytes received:
///
/// | made from | a receive fills | length afterwards |
/// |---|---|---|
/// | `Vec<u8>` | its capacity | bytes received |
/// | `Box<[u8]>` | its whole length | unchanged |
/// | `BytesMut` | its capacity from its present start | bytes received |
/// | `PooledBuffer` | its class | bytes received |
/// | custom, writable | its capacity | bytes received |
/// | `Bytes`, static, custom read-only | refused | |
///
/// ```
/// use anyport::buf::Buffer;
///
/// let buffer = Buffer::from(vec![1, 2, 3]);
/// assert_eq!(buffer.as_slice(), [1, 2, 3]);
/// let buffer = buffer.into_boxed().expect_err("it is a vector");
/// assert_eq!(buffer.into_vec().expect("it is a vector"), [1, 2, 3]);
/// ```
pub struct Buffer(Repr);

impl Buffer {
    /// A buffer of your own kind.
    ///
    /// # Panics
    /// If the raw parts break the contract of [`StableBuffer`] in a way that can be seen: a null
    /// pointer, or a length above the capacity.
    #[must_use]
    pub fn custom<B: StableBuffer>(buffer: B) -> Self {
        let raw = buffer.into_raw();
        assert!(raw.len <= raw.capacity, "a custom buffer's length is above its capacity");
        let ptr = NonNull::new(raw.ptr).expect("a custom buffer's pointer is not null");
        Self(Repr::Custom {
            capacity: Bytes56::new(raw.capacity),
            ptr: CustomPtr(ptr),
            len: raw.len,
            token: raw.token,
            table: CustomTable::of::<B>(raw.is_writable),
        })
    }

    /// The bytes that a send sends; after a receive, the bytes received (of a `Box<[u8]>`, all).
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        let (ptr, len) = self.read_parts();
        // SAFETY: `read_parts` names `len` initialised bytes that belong to `self`, and nothing
        // changes them while `self` is borrowed.
        unsafe { slice::from_raw_parts(ptr, len) }
    }

    /// The length of [`as_slice`](Self::as_slice) in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read_parts().1
    }

    /// True if there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most bytes that a receive can write; 0 for a read-only buffer.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match &self.0 {
            Repr::Vec(vec) => vec.capacity(),
            Repr::Boxed(boxed) => boxed.len,
            Repr::BytesMut(bytes) => bytes.capacity(),
            Repr::Pooled(pooled) => pooled.capacity(),
            Repr::Custom { capacity, table, .. } if table.is_writable => capacity.get(),
            Repr::Custom { .. } | Repr::Bytes(_) | Repr::Static(_) => 0,
        }
    }

    /// True if a receive takes this buffer.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        match &self.0 {
            Repr::Vec(_) | Repr::Boxed(_) | Repr::BytesMut(_) | Repr::Pooled(_) => true,
            Repr::Custom { table, .. } => table.is_writable,
            Repr::Bytes(_) | Repr::Static(_) => false,
        }
    }

    /// True if dropping it runs no code but this crate's and the allocator's: [`Bytes`] may have an
    /// owner with a drop of its own.
    pub(crate) fn is_of_plain_memory(&self) -> bool {
        match &self.0 {
            Repr::Vec(_) | Repr::Boxed(_) | Repr::Static(_) | Repr::Pooled(_) => true,
            Repr::Bytes(_) | Repr::BytesMut(_) | Repr::Custom { .. } => false,
        }
    }

    /// The vector it was made from.
    ///
    /// # Errors
    /// The buffer itself, if it was made from something else; so for all `into_` methods.
    pub fn into_vec(mut self) -> Result<Vec<u8>, Self> {
        match self.take_repr() {
            Repr::Vec(vec) => Ok(vec),
            other => Err(Self(other)),
        }
    }

    /// The boxed slice it was made from.
    ///
    /// # Errors
    /// The buffer itself, if it was made from something else.
    pub fn into_boxed(mut self) -> Result<Box<[u8]>, Self> {
        match self.take_repr() {
            Repr::Boxed(boxed) => Ok(boxed.into_box()),
            other => Err(Self(other)),
        }
    }

    /// The `Bytes` it was made from.
    ///
    /// # Errors
    /// The buffer itself, if it was made from something else.
    pub fn into_bytes(mut self) -> Result<Bytes, Self> {
        match self.take_repr() {
            Repr::Bytes(bytes) => Ok(bytes),
            other => Err(Self(other)),
        }
    }

    /// The `BytesMut` it was made from.
    ///
    /// # Errors
    /// The buffer itself, if it was made from something else.
    pub fn into_bytes_mut(mut self) -> Result<BytesMut, Self> {
        match self.take_repr() {
            Repr::BytesMut(bytes) => Ok(bytes),
            other => Err(Self(other)),
        }
    }

    /// The pooled buffer it was made from, or that the engine filled.
    ///
    /// # Errors
    /// The buffer itself, if it was made from something else.
    pub fn into_pooled(mut self) -> Result<PooledBuffer, Self> {
        match self.take_repr() {
            Repr::Pooled(pooled) => Ok(pooled),
            other => Err(Self(other)),
        }
    }

    /// The buffer of type `B` that [`custom`](Self::custom) took.
    ///
    /// # Errors
    /// The buffer itself, if it was made from something else.
    pub fn into_custom<B: StableBuffer>(mut self) -> Result<B, Self> {
        match self.take_repr() {
            Repr::Custom { capacity, ptr, len, token, table }
                if table.type_id == TypeId::of::<B>() =>
            {
                let raw = raw_parts(capacity, ptr, len, token, table);
                // SAFETY: the parts come from `B::into_raw`, for the type is the same; they leave
                // here by value, and `self` holds them no more.
                Ok(unsafe { B::from_raw(raw) })
            }
            other => Err(Self(other)),
        }
    }

    /// What a send may read: the start and the initialised bytes. Good until the buffer is
    /// changed, given back or dropped; a move does not end it.
    pub(crate) fn read_parts(&self) -> (*const u8, usize) {
        match &self.0 {
            Repr::Vec(vec) => (vec.as_ptr(), vec.len()),
            Repr::Boxed(boxed) => (boxed.start.as_ptr(), boxed.len),
            Repr::Bytes(bytes) => (bytes.as_ptr(), bytes.len()),
            Repr::BytesMut(bytes) => (bytes.as_ptr(), bytes.len()),
            Repr::Static(bytes) => (bytes.as_ptr(), bytes.len()),
            Repr::Pooled(pooled) => (pooled.as_ptr(), pooled.len()),
            Repr::Custom { ptr, len, .. } => (ptr.0.as_ptr(), *len),
        }
    }

    /// What a receive may write: the start and the capacity; `None` if the buffer is read-only.
    /// Good until the buffer is changed, given back or dropped; a move does not end it. The bytes
    /// may be uninitialised: they are not to be read through the pointer.
    pub(crate) fn write_parts(&mut self) -> Option<(*mut u8, usize)> {
        match &mut self.0 {
            Repr::Vec(vec) => Some((vec.as_mut_ptr(), vec.capacity())),
            Repr::Boxed(boxed) => Some((boxed.start.as_ptr(), boxed.len)),
            Repr::BytesMut(bytes) => Some((start_of_capacity(bytes), bytes.capacity())),
            Repr::Pooled(pooled) => Some((pooled.as_mut_ptr(), pooled.capacity())),
            Repr::Custom { capacity, ptr, table, .. } if table.is_writable => {
                Some((ptr.0.as_ptr(), capacity.get()))
            }
            Repr::Custom { .. } | Repr::Bytes(_) | Repr::Static(_) => None,
        }
    }

    /// What a receive may write, for who makes the call itself; nothing of a read-only buffer.
    pub(crate) fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        match self.write_parts() {
            // SAFETY: these are the buffer's bytes, borrowed with it, which may be uninitialised.
            Some((start, capacity)) => unsafe { slice::from_raw_parts_mut(start.cast(), capacity) },
            None => &mut [],
        }
    }

    /// Copies the pieces in as a receive would, up to the capacity, and says how many bytes fitted; a
    /// read-only buffer takes none.
    pub(crate) fn fill_from<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>) -> usize {
        let Some((start, capacity)) = self.write_parts() else { return 0 };
        let mut filled = 0;
        for piece in pieces {
            let len = piece.len().min(capacity - filled);
            // SAFETY: `filled + len` is within the capacity at `start`; a piece that is borrowed is
            // not in a buffer that is borrowed mutably.
            unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), start.add(filled), len) };
            filled += len;
        }
        // SAFETY: the first `filled` bytes were written just now.
        unsafe { self.set_filled(filled) };
        filled
    }

    /// Sets the length after a receive; does nothing to a boxed slice or a read-only buffer.
    ///
    /// # Safety
    /// `n <= capacity()`, and the first `n` bytes of `write_parts` are initialised.
    pub(crate) unsafe fn set_filled(&mut self, n: usize) {
        debug_assert!(n <= self.capacity(), "no receive writes beyond the capacity");
        match &mut self.0 {
            // SAFETY: by the caller's promise, for these three kinds.
            Repr::Vec(vec) => unsafe { vec.set_len(n) },
            // SAFETY: as above.
            Repr::BytesMut(bytes) => unsafe { bytes.set_len(n) },
            // SAFETY: as above.
            Repr::Pooled(pooled) => unsafe { pooled.set_len(n) },
            Repr::Custom { len, table, .. } if table.is_writable => *len = n,
            Repr::Custom { .. } | Repr::Boxed(_) | Repr::Bytes(_) | Repr::Static(_) => {}
        }
    }

    /// Moves the contents out, which a type with a destructor does not allow directly.
    fn take_repr(&mut self) -> Repr {
        mem::replace(&mut self.0, Repr::Static(&[]))
    }
}

impl Default for Buffer {
    /// A buffer of no bytes and no capacity.
    fn default() -> Self {
        Self(Repr::Static(&[]))
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(vec: Vec<u8>) -> Self {
        Self(Repr::Vec(vec))
    }
}

impl From<Box<[u8]>> for Buffer {
    fn from(boxed: Box<[u8]>) -> Self {
        Self(Repr::Boxed(RawBox::new(boxed)))
    }
}

impl From<Bytes> for Buffer {
    fn from(bytes: Bytes) -> Self {
        Self(Repr::Bytes(bytes))
    }
}

impl From<BytesMut> for Buffer {
    fn from(bytes: BytesMut) -> Self {
        Self(Repr::BytesMut(bytes))
    }
}

impl From<PooledBuffer> for Buffer {
    fn from(pooled: PooledBuffer) -> Self {
        Self(Repr::Pooled(pooled))
    }
}

impl From<&'static [u8]> for Buffer {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Repr::Static(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Buffer {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self(Repr::Static(bytes))
    }
}

impl From<&'static str> for Buffer {
    fn from(text: &'static str) -> Self {
        Self(Repr::Static(text.as_bytes()))
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Names the kind and the sizes, not the bytes: they belong to the user.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Repr::Vec(_) => "Vec",
            Repr::Boxed(_) => "Box",
            Repr::Bytes(_) => "Bytes",
            Repr::BytesMut(_) => "BytesMut",
            Repr::Static(_) => "Static",
            Repr::Pooled(_) => "Pooled",
            Repr::Custom { .. } => "Custom",
        };
        f.debug_struct("Buffer")
            .field("kind", &format_args!("{kind}"))
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Repr::Custom { capacity, ptr, len, token, table } = self.0 {
            // First, so that a panic in the user's drop cannot lead here twice.
            self.0 = Repr::Static(&[]);
            // SAFETY: the table is that of the type the parts come from; they are gone from
            // `self`.
            unsafe { (table.drop)(raw_parts(capacity, ptr, len, token, table)) };
        }
    }
}

/// Each kind keeps its memory elsewhere than in these words, so a move leaves it in place.
enum Repr {
    Vec(Vec<u8>),
    Boxed(RawBox),
    Bytes(Bytes),
    BytesMut(BytesMut),
    Static(&'static [u8]),
    Pooled(PooledBuffer),
    /// In parts, not in a struct of its own, so that the tag fits beside the seven-byte capacity.
    Custom {
        capacity: Bytes56,
        ptr: CustomPtr,
        len: usize,
        token: usize,
        table: &'static CustomTable,
    },
}

/// A boxed slice as a raw pointer: moving a `Box` asserts that nobody else points into it, which
/// is not so while the kernel does.
struct RawBox {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its bytes as a `Box<[u8]>` does, which is `Send` and `Sync`.
unsafe impl Send for RawBox {}
// SAFETY: as above.
unsafe impl Sync for RawBox {}

impl RawBox {
    fn new(boxed: Box<[u8]>) -> Self {
        let len = boxed.len();
        // SAFETY: a box is never null.
        let start = unsafe { NonNull::new_unchecked(Box::into_raw(boxed).cast()) };
        Self { start, len }
    }

    fn into_box(self) -> Box<[u8]> {
        let this = mem::ManuallyDrop::new(self);
        // SAFETY: `new` took this box apart, and `this` is not dropped: it is put together once.
        unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(this.start.as_ptr(), this.len)) }
    }
}

impl Drop for RawBox {
    fn drop(&mut self) {
        let whole = ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.len);
        // SAFETY: `new` took this box apart, and `into_box` did not put it together.
        drop(unsafe { Box::from_raw(whole) });
    }
}

/// The first byte, by a pointer that is good for the whole capacity; that of the filled slice
/// would be good for the length only.
fn start_of_capacity(bytes: &mut BytesMut) -> *mut u8 {
    let len = bytes.len();
    // SAFETY: no byte needs to be initialised for a length of 0.
    unsafe { bytes.set_len(0) };
    let start = bytes.spare_capacity_mut().as_mut_ptr().cast();
    // SAFETY: the length it had a moment ago, with nothing changed since.
    unsafe { bytes.set_len(len) };
    start
}

fn raw_parts(
    capacity: Bytes56,
    ptr: CustomPtr,
    len: usize,
    token: usize,
    table: &CustomTable,
) -> RawBuffer {
    let is_writable = table.is_writable;
    RawBuffer { ptr: ptr.0.as_ptr(), len, capacity: capacity.get(), is_writable, token }
}

#[cfg(test)]
#[path = "buffer_tests.rs"]
mod tests;
