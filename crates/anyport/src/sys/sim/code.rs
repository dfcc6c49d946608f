//! The real system's numbers for what fails in a simulated one, so that errors are told by the same
//! table (`code.rs` of the system).

use super::network::Fault;

#[cfg(unix)]
use libc::{
    EADDRINUSE as ADDRESS_IN_USE, ECONNREFUSED as REFUSED, ECONNRESET as RESET,
    EINPROGRESS as IN_PROGRESS, EINVAL as INVALID, EIO as DISK, EISCONN as ALREADY_CONNECTED,
    EMSGSIZE as TOO_LARGE, ENOSPC as NO_SPACE, ENOTCONN as NOT_CONNECTED, EPIPE as BROKEN_PIPE,
    ETIMEDOUT as TIMED_OUT,
};
#[cfg(windows)]
use windows_sys::Win32::Networking::WinSock::{
    WSAEADDRINUSE as ADDRESS_IN_USE, WSAECONNREFUSED as REFUSED, WSAECONNRESET as RESET,
    WSAEINVAL as INVALID, WSAEISCONN as ALREADY_CONNECTED, WSAEMSGSIZE as TOO_LARGE,
    WSAENOTCONN as NOT_CONNECTED, WSAETIMEDOUT as TIMED_OUT,
};
/// Windows tells of its own end and of the peer's by the same number.
#[cfg(windows)]
const BROKEN_PIPE: i32 = RESET;
#[cfg(windows)]
const IN_PROGRESS: i32 = windows_sys::Win32::Networking::WinSock::WSAEINPROGRESS;
#[cfg(windows)]
const NO_SPACE: i32 = windows_sys::Win32::Foundation::ERROR_DISK_FULL as i32;
#[cfg(windows)]
const DISK: i32 = windows_sys::Win32::Foundation::ERROR_IO_DEVICE as i32;

/// The number of a socket's fault.
pub(super) fn of(fault: Fault) -> i32 {
    match fault {
        Fault::Reset => RESET,
        Fault::BrokenPipe => BROKEN_PIPE,
        Fault::Refused => REFUSED,
        Fault::TimedOut => TIMED_OUT,
        Fault::NotConnected => NOT_CONNECTED,
        Fault::AlreadyConnected => ALREADY_CONNECTED,
        Fault::InProgress => IN_PROGRESS,
        Fault::AddressInUse => ADDRESS_IN_USE,
        Fault::TooLarge => TOO_LARGE,
        Fault::Invalid => INVALID,
    }
}

/// The number of a disk that has no room.
pub(super) const NO_SPACE_LEFT: i32 = NO_SPACE;

/// The number of a disk that fails.
pub(super) const DISK_FAILS: i32 = DISK;

/// What Windows says at the end of a file.
#[cfg(windows)]
pub(super) const END_OF_FILE: i32 = windows_sys::Win32::Foundation::ERROR_HANDLE_EOF as i32;
