//! What comes back when bytes were not handed over.

use crate::buf::Buffers;
use crate::error::{Error, ErrorKind};
use std::fmt;

/// Buffers that were not handed over, and why: see
/// [`TcpStream::try_send`](super::TcpStream::try_send).
#[non_exhaustive]
pub struct Unsent {
    /// `Limit` when too much waits to be sent; else why nothing can be sent.
    pub error: Error,
    /// As they were given.
    pub buffers: Buffers,
}

impl Unsent {
    /// True when there may be room later, such as after a
    /// [`flush`](super::TcpStream::flush) or a [`send`](super::TcpStream::send), which wait for it.
    pub fn is_full(&self) -> bool {
        self.error.kind() == ErrorKind::Limit
    }
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").field("error", &self.error).finish_non_exhaustive()
    }
}

impl std::error::Error for Unsent {}
