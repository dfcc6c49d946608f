//! Models of the driver's handshake that loom runs in every order of its threads' steps:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_alarm`.
//!
//! Time stands still: no sleep ends by itself. So a timer that is due, and for which nobody rings, is
//! a driver that sleeps for ever, which loom reports as a deadlock.

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::Alarm;

fn model(preemptions_max: Option<usize>, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(preemptions_max);
    builder.check(run);
}

/// What the driver sleeps on: like `thread::park`, a ring that comes first is kept.
#[derive(Default)]
struct Bed {
    is_rung: Mutex<bool>,
    change: Condvar,
}

impl Bed {
    fn sleep(&self) {
        let mut is_rung = self.is_rung.lock().unwrap();
        while !*is_rung {
            is_rung = self.change.wait(is_rung).unwrap();
        }
        *is_rung = false;
    }

    fn ring(&self) {
        *self.is_rung.lock().unwrap() = true;
        self.change.notify_one();
    }
}

struct Timers<const SHARDS: usize> {
    alarm: Alarm,
    /// The earliest deadline of each shard.
    shards: [Mutex<Option<u64>>; SHARDS],
    bed: Bed,
}

impl<const SHARDS: usize> Timers<SHARDS> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            alarm: Alarm::silent(),
            shards: std::array::from_fn(|_| Mutex::new(None)),
            bed: Bed::default(),
        })
    }

    fn insert(&self, shard: usize, deadline: u64) {
        let mut earliest = self.shards[shard].lock().unwrap();
        *earliest = Some(earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        drop(earliest);
        if self.alarm.claim(deadline) {
            self.bed.ring();
        }
    }

    /// Does as the driver at the tick `now`, which is that of the earliest timer, until it sees it.
    fn drive(&self, now: u64) {
        loop {
            self.alarm.announce();
            let looks = self.shards.each_ref().map(|shard| *shard.lock().unwrap());
            let next = looks.into_iter().flatten().min();
            if next == Some(now) {
                return;
            }
            self.alarm.sleep_until(next);
            while self.alarm.asleep_until().is_none_or(|until| until > now) {
                self.bed.sleep();
            }
            self.alarm.rise();
        }
    }
}

#[test]
fn loom_alarm_a_timer_is_never_missed() {
    model(None, || {
        let timers = Timers::<1>::new();
        let other = Arc::clone(&timers);
        let driver = thread::spawn(move || other.drive(5));
        timers.insert(0, 5);
        driver.join().unwrap();
    });
}

#[test]
fn loom_alarm_an_earlier_timer_after_a_later_one_is_never_missed() {
    model(Some(4), || {
        let timers = Timers::<1>::new();
        let other = Arc::clone(&timers);
        let driver = thread::spawn(move || other.drive(5));
        timers.insert(0, 9);
        timers.insert(0, 5);
        driver.join().unwrap();
    });
}

#[test]
fn loom_alarm_timers_of_two_threads_are_never_missed() {
    model(Some(3), || {
        let timers = Timers::<2>::new();
        let spawn = |run: fn(&Timers<2>)| {
            let timers = Arc::clone(&timers);
            thread::spawn(move || run(&timers))
        };
        let driver = spawn(|timers| timers.drive(3));
        let other = spawn(|timers| timers.insert(1, 5));
        timers.insert(0, 3);
        driver.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn loom_alarm_two_inserters_with_two_timers_each_miss_nothing() {
    model(Some(2), || {
        let timers = Timers::<2>::new();
        let spawn = |run: fn(&Timers<2>)| {
            let timers = Arc::clone(&timers);
            thread::spawn(move || run(&timers))
        };
        let driver = spawn(|timers| timers.drive(2));
        let other = spawn(|timers| {
            timers.insert(1, 7);
            timers.insert(1, 2);
        });
        timers.insert(0, 9);
        timers.insert(0, 4);
        driver.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn loom_alarm_who_relies_on_the_ring_of_another_is_not_forgotten() {
    model(Some(4), || {
        let timers = Timers::<2>::new();
        let spawn = |run: fn(&Timers<2>)| {
            let timers = Arc::clone(&timers);
            thread::spawn(move || run(&timers))
        };
        let driver = spawn(|timers| timers.drive(5));
        // The same tick: one of them rings, or none.
        let other = spawn(|timers| timers.insert(1, 5));
        timers.insert(0, 5);
        driver.join().unwrap();
        other.join().unwrap();
    });
}
