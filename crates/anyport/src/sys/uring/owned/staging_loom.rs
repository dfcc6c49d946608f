//! Models of the staged list that loom runs in every order of its threads' steps:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_`.
//!
//! No more than two threads are at the list at a time: three that spin for its latch would give loom
//! an endless tree of turns. With the lease it is the same: one drains, and the others push.

use super::Staging;
use loom::sync::Arc;
use loom::thread;

fn model(preemptions_max: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions_max));
    builder.check(run);
}

/// Drains into a queue with `room` for so many.
fn drain(staging: &Staging<u32>, room: usize) -> Vec<u32> {
    let mut drained = Vec::new();
    let has_drained_all = staging.drain(|&entry| {
        let has_room = drained.len() < room;
        if has_room {
            drained.push(entry);
        }
        has_room
    });
    assert!(has_drained_all || staging.has_any(), "somebody must come for what is left");
    drained
}

/// What nobody has drained, which the flag must tell of.
fn left(staging: &Staging<u32>) -> Vec<u32> {
    let is_marked = staging.has_any();
    let left = Vec::from(staging.take_all());
    assert!(is_marked || left.is_empty(), "{left:?} would lie there unseen");
    left
}

#[test]
fn loom_whoever_looks_after_a_push_sees_it_unless_it_is_drained() {
    loom::model(|| {
        let staging = Arc::new(Staging::new());
        let other = Arc::clone(&staging);
        let drainer = thread::spawn(move || drain(&other, usize::MAX));
        staging.push(1);
        let is_seen = staging.has_any();
        let drained = drainer.join().unwrap();
        assert!(is_seen || drained == [1], "neither drained nor to be seen");
        assert_eq!([drained, left(&staging)].concat(), [1]);
    });
}

#[test]
fn loom_whoever_looks_after_a_push_sees_it_unless_it_is_taken_over() {
    loom::model(|| {
        let staging = Arc::new(Staging::new());
        let other = Arc::clone(&staging);
        let taker = thread::spawn(move || Vec::from(other.take_all()));
        staging.push(1);
        let is_seen = staging.has_any();
        let taken = taker.join().unwrap();
        assert!(is_seen || taken == [1], "neither taken nor to be seen");
        assert_eq!([taken, left(&staging)].concat(), [1]);
    });
}

#[test]
fn loom_entries_are_drained_once_and_in_order() {
    model(4, || {
        let staging = Arc::new(Staging::new());
        let other = Arc::clone(&staging);
        let pusher = thread::spawn(move || {
            other.push(1);
            other.push(2);
        });
        let drained = [drain(&staging, usize::MAX), drain(&staging, usize::MAX)].concat();
        pusher.join().unwrap();
        assert_eq!([drained, left(&staging)].concat(), [1, 2]);
    });
}

#[test]
fn loom_what_a_full_queue_refuses_stays_first_and_is_seen() {
    model(4, || {
        let staging = Arc::new(Staging::new());
        staging.push(1);
        let other = Arc::clone(&staging);
        // Room for one at a time, as a queue that is submitted in between.
        let drainer = thread::spawn(move || [drain(&other, 1), drain(&other, 1)].concat());
        staging.push(2);
        staging.push(3);
        let drained = drainer.join().unwrap();
        assert_eq!([drained, left(&staging)].concat(), [1, 2, 3]);
    });
}

#[test]
fn loom_an_entry_that_is_taken_out_is_not_drained_too() {
    model(4, || {
        let staging = Arc::new(Staging::new());
        staging.push(1);
        staging.push(2);
        let other = Arc::clone(&staging);
        let taker = thread::spawn(move || other.remove(|&entry| entry == 1));
        let drained = drain(&staging, usize::MAX);
        match taker.join().unwrap() {
            true => assert_eq!(drained, [2]),
            false => assert_eq!(drained, [1, 2]),
        }
    });
}
