//! All operations of a port: slots that never move, handed out and taken back by number.
//!
//! The kernel holds addresses of what a slot owns, and numbers of slots; so chunks of slots are
//! allocated once and live until the table does. Every four chunks their size doubles: few chunks
//! for many slots, and never more than a quarter of the slots made ahead of need.

use super::body::{Body, NONE};
use super::handle::HandleCore;
use crate::latch::{Latch, LatchGuard};
use crate::sys::prefetch;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Slots in the first chunk; a power of two.
const FIRST_CHUNK: usize = 256;

/// Chunks of one size; a power of two. The first size is there once.
const CHUNKS_A_SIZE: usize = 4;

/// Enough chunks for 2^32 slots.
const CHUNKS: usize = 1 + 24 * CHUNKS_A_SIZE;

/// Chunked storage by number: entries are made when first needed and never move.
pub(crate) struct Chunks<E> {
    chunks: [OnceLock<Box<[E]>>; CHUNKS],
}

impl<E> Chunks<E> {
    pub(crate) fn new() -> Self {
        Chunks { chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    /// The entry of this number; its chunk is made by `make`, which is given each number.
    #[inline]
    pub(crate) fn get_or_make(&self, index: u32, make: impl Fn(u32) -> E) -> &E {
        match self.get(index) {
            Some(entry) => entry,
            None => self.make(index, make),
        }
    }

    #[cold]
    fn make(&self, index: u32, make: impl Fn(u32) -> E) -> &E {
        let (chunk, start, offset) = place(index);
        let entries = self.chunks[chunk]
            .get_or_init(|| (0..size_of_chunk(chunk)).map(|i| make((start + i) as u32)).collect());
        &entries[offset]
    }

    /// The entry of this number, if its chunk was made.
    pub(crate) fn get(&self, index: u32) -> Option<&E> {
        let (chunk, _, offset) = place(index);
        self.chunks[chunk].get()?.get(offset)
    }

    /// Asks the processor for the entry of this number.
    pub(crate) fn prefetch(&self, index: u32) {
        if let Some(entry) = self.get(index) {
            prefetch(entry);
        }
    }

    /// Every entry made so far, with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &E)> {
        let mut start = 0u32;
        self.chunks.iter().enumerate().flat_map(move |(number, chunk)| {
            let first = start;
            start = start.wrapping_add(size_of_chunk(number) as u32);
            let entries = chunk.get().map(|entries| &entries[..]).unwrap_or_default();
            (first..).zip(entries)
        })
    }
}

/// Chunk, first number of the chunk, place in the chunk.
fn place(index: u32) -> (usize, usize, usize) {
    let index = index as usize;
    if index < FIRST_CHUNK {
        return (0, 0, index);
    }
    // Numbers from FIRST_CHUNK * 2^k to below its double are shared by the k-th four chunks.
    let level = (index / FIRST_CHUNK).ilog2() as usize;
    let (first, size) = (FIRST_CHUNK << level, (FIRST_CHUNK << level) / CHUNKS_A_SIZE);
    let (nth, offset) = ((index - first) / size, (index - first) % size);
    (1 + level * CHUNKS_A_SIZE + nth, first + nth * size, offset)
}

fn size_of_chunk(chunk: usize) -> usize {
    match chunk {
        0 => FIRST_CHUNK,
        _ => (FIRST_CHUNK << ((chunk - 1) / CHUNKS_A_SIZE)) / CHUNKS_A_SIZE,
    }
}

/// The slots.
pub(crate) struct OpTable {
    slots: Chunks<Slot>,
    free: Latch<FreeList>,
    limit: usize,
    /// As many slots are in use as may be, perhaps a moment ago.
    is_full: AtomicBool,
}

struct Slot {
    body: Latch<Body>,
    /// The next operation in line on the same side of the handle, whose lock guards it: atomic
    /// only because no lock of this table does.
    next: AtomicU32,
    /// Where the operation's handle is, or was: for `prefetch_handle` and nothing else.
    handle: AtomicPtr<HandleCore>,
}

struct FreeList {
    numbers: Vec<u32>,
    /// The lowest number that was never used.
    fresh: u32,
    /// Slots reserved since the table was made.
    reserved: u64,
}

impl FreeList {
    /// Slots in use.
    fn live(&self) -> usize {
        self.fresh as usize - self.numbers.len()
    }
}

impl OpTable {
    pub(super) fn new(limit: usize) -> Self {
        OpTable {
            slots: Chunks::new(),
            free: Latch::new(FreeList { numbers: Vec::new(), fresh: 0, reserved: 0 }),
            limit,
            is_full: AtomicBool::new(false),
        }
    }

    /// Reserves a slot; `None` at the limit.
    pub(super) fn reserve(&self) -> Option<u32> {
        let mut free = self.free.lock();
        (free.live() < self.limit).then(|| self.take(&mut free))
    }

    /// Reserves a slot for what has begun and cannot be refused any more. Who looks at `is_full`
    /// before it begins exceeds the limit by one at most for each thread.
    pub(super) fn reserve_for_begun(&self) -> u32 {
        self.take(&mut self.free.lock())
    }

    fn take(&self, free: &mut FreeList) -> u32 {
        let index = free.numbers.pop().unwrap_or_else(|| {
            free.fresh += 1;
            free.fresh - 1
        });
        free.reserved += 1;
        if free.live() >= self.limit {
            self.is_full.store(true, Ordering::Relaxed);
        }
        index
    }

    /// True at the limit, or a moment after it.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Gives a slot back.
    pub(super) fn release(&self, index: u32) {
        let mut free = self.free.lock();
        free.numbers.push(index);
        if free.live() < self.limit && self.is_full.load(Ordering::Relaxed) {
            self.is_full.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn lock(&self, index: u32) -> LatchGuard<'_, Body> {
        self.slot(index).body.lock()
    }

    /// The operation in line behind this one, `NONE` at the end; the handle's lock is held.
    pub(super) fn next(&self, index: u32) -> u32 {
        self.slot(index).next.load(Ordering::Relaxed)
    }

    /// Sets what `next` gives; the handle's lock is held.
    pub(super) fn set_next(&self, index: u32, next: u32) {
        self.slot(index).next.store(next, Ordering::Relaxed);
    }

    fn slot(&self, index: u32) -> &Slot {
        self.slots.get_or_make(index, |index| Slot {
            body: Latch::new(Body::new(index)),
            next: AtomicU32::new(NONE),
            handle: AtomicPtr::default(),
        })
    }

    /// Asks the processor for a slot that will be locked soon.
    pub(super) fn prefetch(&self, index: u32) {
        self.slots.prefetch(index);
    }

    /// The operation has begun to use this handle.
    pub(super) fn note_handle(&self, index: u32, handle: &Arc<HandleCore>) {
        self.slot(index).handle.store(Arc::as_ptr(handle).cast_mut(), Ordering::Relaxed);
    }

    /// Asks the processor for the handle of an operation whose slot was asked for before.
    pub(super) fn prefetch_handle(&self, index: u32) {
        if let Some(slot) = self.slots.get(index) {
            // Perhaps gone: nothing is read there.
            prefetch(slot.handle.load(Ordering::Relaxed));
        }
    }

    /// Slots in use: operations under way, and packets not taken yet.
    pub(super) fn live(&self) -> usize {
        self.free.lock().live()
    }

    /// Slots reserved since the table was made.
    pub(super) fn reserved(&self) -> u64 {
        self.free.lock().reserved
    }

    /// Every slot that was ever used.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Latch<Body>> {
        self.slots.iter().map(|(_, slot)| &slot.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_place_and_chunks_follow_each_other() {
        let mut expected = 0u32;
        for chunk in 0..12 {
            for offset in 0..size_of_chunk(chunk) {
                let (c, start, o) = place(expected);
                assert_eq!((c, o), (chunk, offset));
                assert_eq!(start + o, expected as usize);
                expected += 1;
            }
        }
        assert!(place(u32::MAX).0 < CHUNKS);
    }

    #[test]
    fn at_the_limit_a_slot_is_refused_until_one_is_released() {
        let table = OpTable::new(2);
        let (a, b) = (table.reserve(), table.reserve());
        assert_eq!((a, b), (Some(0), Some(1)));
        assert_eq!(table.reserve(), None);
        table.release(0);
        assert_eq!(table.reserve(), Some(0));
        assert_eq!(table.live(), 2);
        // What has begun cannot be refused.
        assert_eq!((table.reserve_for_begun(), table.live()), (2, 3));
        assert!(table.is_full());
        table.release(1);
        assert_eq!((table.reserve(), table.is_full()), (None, true), "two are in use still");
        table.release(0);
        assert!(!table.is_full());
        assert_eq!((table.reserve(), table.reserved()), (Some(0), 5));
    }

    #[test]
    fn a_slot_keeps_its_address_while_the_table_grows() {
        let table = OpTable::new(100_000);
        let address = |index| {
            let body = table.lock(index);
            std::ptr::from_ref::<Body>(&body)
        };
        let first = address(0);
        for i in 1..10_000 {
            drop(table.lock(i));
        }
        assert_eq!(first, address(0));
    }
}
