//! What tells which sockets are ready: epoll itself on Linux, elsewhere the `polling` crate.
//!
//! Guarantees that what a socket becomes ready for while it is added is found, once: as an edge
//! where the system has edges, else after each `arm`. Called by `Readiness`, `Ready` and `Socket`.

#[cfg(target_os = "linux")]
use super::epoll::Epoll;
use super::registration::{READABLE, WRITABLE};
use polling::{PollMode, Poller};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// A socket's key, and bits of what was found: see `registration`.
pub(super) type Found = (usize, u8);

/// Sockets that one wait brings.
pub(super) const POLLED_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The system's way to wait for many sockets.
pub(super) enum Selector {
    #[cfg(target_os = "linux")]
    Epoll(Epoll),
    Polling {
        poller: Poller,
        uses_edges: bool,
    },
}

impl Selector {
    /// The best that the system has.
    pub(super) fn new() -> io::Result<Self> {
        // Some sandboxes forbid eventfd; `polling` makes do with a pipe.
        #[cfg(target_os = "linux")]
        if let Ok(epoll) = Epoll::new() {
            return Ok(Selector::Epoll(epoll));
        }
        let poller = Poller::new()?;
        let uses_edges = poller.supports_edge();
        Ok(Selector::Polling { poller, uses_edges })
    }

    /// Sockets are registered once for edges; otherwise `arm` is called for each wait.
    pub(super) fn uses_edges(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(_) => true,
            Selector::Polling { uses_edges, .. } => *uses_edges,
        }
    }

    /// What is found says with `ENDED` when there may be more than bytes to receive.
    pub(super) fn tells_ends(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(_) => true,
            Selector::Polling { .. } => false,
        }
    }

    /// # Safety
    /// `fd` is open, and is deleted before it closes.
    pub(super) unsafe fn add(&self, fd: RawFd, key: usize) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(epoll) => epoll.add(fd, key),
            Selector::Polling { poller, uses_edges } => {
                let (interest, mode) = match uses_edges {
                    true => (polling::Event::all(key), PollMode::Edge),
                    false => (polling::Event::none(key), PollMode::Oneshot),
                };
                // SAFETY: the caller's promise.
                unsafe { poller.add_with_mode(fd, interest, mode) }
            }
        }
    }

    pub(super) fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(epoll) => epoll.delete(std::os::fd::AsRawFd::as_raw_fd(&fd)),
            Selector::Polling { poller, .. } => poller.delete(fd),
        }
    }

    /// Asks, where there are no edges, for one report of this.
    pub(super) fn arm(&self, fd: BorrowedFd<'_>, key: usize, wanted: u8) -> io::Result<()> {
        match self {
            Selector::Polling { poller, uses_edges: false } => {
                let interest =
                    polling::Event::new(key, wanted & READABLE != 0, wanted & WRITABLE != 0);
                poller.modify_with_mode(fd, interest, PollMode::Oneshot)
            }
            _ => Ok(()),
        }
    }

    /// Waits until sockets are ready, `notify`, or the end of the time, for one thread at a time;
    /// may return early for no reason.
    pub(super) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(epoll) => epoll.wait(&mut events.of_epoll, timeout),
            Selector::Polling { poller, .. } => {
                events.of_polling.clear();
                poller.wait(&mut events.of_polling, timeout).map(drop)
            }
        }
    }

    /// Ends the current or else the next wait.
    pub(super) fn notify(&self) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Selector::Epoll(epoll) => epoll.notify(),
            Selector::Polling { poller, .. } => poller.notify(),
        }
    }
}

/// What a wait brought.
pub(super) struct Events {
    #[cfg(target_os = "linux")]
    of_epoll: Vec<libc::epoll_event>,
    of_polling: polling::Events,
}

impl Events {
    pub(super) fn new() -> Self {
        Events {
            #[cfg(target_os = "linux")]
            of_epoll: Vec::new(),
            of_polling: polling::Events::with_capacity(POLLED_MAX),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Found> + '_ {
        let of_polling = self.of_polling.iter().map(|event| {
            let found = if event.readable { READABLE } else { 0 };
            (event.key, found | if event.writable { WRITABLE } else { 0 })
        });
        #[cfg(target_os = "linux")]
        let of_epoll = Epoll::found(&self.of_epoll);
        #[cfg(not(target_os = "linux"))]
        let of_epoll = std::iter::empty();
        of_epoll.chain(of_polling)
    }
}
