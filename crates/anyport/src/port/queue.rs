//! The bounded queue of posted packets: many producers, many consumers, no lock.
//!
//! Based on Dmitry Vyukov's bounded MPMC queue
//! (<https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue>), with
//! crossbeam's rule that "full" and "empty" are only said of a queue that was so at one moment of
//! the call, and with two additions: an exact limit, and closing.
//!
//! Guarantees: never more than the limit inside; first in, first out (so also for each producer);
//! what a push admitted is handed out, whatever races with it. The port posts and takes packets
//! here.

use std::fmt;
use std::mem::MaybeUninit;

use crate::atomic::{AtomicUsize, CachePadded, Ordering, UnsafeCell, fence, spin_loop, yield_now};

/// The bit of `tail` that says the queue is closed.
const CLOSED: usize = 1;
/// The distance between two positions: bit 0 of `tail` is `CLOSED`, bit 0 of a slot's `sequence`
/// says that the slot is filled.
const STEP: usize = 2;
/// The bit of a slot's `sequence` that says the slot is filled.
const FILLED: usize = 1;

/// A bounded queue for any number of producers and consumers.
///
/// Neither `push` nor `pop` takes a lock. Each waits (spins, then yields) only for another thread
/// that is between claiming a slot and finishing with it: a move of one item.
pub(crate) struct BoundedQueue<T> {
    /// The position that the next push takes, plus `CLOSED`. Only grows, by `STEP`, by
    /// compare-and-swap; once `CLOSED` is set it never changes again, because a push swaps only
    /// from an open value. So the pushes that were admitted are exactly those before it.
    tail: CachePadded<AtomicUsize>,
    /// The position that the next pop takes. Only grows, by `STEP`, by compare-and-swap from a
    /// position whose slot is filled; so it never passes `tail`.
    head: CachePadded<AtomicUsize>,
    /// A power of two of them, at least `limit`. Position `p` lives in slot `p / STEP % len`.
    slots: Box<[Slot<T>]>,
    /// The most items inside at once, times `STEP`.
    limit_in_steps: usize,
}

/// Why a push was refused; gives the item back.
#[derive(PartialEq, Eq)]
pub(crate) enum PushError<T> {
    /// The queue held as many items as its limit allows.
    Full(T),
    /// The queue is closed. Said of a queue that is full as well.
    Closed(T),
}

impl<T> BoundedQueue<T> {
    /// The greatest limit that a queue can have, in items.
    pub(crate) const LIMIT_MAX: usize = 1 << (usize::BITS - 4);

    /// An empty queue for at most `limit` items. All memory is taken here: one slot an item,
    /// rounded up to a power of two.
    ///
    /// # Panics
    /// When `limit` is 0 or above [`LIMIT_MAX`](Self::LIMIT_MAX).
    pub(crate) fn new(limit: usize) -> Self {
        assert!(limit >= 1, "a queue needs room for at least one item");
        assert!(limit <= Self::LIMIT_MAX, "a queue of {limit} items is beyond its counters");
        let slots = (0..limit.next_power_of_two())
            .map(|index| Slot {
                sequence: AtomicUsize::new(index * STEP),
                item: UnsafeCell::new(MaybeUninit::uninit()),
            })
            .collect();
        Self {
            tail: CachePadded::new(AtomicUsize::new(0)),
            head: CachePadded::new(AtomicUsize::new(0)),
            slots,
            limit_in_steps: limit * STEP,
        }
    }

    /// Puts `item` at the end, or gives it back: at the limit, and after [`close`](Self::close).
    pub(crate) fn push(&self, item: T) -> Result<(), PushError<T>> {
        let mut backoff = Backoff::new();
        let mut tail = self.tail.load(Ordering::Relaxed);
        loop {
            if tail & CLOSED != 0 {
                return Err(PushError::Closed(item));
            }
            let slot = self.slot(tail);
            let slot_is_free = slot.sequence.load(Ordering::Acquire) == tail;
            // A free slot is room enough when there are no more slots than the limit. The head is
            // read after the tail and only grows: a swap from this tail stays within the limit.
            let room_is_seen = slot_is_free
                && (self.limit_in_steps == self.slots.len() * STEP
                    || !self.is_full_at(tail, self.head.load(Ordering::Relaxed)));
            if room_is_seen {
                match self.tail.compare_exchange_weak(
                    tail,
                    tail.wrapping_add(STEP),
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        slot.fill(tail, item);
                        return Ok(());
                    }
                    Err(now) => tail = now,
                }
                spin_loop();
                continue;
            }
            // Full, or a pop has not finished with the slot yet, or the tail read is stale. The
            // fence keeps an old head from passing for a full queue.
            fence(Ordering::SeqCst);
            if self.is_full_at(tail, self.head.load(Ordering::Relaxed)) {
                return Err(PushError::Full(item));
            }
            if !slot_is_free {
                backoff.wait();
            }
            tail = self.tail.load(Ordering::Relaxed);
        }
    }

    /// Takes the oldest item. `None` means that the queue was empty at a moment of this call: no
    /// item, and no push that had claimed its place. So a thread that announces that it will
    /// sleep and then sees `None` has overlooked nobody's packet.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut backoff = Backoff::new();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let slot = self.slot(head);
            if slot.sequence.load(Ordering::Acquire) == head | FILLED {
                match self.head.compare_exchange_weak(
                    head,
                    head.wrapping_add(STEP),
                    Ordering::SeqCst,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => {
                        // SAFETY: the slot was filled for this position, and the swap of `head`
                        // from this position succeeds for one thread only: this one.
                        return Some(unsafe { slot.empty(head, self.slots.len()) });
                    }
                    Err(now) => head = now,
                }
                spin_loop();
                continue;
            }
            // Empty, or a push has claimed the slot and not filled it yet, or the head is stale.
            fence(Ordering::SeqCst);
            if self.tail.load(Ordering::Relaxed) & !CLOSED == head {
                return None;
            }
            backoff.wait();
            head = self.head.load(Ordering::Relaxed);
        }
    }

    /// Refuses every later push; true for the call that closed it. Items inside, and those of
    /// pushes admitted before, are handed out as ever.
    pub(crate) fn close(&self) -> bool {
        self.tail.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.tail.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Whether the queue is closed and drained for good: every item that was ever admitted has
    /// been taken, those of pushes that were under way when it closed included. Never turns back.
    pub(crate) fn is_finished(&self) -> bool {
        let tail = self.tail.load(Ordering::SeqCst);
        tail & CLOSED != 0 && self.head.load(Ordering::SeqCst) == tail & !CLOSED
    }

    /// The number of items inside at one moment of the call, those of pushes that have claimed
    /// their place included. Never above the limit.
    pub(crate) fn len(&self) -> usize {
        loop {
            let tail = self.tail.load(Ordering::SeqCst);
            let head = self.head.load(Ordering::SeqCst);
            if self.tail.load(Ordering::SeqCst) == tail {
                return (tail & !CLOSED).wrapping_sub(head) / STEP;
            }
            spin_loop();
        }
    }

    /// Whether there was, at one moment of the call, no item and no push that had claimed its
    /// place. After a `SeqCst` fence (a sleeper's re-check) it overlooks no earlier push.
    pub(crate) fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::SeqCst);
        self.tail.load(Ordering::SeqCst) & !CLOSED == head
    }

    /// The most items that can be inside.
    pub(crate) fn limit(&self) -> usize {
        self.limit_in_steps / STEP
    }

    #[inline]
    fn slot(&self, position: usize) -> &Slot<T> {
        &self.slots[(position / STEP) & (self.slots.len() - 1)]
    }

    /// A stale `tail` can lie behind `head`; that reads as a negative length, which is not full.
    #[inline]
    fn is_full_at(&self, tail: usize, head: usize) -> bool {
        (tail & !CLOSED).wrapping_sub(head).cast_signed() >= self.limit_in_steps.cast_signed()
    }
}

impl<T> Drop for BoundedQueue<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl<T> fmt::Debug for BoundedQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedQueue")
            .field("len", &self.len())
            .field("limit", &self.limit())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

// SAFETY: the queue owns its items and hands each one to exactly one thread (see `Slot`), so it is
// as good as a channel: what may be sent to another thread may pass through it.
unsafe impl<T: Send> Send for BoundedQueue<T> {}
// SAFETY: as above; a shared reference gives no access to an item but by moving it out.
unsafe impl<T: Send> Sync for BoundedQueue<T> {}

impl<T> PushError<T> {
    /// The item that was not taken.
    pub(crate) fn into_inner(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

struct Slot<T> {
    /// Whose turn it is. Equal to position `p`: free for the push that claims `p`. `p | FILLED`:
    /// holds the item of `p`, for the pop that claims `p`. `p + len * STEP`: free again, a lap
    /// later. Written only by the thread whose turn it is, with release, after its last access to
    /// `item`; read with acquire before the next thread's first.
    sequence: AtomicUsize,
    /// Initialised exactly while `sequence` has `FILLED`, and while the pop that claimed it reads.
    item: UnsafeCell<MaybeUninit<T>>,
}

impl<T> Slot<T> {
    /// For the push that claimed `position` while the slot was free for it.
    #[inline]
    fn fill(&self, position: usize, item: T) {
        self.item.with_mut(|place| {
            // SAFETY: `sequence` was `position`, and the swap of `tail` from `position` succeeded
            // for this thread only, so nobody else touches the item until the store below.
            unsafe { place.write(MaybeUninit::new(item)) }
        });
        self.sequence.store(position | FILLED, Ordering::Release);
    }

    /// Moves the item out.
    ///
    /// # Safety
    /// The caller has read `position | FILLED` in `sequence` with acquire and then claimed
    /// `position` by its swap of `head`. `slots` is the number of slots.
    #[inline]
    unsafe fn empty(&self, position: usize, slots: usize) -> T {
        let item = self.item.with_mut(|place| {
            // SAFETY: filled for this position and claimed by this thread alone, says the caller;
            // the acquire of `sequence` makes the item's bytes visible.
            unsafe { place.read().assume_init() }
        });
        self.sequence.store(position.wrapping_add(slots * STEP), Ordering::Release);
        item
    }
}

/// Spins a little, then gives up the processor: the thread waited for may need it.
struct Backoff {
    spins: u32,
}

impl Backoff {
    /// Doubling each time: at most 127 spins in all.
    const SPINS_MAX: u32 = 1 << 6;

    fn new() -> Self {
        // Under loom each wait is a yield: only that tells the model that nothing changes here.
        Self { spins: if cfg!(loom) { Self::SPINS_MAX << 1 } else { 1 } }
    }

    #[cold]
    fn wait(&mut self) {
        if self.spins > Self::SPINS_MAX {
            yield_now();
        } else {
            (0..self.spins).for_each(|_| spin_loop());
            self.spins <<= 1;
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "queue_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "queue_loom.rs"]
mod loom_models;
