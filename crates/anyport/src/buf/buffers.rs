//! The buffers of one operation: none, one, or a list for scatter and gather.
//!
//! Guaranteed: one buffer costs no allocation; a list comes back as the list it was, in its order.
//! Made by whoever starts an operation, and given back in its packet.

use std::mem;
use std::slice;
use std::vec;

use bytes::{Bytes, BytesMut};

use super::{Buffer, PooledBuffer};

/// The most buffers one operation takes: what Linux takes in one call (`IOV_MAX`).
pub const BUFFERS_MAX: usize = 1024;

/// The buffers that an operation owns from its start to its packet.
///
/// Whatever a [`Buffer`] is made from becomes `Buffers` too, so operations take them all alike. A
/// send sends the buffers one behind the other; a receive fills them in this order.
///
/// ```
/// use anyport::buf::{Buffer, Buffers};
///
/// let one = Buffers::from(vec![0; 512]);
/// assert_eq!((one.len(), one.total_len()), (1, 512));
///
/// let answer = Buffers::from([Buffer::from("HTTP/1.1 200 OK\r\n\r\n"), Buffer::from(vec![0; 3])]);
/// assert_eq!((answer.len(), answer.total_len()), (2, 22));
/// ```
#[derive(Debug, Default)]
pub enum Buffers {
    /// No buffer.
    #[default]
    None,
    /// One buffer.
    One(Buffer),
    /// Any number of buffers, of which an operation takes at most [`BUFFERS_MAX`].
    Many(Vec<Buffer>),
}

impl Buffers {
    /// How many buffers there are; not how many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// True if there are no buffers; buffers without bytes count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// The bytes that a send sends.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.iter().map(Buffer::len).fold(0, usize::saturating_add)
    }

    /// The most bytes that a receive can write.
    #[must_use]
    pub fn total_capacity(&self) -> usize {
        self.iter().map(Buffer::capacity).fold(0, usize::saturating_add)
    }

    /// The buffers in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[Buffer] {
        match self {
            Self::None => &[],
            Self::One(buffer) => slice::from_ref(buffer),
            Self::Many(buffers) => buffers,
        }
    }

    /// The buffers in their order, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [Buffer] {
        match self {
            Self::None => &mut [],
            Self::One(buffer) => slice::from_mut(buffer),
            Self::Many(buffers) => buffers,
        }
    }

    /// Goes through the buffers in their order.
    pub fn iter(&self) -> slice::Iter<'_, Buffer> {
        self.as_slice().iter()
    }

    /// Goes through the buffers in their order, to change them.
    pub fn iter_mut(&mut self) -> slice::IterMut<'_, Buffer> {
        self.as_mut_slice().iter_mut()
    }

    /// Takes the buffers out and leaves none.
    #[must_use = "the buffers are dropped otherwise"]
    pub fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// The only buffer; `None`, dropping all, if there is none or more than one.
    #[must_use]
    pub fn into_one(self) -> Option<Buffer> {
        match self {
            Self::None => None,
            Self::One(buffer) => Some(buffer),
            Self::Many(mut buffers) => match buffers.len() {
                1 => buffers.pop(),
                _ => None,
            },
        }
    }

    /// The buffers as a list; the very one they were made from, if they were.
    #[must_use]
    pub fn into_vec(self) -> Vec<Buffer> {
        match self {
            Self::None => Vec::new(),
            Self::One(buffer) => vec![buffer],
            Self::Many(buffers) => buffers,
        }
    }

    /// True if dropping them runs no code but this crate's and the allocator's, so that it may be
    /// done with a lock held.
    pub(crate) fn are_of_plain_memory(&self) -> bool {
        self.iter().all(Buffer::is_of_plain_memory)
    }

    /// Distributes `n` received bytes over the buffers in their order, by setting their lengths:
    /// each is filled up to its capacity before the next gets any, and the rest get 0.
    ///
    /// # Safety
    /// `n <= total_capacity()`, and the first `n` bytes of the buffers' `write_parts`, taken one
    /// behind the other, are initialised.
    pub(crate) unsafe fn fill(&mut self, n: usize) {
        debug_assert!(n <= self.total_capacity(), "no receive writes beyond the capacity");
        let mut rest = n;
        for buffer in self.iter_mut() {
            let filled = rest.min(buffer.capacity());
            // SAFETY: `filled` is within this buffer's capacity, and the buffers before it took
            // as many of the initialised bytes as they hold, so these are its own.
            unsafe { buffer.set_filled(filled) };
            rest -= filled;
        }
    }
}

macro_rules! one_from {
    ($($kind:ty),+) => {$(
        impl From<$kind> for Buffers {
            fn from(kind: $kind) -> Self {
                Self::One(kind.into())
            }
        }
    )+};
}

// One by one: for all `Into<Buffer>` at once would collide with the lists below.
one_from!(Buffer, Vec<u8>, Box<[u8]>, Bytes, BytesMut, PooledBuffer, &'static [u8], &'static str);

impl<const N: usize> From<&'static [u8; N]> for Buffers {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::One(bytes.into())
    }
}

impl From<Vec<Buffer>> for Buffers {
    fn from(buffers: Vec<Buffer>) -> Self {
        Self::Many(buffers)
    }
}

impl<const N: usize> From<[Buffer; N]> for Buffers {
    fn from(buffers: [Buffer; N]) -> Self {
        Self::Many(buffers.into())
    }
}

impl<'a> IntoIterator for &'a Buffers {
    type Item = &'a Buffer;
    type IntoIter = slice::Iter<'a, Buffer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Buffers {
    type Item = &'a mut Buffer;
    type IntoIter = slice::IterMut<'a, Buffer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl IntoIterator for Buffers {
    type Item = Buffer;
    type IntoIter = vec::IntoIter<Buffer>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buf::{BufferPool, PoolOptions, SizeClass};

    #[test]
    fn buffers_are_small() {
        assert!(size_of::<Buffers>() <= 48);
    }

    #[test]
    fn everything_that_makes_a_buffer_makes_buffers() {
        let pool = BufferPool::new(PoolOptions::new());
        let pooled = pool.take(SizeClass::Small4K).expect("room");
        let all: [Buffers; 9] = [
            Buffer::from("x").into(),
            vec![b'x'].into(),
            vec![b'x'].into_boxed_slice().into(),
            Bytes::from_static(b"x").into(),
            BytesMut::from("x").into(),
            pooled.into(),
            (&b"x"[..]).into(),
            b"x".into(),
            "x".into(),
        ];
        for buffers in all {
            assert!(matches!(buffers, Buffers::One(_)));
            assert_eq!((buffers.len(), buffers.is_empty()), (1, false));
        }
    }

    #[test]
    fn a_list_comes_back_as_the_list_it_was() {
        let list = vec![Buffer::from("ab"), Buffer::from(""), Buffer::from("c")];
        let start = list.as_ptr();
        let mut buffers = Buffers::from(list);
        assert_eq!((buffers.len(), buffers.total_len(), buffers.total_capacity()), (3, 3, 0));
        let taken = buffers.take();
        assert!(matches!(buffers, Buffers::None));
        let list = taken.into_vec();
        assert_eq!(list.as_ptr(), start);
        let joined: Vec<u8> = list.iter().flat_map(|buffer| buffer.as_slice().to_vec()).collect();
        assert_eq!(joined, b"abc");
    }

    #[test]
    fn one_buffer_is_only_given_where_there_is_one() {
        assert!(Buffers::None.into_one().is_none());
        assert!(Buffers::None.is_empty());
        assert!(Buffers::from(Vec::<Buffer>::new()).into_one().is_none());
        assert_eq!(Buffers::from("x").into_one().expect("one").as_slice(), b"x");
        assert_eq!(Buffers::from([Buffer::from("y")]).into_one().expect("one").as_slice(), b"y");
        assert!(Buffers::from([Buffer::from("y"), Buffer::from("z")]).into_one().is_none());
    }

    #[test]
    fn iterating_goes_in_order() {
        let mut buffers = Buffers::from([Buffer::from("1"), Buffer::from("2")]);
        let seen: Vec<&[u8]> = (&buffers).into_iter().map(Buffer::as_slice).collect();
        assert_eq!(seen, [b"1", b"2"]);
        for buffer in &mut buffers {
            *buffer = Buffer::from("3");
        }
        assert!(buffers.into_iter().all(|buffer| buffer.as_slice() == b"3"));
    }

    #[derive(Clone, Copy, Debug)]
    enum Kind {
        Vec,
        Boxed,
        BytesMut,
        Pooled,
        Static,
    }

    fn buffer_of(kind: Kind, capacity: usize, pool: &BufferPool) -> Buffer {
        match kind {
            Kind::Vec => Vec::with_capacity(capacity).into(),
            Kind::Boxed => vec![0; capacity].into_boxed_slice().into(),
            Kind::BytesMut => BytesMut::with_capacity(capacity).into(),
            Kind::Pooled => pool.take(SizeClass::Small4K).expect("room").into(),
            Kind::Static => "read-only".into(),
        }
    }

    fn kinds() -> impl Strategy<Value = Vec<(Kind, usize)>> {
        let kind = prop_oneof![
            Just(Kind::Vec),
            Just(Kind::Boxed),
            Just(Kind::BytesMut),
            Just(Kind::Pooled),
            Just(Kind::Static)
        ];
        prop::collection::vec((kind, 0..40_usize), 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 8 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn received_bytes_fill_the_buffers_in_order(kinds in kinds(), part in 0.0..=1.0_f64) {
            let pool = BufferPool::new(PoolOptions::new());
            let list = kinds.iter().map(|&(kind, size)| buffer_of(kind, size, &pool)).collect();
            let mut buffers = Buffers::Many(list);
            let n = (buffers.total_capacity() as f64 * part) as usize;
            let received: Vec<u8> = (0..n).map(|i| i as u8).collect();

            let mut rest = &received[..];
            for buffer in &mut buffers {
                let Some((start, capacity)) = buffer.write_parts() else { continue };
                let (now, later) = rest.split_at(rest.len().min(capacity));
                // SAFETY: `now` fits into the capacity and lies elsewhere.
                unsafe { start.copy_from_nonoverlapping(now.as_ptr(), now.len()) };
                rest = later;
            }
            prop_assert!(rest.is_empty());
            // SAFETY: `n` bytes were just written, in the order of the buffers.
            unsafe { buffers.fill(n) };

            let mut rest = &received[..];
            for (buffer, &(kind, size)) in buffers.iter().zip(&kinds) {
                let (now, later) = rest.split_at(rest.len().min(buffer.capacity()));
                match kind {
                    Kind::Static => prop_assert_eq!(buffer.as_slice(), b"read-only"),
                    Kind::Boxed => {
                        prop_assert_eq!(buffer.len(), size);
                        prop_assert_eq!(&buffer.as_slice()[..now.len()], now);
                    }
                    Kind::Vec | Kind::BytesMut | Kind::Pooled => {
                        prop_assert_eq!(buffer.as_slice(), now);
                    }
                }
                rest = later;
            }
            prop_assert!(rest.is_empty());
        }
    }
}
