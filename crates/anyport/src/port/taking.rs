//! How a thread takes packets: a seat first, then whatever there is, else sleep.
//!
//! Every `get` of every thread comes through here, the workers' as well. The thread that takes a
//! completion adds the context and begins what waited behind it on its handle.

use super::contexts::Copying;
use super::crew::HELP_BACKLOG;
use super::member::{Activity, Held, Member, Membership};
use super::packet::Packet;
use super::port::PortInner;
use crate::net::Socket;
use crate::op::{Completion, Core, OperationKind};
use crate::sys::{now, yield_now};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Packets that a thread takes before it hands its requests to the kernel, so that an answer does
/// not wait for a long queue behind it.
const UNFLUSHED_MAX: u32 = 256;

/// Completions in a row of which nobody is told before a thread looks at something else.
const UNHANDED_MAX: u32 = 64;

/// Why `take_many` ended without a packet.
pub(super) enum Ended {
    TimedOut,
    Closed,
    /// It was asked to stop.
    Stopped,
}

impl<T: Send + 'static> PortInner<T> {
    /// See `CompletionPort::get_many`; ends also when `stop` is set and the crew is woken.
    pub(super) fn take_many(
        &self,
        membership: &mut Membership,
        max: usize,
        deadline: Option<Instant>,
        stop: Option<&AtomicBool>,
        take: &mut impl FnMut(Packet<T>),
    ) -> Result<usize, Ended> {
        if membership.member.enter() == Activity::Blocked {
            // Found blocked just before it came back: it has no seat when the lock is free.
            let _seats = self.crew.seats();
            membership.member.set_activity(Activity::Waiting);
        }
        membership.asleep_since = None;
        fault_point!(CameBack);
        self.release_held(membership);
        let is_stopped = || stop.is_some_and(|s| s.load(Ordering::Acquire));
        loop {
            if membership.member.is_wanted_back.load(Ordering::Acquire) {
                self.crew.hand_back(&membership.member);
            }
            let seat = match membership.member.seat() {
                Some(seat) => seat,
                None => {
                    fault_point!(SeatLost);
                    membership.serving = None;
                    membership.member.set_activity(Activity::Waiting);
                    let give_up = || self.core.is_closed() || is_stopped();
                    let own_lane = membership.adopted;
                    let before_long = || {
                        if let Some(lane) = own_lane {
                            self.leave_lane(lane);
                        }
                    };
                    match self.crew.seat(&membership.member, deadline, give_up, before_long) {
                        Some(seat) => seat,
                        None if is_stopped() => return Err(Ended::Stopped),
                        None if self.core.is_closed() => return self.take_last(membership, take),
                        None => return Err(Ended::TimedOut),
                    }
                }
            };
            let lane = self.serve(membership, seat);
            let mut count = 0;
            while count < max && self.take_next(membership, lane, take) {
                count += 1;
            }
            let was_claimed = std::mem::take(&mut membership.is_claimed);
            if count > 0 {
                fault_point!(PacketHandedOut);
                if was_claimed && self.has_work() {
                    self.crew.wake_one();
                }
                let backend = self.core.backend();
                if membership.member.lane() != Some(lane) && backend.has_events(lane) {
                    // The place was given away meanwhile, and its events may have been reaped
                    // before whoever has it now looked for them.
                    match backend.is_of_thread(lane) {
                        true => drop(self.crew.wake_one()),
                        false => backend.wake(lane),
                    }
                }
                membership.unflushed += count as u32;
                membership.lookout.found_work();
                if membership.unflushed >= UNFLUSHED_MAX {
                    membership.unflushed = 0;
                    // First the look: what it takes over is handed to the kernel with the rest.
                    membership.lookout.look(&self.crew, lane);
                    self.core.backend().flush(lane);
                    self.call_for_help(lane);
                }
                self.crew.begin_running(&membership.member);
                membership.member.leave();
                fault_point!(Leaving);
                return Ok(count);
            }
            if is_stopped() {
                membership.member.set_activity(Activity::Waiting);
                self.core.backend().flush(lane);
                self.crew.step_aside(&membership.member);
                return Err(Ended::Stopped);
            }
            if self.core.is_closed() {
                if self.posted.is_finished() {
                    membership.member.set_activity(Activity::Waiting);
                    return Err(Ended::Closed);
                }
                // A post that was admitted before the close is about to arrive.
                yield_now();
                continue;
            }
            let remaining = match deadline {
                None => None,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(now());
                    if left.is_zero() {
                        if !self.core.backend().has_unsubmitted(lane) {
                            return self.last_look(membership, lane, take);
                        }
                        self.core.backend().flush(lane);
                        continue;
                    }
                    Some(left)
                }
            };
            self.sleep(membership, lane, remaining, &is_stopped);
        }
    }

    /// The lane that the thread serves in this seat, which it has had for a while or has just got.
    fn serve(&self, membership: &mut Membership, seat: usize) -> usize {
        let member = &membership.member;
        let mut lane = member.lane.load(Ordering::Acquire) as usize;
        if membership.serving == Some(lane) {
            return lane;
        }
        let backend = self.core.backend();
        let of_seat = self.crew.seats().seat_lane(seat);
        if backend.is_of_thread(lane) && membership.adopted != Some(lane) {
            match backend.adopt(lane) {
                Ok(true) => membership.adopted = Some(lane),
                // Another's ring is still there: not before that thread has ended.
                Ok(false) => lane = of_seat,
                Err(error) => {
                    // It asks again whenever it has a seat anew; once is enough to say.
                    if !std::mem::replace(&mut membership.is_without_lane, true) {
                        log::error!("a thread shares a ring for want of its own: {error}");
                    }
                    lane = of_seat;
                }
            }
            member.lane.store(lane as u32, Ordering::Release);
            if lane == of_seat {
                // Somebody may have left something there for it: the clerk finds who takes it.
                self.crew.wake_clerk();
            }
        }
        if lane != of_seat && backend.has_requests(of_seat) {
            // What somebody who sat here has under way goes on where a thread is.
            backend.evacuate(of_seat);
            self.crew.wake_clerk();
        }
        membership.serving = Some(lane);
        #[cfg(anyport_fault_points)]
        super::overtaking::note_place(&self.crew, lane);
        lane
    }

    /// The calling thread leaves its lane alone for a while: others go on with what is there.
    fn leave_lane(&self, lane: usize) {
        let serving = self.crew.lane_in_use(lane);
        if self.core.hand_over(lane, serving) {
            self.core.backend().wake(serving);
        }
    }

    /// Wakes a sleeping thread when there is more here than this one will do soon. A wake-up costs
    /// as much as a few packets, so it is not done for a few.
    fn call_for_help(&self, lane: usize) {
        if self.crew.idle.len_hint() > 0 && self.core.backend().backlog(lane) >= HELP_BACKLOG {
            self.crew.wake_one();
        }
    }

    /// Waits on the lane until there may be something to do.
    fn sleep(
        &self,
        membership: &mut Membership,
        lane: usize,
        remaining: Option<Duration>,
        is_stopped: &dyn Fn() -> bool,
    ) {
        let backend = self.core.backend();
        membership.unflushed = 0;
        membership.member.set_activity(Activity::Waiting);
        let since = self.crew.idle.announce(membership.member.id, membership.asleep_since);
        membership.asleep_since = Some(since);
        // Only a look: what is there is taken after the name is off the list again, or a waker
        // might spend its one wake-up on this thread.
        let has_work = self.has_work()
            || backend.has_events(lane)
            || self.core.is_closed()
            || is_stopped()
            || membership.member.is_wanted_back.load(Ordering::SeqCst)
            || membership.member.lane() != Some(lane);
        if !has_work {
            let pause = membership.lookout.look(&self.crew, lane);
            fault_point!(BeforeSleep);
            backend
                .wait(lane, pause.map_or(remaining, |p| Some(remaining.map_or(p, |r| r.min(p)))));
            fault_point!(Woken);
        }
        // A waker that had claimed it meant it for other work than it may find first.
        membership.is_claimed = !self.crew.idle.withdraw(membership.member.id);
    }

    /// The time is over: one look more, for what the wait brought at its very end.
    fn last_look(
        &self,
        membership: &mut Membership,
        lane: usize,
        take: &mut impl FnMut(Packet<T>),
    ) -> Result<usize, Ended> {
        // A backend that learns of events only by asking is asked once.
        self.core.backend().wait(lane, Some(Duration::ZERO));
        if self.take_next(membership, lane, take) {
            self.crew.begin_running(&membership.member);
            membership.member.leave();
            return Ok(1);
        }
        membership.member.set_activity(Activity::Waiting);
        self.crew.step_aside(&membership.member);
        Err(Ended::TimedOut)
    }

    /// Without a seat, on a closed port: packets posted before the close are handed out all the
    /// same.
    fn take_last(
        &self,
        membership: &mut Membership,
        take: &mut impl FnMut(Packet<T>),
    ) -> Result<usize, Ended> {
        loop {
            if let Some(posted) = self.posted.pop() {
                Member::count(&membership.member.packets);
                take(posted.into_packet());
                return Ok(1);
            }
            if self.posted.is_finished() {
                return Err(Ended::Closed);
            }
            yield_now();
        }
    }

    /// Gives `take` the next packet that this thread may take, without waiting; false when there is
    /// none. Packets are large: they are made where they are to be.
    fn take_next(
        &self,
        membership: &mut Membership,
        lane: usize,
        take: &mut impl FnMut(Packet<T>),
    ) -> bool {
        membership.posted_first = !membership.posted_first;
        let is_taken = match membership.posted_first {
            true => self.take_posted(take) || self.take_completed(membership, lane, take),
            false => self.take_completed(membership, lane, take) || self.take_posted(take),
        };
        if is_taken {
            Member::count(&membership.member.packets);
        }
        is_taken
    }

    fn take_posted(&self, take: &mut impl FnMut(Packet<T>)) -> bool {
        if self.posted.is_empty() {
            return false;
        }
        match self.posted.pop() {
            Some(posted) => take(posted.into_packet()),
            None => return false,
        }
        true
    }

    fn take_completed(
        &self,
        membership: &mut Membership,
        lane: usize,
        take: &mut impl FnMut(Packet<T>),
    ) -> bool {
        let mut unhanded = 0;
        while unhanded < UNHANDED_MAX {
            let quiet = &mut membership.quiet;
            let upcoming = |i| self.contexts.prefetch(i);
            let mut completion = self.core.next_ready(lane);
            if completion.is_none() {
                fault_point!(NoneReady);
                completion = self.core.next_completion(lane, lane, quiet, upcoming);
            }
            if completion.is_none() && !quiet.is_full() {
                completion = self.steal(membership, lane);
            }
            let may_be_more = membership.quiet.is_full();
            unhanded += membership.quiet.len() as u32;
            // First what others wait for; the drop of a context may take its time.
            let is_none = completion.is_none();
            let is_handed_over = completion.is_some_and(|mut completion| {
                unhanded += 1;
                fault_point!(CompletionTaken);
                self.core.begin_next(lane, &mut completion);
                fault_point!(NextBegun);
                self.hand_over(membership, &mut completion, take)
            });
            for index in membership.quiet.drain() {
                // SAFETY: the operation is over and was of no stream. `self` is called through a
                // port.
                let context = unsafe { self.contexts.take(index) };
                self.core.release(index);
                drop(context);
            }
            if is_handed_over {
                return true;
            }
            if is_none && !may_be_more {
                return false;
            }
        }
        // The caller looks at the time and at who wants what, and comes back.
        self.core.backend().flush(lane);
        false
    }

    /// Takes what another thread has no time for.
    fn steal(&self, membership: &mut Membership, lane: usize) -> Option<Completion> {
        let (lanes, clerk) = (self.core.backend().lanes(), self.core.backend().clerk_lane());
        let upcoming = |i| self.contexts.prefetch(i);
        let quiet = &mut membership.quiet;
        let completion = (1..lanes)
            .map(|i| (lane + i) % lanes)
            .filter(|&other| other != clerk)
            .find_map(|other| self.core.steal_completion(other, lane, quiet, upcoming))?;
        fault_point!(Stolen);
        Member::count(&membership.member.stolen);
        Some(completion)
    }

    /// Adds the context. False when nobody is to get it: the operation was quiet and succeeded, or
    /// the port is gone and has no contexts any more.
    fn hand_over(
        &self,
        membership: &mut Membership,
        c: &mut Completion,
        take: &mut impl FnMut(Packet<T>),
    ) -> bool {
        if c.is_held {
            membership.held.push(c.operation.0);
        }
        let context = if c.more {
            let _claim = (!c.is_held).then(|| Claim { core: &self.core, index: c.index() });
            let copying = if c.is_held { Copying::One } else { Copying::Many };
            // SAFETY: `c` is a completion of a stream that goes on, and what keeps the last one
            // back, held or claimed, is released later. `self` is called through a port.
            unsafe { self.contexts.copy(c.index(), copying) }
        } else {
            // Another thread has taken an earlier packet of this stream and is at the line above.
            while c.kind == OperationKind::AcceptStream && self.core.has_unclaimed(c.index()) {
                yield_now();
            }
            // SAFETY: `c` is the last completion, and nobody is at the lines above for an earlier
            // one. `self` is called through a port.
            let context = unsafe { self.contexts.take(c.index()) };
            self.core.release(c.index());
            context
        };
        fault_point!(ContextTaken);
        let Some(context) = context else { return false };
        if c.is_quiet {
            return false;
        }
        take(Packet {
            key: c.key,
            kind: c.kind,
            operation: Some(c.operation),
            result: std::mem::replace(&mut c.result, Ok(0)).map_err(|error| *error),
            context,
            buffers: c.buffers.take(),
            more: c.more,
            peer: c.peer,
            accepted: c.accepted.take().map(Socket::from_inner),
        });
        true
    }

    /// The calling thread is done with the packets that it has taken, though not back yet: their streams
    /// may go on meanwhile.
    pub(super) fn release_streams(&self) {
        // In any order: each is a stream of its own.
        while let Some(Held { token, lane, is_last }) = Membership::pop_held(&self.crew) {
            self.core
                .release_stream(lane.unwrap_or_else(|| self.core.backend().clerk_lane()), token);
            if is_last {
                break;
            }
        }
    }

    /// The thread is back: streams whose packets it had taken may go on.
    fn release_held(&self, membership: &mut Membership) {
        if membership.held.is_empty() {
            return;
        }
        let serving = membership.member.lane().unwrap_or(self.core.backend().clerk_lane());
        for token in membership.held.drain(..) {
            self.core.release_stream(serving, token);
        }
    }
}

/// Says that the context of an accept stream's packet was copied, also when the copying panicked:
/// the stream's last packet waits for it.
struct Claim<'a> {
    core: &'a Core,
    index: u32,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.core.claimed(self.index);
    }
}
