//! Packets, and why none came or one could not be posted.

use crate::buf::Buffers;
use crate::error::Error;
use crate::net::Socket;
use crate::op::{Operation, OperationKind};
use std::fmt;
use std::net::SocketAddr;

/// A completed operation, or what a thread posted.
///
/// After it was taken the engine touches nothing of the operation again: the buffers are yours.
#[derive(Debug)]
pub struct Packet<T> {
    /// The key of the handle, or of the post.
    pub key: usize,
    /// What is completed.
    pub kind: OperationKind,
    /// The operation's name; `None` for a posted packet.
    pub operation: Option<Operation>,
    /// Bytes transferred, or why it failed. A posted packet is a success with the bytes it was
    /// posted with.
    pub result: Result<usize, Error>,
    /// The context given at the start (a stream: a clone of it, and with the last packet itself).
    pub context: T,
    /// Every buffer that the operation took, in order; a pooled receive's is the one chosen.
    pub buffers: Buffers,
    /// The operation is a stream that goes on: further packets follow.
    pub more: bool,
    /// The peer of an accepted connection, or the sender of a datagram. `None` for a connection
    /// whose peer was gone before it was accepted: the system then knows no address.
    pub peer: Option<SocketAddr>,
    /// The accepted connection.
    pub accepted: Option<Socket>,
}

/// Why no packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetError {
    /// Nothing arrived in time (Windows: `WAIT_TIMEOUT` 258).
    TimedOut,
    /// The port is closed, and what was posted before is handed out (Windows:
    /// `ERROR_ABANDONED_WAIT_0` 735).
    Closed,
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GetError::TimedOut => "get a packet: nothing arrived in time",
            GetError::Closed => "get a packet: the completion port is closed",
        })
    }
}

impl std::error::Error for GetError {}

/// A packet that was not posted; it is all there.
#[derive(Debug)]
pub struct PostError<T> {
    /// Why.
    pub kind: PostErrorKind,
    /// As given to `post`.
    pub key: usize,
    /// As given to `post`.
    pub bytes: u32,
    /// As given to `post`.
    pub context: T,
}

/// Why a packet was not posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostErrorKind {
    /// As many posted packets wait as the port's limit allows: post again when some were taken.
    Full,
    /// The port is closed.
    Closed,
}

impl<T> fmt::Display for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            PostErrorKind::Full => "post a packet: the port's limit of posted packets is reached",
            PostErrorKind::Closed => "post a packet: the completion port is closed",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for PostError<T> {}
