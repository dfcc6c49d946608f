//! The halves of a stream, for two tasks, and the stream before it is split.

use super::connection::Connection;
use super::methods::{receiving_methods, sending_methods};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Both sides of a stream in one pair of hands. Dropping it ends the receiving side; what was handed
/// over still goes out, and with its last operation the connection closes.
pub(in crate::rt) struct Whole {
    connection: Arc<Connection>,
    /// False after it was split.
    is_whole: bool,
}

impl Whole {
    pub(super) fn of(connection: Arc<Connection>) -> Self {
        Whole { connection, is_whole: true }
    }

    pub(super) fn into_halves(mut self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.is_whole = false;
        let connection = || Arc::clone(&self.connection);
        (OwnedReadHalf { connection: connection() }, OwnedWriteHalf { connection: connection() })
    }

    /// Nothing that was handed over goes out any more, unless the system has it.
    pub(super) fn abort(self) {
        self.connection.abort();
    }
}

impl Deref for Whole {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if self.is_whole {
            self.connection.close_reading();
            self.connection.writing.forget_waiter();
        }
    }
}

/// The receiving half of a stream; see [`TcpStream::into_split`](super::TcpStream::into_split).
///
/// Its methods are those of the stream.
pub struct OwnedReadHalf {
    pub(in crate::rt) connection: Arc<Connection>,
}

impl OwnedReadHalf {
    receiving_methods!();
}

impl Drop for OwnedReadHalf {
    fn drop(&mut self) {
        self.connection.close_reading();
    }
}

impl fmt::Debug for OwnedReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedReadHalf").finish_non_exhaustive()
    }
}

/// The sending half of a stream; see [`TcpStream::into_split`](super::TcpStream::into_split).
///
/// Its methods are those of the stream.
pub struct OwnedWriteHalf {
    pub(in crate::rt) connection: Arc<Connection>,
}

impl OwnedWriteHalf {
    sending_methods!();
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.connection.close_writing();
    }
}

impl fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedWriteHalf").finish_non_exhaustive()
    }
}
