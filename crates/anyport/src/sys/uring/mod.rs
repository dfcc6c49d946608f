//! The io_uring backend: a ring for each lane, and one for the clerk.
//!
//! This is the plain shape: rings without `SINGLE_ISSUER` and `DEFER_TASKRUN`, so that any thread
//! may submit to any ring and take events from it, each under its own short lock. Only this folder
//! knows rings.
//!
//! A request belongs to the *thread* that hands it to the kernel: the kernel cancels it when that
//! thread ends, and its completion runs in that thread's context. So a lane's requests are handed
//! over by the thread that serves the lane; a thread that serves none leaves its requests in the
//! clerk's ring, which the clerk submits. A request that ends because its thread did is reported
//! as `Interrupted` and issued again by the layer above.

mod bell;
mod lane;
mod probe;
mod provided;
mod translate;

use super::{BackendOptions, Descriptor, Event, Reaped, Request, RequestKind, Token};
use crate::buf::{BufferPool, SizeClass};
use crate::error::Error;
use bell::Bell;
use lane::{Doorbell, Lane, REAPED_MAX};
use std::time::Duration;

pub(super) use probe::probe;

/// All the rings of a port.
pub(crate) struct Uring {
    lanes: Vec<Lane>,
    pool: BufferPool,
    bell: Bell,
}

impl Uring {
    pub(super) fn new(options: BackendOptions) -> Result<Self, Error> {
        let mut lanes = Vec::with_capacity(options.lanes + 1);
        for i in 0..=options.lanes {
            let doorbell = if i == options.lanes { Some(Doorbell::new()?) } else { None };
            lanes.push(Lane::new(
                options.submission_entries,
                options.completion_entries,
                doorbell,
                // A lane may keep its share of half the pool in its buffer rings; the other half
                // is what circulates, so that no lane can starve another for good.
                options.pool.stats().bytes_max / 2 / (options.lanes + 1),
            )?);
        }
        Ok(Uring { lanes, pool: options.pool, bell: Bell::new()? })
    }

    pub(super) fn clerk_lane(&self) -> usize {
        self.lanes.len() - 1
    }

    pub(super) fn attach(&self, _descriptor: &mut Descriptor) -> Result<(), Error> {
        Ok(())
    }

    pub(super) fn detach(&self, _descriptor: &Descriptor) {}

    /// # Safety
    /// As [`super::Backend::issue`].
    pub(super) unsafe fn issue(
        &self,
        lane: usize,
        descriptor: &Descriptor,
        request: Request,
        token: Token,
    ) {
        let lane = &self.lanes[lane];
        let entry = if self.lends(lane, request.kind()) {
            // SAFETY: the caller keeps what the request names alive until its last event.
            unsafe { translate::entry(descriptor, request, token) }
        } else {
            translate::pooled_wait_entry(descriptor, token)
        };
        // SAFETY: as above: the entry names only that memory.
        unsafe { lane.push(entry) };
    }

    /// False for a pooled receive on a lane that lends the kernel no buffers of its class.
    fn lends(&self, lane: &Lane, request: RequestKind) -> bool {
        match request {
            RequestKind::ReceivePooled(class) => lane.prepare_group(class, &self.pool),
            _ => true,
        }
    }

    pub(super) fn cancel(&self, lane: usize, request: RequestKind, token: Token) {
        let lane = &self.lanes[lane];
        let lends = self.lends(lane, request);
        // SAFETY: a cancel names no memory.
        unsafe { lane.push(translate::cancel_entry(request, token, lends)) };
        if !lane.has_doorbell() {
            lane.flush();
        }
    }

    pub(super) fn next_event(
        &self,
        lane: usize,
        is_served: bool,
        reaped: &mut Reaped,
        upcoming: impl Fn(Token),
    ) -> Option<Event> {
        let lane = &self.lanes[lane];
        let ahead = if is_served { REAPED_MAX } else { 1 };
        if reaped.events.len() <= ahead / 2 {
            lane.reap(&mut reaped.events, ahead, &self.pool, &self.bell, upcoming, |orphan| {
                self.lanes[orphan].set_orphan_watched(false);
            });
        }
        let event = reaped.events.pop_front();
        lane.note_reaped(reaped.events.len());
        event
    }

    pub(super) fn backlog(&self, lane: usize) -> usize {
        self.lanes[lane].backlog()
    }

    pub(super) fn flush(&self, lane: usize) {
        self.lanes[lane].flush();
    }

    pub(super) fn has_unsubmitted(&self, lane: usize) -> bool {
        self.lanes[lane].has_unsubmitted()
    }

    pub(super) fn wait(&self, lane: usize, timeout: Option<Duration>) {
        self.lanes[lane].wait(timeout);
    }

    pub(super) fn wake(&self, lane: usize) {
        self.lanes[lane].wake(&self.bell);
    }

    /// Every lane's ring wakes whoever waits on it.
    pub(super) fn lacks_poller(&self) -> bool {
        false
    }

    pub(super) fn replenish(&self, lane: usize, class: SizeClass) -> bool {
        self.lanes[lane].replenish(class, &self.pool)
    }

    pub(super) fn watch_orphan(&self, lane: usize) {
        let clerk = &self.lanes[self.clerk_lane()];
        if self.lanes[lane].set_orphan_watched(true) {
            let entry = translate::orphan_entry(self.lanes[lane].raw_fd(), lane);
            // SAFETY: a poll names no memory, and the ring's descriptor lives as long as `self`.
            unsafe { clerk.push(entry) };
        }
    }
}
