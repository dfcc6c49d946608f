//! The seam to the operating system: the only place that knows one.
//!
//! Upwards it speaks of *lanes* (where a thread of the port waits), *requests* (one attempt at an
//! operation, named by a token) and *events* (what became of a request). It knows nothing of
//! packets, contexts or queues of operations; those are above. A backend is one variant of
//! [`Backend`]: the calls of this enum are all that a new one has to offer.
//!
//! What every backend guarantees:
//! * A request yields exactly one event with `more == false`, and before it, for streams only, any
//!   number with `more == true`. Events of one request come in order.
//! * Memory named by a request is not touched after its last event was taken.
//! * `issue`, `cancel` and `wake` may be called from any thread, in any state of the lane.

mod association;
mod choice;
mod condition;
mod datagram;
mod descriptor;
mod event;
mod lane_plan;
mod prefetch;
#[cfg(unix)]
mod readiness;
mod request;
mod signal;
#[cfg(feature = "sim")]
pub mod sim;
mod socket;
mod thread;
#[cfg(unix)]
mod unix;
#[cfg(not(target_os = "linux"))]
mod untaken;
#[cfg(target_os = "linux")]
mod uring;
#[cfg(windows)]
mod windows;

use crate::buf::{BufferPool, SizeClass};
use crate::error::{Error, ErrorKind};
use std::io::IoSlice;
use std::time::Duration;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(crate) use association::Association;
pub use choice::{BackendChoice, BackendKind, available_backends};
pub(crate) use choice::{Chosen, choose};
pub(crate) use condition::Condvar;
pub(crate) use datagram::{TakenDatagram, receive_datagram_now, send_datagram_now};
pub(crate) use descriptor::{Descriptor, open_file};
pub(crate) use event::{Ahead, Event, Outcome, Reaped};
pub(crate) use lane_plan::LanePlan;
pub(crate) use prefetch::prefetch;
pub(crate) use request::{FileRegion, GENERATION_MASK, Region, Request, RequestKind, Token};
pub use signal::SignalKind;
pub(crate) use socket::{IS_ADDRESS_REUSE_SAFE, Socket};
pub(crate) use system::code::{error_from_code, error_from_io, is_connect_in_progress};
pub(crate) use system::descriptor::{OwnedSocket, spread_connections};
#[cfg(unix)]
pub(crate) use system::local::{connect_local, local_name, unnamed_local};
pub(crate) use system::message::Message;
pub(crate) use system::signal::watch_signal;
pub(crate) use thread::{
    InPlace, Parker, Place, Thread, ThreadClock, ThreadWatch, cores, hand_over, now, sleep, spawn,
    turn_number, yield_now,
};
#[cfg(not(target_os = "linux"))]
pub(crate) use untaken::TakeOver;
#[cfg(target_os = "linux")]
pub(crate) use uring::TakeOver;

/// Receives into a pooled buffer without waiting; any backend's sockets will do.
pub(crate) fn receive_pooled_now(
    descriptor: &Descriptor,
    pool: &BufferPool,
    class: SizeClass,
) -> Outcome {
    system::receive::receive_pooled_now(descriptor.system(), pool, class)
}

/// What a backend needs to know when it is made.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(crate) struct BackendOptions {
    /// How many threads of the port may run at a time. There are at least as many lanes, and one
    /// more, the clerk's.
    pub(crate) seats: usize,
    pub(crate) submission_entries: u32,
    pub(crate) completion_entries: u32,
    pub(crate) pool: BufferPool,
}

/// The backend in use.
pub(crate) enum Backend {
    #[cfg(target_os = "linux")]
    Uring(uring::Uring),
    #[cfg(unix)]
    Readiness(readiness::Readiness),
    #[cfg(windows)]
    Windows(windows::Windows),
    #[cfg(feature = "sim")]
    Sim(sim::Sim),
}

/// Calls the same method on whichever backend is in use.
macro_rules! dispatch {
    ($self:ident, $backend:ident => $call:expr) => {
        match $self {
            #[cfg(target_os = "linux")]
            Backend::Uring($backend) => $call,
            #[cfg(unix)]
            Backend::Readiness($backend) => $call,
            #[cfg(windows)]
            Backend::Windows($backend) => $call,
            #[cfg(feature = "sim")]
            Backend::Sim($backend) => $call,
        }
    };
}

impl Backend {
    /// The backend that `kind` names.
    pub(crate) fn new(kind: BackendKind, options: BackendOptions) -> Result<Self, Error> {
        match kind {
            #[cfg(target_os = "linux")]
            BackendKind::IoUring => Ok(Backend::Uring(uring::Uring::new(options)?)),
            #[cfg(not(target_os = "linux"))]
            BackendKind::IoUring => Err(choice::unavailable("io_uring is a facility of Linux")),
            #[cfg(unix)]
            BackendKind::Readiness => Ok(Backend::Readiness(readiness::Readiness::new(options)?)),
            #[cfg(not(unix))]
            BackendKind::Readiness => Err(choice::unavailable("readiness is for Unix")),
            #[cfg(windows)]
            BackendKind::Windows => Ok(Backend::Windows(windows::Windows::new(options)?)),
            #[cfg(not(windows))]
            BackendKind::Windows => {
                Err(choice::unavailable("completion ports of the system are a facility of Windows"))
            }
            #[cfg(feature = "sim")]
            BackendKind::Simulated => match sim::World::current() {
                Some(world) => Ok(Self::in_world(&world, options)),
                None => Err(choice::unavailable("the calling thread is in no simulated world")),
            },
        }
    }

    /// The backend of a simulated world.
    #[cfg(feature = "sim")]
    pub(crate) fn in_world(world: &sim::World, options: BackendOptions) -> Self {
        Backend::Sim(sim::Sim::new(world, options))
    }

    /// The lane of the clerk.
    pub(crate) fn clerk_lane(&self) -> usize {
        dispatch!(self, b => b.clerk_lane())
    }

    /// How many lanes there are: those of threads or seats, the clerk's, and, where threads have
    /// their own, the seats'.
    pub(crate) fn lanes(&self) -> usize {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.lanes(),
            #[allow(unreachable_patterns)]
            _ => self.clerk_lane() + 1,
        }
    }

    /// Which lanes belong to threads, and which to the seats of a port with this many.
    pub(crate) fn lane_plan(&self, seats: usize) -> LanePlan {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.lane_plan(),
            #[allow(unreachable_patterns)]
            _ => LanePlan { of_threads: 0, of_seats: (0..seats).collect() },
        }
    }

    /// True for a lane that belongs to one thread, which must adopt it.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn is_of_thread(&self, lane: usize) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.is_of_thread(lane),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The calling thread serves this lane, which belongs to it, from now on, until it retires it.
    /// False while another thread has not retired it.
    ///
    /// # Errors
    /// The system refuses what the lane takes; the thread can use its seat's.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn adopt(&self, lane: usize) -> Result<bool, Error> {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.adopt(lane),
            #[allow(unreachable_patterns)]
            _ => Ok(true),
        }
    }

    /// The calling thread, which has adopted the lane, will not serve it any more. Everything
    /// under way on it was taken over.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn retire(&self, lane: usize) {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.retire(lane),
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }

    /// Sees to it, on the thread that has adopted the lane, that the kernel lets go of all that
    /// was taken over from it.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn settle(&self, lane: usize) {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.settle(lane),
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }

    /// Interrupts everything under way on a seat's lane, which nobody will serve now.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn evacuate(&self, lane: usize) {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.evacuate(lane),
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }

    /// True where a lane's events are its own. Else all lanes take from one queue, and the clerk sees
    /// itself to what nobody takes.
    pub(crate) fn has_events_of_lanes(&self) -> bool {
        match self {
            #[cfg(unix)]
            Backend::Readiness(_) => false,
            #[allow(unreachable_patterns)]
            _ => true,
        }
    }

    /// True when something waits on this lane that only its thread brings forward, or who takes
    /// over from it: what it has not handed to the kernel, what the kernel keeps for it.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn has_unattended_work(&self, lane: usize) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.has_unattended_work(lane),
            #[cfg(feature = "sim")]
            Backend::Sim(sim) => sim.has_unsubmitted(lane),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// True when requests may be under way that only this lane tells of.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn has_requests(&self, lane: usize) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.has_requests(lane),
            #[cfg(feature = "sim")]
            Backend::Sim(sim) => sim.has_requests(lane),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The lane for a request of a thread that serves `serving`.
    pub(crate) fn lane_for(&self, request: &Request, serving: usize) -> usize {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.lane_for(request, serving),
            #[allow(unreachable_patterns)]
            _ if request.is_of_file() => self.clerk_lane(),
            #[allow(unreachable_patterns)]
            _ => serving,
        }
    }

    /// Ends what is left to the calling thread of lanes that are gone.
    pub(crate) fn settle_left() {
        #[cfg(target_os = "linux")]
        uring::settle_left();
    }

    /// The right to take over what the thread of a lane has under way; `None` when the thread is
    /// at it, or the lane is not of one thread: then `flush` does what can be done.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn take_over(&self, lane: usize) -> Option<TakeOver<'_>> {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.take_over(lane),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }

    /// Takes a descriptor in, before the first request on it.
    pub(crate) fn attach(&self, descriptor: &mut Descriptor) -> Result<(), Error> {
        #[cfg(feature = "sim")]
        if let Backend::Sim(sim) = self {
            return sim.attach(descriptor);
        }
        let Some(descriptor) = descriptor.system_mut() else {
            return Err(Error::new(ErrorKind::InvalidInput, "associate a socket")
                .with_detail("it is simulated, and the port is not: build the port in its world"));
        };
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.attach(descriptor),
            #[cfg(unix)]
            Backend::Readiness(readiness) => readiness.attach(descriptor),
            #[cfg(windows)]
            Backend::Windows(windows) => windows.attach(descriptor),
            #[cfg(feature = "sim")]
            Backend::Sim(_) => Ok(()),
        }
    }

    /// Lets a descriptor go. No request on it is under way any more.
    pub(crate) fn detach(&self, descriptor: &Descriptor) {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.detach(descriptor.system()),
            #[cfg(unix)]
            Backend::Readiness(readiness) => readiness.detach(descriptor.system()),
            #[cfg(windows)]
            Backend::Windows(windows) => windows.detach(descriptor.system()),
            #[cfg(feature = "sim")]
            Backend::Sim(sim) => sim.detach(descriptor),
        }
    }

    /// Starts an attempt. Never fails: what goes wrong is the request's event.
    ///
    /// # Safety
    /// The memory that `request` names stays valid, and is not accessed by anybody else, and
    /// `descriptor` stays open, until an event of `token` with `more == false` was taken. `token`
    /// names no other request that is under way.
    pub(crate) unsafe fn issue(
        &self,
        lane: usize,
        descriptor: &Descriptor,
        request: Request,
        token: Token,
    ) {
        match self {
            #[cfg(target_os = "linux")]
            // SAFETY: the caller's promise is passed on, here and below.
            Backend::Uring(b) => unsafe { b.issue(lane, descriptor.system(), request, token) },
            #[cfg(unix)]
            // SAFETY: see above.
            Backend::Readiness(b) => unsafe { b.issue(lane, descriptor.system(), request, token) },
            #[cfg(windows)]
            // SAFETY: see above.
            Backend::Windows(b) => unsafe { b.issue(lane, descriptor.system(), request, token) },
            #[cfg(feature = "sim")]
            // SAFETY: see above.
            Backend::Sim(b) => unsafe { b.issue(lane, descriptor, request, token) },
        }
    }

    /// Asks that `request`, issued on `lane` as `token`, end soon. Its event comes all the same.
    #[cfg_attr(not(any(target_os = "linux", windows)), allow(unused_variables))]
    pub(crate) fn cancel(
        &self,
        lane: usize,
        descriptor: &Descriptor,
        request: RequestKind,
        token: Token,
    ) {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.cancel(lane, request, token),
            #[cfg(unix)]
            Backend::Readiness(readiness) => readiness.cancel(lane, descriptor.system(), token),
            #[cfg(windows)]
            Backend::Windows(windows) => windows.cancel(lane, descriptor.system(), request, token),
            #[cfg(feature = "sim")]
            Backend::Sim(sim) => sim.cancel(lane, descriptor, token),
        }
    }

    /// The next event of a lane; `None` when there is none now. The caller makes sure that only
    /// one thread at a time takes events from a lane, so that they stay in order: the one that has
    /// the lane's `reaped`.
    ///
    /// Whoever serves the lane (`is_served`) may find further events prepared for it, of which
    /// `upcoming` is told the tokens, twice each as far as they are known; another thread must leave
    /// the lane so that its own finds them when it looks.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub(crate) fn next_event(
        &self,
        lane: usize,
        is_served: bool,
        reaped: &mut Reaped,
        upcoming: impl Fn(Ahead, Token),
    ) -> Option<Event> {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.next_event(lane, is_served, reaped, upcoming),
            #[cfg(unix)]
            Backend::Readiness(readiness) => readiness.next_event(lane, upcoming),
            #[cfg(windows)]
            Backend::Windows(windows) => windows.next_event(lane),
            #[cfg(feature = "sim")]
            Backend::Sim(sim) => sim.next_event(lane),
        }
    }

    /// Whether a send that nobody waits for is better made at once, by [`send_now`](Self::send_now),
    /// than issued.
    ///
    /// On readiness it is: 0.90 of the CPU time for a message of 64 bytes (1,000 connections), since
    /// a request there comes to the same call in the end. On a ring it is not: 1.03, the calls cost
    /// more than the completions. On Windows there is no such call for sockets whose operations
    /// overlap.
    pub(crate) fn sends_at_once(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(_) => false,
            #[cfg(unix)]
            Backend::Readiness(_) => true,
            #[cfg(windows)]
            Backend::Windows(_) => false,
            #[cfg(feature = "sim")]
            Backend::Sim(_) => false,
        }
    }

    /// Sends these bytes, or the first of them, without waiting, whatever the mode of the socket.
    /// Where `sends_at_once` says no, it is interrupted before it has done anything.
    #[cfg_attr(windows, allow(unused_variables))]
    pub(crate) fn send_now(&self, descriptor: &Descriptor, slices: &[IoSlice<'_>]) -> Outcome {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(_) => Outcome::Interrupted,
            #[cfg(unix)]
            Backend::Readiness(_) => readiness::send_now(descriptor.system(), slices),
            #[cfg(windows)]
            Backend::Windows(_) => Outcome::Interrupted,
            #[cfg(feature = "sim")]
            Backend::Sim(_) => Outcome::Interrupted,
        }
    }

    /// How many events `next_event` would probably find. Makes no system call.
    pub(crate) fn backlog(&self, lane: usize) -> usize {
        dispatch!(self, b => b.backlog(lane))
    }

    /// True when `next_event` would probably find something. Makes no system call.
    pub(crate) fn has_events(&self, lane: usize) -> bool {
        self.backlog(lane) > 0
    }

    /// Hands to the kernel what was issued on this lane, without waiting.
    pub(crate) fn flush(&self, lane: usize) {
        dispatch!(self, b => b.flush(lane))
    }

    /// True when something was issued on this lane that the kernel has not seen yet.
    pub(crate) fn has_unsubmitted(&self, lane: usize) -> bool {
        dispatch!(self, b => b.has_unsubmitted(lane))
    }

    /// Flushes and waits until the lane has an event, `wake` is called, or the time is over. May
    /// return early for no reason.
    pub(crate) fn wait(&self, lane: usize, timeout: Option<Duration>) {
        dispatch!(self, b => b.wait(lane, timeout))
    }

    /// Ends the current or else the next `wait` of the lane.
    pub(crate) fn wake(&self, lane: usize) {
        dispatch!(self, b => b.wake(lane))
    }

    /// True when events would go unnoticed because nobody looks for them: a thread that waits
    /// should be woken so that it does.
    pub(crate) fn lacks_poller(&self) -> bool {
        dispatch!(self, b => b.lacks_poller())
    }

    /// Makes room for pooled receives on this lane; false when the pool is at its bound.
    pub(crate) fn replenish(&self, lane: usize, class: SizeClass) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring(uring) => uring.replenish(lane, class),
            #[cfg(unix)]
            Backend::Readiness(readiness) => readiness.replenish(lane, class),
            #[cfg(windows)]
            Backend::Windows(windows) => windows.replenish(lane, class),
            #[cfg(feature = "sim")]
            Backend::Sim(sim) => sim.replenish(class),
        }
    }

    /// From now on the clerk's lane wakes when this lane, which no thread serves, has events.
    pub(crate) fn watch_orphan(&self, lane: usize) {
        dispatch!(self, b => b.watch_orphan(lane))
    }
}
