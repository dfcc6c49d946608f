//! One operation: everything that must stay while the kernel may use it, and how far it has come.

use super::handle::HandleCore;
use super::name::{Operation, OperationKind};
use super::stream::StreamState;
use super::transmission::Transmitting;
use crate::buf::Buffers;
use crate::error::{Error, ErrorKind};
use crate::sys::{GENERATION_MASK, Message, Outcome, Region, RequestKind, Socket, Token};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits until those before it on its side of the handle are over.
    Queued,
    /// It is the one at work: a request is under way, or it is a stream between two requests.
    AtWork,
    /// It is the one at work, and waits for a pooled buffer.
    Starved,
    /// It is over, or there was none yet. While its packet is on the way the slot is kept for the
    /// context.
    Finished,
}

/// The end of a queue's list.
pub(super) const NONE: u32 = u32::MAX;

/// An operation's slot, behind its lock.
pub(crate) struct Body {
    /// Moves when the operation is over, so that late events and cancels pass by.
    pub(super) generation: u32,
    pub(super) index: u32,
    /// The lane of the request under way.
    pub(super) lane: u16,
    pub(super) kind: OperationKind,
    /// Nobody is told when it succeeds.
    pub(super) is_quiet: bool,
    pub(super) phase: Phase,
    /// It was asked to end, and this is the kind of failure that says so.
    pub(super) ending: Option<ErrorKind>,
    /// Keeps the descriptor open, and the buffers below in place, until the operation is over.
    pub(super) handle: Option<Arc<HandleCore>>,
    pub(super) buffers: Buffers,
    /// Bytes transferred so far.
    pub(super) done: usize,
    pub(super) offset: u64,
    /// Packets of an accept stream whose context has not been copied yet: the last packet, which
    /// takes the context away, waits for them.
    pub(super) unclaimed: u32,
    /// The request under way, or the last one.
    pub(super) request: RequestKind,
    pub(super) stream: StreamState,
    /// What has arrived for a stream whose last packet is still in the hands of a thread. Kept
    /// when the operation is over, for the next one in this slot.
    #[allow(clippy::box_collection, reason = "8 bytes instead of 32 in every slot")]
    pub(super) waiting: Option<Box<VecDeque<Outcome>>>,
    /// Kept likewise.
    pub(super) message: Option<Box<Message>>,
    pub(super) transmitting: Option<Box<Transmitting>>,
}

impl Body {
    pub(super) fn new(index: u32) -> Self {
        Body {
            generation: 0,
            index,
            lane: 0,
            kind: OperationKind::Posted,
            is_quiet: false,
            phase: Phase::Finished,
            ending: None,
            handle: None,
            buffers: Buffers::None,
            done: 0,
            offset: 0,
            unclaimed: 0,
            request: RequestKind::Readable,
            stream: StreamState::default(),
            waiting: None,
            message: None,
            transmitting: None,
        }
    }

    /// Bytes that have gone so far, or come.
    pub(super) fn transferred(&self) -> usize {
        self.transmitting.as_ref().map_or(self.done, |transmitting| transmitting.total)
    }

    /// The handle receives datagrams: 0 bytes are a datagram there, and no end.
    pub(super) fn is_of_datagrams(&self) -> bool {
        self.handle.as_ref().is_some_and(|h| h.descriptor().is_datagram())
    }

    /// Something has arrived for a stream and was not handed out yet.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.is_empty())
    }

    pub(super) fn token(&self) -> Token {
        Token::new(self.index, self.generation)
    }

    pub(super) fn is_current(&self, token: Token) -> bool {
        self.generation == token.generation() && self.phase != Phase::Finished
    }

    /// The message, made when it is first needed.
    pub(super) fn message(&mut self) -> &mut Message {
        self.message.get_or_insert_with(Message::new)
    }

    /// The regions that a send has still to send, or a receive fills.
    pub(super) fn set_message(&mut self, peer: Option<SocketAddr>) -> *mut Message {
        let is_receive =
            self.kind.side() == super::name::Side::Receiving || self.kind == OperationKind::ReadAt;
        let wants_sender = self.kind == OperationKind::ReceiveFrom;
        let skip = self.done;
        let mut buffers = self.buffers.take();
        let message = self.message();
        if is_receive {
            let regions = buffers.iter_mut().map(|b| match b.write_parts() {
                Some((ptr, len)) => Region { ptr, len },
                // Refused at the start of the operation.
                None => Region { ptr: std::ptr::null_mut(), len: 0 },
            });
            message.set(regions, skip, peer, wants_sender);
        } else {
            let regions = buffers.iter().map(|b| {
                let (ptr, len) = b.read_parts();
                Region { ptr: ptr.cast_mut(), len }
            });
            message.set(regions, skip, peer, false);
        }
        let message: *mut Message = message;
        self.buffers = buffers;
        message
    }

    /// The one buffer's part that is still to be read from.
    pub(super) fn source(&self) -> Region {
        let (ptr, len) = match self.buffers.as_slice() {
            [one] => one.read_parts(),
            _ => (std::ptr::null(), 0),
        };
        let skip = self.done.min(len);
        Region { ptr: ptr.cast_mut().wrapping_add(skip), len: len - skip }
    }

    /// The one buffer's whole room.
    pub(super) fn target(&mut self) -> Region {
        match self.buffers.as_mut_slice() {
            [one] => match one.write_parts() {
                Some((ptr, len)) => Region { ptr, len },
                None => Region { ptr: std::ptr::null_mut(), len: 0 },
            },
            _ => Region { ptr: std::ptr::null_mut(), len: 0 },
        }
    }

    /// This outcome ends the operation, and nobody is told; what it holds can be dropped anywhere.
    pub(super) fn ends_quietly_with(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Bytes(bytes) if self.is_quiet => {
                let is_transfer =
                    matches!(self.request, RequestKind::Transfer | RequestKind::TransferMessage);
                is_transfer
                    && self.kind == OperationKind::Send
                    && self.done + bytes >= self.buffers.total_len()
                    && self.buffers.are_of_plain_memory()
            }
            _ => false,
        }
    }

    /// The operation is over: late events and cancels pass by.
    pub(super) fn retire(&mut self) {
        debug_assert!(self.phase != Phase::Finished && self.handle.is_none());
        self.generation = (self.generation + 1) & GENERATION_MASK;
        self.phase = Phase::Finished;
    }

    /// Ends the operation, whose handle was taken out: what it held comes out, the generation
    /// moves, the slot stays reserved until the layer above has taken the context.
    pub(super) fn finish(
        &mut self,
        handle: Option<&HandleCore>,
        result: Result<usize, Error>,
    ) -> Completion {
        let operation = Operation(self.token());
        let mut buffers = self.buffers.take();
        if let Some(waiting) = self.waiting.as_mut() {
            // What arrived after the end belongs to nobody.
            waiting.clear();
        }
        if let Some(transmitting) = self.transmitting.take() {
            buffers = transmitting.into_buffers();
        }
        self.retire();
        Completion {
            operation,
            key: handle.map_or(0, HandleCore::key),
            kind: self.kind,
            is_quiet: self.is_quiet && result.is_ok(),
            result: result.map_err(Box::new),
            buffers,
            more: false,
            is_held: false,
            peer: None,
            accepted: None,
            in_line: None,
            last: None,
        }
    }
}

/// What the layer above makes a packet of.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) operation: Operation,
    pub(crate) key: usize,
    pub(crate) kind: OperationKind,
    /// No packet is made of it: only its context and its slot are to be dropped.
    pub(crate) is_quiet: bool,
    /// Boxed, since failures are rare and completions are moved about.
    pub(crate) result: Result<usize, Box<Error>>,
    pub(crate) buffers: Buffers,
    /// The operation goes on: the context stays. When false the slot must be released.
    pub(crate) more: bool,
    /// The stream hands out nothing more until `Core::release_stream`.
    pub(crate) is_held: bool,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) accepted: Option<Socket>,
    /// The handle in whose line the operation still stands. It leaves the line, and the next one
    /// begins, after this completion has found its place, so that packets of one handle keep their
    /// order: see `Core::begin_next`.
    pub(super) in_line: Option<Arc<HandleCore>>,
    /// The same stream's last completion, which follows this one.
    pub(crate) last: Option<Box<Completion>>,
}

impl Completion {
    /// The slot, and so the context's place.
    pub(crate) fn index(&self) -> u32 {
        self.operation.0.index()
    }
}

/// Beside an accepted socket, which takes four times as much on Windows.
const SIZE_MAX: usize = (124 + size_of::<Option<Socket>>()).next_multiple_of(8);

const _: () = assert!(size_of::<Completion>() <= SIZE_MAX, "completions are moved about");
