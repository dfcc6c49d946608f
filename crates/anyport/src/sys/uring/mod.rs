//! The io_uring backend: a ring for each thread that may run, and one for the clerk.
//!
//! Two ways to share them, by [`Sharing`]; only this folder knows rings.
//!
//! *Owned*, the usual one: each thread has a ring that only it submits to (see `owned`). What it has
//! staged and under way can be taken over while it is stuck in a handler. Threads beyond twice the
//! concurrency value share plain rings, one a seat.
//!
//! *Shared*, the reference: plain rings only. Any thread may submit to any ring and take events
//! from it, each under its own short lock. It costs more CPU, and has the semantics by itself: the
//! tests hold the other shape against it. Where the kernel has no rings for owners it is the way.
//!
//! Which of the two, and what else the backend does without, is decided by `shape`, from what
//! `probe` finds out and what `ANYPORT_WITHOUT` takes away (`features`).
//!
//! A request in a plain ring belongs to the *thread* that hands it to the kernel: the kernel
//! cancels it when that thread ends, and its completion runs in that thread's context. A thread
//! that serves no lane leaves its requests in the clerk's ring, which the clerk submits. A request
//! that ends because its thread did is reported as `Interrupted` and issued again by the layer
//! above.

mod bell;
mod features;
mod lane;
mod left;
mod owned;
mod probe;
mod provided;
mod ring;
mod shape;
mod sorting;
mod translate;
mod trials;

use super::choice::unavailable;
use super::system::descriptor::Descriptor;
use super::{Ahead, BackendOptions, Event, LanePlan, Reaped, Request, RequestKind, Token};
use crate::buf::{BufferPool, SizeClass};
use crate::error::Error;
use bell::Bell;
use lane::{Doorbell, Lane, REAPED_MAX};
use owned::{OwnedLane, RingOptions};
use shape::{Shape, Sharing};
use std::time::Duration;

pub(crate) use owned::TakeOver;

/// See [`super::Backend::settle_left`].
pub(super) fn settle_left() {
    left::settle(left::OwnerToken::of_this_thread());
}

/// Whether io_uring will do, and what it does without, in words; or why it will not do.
pub(super) fn probe() -> Result<String, String> {
    Shape::of_this_process().map(|shape| shape.note)
}

/// Whether the settings of this backend can be read.
pub(super) fn check_settings() -> Result<(), Error> {
    features::Features::taken_away().map(drop)
}

/// Rings for threads, of each that may run at a time: as many as a pool has threads by default.
const THREADS_A_SEAT: usize = 2;

/// All the rings of a port.
pub(crate) struct Uring {
    /// By lane: those of threads, or of seats if no thread has its own; the clerk's; the seats' if
    /// threads have their own.
    lanes: Vec<AnyLane>,
    clerk_lane: usize,
    plan: LanePlan,
    pool: BufferPool,
    bell: Bell,
    /// See [`Shape`].
    receives_again: bool,
    accepts_again: bool,
}

enum AnyLane {
    Plain(Box<Lane>),
    Owned(Box<OwnedLane>),
}

/// Calls the same method on whichever sort of lane it is.
macro_rules! on_lane {
    ($this:ident, $index:expr, $lane:ident => $call:expr) => {
        match &$this.lanes[$index] {
            AnyLane::Plain($lane) => $call,
            AnyLane::Owned($lane) => $call,
        }
    };
}

impl Uring {
    pub(super) fn new(options: BackendOptions) -> Result<Self, Error> {
        let seats = options.seats;
        let shape = Shape::of_this_process().map_err(|reason| {
            log::error!("the kernel offered io_uring a moment ago: {reason}");
            unavailable("io_uring was just taken away; build the port again")
        })?;
        let sharing = shape.sharing;
        let plan = match sharing {
            Sharing::Shared => LanePlan { of_threads: 0, of_seats: (0..seats).collect() },
            Sharing::Owned => {
                let of_threads = seats * THREADS_A_SEAT;
                LanePlan { of_threads, of_seats: (of_threads + 1..).take(seats).collect() }
            }
        };
        let clerk_lane = plan.of_threads.max(seats);
        // A lane may keep its share of half the pool in its buffer rings; the other half is what
        // circulates, so that no lane can starve another for good.
        let lending_lanes = clerk_lane + 1;
        let lent_bytes_max = if shape.lends { options.pool.stats().bytes_max / 2 } else { 0 };
        let ring = RingOptions {
            submission_entries: options.submission_entries,
            completion_entries: options.completion_entries,
            provided_bytes_max: lent_bytes_max / lending_lanes,
        };
        let plain = |doorbell, ring| {
            Ok(AnyLane::Plain(Box::new(Lane::new(ring, shape.plain_issuers, doorbell)?)))
        };
        let mut lanes = Vec::with_capacity(clerk_lane + 1 + seats);
        for _ in 0..clerk_lane {
            lanes.push(match sharing {
                Sharing::Shared => plain(None, ring)?,
                Sharing::Owned => AnyLane::Owned(Box::new(OwnedLane::new(ring))),
            });
        }
        lanes.push(plain(Some(Doorbell::new()?), ring)?);
        if sharing == Sharing::Owned {
            // These lend none of the pool: their receives wait first, and take a buffer then.
            let ring = RingOptions { provided_bytes_max: 0, ..ring };
            for _ in 0..seats {
                lanes.push(plain(None, ring)?);
            }
        }
        Ok(Uring {
            lanes,
            clerk_lane,
            plan,
            pool: options.pool,
            bell: Bell::new()?,
            receives_again: shape.receives_again,
            accepts_again: shape.accepts_again,
        })
    }

    pub(super) fn clerk_lane(&self) -> usize {
        self.clerk_lane
    }

    pub(super) fn lane_plan(&self) -> LanePlan {
        self.plan.clone()
    }

    pub(super) fn is_of_thread(&self, lane: usize) -> bool {
        lane < self.plan.of_threads
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn adopt(&self, lane: usize) -> Result<bool, Error> {
        match &self.lanes[lane] {
            AnyLane::Owned(owned) => owned.adopt(),
            AnyLane::Plain(_) => Ok(true),
        }
    }

    pub(super) fn retire(&self, lane: usize) {
        if let AnyLane::Owned(owned) = &self.lanes[lane] {
            owned.retire(&self.pool);
        }
    }

    pub(super) fn settle(&self, lane: usize) {
        if let AnyLane::Owned(owned) = &self.lanes[lane] {
            owned.settle_here(&self.pool);
        }
    }

    pub(super) fn evacuate(&self, lane: usize) {
        if let AnyLane::Plain(plain) = &self.lanes[lane]
            && plain.in_flight() > 0
        {
            // SAFETY: a cancel names no memory.
            unsafe { plain.push_own(translate::cancel_all_entry()) };
            plain.flush();
        }
    }

    pub(super) fn has_unattended_work(&self, lane: usize) -> bool {
        match &self.lanes[lane] {
            AnyLane::Plain(plain) => plain.has_unsubmitted(),
            AnyLane::Owned(owned) => owned.has_unattended_work(),
        }
    }

    pub(super) fn has_requests(&self, lane: usize) -> bool {
        match &self.lanes[lane] {
            AnyLane::Plain(plain) => plain.in_flight() > 0,
            AnyLane::Owned(owned) => owned.has_requests(),
        }
    }

    pub(super) fn take_over(&self, lane: usize) -> Option<TakeOver<'_>> {
        match &self.lanes[lane] {
            AnyLane::Plain(_) => None,
            AnyLane::Owned(owned) => owned.take_over(),
        }
    }

    /// The clerk's for what must not wait for a thread: a file's transfer is finished in the context
    /// of the thread that submits it, and fails when that has ended; a connect names memory until
    /// it is over; and the kernel gives each connection to the accept that was armed first, even if
    /// that was taken over from a stuck thread, where it would lie.
    pub(super) fn lane_for(&self, request: &Request, serving: usize) -> usize {
        let is_waiting =
            matches!(request, Request::Connect(_) | Request::Accept | Request::AcceptStream);
        let is_owned = self.plan.of_threads > 0;
        if request.is_of_file() || is_owned && is_waiting { self.clerk_lane() } else { serving }
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
        let may_keep = matches!(&self.lanes[lane], AnyLane::Plain(_));
        let request = match request {
            // One receive, and the stream is armed again by the thread that takes its packet: so
            // it moves to a lane of its own.
            Request::ReceiveStream(class)
                if !self.receives_again
                    || self.is_for_want_of_a_better(lane)
                    || translate::may_miss_its_end(descriptor) =>
            {
                Request::ReceivePooled(class)
            }
            // Likewise: the layer above accepts again.
            Request::AcceptStream if !self.accepts_again => Request::Accept,
            request => request,
        };
        let entry = if self.lends(lane, request.kind()) {
            // SAFETY: the caller keeps what the request names alive until its last event.
            unsafe { translate::entry(descriptor, request, token, may_keep) }
        } else {
            translate::pooled_wait_entry(descriptor, token)
        };
        // SAFETY: as above: the entry names only that memory.
        on_lane!(self, lane, l => unsafe { l.push(entry) });
    }

    /// True for the clerk's lane and those of seats, where every event costs more than on a
    /// thread's own.
    fn is_for_want_of_a_better(&self, lane: usize) -> bool {
        self.plan.of_threads > 0 && !self.is_of_thread(lane)
    }

    /// False for a pooled receive on a lane that lends the kernel no buffers of its class.
    fn lends(&self, lane: usize, request: RequestKind) -> bool {
        match request {
            RequestKind::ReceivePooled(class) => match &self.lanes[lane] {
                AnyLane::Plain(plain) => plain.prepare_group(class, &self.pool),
                AnyLane::Owned(owned) => owned.lends(class),
            },
            _ => true,
        }
    }

    pub(super) fn cancel(&self, lane: usize, request: RequestKind, token: Token) {
        let word = translate::word_of(request, token, self.lends(lane, request));
        let entry = translate::cancel_entry(word);
        match &self.lanes[lane] {
            AnyLane::Plain(plain) => {
                // SAFETY: a cancel names no memory.
                unsafe { plain.push_own(entry) };
                if !plain.has_doorbell() {
                    plain.flush();
                }
            }
            AnyLane::Owned(owned) => {
                // SAFETY: as above.
                unsafe { owned.push(entry) };
                // The owner hands it over when it next enters the kernel. Not here, where the
                // operation is locked: the lease comes before that lock.
                if !owned.is_owned_here() {
                    // The owner, if it sleeps; else whoever takes over from it.
                    owned.wake(&self.bell);
                    self.wake(self.clerk_lane());
                }
            }
        }
    }

    pub(super) fn next_event(
        &self,
        lane: usize,
        is_served: bool,
        reaped: &mut Reaped,
        upcoming: impl Fn(Ahead, Token),
    ) -> Option<Event> {
        let ahead = if is_served { REAPED_MAX } else { 1 };
        if reaped.events.len() <= ahead / 2 {
            let on_orphan = |orphan: usize| {
                if let AnyLane::Plain(plain) = &self.lanes[orphan] {
                    plain.set_orphan_watched(false);
                }
            };
            let (events, pool, bell) = (&mut reaped.events, &self.pool, &self.bell);
            let soon = |token| upcoming(Ahead::Soon, token);
            match &self.lanes[lane] {
                AnyLane::Plain(plain) => plain.reap(events, ahead, pool, bell, soon, on_orphan),
                AnyLane::Owned(owned) => owned.reap(events, ahead, pool, bell, soon),
            }
        }
        let event = reaped.events.pop_front();
        if let Some(next) = reaped.events.front() {
            upcoming(Ahead::Next, next.token);
        }
        on_lane!(self, lane, l => l.note_reaped(reaped.events.len()));
        event
    }

    pub(super) fn backlog(&self, lane: usize) -> usize {
        on_lane!(self, lane, l => l.backlog())
    }

    pub(super) fn flush(&self, lane: usize) {
        match &self.lanes[lane] {
            AnyLane::Plain(plain) => plain.flush(),
            AnyLane::Owned(owned) if owned.is_owned_here() => owned.flush(&self.pool),
            // Another's: it flushes when it is back, or somebody takes over from it.
            AnyLane::Owned(_) => {}
        }
    }

    pub(super) fn has_unsubmitted(&self, lane: usize) -> bool {
        on_lane!(self, lane, l => l.has_unsubmitted())
    }

    pub(super) fn wait(&self, lane: usize, timeout: Option<Duration>) {
        match &self.lanes[lane] {
            AnyLane::Plain(plain) => plain.wait(timeout),
            AnyLane::Owned(owned) => owned.wait(timeout, &self.pool),
        }
    }

    pub(super) fn wake(&self, lane: usize) {
        on_lane!(self, lane, l => l.wake(&self.bell));
        if let AnyLane::Owned(owned) = &self.lanes[lane]
            && !owned.has_owner()
        {
            // Its thread has left, or could not have a ring: what is staged there is for others.
            on_lane!(self, self.clerk_lane, l => l.wake(&self.bell));
        }
    }

    /// Every lane's ring wakes whoever waits on it.
    pub(super) fn lacks_poller(&self) -> bool {
        false
    }

    pub(super) fn replenish(&self, lane: usize, class: SizeClass) -> bool {
        on_lane!(self, lane, l => l.replenish(class, &self.pool))
    }

    /// For plain lanes only: what an owned one has is looked after by the clock, since the kernel
    /// tells nobody but the owner of it.
    pub(super) fn watch_orphan(&self, lane: usize) {
        let AnyLane::Plain(clerk) = &self.lanes[self.clerk_lane()] else { return };
        if let AnyLane::Plain(plain) = &self.lanes[lane]
            && plain.set_orphan_watched(true)
        {
            // SAFETY: a poll names no memory, and the ring's descriptor lives as long as `self`.
            unsafe { clerk.push_own(translate::orphan_entry(plain.raw_fd(), lane)) };
        }
    }
}
