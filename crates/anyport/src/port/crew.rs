//! The threads of a port: which may run, which sleep, who is woken when there is work.

use super::idle::IdleStack;
use super::member::{Activity, Member, NO_LANE};
use super::seats::{Left, Seats, Taken};
use crate::op::Core;
use crate::sys::now;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Events of a lane, waiting behind what its thread is at, that are worth the wake-up of another
/// thread. A wake-up costs as much as a few packets.
pub(super) const HELP_BACKLOG: usize = 16;

/// How long a handler that was found blocked makes the clerk and idle threads look more often.
const WATCHFUL: Duration = Duration::from_millis(250);

/// How long after the last handler that was found blocked the clerk slows down. It then finds the next
/// one some milliseconds later: that delays others for less than a thousandth of this time.
const CALM_AFTER: Duration = Duration::from_secs(10);

/// See the module documentation.
pub(crate) struct Crew {
    core: Arc<Core>,
    seats: Mutex<Seats>,
    /// Members that wait on their lane for something to do.
    pub(super) idle: IdleStack,
    /// The clerk sleeps, or ticks slowly: whoever begins to run must wake it.
    pub(super) is_clerk_asleep: AtomicBool,
    /// The port is gone: the clerk drains what is under way, and ends.
    pub(super) is_abandoned: AtomicBool,
    pub(super) blocked: AtomicU64,
    /// What times are counted from.
    start: Instant,
    /// Until when threads are looked at more often, in milliseconds.
    watchful_until: AtomicU64,
    /// Counters of members that are gone.
    retired_packets: AtomicU64,
    retired_stolen: AtomicU64,
    /// True when posted packets or ready completions wait for a thread.
    has_work: OnceLock<Box<dyn Fn() -> bool + Send + Sync>>,
}

/// What is counted over all members.
pub(super) struct Tally {
    pub(super) packets: u64,
    pub(super) stolen: u64,
    pub(super) threads: usize,
    pub(super) active: usize,
    pub(super) parked: usize,
}

impl Crew {
    pub(super) fn new(core: Arc<Core>, concurrency: usize) -> Arc<Self> {
        let seats = Seats::new(core.backend().lane_plan(concurrency));
        Arc::new(Crew {
            core: Arc::clone(&core),
            seats: Mutex::new(seats),
            idle: IdleStack::new(),
            is_clerk_asleep: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
            blocked: AtomicU64::new(0),
            start: now(),
            watchful_until: AtomicU64::new(0),
            retired_packets: AtomicU64::new(0),
            retired_stolen: AtomicU64::new(0),
            has_work: OnceLock::new(),
        })
    }

    pub(super) fn set_has_work(&self, f: Box<dyn Fn() -> bool + Send + Sync>) {
        let _ = self.has_work.set(f);
    }

    pub(super) fn has_work(&self) -> bool {
        self.has_work.get().is_some_and(|f| f())
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(super) fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enlist(&self) -> Arc<Member> {
        self.seats().enlist()
    }

    /// A seat for the calling thread, for which it waits parked if need be. `give_up` is asked
    /// before parking and after each wake-up. `None`: it gave up, or the deadline passed.
    ///
    /// `before_long` is called before it parks for a seat that nobody was told to give back.
    pub(super) fn seat(
        &self,
        member: &Arc<Member>,
        deadline: Option<Instant>,
        give_up: impl Fn() -> bool,
        before_long: impl Fn(),
    ) -> Option<usize> {
        loop {
            let lane = member.lane.load(Ordering::Acquire);
            // A lane of a seat is as good to whoever sits there.
            let backend = self.core.backend();
            let is_of_thread = lane != NO_LANE && backend.is_of_thread(lane as usize);
            let is_bound = !is_of_thread || backend.has_requests(lane as usize);
            let taken = self.seats().take(member, is_bound);
            match taken {
                Taken::Seat(seat) => return Some(seat),
                Taken::Parked { stand_in } => {
                    if stand_in.is_none() {
                        before_long();
                    }
                    if let Some(lane) = stand_in.and_then(|stand_in| stand_in.lane()) {
                        // If it sleeps on its lane: it shall notice.
                        self.core.backend().wake(lane);
                    }
                    let is_late = deadline.is_some_and(|d| now() >= d);
                    if !is_late && !give_up() {
                        member.park(deadline);
                    }
                    if member.seat().is_some() {
                        continue;
                    }
                    if is_late || give_up() {
                        let mut seats = self.seats();
                        seats.unpark(member);
                        // Somebody may have given it a seat before the lock.
                        return member.seat();
                    }
                }
            }
        }
    }

    /// A stand-in's owner has come back: it has its seat, and this member none.
    pub(super) fn hand_back(&self, member: &Arc<Member>) {
        let owner = self.seats().hand_back(member);
        if let Some(owner) = owner {
            fault_point!(HandedBack);
            owner.unpark();
        }
    }

    /// The lane of a thread that sits in a seat, other than this lane's, and best of one that waits;
    /// else the clerk's.
    pub(super) fn lane_in_use(&self, except: usize) -> usize {
        let seats = self.seats();
        let others = || seats.lanes_in_use().filter(|&(lane, _)| lane != except);
        let waiting = others().find(|&(_, activity)| activity == Activity::Waiting);
        let other = waiting.or_else(|| others().next());
        other.map_or(self.core.backend().clerk_lane(), |(lane, _)| lane)
    }

    /// The member's thread leaves `get` without a packet: it does not run for the port, so its
    /// place is free until it comes back. The clerk looks after what it has prepared.
    pub(super) fn step_aside(&self, member: &Arc<Member>) {
        let left = self.seats().leave(member);
        if left.is_some() {
            self.settle(left);
            self.wake_clerk();
        }
    }

    /// The member's thread is about to block, or was found blocked at this beat: its place goes to
    /// another.
    ///
    /// False when it has come back meanwhile. Mark and seat change under one lock, so that a thread
    /// that finds itself marked knows that it has no seat.
    pub(super) fn give_place_away(&self, member: &Arc<Member>, beat: u64) -> bool {
        let left = {
            let mut seats = self.seats();
            if !member.set_blocked(beat) {
                return false;
            }
            seats.leave(member)
        };
        fault_point!(PlaceGivenAway);
        self.blocked.fetch_add(1, Ordering::Relaxed);
        self.settle(left);
        true
    }

    /// As `give_place_away`, for a thread that did not say that it would block.
    pub(super) fn found_blocked(&self, member: &Arc<Member>, beat: u64) -> bool {
        let is_given = self.give_place_away(member, beat);
        if is_given {
            let until = now().duration_since(self.start) + WATCHFUL;
            self.watchful_until.store(until.as_millis() as u64, Ordering::Relaxed);
        }
        is_given
    }

    /// A handler was found blocked lately, so that others are to be found sooner.
    pub(super) fn is_watchful(&self, now: Instant) -> bool {
        let until = self.watchful_until.load(Ordering::Relaxed);
        until > 0 && now.duration_since(self.start).as_millis() < u128::from(until)
    }

    /// No handler was found blocked for so long, or since the port was made, that one more would be
    /// rare.
    pub(super) fn is_calm(&self, now: Instant) -> bool {
        let until = self.watchful_until.load(Ordering::Relaxed);
        let calm_from = u128::from(until) + (CALM_AFTER - WATCHFUL).as_millis();
        now.duration_since(self.start).as_millis() >= calm_from
    }

    /// The member's thread ends, or goes to another port.
    pub(super) fn discharge(&self, member: &Arc<Member>) {
        self.idle.withdraw(member.id);
        let left = {
            let mut seats = self.seats();
            self.retired_packets
                .fetch_add(member.packets.load(Ordering::Relaxed), Ordering::Relaxed);
            self.retired_stolen.fetch_add(member.stolen.load(Ordering::Relaxed), Ordering::Relaxed);
            seats.discharge(member)
        };
        self.settle(left);
        // The lane may have no thread now, and hold requests that this thread has prepared: if it
        // handed them over itself, they would end with it. The clerk sees to it.
        self.wake_clerk();
    }

    /// Wakes one sleeping thread, the last that went to sleep; false when none sleeps.
    pub(super) fn wake_one(&self) -> bool {
        while let Some(id) = self.idle.claim() {
            let lane = self.seats().member(id).and_then(|m| m.lane());
            if let Some(lane) = lane {
                self.core.backend().wake(lane);
                return true;
            }
            // It lost its seat while it slept; whoever has the seat looks for work by itself, but
            // this wake-up is somebody else's.
        }
        false
    }

    /// Wakes every thread that waits, asleep or parked.
    pub(super) fn wake_all(&self) {
        let seats = self.seats();
        let sleeping: Vec<usize> = self
            .idle
            .claim_all()
            .into_iter()
            .filter_map(|id| seats.member(id).and_then(|m| m.lane()))
            .collect();
        for member in seats.parked() {
            member.unpark();
        }
        drop(seats);
        for lane in sleeping {
            self.core.backend().wake(lane);
        }
    }

    /// The lane of a thread that waits, for work that somebody else prepares; else the clerk's.
    pub(super) fn lane_at_leisure(&self) -> usize {
        let seats = self.seats();
        let waiting = seats.lanes_in_use().find(|&(_, activity)| activity == Activity::Waiting);
        waiting.map_or(self.core.backend().clerk_lane(), |(lane, _)| lane)
    }

    /// A member begins to run after it had waited: the clerk must watch it.
    pub(super) fn begin_running(&self, member: &Member) {
        if member.activity() == Activity::Running {
            // The clerk knows, and has not gone to sleep since, but may have slowed down over a long
            // handler. Should it find the thread blocked just now, the thread learns of that when
            // it is back.
            if self.is_clerk_asleep.load(Ordering::Relaxed) {
                self.wake_clerk();
            }
            return;
        }
        let before = member.set_activity(Activity::Running);
        if before != Activity::Running as u8 && self.is_clerk_asleep.load(Ordering::SeqCst) {
            self.wake_clerk();
        }
    }

    pub(super) fn wake_clerk(&self) {
        if self.is_clerk_asleep.swap(false, Ordering::SeqCst) {
            self.core.backend().wake(self.core.backend().clerk_lane());
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let seats = self.seats();
        let sum = |f: fn(&Member) -> &AtomicU64| -> u64 {
            seats.members().map(|m| f(m).load(Ordering::Relaxed)).sum()
        };
        Tally {
            packets: sum(|m| &m.packets) + self.retired_packets.load(Ordering::Relaxed),
            stolen: sum(|m| &m.stolen) + self.retired_stolen.load(Ordering::Relaxed),
            threads: seats.members().count(),
            active: seats.actors().flatten().count(),
            parked: seats.parked_len(),
        }
    }

    /// After a seat was left: its successor is called, or somebody else looks after its lane.
    fn settle(&self, left: Option<Left>) {
        match left {
            Some(Left { successor: Some(successor), .. }) => successor.unpark(),
            // Whoever made other work has woken somebody for it; what comes to the lane later, the
            // clerk sees.
            Some(Left { lane, successor: None }) if self.core.backend().has_events(lane) => {
                self.wake_one();
            }
            _ => {}
        }
    }
}
