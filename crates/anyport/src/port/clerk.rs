//! The clerk: one thread of the engine, which never runs a handler.
//!
//! It serves the lane of threads that have none, watches for handlers that block, and, when the
//! port is gone, stays until the kernel is done with what was under way. With nothing to watch it
//! sleeps without end.

use super::crew::{Crew, HELP_BACKLOG};
use super::member::{Activity, Member};
use super::seats::Seats;
use super::sighting::{self, Attention, Look, RECHECK, Sighting};
use crate::error::Error;
use crate::op::Extent;
use crate::sys::{ThreadWatch, error_from_io, now, spawn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often running threads are looked at while another could take a blocked one's place, where one
/// was found blocked in the last seconds. A look costs as much as a packet or two; in a virtual machine
/// the timer and the wake-up for it cost as much as ten.
const TICK: Duration = Duration::from_millis(1);

/// How often where none was found blocked for long.
const TICK_CALM: Duration = Duration::from_millis(4);

/// How often while, beside that, a handler was found blocked lately: where one blocks others do.
const TICK_WATCHFUL: Duration = Duration::from_micros(100);

/// How often where a handler was found blocked lately and nobody is idle or parked: soon somebody
/// will be.
const TICK_OVERRUN: Duration = Duration::from_micros(200);

/// How often when no other thread could now.
const TICK_ALL_BUSY: Duration = Duration::from_millis(8);

/// How often when there is no other thread.
const TICK_ALONE: Duration = Duration::from_millis(15);

/// How often when nothing has changed for a while: a handler that runs for seconds is not looked
/// at a thousand times a second.
const TICK_SLOW: Duration = Duration::from_millis(16);

/// How long nothing changes before the clerk slows down: no thread comes around, none is found
/// blocked.
const STEADY: Duration = Duration::from_millis(8);

/// How long in the same handler before all that its thread has under way is taken over, so that it
/// need not be searched again and again.
const LONG_MIN: Duration = Duration::from_millis(32);

/// How long packets wait before they are worth one wake-up more.
const OVERDUE_MIN: Duration = Duration::from_millis(16);

/// The thread of a lane that stays away for longer is not expected back soon: all that it has under
/// way is taken over. So it is from a handler that runs for so long, even if nobody else could handle
/// what comes: large sends, and what waits in line, go on.
const AWAY_MAX: Duration = Duration::from_millis(100);

/// How often the drain looks at lanes by itself, beside being woken.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// Starts the clerk of a crew; it ends by itself after the port is gone.
pub(super) fn start(crew: Arc<Crew>) -> Result<(), Error> {
    let clerk = Clerk {
        watched: Vec::new(),
        unattended: Vec::new(),
        beats: 0,
        changed: now(),
        work_since: None,
        was_recheck: false,
        crew,
    };
    let spawned = spawn("anyport-clerk", || clerk.run());
    spawned.map(drop).map_err(|e| error_from_io(&e, "start the clerk thread"))
}

struct Clerk {
    crew: Arc<Crew>,
    /// What was seen of each seat's actor at the last look.
    watched: Vec<Option<Sighting>>,
    /// Lanes that have requests and no thread.
    unattended: Vec<Unattended>,
    /// Beats of all members up to the last look.
    beats: u64,
    /// When something had changed.
    changed: Instant,
    /// Since when packets wait that no lane brings.
    work_since: Option<Instant>,
    /// The last look found somebody off its core, and this one comes early for that.
    was_recheck: bool,
}

/// A lane that nobody serves.
struct Orphan {
    lane: usize,
    /// How often the thread whose ring it is came around, if there is one.
    owners_beat: Option<u64>,
    /// It is the ring of the port's only thread. Nobody else could handle what comes, so it is left
    /// until that thread has been away for long.
    is_of_only_thread: bool,
}

/// An orphan that has requests.
#[derive(Clone, Copy)]
struct Unattended {
    lane: usize,
    /// Since when its thread has not come around, or it has none.
    since: Instant,
    owners_beat: Option<u64>,
}

impl Clerk {
    fn run(mut self) {
        ThreadWatch::prefer_short_runs();
        ThreadWatch::prefer_exact_timers();
        while !self.crew.is_abandoned.load(Ordering::Acquire) {
            self.serve();
            let pause = self.watch();
            let pause = match pause {
                Some(pause) => {
                    self.crew.is_clerk_asleep.store(pause >= TICK_SLOW, Ordering::SeqCst);
                    Some(pause)
                }
                None => self.pause_before_sleep(),
            };
            let crew = &self.crew;
            crew.core().backend().wait(crew.core().backend().clerk_lane(), pause);
            crew.is_clerk_asleep.store(false, Ordering::SeqCst);
        }
        self.drain();
    }

    /// Takes the events of the clerk's own lane, and hands its completions to whoever waits.
    fn serve(&self) {
        let core = self.crew.core();
        let lane = core.backend().clerk_lane();
        core.queue_completions(lane, lane);
    }

    /// Nothing to watch: from here on whoever begins to run wakes the clerk. When to look again;
    /// `None`: it may sleep. Somebody may have begun to run meanwhile, or have left something.
    fn pause_before_sleep(&mut self) -> Option<Duration> {
        let crew = &self.crew;
        crew.is_clerk_asleep.store(true, Ordering::SeqCst);
        let core = crew.core();
        let (is_anybody_running, orphans) = {
            let seats = crew.seats();
            // A read-modify-write on the same word as the runner's: one of the two sees the other.
            let running = seats.members().any(|m| m.activity() == Activity::Running);
            (running, Self::orphans(&seats))
        };
        if is_anybody_running || crew.is_abandoned.load(Ordering::Acquire) {
            return Some(TICK);
        }
        let mut pause = None;
        for Orphan { lane, is_of_only_thread, .. } in orphans {
            let backend = core.backend();
            let has_events = backend.has_events(lane);
            if !has_events && (core.live() == 0 || !backend.has_requests(lane)) {
                continue;
            }
            if !has_events && !backend.is_of_thread(lane) {
                backend.watch_orphan(lane);
                continue;
            }
            // A next look sees to its events, or takes all of it over.
            let tick = if is_of_only_thread { TICK_SLOW } else { TICK };
            pause = Some(pause.map_or(tick, |pause| tick.min(pause)));
        }
        pause
    }

    /// The lanes that nobody serves now.
    fn orphans(seats: &Seats) -> Vec<Orphan> {
        let is_one_alone = seats.members().nth(1).is_none();
        let orphan = |lane| {
            let owner = seats.lane_owners().find(|&(owned, _)| owned == lane);
            let owners_beat = owner.map(|(_, member)| member.beat());
            Orphan { lane, owners_beat, is_of_only_thread: is_one_alone && owner.is_some() }
        };
        seats.unattended().map(orphan).collect()
    }

    /// One look at all seats: who is blocked gives its place away, who could help is woken. Says
    /// when to look again; `None`: when somebody calls.
    fn watch(&mut self) -> Option<Duration> {
        let (actors, is_anybody_parked, is_one_alone): (Vec<Option<Arc<Member>>>, bool, bool) = {
            let seats = self.crew.seats();
            let is_one_alone = seats.members().nth(1).is_none();
            (seats.actors().map(|a| a.cloned()).collect(), seats.parked_len() > 0, is_one_alone)
        };
        // One that sleeps now and then is no help to itself.
        let can_others_help = !is_one_alone && (is_anybody_parked || self.crew.idle.len_hint() > 0);
        self.watched.resize(actors.len(), None);
        let mut is_anybody_running = false;
        let mut has_changed = false;
        let mut wants_help = false;
        let mut is_anybody_off_core = false;
        // Lanes with events that nobody has time for. Of a thread's own ring all is taken over instead.
        let mut left_alone = Vec::new();
        let core = Arc::clone(self.crew.core());
        let backend = core.backend();
        for (seat, actor) in actors.iter().enumerate() {
            let served = actor.as_ref().and_then(|member| Some((member, member.lane()?)));
            let Some((member, lane)) = served else {
                self.watched[seat] = None;
                continue;
            };
            if member.activity() != Activity::Running {
                self.watched[seat] = None;
                // Pushed by a thread that had lost the seat without knowing it, or for it.
                if backend.has_unsubmitted(lane) {
                    backend.flush(lane);
                    backend.wake(lane);
                }
                continue;
            }
            is_anybody_running = true;
            let now = now();
            let is_watchful = self.crew.is_watchful(now);
            let rechecks = is_watchful && can_others_help && !self.was_recheck;
            let attention = Attention { is_watchful, rechecks };
            let look = sighting::look(&mut self.watched[seat], member, now, attention);
            is_anybody_off_core |= look == Look::IsOffCore;
            if matches!(look, Look::Moves | Look::IsOffCore) {
                has_changed = true;
                wants_help |= backend.backlog(lane) >= HELP_BACKLOG;
                continue;
            }
            if let Look::Blocked { beat } = look
                && self.crew.found_blocked(member, beat)
            {
                log::debug!("a handler blocks: thread {} gave its place away", member.id);
                has_changed = true;
            }
            // Answers that it has prepared must not wait until its handler returns. Not at the
            // first look, and not for a thread that would run if it were let, unless another is
            // idle: what nobody else can handle is best left where it is.
            let is_stuck = match look {
                Look::Still { time } if time < TICK_WATCHFUL => false,
                Look::Blocked { .. } => true,
                Look::Still { time } if time >= AWAY_MAX => true,
                _ => self.crew.idle.len_hint() > 0,
            };
            let has_been_still_for = |min| matches!(look, Look::Still { time } if time >= min);
            let has_events = backend.has_events(lane);
            let is_missed = has_events && has_been_still_for(AWAY_MAX);
            if is_stuck && (is_missed || backend.has_unattended_work(lane)) {
                let is_long = has_been_still_for(LONG_MIN);
                self.rescue(lane, if is_long { Extent::All } else { Extent::Urgent });
            }
            wants_help |= has_events;
            if is_stuck && has_events && !backend.is_of_thread(lane) {
                left_alone.push(lane);
            }
        }
        // Not twice in a row: where cores are full there is always somebody off one.
        self.was_recheck = is_anybody_off_core;
        let orphans = Self::orphans(&self.crew.seats());
        let now = now();
        let was_unattended = std::mem::take(&mut self.unattended);
        for Orphan { lane, owners_beat, is_of_only_thread } in orphans {
            if backend.has_events(lane) {
                wants_help = true;
                if !backend.is_of_thread(lane) {
                    left_alone.push(lane);
                }
            }
            if backend.has_unsubmitted(lane) {
                // Prepared by a thread that has left, on a lane that any thread submits to.
                backend.flush(lane);
            }
            if !backend.has_requests(lane) {
                continue;
            }
            let is_same = |seen: &&Unattended| (seen.lane, seen.owners_beat) == (lane, owners_beat);
            let since = was_unattended.iter().find(is_same).map_or(now, |seen| seen.since);
            self.unattended.push(Unattended { lane, since, owners_beat });
            if now - since >= AWAY_MAX {
                self.rescue(lane, Extent::All);
            } else if !is_of_only_thread && backend.has_unattended_work(lane) {
                self.rescue(lane, Extent::Urgent);
            }
        }
        wants_help |= self.crew.core().backend().lacks_poller();
        // Whoever made the work has woken a thread for it. That thread is given time to come, so
        // that not another takes its place.
        self.work_since = self.crew.has_work().then(|| self.work_since.unwrap_or(now));
        wants_help |= self.work_since.is_some_and(|since| now - since >= OVERDUE_MIN);
        if wants_help && self.crew.wake_one() {
            has_changed = true;
        }
        // Also of threads that happen to wait at every look: a clerk that went to sleep between two
        // of their packets would be woken by the next one.
        if has_changed || self.count_beats() > 0 {
            self.changed = now;
        }
        let is_steady = now - self.changed >= STEADY;
        if is_steady && backend.has_events_of_lanes() {
            // Nobody comes to take them. Their packets wait, but what is in line goes on.
            for lane in left_alone {
                core.take_completed(lane, backend.clerk_lane());
            }
        }
        if self.work_since.is_some() && self.crew.idle.len_hint() > 0 {
            return Some(if self.crew.is_watchful(now) { TICK_WATCHFUL } else { TICK });
        }
        match (is_anybody_running, is_steady) {
            (_, false) if can_others_help && self.crew.is_watchful(now) => {
                Some(if self.was_recheck { RECHECK } else { TICK_WATCHFUL })
            }
            // When nobody runs: after the last handler a few ticks more, so that a port with little
            // to do does not put the clerk to sleep and wake it for every packet.
            (_, false) if can_others_help && self.crew.is_calm(now) => Some(TICK_CALM),
            (_, false) if can_others_help => Some(TICK),
            (_, false) if is_one_alone => Some(TICK_ALONE),
            (_, false) if self.crew.is_watchful(now) => Some(TICK_OVERRUN),
            (_, false) => Some(TICK_ALL_BUSY),
            (true, true) => Some(TICK_SLOW),
            (false, true) => None,
        }
    }

    /// Takes over what waits on a lane, for a thread that has nothing to do.
    fn rescue(&self, lane: usize, extent: Extent) {
        let core = self.crew.core();
        let serving = self.crew.lane_at_leisure();
        if serving != lane && core.rescue(lane, serving, extent) {
            core.backend().wake(serving);
        }
    }

    /// Beats of all members since the last look.
    fn count_beats(&mut self) -> u64 {
        let beats = self.crew.seats().members().map(|m| m.beat()).fold(0, u64::wrapping_add);
        // Members that have left took theirs along.
        beats.saturating_sub(std::mem::replace(&mut self.beats, beats))
    }

    /// The port is gone: nobody takes packets any more. Whatever is under way was asked to end;
    /// its memory is freed when the kernel has said that it is done.
    fn drain(&self) {
        let core = self.crew.core();
        let backend = core.backend();
        let serving = backend.clerk_lane();
        loop {
            for lane in 0..backend.lanes() {
                core.rescue(lane, serving, Extent::All);
                core.queue_completions(lane, serving);
            }
            while let Some(completion) = core.next_ready(serving) {
                self.discard(completion);
            }
            if core.live() == 0 {
                return;
            }
            // What was started while the port was being closed.
            core.abort_all();
            backend.wait(serving, Some(DRAIN_TICK));
        }
    }

    fn discard(&self, mut completion: crate::op::Completion) {
        let core = self.crew.core();
        core.begin_next(core.backend().clerk_lane(), &mut completion);
        if completion.more && !completion.is_held {
            core.claimed(completion.index());
        }
        if completion.is_held {
            core.release_stream(core.backend().clerk_lane(), completion.operation.0);
        }
        if !completion.more {
            core.release(completion.index());
        }
    }
}
