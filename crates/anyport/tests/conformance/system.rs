//! What the statements must ask the system for, and how it numbers what they expect.

use anyport::BackendKind;

#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

/// True, and said, where the system does not tell whether a thread is blocked: see EXCEPTIONS.md.
pub fn tells_no_sleep() -> bool {
    let tells = cfg!(target_os = "linux") || cfg!(windows) && !is_wine();
    if !tells {
        println!("not run: the system does not tell whether a thread is blocked");
    }
    !tells
}

/// True, and said, where a reset may be lost before anybody receives: see EXCEPTIONS.md.
pub fn loses_resets() -> bool {
    if is_wine() {
        println!("not run in full: Wine itself takes the error of a reset that nobody waits for");
    }
    is_wine()
}

/// How many bytes of a send that was cut off had gone is known: see EXCEPTIONS.md.
pub fn tells_what_had_gone(kind: BackendKind) -> bool {
    kind != BackendKind::Windows
}

#[cfg(unix)]
mod unix {
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    /// A socket of the standard library, as the system has it.
    pub use std::os::fd::AsFd as AsSystemSocket;

    /// The numbers that a refusal has.
    pub const REFUSED: &[i32] = &[libc::ECONNREFUSED];
    /// The numbers that a reset has.
    pub const RESET: &[i32] = &[libc::ECONNRESET];

    /// There is something to read.
    pub const READABLE: i16 = libc::POLLIN;
    /// There is room to write.
    pub const WRITABLE: i16 = libc::POLLOUT;
    /// The connection is gone.
    pub const GONE: i16 = libc::POLLHUP;

    /// Programs for Windows run here on another system, as far as that goes.
    pub fn is_wine() -> bool {
        false
    }

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
        POLLERR, POLLHUP, POLLRDNORM, POLLWRNORM, SOCKET, WSAECONNREFUSED, WSAECONNRESET,
        WSAPOLLFD, WSAPoll,
    };
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};

    /// A socket of the standard library, as the system has it.
    pub use std::os::windows::io::AsSocket as AsSystemSocket;

    /// The numbers that a refusal has: a packet's, and a call's.
    pub const REFUSED: &[i32] = &[ERROR_CONNECTION_REFUSED.cast_signed(), WSAECONNREFUSED];
    /// The numbers that a reset has: a packet's, and a call's.
    pub const RESET: &[i32] = &[ERROR_NETNAME_DELETED.cast_signed(), WSAECONNRESET];

    /// There is something to read.
    pub const READABLE: i16 = POLLRDNORM;
    /// There is room to write.
    pub const WRITABLE: i16 = POLLWRNORM;
    /// The connection is gone.
    pub const GONE: i16 = POLLHUP | POLLERR;

    /// Programs for Windows run here on another system, as far as that goes.
    pub fn is_wine() -> bool {
        // SAFETY: both names end with a zero byte; the library is part of every process.
        unsafe {
            let library = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
            GetProcAddress(library, c"wine_get_version".as_ptr().cast()).is_some()
        }
    }

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
