//! Models of sleeping and waking that loom runs in every order of their threads' steps:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_`.
//!
//! A lost wake-up is a thread that sleeps for ever, which loom reports as a deadlock. Events are
//! counted by relaxed steps: the handshake must order them by itself. Threads wait as those of
//! `Readiness` do, without a bound on the time.

use super::{Place, Sleepers};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::time::Instant;

fn model(preemptions_max: usize, run: impl Fn(&Arc<World>) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions_max));
    let start = Instant::now();
    builder.check(move || run(&Arc::new(World::new(start))));
}

/// Lanes, as many as the model has threads for, the clerk, and what they wait for.
struct World {
    sleepers: Sleepers,
    /// Events that wait to be taken.
    events: AtomicUsize,
    /// Held by who polls.
    poll: Mutex<()>,
    poller: Mutex<Poller>,
    change: Condvar,
    start: Instant,
}

#[derive(Default)]
struct Poller {
    is_notified: bool,
    /// Sockets that have become ready and that nobody has found.
    ready: usize,
}

impl World {
    fn new(start: Instant) -> Self {
        World {
            sleepers: Sleepers::new(2),
            events: AtomicUsize::new(0),
            poll: Mutex::new(()),
            poller: Mutex::default(),
            change: Condvar::new(),
            start,
        }
    }

    fn notify(&self) {
        self.poller.lock().unwrap().is_notified = true;
        self.change.notify_one();
    }

    fn push(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.sleepers.call(|| self.notify());
    }

    fn make_ready(&self) {
        self.poller.lock().unwrap().ready += 1;
        self.change.notify_one();
    }

    fn has_events(&self) -> bool {
        self.events.load(Ordering::Relaxed) > 0
    }

    fn take(&self) -> bool {
        let one_less = |events: usize| events.checked_sub(1);
        self.events.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    /// The poller's wait, if a lane is given, and else a look; says how many sockets it has found.
    fn poll(&self, lane: Option<usize>) -> usize {
        let _turn = self.poll.lock().unwrap();
        if lane.is_some_and(|lane| !self.sleepers.begin_poll(lane)) {
            return 0;
        }
        let mut poller = self.poller.lock().unwrap();
        while lane.is_some() && !poller.is_notified && poller.ready == 0 {
            poller = self.change.wait(poller).unwrap();
        }
        poller.is_notified = false;
        let found = std::mem::take(&mut poller.ready);
        drop(poller);
        if let Some(lane) = lane {
            self.sleepers.end_poll(lane);
        }
        self.events.fetch_add(found, Ordering::Relaxed);
        found
    }

    fn wait(&self, lane: usize) {
        let place = self.sleepers.enter(lane, || self.notify());
        if !self.has_events() {
            match place {
                Place::Parks => self.sleepers.park(lane, None),
                Place::Polls => drop(self.poll(Some(lane))),
            }
        }
        self.sleepers.leave(lane, place);
    }

    fn wait_as_clerk(&self) {
        let clerk = self.sleepers.clerk_lane();
        let place = self.sleepers.enter_as_clerk(true, self.start);
        if !self.has_events() {
            match place {
                Place::Parks => self.sleepers.park(clerk, None),
                Place::Polls => {
                    if self.poll(Some(clerk)) > 0 {
                        self.sleepers.call_for_clerk(|| self.notify());
                    }
                }
            }
        }
        self.sleepers.leave_as_clerk();
    }

    /// A look at the sockets, by a thread that takes what it finds; true when that was something.
    fn look(&self) -> bool {
        let has_begun = self.sleepers.begin_look();
        if has_begun {
            self.poll(None);
            self.sleepers.end_look(|| self.notify());
        }
        has_begun && self.take()
    }

    /// What a thread does that comes for one event.
    fn take_one(&self, lane: usize) {
        while !self.take() {
            self.wait(lane);
        }
    }

    fn take_one_as_clerk(&self) {
        while !self.take() {
            self.wait_as_clerk();
        }
    }
}

/// Does `f` on another thread.
fn elsewhere(world: &Arc<World>, f: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || f(&world))
}

#[test]
fn loom_an_event_reaches_a_lane_that_goes_to_sleep() {
    model(5, |world| {
        let lane = elsewhere(world, |world| world.take_one(0));
        world.push();
        lane.join().unwrap();
    });
}

#[test]
fn loom_events_reach_as_many_lanes() {
    model(2, |world| {
        let lanes = [0, 1].map(|lane| elsewhere(world, move |world| world.take_one(lane)));
        world.push();
        world.push();
        lanes.into_iter().for_each(|lane| lane.join().unwrap());
    });
}

#[test]
fn loom_a_lane_that_goes_to_sleep_during_a_look_finds_the_next_ready_socket() {
    model(4, |world| {
        world.make_ready();
        let lane = elsewhere(world, |world| world.take_one(0));
        if world.look() {
            world.make_ready();
        }
        lane.join().unwrap();
    });
}

#[test]
fn loom_a_clerk_that_goes_to_sleep_during_a_look_finds_the_next_ready_socket() {
    model(4, |world| {
        world.make_ready();
        let clerk = elsewhere(world, World::take_one_as_clerk);
        if world.look() {
            world.make_ready();
        }
        clerk.join().unwrap();
    });
}

#[test]
fn loom_an_event_reaches_the_clerk_where_no_lane_is() {
    model(5, |world| {
        let clerk = elsewhere(world, World::take_one_as_clerk);
        world.push();
        clerk.join().unwrap();
    });
}

#[test]
fn loom_a_clerk_that_polls_gives_way_to_a_lane() {
    model(3, |world| {
        let clerk = elsewhere(world, |world| world.wait_as_clerk());
        let lane = elsewhere(world, |world| {
            world.take_one(0);
            // It goes on to its handler.
            world.sleepers.wake(world.sleepers.clerk_lane(), || world.notify());
        });
        world.push();
        lane.join().unwrap();
        clerk.join().unwrap();
    });
}

#[test]
fn loom_what_the_clerk_finds_reaches_a_lane_that_goes_to_sleep_meanwhile() {
    model(3, |world| {
        let clerk = elsewhere(world, |world| world.wait_as_clerk());
        let lane = elsewhere(world, |world| {
            world.take_one(0);
            world.sleepers.wake(world.sleepers.clerk_lane(), || world.notify());
        });
        world.make_ready();
        lane.join().unwrap();
        clerk.join().unwrap();
    });
}

#[test]
fn loom_a_look_does_not_wait_for_a_clerk_that_polls() {
    model(4, |world| {
        let clerk = elsewhere(world, World::take_one_as_clerk);
        assert!(!world.look(), "there is nothing to find");
        world.push();
        clerk.join().unwrap();
    });
}
