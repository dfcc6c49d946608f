//! What an idle thread of the port does about its neighbours: those in handlers.
//!
//! A thread that finds nothing to do takes events of other lanes anyway. Answers that a neighbour
//! has prepared but not handed to the kernel it cannot take; when the neighbour stays in the same
//! handler, they are handed over for it. The clerk does the same, and finds out who is blocked,
//! but it comes around by the clock; an idle thread is there already.

use super::crew::Crew;
use super::member::{Activity, is_in_handler};
use crate::op::Extent;
use crate::sys::{self, ThreadWatch};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a neighbour may be in one handler before what it has prepared is handed over. Shorter
/// and its batches are cut for nothing; the wait of an answer for its whole batch is about as
/// long.
const PATIENCE: Duration = Duration::from_micros(250);

/// The same where a handler was found blocked lately.
const PATIENCE_WATCHFUL: Duration = Duration::from_micros(100);

/// The longest sleep beside a running neighbour, reached by doubling from `PATIENCE`: one handler
/// that runs for seconds is not looked at thousands of times.
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// What one thread has seen of the others' lanes.
#[derive(Default)]
pub(super) struct Lookout {
    seen: Vec<Seen>,
    pause: Duration,
}

#[derive(Clone, Copy)]
struct Seen {
    /// The member in that seat, and its beat.
    member: u32,
    beat: u64,
    since: Instant,
}

impl Lookout {
    /// The thread has found work since it last looked.
    pub(super) fn found_work(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// Looks at every lane but `own` before a sleep or between packets, takes over what waits
    /// there for a thread in a handler, and says how long a sleep may be; `None`: nobody runs, so
    /// there is nothing to look after.
    pub(super) fn look(&mut self, crew: &Crew, own: usize) -> Option<Duration> {
        let core = crew.core();
        let backend = core.backend();
        let mut is_anybody_running = false;
        let mut now = None;
        let mut patience = PATIENCE;
        let (mut late, mut still) = (Vec::new(), Vec::new());
        {
            let seats = crew.seats();
            let is_anybody_parked = seats.parked_len() > 0;
            for (seat, actor) in seats.actors().enumerate() {
                let Some((actor, lane)) = actor.and_then(|a| Some((a, a.lane()?))) else {
                    continue;
                };
                if lane == own {
                    continue;
                }
                // One that waits may have been on its way there for long, without a core, and has
                // handed nothing over yet.
                let is_running = actor.activity() == Activity::Running;
                if !is_running && !backend.has_unsubmitted(lane) {
                    if let Some(seen) = self.seen.get_mut(seat) {
                        // Its beat stands still while it sleeps.
                        seen.member = u32::MAX;
                    }
                    continue;
                }
                is_anybody_running = true;
                let now = *now.get_or_insert_with(sys::now);
                let is_watchful = crew.is_watchful(now);
                if is_watchful {
                    patience = PATIENCE_WATCHFUL;
                }
                let beat = actor.beat();
                if self.seen.len() <= seat {
                    self.seen.resize(seat + 1, Seen { member: u32::MAX, beat: 0, since: now });
                }
                let seen = &mut self.seen[seat];
                if (seen.member, seen.beat) != (actor.id, beat) {
                    *seen = Seen { member: actor.id, beat, since: now };
                } else if now - seen.since >= patience {
                    late.push(lane);
                    // To take its place from it is of use only where somebody waits for one.
                    if is_watchful && is_anybody_parked && is_running && is_in_handler(beat) {
                        still.push((Arc::clone(actor), beat));
                    }
                }
            }
            // Of those who are known to be blocked, at once.
            for (lane, owner) in seats.lane_owners() {
                if owner.activity() == Activity::Blocked && backend.has_requests(lane) {
                    is_anybody_running = true;
                    late.push(lane);
                }
            }
        }
        for (actor, beat) in still {
            // That it sleeps says not since when; but it was in this handler before.
            if ThreadWatch::is_asleep(actor.clock) {
                crew.found_blocked(&actor, beat);
            }
        }
        for lane in late {
            if lane != own && backend.has_unattended_work(lane) {
                core.rescue(lane, own, Extent::Urgent);
            }
        }
        if !is_anybody_running {
            return None;
        }
        self.pause = (self.pause * 2).clamp(patience, PAUSE_MAX);
        Some(self.pause)
    }
}
