//! Streams of receives: one operation, many packets, one of them at a time in the hands of a
//! thread.
//!
//! That is what keeps a connection's bytes in order when any thread may take any packet: the next
//! packet of a stream is handed out when the thread that took the last one comes back for more.
//! What arrives meanwhile waits here, up to a limit at which receiving pauses.

use super::body::{Body, Completion, Phase};
use super::core::Core;
use super::name::Operation;
use crate::buf::{Buffers, PooledBuffer};
use crate::error::{Error, ErrorKind};
use crate::sys::{Event, Outcome, Request, Token, error_from_code};
use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard};

/// What a receive stream keeps beside the operation.
#[derive(Default)]
pub(super) struct StreamState {
    /// A packet is in the hands of a thread that has not come back.
    pub(super) is_held: bool,
    /// A request is under way: events will come by themselves.
    pub(super) is_armed: bool,
    /// The backlog was reached, and the request was asked to end.
    pub(super) is_pausing: bool,
    /// The handler does not keep up: one receive at a time, so that no more arrives than it takes.
    pub(super) is_careful: bool,
    pub(super) waiting: VecDeque<Outcome>,
}

impl StreamState {
    pub(super) fn reset(&mut self) {
        self.waiting.clear();
        *self = StreamState { waiting: std::mem::take(&mut self.waiting), ..Default::default() };
    }
}

impl Core {
    /// An event of a receive stream.
    pub(super) fn advance_stream(
        &self,
        serving: usize,
        mut body: MutexGuard<'_, Body>,
        event: Event,
    ) -> Option<Completion> {
        let stream = body.stream.as_mut()?;
        stream.is_armed = event.more;
        if !stream.is_held && stream.waiting.is_empty() {
            stream.is_careful = false;
            return self.deliver(serving, body, event.outcome);
        }
        stream.waiting.push_back(event.outcome);
        let is_full = stream.waiting.len() >= self.options.stream_backlog_max;
        if is_full && stream.is_armed && !stream.is_pausing {
            stream.is_pausing = true;
            stream.is_careful = true;
            self.cancel_request(&body);
        }
        None
    }

    /// The thread that held the stream's last packet has come back.
    pub(crate) fn release_stream(&self, serving: usize, token: Token) {
        let mut body = self.table.lock(token.index());
        if !body.is_current(token) {
            return;
        }
        let Some(stream) = body.stream.as_mut() else {
            return;
        };
        stream.is_held = false;
        if stream.waiting.is_empty() {
            if !stream.is_armed && body.phase == Phase::AtWork {
                if let Some(kind) = body.ending {
                    let error = Error::new(kind, body.kind.action());
                    let last = self.conclude(serving, body, Err(error));
                    self.push_ready(serving, last);
                    return;
                }
                self.arm(serving, &mut body);
            }
            return;
        }
        // Through the ready queue, so that a connection with much to say does not keep a thread
        // to itself.
        loop {
            let Some(outcome) = body.stream.as_mut().and_then(|s| s.waiting.pop_front()) else {
                return;
            };
            let before = body.generation;
            if let Some(completion) = self.deliver(serving, body, outcome) {
                self.push_ready(serving, completion);
                return;
            }
            body = self.table.lock(token.index());
            // While the lock was free another thread may have taken the next packet: whoever holds
            // it goes on here when it is back.
            if body.generation != before || body.stream.as_ref().is_none_or(|s| s.is_held) {
                return;
            }
        }
    }

    /// Arms the stream's request.
    pub(super) fn arm(&self, serving: usize, body: &mut Body) {
        let Some(handle) = body.handle.clone() else {
            return;
        };
        let mut is_careful = false;
        if let Some(stream) = body.stream.as_mut() {
            stream.is_armed = true;
            stream.is_pausing = false;
            is_careful = stream.is_careful;
        }
        let class = handle.receive_class();
        let request = match is_careful {
            true => Request::ReceivePooled(class),
            false => Request::ReceiveStream(class),
        };
        self.issue(serving, body, &handle, request);
    }

    /// One outcome becomes the next packet, or the end, or nothing.
    fn deliver(
        &self,
        serving: usize,
        mut body: MutexGuard<'_, Body>,
        outcome: Outcome,
    ) -> Option<Completion> {
        match outcome {
            Outcome::PooledTruncated(buffer) => {
                let error = Error::new(ErrorKind::Truncated, body.kind.action());
                let error = error.with_transferred(buffer.len());
                Some(self.hand_out(&mut body, buffer, Err(error)))
            }
            Outcome::Pooled(buffer) if !buffer.is_empty() || body.is_of_datagrams() => {
                let length = buffer.len();
                Some(self.hand_out(&mut body, buffer, Ok(length)))
            }
            Outcome::Bytes(_) if matches!(body.request, Request::Readable) => {
                // The wait that a non-blocking socket made necessary is over.
                if let Some(kind) = body.ending {
                    let error = Error::new(kind, body.kind.action());
                    return Some(self.conclude(serving, body, Err(error)));
                }
                self.arm(serving, &mut body);
                None
            }
            Outcome::Pooled(_) | Outcome::Bytes(_) => {
                let result = self.end_of_stream(&body);
                Some(self.conclude(serving, body, result))
            }
            Outcome::Interrupted => match body.ending {
                Some(kind) => {
                    let error = Error::new(kind, body.kind.action());
                    Some(self.conclude(serving, body, Err(error)))
                }
                None => {
                    // It paused, or the thread that had armed it is gone.
                    if body.stream.as_ref().is_some_and(|s| !s.is_armed && s.waiting.is_empty()) {
                        self.arm(serving, &mut body);
                    }
                    None
                }
            },
            Outcome::WouldBlock if body.ending.is_some() => {
                let kind = body.ending.unwrap_or(ErrorKind::Cancelled);
                let error = Error::new(kind, body.kind.action());
                Some(self.conclude(serving, body, Err(error)))
            }
            Outcome::WouldBlock => {
                let handle = Arc::clone(body.handle.as_ref()?);
                if let Some(stream) = body.stream.as_mut() {
                    stream.is_armed = true;
                }
                self.issue(serving, &mut body, &handle, Request::Readable);
                None
            }
            Outcome::NoBuffers => {
                if let Some(kind) = body.ending {
                    let error = Error::new(kind, body.kind.action());
                    return Some(self.conclude(serving, body, Err(error)));
                }
                self.starve(serving, body);
                None
            }
            Outcome::Failed(code) => {
                let error = error_from_code(code, body.kind.action());
                Some(self.conclude(serving, body, Err(error)))
            }
            Outcome::Accepted(_) | Outcome::ReadyForPooled => None,
        }
    }

    /// A packet of a stream that goes on; nothing more is handed out until it is released.
    fn hand_out(
        &self,
        body: &mut Body,
        buffer: PooledBuffer,
        result: Result<usize, Error>,
    ) -> Completion {
        if let Some(stream) = body.stream.as_mut() {
            stream.is_held = true;
        }
        body.done += buffer.len();
        Completion {
            index: body.index,
            operation: Operation(body.token()),
            key: body.handle.as_ref().map_or(0, |h| h.key()),
            kind: body.kind,
            result,
            buffers: Buffers::from(buffer),
            more: true,
            is_held: true,
            peer: None,
            accepted: None,
            next: None,
            last: None,
        }
    }

    /// 0 bytes: an orderly end, unless the connection was reset and another call took the error.
    pub(super) fn end_of_stream(&self, body: &Body) -> Result<usize, Error> {
        match &body.handle {
            // The end is of this side's making: the shutdown that goes with closing the handle.
            _ if body.ending == Some(ErrorKind::Aborted) => {
                Err(Error::new(ErrorKind::Aborted, body.kind.action()))
            }
            Some(handle) if handle.lost_peer() => {
                Err(Error::new(ErrorKind::Reset, body.kind.action()))
            }
            _ => Ok(0),
        }
    }
}
