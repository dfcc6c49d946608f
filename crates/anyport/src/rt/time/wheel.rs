//! A hierarchical timing wheel: timers by when they are due, at the same cost however many there
//! are. It knows neither a clock nor a thread; [`shard`](super::shard) puts one behind a lock.
//!
//! Time is counted in ticks. A slot of level 0 is one tick, a slot of the next level all 64 slots of
//! the one below. A timer is filed at the level at which its tick first differs from the present
//! one, read as digits to the base of 64, in the slot of that digit. When the present comes to the
//! start of a slot, its timers are due or are filed anew, further down: at most once a level.
//!
//! So all timers of a level are due before those of the levels above, and the first slot in use at
//! the lowest level in use says when there is next something to do.
//!
//! The highest level goes round: its slots are the next 63 after the present one. What is further
//! away than that (two years, in milliseconds) waits in the last of these, and is filed anew there.

use super::slab::{INDEX_END, Key, Slab};

const LEVELS: usize = 6;
const SLOT_BITS: usize = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// How far from now a timer may be filed, in ticks: one slot of the highest level less than a whole
/// turn, so that the slot of the present never holds anything.
const AHEAD_MAX: u64 = (SLOTS as u64 - 1) << (SLOT_BITS * (LEVELS - 1));

/// The list of what is due, or was in the slot that the present has come to. It is emptied before
/// the present goes on.
const DUE: usize = LEVELS * SLOTS;

/// A link from here on names a list, not a node: the ring of each list goes through its head. So a
/// node that leaves needs not know its list.
const HEADS: u32 = INDEX_END;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    /// The present: all timers before it are in `DUE` or have fired.
    elapsed: u64,
    /// For each level, which of its slots hold something.
    occupied: [u64; LEVELS],
    /// The slots, level by level, and `DUE`.
    heads: [Head; DUE + 1],
    nodes: Slab<Node<T>>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    first: u32,
    last: u32,
}

#[derive(Debug)]
struct Node<T> {
    /// When it is due. It may be filed for an earlier tick, never for a later one.
    deadline: u64,
    previous: u32,
    next: u32,
    value: T,
}

/// What a reset has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// Nothing: the timer had fired, or was cancelled.
    Gone,
    /// The timer is due earlier than before.
    Earlier,
    /// It is due later, or as before.
    Later,
}

impl<T> Wheel<T> {
    /// An empty wheel, at tick 0.
    pub(super) fn new() -> Self {
        let head = |list: usize| Head { first: HEADS + list as u32, last: HEADS + list as u32 };
        Wheel {
            elapsed: 0,
            occupied: [0; LEVELS],
            heads: std::array::from_fn(head),
            nodes: Slab::new(),
        }
    }

    /// How many timers wait.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A timer that is due at `deadline`; at the next advance if that is past.
    pub(super) fn insert(&mut self, deadline: u64, value: T) -> Key {
        let key = self.nodes.insert(Node { deadline, previous: 0, next: 0, value });
        self.file(key.index());
        key
    }

    /// What waits under `key`; `None` when it has fired or was cancelled.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.nodes.get_mut(key).map(|node| &mut node.value)
    }

    /// Takes a timer out; `None` when it has fired or was cancelled.
    pub(super) fn cancel(&mut self, key: Key) -> Option<T> {
        self.nodes.get_mut(key)?;
        self.unlink(key.index());
        Some(self.nodes.remove_at(key.index()).value)
    }

    /// Sets another deadline. A later one is only noted: the timer is filed anew when its old slot
    /// comes, so a timeout that is always put off costs next to nothing.
    pub(super) fn reset(&mut self, key: Key, deadline: u64) -> Reset {
        let Some(node) = self.nodes.get_mut(key) else { return Reset::Gone };
        let is_earlier = deadline < node.deadline;
        node.deadline = deadline;
        if !is_earlier {
            return Reset::Later;
        }
        self.unlink(key.index());
        self.file(key.index());
        Reset::Earlier
    }

    /// Goes on to the tick `now` and gives what is due by then to `fired`, tick by tick, and within
    /// a tick in the order of insertion (unless a reset has changed that).
    ///
    /// After `steps_max` timers that were given out or filed anew it pauses and says false: a caller
    /// that holds a lock can let go of it, and call again. True when all is done.
    pub(super) fn advance(
        &mut self,
        now: u64,
        steps_max: usize,
        fired: &mut impl FnMut(T),
    ) -> bool {
        let mut steps = 0;
        loop {
            while let index @ 0..HEADS = self.heads[DUE].first {
                if steps == steps_max {
                    return false;
                }
                steps += 1;
                self.unlink(index);
                if self.nodes.at(index).deadline <= self.elapsed {
                    fired(self.nodes.remove_at(index).value);
                } else {
                    self.file(index);
                }
            }
            match self.next_slot() {
                Some((list, start)) if start <= now => {
                    self.elapsed = start;
                    self.move_to_due(list);
                }
                _ => {
                    self.elapsed = self.elapsed.max(now);
                    return true;
                }
            }
        }
    }

    /// When to advance next: the tick at which the first timer is due, or an earlier one at which
    /// timers must be filed anew (a few times in the life of a timer). `None` without timers.
    pub(super) fn next_expiration(&self) -> Option<u64> {
        if self.heads[DUE].first < HEADS {
            return Some(self.elapsed);
        }
        self.next_slot().map(|(_, start)| start)
    }

    /// The first slot in use after the present, and the tick at which it begins.
    fn next_slot(&self) -> Option<(usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let shift = level * SLOT_BITS;
        let present = self.elapsed >> shift;
        let slot = present as usize % SLOTS;
        // From 1; the slot of the present itself is empty, and only the highest level goes round.
        let after_present = self.occupied[level].rotate_right(slot as u32 + 1);
        let distance = after_present.trailing_zeros() as usize + 1;
        let list = level * SLOTS + (slot + distance) % SLOTS;
        Some((list, (present + distance as u64) << shift))
    }

    /// Links a node into the list where its deadline belongs.
    fn file(&mut self, index: u32) {
        let list = self.list_for(self.nodes.at(index).deadline);
        let head = HEADS + list as u32;
        let last = self.heads[list].last;
        let node = self.nodes.at_mut(index);
        node.previous = last;
        node.next = head;
        self.set_next(last, index);
        self.set_previous(head, index);
        if list != DUE {
            self.occupied[list / SLOTS] |= 1 << (list % SLOTS);
        }
    }

    fn list_for(&self, deadline: u64) -> usize {
        if deadline <= self.elapsed {
            return DUE;
        }
        let tick = deadline.min(self.elapsed.saturating_add(AHEAD_MAX));
        let highest_bit = (tick ^ self.elapsed).ilog2() as usize;
        let level = (highest_bit / SLOT_BITS).min(LEVELS - 1);
        level * SLOTS + (tick >> (level * SLOT_BITS)) as usize % SLOTS
    }

    fn unlink(&mut self, index: u32) {
        let node = self.nodes.at(index);
        let (previous, next) = (node.previous, node.next);
        self.set_next(previous, next);
        self.set_previous(next, previous);
        // Both are the head: the list is empty now.
        if previous == next {
            self.vacate((previous - HEADS) as usize);
        }
    }

    /// Moves all of a slot to the list of what is due, which is empty.
    fn move_to_due(&mut self, list: usize) {
        let Head { first, last } = self.heads[list];
        debug_assert!(first < HEADS && self.heads[DUE].first >= HEADS);
        let due = HEADS + DUE as u32;
        self.set_previous(first, due);
        self.set_next(last, due);
        self.heads[DUE] = Head { first, last };
        let head = HEADS + list as u32;
        self.heads[list] = Head { first: head, last: head };
        self.vacate(list);
    }

    fn vacate(&mut self, list: usize) {
        if list != DUE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    fn set_next(&mut self, link: u32, to: u32) {
        match link.checked_sub(HEADS) {
            Some(list) => self.heads[list as usize].first = to,
            None => self.nodes.at_mut(link).next = to,
        }
    }

    fn set_previous(&mut self, link: u32, to: u32) {
        match link.checked_sub(HEADS) {
            Some(list) => self.heads[list as usize].last = to,
            None => self.nodes.at_mut(link).previous = to,
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "wheel_tests.rs"]
mod tests;
