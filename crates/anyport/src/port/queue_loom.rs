//! Models of the queue that loom runs in every order of its threads' steps:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_`.
//!
//! Models of three threads are bounded to a few preemptions (loom's own advice: nearly every known
//! bug shows within two or three); `LOOM_MAX_PREEMPTIONS` overrides it.

use loom::sync::Arc;
use loom::thread;

use super::{BoundedQueue, PushError};

fn model(preemptions_max: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions_max));
    builder.check(run);
}

/// Pops until an item comes.
fn take<T>(queue: &BoundedQueue<T>) -> T {
    loop {
        match queue.pop() {
            Some(item) => return item,
            None => thread::yield_now(),
        }
    }
}

#[test]
fn loom_two_producers_and_a_consumer_lose_and_repeat_nothing() {
    model(3, || {
        let queue = Arc::new(BoundedQueue::new(4));
        let other = Arc::clone(&queue);
        let first = thread::spawn(move || {
            other.push(Box::new(1)).unwrap();
            other.push(Box::new(2)).unwrap();
        });
        let other = Arc::clone(&queue);
        let second = thread::spawn(move || other.push(Box::new(10)).unwrap());
        let taken = [*take(&queue), *take(&queue), *take(&queue)];
        assert!(
            matches!(taken, [1, 2, 10] | [1, 10, 2] | [10, 1, 2]),
            "lost, repeated, or out of its producer's order: {taken:?}"
        );
        assert!(queue.pop().is_none());
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn loom_slots_are_used_again_without_a_mix_up() {
    model(3, || {
        let queue = Arc::new(BoundedQueue::new(1));
        let other = Arc::clone(&queue);
        let producer = thread::spawn(move || {
            for item in 0..3 {
                let mut item = Box::new(item);
                while let Err(refused) = other.push(item) {
                    item = refused.into_inner();
                    thread::yield_now();
                }
            }
        });
        for item in 0..3 {
            assert_eq!(*take(&queue), item);
        }
        producer.join().unwrap();
    });
}

#[test]
fn loom_a_push_that_races_close_is_handed_out_or_given_back() {
    model(4, || {
        let queue = Arc::new(BoundedQueue::new(2));
        let other = Arc::clone(&queue);
        let pusher = thread::spawn(move || match other.push(Box::new(7)) {
            Ok(()) => 1,
            Err(PushError::Closed(item)) => {
                assert_eq!(*item, 7);
                0
            }
            Err(PushError::Full(_)) => panic!("there was room"),
        });
        let other = Arc::clone(&queue);
        let closer = thread::spawn(move || other.close());
        let mut taken = 0;
        loop {
            match queue.pop() {
                Some(item) => taken += *item / 7,
                None if queue.is_finished() => break,
                None => thread::yield_now(),
            }
        }
        assert_eq!(pusher.join().unwrap(), taken);
        assert!(closer.join().unwrap(), "closed by this call");
        assert!(queue.pop().is_none(), "finished is for good");
    });
}

#[test]
fn loom_a_finished_queue_has_no_admitted_push_still_to_come() {
    model(4, || {
        let queue = Arc::new(BoundedQueue::new(1));
        let other = Arc::clone(&queue);
        let pusher = thread::spawn(move || other.push(Box::new(7)).is_ok());
        queue.close();
        let finished_early = queue.is_finished();
        let admitted = pusher.join().unwrap();
        assert!(!(finished_early && admitted));
        assert_eq!(queue.pop().is_some(), admitted);
        assert!(queue.is_finished());
    });
}

#[test]
fn loom_two_pushes_for_the_last_place_never_pass_the_limit() {
    // Three of four slots: the limit is kept by the check, not by the ring. Two of two: by the
    // ring.
    for limit in [3, 2] {
        model(4, move || {
            let queue = Arc::new(BoundedQueue::new(limit));
            for item in 1..limit {
                queue.push(Box::new(item)).unwrap();
            }
            let other = Arc::clone(&queue);
            let rival = thread::spawn(move || other.push(Box::new(0)).is_ok());
            let won = queue.push(Box::new(0)).is_ok();
            assert!(queue.len() <= limit);
            assert!(won ^ rival.join().unwrap(), "exactly one place was left");
            assert_eq!(queue.len(), limit);
        });
    }
}

#[test]
fn loom_a_push_at_the_limit_beside_a_pop_succeeds_or_says_full() {
    for limit in [1, 3] {
        model(4, move || {
            let queue = Arc::new(BoundedQueue::new(limit));
            for item in 0..limit {
                queue.push(Box::new(item)).unwrap();
            }
            let other = Arc::clone(&queue);
            let popper = thread::spawn(move || *other.pop().expect("it was full"));
            let pushed = match queue.push(Box::new(limit)) {
                Ok(()) => 1,
                Err(PushError::Full(item)) => {
                    assert_eq!(*item, limit);
                    0
                }
                Err(PushError::Closed(_)) => panic!("nobody closed it"),
            };
            assert_eq!(popper.join().unwrap(), 0);
            for item in 1..limit + pushed {
                assert_eq!(*queue.pop().unwrap(), item);
            }
            assert!(queue.pop().is_none());
        });
    }
}

#[test]
fn loom_two_consumers_never_take_the_same_item() {
    model(4, || {
        let queue = Arc::new(BoundedQueue::new(2));
        queue.push(Box::new(1)).unwrap();
        let other = Arc::clone(&queue);
        let rival = thread::spawn(move || other.pop().is_some());
        let won = queue.pop().is_some();
        assert!(won ^ rival.join().unwrap());
    });
}

#[test]
fn loom_a_pop_says_empty_only_of_a_queue_that_was() {
    // A push that is claimed and not filled must not hide the one that is complete behind it.
    model(4, || {
        let queue = Arc::new(BoundedQueue::new(2));
        let other = Arc::clone(&queue);
        let slow = thread::spawn(move || other.push(Box::new(1)).unwrap());
        let other = Arc::clone(&queue);
        let quick = thread::spawn(move || {
            other.push(Box::new(2)).unwrap();
            assert!(other.pop().is_some());
        });
        slow.join().unwrap();
        quick.join().unwrap();
        assert!(queue.pop().is_some());
        assert!(queue.pop().is_none());
    });
}

#[test]
fn loom_two_threads_never_both_find_the_others_push_missing() {
    // What "empty" means across queues: one of the two pushes came first, so one pop sees it.
    model(4, || {
        let queues = Arc::new([BoundedQueue::new(1), BoundedQueue::new(1)]);
        let other = Arc::clone(&queues);
        let rival = thread::spawn(move || {
            other[1].push(()).unwrap();
            other[0].pop().is_some()
        });
        queues[0].push(()).unwrap();
        let seen = queues[1].pop().is_some();
        assert!(rival.join().unwrap() || seen);
    });
}

#[test]
fn loom_two_threads_never_both_find_the_others_pop_missing() {
    // What "full" means across queues: one of the two pops came first, so one push has room.
    model(4, || {
        let queues = Arc::new([BoundedQueue::new(1), BoundedQueue::new(1)]);
        queues[0].push(()).unwrap();
        queues[1].push(()).unwrap();
        let other = Arc::clone(&queues);
        let rival = thread::spawn(move || {
            other[1].pop().unwrap();
            other[0].push(()).is_ok()
        });
        queues[0].pop().unwrap();
        let had_room = queues[1].push(()).is_ok();
        assert!(rival.join().unwrap() || had_room);
    });
}
