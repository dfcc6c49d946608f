//! The start of an operation: what is refused at once, and what takes its place in line.

use super::at_once::AtOnce;
use super::body::Phase;
use super::core::Core;
use super::handle::{HandleCore, HandleState};
use super::name::{Operation, OperationKind, Side};
use super::stream::StreamState;
use super::transmission::{TransmissionSpec, Transmitting};
use crate::buf::{BUFFERS_MAX, Buffers};
use crate::error::{Error, ErrorKind};
use crate::sys::Outcome;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What is to be done.
pub(crate) struct Spec {
    pub(crate) kind: OperationKind,
    /// No packet comes when it succeeds.
    pub(crate) is_quiet: bool,
    pub(crate) buffers: Buffers,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) offset: u64,
    pub(crate) transmission: Option<Box<TransmissionSpec>>,
}

impl Spec {
    pub(crate) fn new(kind: OperationKind) -> Self {
        Spec {
            kind,
            is_quiet: false,
            buffers: Buffers::None,
            peer: None,
            offset: 0,
            transmission: None,
        }
    }

    pub(crate) fn with_buffers(kind: OperationKind, buffers: Buffers) -> Self {
        Spec { buffers, ..Spec::new(kind) }
    }

    /// Every buffer that was given, in order.
    pub(crate) fn into_buffers(self) -> Buffers {
        match self.transmission {
            Some(transmission) => transmission.into_buffers(),
            None => self.buffers,
        }
    }
}

impl Core {
    /// Starts an operation. `place` is called with the operation's number before the operation can
    /// be over, with its lock held, and not after the port was closed: the place for its context. It is
    /// not called for a send that is over already, which goes by the name `OVER`.
    ///
    /// # Errors
    /// The reason, and the buffers: nothing was started, `place` was not called. Of a quiet send a
    /// part may have gone when the port was closed meanwhile: the error says how much.
    pub(crate) fn start(
        &self,
        serving: usize,
        handle: &Arc<HandleCore>,
        spec: Spec,
        place: impl FnOnce(u32),
    ) -> Result<Operation, (Error, Buffers)> {
        let refuse = |error: Error, spec: Spec| {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            Err((error, spec.into_buffers()))
        };
        let mut spec = spec;
        if let Err(error) = check_buffers(&mut spec) {
            return refuse(error, spec);
        }
        fault_point!(BeforeLine);
        let mut state = handle.state();
        if let Err(error) = self.check_state(handle, &state, spec.kind) {
            return refuse(error, spec);
        }
        let (relocked, at_once) = self.send_at_once(handle, state, &spec);
        state = relocked;
        let (index, begun) = match at_once {
            AtOnce::Whole => {
                self.begin_head(serving, state);
                self.sent_at_once[serving].count();
                return Ok(Operation::OVER);
            }
            AtOnce::Begun(Outcome::WouldBlock) => (self.table.reserve(), Some(Outcome::WouldBlock)),
            AtOnce::Begun(outcome) => (Some(self.table.reserve_for_begun()), Some(outcome)),
            AtOnce::NotTried => (self.table.reserve(), None),
        };
        let Some(index) = index else {
            if begun.is_some() {
                self.begin_head(serving, state);
            }
            let error = Error::new(ErrorKind::Limit, spec.kind.action());
            return refuse(error.with_detail("the port's limit of operations is reached"), spec);
        };
        let mut body = self.table.lock(index);
        if self.refuses_starts() {
            // Closed since the look above. From the reservation on the clerk waits for the slot;
            // before it, it may have ended already. And with the lock held: who clears the contexts
            // of a closed port takes it.
            drop(body);
            self.table.release(index);
            if begun.is_some() {
                self.begin_head(serving, state);
            }
            let sent = match begun {
                Some(Outcome::Bytes(bytes)) => bytes,
                _ => 0,
            };
            let error = Error::new(ErrorKind::Closed, spec.kind.action()).with_transferred(sent);
            return refuse(error, spec);
        }
        body.phase = Phase::Queued;
        body.kind = spec.kind;
        body.is_quiet = spec.is_quiet;
        body.ending = None;
        body.handle = Some(Arc::clone(handle));
        self.table.note_handle(index, handle);
        body.buffers = spec.buffers;
        body.done = 0;
        body.offset = spec.offset;
        if let Some(peer) = spec.peer {
            // The address stays in the message; the regions are set with each attempt.
            body.message().set(std::iter::empty(), 0, Some(peer), false);
        }
        body.transmitting = spec.transmission.map(|t| Box::new(Transmitting::new(*t)));
        body.stream = StreamState::default();
        let operation = Operation(body.token());
        place(index);
        let is_first = match spec.kind.side() {
            Side::Receiving => state.receiving.push(&self.table, index),
            Side::Sending if begun.is_some() => {
                state.sending.push_front(&self.table, index);
                true
            }
            Side::Sending => {
                state.sending.push(&self.table, index) && !handle.is_sending_at_once(&state)
            }
            Side::Unordered => {
                state.unordered.get_or_insert_default().push(index);
                true
            }
        };
        if spec.kind == OperationKind::Disconnect {
            handle.is_sending_shut_down.store(true, Ordering::Release);
        }
        drop(state);
        fault_point!(InLine);
        match begun {
            Some(outcome) => self.go_on_locked(serving, body, outcome),
            None if is_first => self.begin_locked(serving, body),
            None => drop(body),
        }
        fault_point!(Started);
        Ok(operation)
    }

    fn check_state(
        &self,
        handle: &HandleCore,
        _locked: &HandleState,
        kind: OperationKind,
    ) -> Result<(), Error> {
        let action = kind.action();
        if self.refuses_starts() {
            return Err(Error::new(ErrorKind::Closed, action));
        }
        if handle.is_closed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::InvalidHandle, action));
        }
        let is_shut_down = match kind.side() {
            Side::Receiving => handle.is_receiving_shut_down.load(Ordering::Relaxed),
            Side::Sending => handle.is_sending_shut_down.load(Ordering::Acquire),
            Side::Unordered => false,
        };
        if is_shut_down {
            return Err(Error::new(ErrorKind::ShutDown, action));
        }
        if handle.is_reset.load(Ordering::Acquire) && kind != OperationKind::Connect {
            return Err(Error::new(ErrorKind::Reset, action));
        }
        Ok(())
    }
}

fn check_buffers(spec: &mut Spec) -> Result<(), Error> {
    let kind = spec.kind;
    let invalid =
        |detail| Err(Error::new(ErrorKind::InvalidInput, kind.action()).with_detail(detail));
    let count = match &spec.transmission {
        Some(t) => t.head.len().max(t.tail.len()),
        None => spec.buffers.len(),
    };
    if count > BUFFERS_MAX {
        return invalid("more than 1,024 buffers in one operation");
    }
    let offset = spec.transmission.as_ref().map_or(spec.offset, |t| t.offset);
    if offset > i64::MAX as u64 {
        return invalid("the offset is beyond what a file can have");
    }
    let must_have_buffers = matches!(
        kind,
        OperationKind::Receive
            | OperationKind::ReceiveFrom
            | OperationKind::Send
            | OperationKind::SendTo
            | OperationKind::ReadAt
            | OperationKind::WriteAt
    );
    if must_have_buffers && count == 0 {
        return invalid("no buffers: give at least one, which may be empty");
    }
    let is_filled =
        matches!(kind, OperationKind::Receive | OperationKind::ReceiveFrom | OperationKind::ReadAt);
    if is_filled && spec.buffers.iter().any(|b| !b.is_writable()) {
        return invalid("a buffer to receive into is read-only");
    }
    // A receive into no room at all is a zero-byte receive: it waits and takes nothing.
    if kind == OperationKind::Receive && spec.buffers.total_capacity() == 0 {
        spec.kind = OperationKind::ReceiveReady;
    }
    Ok(())
}
