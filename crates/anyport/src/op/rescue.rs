//! Taking over what the thread of a lane has no time for, because its handler blocks or runs long.
//!
//! While the rescuer holds the lane's lease, its thread does not enter the kernel, so nothing
//! completes there. Three steps, in this order: what has completed is queued for any thread; what
//! was staged and never handed to the kernel starts again on the rescuer's lane; of what the kernel
//! has under way, all (or, of many, what would find something now) is disowned and starts again
//! there too. To the operations it looks as if their request had been interrupted, which happens
//! for other reasons as well: their places in line, what they have done so far and their buffers
//! stay.

use super::body::{Body, Phase};
use super::core::Core;
use super::handle::HandleCore;
use super::name::OperationKind;
use crate::sys::{Event, Outcome, RequestKind, TakeOver, Token};
use std::sync::Arc;

/// So many requests under way are taken over together, without asking which would find something:
/// asking costs about as much.
const TAKEN_TOGETHER_MAX: usize = 64;

/// How often a thread that leaves tries to hand over what it has under way while others are at it,
/// which they are for no longer than a few packets take. What stays after that waits for the clerk.
const HAND_OVER_TRIES: usize = 100;

/// How much of what is under way is taken over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// Of many requests, those that would find something now.
    Urgent,
    /// Everything: the thread will not be back.
    All,
}

impl Core {
    /// Takes over, for the lane `serving`, what waits on `lane` for a thread that is not there.
    /// Whoever serves `serving`, if it is another thread, is to be woken. False: nothing was taken
    /// over now, because the thread is there after all, or somebody else is at it; and on lanes that
    /// are not of one thread, whose requests are handed to the kernel instead.
    pub(crate) fn rescue(&self, lane: usize, serving: usize, extent: Extent) -> bool {
        let Some(mut taking) = self.backend().take_over(lane) else {
            self.backend().flush(lane);
            return false;
        };
        fault_point!(TakingOver);
        // Somebody may be at its completions, perhaps its own thread.
        let Some(mut reaped) = self.reaping[lane].try_lock() else { return false };
        // For these nobody is called before all is done: a thread that wakes may take this one's
        // core, and then waits for what it holds.
        let mut has_queued = false;
        while let Some(completion) = self.take_event(&mut reaped, lane, serving, None, |_| {}) {
            self.push_ready_untold(serving, completion);
            has_queued = true;
        }
        fault_point!(CompletionsTurned);
        for token in taking.take_staged() {
            has_queued |=
                self.interrupt(serving, token, |body| usize::from(body.lane) == lane, |_| {});
        }
        fault_point!(StagedTaken);
        let pending = self.pending(lane);
        let takes_all = extent == Extent::All || pending.len() <= TAKEN_TOGETHER_MAX;
        let is_urgent = match takes_all {
            true => Vec::new(),
            false => taking.ready_among(pending.iter().map(|p| (p.handle.descriptor(), p.request))),
        };
        for (i, pending) in pending.iter().enumerate() {
            if takes_all || pending.is_ending || is_urgent[i] {
                has_queued |= self.take_one(lane, serving, pending, &mut taking);
            }
        }
        fault_point!(TakenOver);
        if takes_all {
            taking.note_emptied();
        }
        drop(reaped);
        drop(taking);
        if has_queued {
            self.call_on_ready();
        }
        true
    }

    /// The calling thread, which has adopted this lane, will not be back soon: what is under way
    /// goes on at the lane `serving`, whose thread is to be woken if this says true, unless others
    /// were at it all the time. The kernel lets go of what was taken over, now or before.
    pub(crate) fn hand_over(&self, lane: usize, serving: usize) -> bool {
        let backend = self.backend();
        let mut is_moved = false;
        for _ in 0..HAND_OVER_TRIES {
            if is_moved || !backend.has_requests(lane) {
                break;
            }
            // What the kernel had no room for keeps everybody out, and only this thread can fetch it.
            backend.flush(lane);
            fault_point!(HandingOver);
            is_moved = self.rescue(lane, serving, Extent::All);
            if !is_moved {
                std::thread::yield_now();
            }
        }
        fault_point!(Settling);
        backend.settle(lane);
        is_moved
    }

    /// The calling thread, which has adopted this lane, will not be back: all that is under way
    /// goes on without it.
    pub(crate) fn abandon(&self, lane: usize) {
        let clerk = self.backend().clerk_lane();
        fault_point!(Abandoning);
        // Somebody else may be taking over at this moment.
        while !self.rescue(lane, clerk, Extent::All) {
            std::thread::yield_now();
        }
        fault_point!(Abandoned);
        self.backend().retire(lane);
        fault_point!(Retired);
        self.queue_completions(lane, clerk);
    }

    /// Takes all that a lane has completed, for another thread than its own; false when somebody is
    /// at it, or there is nothing.
    pub(crate) fn take_completed(&self, lane: usize, serving: usize) -> bool {
        let Some(mut reaped) = self.reaping[lane].try_lock() else { return false };
        self.queue_reaped(&mut reaped, lane, serving) > 0
    }

    /// True when a completion was queued and nobody called for it.
    fn take_one(
        &self,
        lane: usize,
        serving: usize,
        pending: &Pending,
        taking: &mut TakeOver<'_>,
    ) -> bool {
        // Before the operation's lock, as everywhere.
        let count = Arc::clone(pending.handle.state().held_elsewhere.get_or_insert_default());
        self.interrupt(
            serving,
            pending.token,
            |body| body.has_request_on(lane),
            |body| taking.disown(body.request, pending.token, &count),
        )
    }

    /// Tells the operation that its request was interrupted, after `before`, if it still is as it
    /// `must_be`. True when a completion was queued and nobody called for it.
    fn interrupt(
        &self,
        serving: usize,
        token: Token,
        must_be: impl FnOnce(&Body) -> bool,
        before: impl FnOnce(&Body),
    ) -> bool {
        let body = self.table.lock(token.index());
        if !body.is_current(token) || !must_be(&body) {
            return false;
        }
        before(&body);
        fault_point!(Disowned);
        let event = Event::last(token, Outcome::Interrupted);
        let completion = self.advance(serving, body, event);
        let has_ended = completion.is_some();
        if let Some(completion) = completion {
            self.push_ready_untold(serving, completion);
        }
        has_ended
    }

    /// The operations whose request the kernel has under way on this lane.
    fn pending(&self, lane: usize) -> Vec<Pending> {
        let mut all = Vec::new();
        for slot in self.table.iter() {
            let body = slot.lock();
            if body.has_request_on(lane)
                && let Some(handle) = &body.handle
            {
                all.push(Pending {
                    token: body.token(),
                    request: body.request,
                    is_ending: body.ending.is_some() || body.stream.is_pausing,
                    handle: Arc::clone(handle),
                });
            }
        }
        all
    }
}

/// An operation with a request under way.
struct Pending {
    token: Token,
    request: RequestKind,
    /// It was asked to end or to pause, and the cancel may never have reached the kernel.
    is_ending: bool,
    handle: Arc<HandleCore>,
}

impl Body {
    /// The operation waits for an event of this lane. What moves bytes from or to memory completes
    /// when it is handed to the kernel, and the owner leaves the kernel with every completion.
    fn has_request_on(&self, lane: usize) -> bool {
        let waits = match self.request {
            RequestKind::ReceivePooled(_) | RequestKind::Readable | RequestKind::Writable => true,
            // Accepts are never on such a lane.
            RequestKind::Transfer | RequestKind::TransferMessage | RequestKind::Accept => false,
        };
        waits
            && self.phase == Phase::AtWork
            && usize::from(self.lane) == lane
            && (self.kind != OperationKind::ReceiveStream || self.stream.is_armed)
    }
}
