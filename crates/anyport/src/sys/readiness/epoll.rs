//! Edges on Linux, from epoll itself.
//!
//! `polling` does not tell when the peer has ended its side (`EPOLLRDHUP`), which decides whether
//! a socket that is read empty must be asked once more; and it makes four system calls around each
//! wait. Guarantees that an edge that tells of more than bytes comes with `ENDED`. Called by
//! `Selector`.

use super::registration::{ENDED, READABLE, WRITABLE};
use super::selector::{Found, POLLED_MAX};
use libc::c_int;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// An epoll instance with an eventfd to wake who waits.
pub(super) struct Epoll {
    epoll: OwnedFd,
    bell: OwnedFd,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: as above.
        let bell = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let this = Epoll { epoll, bell };
        this.add_for(this.bell.as_raw_fd(), BELL, libc::EPOLLIN)?;
        Ok(this)
    }

    pub(super) fn add(&self, fd: RawFd, key: usize) -> io::Result<()> {
        let interest = libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLOUT;
        self.add_for(fd, key as u64, interest)
    }

    pub(super) fn delete(&self, fd: RawFd) -> io::Result<()> {
        // SAFETY: a delete reads no event.
        checked(unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut())
        })?;
        Ok(())
    }

    /// Waits; the time is rounded up to milliseconds.
    pub(super) fn wait(
        &self,
        events: &mut Vec<libc::epoll_event>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        events.clear();
        events.reserve(POLLED_MAX.get());
        let timeout_ms = match timeout {
            None => -1,
            Some(timeout) => {
                c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
            }
        };
        // SAFETY: there is room for as many events as it is told.
        let count = checked(unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                POLLED_MAX.get() as c_int,
                timeout_ms,
            )
        });
        match count {
            // SAFETY: the kernel has written so many.
            Ok(count) => unsafe { events.set_len(count as usize) },
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// What a wait brought.
    pub(super) fn found(events: &[libc::epoll_event]) -> impl Iterator<Item = Found> + '_ {
        const TELLS_MORE: c_int =
            libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR | libc::EPOLLPRI;
        let bits = |flags: c_int, set: c_int, bits: u8| if flags & set == 0 { 0 } else { bits };
        events.iter().filter(|event| event.u64 != BELL).map(move |event| {
            let flags = event.events as c_int;
            let found = bits(flags, TELLS_MORE, READABLE | ENDED)
                | bits(flags, libc::EPOLLIN, READABLE)
                | bits(flags, libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR, WRITABLE);
            (event.u64 as usize, found)
        })
    }

    /// Ends the current or else the next wait.
    pub(super) fn notify(&self) -> io::Result<()> {
        let one = 1u64;
        // Never read: every write is an edge. It overflows after 2^64 of them.
        // SAFETY: eight bytes, as an eventfd takes them.
        let written = unsafe {
            libc::write(self.bell.as_raw_fd(), (&raw const one).cast(), size_of::<u64>())
        };
        if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn add_for(&self, fd: RawFd, key: u64, interest: c_int) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (interest | libc::EPOLLET) as u32, u64: key };
        // SAFETY: the event is read during the call.
        checked(unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event)
        })?;
        Ok(())
    }
}

/// No socket's key: see `table`.
const BELL: u64 = u64::MAX;

fn checked(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: c_int) -> io::Result<OwnedFd> {
    // SAFETY: a descriptor that was just made and that nobody else has.
    checked(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}
