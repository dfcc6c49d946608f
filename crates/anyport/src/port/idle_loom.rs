//! Models of the sleep handshake that loom runs in every order of its threads' steps:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_`.
//!
//! A lost wake-up is a sleeper that sleeps for ever, which loom reports as a deadlock.

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::super::queue::BoundedQueue;
use super::IdleStack;

fn model(preemptions_max: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions_max));
    builder.check(run);
}

/// What a thread sleeps on: like `thread::park`, a wake-up that comes first is kept.
#[derive(Default)]
struct Bed {
    is_woken: Mutex<bool>,
    change: Condvar,
}

impl Bed {
    fn sleep(&self) {
        let mut is_woken = self.is_woken.lock().unwrap();
        while !*is_woken {
            is_woken = self.change.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }

    fn wake(&self) {
        *self.is_woken.lock().unwrap() = true;
        self.change.notify_one();
    }
}

struct Port {
    queue: BoundedQueue<u32>,
    idle: IdleStack,
    beds: [Bed; 2],
}

impl Port {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: BoundedQueue::new(2),
            idle: IdleStack::new(),
            beds: [Bed::default(), Bed::default()],
        })
    }

    fn post(&self, item: u32) {
        self.queue.push(item).unwrap();
        if let Some(id) = self.idle.claim() {
            self.beds[id as usize].wake();
        }
    }

    /// One item, or `None` when the queue is finished.
    fn get(&self, me: u32) -> Option<u32> {
        loop {
            if let Some(item) = self.queue.pop() {
                return Some(item);
            }
            if self.queue.is_finished() {
                return None;
            }
            self.idle.announce(me, None);
            if self.queue.is_empty() && !self.queue.is_closed() {
                self.beds[me as usize].sleep();
            }
            self.idle.withdraw(me);
        }
    }

    fn close(&self) {
        self.queue.close();
        for id in self.idle.claim_all() {
            self.beds[id as usize].wake();
        }
    }
}

#[test]
fn loom_a_sleeper_never_misses_what_a_flag_says() {
    // No preemption bound, and a relaxed flag: the handshake must order it by itself.
    loom::model(|| {
        let shared = Arc::new((AtomicBool::new(false), IdleStack::new(), Bed::default()));
        let other = Arc::clone(&shared);
        let poster = thread::spawn(move || {
            let (work, idle, bed) = &*other;
            work.store(true, Ordering::Relaxed);
            if idle.claim().is_some() {
                bed.wake();
            }
        });
        let (work, idle, bed) = &*shared;
        idle.announce(0, None);
        if !work.load(Ordering::Relaxed) {
            bed.sleep();
        }
        idle.withdraw(0);
        assert!(work.load(Ordering::Relaxed));
        poster.join().unwrap();
    });
}

#[test]
fn loom_a_sleeper_never_misses_a_posted_item() {
    model(4, || {
        let port = Port::new();
        let other = Arc::clone(&port);
        let sleeper = thread::spawn(move || other.get(0));
        port.post(1);
        assert_eq!(sleeper.join().unwrap(), Some(1));
    });
}

#[test]
fn loom_a_sleeper_gets_the_items_of_two_posters() {
    model(3, || {
        let port = Port::new();
        let other = Arc::clone(&port);
        let sleeper = thread::spawn(move || [other.get(0).unwrap(), other.get(0).unwrap()]);
        let other = Arc::clone(&port);
        let poster = thread::spawn(move || other.post(1));
        port.post(2);
        assert!(matches!(sleeper.join().unwrap(), [1, 2] | [2, 1]));
        poster.join().unwrap();
    });
}

#[test]
fn loom_two_sleepers_and_two_posters_each_get_an_item() {
    // Items are only counted here: two threads that spin in `pop` for the same push would give
    // loom an endless tree of turns. That `pop` hides no finished push is a model of the queue.
    struct Port {
        items: AtomicUsize,
        idle: IdleStack,
        beds: [Bed; 2],
    }
    impl Port {
        fn post(&self) {
            self.items.fetch_add(1, Ordering::Relaxed);
            self.wake_one();
        }

        fn wake_one(&self) {
            if let Some(id) = self.idle.claim() {
                self.beds[id as usize].wake();
            }
        }

        /// Looks, withdraws, and then takes.
        fn get(&self, me: u32) {
            while !self.takes_one() {
                self.idle.announce(me, None);
                if self.items.load(Ordering::Relaxed) == 0 {
                    self.beds[me as usize].sleep();
                }
                self.idle.withdraw(me);
            }
        }

        /// Takes while it is listed, and then hands a claim on.
        fn get_while_listed(&self, me: u32) {
            while !self.takes_one() {
                self.idle.announce(me, None);
                let has_taken = self.takes_one();
                if !has_taken {
                    self.beds[me as usize].sleep();
                }
                let is_claimed = !self.idle.withdraw(me);
                if has_taken {
                    if is_claimed && self.items.load(Ordering::Relaxed) > 0 {
                        self.wake_one();
                    }
                    return;
                }
            }
        }

        fn takes_one(&self) -> bool {
            let take = |items: usize| items.checked_sub(1);
            self.items.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
        }
    }
    for get in [Port::get, Port::get_while_listed] {
        model(2, move || {
            let port = Arc::new(Port {
                items: AtomicUsize::new(0),
                idle: IdleStack::new(),
                beds: [Bed::default(), Bed::default()],
            });
            let spawn = |me| {
                let port = Arc::clone(&port);
                thread::spawn(move || get(&port, me))
            };
            let sleepers = [spawn(0), spawn(1)];
            let other = Arc::clone(&port);
            let poster = thread::spawn(move || other.post());
            port.post();
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
            poster.join().unwrap();
            assert_eq!(port.items.load(Ordering::Relaxed), 0);
        });
    }
}

#[test]
fn loom_closing_wakes_every_sleeper() {
    model(3, || {
        let port = Port::new();
        let spawn = |me| {
            let port = Arc::clone(&port);
            thread::spawn(move || port.get(me))
        };
        let sleepers = [spawn(0), spawn(1)];
        port.close();
        assert_eq!(sleepers.map(|sleeper| sleeper.join().unwrap()), [None, None]);
    });
}

#[test]
fn loom_a_sleeper_is_taken_out_by_itself_or_by_one_waker() {
    loom::model(|| {
        let idle = Arc::new(IdleStack::new());
        idle.announce(5, None);
        let spawn = || {
            let idle = Arc::clone(&idle);
            thread::spawn(move || idle.claim() == Some(5))
        };
        let wakers = [spawn(), spawn()];
        let withdrawn = idle.withdraw(5);
        let claimed = wakers.map(|waker| waker.join().unwrap());
        assert_eq!(usize::from(withdrawn) + claimed.iter().filter(|&&won| won).count(), 1);
        assert_eq!(idle.len_hint(), 0);
    });
}
