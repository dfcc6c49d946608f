//! The Windows backend: the system's own completion port. A port is a port, operations are
//! overlapped calls.
//!
//! All lanes wait on one port, which the system serves last in, first out; events that a thread
//! takes from it wait in the lane of that thread. What succeeds at once queues no packet where the
//! handle permits that. Pooled receives wait without memory (a receive of zero bytes) and are made
//! when there is something. What parts of the other systems' backends have their names here:
//! `Descriptor`, `Message`, the thread clock, the table of error numbers.

pub(super) mod clock;
pub(super) mod code;
mod connect;
pub(super) mod datagram;
pub(super) mod descriptor;
mod finish;
mod lane;
pub(super) mod message;
mod port;
pub(super) mod receive;
pub(super) mod signal;
mod slot;
mod start;
#[cfg(test)]
mod tests;

use super::system::descriptor::Descriptor;
use super::{BackendOptions, Event, Request, RequestKind, Token, error_from_io};
use crate::buf::{BufferPool, SizeClass};
use crate::error::Error;
use lane::Lane;
use port::Port;
use slot::Slots;
use start::Started;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use windows_sys::Win32::Networking::WinSock::{SIO_UDP_CONNRESET, SOCKET, WSAIoctl};
use windows_sys::Win32::Storage::FileSystem::SetFileCompletionNotificationModes;
use windows_sys::Win32::System::IO::{CancelIoEx, OVERLAPPED_ENTRY};
use windows_sys::Win32::System::WindowsProgramming::{
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE,
};

/// The key of packets that the system queues for operations on associated handles. What has
/// another key is not of this backend.
const OPERATION: usize = 0x616e_7901;

/// The key of packets that this backend posts for requests that were over at once.
const EARLY: usize = 0x616e_7902;

/// Events taken between two looks at the port while a lane never runs dry.
const LOOK_EVERY: usize = 64;

/// The backend. See [`super::Backend`] for what its methods promise.
pub(crate) struct Windows {
    port: Port,
    slots: Slots,
    /// One for each running thread, and the clerk's.
    lanes: Box<[Lane]>,
    /// Lanes that wait on the port now.
    waiting: AtomicUsize,
    /// Events taken since the last look at the port.
    taken: AtomicUsize,
    pool: BufferPool,
}

impl Windows {
    pub(super) fn new(options: BackendOptions) -> Result<Self, Error> {
        Ok(Windows {
            // One more than the threads that run: the clerk takes what is under way when the port
            // is gone, whatever its threads do then.
            port: Port::new(options.seats + 1)?,
            slots: Slots::new(),
            lanes: (0..=options.seats).map(|_| Lane::default()).collect(),
            waiting: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            pool: options.pool,
        })
    }

    pub(super) fn clerk_lane(&self) -> usize {
        self.lanes.len() - 1
    }

    pub(super) fn attach(&self, descriptor: &mut Descriptor) -> Result<(), Error> {
        let action = if descriptor.is_socket() { "associate a socket" } else { "associate a file" };
        let handle = descriptor.raw_handle();
        self.port.associate(handle, OPERATION).map_err(|e| {
            error_from_io(&e, action).with_detail(
                "it is associated with a port already, and has one port for life, or it was not \
                 opened for overlapped operations",
            )
        })?;
        // Where others stand between Winsock and the system, packets come whatever is asked for.
        let is_system_handle = descriptor.socket_kind().is_none_or(|kind| kind.is_system_handle);
        let modes = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
        // SAFETY: the handle is open.
        descriptor.skips_packets = is_system_handle
            && unsafe { SetFileCompletionNotificationModes(handle, modes as u8) } != 0;
        if descriptor.is_datagram() {
            let result = tell_no_resets(descriptor.raw_socket());
            result.map_err(|e| error_from_io(&e, action))?;
        }
        Ok(())
    }

    pub(super) fn detach(&self, _descriptor: &Descriptor) {}

    /// # Safety
    /// As for `Backend::issue`.
    pub(super) unsafe fn issue(
        &self,
        lane: usize,
        descriptor: &Descriptor,
        request: Request,
        token: Token,
    ) {
        let slot = self.slots.get(token.index());
        let mut state = slot.lock();
        assert!(state.token.is_none(), "two requests of one operation");
        state.token = Some(token);
        state.request = request;
        state.handle = descriptor.raw_handle();
        state.skips_packets = descriptor.skips_packets;
        state.transferred = 0;
        state.is_cancelled = false;
        // SAFETY: the caller's promise is passed on; the slot is locked and was free.
        let outcome = match unsafe { start::start(descriptor, slot, &mut state, request) } {
            Started::Pending => return,
            Started::Done(outcome) => outcome,
        };
        let clerk = self.clerk_lane();
        if lane != clerk {
            // The thread that serves the lane is awake and will look by itself.
            state.token = None;
            return self.lanes[lane].push(Event::last(token, outcome));
        }
        // For whichever thread waits; without one, for the clerk.
        state.early = Some(outcome);
        if self.waiting.load(Ordering::Relaxed) > 0
            && self.port.post(EARLY, slot.overlapped()).is_ok()
        {
            return;
        }
        state.token = None;
        if let Some(outcome) = state.early.take() {
            self.lanes[clerk].push(Event::last(token, outcome));
            self.lanes[clerk].wake();
        }
    }

    pub(super) fn cancel(
        &self,
        _lane: usize,
        _descriptor: &Descriptor,
        _request: RequestKind,
        token: Token,
    ) {
        let slot = self.slots.get(token.index());
        let mut state = slot.lock();
        if state.token == Some(token) {
            state.is_cancelled = true;
            // Fails when the call is over: its packet tells what it did.
            // SAFETY: the handle is open while the request is under way.
            unsafe { CancelIoEx(state.handle, slot.overlapped()) };
        }
    }

    pub(super) fn next_event(&self, lane: usize) -> Option<Event> {
        let event = self.lanes[lane].pop()?;
        // Requests that succeed at once could keep a lane filled for ever, so that nobody waits
        // and nobody asks for the others.
        if self.taken.fetch_add(1, Ordering::Relaxed) % LOOK_EVERY == LOOK_EVERY - 1 {
            self.look(lane);
        }
        Some(event)
    }

    pub(super) fn backlog(&self, lane: usize) -> usize {
        self.lanes[lane].event_count()
    }

    /// Nothing is kept back here; but a thread that is never without packets must look at the port
    /// now and then, or those of the system wait behind posted ones for ever.
    pub(super) fn flush(&self, lane: usize) {
        self.look(lane);
    }

    pub(super) fn has_unsubmitted(&self, _lane: usize) -> bool {
        false
    }

    pub(super) fn wait(&self, lane: usize, timeout: Option<Duration>) {
        let this = &self.lanes[lane];
        if this.event_count() > 0 {
            return;
        }
        if lane == self.clerk_lane() {
            return self.wait_as_clerk(timeout);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let packets = this.wait(|| self.port.take(timeout, true));
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.sort_in(lane, packets.into_iter().flatten());
    }

    pub(super) fn wake(&self, lane: usize) {
        self.lanes[lane].wake();
    }

    /// Every thread that waits is woken by the port.
    pub(super) fn lacks_poller(&self) -> bool {
        false
    }

    pub(super) fn replenish(&self, _lane: usize, class: SizeClass) -> bool {
        self.pool.take(class).is_some()
    }

    /// Whoever waits takes what comes, whatever lane it was issued on.
    pub(super) fn watch_orphan(&self, _lane: usize) {}

    /// The clerk leaves the port to the threads, as long as there are any: whoever of them goes
    /// away or begins to run wakes it. While nobody waits there, it sees to it that operations that
    /// stand in line get on.
    fn wait_as_clerk(&self, timeout: Option<Duration>) {
        let clerk = self.clerk_lane();
        let is_alone = || self.waiting.load(Ordering::Relaxed) == 0;
        if timeout.is_none() && is_alone() {
            let packets = self.lanes[clerk].wait(|| self.port.take(None, true));
            return self.sort_in(clerk, packets.into_iter().flatten());
        }
        self.lanes[clerk].park(timeout);
        if is_alone() {
            self.look(clerk);
        }
    }

    /// Takes what the port has, without waiting.
    fn look(&self, lane: usize) {
        let packets = self.port.take(Some(Duration::ZERO), false);
        self.sort_in(lane, packets);
    }

    fn sort_in(&self, lane: usize, packets: impl Iterator<Item = OVERLAPPED_ENTRY>) {
        for packet in packets {
            if let Some(event) = self.event_of(&packet) {
                self.lanes[lane].push(event);
            }
        }
    }

    /// What a packet means; `None` when it is not of this backend, or its request goes on.
    fn event_of(&self, packet: &OVERLAPPED_ENTRY) -> Option<Event> {
        if packet.lpCompletionKey != OPERATION && packet.lpCompletionKey != EARLY {
            return None;
        }
        let slot = self.slots.find(packet.lpOverlapped)?;
        let mut state = slot.lock();
        let token = state.token?;
        let outcome = if packet.lpCompletionKey == EARLY {
            state.early.take()?
        } else {
            let bytes = packet.dwNumberOfBytesTransferred as usize;
            let status = match slot.status() {
                Some(status) => status,
                // The structure says that the call is under way. If so it is cancelled, which is
                // told by a packet of its own, and then it starts again.
                // SAFETY: the handle is open while the request is under way.
                None if unsafe { CancelIoEx(state.handle, slot.overlapped()) } != 0 => return None,
                None => finish::status_of_abandoned(packet.Internal as i32, state.request),
            };
            match finish::of_packet(slot, &mut state, status, bytes) {
                Started::Pending => return None,
                Started::Done(outcome) => outcome,
            }
        };
        state.token = None;
        Some(Event::last(token, outcome))
    }
}

/// A datagram that nobody listens for must not make the next receive fail: a socket of datagrams
/// has no connection that could be reset.
fn tell_no_resets(socket: SOCKET) -> io::Result<()> {
    let (is_told, mut bytes) = (0i32, 0);
    // SAFETY: the input is one number of the size that is said.
    let result = unsafe {
        WSAIoctl(
            socket,
            SIO_UDP_CONNRESET,
            (&raw const is_told).cast(),
            size_of_val(&is_told) as u32,
            null_mut(),
            0,
            &mut bytes,
            null_mut(),
            None,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
