//! The readiness backend: try the call, else wait until the socket is ready (epoll;
//! elsewhere kqueue or event ports, by the `polling` crate); files on a few threads.
//!
//! One poller serves all lanes. Whichever lane finds nothing to do polls; the others park. Where
//! no lane does, for want of a thread in `get` or since all are stuck, the clerk polls. Events
//! and ready sockets are taken from one queue by any lane, and a ready socket is read only when it
//! is taken: just before its packet is handled, unless nobody is there and the clerk takes it. Nothing here wakes up by itself: a port without
//! events sleeps without a time limit. Called by the seam in `sys`.

mod attempt;
#[cfg(target_os = "linux")]
mod epoll;
mod files;
mod queue;
mod ready;
mod registration;
mod remainder;
mod selector;
mod sleepers;
mod table;
#[cfg(test)]
mod tests;

use super::system::descriptor::Descriptor;
use super::{Ahead, BackendOptions, Event, Outcome, Request, Token, error_from_io, now};
use crate::buf::{BufferPool, SizeClass};
use crate::error::{Error, ErrorKind};
use attempt::Telling;
use files::FileThreads;
use queue::{Item, Taken};
use ready::{Ready, locked};
use registration::Socket;
use selector::{Events, Selector};
use sleepers::{NEGLECTED_AFTER, Place};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use table::SocketTable;

pub(crate) use registration::Registration;

/// The backend. See [`super::Backend`] for what its methods promise.
pub(crate) struct Readiness {
    /// Before `ready`: dropping it waits for the file threads.
    files: FileThreads,
    ready: Arc<Ready>,
    sockets: Mutex<SocketTable>,
    /// What a poll found. Locked only by who has the poller's part, and by the clerk.
    poll: Mutex<Poll>,
    pool: BufferPool,
}

impl Readiness {
    pub(super) fn new(options: BackendOptions) -> Result<Self, Error> {
        let selector = Selector::new().map_err(|e| error_from_io(&e, "make a poller"))?;
        Ok(Self::with_selector(selector, options))
    }

    fn with_selector(selector: Selector, options: BackendOptions) -> Self {
        let ready = Arc::new(Ready::new(selector, options.seats));
        Readiness {
            files: FileThreads::new(Arc::clone(&ready)),
            ready,
            sockets: Mutex::default(),
            poll: Mutex::new(Poll { events: Events::new(), sockets: Vec::new() }),
            pool: options.pool,
        }
    }

    pub(super) fn clerk_lane(&self) -> usize {
        self.ready.sleepers.clerk_lane()
    }

    pub(super) fn attach(&self, descriptor: &mut Descriptor) -> Result<(), Error> {
        const ACTION: &str = "associate a socket";
        if !descriptor.is_socket() {
            return Ok(());
        }
        let fd = descriptor.raw();
        set_nonblocking(fd).map_err(|e| error_from_io(&e, ACTION))?;
        #[cfg(target_vendor = "apple")]
        descriptor.socket().set_nosigpipe(true).map_err(|e| error_from_io(&e, ACTION))?;
        let socket = locked(&self.sockets)
            .insert(|key| Socket::new(fd, key))
            .ok_or(Error::new(ErrorKind::Limit, ACTION))?;
        // SAFETY: the descriptor is open, and is detached, which deletes it from the poller,
        // before it closes.
        if let Err(e) = unsafe { self.ready.selector.add(fd, socket.key()) } {
            locked(&self.sockets).remove(socket.key());
            return Err(error_from_io(&e, ACTION));
        }
        descriptor.registration = Some(Registration { socket });
        Ok(())
    }

    pub(super) fn detach(&self, descriptor: &Descriptor) {
        let Some(Registration { socket }) = &descriptor.registration else {
            return;
        };
        locked(&self.sockets).remove(socket.key());
        socket.detach();
        if let Err(e) = self.ready.selector.delete(descriptor.as_fd()) {
            log::error!("cannot take a socket out of the poller: {e}");
        }
    }

    /// # Safety
    /// As for `Backend::issue`.
    pub(super) unsafe fn issue(
        &self,
        lane: usize,
        descriptor: &Descriptor,
        request: Request,
        token: Token,
    ) {
        let Some(Registration { socket }) = &descriptor.registration else {
            // SAFETY: the caller's promise is passed on.
            return unsafe { self.files.start(descriptor.raw(), request, token) };
        };
        let led_to = |event| match lane == self.ready.sleepers.clerk_lane() {
            true => self.ready.push(event),
            // The thread that serves the lane is awake and will look by itself. If its handler goes
            // on for long, the watch calls another.
            false => self.ready.push_quietly(event),
        };
        // SAFETY: the caller's promise is passed on.
        unsafe { socket.issue(&self.ready.selector, &self.pool, request, token, led_to) };
    }

    pub(super) fn cancel(&self, _lane: usize, descriptor: &Descriptor, token: Token) {
        let is_cancelled = match &descriptor.registration {
            Some(Registration { socket }) => socket.cancel(token),
            None => self.files.cancel(token),
        };
        if is_cancelled {
            self.ready.push(Event::last(token, Outcome::Interrupted));
        }
    }

    pub(super) fn next_event(&self, lane: usize, upcoming: impl Fn(Ahead, Token)) -> Option<Event> {
        loop {
            let item = if lane == self.ready.sleepers.clerk_lane() {
                self.ready.queue.pop_neglected()?
            } else {
                let Taken { item, is_look_due } = self.ready.queue.pop(&upcoming)?;
                if is_look_due {
                    self.look();
                }
                item
            };
            let socket = match item {
                Item::Event(event) => return Some(event),
                Item::Socket(socket) => socket,
            };
            fault_point!(SocketTaken);
            let others = |event| self.ready.push_quietly(event);
            let event = socket.resume(&self.ready.selector, &self.pool, others);
            if event.is_some() {
                return event;
            }
        }
    }

    pub(super) fn backlog(&self, _lane: usize) -> usize {
        self.ready.queue.len()
    }

    /// Nothing is kept back here; but a thread that is never without packets must look at the
    /// sockets now and then, or those of the sockets wait behind posted ones for ever.
    pub(super) fn flush(&self, _lane: usize) {
        self.look();
    }

    pub(super) fn has_unsubmitted(&self, _lane: usize) -> bool {
        false
    }

    pub(super) fn wait(&self, lane: usize, timeout: Option<Duration>) {
        let ready = &*self.ready;
        if lane == ready.sleepers.clerk_lane() {
            return self.wait_as_clerk(timeout);
        }
        if ready.has_events() {
            return;
        }
        let place = ready.enter(lane);
        // Looked at again after `enter`: from there on a push wakes this lane.
        if !ready.has_events() {
            match place {
                Place::Parks => ready.sleepers.park(lane, timeout),
                Place::Polls => self.poll(Some(lane), timeout),
            }
        }
        ready.sleepers.leave(lane, place);
    }

    fn wait_as_clerk(&self, timeout: Option<Duration>) {
        let (ready, lane) = (&*self.ready, self.ready.sleepers.clerk_lane());
        let mut place = ready.sleepers.enter_as_clerk(timeout.is_none(), now());
        // Looked at after `enter_as_clerk`, as lanes do.
        let timeout = match ready.has_events() {
            true => Some(timeout.map_or(NEGLECTED_AFTER, |t| t.min(NEGLECTED_AFTER))),
            false => timeout,
        };
        if place == Place::Polls && timeout.is_some_and(|t| t < NEGLECTED_AFTER) {
            // Pollers know of milliseconds only.
            self.poll(Some(lane), Some(Duration::ZERO));
            ready.sleepers.leave_as_clerk();
            if ready.has_events() {
                return;
            }
            place = Place::Parks;
        }
        match place {
            Place::Parks => ready.sleepers.park(lane, timeout),
            Place::Polls => self.poll(Some(lane), timeout),
        }
        ready.sleepers.leave_as_clerk();
    }

    pub(super) fn wake(&self, lane: usize) {
        self.ready.wake(lane);
    }

    pub(super) fn lacks_poller(&self) -> bool {
        self.ready.sleepers.lacks_poller()
    }

    pub(super) fn replenish(&self, _lane: usize, class: SizeClass) -> bool {
        self.pool.take(class).is_some()
    }

    pub(super) fn watch_orphan(&self, _lane: usize) {}

    /// Asks for ready sockets without waiting, unless a lane polls or some are known.
    fn look(&self) {
        if !self.ready.queue.has_sockets() && self.ready.sleepers.begin_look() {
            self.poll(None, Some(Duration::ZERO));
            self.ready.end_look();
        }
    }

    /// Waits for sockets to become ready and queues them. The caller has the poller's part, or is the
    /// clerk. With a lane, a wake-up of it ends the wait.
    fn poll(&self, lane: Option<usize>, timeout: Option<Duration>) {
        // The clerk may still be here, displaced a moment ago. Only now, when nobody else can use
        // up its notification, is the lane said to be in the poller.
        let mut poll = locked(&self.poll);
        if lane.is_some_and(|lane| !self.ready.sleepers.begin_poll(lane)) {
            return;
        }
        let Poll { events, sockets } = &mut *poll;
        let result = self.ready.selector.wait(events, timeout);
        if let Some(lane) = lane {
            self.ready.sleepers.end_poll(lane);
        }
        if let Err(e) = result {
            log::error!("cannot wait for sockets: {e}");
            return;
        }
        fault_point!(Polled);
        let table = locked(&self.sockets);
        // A key that names nothing any more belonged to a socket that was detached meanwhile.
        sockets.extend(events.iter().filter_map(|(key, found)| {
            let socket = table.get(key)?;
            socket.note(found).then(|| Arc::clone(socket))
        }));
        drop(table);
        match lane == Some(self.ready.sleepers.clerk_lane()) {
            true => self.ready.push_clerks(sockets),
            false => self.ready.push_own(sockets),
        }
    }
}

/// See [`super::receive_pooled_now`].
pub(super) fn receive_pooled_now(
    descriptor: &Descriptor,
    pool: &BufferPool,
    class: SizeClass,
) -> Outcome {
    attempt::receive_pooled(descriptor.raw(), pool, class, Telling::No).into_outcome()
}

/// See [`super::Backend::send_now`].
pub(super) fn send_now(descriptor: &Descriptor, slices: &[IoSlice<'_>]) -> Outcome {
    attempt::send_slices(&descriptor.socket(), slices).into_outcome()
}

struct Poll {
    events: Events,
    /// Kept for its room: no allocation in a warm poll.
    sockets: Vec<Arc<Socket>>,
}

/// One call instead of the two of `fcntl`.
fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    let mut is_nonblocking: libc::c_int = 1;
    // SAFETY: FIONBIO reads one int behind the pointer.
    match unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut is_nonblocking) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
