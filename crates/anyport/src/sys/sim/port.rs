//! The lanes of a port of a world, as the seam asks for them.

use super::lanes::{LaneId, Port, Staged, What};
use super::network::SocketId;
use super::shared::Shared;
use super::socket::Handle;
use super::threads::Wait;
use super::world::World;
use crate::buf::SizeClass;
use crate::error::{Error, ErrorKind};
use crate::sys::{BackendOptions, Descriptor, Event, Outcome, Request, Socket, Token};
use std::sync::Arc;
use std::time::Duration;

/// The backend. See [`super::super::Backend`] for what its methods promise.
pub(crate) struct Sim {
    shared: Arc<Shared>,
    port: u64,
    clerk_lane: usize,
}

impl Sim {
    pub(in crate::sys) fn new(world: &World, options: BackendOptions) -> Self {
        let shared = Arc::clone(world.shared());
        let port = shared.with(|state| {
            let port = state.time.number();
            let does_stage = state.time.random.below(2) == 0;
            state.ports.insert(port, Port::new(options.pool, options.seats, does_stage));
            port
        });
        Sim { shared, port, clerk_lane: options.seats }
    }

    fn at(&self, lane: usize) -> LaneId {
        LaneId { port: self.port, lane }
    }

    pub(in crate::sys) fn clerk_lane(&self) -> usize {
        self.clerk_lane
    }

    pub(in crate::sys) fn has_requests(&self, lane: usize) -> bool {
        let at = self.at(lane);
        self.shared.with(|state| state.lane(at).is_some_and(|lane| lane.under_way > 0))
    }

    pub(in crate::sys) fn attach(&self, descriptor: &Descriptor) -> Result<(), Error> {
        const ACTION: &str = "associate a socket";
        match descriptor.simulated() {
            Some(handle) if Arc::ptr_eq(handle.shared(), &self.shared) => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::InvalidInput, ACTION)
                .with_detail("it is of another simulated world")),
            None if descriptor.is_socket() => Err(Error::new(ErrorKind::InvalidInput, ACTION)
                .with_detail(
                    "it is the system's, and the port is simulated: open it in the world",
                )),
            None => Ok(()),
        }
    }

    pub(in crate::sys) fn detach(&self, descriptor: &Descriptor) {
        let Some(handle) = descriptor.simulated() else { return };
        self.shared.with(|state| {
            debug_assert!(state.is_idle(handle.id()), "let go with a request under way");
            state.lines.remove(&handle.id());
        });
    }

    /// # Safety
    /// As for `Backend::issue`.
    pub(in crate::sys) unsafe fn issue(
        &self,
        lane: usize,
        descriptor: &Descriptor,
        request: Request,
        token: Token,
    ) {
        let at = self.at(lane);
        let file = match descriptor.simulated() {
            Some(_) => None,
            None => Some(descriptor.system().clone_file()),
        };
        self.shared.with(|state| match (descriptor.simulated(), file) {
            // SAFETY: the caller's promise is passed on.
            (Some(handle), _) => unsafe {
                state.take(at, Staged { socket: handle.id(), request, token });
            },
            // SAFETY: as above.
            (None, Some(file)) => unsafe { state.issue_transfer(at, file, request, token) },
            (None, None) => unreachable!("what is no socket is a file"),
        });
    }

    pub(in crate::sys) fn cancel(&self, lane: usize, descriptor: &Descriptor, token: Token) {
        let at = self.at(lane);
        self.shared.with(|state| match descriptor.simulated() {
            Some(handle) => {
                // It may be there, and comes before its cancel.
                state.flush(at);
                state.cancel(handle.id(), token);
            }
            None => state.cancel_transfer(token),
        });
    }

    pub(in crate::sys) fn next_event(&self, lane: usize) -> Option<Event> {
        let at = self.at(lane);
        let told = self.shared.with(|state| state.lane(at)?.events.pop_front())?;
        Some(told.into_event(|id| self.accepted(id)))
    }

    fn accepted(&self, id: SocketId) -> Outcome {
        match Handle::accepted(&self.shared, id) {
            Ok(handle) => Outcome::Accepted(Socket::from_simulated(handle)),
            Err(e) => Outcome::Failed(e.raw_os_error().unwrap_or(0)),
        }
    }

    pub(in crate::sys) fn backlog(&self, lane: usize) -> usize {
        let at = self.at(lane);
        self.shared.with(|state| state.lane(at).map_or(0, |lane| lane.events.len()))
    }

    pub(in crate::sys) fn flush(&self, lane: usize) {
        let at = self.at(lane);
        self.shared.with(|state| state.flush(at));
    }

    pub(in crate::sys) fn has_unsubmitted(&self, lane: usize) -> bool {
        let at = self.at(lane);
        self.shared.with(|state| state.lane(at).is_some_and(|lane| !lane.staged.is_empty()))
    }

    pub(in crate::sys) fn wait(&self, lane: usize, timeout: Option<Duration>) {
        let at = self.at(lane);
        let is_early = self.shared.with(|state| {
            state.flush(at);
            let early_wake = state.system.early_wake;
            state.time.random.chance(early_wake)
        });
        match is_early {
            true => self.shared.wait(Wait::Turn, None),
            false => self.shared.wait(Wait::Lane(at), self.shared.deadline(timeout)),
        }
        self.shared.with(|state| {
            if let Some(lane) = state.lane(at) {
                lane.is_woken = false;
                lane.is_orphan = false;
            }
        });
    }

    pub(in crate::sys) fn wake(&self, lane: usize) {
        let at = self.at(lane);
        self.shared.with(|state| {
            if let Some(lane) = state.lane(at) {
                lane.is_woken = true;
                state.has_changed = true;
            }
        });
    }

    pub(in crate::sys) fn replenish(&self, class: SizeClass) -> bool {
        let pool = self.shared.with(|state| state.ports.get(&self.port).map(|p| p.pool.clone()));
        pool.is_some_and(|pool| pool.take(class).is_some())
    }

    pub(in crate::sys) fn lacks_poller(&self) -> bool {
        false
    }

    pub(in crate::sys) fn watch_orphan(&self, lane: usize) {
        let (at, clerk) = (self.at(lane), self.at(self.clerk_lane));
        self.shared.with(|state| {
            let Some(lane) = state.lane(at) else { return };
            lane.is_orphan = lane.events.is_empty();
            let has_events = !lane.is_orphan;
            if has_events && let Some(clerk) = state.lane(clerk) {
                clerk.is_woken = true;
                state.has_changed = true;
            }
        });
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let port = self.shared.with(|state| {
            let port = state.ports.remove(&self.port)?;
            for lane in &port.lanes {
                for told in &lane.events {
                    if let What::Accepted(id) = told.what {
                        state.network.close(&mut state.time, id, true);
                    }
                }
            }
            Some(port)
        });
        // Outside of the lock: it may hold pooled buffers.
        drop(port);
    }
}
