//! Which size class a connection's pooled receives use: it follows the connection's traffic.
//!
//! A receive that fills its buffer and leaves more behind costs another receive for the rest; one
//! that fills a corner of it keeps memory from others. So a class grows soon and shrinks late. A
//! message that fits exactly is no reason to grow: only what the system says was left behind is.
//!
//! Judged by whoever takes a receive's event, with the operation's body locked: one receive of a
//! handle is at work at a time, so nobody judges beside it. The user may set a class at any moment.

use crate::buf::SizeClass;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// What a receive that left bytes behind counts; any other takes one back.
const CRAMPED: u32 = 2;

/// So much, and the class grows: two such receives in a row, or a third of all for a while.
const GROWS_AT: u32 = 4;

/// So many receives in a row that the class below would have held, and the class shrinks.
const SHRINKS_AFTER: u32 = 256;

/// Buffers of a class that the pool must hold for connections to grow into it: a few bulk transfers
/// must not bring everybody else to the pool's bound.
const POOL_HOLDS_MIN: usize = 256;

/// The class of a handle, and what speaks for another.
#[derive(Debug)]
pub(super) struct ReceiveClass {
    /// What it was set to, `FREE` if it was not.
    fixed: AtomicU8,
    /// A `Judgement`; only who judges writes it.
    judged: AtomicU32,
}

/// The class follows the traffic.
const FREE: u8 = u8::MAX;

/// See [`ReceiveClass`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Judgement {
    class: SizeClass,
    /// Up to `GROWS_AT`.
    cramped: u32,
    /// Receives in a row for which the class below would have done.
    roomy: u32,
}

impl Judgement {
    const fn of(class: SizeClass) -> Self {
        Judgement { class, cramped: 0, roomy: 0 }
    }

    fn to_word(self) -> u32 {
        self.class as u32 | self.cramped << 8 | self.roomy << 16
    }

    fn from_word(word: u32) -> Self {
        Judgement { class: class_of(word as u8), cramped: word >> 8 & 0xFF, roomy: word >> 16 }
    }

    /// What it is after a receive of `bytes` into a buffer of the class.
    fn after(mut self, bytes: usize, is_drained: bool, class_max: SizeClass) -> Self {
        if bytes >= self.class.bytes() && !is_drained {
            self.cramped += CRAMPED;
            self.roomy = 0;
            if self.cramped < GROWS_AT {
                return self;
            }
            return match self.class.next() {
                Some(larger) if larger <= class_max => Self::of(larger),
                _ => Judgement { cramped: 0, ..self },
            };
        }
        self.cramped = self.cramped.saturating_sub(1);
        match self.class.previous() {
            Some(smaller) if bytes <= smaller.bytes() => {
                self.roomy += 1;
                if self.roomy >= SHRINKS_AFTER {
                    return Self::of(smaller);
                }
            }
            _ => self.roomy = 0,
        }
        self
    }
}

impl ReceiveClass {
    /// Begins with `class`, and stays there if it is fixed.
    pub(super) fn new(class: SizeClass, is_fixed: bool) -> Self {
        ReceiveClass {
            fixed: AtomicU8::new(if is_fixed { class as u8 } else { FREE }),
            judged: AtomicU32::new(Judgement::of(class).to_word()),
        }
    }

    pub(super) fn get(&self) -> SizeClass {
        match self.fixed.load(Ordering::Relaxed) {
            FREE => class_of(self.judged.load(Ordering::Relaxed) as u8),
            fixed => class_of(fixed),
        }
    }

    /// From now on this class, whatever comes.
    pub(super) fn fix(&self, class: SizeClass) {
        self.fixed.store(class as u8, Ordering::Relaxed);
    }

    /// A receive has brought `bytes` in a buffer of `room`; `is_drained` when the system said that
    /// nothing was left. True when the next receive should use another class.
    pub(super) fn judge(
        &self,
        bytes: usize,
        room: usize,
        is_drained: bool,
        class_max: SizeClass,
    ) -> bool {
        let before = Judgement::from_word(self.judged.load(Ordering::Relaxed));
        // Set by the user, or received before the class last changed.
        if self.fixed.load(Ordering::Relaxed) != FREE || room != before.class.bytes() {
            return false;
        }
        let after = before.after(bytes, is_drained, class_max);
        if after != before {
            self.judged.store(after.to_word(), Ordering::Relaxed);
        }
        after.class != before.class
    }
}

/// The class of the low two bits.
fn class_of(bits: u8) -> SizeClass {
    SizeClass::ALL[usize::from(bits & 3).min(SizeClass::COUNT - 1)]
}

/// The largest class that connections grow into with a pool of `bytes_max`.
pub(super) fn class_max(bytes_max: usize) -> SizeClass {
    let mut largest = SizeClass::Small4K;
    while let Some(larger) = largest.next()
        && bytes_max / larger.bytes() >= POOL_HOLDS_MIN
    {
        largest = larger;
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use SizeClass::{Large64K, Medium16K, Small4K};
    use proptest::prelude::*;

    /// The classes after each message, received in as many pieces as it takes.
    fn classes_for(class: &ReceiveClass, messages: &[usize]) -> Vec<SizeClass> {
        let receive = |message: &usize| {
            let mut left = *message;
            while left > 0 {
                let room = class.get().bytes();
                let bytes = left.min(room);
                left -= bytes;
                class.judge(bytes, room, left == 0, Large64K);
            }
            class.get()
        };
        messages.iter().map(receive).collect()
    }

    #[test]
    fn bulk_traffic_grows_to_the_largest_class_within_a_few_receives() {
        let class = ReceiveClass::new(Small4K, false);
        assert_eq!(classes_for(&class, &[3 * 4096, 3 * 16384]), [Medium16K, Large64K]);
        assert_eq!(classes_for(&class, &[8 << 20]), [Large64K]);
    }

    #[test]
    fn messages_a_little_too_large_grow_after_a_few() {
        let class = ReceiveClass::new(Medium16K, false);
        let classes = classes_for(&class, &[20_000; 8]);
        assert_eq!(classes.last(), Some(&Large64K));
        assert_eq!(classes_for(&class, &[20_000; 1000])[999], Large64K, "and stay there");
    }

    #[test]
    fn messages_that_fit_exactly_change_nothing() {
        let class = ReceiveClass::new(Medium16K, false);
        assert!(classes_for(&class, &[16_384; 2000]).iter().all(|&c| c == Medium16K));
    }

    #[test]
    fn small_messages_shrink_the_class_after_many_and_one_large_one_starts_the_count_anew() {
        let class = ReceiveClass::new(Medium16K, false);
        let few = SHRINKS_AFTER as usize - 1;
        assert_eq!(classes_for(&class, &vec![64; few])[few - 1], Medium16K);
        classes_for(&class, &[10_000]);
        assert_eq!(classes_for(&class, &vec![64; few])[few - 1], Medium16K);
        assert_eq!(classes_for(&class, &[64]), [Small4K]);
    }

    #[test]
    fn a_class_that_was_set_stays() {
        let class = ReceiveClass::new(Small4K, false);
        class.fix(Medium16K);
        assert_eq!(classes_for(&class, &[8 << 20]), [Medium16K]);
        assert_eq!(classes_for(&class, &[1; 1000])[999], Medium16K);
    }

    #[test]
    fn what_was_received_into_a_buffer_of_another_class_is_not_judged() {
        let class = ReceiveClass::new(Medium16K, false);
        for _ in 0..10 {
            assert!(!class.judge(4096, 4096, false, Large64K));
        }
        assert_eq!(class.get(), Medium16K);
    }

    #[test]
    fn a_small_pool_keeps_connections_small() {
        assert_eq!(class_max(4 * 4096), Small4K);
        assert_eq!(class_max(8 << 20), Medium16K);
        assert_eq!(class_max(256 << 20), Large64K);
        let class = ReceiveClass::new(Small4K, false);
        for _ in 0..10 {
            assert!(!class.judge(4096, 4096, false, Small4K));
        }
        assert_eq!(class.get(), Small4K);
    }

    proptest! {
        /// No traffic makes a class change on and on: between two changes in opposite directions
        /// lie as many receives as it takes to shrink.
        #[test]
        fn a_class_never_flaps(
            messages in prop::collection::vec((1usize..200_000, 1usize..40), 1..60),
            start in 0usize..3,
        ) {
            let class = ReceiveClass::new(SizeClass::ALL[start], false);
            let mut since_growth = SHRINKS_AFTER;
            for (message, repeats) in messages {
                for _ in 0..repeats {
                    let mut left = message;
                    while left > 0 {
                        let before = class.get();
                        let bytes = left.min(before.bytes());
                        left -= bytes;
                        let has_changed = class.judge(bytes, before.bytes(), left == 0, Large64K);
                        prop_assert_eq!(has_changed, class.get() != before);
                        since_growth += 1;
                        if class.get() > before {
                            since_growth = 0;
                        }
                        prop_assert!(class.get() >= before || since_growth >= SHRINKS_AFTER);
                    }
                }
            }
        }

        #[test]
        fn a_word_holds_a_judgement(
            class in 0usize..3, cramped in 0..GROWS_AT + 2, roomy in 0..=SHRINKS_AFTER
        ) {
            let judgement = Judgement { class: SizeClass::ALL[class], cramped, roomy };
            prop_assert_eq!(Judgement::from_word(judgement.to_word()), judgement);
        }
    }
}
