//! The threads of a world that is run: real threads, of which one has the turn.
//!
//! Whoever has it keeps it until it waits for something of the world; then the next is chosen by
//! the seed among all that could go on. Only when nobody could does the clock move, to the next
//! thing that is due. So a run is the same each time, up to what threads do with each other by
//! other means than the world's.

use super::lanes::LaneId;
use super::network::SocketId;
use super::state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Condvar};
use std::time::Instant;

/// Names a thread of a world, for ever.
pub(super) type ThreadId = u64;

/// What a thread waits for, beside the end of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing: it lets others go first.
    Turn,
    /// Nothing but the end of its time.
    Time,
    /// An event or a wake-up.
    Lane(LaneId),
    /// To be unparked, by this key.
    Unparked(u64),
    Readable(SocketId),
    Writable(SocketId),
    /// The end of a thread.
    Ended(ThreadId),
    /// The end of all threads but this one.
    AllEnded(ThreadId),
}

/// Who moves the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Clock {
    /// The real one: so much later than then it is so much later than that.
    Real { since: Instant, from: u64 },
    /// Whoever passes the turn on.
    #[default]
    Turns,
}

struct Thread {
    name: String,
    /// `None` while it has the turn.
    wait: Option<(Wait, Option<u64>)>,
    turn: Arc<Condvar>,
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Threads {
    pub(super) clock: Clock,
    pub(super) has_turn: Option<ThreadId>,
    all: BTreeMap<ThreadId, Thread>,
    unparked: BTreeSet<u64>,
    /// Nobody could go on: who waited for what.
    pub(super) stuck: Option<String>,
    /// Threads that ended by a panic that nobody has asked for.
    pub(super) panicked: BTreeMap<ThreadId, String>,
}

impl Threads {
    pub(super) fn takes_turns(&self) -> bool {
        matches!(self.clock, Clock::Turns)
    }

    /// A thread that waits for its first turn.
    pub(super) fn add(&mut self, id: ThreadId, name: String) -> Arc<Condvar> {
        let turn = Arc::new(Condvar::new());
        let thread = Thread { name, wait: Some((Wait::Turn, None)), turn: Arc::clone(&turn) };
        self.all.insert(id, thread);
        turn
    }

    pub(super) fn remove(&mut self, id: ThreadId) -> Option<String> {
        self.all.remove(&id).map(|thread| thread.name)
    }

    /// From now on the thread waits; `None`: it goes on.
    pub(super) fn set_wait(&mut self, id: ThreadId, wait: Option<(Wait, Option<u64>)>) {
        if let Some(thread) = self.all.get_mut(&id) {
            thread.wait = wait;
        }
    }

    pub(super) fn turn_of(&self, id: ThreadId) -> Option<Arc<Condvar>> {
        self.all.get(&id).map(|thread| Arc::clone(&thread.turn))
    }

    pub(super) fn unpark(&mut self, key: u64) {
        self.unparked.insert(key);
    }

    /// Takes the key's mark off; true when there was one.
    pub(super) fn take_unparked(&mut self, key: u64) -> bool {
        self.unparked.remove(&key)
    }

    /// True when the thread waits for something other than its turn.
    pub(super) fn is_asleep(&self, id: ThreadId) -> bool {
        let wait = self.all.get(&id).and_then(|thread| thread.wait);
        wait.is_some_and(|(wait, _)| wait != Wait::Turn)
    }

    /// From now on threads go side by side, and the clock goes by itself: for the end of a run that
    /// has failed.
    pub(super) fn let_go(&mut self, now: u64) {
        if self.takes_turns() {
            self.clock = Clock::Real { since: Instant::now(), from: now };
            self.has_turn = None;
            for thread in self.all.values() {
                thread.turn.notify_all();
            }
        }
    }
}

/// What a turn costs: so threads that only look at something bring the clock forward as well.
const TURN_MAX_NS: usize = 1000;

impl State {
    /// True when there is what is waited for.
    pub(super) fn is_over(&self, wait: Wait) -> bool {
        match wait {
            Wait::Turn => true,
            Wait::Time => false,
            Wait::Lane(at) => {
                let lane = self.ports.get(&at.port).and_then(|port| port.lanes.get(at.lane));
                lane.is_none_or(|lane| lane.is_woken || !lane.events.is_empty())
            }
            Wait::Unparked(key) => self.threads.unparked.contains(&key),
            Wait::Readable(socket) => self.network.is_readable(socket),
            Wait::Writable(socket) => self.network.is_writable(socket),
            Wait::Ended(id) => !self.threads.all.contains_key(&id),
            Wait::AllEnded(but) => self.threads.all.keys().all(|&id| id == but),
        }
    }

    /// Gives the turn to one of the threads that can go on; the clock moves when none can, and a
    /// little in any case. When none ever could the threads are let go, with the reason noted.
    pub(super) fn pass_turn_on(&mut self) {
        let cost = self.time.random.below(TURN_MAX_NS) as u64;
        self.run_until(self.time.now() + cost);
        loop {
            let now = self.time.now();
            let can_go_on = |thread: &Thread| {
                thread.wait.is_none_or(|(wait, deadline)| {
                    self.is_over(wait) || deadline.is_some_and(|deadline| deadline <= now)
                })
            };
            let all = self.threads.all.iter();
            let ready: Vec<ThreadId> =
                all.filter(|(_, thread)| can_go_on(thread)).map(|(&id, _)| id).collect();
            if !ready.is_empty() {
                let next = ready[self.time.random.below(ready.len())];
                self.time.note("turn", next, 0);
                self.threads.has_turn = Some(next);
                if let Some(turn) = self.threads.turn_of(next) {
                    turn.notify_all();
                }
                return;
            }
            let deadlines = self.threads.all.values().filter_map(|thread| thread.wait?.1);
            let Some(next) = deadlines.chain(self.time.next_at()).min() else {
                return self.note_stuck();
            };
            self.run_until(next);
        }
    }

    fn note_stuck(&mut self) {
        self.threads.has_turn = None;
        if self.threads.all.is_empty() {
            return;
        }
        let mut text = "nobody can go on, and nothing is due:\n".to_owned();
        for thread in self.threads.all.values() {
            let waits = thread.wait.map(|(wait, _)| wait);
            let _ = writeln!(text, "  thread {:?} waits for {waits:?}", thread.name);
        }
        let _ = write!(text, "{}", self.time.trace);
        self.threads.stuck = Some(text);
        self.threads.let_go(self.time.now());
    }
}
