//! The thread that serves the timers, by the system's clock: timers of a few milliseconds, and
//! waiting for them to fire.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::super::{self as time, Sleep, Timers};
use super::{Count, DEADLINE, block_on, ms, poll, waker_fn, waker_to};

/// Gives other threads the core until it is so.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "waited in vain");
        thread::yield_now();
    }
}

#[test]
fn futures_wait_for_the_time_that_they_say_and_never_less() {
    let timers = Timers::new();
    let _entered = timers.enter();
    block_on(async {
        for wait in [0, 1, 999, 1_001, 3_500].map(Duration::from_micros) {
            let began = Instant::now();
            time::sleep(wait).await;
            assert!(began.elapsed() >= wait);
            let began = Instant::now();
            let timeout = time::timeout(wait, std::future::pending::<()>());
            assert!(timeout.await.is_err() && began.elapsed() >= wait);
        }
        let start = Instant::now();
        let mut interval = time::interval_at(start, ms(2));
        for n in 0..5 {
            assert_eq!(interval.tick().await, start + n * ms(2));
            assert!(Instant::now() >= start + n * ms(2));
        }
    });
    timers.shut_down();
}

#[test]
fn an_earlier_timer_is_not_kept_by_a_driver_that_sleeps_for_a_later_one() {
    let timers = Timers::with_shards(2);
    let mut later = Sleep::new_in(&timers, timers.now() + Duration::from_secs(3600));
    assert!(poll(&mut later, Waker::noop()).is_pending());
    // Each from a thread, and so from a shard, of its own; and whatever the driver is at.
    for after_ms in [5, 3, 0, 1, 4, 2] {
        thread::scope(|scope| {
            scope.spawn(|| block_on(Sleep::new_in(&timers, timers.now() + ms(after_ms))));
        });
    }
    // A reset to an earlier deadline rings too.
    later.reset(timers.now() + ms(3));
    block_on(&mut later);
    assert_eq!(timers.pending(), 0);
    timers.shut_down();
}

#[test]
fn without_a_timer_there_is_no_thread_and_then_it_sleeps_without_end() {
    let timers = Timers::with_shards(4);
    assert!(!timers.driver().sleeps_without_end(), "there is none yet");
    block_on(Sleep::new_in(&timers, timers.now() + ms(1)));
    wait_until(|| timers.driver().sleeps_without_end());
    // From there it is rung again.
    block_on(Sleep::new_in(&timers, timers.now() + ms(1)));
    let mut cancelled = Sleep::new_in(&timers, timers.now() + ms(3));
    assert!(poll(&mut cancelled, Waker::noop()).is_pending());
    drop(cancelled);
    wait_until(|| timers.driver().sleeps_without_end());
    timers.shut_down();
}

#[test]
fn what_is_pending_when_the_timers_are_shut_down_never_fires() {
    let timers = Timers::new();
    let (count, waker) = Count::new();
    let new = |after_ms| Sleep::new_in(&timers, timers.now() + ms(after_ms));
    block_on(new(1));
    let mut pending = new(100);
    let deadline = pending.deadline();
    assert!(poll(&mut pending, &waker).is_pending());
    timers.shut_down();
    if count.get() == 0 {
        let mut later = new(1);
        assert!(poll(&mut later, &waker).is_pending());
        wait_until(|| Instant::now() > deadline.max(later.deadline()));
        assert!(poll(&mut pending, &waker).is_pending() && poll(&mut later, &waker).is_pending());
        pending.reset(timers.now());
        later.reset(timers.now() + ms(1));
        assert_eq!(count.get(), 0);
        assert!(poll(&mut Sleep::new_in(&timers, deadline), &waker).is_ready(), "it has passed");
    }
    timers.shut_down();
    drop(timers);
    drop(pending);
    assert_eq!(Arc::strong_count(&count), 2);
}

#[test]
fn timers_that_never_had_a_thread_shut_down_too() {
    let timers = Timers::new();
    timers.shut_down();
    let mut sleep = Sleep::new_in(&timers, timers.now() + Duration::from_secs(60));
    assert!(poll(&mut sleep, Waker::noop()).is_pending());
    drop(timers);
    assert!(poll(&mut sleep, Waker::noop()).is_pending());
}

#[test]
fn the_thread_ends_with_the_last_handle_even_if_a_waker_drops_it() {
    let timers = Timers::new();
    let (sender, ended) = mpsc::channel();
    // Dropped at the end of the driver's thread.
    struct Ended(mpsc::Sender<&'static str>);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.send("ended");
        }
    }
    thread_local! {
        static ENDED: std::cell::RefCell<Option<Ended>> = const { std::cell::RefCell::new(None) };
    }
    let last = Arc::new(Mutex::new(Some(timers.clone())));
    let waker = waker_fn(move || {
        ENDED.set(Some(Ended(sender.clone())));
        let timers = last.lock().unwrap().take().expect("woken once");
        // From its own thread it cannot wait for it.
        timers.shut_down();
        let _ = sender.send("woken");
    });
    let mut sleep = Sleep::new_in(&timers, timers.now() + ms(1));
    drop(timers);
    assert!(poll(&mut sleep, &waker).is_pending());
    assert_eq!(ended.recv_timeout(DEADLINE), Ok("woken"));
    assert_eq!(ended.recv_timeout(DEADLINE), Ok("ended"));
    assert!(poll(&mut sleep, &waker).is_ready());
}

#[test]
fn a_waker_that_parks_on_the_driver_s_thread_keeps_no_other_timer() {
    let timers = Timers::with_shards(2);
    let (sender, fired) = mpsc::channel();
    let parks = {
        let sender = sender.clone();
        waker_fn(move || {
            // Uses up a ring if there is one, and goes on if there is none.
            thread::park_timeout(ms(1));
            let _ = sender.send(0);
        })
    };
    for round in 0..20 {
        let now = timers.now();
        let mut first = Sleep::new_in(&timers, now + ms(1));
        let mut second = Sleep::new_in(&timers, now + ms(1 + round % 3));
        assert!(poll(&mut first, &parks).is_pending());
        let second_is_pending = poll(&mut second, &waker_to(&sender, 1)).is_pending();
        for _ in 0..1 + usize::from(second_is_pending) {
            assert!(fired.recv_timeout(DEADLINE).is_ok());
        }
    }
    timers.shut_down();
}

/// Knows how often it was woken, and that it was not before its time.
struct Watched {
    not_before: Mutex<Instant>,
    woken: AtomicUsize,
    total: Arc<AtomicUsize>,
}

impl Wake for Watched {
    fn wake(self: Arc<Self>) {
        assert!(Instant::now() >= *self.not_before.lock().unwrap(), "early");
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.total.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn while_threads_insert_cancel_and_reset_every_timer_fires_once_or_was_cancelled() {
    const THREADS: u64 = 8;
    const TIMERS: u64 = if cfg!(miri) { 20 } else { 5_000 };
    let timers = Timers::with_shards(4);
    let total = Arc::new(AtomicUsize::new(0));
    let run = |thread: u64| {
        // A sequence of its own for each thread; any good one will do.
        let mut state = thread + 1;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut kept = Vec::new();
        let mut cancelled = Vec::new();
        for _ in 0..TIMERS {
            let deadline = timers.now() + Duration::from_micros(100 + random(20_000));
            let watched = Arc::new(Watched {
                not_before: Mutex::new(deadline),
                woken: AtomicUsize::new(0),
                total: Arc::clone(&total),
            });
            let waker = Waker::from(Arc::clone(&watched));
            let mut sleep = Sleep::new_in(&timers, deadline);
            if poll(&mut sleep, &waker).is_ready() {
                continue;
            }
            match random(4) {
                0 => {
                    drop(sleep);
                    cancelled.push(watched);
                    continue;
                }
                1 => {
                    // It may fire at once, or have fired.
                    *watched.not_before.lock().unwrap() = timers.now();
                    sleep.reset(timers.now() + Duration::from_micros(random(1_000)));
                }
                2 => sleep.reset(deadline + Duration::from_micros(random(20_000))),
                _ => {}
            }
            kept.push((sleep, watched));
            // Now and then one of long ago.
            if random(3) == 0 {
                let index = random(kept.len() as u64) as usize;
                cancelled.push(kept.swap_remove(index).1);
            }
        }
        (kept, cancelled)
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (_, watched) in ended.iter().flat_map(|(kept, _)| kept) {
        wait_until(|| watched.woken.load(Ordering::SeqCst) > 0);
    }
    // After this nothing is under way.
    timers.shut_down();
    assert_eq!(timers.pending(), 0);
    let mut woken = 0;
    for (kept, cancelled) in ended {
        for (mut sleep, watched) in kept {
            assert_eq!(watched.woken.load(Ordering::SeqCst), 1);
            assert!(poll(&mut sleep, Waker::noop()).is_ready());
            woken += 1;
        }
        for watched in cancelled {
            let times = watched.woken.load(Ordering::SeqCst);
            assert!(times <= 1, "a timer that was cancelled at last fired {times} times");
            woken += times;
        }
    }
    assert_eq!(total.load(Ordering::SeqCst), woken);
}
