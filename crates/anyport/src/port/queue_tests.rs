//! What the queue promises, on the standard library's atomics and with plain threads: no system
//! call but theirs, so Miri can run it. The models are in `queue_loom.rs`.

use std::sync::atomic::{AtomicUsize as Counter, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

use super::*;

const ROUNDS: usize = if cfg!(miri) { 20 } else { 20_000 };

#[test]
fn items_come_out_in_the_order_they_went_in() {
    let queue = BoundedQueue::new(5);
    for lap in 0..7 {
        for item in 0..5 {
            queue.push(lap * 5 + item).unwrap();
        }
        for item in 0..5 {
            assert_eq!(queue.pop(), Some(lap * 5 + item));
        }
    }
    assert_eq!(queue.pop(), None);
}

#[test]
fn a_full_queue_gives_the_item_back_exactly_at_its_limit() {
    for limit in (1..=17).chain([100, 4096]) {
        let queue = BoundedQueue::new(limit);
        for lap in 0..3 {
            for item in 0..limit {
                assert_eq!(queue.len(), item);
                queue.push(item).unwrap();
            }
            assert_eq!(queue.push(usize::MAX), Err(PushError::Full(usize::MAX)), "lap {lap}");
            assert_eq!(queue.len(), limit);
            assert_eq!(queue.pop(), Some(0));
            queue.push(limit).unwrap();
            assert_eq!(queue.push(0), Err(PushError::Full(0)));
            while queue.pop().is_some() {}
            assert!(queue.is_empty());
        }
    }
}

#[test]
fn a_closed_queue_refuses_pushes_and_hands_out_the_rest() {
    let queue = BoundedQueue::new(2);
    queue.push("one").unwrap();
    queue.push("two").unwrap();
    assert!(!queue.is_closed() && !queue.is_finished());
    assert!(queue.close(), "the first close closes");
    assert!(!queue.close(), "the second finds it closed");
    assert_eq!(queue.push("three"), Err(PushError::Closed("three")));
    assert!(queue.is_closed() && !queue.is_finished());
    assert_eq!((queue.len(), queue.is_empty()), (2, false));
    assert_eq!((queue.pop(), queue.pop()), (Some("one"), Some("two")));
    assert!(queue.is_finished() && queue.is_empty());
    assert_eq!(queue.pop(), None);
}

#[test]
fn an_empty_queue_is_finished_as_soon_as_it_is_closed() {
    let queue = BoundedQueue::<u8>::new(1);
    assert!(!queue.is_finished());
    queue.close();
    assert!(queue.is_finished());
}

#[test]
fn positions_may_wrap_around() {
    let queue = BoundedQueue::new(3);
    // As if the counters had come round to four positions before their end.
    let start = 0_usize.wrapping_sub(4 * STEP);
    for (index, slot) in queue.slots.iter().enumerate() {
        slot.sequence.store(start.wrapping_add(index * STEP), SeqCst);
    }
    queue.tail.store(start, SeqCst);
    queue.head.store(start, SeqCst);
    for item in 0..20 {
        for ahead in 0..3 {
            queue.push(item + ahead).unwrap();
        }
        assert_eq!(queue.push(99), Err(PushError::Full(99)));
        assert_eq!(queue.len(), 3);
        for ahead in 0..3 {
            assert_eq!(queue.pop(), Some(item + ahead));
        }
        assert_eq!(queue.pop(), None);
    }
}

#[test]
fn items_left_inside_are_dropped_with_the_queue_and_only_once() {
    struct Counted<'a>(&'a Counter);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let dropped = Counter::new(0);
    let queue = BoundedQueue::new(5);
    for _ in 0..5 {
        queue.push(Counted(&dropped)).unwrap();
    }
    drop(queue.pop());
    drop(queue.push(Counted(&dropped)));
    drop(queue.push(Counted(&dropped)).unwrap_err().into_inner());
    assert_eq!(dropped.load(SeqCst), 2);
    queue.close();
    drop(queue);
    assert_eq!(dropped.load(SeqCst), 7);
}

#[test]
#[should_panic = "at least one item"]
fn a_queue_for_nothing_is_refused() {
    BoundedQueue::<u8>::new(0);
}

#[test]
fn every_item_arrives_once_and_in_its_producers_order() {
    for limit in [1, 3, 64] {
        let queue = Arc::new(BoundedQueue::new(limit));
        let start = Arc::new(Barrier::new(4));
        let producers: Vec<_> = (0..2)
            .map(|producer| {
                let (queue, start) = (Arc::clone(&queue), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    for number in 0..ROUNDS {
                        let mut item = Box::new((producer, number));
                        while let Err(refused) = queue.push(item) {
                            item = refused.into_inner();
                            thread::yield_now();
                        }
                        assert!(queue.len() <= limit);
                    }
                })
            })
            .collect();
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let (queue, start) = (Arc::clone(&queue), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    let mut seen = [Vec::new(), Vec::new()];
                    loop {
                        match queue.pop() {
                            Some(item) => seen[item.0].push(item.1),
                            None if queue.is_finished() => return seen,
                            None => thread::yield_now(),
                        }
                    }
                })
            })
            .collect();
        for producer in producers {
            producer.join().unwrap();
        }
        queue.close();
        let mut all = [Vec::new(), Vec::new()];
        for consumer in consumers {
            for (all, seen) in all.iter_mut().zip(consumer.join().unwrap()) {
                assert!(seen.is_sorted(), "a producer's items came out of order");
                all.extend(seen);
            }
        }
        for mut numbers in all {
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..ROUNDS));
        }
    }
}

#[test]
fn what_is_admitted_while_the_queue_closes_is_handed_out() {
    for _ in 0..ROUNDS / 20 {
        let queue = Arc::new(BoundedQueue::new(4));
        let start = Arc::new(Barrier::new(3));
        let pushers: Vec<_> = (0..2)
            .map(|_| {
                let (queue, start) = (Arc::clone(&queue), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    let mut admitted = 0;
                    loop {
                        match queue.push(Box::new(1)) {
                            Ok(()) => admitted += 1,
                            Err(PushError::Full(_)) => thread::yield_now(),
                            Err(PushError::Closed(_)) => return admitted,
                        }
                    }
                })
            })
            .collect();
        start.wait();
        let mut taken = 0;
        for _ in 0..3 {
            taken += queue.pop().map_or(0, |item| *item);
        }
        queue.close();
        while !queue.is_finished() {
            taken += queue.pop().map_or(0, |item| *item);
        }
        let admitted: usize = pushers.into_iter().map(|pusher| pusher.join().unwrap()).sum();
        assert_eq!(taken, admitted);
        assert_eq!(queue.pop(), None);
    }
}
