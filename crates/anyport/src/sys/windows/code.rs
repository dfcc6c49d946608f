//! The system's error numbers as kinds. One table for Win32 and Winsock: the calls fail with the
//! numbers of the second, their packets with those of the first.

use crate::error::{Error, ErrorKind};
use std::io;
use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Networking::WinSock as winsock;

/// The error for the system's number `code` in `action`.
pub(crate) fn error_from_code(code: i32, action: &'static str) -> Error {
    Error::from_code(kind_of(code), code, action)
}

/// The error for a failed standard library call.
pub(crate) fn error_from_io(error: &io::Error, action: &'static str) -> Error {
    match error.raw_os_error() {
        Some(code) => error_from_code(code, action),
        None => Error::new(ErrorKind::Other, action),
    }
}

/// An overlapped connect is one request from start to end: there is nothing to wait for after it.
pub(crate) fn is_connect_in_progress(_code: i32) -> bool {
    false
}

/// The Win32 number of a status that the system left in an overlapped structure.
pub(super) fn code_of_status(status: i32) -> i32 {
    // SAFETY: the call takes no pointers.
    unsafe { win32::RtlNtStatusToDosError(status) }.cast_signed()
}

fn kind_of(code: i32) -> ErrorKind {
    match winsock_kind(code) {
        Some(kind) => kind,
        None => win32_kind(code.cast_unsigned()),
    }
}

fn winsock_kind(code: i32) -> Option<ErrorKind> {
    Some(match code {
        // 10053 is what calls say after the system has given the connection up: the peer's reset
        // was reported once, or it does not answer any more. What this side's own closing aborts is
        // told apart above.
        winsock::WSAECONNRESET | winsock::WSAENETRESET | winsock::WSAECONNABORTED => {
            ErrorKind::Reset
        }
        winsock::WSA_OPERATION_ABORTED => ErrorKind::Cancelled,
        winsock::WSAETIMEDOUT => ErrorKind::TimedOut,
        winsock::WSAECONNREFUSED => ErrorKind::Refused,
        winsock::WSAENOTCONN | winsock::WSAEDESTADDRREQ => ErrorKind::NotConnected,
        winsock::WSAEISCONN => ErrorKind::AlreadyConnected,
        winsock::WSAESHUTDOWN => ErrorKind::ShutDown,
        winsock::WSAEINVAL | winsock::WSAEFAULT | winsock::WSAENOTSOCK | winsock::WSAEPROTOTYPE => {
            ErrorKind::InvalidInput
        }
        winsock::WSAEBADF => ErrorKind::InvalidHandle,
        winsock::WSAEMSGSIZE => ErrorKind::Truncated,
        winsock::WSAEMFILE | winsock::WSAENOBUFS | winsock::WSAEWOULDBLOCK => ErrorKind::Limit,
        winsock::WSAEADDRINUSE => ErrorKind::AddressInUse,
        winsock::WSAEADDRNOTAVAIL => ErrorKind::AddressNotAvailable,
        winsock::WSAEHOSTUNREACH | winsock::WSAENETUNREACH | winsock::WSAENETDOWN => {
            ErrorKind::Unreachable
        }
        winsock::WSAEHOSTDOWN => ErrorKind::Unreachable,
        winsock::WSAEACCES => ErrorKind::PermissionDenied,
        winsock::WSAEOPNOTSUPP
        | winsock::WSAENOPROTOOPT
        | winsock::WSAEAFNOSUPPORT
        | winsock::WSAEPROTONOSUPPORT => ErrorKind::Unsupported,
        _ => return None,
    })
}

fn win32_kind(code: u32) -> ErrorKind {
    match code {
        win32::ERROR_NETNAME_DELETED
        | win32::ERROR_CONNECTION_ABORTED
        | win32::ERROR_GRACEFUL_DISCONNECT => ErrorKind::Reset,
        win32::ERROR_SEM_TIMEOUT | win32::ERROR_TIMEOUT | win32::WAIT_TIMEOUT => {
            ErrorKind::TimedOut
        }
        win32::ERROR_CONNECTION_REFUSED => ErrorKind::Refused,
        win32::ERROR_CONNECTION_INVALID => ErrorKind::NotConnected,
        win32::ERROR_CONNECTION_ACTIVE => ErrorKind::AlreadyConnected,
        win32::ERROR_HANDLE_EOF => ErrorKind::EndOfFile,
        win32::ERROR_INVALID_PARAMETER | win32::ERROR_DIRECTORY | win32::ERROR_INVALID_NAME => {
            ErrorKind::InvalidInput
        }
        win32::ERROR_INVALID_HANDLE => ErrorKind::InvalidHandle,
        win32::ERROR_FILE_NOT_FOUND | win32::ERROR_PATH_NOT_FOUND | win32::ERROR_NOT_FOUND => {
            ErrorKind::NotFound
        }
        win32::ERROR_MORE_DATA | win32::ERROR_BUFFER_OVERFLOW => ErrorKind::Truncated,
        win32::ERROR_TOO_MANY_OPEN_FILES | win32::ERROR_NO_SYSTEM_RESOURCES => ErrorKind::Limit,
        win32::ERROR_NOT_ENOUGH_MEMORY | win32::ERROR_OUTOFMEMORY => ErrorKind::NoMemory,
        win32::ERROR_DISK_FULL
        | win32::ERROR_HANDLE_DISK_FULL
        | win32::ERROR_DISK_QUOTA_EXCEEDED
        | win32::ERROR_FILE_TOO_LARGE => ErrorKind::NoSpace,
        win32::ERROR_HOST_UNREACHABLE
        | win32::ERROR_NETWORK_UNREACHABLE
        | win32::ERROR_HOST_DOWN => ErrorKind::Unreachable,
        win32::ERROR_ACCESS_DENIED => ErrorKind::PermissionDenied,
        win32::ERROR_NOT_SUPPORTED | win32::ERROR_INVALID_FUNCTION => ErrorKind::Unsupported,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_cancelled_timed_out_refused_and_closed_are_told_apart() {
        let kinds = [
            kind_of(winsock::WSAECONNRESET),
            kind_of(winsock::WSA_OPERATION_ABORTED),
            kind_of(winsock::WSAETIMEDOUT),
            kind_of(winsock::WSAECONNREFUSED),
            ErrorKind::Closed,
            ErrorKind::Aborted,
        ];
        for (i, a) in kinds.iter().enumerate() {
            assert!(kinds[i + 1..].iter().all(|b| a != b), "{a:?} stands for two things");
        }
    }

    #[test]
    fn a_call_and_a_packet_mean_the_same_by_different_numbers() {
        for (call, packet) in [
            (winsock::WSAECONNRESET, win32::ERROR_NETNAME_DELETED),
            (winsock::WSAECONNREFUSED, win32::ERROR_CONNECTION_REFUSED),
            (winsock::WSAETIMEDOUT, win32::ERROR_SEM_TIMEOUT),
        ] {
            assert_eq!(kind_of(call), kind_of(packet.cast_signed()));
        }
    }

    #[test]
    fn the_systems_number_is_kept() {
        let error = error_from_code(code_of_status(win32::STATUS_CONNECTION_RESET), "receive");
        assert_eq!(error.code(), Some(64));
        assert_eq!(error.kind(), ErrorKind::Reset);
    }
}
