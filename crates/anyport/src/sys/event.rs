//! What a backend answers: what became of a request.

use super::request::Token;
use super::socket::Socket;
use crate::buf::PooledBuffer;
use std::collections::VecDeque;

/// How soon the turn of an event comes that a backend tells of before.
#[cfg_attr(windows, allow(dead_code))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ahead {
    /// After a few others.
    Soon,
    /// As the next one.
    Next,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) token: Token,
    pub(crate) outcome: Outcome,
    /// The request goes on: further events follow.
    pub(crate) more: bool,
    /// With received bytes: the socket held no more than these, as far as the system tells.
    pub(crate) is_drained: bool,
}

impl Event {
    /// The last event of a request, of which nothing more is to be said.
    pub(crate) fn last(token: Token, outcome: Outcome) -> Self {
        Event { token, outcome, more: false, is_drained: false }
    }
}

/// See [`Event`].
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Done, with this many bytes.
    Bytes(usize),
    /// Bytes arrived in a pooled buffer; empty at the end of the stream.
    Pooled(PooledBuffer),
    /// A datagram arrived that was larger than the pooled buffer.
    PooledTruncated(PooledBuffer),
    /// A connection was accepted.
    Accepted(Socket),
    /// Nothing could be done without waiting.
    WouldBlock,
    /// No pooled buffer was to be had; nothing was consumed.
    NoBuffers,
    /// There is something for a pooled receive: the caller receives it itself, by
    /// [`receive_pooled_now`].
    #[cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code))]
    ReadyForPooled,
    /// The request ended before it was done: cancelled, or its thread is gone, or a signal came.
    Interrupted,
    /// The system's error code.
    Failed(i32),
}

/// Events of a lane that a backend has prepared ahead of their turn, in order.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
#[derive(Default)]
pub(crate) struct Reaped {
    pub(super) events: VecDeque<Event>,
}
