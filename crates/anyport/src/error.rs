//! What went wrong, in the words of the field: a kind to branch on, the operating system's own
//! number kept beside it, and a sentence that says what failed and what to do about it.
//!
//! Every layer uses these types; nothing here depends on another module.

mod texts;

use std::fmt;
use std::io;
use texts::TextId;

/// Why an operation failed.
///
/// A reset connection, an aborted operation, a cancelled one, a timeout, a refusal and an orderly
/// close are different things to a server, so they are different kinds here on every system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The peer reset the connection (Windows: `ERROR_NETNAME_DELETED` 64, `WSAECONNRESET` 10054).
    Reset,
    /// The handle or the port was closed while the operation was under way.
    Aborted,
    /// The operation was cancelled on request (Windows: `ERROR_OPERATION_ABORTED` 995).
    Cancelled,
    /// The peer, or the path to it, did not answer in time.
    TimedOut,
    /// Nobody listens at the address (Windows: `ERROR_CONNECTION_REFUSED` 1225).
    Refused,
    /// The completion port is closed.
    Closed,
    /// The socket is not connected (Windows: `WSAENOTCONN` 10057).
    NotConnected,
    /// The socket is connected already (Windows: `WSAEISCONN` 10056).
    AlreadyConnected,
    /// This side of the connection was shut down before (Windows: `WSAESHUTDOWN` 10058).
    ShutDown,
    /// A read began at or after the end of the file (Windows: `ERROR_HANDLE_EOF` 38).
    EndOfFile,
    /// An argument is out of range, or the handle is of the wrong sort (Windows: 87, 10022).
    InvalidInput,
    /// The handle does not name an open object (Windows: `ERROR_INVALID_HANDLE` 6).
    InvalidHandle,
    /// There is nothing of that name, or nothing to cancel (Windows: `ERROR_NOT_FOUND` 1168).
    NotFound,
    /// A datagram was larger than the buffers; what fitted is there (Windows: `WSAEMSGSIZE`).
    Truncated,
    /// A limit was reached: of the port, of the process (descriptors) or of the system.
    Limit,
    /// The system has no memory for it.
    NoMemory,
    /// The disk, the quota or the file size limit is used up.
    NoSpace,
    /// The address is in use by another socket.
    AddressInUse,
    /// The address does not belong to this machine, or no port is left.
    AddressNotAvailable,
    /// There is no route to the peer.
    Unreachable,
    /// The system does not permit it.
    PermissionDenied,
    /// This system, or this kind of handle, cannot do it.
    Unsupported,
    /// Anything else; [`Error::code`] has the system's number.
    Other,
}

impl ErrorKind {
    /// What to do about it, in one short sentence; empty where the kind says it all.
    fn advice(self) -> &'static str {
        match self {
            ErrorKind::Reset => "the peer dropped the connection; close this handle",
            ErrorKind::NotConnected => "connect or accept first",
            ErrorKind::ShutDown => "this direction was shut down earlier",
            ErrorKind::Limit => "raise the limit, or wait until operations complete",
            ErrorKind::Truncated => "use larger buffers",
            ErrorKind::NoSpace => "free space on the device or raise the file size limit",
            ErrorKind::Closed => "the port was closed; create a new one",
            ErrorKind::AddressInUse => "choose another address or set address reuse",
            _ => "",
        }
    }

    fn text(self) -> &'static str {
        match self {
            ErrorKind::Reset => "connection reset by peer",
            ErrorKind::Aborted => "aborted because its handle was closed",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::TimedOut => "timed out",
            ErrorKind::Refused => "connection refused",
            ErrorKind::Closed => "the completion port is closed",
            ErrorKind::NotConnected => "not connected",
            ErrorKind::AlreadyConnected => "already connected",
            ErrorKind::ShutDown => "the socket was shut down for this direction",
            ErrorKind::EndOfFile => "end of file",
            ErrorKind::InvalidInput => "invalid argument",
            ErrorKind::InvalidHandle => "invalid handle",
            ErrorKind::NotFound => "not found",
            ErrorKind::Truncated => "the datagram did not fit",
            ErrorKind::Limit => "limit reached",
            ErrorKind::NoMemory => "out of memory",
            ErrorKind::NoSpace => "no space left",
            ErrorKind::AddressInUse => "address in use",
            ErrorKind::AddressNotAvailable => "address not available",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::PermissionDenied => "permission denied",
            ErrorKind::Unsupported => "not supported",
            ErrorKind::Other => "failed",
        }
    }
}

/// A failed operation: what was tried, the kind, and the operating system's code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    code: Option<i32>,
    action: &'static str,
    detail: &'static str,
    transferred: usize,
    /// Says it all, while it is kept.
    text: Option<TextId>,
}

impl Error {
    /// An error of this library's own making: `action` is what was tried ("associate a socket").
    pub(crate) const fn new(kind: ErrorKind, action: &'static str) -> Self {
        Error { kind, code: None, action, detail: "", transferred: 0, text: None }
    }

    /// An error of the operating system, with its number.
    pub(crate) fn from_code(kind: ErrorKind, code: i32, action: &'static str) -> Self {
        Error { kind, code: Some(code), action, detail: "", transferred: 0, text: None }
    }

    /// Adds a sentence that says more than the kind does.
    pub(crate) const fn with_detail(mut self, detail: &'static str) -> Self {
        self.detail = detail;
        self
    }

    /// Is shown as `text`, which says what failed, on what, and why; of the last such errors only.
    pub(crate) fn with_text(mut self, text: &str) -> Self {
        self.text = Some(texts::keep(text));
        self
    }

    /// Says how many bytes had been transferred before the failure.
    pub(crate) const fn with_transferred(mut self, bytes: usize) -> Self {
        self.transferred = bytes;
        self
    }

    /// Why it failed.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The operating system's number, where the failure came from there.
    pub fn code(&self) -> Option<i32> {
        self.code
    }

    /// Bytes transferred before the failure: what a send had handed to the system, or what of a
    /// datagram fitted. 0 for everything else.
    pub fn transferred(&self) -> usize {
        self.transferred
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.text.and_then(texts::get) {
            return f.write_str(&text);
        }
        write!(f, "{}: {}", self.action, self.kind.text())?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if let Some(code) = self.code {
            write!(f, " ({})", io::Error::from_raw_os_error(code))?;
        }
        let advice = self.kind.advice();
        if !advice.is_empty() && self.detail.is_empty() {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}, {self})", self.kind)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.kind {
            ErrorKind::Reset => io::ErrorKind::ConnectionReset,
            ErrorKind::Aborted => io::ErrorKind::ConnectionAborted,
            ErrorKind::Cancelled => io::ErrorKind::Interrupted,
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::Refused => io::ErrorKind::ConnectionRefused,
            ErrorKind::NotConnected => io::ErrorKind::NotConnected,
            ErrorKind::ShutDown => io::ErrorKind::BrokenPipe,
            ErrorKind::EndOfFile => io::ErrorKind::UnexpectedEof,
            ErrorKind::InvalidInput | ErrorKind::InvalidHandle => io::ErrorKind::InvalidInput,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::NoMemory => io::ErrorKind::OutOfMemory,
            ErrorKind::NoSpace => io::ErrorKind::StorageFull,
            ErrorKind::AddressInUse => io::ErrorKind::AddrInUse,
            ErrorKind::AddressNotAvailable => io::ErrorKind::AddrNotAvailable,
            ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        let Some(code) = error.code else { return io::Error::new(kind, error) };
        let with_code = io::Error::from_raw_os_error(code);
        // Of some numbers of Windows std does not know what they mean. What was cancelled is not to be
        // tried again by whoever goes on after an interruption.
        let is_known = with_code.kind() != io::Error::from_raw_os_error(i32::MAX).kind();
        match kind {
            io::ErrorKind::Interrupted | io::ErrorKind::Other => with_code,
            _ if is_known => with_code,
            _ => io::Error::new(kind, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_failed_why_and_what_to_do() {
        let error = Error::from_code(ErrorKind::Reset, 104, "receive");
        let text = error.to_string();
        assert!(text.starts_with("receive: connection reset by peer"), "{text}");
        assert!(text.contains("os error 104"), "{text}");
        assert!(text.ends_with("close this handle"), "{text}");
    }

    #[test]
    fn a_text_is_shown_alone_and_survives_the_way_into_io_error() {
        let error = Error::new(ErrorKind::NotFound, "look up a host").with_text("no \"host\"");
        assert_eq!(error.to_string(), "no \"host\"");
        let shown = io::Error::from(error);
        assert_eq!((shown.kind(), shown.to_string()), (io::ErrorKind::NotFound, error.to_string()));
    }

    #[test]
    fn an_error_takes_no_more_room_in_a_packet_than_it_must() {
        assert!(size_of::<Error>() <= 7 * size_of::<usize>());
    }

    #[test]
    fn the_systems_number_survives_the_way_into_io_error() {
        // Of the same meaning everywhere.
        let error = Error::from_code(ErrorKind::NotFound, 2, "open");
        assert_eq!(io::Error::from(error).raw_os_error(), Some(2));
        let unknown = Error::from_code(ErrorKind::Reset, 123_456, "receive");
        assert_eq!(io::Error::from(unknown).kind(), io::ErrorKind::ConnectionReset);
        let cancelled = Error::from_code(ErrorKind::Cancelled, 123_456, "receive");
        assert_eq!(io::Error::from(cancelled).raw_os_error(), Some(123_456));
        let own = Error::new(ErrorKind::EndOfFile, "read");
        assert_eq!(io::Error::from(own).kind(), io::ErrorKind::UnexpectedEof);
    }
}
