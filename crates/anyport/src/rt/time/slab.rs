//! Places for timers: found by number, used again and again, and never moved.
//!
//! Memory comes in chunks, so that no insertion copies what is there already: a million timers
//! would else be moved with a lock held. What was allocated stays until the slab is dropped.

/// Numbers of places are below this; what is above is free for other use by whoever links places.
pub(super) const INDEX_END: u32 = u32::MAX - 1023;

/// "No place", at the end of the list of free ones.
const NONE: u32 = u32::MAX;

/// Places in one chunk.
const CHUNK: usize = 512;

/// What finds a value again, and never another one: each use of a place has a generation of its
/// own. (It comes round after 2^32 uses of one place.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(super) fn index(self) -> u32 {
        self.index
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Box<[Place<T>]>>,
    /// The first free place: the last that became free, whose memory is the warmest.
    free: u32,
    len: usize,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    next_free: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Slab { chunks: Vec::new(), free: NONE, len: 0 }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// # Panics
    /// At about 2^32 values.
    pub(super) fn insert(&mut self, value: T) -> Key {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let place = self.place(index);
        place.value = Some(value);
        let key = Key { index, generation: place.generation };
        self.free = place.next_free;
        self.len += 1;
        key
    }

    /// `None` when the value was removed.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.place(key.index);
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    /// The value at a number that is known to have one.
    pub(super) fn at(&self, index: u32) -> &T {
        let place = &self.chunks[index as usize / CHUNK][index as usize % CHUNK];
        place.value.as_ref().expect("a linked place has a value")
    }

    /// As [`at`](Self::at).
    pub(super) fn at_mut(&mut self, index: u32) -> &mut T {
        self.place(index).value.as_mut().expect("a linked place has a value")
    }

    /// Takes out the value at a number that is known to have one. Its key finds nothing any more.
    pub(super) fn remove_at(&mut self, index: u32) -> T {
        let free = self.free;
        let place = self.place(index);
        let value = place.value.take().expect("a linked place has a value");
        place.generation = place.generation.wrapping_add(1);
        place.next_free = free;
        self.free = index;
        self.len -= 1;
        value
    }

    fn place(&mut self, index: u32) -> &mut Place<T> {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    #[cold]
    fn grow(&mut self) {
        let first = self.chunks.len() * CHUNK;
        let end = first + CHUNK;
        assert!(end <= INDEX_END as usize, "more than {INDEX_END} timers at a time");
        let place = |index: usize| Place {
            generation: 0,
            next_free: if index + 1 < end { index as u32 + 1 } else { NONE },
            value: None,
        };
        self.chunks.push((first..end).map(place).collect());
        self.free = first as u32;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_own_value_and_no_later_one_of_the_same_place() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.get_mut(first), Some(&mut "first"));
        assert_eq!(slab.remove_at(first.index()), "first");
        let second = slab.insert("second");
        assert_eq!(second.index(), first.index(), "the warmest place is used again");
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "second"));
        assert_eq!((slab.len(), *slab.at(second.index())), (1, "second"));
    }

    #[test]
    fn once_warm_no_memory_is_asked_for() {
        let mut slab = Slab::new();
        for round in 0..5 {
            let keys: Vec<_> = (0..3 * CHUNK).map(|n| slab.insert(n)).collect();
            assert_eq!(slab.chunks.len(), 3, "round {round}");
            for (n, key) in keys.into_iter().enumerate() {
                assert_eq!(slab.remove_at(key.index()), n);
            }
            assert_eq!(slab.len(), 0);
        }
    }

    #[test]
    fn a_place_of_a_timer_is_small() {
        // Two links, a waker and a deadline; the waker says whether there is a value at all.
        struct Node {
            _deadline: u64,
            _links: [u32; 2],
            _waker: std::task::Waker,
        }
        let words = if cfg!(target_pointer_width = "64") { 40 } else { 32 };
        assert_eq!(size_of::<Place<Node>>(), words);
    }
}
