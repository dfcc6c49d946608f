//! What an operation is called: its kind, and the name by which it is cancelled.

use super::body::NONE;
use crate::sys::Token;
use std::fmt;

/// Names an operation under way, for [`SocketHandle::cancel`](crate::net::SocketHandle::cancel).
///
/// A name is never used twice within 16 million operations in the same place, so a late cancel
/// does not meet a later operation. What was over before its start returned, as quiet sends often
/// are, goes by one common name, which no cancel finds.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Operation(pub(crate) Token);

impl Operation {
    /// The name of what was over before its start returned: no slot has this number.
    pub(super) const OVER: Operation = Operation(Token::new(NONE, 0));
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operation({}.{})", self.0.index(), self.0.generation())
    }
}

/// What a packet is the completion of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationKind {
    /// Nothing: a packet that a thread posted.
    Posted,
    /// One connection accepted.
    Accept,
    /// A stream of accepted connections.
    AcceptStream,
    /// A connection made.
    Connect,
    /// A receive into the caller's buffers.
    Receive,
    /// A receive into a pooled buffer.
    ReceivePooled,
    /// A stream of receives into pooled buffers.
    ReceiveStream,
    /// A zero-byte receive: there is something to receive.
    ReceiveReady,
    /// A datagram with its sender.
    ReceiveFrom,
    /// A datagram with its sender, in a pooled buffer.
    ReceiveFromPooled,
    /// A send of whole buffers.
    Send,
    /// A datagram sent.
    SendTo,
    /// A read from a file.
    ReadAt,
    /// A write to a file.
    WriteAt,
    /// A file sent to a socket.
    TransmitFile,
    /// The sending side ended.
    Disconnect,
}

/// Which of a handle's queues an operation stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Receiving,
    Sending,
    /// Operations on a file run at the same time and finish in any order.
    Unordered,
}

impl OperationKind {
    pub(super) fn side(self) -> Side {
        match self {
            OperationKind::Accept
            | OperationKind::AcceptStream
            | OperationKind::Receive
            | OperationKind::ReceivePooled
            | OperationKind::ReceiveStream
            | OperationKind::ReceiveReady
            | OperationKind::ReceiveFrom
            | OperationKind::ReceiveFromPooled => Side::Receiving,
            OperationKind::Send
            | OperationKind::SendTo
            | OperationKind::Connect
            | OperationKind::TransmitFile
            | OperationKind::Disconnect => Side::Sending,
            OperationKind::ReadAt | OperationKind::WriteAt | OperationKind::Posted => {
                Side::Unordered
            }
        }
    }

    /// What an error of this kind says was tried.
    pub(super) fn action(self) -> &'static str {
        match self {
            OperationKind::Posted => "post",
            OperationKind::Accept | OperationKind::AcceptStream => "accept",
            OperationKind::Connect => "connect",
            OperationKind::Receive
            | OperationKind::ReceivePooled
            | OperationKind::ReceiveStream
            | OperationKind::ReceiveReady => "receive",
            OperationKind::ReceiveFrom | OperationKind::ReceiveFromPooled => "receive a datagram",
            OperationKind::Send => "send",
            OperationKind::SendTo => "send a datagram",
            OperationKind::ReadAt => "read from a file",
            OperationKind::WriteAt => "write to a file",
            OperationKind::TransmitFile => "transmit a file",
            OperationKind::Disconnect => "disconnect",
        }
    }
}
