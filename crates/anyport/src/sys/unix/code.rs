//! The system's error numbers as kinds. One table, so that every backend tells failures apart in
//! the same way.

use crate::error::{Error, ErrorKind};
use std::io;

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

/// True when a connect goes on in the background, and the socket becomes writable when it is over.
pub(crate) fn is_connect_in_progress(code: i32) -> bool {
    code == libc::EINPROGRESS || code == libc::EALREADY
}

fn kind_of(code: i32) -> ErrorKind {
    match code {
        // A write after the peer's reset was reported once is a broken pipe: the same event.
        libc::ECONNRESET | libc::EPIPE => ErrorKind::Reset,
        libc::ECONNABORTED => ErrorKind::Aborted,
        libc::ECANCELED => ErrorKind::Cancelled,
        libc::ETIMEDOUT => ErrorKind::TimedOut,
        libc::ECONNREFUSED => ErrorKind::Refused,
        libc::ENOTCONN | libc::EDESTADDRREQ => ErrorKind::NotConnected,
        libc::EISCONN => ErrorKind::AlreadyConnected,
        libc::ESHUTDOWN => ErrorKind::ShutDown,
        libc::EINVAL | libc::EFAULT | libc::ENOTSOCK | libc::EISDIR | libc::EPROTOTYPE => {
            ErrorKind::InvalidInput
        }
        libc::EBADF => ErrorKind::InvalidHandle,
        libc::ENOENT => ErrorKind::NotFound,
        libc::EMSGSIZE => ErrorKind::Truncated,
        libc::EMFILE | libc::ENFILE | libc::ENOBUFS => ErrorKind::Limit,
        libc::ENOMEM => ErrorKind::NoMemory,
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => ErrorKind::NoSpace,
        libc::EADDRINUSE => ErrorKind::AddressInUse,
        libc::EADDRNOTAVAIL => ErrorKind::AddressNotAvailable,
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTDOWN => {
            ErrorKind::Unreachable
        }
        libc::EACCES | libc::EPERM => ErrorKind::PermissionDenied,
        libc::EOPNOTSUPP | libc::ENOSYS | libc::ESPIPE | libc::ENOPROTOOPT => {
            ErrorKind::Unsupported
        }
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_aborted_cancelled_timed_out_refused_and_closed_are_told_apart() {
        let kinds = [
            kind_of(libc::ECONNRESET),
            kind_of(libc::ECONNABORTED),
            kind_of(libc::ECANCELED),
            kind_of(libc::ETIMEDOUT),
            kind_of(libc::ECONNREFUSED),
            ErrorKind::Closed,
        ];
        for (i, a) in kinds.iter().enumerate() {
            assert!(kinds[i + 1..].iter().all(|b| a != b), "{a:?} stands for two things");
        }
    }

    #[test]
    fn the_systems_number_is_kept() {
        assert_eq!(error_from_code(libc::EMFILE, "accept").code(), Some(libc::EMFILE));
    }
}
