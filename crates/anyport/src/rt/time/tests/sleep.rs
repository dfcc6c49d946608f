//! Sleeps, by hand-driven time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use super::super::{self as time, Sleep, Timers};
use super::{Count, ms, poll, waker_fn, waker_to};

#[test]
fn timers_fire_in_the_order_of_their_deadlines_and_never_early() {
    let (timers, mut time) = Timers::manual();
    let (sender, fired) = mpsc::channel();
    let start = timers.now();
    // In no order at all; some share a millisecond, none lies on the edge of one.
    let after = |n: u64| Duration::from_micros(n * 7_919 % 100_003 * 10 + 1);
    let mut sleeps: Vec<_> = (0..2_000)
        .map(|n| {
            let mut sleep = Sleep::new_in(&timers, start + after(n));
            assert!(poll(&mut sleep, &waker_to(&sender, n)).is_pending());
            sleep
        })
        .collect();
    let mut last = 0;
    for now_ms in 0..=1_001 {
        time.advance_to(start + ms(now_ms));
        for n in fired.try_iter() {
            assert!(start + after(n) <= timers.now(), "{n} is early");
            assert!(start + after(n) + ms(1) > timers.now(), "{n} is late");
            assert_eq!(poll(&mut sleeps[n as usize], Waker::noop()), Poll::Ready(()));
            last += 1;
        }
    }
    assert_eq!((last, timers.pending()), (2_000, 0));

    // And when time makes a leap.
    for (n, sleep) in sleeps.iter_mut().enumerate() {
        sleep.reset(timers.now() + after(n as u64));
        assert!(poll(sleep, &waker_to(&sender, n as u64)).is_pending());
    }
    time.advance(ms(5_000));
    let order: Vec<_> = fired.try_iter().collect();
    assert_eq!(order.len(), 2_000);
    assert!(order.is_sorted_by_key(|&n| after(n).as_micros().div_ceil(1_000)));
}

#[test]
fn a_sleep_wakes_its_task_once_and_stays_over() {
    let (timers, mut time) = Timers::manual();
    let (count, waker) = Count::new();
    let deadline = timers.now() + ms(10);
    let mut sleep = Sleep::new_in(&timers, deadline);
    assert_eq!((sleep.deadline(), sleep.is_elapsed()), (deadline, false));
    assert!(poll(&mut sleep, &waker).is_pending());
    time.advance_to(deadline - Duration::from_nanos(1));
    assert!(poll(&mut sleep, &waker).is_pending());
    assert!(!sleep.is_elapsed());
    time.advance_to(deadline);
    assert!(sleep.is_elapsed());
    assert_eq!(count.get(), 1);
    for _ in 0..2 {
        assert!(poll(&mut sleep, &waker).is_ready() && sleep.is_elapsed());
    }
    time.advance(ms(1_000));
    assert_eq!((count.get(), timers.pending()), (1, 0));
}

#[test]
fn a_deadline_that_has_passed_takes_no_timer() {
    let (timers, mut time) = Timers::manual();
    let mut past = Sleep::new_in(&timers, timers.now());
    let mut later = Sleep::new_in(&timers, timers.now() + ms(5));
    assert!(past.is_elapsed() && poll(&mut past, Waker::noop()).is_ready());
    time.advance(ms(5));
    assert!(later.is_elapsed() && poll(&mut later, Waker::noop()).is_ready());
    assert_eq!(time.next_expiration(), None);
}

#[test]
fn the_last_task_that_polled_is_woken() {
    let (timers, mut time) = Timers::manual();
    let [(first, first_waker), (second, second_waker)] = [Count::new(), Count::new()];
    let mut sleep = Sleep::new_in(&timers, timers.now() + ms(5));
    for waker in [&first_waker, &first_waker, &second_waker, &second_waker] {
        assert!(poll(&mut sleep, waker).is_pending());
    }
    assert_eq!(Arc::strong_count(&first), 2, "the waker of the first task was dropped");
    assert_eq!(Arc::strong_count(&second), 3, "that of the second is kept once");
    time.advance(ms(5));
    assert_eq!((first.get(), second.get()), (0, 1));
}

#[test]
fn a_drop_cancels_in_every_state() {
    let (timers, mut time) = Timers::manual();
    let (count, waker) = Count::new();
    let new = || Sleep::new_in(&timers, timers.now() + ms(5));
    let [never_polled, mut waits, mut put_off, mut brought_forward] = [new(), new(), new(), new()];
    for sleep in [&mut waits, &mut put_off, &mut brought_forward] {
        assert!(poll(sleep, &waker).is_pending());
    }
    put_off.reset(timers.now() + ms(50));
    brought_forward.reset(timers.now() + ms(2));
    assert_eq!(timers.pending(), 3);
    drop((never_polled, waits, put_off, brought_forward));
    assert_eq!((timers.pending(), time.next_expiration()), (0, None));
    assert_eq!(Arc::strong_count(&count), 2, "their wakers are gone");

    let [mut fired, mut over, mut begins_anew] = [new(), new(), new()];
    for sleep in [&mut fired, &mut over, &mut begins_anew] {
        assert!(poll(sleep, &waker).is_pending());
    }
    time.advance(ms(5));
    assert_eq!(count.get(), 3);
    assert!(poll(&mut over, &waker).is_ready());
    begins_anew.reset(timers.now() + ms(5));
    assert!(poll(&mut begins_anew, &waker).is_pending());
    assert_eq!(timers.pending(), 1);
    drop((fired, over, begins_anew));
    time.advance(ms(5));
    assert_eq!((timers.pending(), count.get()), (0, 3));
}

#[test]
fn a_reset_moves_the_deadline_and_keeps_the_waker() {
    let (timers, mut time) = Timers::manual();
    let (count, waker) = Count::new();
    let start = timers.now();
    let mut sleep = Sleep::new_in(&timers, start + ms(100));
    sleep.reset(start + ms(50));
    assert!(poll(&mut sleep, &waker).is_pending());
    sleep.reset(start + ms(20));
    assert_eq!(sleep.deadline(), start + ms(20));
    sleep.reset(start + ms(200));
    sleep.reset(start + ms(70));
    for (now_ms, woken) in [(20, 0), (50, 0), (69, 0), (70, 1), (300, 1)] {
        time.advance_to(start + ms(now_ms));
        assert_eq!(count.get(), woken, "at {now_ms} ms");
    }
    assert!(sleep.is_elapsed());
}

#[test]
fn a_reset_to_the_past_fires_at_the_next_turn() {
    let (timers, mut time) = Timers::manual();
    let (count, waker) = Count::new();
    time.advance(ms(500));
    let mut sleep = Sleep::new_in(&timers, timers.now() + ms(100));
    assert!(poll(&mut sleep, &waker).is_pending());
    sleep.reset(timers.now() - ms(300));
    time.advance(Duration::ZERO);
    assert_eq!(count.get(), 1);
    assert!(poll(&mut sleep, &waker).is_ready());
}

#[test]
fn a_sleep_that_has_fired_waits_again_after_a_reset() {
    let (timers, mut time) = Timers::manual();
    let (count, waker) = Count::new();
    let mut sleep = Sleep::new_in(&timers, timers.now() + ms(5));
    for round in 1..=3 {
        assert!(poll(&mut sleep, &waker).is_pending());
        time.advance(ms(5));
        assert_eq!(count.get(), round);
        // In the second round nobody has polled it since.
        assert!(round == 2 || poll(&mut sleep, &waker).is_ready());
        sleep.reset(timers.now() + ms(5));
        assert!(!sleep.is_elapsed());
    }
}

#[test]
fn durations_without_end_are_far_away() {
    let (timers, mut time) = Timers::manual();
    let _entered = timers.enter();
    let mut sleep = time::sleep(Duration::MAX);
    let mut never = Sleep::new_in(&timers, sleep.deadline() + Duration::from_secs(1 << 31));
    assert!(poll(&mut sleep, Waker::noop()).is_pending());
    assert!(poll(&mut never, Waker::noop()).is_pending());
    let day = Duration::from_secs(24 * 60 * 60);
    time.advance(29 * 365 * day);
    assert!(poll(&mut sleep, Waker::noop()).is_pending());
    time.advance(365 * day);
    assert!(poll(&mut sleep, Waker::noop()).is_ready());
    assert!(poll(&mut never, Waker::noop()).is_pending());
}

#[test]
fn a_waker_may_drop_and_reset_and_make_timers_while_it_is_woken() {
    let (timers, mut time) = Timers::manual();
    let (count, counting) = Count::new();
    let now = timers.now();
    let new = |after_ms| {
        let mut sleep = Sleep::new_in(&timers, now + ms(after_ms));
        assert!(poll(&mut sleep, &counting).is_pending());
        sleep
    };
    // One that fires together with it, one that would fire later; and one that is put off.
    let others = Mutex::new((vec![new(5), new(9)], new(8), Vec::new()));
    let others = Arc::new(others);
    let waker = {
        let (others, timers, counting) = (Arc::clone(&others), timers.clone(), counting.clone());
        waker_fn(move || {
            let mut others = others.lock().unwrap();
            others.0.clear();
            others.1.reset(now + ms(20));
            let mut made = Sleep::new_in(&timers, now + ms(30));
            assert!(poll(&mut made, &counting).is_pending());
            others.2.push(made);
        })
    };
    let mut sleep = Sleep::new_in(&timers, now + ms(5));
    assert!(poll(&mut sleep, &waker).is_pending());
    time.advance_to(now + ms(5));
    // The first of the others had fired by then.
    assert_eq!((count.get(), timers.pending()), (1, 2));
    time.advance_to(now + ms(19));
    assert_eq!(count.get(), 1);
    time.advance_to(now + ms(20));
    assert_eq!(count.get(), 2);
    time.advance_to(now + ms(30));
    assert_eq!((count.get(), timers.pending()), (3, 0));
}

#[test]
fn a_waker_that_panics_harms_no_other_timer() {
    let (timers, mut time) = Timers::manual();
    let (count, waker) = Count::new();
    let panics = waker_fn(|| std::panic::resume_unwind(Box::new("on purpose")));
    let mut sleeps = [&waker, &panics, &waker].map(|waker| {
        let mut sleep = Sleep::new_in(&timers, timers.now() + ms(5));
        assert!(poll(&mut sleep, waker).is_pending());
        sleep
    });
    time.advance(ms(5));
    assert_eq!(count.get(), 2);
    assert!(sleeps.iter_mut().all(|sleep| poll(sleep, &waker).is_ready()));
}

#[test]
fn a_million_timers_wait_and_fire() {
    const TIMERS: u64 = if cfg!(miri) { 200 } else { 1_000_000 };
    let (timers, mut time) = Timers::manual();
    let (count, waker) = Count::new();
    let start = timers.now();
    let mut sleeps: Vec<_> = (0..TIMERS)
        .map(|n| {
            let mut sleep = Sleep::new_in(&timers, start + ms(n % 100_000 + 1));
            assert!(poll(&mut sleep, &waker).is_pending());
            sleep
        })
        .collect();
    assert_eq!(timers.pending(), TIMERS as usize);
    time.advance_to(start + ms(50_000));
    assert_eq!(count.get(), sleeps.iter().filter(|sleep| sleep.is_elapsed()).count());
    // Every other one of the rest is cancelled, and nothing is left in the end.
    let waited = timers.pending();
    let mut keep = false;
    sleeps.retain(|sleep| {
        keep = !keep;
        keep || sleep.is_elapsed()
    });
    assert!(timers.pending() < waited || cfg!(miri));
    time.advance_to(start + ms(100_000));
    assert_eq!((count.get(), timers.pending()), (sleeps.len(), 0));
}

#[test]
fn a_sleep_may_be_polled_and_dropped_on_threads_outside_of_the_runtime() {
    let (timers, mut time) = Timers::manual();
    let entered = timers.enter();
    let mut sleep = time::sleep(ms(5));
    drop(entered);
    let (count, waker) = Count::new();
    let mut sleep = thread::spawn(move || {
        assert!(poll(&mut sleep, &waker).is_pending());
        sleep
    })
    .join()
    .unwrap();
    time.advance(ms(5));
    assert_eq!(count.get(), 1);
    thread::spawn(move || assert!(poll(&mut sleep, Waker::noop()).is_ready())).join().unwrap();
}

#[test]
fn the_timers_entered_last_are_current_until_they_are_left() {
    let [(outer, mut outer_time), (inner, _time)] = [Timers::manual(), Timers::manual()];
    outer_time.advance(ms(1_000_000));
    let entered_outer = outer.enter();
    let entered_inner = inner.enter();
    assert_eq!(time::now(), inner.now());
    drop(entered_inner);
    assert_eq!(time::now(), outer.now());
    // Left in the wrong order: the outer takes the inner with it.
    let entered_inner = inner.enter();
    drop(entered_outer);
    assert!(catch_unwind(time::now).is_err());
    let _entered_outer = outer.enter();
    drop(entered_inner);
    assert_eq!(time::now(), outer.now(), "which does not take what came after it");
}

#[test]
fn outside_of_a_runtime_the_panic_says_so() {
    let calls: [fn(); 6] = [
        || drop(time::sleep(ms(1))),
        || drop(time::sleep_until(std::time::Instant::now())),
        || drop(time::timeout(ms(1), async {})),
        || drop(time::timeout_at(std::time::Instant::now(), async {})),
        || drop(time::interval(ms(1))),
        || drop(time::interval_at(std::time::Instant::now(), ms(1))),
    ];
    for call in calls {
        let panic = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        let message = panic.downcast_ref::<&str>().expect("a message without values");
        assert!(message.contains("outside of a runtime"), "{message}");
    }
}

#[test]
fn futures_may_go_to_other_threads_and_need_not_stay_where_they_are() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<Timers>();
    check::<Sleep>();
    check::<time::Interval>();
    check::<time::Timeout<std::future::Ready<()>>>();
    check::<time::ManualTime>();
}
