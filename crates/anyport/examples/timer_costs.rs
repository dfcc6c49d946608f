//! What a timer costs, alone and beside a million others.
//!
//! `cargo run --release --example timer_costs`

use anyport::rt::time::{Sleep, Timers};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

const TIMERS: usize = 1_000_000;

fn timed<T>(what: &str, timers: usize, run: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let out = run();
    println!("{what:<44} {:7.1} ns a timer", began.elapsed().as_nanos() as f64 / timers as f64);
    out
}

fn sleeps(timers: &Timers, count: usize) -> Vec<Sleep> {
    let now = timers.now();
    (0..count)
        .map(|n| Sleep::new_in(timers, now + Duration::from_millis(10_000 + n as u64 % 60_000)))
        .collect()
}

fn insert(sleeps: &mut [Sleep]) {
    for sleep in sleeps {
        let poll = Pin::new(sleep).poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
    }
}

fn main() {
    let timers = Timers::new();
    for round in ["cold", "warm"] {
        println!("-- {round}");
        let mut all = timed("make", TIMERS, || sleeps(&timers, TIMERS));
        timed("insert a million", TIMERS, || insert(&mut all));
        assert_eq!(timers.pending(), TIMERS);
        let later = timers.now() + Duration::from_secs(90);
        timed("reset each to later", TIMERS, || all.iter_mut().for_each(|s| s.reset(later)));
        let earlier = timers.now() + Duration::from_secs(80);
        timed("reset each to earlier", TIMERS, || all.iter_mut().for_each(|s| s.reset(earlier)));
        timed("poll each again", TIMERS, || insert(&mut all));
        timed("cancel a million", TIMERS, || drop(all));
        assert_eq!(timers.pending(), 0);
    }
    println!("-- beside a million that wait");
    let mut waiting = sleeps(&timers, TIMERS);
    insert(&mut waiting);
    timed("make, insert and cancel, one by one", TIMERS, || {
        for _ in 0..TIMERS {
            insert(&mut sleeps(&timers, 1));
        }
    });
    for threads in [2, 4] {
        let what = format!("the same on {threads} threads, wall time");
        timed(&what, TIMERS * threads, || {
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| (0..TIMERS).for_each(|_| insert(&mut sleeps(&timers, 1))));
                }
            });
        });
    }
    drop(waiting);
    timers.shut_down();

    println!("-- a million fire, by hand");
    let (timers, mut time) = Timers::manual();
    let mut waiting = sleeps(&timers, TIMERS);
    insert(&mut waiting);
    timed("in leaps of a second", TIMERS, || {
        (0..70).for_each(|_| time.advance(Duration::from_secs(1)));
    });
    assert_eq!(timers.pending(), 0);
}
