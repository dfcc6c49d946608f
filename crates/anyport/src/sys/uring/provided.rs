//! Buffers that the kernel picks from when bytes arrive: one group a size class, filled from the
//! port's pool, so that an idle connection holds none.
//!
//! A group starts small and doubles when the kernel runs out, up to the lane's share of the pool;
//! when less than half of it is in use for a while, it halves. Too few buffers cost half the speed.
//! Too many are touched in turn and fall out of the caches: for 1,000 connections with messages of
//! 16 KiB a group that has kept its size from the first burst costs a tenth of all CPU time.

use super::ring::Ring;
use super::translate::group_id;
use crate::buf::{BufferPool, PooledBuffer, SizeClass};
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// Buffers of one group at the start.
const PROVIDED_MIN: usize = 64;

/// Buffers of one group at the most; a power of two.
const PROVIDED_MAX: u16 = 4096;

/// Times that a group is topped up before it is judged whether it is too large.
const JUDGED_AFTER: u32 = 256;

/// The groups of one ring.
pub(super) struct Groups {
    by_class: [Option<Group>; 3],
    /// Classes whose group the kernel refused.
    is_refused: [bool; 3],
    bytes_max: usize,
}

impl Groups {
    pub(super) fn new(bytes_max: usize) -> Self {
        Groups { by_class: [None, None, None], is_refused: [false; 3], bytes_max }
    }

    /// Registers the group of `class` if it is not there; false when the share of the pool is below
    /// one buffer: what the kernel keeps for one lane's idle connections, no other lane can have.
    ///
    /// False as well when the kernel refuses the group: receives then do without.
    pub(super) fn prepare(&mut self, ring: &Ring, class: SizeClass, pool: &BufferPool) -> bool {
        let limit = (self.bytes_max / class.bytes()).min(usize::from(PROVIDED_MAX));
        let slot = &mut self.by_class[usize::from(group_id(class))];
        let is_refused = &mut self.is_refused[usize::from(group_id(class))];
        if *is_refused {
            return false;
        }
        if slot.is_some() || limit == 0 {
            return limit > 0;
        }
        let mut group = Group::new(class, limit);
        let address = group.entries.as_ptr() as u64;
        // SAFETY: the entries live as long as the ring: whoever has both closes the ring first.
        let result = unsafe {
            ring.submitter().register_buf_ring_with_flags(address, PROVIDED_MAX, group_id(class), 0)
        };
        if let Err(e) = result {
            log::error!("registering a buffer group failed, receives wait for readiness: {e}");
            *is_refused = true;
            return false;
        }
        group.top_up(pool);
        *slot = Some(group);
        true
    }

    /// The buffer that the kernel chose, with its first `filled` bytes valid. `top_up` follows.
    pub(super) fn take(&mut self, class: SizeClass, id: u16, filled: usize) -> PooledBuffer {
        let group = self.by_class[usize::from(group_id(class))]
            .as_mut()
            .expect("the kernel chooses from registered groups only");
        let mut buffer = group.slots[usize::from(id)]
            .take()
            .expect("the kernel chooses a buffer once for each time it was provided");
        group.free_ids.push(id);
        // SAFETY: the kernel has written `filled` bytes, at most the length it was told, and is
        // done with the buffer.
        unsafe { buffer.set_len(filled) };
        buffer
    }

    /// Other buffers take the place of those that were chosen, as far as the pool goes. `waiting` is
    /// the number of completions in the queue, for which buffers may have been chosen as well.
    pub(super) fn top_up(&mut self, pool: &BufferPool, waiting: usize) {
        for group in self.by_class.iter_mut().flatten() {
            group.note_use(waiting);
            group.top_up(pool);
        }
    }

    /// Provides more buffers after the kernel ran out; false when there are none to be had and none
    /// is provided.
    pub(super) fn grow(&mut self, class: SizeClass, pool: &BufferPool) -> bool {
        let Some(group) = self.by_class[usize::from(group_id(class))].as_mut() else {
            return pool.take(class).is_some();
        };
        group.shortages += 1;
        // One shortage fails many receives at once; each of them must not double the group.
        if group.shortages >= group.target / 4 {
            group.shortages = 0;
            group.target = (group.target * 2).min(group.limit);
            (group.top_ups, group.used_max) = (0, 0);
        }
        group.top_up(pool);
        group.provided() > 0
    }
}

/// One provided buffer ring.
struct Group {
    class: SizeClass,
    entries: NonNull<BufRingEntry>,
    tail: u16,
    /// The buffers that the kernel may write to, by their number.
    slots: Box<[Option<PooledBuffer>]>,
    free_ids: Vec<u16>,
    target: usize,
    /// Most of the buffers that were in use at a time, since the group was last judged.
    used_max: usize,
    /// How often it was topped up since then.
    top_ups: u32,
    /// Receives that found the group empty since it last grew.
    shortages: usize,
    limit: usize,
}

// SAFETY: the entries are plain memory that this group owns; the lane's lock keeps others away.
unsafe impl Send for Group {}

impl Group {
    fn layout() -> Layout {
        // The kernel wants the entries at the start of a page.
        Layout::from_size_align(usize::from(PROVIDED_MAX) * size_of::<BufRingEntry>(), 4096)
            .expect("a constant and valid layout")
    }

    fn new(class: SizeClass, limit: usize) -> Self {
        // SAFETY: the layout has a size that is not zero.
        let memory = unsafe { alloc_zeroed(Self::layout()) };
        let Some(entries) = NonNull::new(memory.cast()) else { handle_alloc_error(Self::layout()) };
        Group {
            class,
            entries,
            tail: 0,
            slots: (0..limit).map(|_| None).collect(),
            free_ids: (0..limit as u16).rev().collect(),
            target: limit.min(PROVIDED_MIN),
            used_max: 0,
            top_ups: 0,
            shortages: 0,
            limit,
        }
    }

    fn provided(&self) -> usize {
        self.limit - self.free_ids.len()
    }

    /// Before each top-up: halves the target when less than half of it was in use for a while.
    fn note_use(&mut self, waiting: usize) {
        let taken = self.target.saturating_sub(self.provided());
        self.used_max = self.used_max.max(taken + waiting);
        self.top_ups += 1;
        if self.top_ups >= JUDGED_AFTER {
            if self.used_max < self.target / 2 {
                self.target = (self.target / 2).max(self.limit.min(PROVIDED_MIN));
                self.shortages = 0;
            }
            (self.top_ups, self.used_max) = (0, 0);
        }
    }

    /// Gives the kernel buffers up to the target, as far as the pool goes.
    fn top_up(&mut self, pool: &BufferPool) {
        let before = self.tail;
        let wanted = self.target.saturating_sub(self.provided());
        pool.take_many(self.class, wanted, |mut buffer| {
            let id = self.free_ids.pop().expect("the target is at most the number of ids");
            let (address, length) = buffer.write_parts();
            let slot = usize::from(self.tail & (PROVIDED_MAX - 1));
            // SAFETY: `slot` is within the PROVIDED_MAX entries of the allocation. The kernel does
            // not read an entry before the tail says so, below.
            let entry = unsafe { &mut *self.entries.as_ptr().add(slot) };
            entry.set_addr(address as u64);
            entry.set_len(length as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            self.slots[usize::from(id)] = Some(buffer);
        });
        if self.tail != before {
            // SAFETY: the tail lies within the first entry (the ABI overlays the two), which the
            // kernel reads concurrently: hence the atomic store.
            let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
            tail.store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout; the ring is closed and nothing is under
        // way on it, so the kernel does not read the entries any more.
        unsafe { dealloc(self.entries.as_ptr().cast(), Self::layout()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::PoolOptions;

    const LIMIT: usize = 512;

    fn top_up_often(group: &mut Group, pool: &BufferPool, waiting: usize) {
        for _ in 0..JUDGED_AFTER {
            group.note_use(waiting);
            group.top_up(pool);
        }
    }

    #[test]
    fn a_group_that_a_burst_has_made_large_shrinks_to_what_is_in_use() {
        let pool = BufferPool::new(PoolOptions::new());
        let mut group = Group::new(SizeClass::Small4K, LIMIT);
        group.target = LIMIT;
        group.top_up(&pool);
        assert_eq!(group.provided(), LIMIT);
        // More than half of 256, less than half of 512.
        top_up_often(&mut group, &pool, 200);
        assert_eq!(group.target, LIMIT / 2);
        top_up_often(&mut group, &pool, 200);
        assert_eq!(group.target, LIMIT / 2, "half of it is in use");
    }

    #[test]
    fn one_moment_of_use_keeps_the_size_and_an_idle_group_keeps_the_least() {
        let pool = BufferPool::new(PoolOptions::new());
        let mut group = Group::new(SizeClass::Small4K, LIMIT);
        group.target = LIMIT;
        group.note_use(LIMIT);
        top_up_often(&mut group, &pool, 0);
        assert_eq!(group.target, LIMIT);
        for _ in 0..10 {
            top_up_often(&mut group, &pool, 0);
        }
        assert_eq!(group.target, PROVIDED_MIN);
        // A share of the pool below that is never exceeded.
        let mut small = Group::new(SizeClass::Small4K, 5);
        top_up_often(&mut small, &pool, 0);
        assert_eq!((small.target, small.provided()), (5, 5));
    }
}
