//! What the wheel promises, against a map that is sorted by deadline. No clock, no thread, so Miri
//! can run it.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// No limit on the steps of an advance.
const ALL: usize = usize::MAX;

fn advance<T>(wheel: &mut Wheel<T>, now: u64) -> Vec<T> {
    let mut fired = Vec::new();
    assert!(wheel.advance(now, ALL, &mut |value| fired.push(value)));
    fired
}

#[test]
fn timers_fire_at_their_tick_and_not_before() {
    // Both sides of where each level begins, and in the midst of levels.
    let ticks = (0..=36).step_by(3).flat_map(|bits| {
        let tick = 1_u64 << bits;
        [tick.saturating_sub(1), tick, tick + 1, tick + tick / 3]
    });
    for deadline in ticks.filter(|&tick| tick > 0) {
        let mut wheel = Wheel::new();
        wheel.insert(deadline, ());
        assert_eq!(advance(&mut wheel, deadline - 1), [], "before {deadline}");
        assert_eq!(advance(&mut wheel, deadline), [()], "at {deadline}");
        assert_eq!((wheel.len(), wheel.next_expiration()), (0, None));
    }
}

#[test]
fn a_timer_is_filed_anew_a_few_times_at_most() {
    for deadline in [1, 63, 64, 65, 4_095, 4_097, 1 << 20, (1 << 30) + 77, (1 << 36) - 1] {
        let mut wheel = Wheel::new();
        wheel.insert(deadline, ());
        let mut wake_ups = 0;
        while let Some(next) = wheel.next_expiration() {
            assert!(next <= deadline, "never late");
            let fired = advance(&mut wheel, next);
            assert_eq!(!fired.is_empty(), next == deadline);
            wake_ups += 1;
        }
        assert!(wake_ups <= LEVELS, "{wake_ups} wake-ups for {deadline}");
    }
}

#[test]
fn far_deadlines_wait_beyond_the_range_and_fire_at_their_tick() {
    const RANGE: u64 = 1 << 36;
    for present in [0, 5, RANGE - 3, 7 * RANGE + (1 << 30) - 1] {
        for ahead in [AHEAD_MAX - 1, AHEAD_MAX, AHEAD_MAX + 1, RANGE, 3 * RANGE + 12_345] {
            let mut wheel = Wheel::new();
            assert_eq!(advance(&mut wheel, present), []);
            let deadline = present + ahead;
            wheel.insert(deadline, ());
            wheel.insert(u64::MAX, ());
            assert_eq!(advance(&mut wheel, deadline - 1), []);
            assert_eq!(advance(&mut wheel, deadline), [()]);
            assert_eq!(wheel.len(), 1, "the end of time has not come");
            assert!(wheel.next_expiration().is_some());
        }
    }
}

#[test]
fn timers_of_a_tick_fire_in_the_order_of_insertion() {
    let mut wheel = Wheel::new();
    // Filed at level 2, at level 1 and at level 0, since the present comes nearer.
    for (present, range) in [(0, 0..10), (4_990, 10..20), (5_000, 20..30)] {
        assert_eq!(advance(&mut wheel, present), []);
        range.for_each(|n| {
            wheel.insert(5_010, n);
        });
    }
    assert_eq!(advance(&mut wheel, 6_000), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_million_timers_of_a_tick_fire_together() {
    const TIMERS: u32 = if cfg!(miri) { 100 } else { 1_000_000 };
    let mut wheel = Wheel::new();
    (0..TIMERS).for_each(|n| {
        wheel.insert(100_000, n);
    });
    assert_eq!(advance(&mut wheel, 99_999), []);
    let mut next = 0;
    let is_done = wheel.advance(100_000, ALL, &mut |n| {
        assert_eq!(n, next);
        next += 1;
    });
    assert!(is_done && next == TIMERS);
}

#[test]
fn a_paused_advance_goes_on_where_it_was() {
    let mut wheel = Wheel::new();
    let keys: Vec<_> = (0..10_u64).map(|n| wheel.insert(100 + n / 2, n)).collect();
    let mut fired = Vec::new();
    // Each is filed anew once, from level 1, and then fires.
    assert!(!wheel.advance(1_000, 10, &mut |n| fired.push(n)));
    assert!(!wheel.advance(1_000, 3, &mut |n| fired.push(n)));
    assert_eq!(fired, [0, 1, 2]);
    assert!(wheel.next_expiration().is_some_and(|next| next <= 101), "it is not done");
    assert_eq!(wheel.cancel(keys[3]), Some(3));
    assert_eq!(wheel.cancel(keys[9]), Some(9));
    assert_eq!(wheel.reset(keys[4], 1_001), Reset::Later);
    assert_eq!(wheel.reset(keys[8], 0), Reset::Earlier);
    // Due at once, and after the pause.
    wheel.insert(50, 77);
    wheel.insert(104, 78);
    assert!(wheel.advance(1_000, ALL, &mut |n| fired.push(n)));
    assert_eq!(fired, [0, 1, 2, 8, 77, 5, 6, 7, 78]);
    assert_eq!(advance(&mut wheel, 1_001), [4]);
    assert_eq!(wheel.len(), 0);
}

#[test]
fn a_reset_to_a_later_tick_leaves_the_timer_where_it_is() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(10, ());
    for deadline in 11..100 {
        assert_eq!(wheel.reset(key, deadline), Reset::Later);
        assert_eq!(wheel.next_expiration(), Some(10));
    }
    assert_eq!(advance(&mut wheel, 98), []);
    assert_eq!(wheel.next_expiration(), Some(99));
    assert_eq!(wheel.reset(key, 98), Reset::Earlier);
    assert_eq!(advance(&mut wheel, 98), [()]);
    assert_eq!(wheel.reset(key, 200), Reset::Gone);
    assert_eq!((wheel.cancel(key), wheel.get_mut(key)), (None, None));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    /// Of those that wait, by number.
    Cancel(usize),
    Reset(usize, u64),
    /// By that much, in pieces of so many steps.
    Advance(u64, usize),
    /// To where the wheel says that there is something to do.
    AdvanceToNext,
}

/// Ticks from now: mostly near, often at the edge of a slot, sometimes beyond all.
fn ahead() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..200_u64,
        3 => 0..10_000_u64,
        2 => (0..40_u32, 0..3_u64).prop_map(|(bits, more)| (1 << bits) - 1 + more),
        1 => 0..(1_u64 << 38),
        1 => Just(u64::MAX),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => ahead().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Cancel),
        3 => (any::<usize>(), ahead()).prop_map(|(n, ahead)| Step::Reset(n, ahead)),
        3 => (ahead(), 1..50_usize)
            .prop_map(|(ahead, steps)| Step::Advance(ahead.min(1 << 38), steps)),
        3 => Just(Step::AdvanceToNext),
    ]
}

/// Timers by deadline and number, and what the wheel calls them.
#[derive(Default)]
struct Model {
    now: u64,
    by_deadline: BTreeMap<(u64, u64), Key>,
    deadlines: HashMap<u64, u64>,
    gone: Vec<Key>,
    inserted: u64,
}

impl Model {
    fn pick(&self, choice: usize) -> Option<((u64, u64), Key)> {
        let choice = choice.checked_rem(self.by_deadline.len())?;
        self.by_deadline.iter().nth(choice).map(|(&timer, &key)| (timer, key))
    }

    fn remove(&mut self, timer: (u64, u64)) {
        let key = self.by_deadline.remove(&timer).expect("it waits");
        self.deadlines.remove(&timer.1);
        self.gone.push(key);
    }

    fn insert(&mut self, wheel: &mut Wheel<u64>, deadline: u64) {
        let number = self.inserted;
        self.inserted += 1;
        let key = wheel.insert(deadline, number);
        self.by_deadline.insert((deadline, number), key);
        self.deadlines.insert(number, deadline);
    }

    /// Advances in pieces, and between two of them inserts one that is due and one that is not.
    fn advance(&mut self, wheel: &mut Wheel<u64>, to: u64, steps: usize) {
        let before = self.now;
        self.now = to;
        let mut last = before;
        let mut pauses = 0;
        loop {
            let mut fired = Vec::new();
            let is_done = wheel.advance(to, steps, &mut |number| fired.push(number));
            for number in fired {
                let deadline = self.deadlines[&number];
                assert!(deadline <= to, "{number}, due at {deadline}, fired at {to}");
                if pauses == 0 {
                    assert!(deadline.max(before) >= last, "{number} fired after a later one");
                    last = deadline.max(before);
                }
                self.remove((deadline, number));
            }
            if is_done {
                break;
            }
            pauses += 1;
            if pauses < 4 {
                self.insert(wheel, to - pauses.min(to));
                self.insert(wheel, to + pauses);
            }
        }
        let left = self.by_deadline.first_key_value();
        assert!(left.is_none_or(|(&(deadline, _), _)| deadline > to), "{left:?} at {to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 1_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_wheel_does_as_a_sorted_map(
        start in prop_oneof![Just(0), 0..(1_u64 << 40)],
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut wheel = Wheel::new();
        let mut model = Model::default();
        model.advance(&mut wheel, start, ALL);
        for step in steps {
            match step {
                Step::Insert(ahead) => {
                    let deadline = model.now.saturating_add(ahead);
                    model.insert(&mut wheel, deadline);
                }
                Step::Cancel(choice) => if let Some((timer, key)) = model.pick(choice) {
                    prop_assert_eq!(wheel.cancel(key), Some(timer.1));
                    model.remove(timer);
                },
                Step::Reset(choice, ahead) => if let Some((timer, key)) = model.pick(choice) {
                    let deadline = model.now.saturating_add(ahead);
                    let expected =
                        if deadline < timer.0 { Reset::Earlier } else { Reset::Later };
                    prop_assert_eq!(wheel.reset(key, deadline), expected);
                    model.by_deadline.remove(&timer);
                    model.by_deadline.insert((deadline, timer.1), key);
                    model.deadlines.insert(timer.1, deadline);
                },
                Step::Advance(ahead, steps) => {
                    let to = model.now + ahead;
                    model.advance(&mut wheel, to, steps);
                }
                Step::AdvanceToNext => {
                    let next = wheel.next_expiration().filter(|&next| next < 1 << 50);
                    if let Some(next) = next {
                        model.advance(&mut wheel, next.max(model.now), ALL);
                    }
                }
            }
            prop_assert_eq!(wheel.len(), model.by_deadline.len());
            let first = model.by_deadline.first_key_value().map(|(&(deadline, _), _)| deadline);
            match (wheel.next_expiration(), first) {
                (None, None) => {}
                (Some(next), Some(first)) => {
                    prop_assert!(next <= first.max(model.now), "{} is late for {}", next, first);
                }
                (next, first) => prop_assert!(false, "{:?} for {:?}", next, first),
            }
            for (&(_, number), &key) in &model.by_deadline {
                prop_assert_eq!(wheel.get_mut(key), Some(&mut { number }));
            }
            for &key in &model.gone {
                prop_assert_eq!(wheel.get_mut(key), None);
            }
        }
    }
}
