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
use crate::latch::LatchGuard;
use crate::sys::{Event, Outcome, Request, RequestKind, Token, error_from_code};

/// How a receive stream stands.
#[derive(Clone, Copy, Default)]
pub(super) struct StreamState {
    /// A packet is in the hands of a thread that has not come back.
    pub(super) is_held: bool,
    /// A request is under way: events will come by themselves.
    pub(super) is_armed: bool,
    /// The request was asked to end: the backlog was reached, or another size class suits better.
    pub(super) is_pausing: bool,
    /// The handler does not keep up: one receive at a time, so that no more arrives than it takes.
    pub(super) is_careful: bool,
}

impl Core {
    /// An event of a receive stream.
    pub(super) fn advance_stream(
        &self,
        serving: usize,
        mut body: LatchGuard<'_, Body>,
        event: Event,
    ) -> Option<Completion> {
        body.stream.is_armed = event.more;
        if let Outcome::Pooled(buffer) = &event.outcome
            && let Some(handle) = &body.handle
            && !body.is_of_datagrams()
            && handle.judge_receive(buffer, event.is_drained)
            && body.stream.is_armed
            && !body.stream.is_pausing
        {
            // The request keeps the class that it began with; the next one has the new.
            body.stream.is_pausing = true;
            self.cancel_request(&body);
        }
        if !body.stream.is_held && !body.has_waiting() {
            body.stream.is_careful = false;
            return self.deliver(serving, body, event.outcome);
        }
        let waiting = body.waiting.get_or_insert_default();
        waiting.push_back(event.outcome);
        let is_full = waiting.len() >= self.options.stream_backlog_max;
        if is_full && body.stream.is_armed && !body.stream.is_pausing {
            body.stream.is_pausing = true;
            body.stream.is_careful = true;
            fault_point!(Pausing);
            self.cancel_request(&body);
        }
        None
    }

    /// The thread that held the stream's last packet has come back.
    pub(crate) fn release_stream(&self, serving: usize, token: Token) {
        fault_point!(BeforeRelease);
        let mut body = self.table.lock(token.index());
        if !body.is_current(token) {
            return;
        }
        body.stream.is_held = false;
        fault_point!(Released);
        if !body.has_waiting() {
            if !body.stream.is_armed && body.phase == Phase::AtWork {
                if let Some(kind) = body.ending {
                    let last = self.end_as_asked(kind, 0, body);
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
            let Some(outcome) = body.waiting.as_mut().and_then(|w| w.pop_front()) else {
                return;
            };
            let before = body.generation;
            if let Some(completion) = self.deliver(serving, body, outcome) {
                fault_point!(WaitingDelivered);
                self.push_ready(serving, completion);
                return;
            }
            body = self.table.lock(token.index());
            // While the lock was free another thread may have taken the next packet: whoever holds
            // it goes on here when it is back.
            if body.generation != before || body.stream.is_held {
                return;
            }
        }
    }

    /// Arms the stream's request.
    pub(super) fn arm(&self, serving: usize, body: &mut Body) {
        let Some(handle) = &body.handle else { return };
        let class = handle.receive_class();
        body.stream.is_armed = true;
        body.stream.is_pausing = false;
        let request = match body.stream.is_careful {
            true => Request::ReceivePooled(class),
            false => Request::ReceiveStream(class),
        };
        self.issue(serving, body, request);
    }

    /// One outcome becomes the next packet, or the end, or nothing.
    fn deliver(
        &self,
        serving: usize,
        mut body: LatchGuard<'_, Body>,
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
            Outcome::Bytes(_) if body.request == RequestKind::Readable => {
                // The wait that a non-blocking socket made necessary is over.
                if let Some(kind) = body.ending {
                    return Some(self.end_as_asked(kind, 0, body));
                }
                self.arm(serving, &mut body);
                None
            }
            Outcome::Pooled(_) | Outcome::Bytes(_) => {
                let result = self.end_of_stream(&body);
                Some(self.conclude(body, result))
            }
            Outcome::Interrupted => match body.ending {
                Some(kind) => Some(self.end_as_asked(kind, 0, body)),
                None => {
                    // It paused, or the thread that had armed it is gone.
                    if !body.stream.is_armed && !body.has_waiting() {
                        self.arm(serving, &mut body);
                    }
                    None
                }
            },
            Outcome::WouldBlock if body.ending.is_some() => {
                let kind = body.ending.unwrap_or(ErrorKind::Cancelled);
                Some(self.end_as_asked(kind, 0, body))
            }
            Outcome::WouldBlock => {
                body.stream.is_armed = true;
                self.issue(serving, &mut body, Request::Readable);
                None
            }
            Outcome::NoBuffers => {
                if let Some(kind) = body.ending {
                    return Some(self.end_as_asked(kind, 0, body));
                }
                self.starve(serving, body);
                None
            }
            Outcome::Failed(code) => {
                let error = error_from_code(code, body.kind.action());
                Some(self.conclude(body, Err(error)))
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
        body.stream.is_held = true;
        body.done += buffer.len();
        Completion {
            operation: Operation(body.token()),
            key: body.handle.as_ref().map_or(0, |h| h.key()),
            kind: body.kind,
            is_quiet: false,
            result: result.map_err(Box::new),
            buffers: Buffers::from(buffer),
            more: true,
            is_held: true,
            peer: None,
            accepted: None,
            in_line: None,
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
