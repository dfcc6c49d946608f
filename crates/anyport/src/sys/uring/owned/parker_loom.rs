//! Models of the owner's waking that loom runs in every order of its threads' steps:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_`.
//!
//! A lost wake-up is an owner that sleeps for ever, which loom reports as a deadlock. What is to be
//! done is published by relaxed stores: the handshake must order it by itself.

use super::Parker;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

fn model(preemptions_max: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions_max));
    builder.check(run);
}

/// The messages in a ring: who sleeps on it wakes when there is one, which stays until it is taken.
#[derive(Default)]
struct Ring {
    messages: Mutex<u32>,
    change: Condvar,
}

impl Ring {
    fn send(&self) -> bool {
        *self.messages.lock().unwrap() += 1;
        self.change.notify_one();
        true
    }

    fn sleep(&self) {
        let mut messages = self.messages.lock().unwrap();
        while *messages == 0 {
            messages = self.change.wait(messages).unwrap();
        }
    }

    /// True when there were messages.
    fn reap(&self) -> bool {
        std::mem::take(&mut *self.messages.lock().unwrap()) > 0
    }
}

/// An owner's lane, and what there is for it to do.
struct Lane {
    parker: Parker,
    ring: Ring,
    work: [AtomicBool; 2],
}

impl Lane {
    fn new() -> Arc<Self> {
        Arc::new(Lane { parker: Parker::new(), ring: Ring::default(), work: Default::default() })
    }

    fn publish(&self, work: usize) {
        self.work[work].store(true, Ordering::Relaxed);
        self.parker.wake(|| self.ring.send());
    }

    /// Waits until all of it is there; `prepare` is called before each sleep.
    fn wait_for(&self, work: &[usize], prepare: impl Fn()) {
        while !work.iter().all(|&i| self.work[i].load(Ordering::Relaxed)) {
            self.parker.park(
                || Some(prepare()),
                |(), is_woken| {
                    if !is_woken {
                        self.ring.sleep();
                    }
                },
            );
            self.ring.reap();
        }
    }

    /// What a thread does that takes events from another's lane.
    fn steal(&self) {
        if self.ring.reap() {
            self.parker.pass_on(|| self.ring.send());
        }
    }
}

/// Does `f` on another thread.
fn elsewhere(lane: &Arc<Lane>, f: impl FnOnce(&Lane) + 'static) -> thread::JoinHandle<()> {
    let lane = Arc::clone(lane);
    thread::spawn(move || f(&lane))
}

#[test]
fn loom_an_owner_never_misses_a_wake_up() {
    loom::model(|| {
        let lane = Lane::new();
        let waker = elsewhere(&lane, |lane| lane.publish(0));
        lane.wait_for(&[0], || {});
        waker.join().unwrap();
    });
}

#[test]
fn loom_an_owner_that_waits_twice_misses_neither_wake_up() {
    model(3, || {
        let lane = Lane::new();
        let waker = elsewhere(&lane, |lane| {
            lane.publish(0);
            lane.publish(1);
        });
        lane.wait_for(&[0], || {});
        lane.wait_for(&[1], || {});
        waker.join().unwrap();
    });
}

#[test]
fn loom_an_owner_never_misses_one_of_two_wakers() {
    model(3, || {
        let lane = Lane::new();
        let first = elsewhere(&lane, |lane| lane.publish(0));
        let second = elsewhere(&lane, |lane| lane.publish(1));
        lane.wait_for(&[0, 1], || {});
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn loom_a_message_that_the_owner_takes_on_its_way_to_sleep_counts() {
    loom::model(|| {
        let lane = Lane::new();
        let waker = elsewhere(&lane, |lane| lane.publish(0));
        let other = Arc::clone(&lane);
        lane.wait_for(&[0], move || {
            other.ring.reap();
        });
        waker.join().unwrap();
    });
}

#[test]
fn loom_a_thief_passes_the_message_on() {
    model(4, || {
        let lane = Lane::new();
        let waker = elsewhere(&lane, |lane| lane.publish(0));
        let thief = elsewhere(&lane, Lane::steal);
        lane.wait_for(&[0], || {});
        waker.join().unwrap();
        thief.join().unwrap();
    });
}

#[test]
fn loom_what_a_thief_passes_on_is_the_wake_up_of_every_waker() {
    // The second waker relies on the message of the first, which the thief takes.
    model(2, || {
        let lane = Lane::new();
        let first = elsewhere(&lane, |lane| lane.publish(0));
        let second = elsewhere(&lane, |lane| lane.publish(1));
        let thief = elsewhere(&lane, Lane::steal);
        lane.wait_for(&[0, 1], || {});
        for thread in [first, second, thief] {
            thread.join().unwrap();
        }
    });
}

#[test]
fn loom_after_a_message_that_could_not_be_sent_the_next_one_is() {
    loom::model(|| {
        let lane = Lane::new();
        let waker = elsewhere(&lane, |lane| {
            lane.work[0].store(true, Ordering::Relaxed);
            lane.parker.wake(|| false);
            lane.parker.wake(|| lane.ring.send());
        });
        lane.wait_for(&[0], || {});
        waker.join().unwrap();
    });
}
