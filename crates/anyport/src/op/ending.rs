//! Asking operations to end: cancel one, cancel a handle's, close a handle, close the port.
//!
//! An operation that waits in line ends at once. One whose request the kernel has is asked for, and
//! ends when the kernel says so: its packet may then be a success that was faster. Either way there
//! is exactly one packet, and nothing of the operation is freed before.

use super::body::{Body, Phase};
use super::core::Core;
use super::handle::{HandleCore, HandleState, end_connection};
use super::name::{Operation, OperationKind};
use crate::error::{Error, ErrorKind};
use crate::sys::{Outcome, Token};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Core {
    /// Cancels one operation of this handle.
    ///
    /// # Errors
    /// `NotFound` when it is over, was cancelled before, or is not of this handle.
    pub(crate) fn cancel(
        &self,
        serving: usize,
        handle: &Arc<HandleCore>,
        operation: Operation,
    ) -> Result<(), Error> {
        fault_point!(Cancelling);
        let mut state = handle.state();
        let next = self.end(handle, &mut state, operation, ErrorKind::Cancelled);
        drop(state);
        match next {
            Asked::No => Err(Error::new(ErrorKind::NotFound, "cancel")
                .with_detail("no such operation is under way on this handle")),
            Asked::Yes { next } => {
                if let Some(next) = next {
                    self.begin(serving, next);
                }
                Ok(())
            }
        }
    }

    /// Cancels all operations of this handle, and says how many.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(crate) fn cancel_all(&self, handle: &Arc<HandleCore>) -> Result<usize, Error> {
        match self.end_all(handle, &mut handle.state(), ErrorKind::Cancelled) {
            0 => Err(Error::new(ErrorKind::NotFound, "cancel all")
                .with_detail("no operation is under way on this handle")),
            n => Ok(n),
        }
    }

    /// The last duplicate is gone: ends all operations, refuses new ones. The descriptor closes
    /// with the last operation.
    pub(crate) fn close_handle(&self, handle: &Arc<HandleCore>) {
        let mut state = handle.state();
        if handle.is_closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let count = self.end_all(handle, &mut state, ErrorKind::Aborted);
        let is_held = count > 0 || state.is_held_elsewhere();
        drop(state);
        fault_point!(Closing);
        // The kernel keeps the socket for as long as a request is under way.
        if is_held {
            end_connection(handle.descriptor());
        }
    }

    /// Starts are refused: ends whatever is under way.
    pub(crate) fn abort_all(&self) {
        for handle in self.all_at_work() {
            // Line by line: where a send is dropped none that follows may begin, or the peer has a
            // stream with a gap.
            let _ = self.end_all(&handle, &mut handle.state(), ErrorKind::Aborted);
        }
    }

    fn end_all(&self, handle: &Arc<HandleCore>, state: &mut HandleState, kind: ErrorKind) -> usize {
        let mut numbers = state.sending.numbers(&self.table);
        numbers.extend(state.receiving.numbers(&self.table));
        numbers.extend(state.unordered.iter().flat_map(|unordered| unordered.iter()));
        let mut count = 0;
        // From the end of each line, so that none begins because the one before it ended.
        for index in numbers.into_iter().rev() {
            let operation = Operation(self.table.lock(index).token());
            if let Asked::Yes { .. } = self.end(handle, state, operation, kind) {
                count += 1;
            }
        }
        count
    }

    /// Asks one operation to end; the handle's state is locked by the caller.
    fn end(
        &self,
        handle: &Arc<HandleCore>,
        state: &mut HandleState,
        operation: Operation,
        kind: ErrorKind,
    ) -> Asked {
        let token = operation.0;
        if operation == Operation::OVER {
            return Asked::No;
        }
        let mut body = self.table.lock(token.index());
        let is_of_handle = body.handle.as_ref().is_some_and(|h| Arc::ptr_eq(h, handle));
        if !body.is_current(token) || !is_of_handle || body.ending.is_some() {
            return Asked::No;
        }
        body.ending = Some(kind);
        fault_point!(Ending);
        let is_stream = body.kind == OperationKind::ReceiveStream;
        let ends_at_once = match body.phase {
            Phase::Queued | Phase::Starved => true,
            Phase::AtWork if is_stream && !body.stream.is_armed => {
                let is_quiet = !body.stream.is_held && !body.has_waiting();
                let last = body.waiting.as_ref().and_then(|waiting| waiting.back());
                let ends_anyway = matches!(last, Some(Outcome::Interrupted));
                if !is_quiet && !ends_anyway {
                    // After what has arrived, in order.
                    body.waiting.get_or_insert_default().push_back(Outcome::Interrupted);
                }
                is_quiet
            }
            _ => false,
        };
        if !ends_at_once {
            let needs_request = !is_stream || body.stream.is_armed;
            if needs_request {
                self.cancel_request(&body);
            }
            return Asked::Yes { next: None };
        }
        let (index, side, done) = (body.index, body.kind.side(), body.transferred());
        let error = Error::new(kind, body.kind.action()).with_transferred(done);
        if body.kind == OperationKind::Disconnect {
            handle.undo_disconnect();
        }
        // One of several references: the caller holds another.
        drop(body.handle.take());
        let completion = body.finish(Some(handle), Err(error));
        drop(body);
        let next = self.unlink(handle, state, side, index);

        self.queue_ready(completion);
        Asked::Yes { next }
    }

    /// Asks the backend to end the request under way.
    pub(super) fn cancel_request(&self, body: &Body) {
        let Some(handle) = &body.handle else { return };
        let file = body.transmitting.as_ref().and_then(|t| t.file_at_work());
        let descriptor = file.unwrap_or(handle).descriptor();
        self.backend().cancel(body.lane as usize, descriptor, body.request, body.token());
    }
}

enum Asked {
    /// It was not there to be asked.
    No,
    /// It ends; this one is now first in its line and has not begun.
    Yes { next: Option<Token> },
}
