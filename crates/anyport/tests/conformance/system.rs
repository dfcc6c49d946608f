//! What the statements must ask the system for, and how it numbers what they expect.

#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

#[cfg(unix)]
mod unix {
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    /// A socket of the standard library, as the system has it.
    pub use std::os::fd::AsFd as AsSystemSocket;

    pub const REFUSED: i32 = libc::ECONNREFUSED;
    /// The numbers that a reset has.
    pub const RESET: &[i32] = &[libc::ECONNRESET];

    /// There is something to read.
    pub const READABLE: i16 = libc::POLLIN;
    /// There is room to write.
    pub const WRITABLE: i16 = libc::POLLOUT;
    /// The connection is gone.
    pub const GONE: i16 = libc::POLLHUP;

    /// What of `events`, or an end, the system reports of the socket within the time.
    pub fn poll(socket: &impl AsSystemSocket, events: i16, timeout: Duration) -> i16 {
        let mut entry = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events, revents: 0 };
        let timeout_ms = i32::try_from(timeout.as_millis()).expect("a short timeout");
        // SAFETY: one entry is passed, which outlives the call.
        let count = unsafe { libc::poll(&mut entry, 1, timeout_ms) };
        assert!(count >= 0, "poll: {}", std::io::Error::last_os_error());
        entry.revents
    }
}

#[cfg(windows)]
mod windows {
    use std::os::windows::io::AsRawSocket;
    use std::time::Duration;
    use windows_sys::Win32::Foundation::{ERROR_CONNECTION_REFUSED, ERROR_NETNAME_DELETED};
    use windows_sys::Win32::Networking::WinSock::{
        POLLERR, POLLHUP, POLLRDNORM, POLLWRNORM, SOCKET, WSAECONNRESET, WSAPOLLFD, WSAPoll,
    };

    /// A socket of the standard library, as the system has it.
    pub use std::os::windows::io::AsSocket as AsSystemSocket;

    pub const REFUSED: i32 = ERROR_CONNECTION_REFUSED.cast_signed();
    /// The numbers that a reset has: a packet's, and a call's.
    pub const RESET: &[i32] = &[ERROR_NETNAME_DELETED.cast_signed(), WSAECONNRESET];

    /// There is something to read.
    pub const READABLE: i16 = POLLRDNORM;
    /// There is room to write.
    pub const WRITABLE: i16 = POLLWRNORM;
    /// The connection is gone.
    pub const GONE: i16 = POLLHUP | POLLERR;

    /// What of `events`, or an end, the system reports of the socket within the time.
    pub fn poll(socket: &impl AsSystemSocket, events: i16, timeout: Duration) -> i16 {
        let fd = socket.as_socket().as_raw_socket() as SOCKET;
        let mut entry = WSAPOLLFD { fd, events, revents: 0 };
        let timeout_ms = i32::try_from(timeout.as_millis()).expect("a short timeout");
        // SAFETY: one entry is passed, which outlives the call.
        let count = unsafe { WSAPoll(&mut entry, 1, timeout_ms) };
        assert!(count >= 0, "poll: {}", std::io::Error::last_os_error());
        entry.revents
    }
}
