//! From attempt to attempt until an operation is over: what to ask the backend first, and what an
//! event means for each kind of operation.

use super::body::{Body, Completion};
use super::core::Core;
use super::name::{Operation, OperationKind, Side};
use super::transmission::{self, Next};
use crate::buf::Buffers;
use crate::error::{Error, ErrorKind};
use crate::latch::LatchGuard;
use crate::sys::{Event, FileRegion, Outcome, Request, RequestKind, Socket, error_from_code};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Core {
    /// Issues what the operation starts, or goes on, with. What needs no request is over at once.
    pub(super) fn first_attempt(
        &self,
        serving: usize,
        mut body: LatchGuard<'_, Body>,
    ) -> Option<Completion> {
        let handle = body.handle.as_ref()?;
        let request = match body.kind {
            OperationKind::ReceiveStream => {
                self.arm(serving, &mut body);
                return None;
            }
            OperationKind::Disconnect => {
                let result = match handle.descriptor().has_peer() {
                    false => Err(Error::new(ErrorKind::NotConnected, "disconnect")),
                    true => match handle.descriptor().shutdown(Shutdown::Write) {
                        Ok(()) => Ok(0),
                        Err(e) => Err(crate::sys::error_from_io(&e, "disconnect")),
                    },
                };
                if result.is_err() {
                    handle.is_sending_shut_down.store(false, Ordering::Release);
                }
                return Some(self.conclude(body, result));
            }
            OperationKind::TransmitFile => return self.transmit(serving, body),
            OperationKind::Accept => Request::Accept,
            OperationKind::AcceptStream => Request::AcceptStream,
            OperationKind::Connect => Request::Connect(body.message()),
            OperationKind::ReceivePooled => Request::ReceivePooled(handle.receive_class()),
            OperationKind::ReceiveReady | OperationKind::ReceiveFromPooled => Request::Readable,
            OperationKind::Receive => match body.buffers.len() {
                1 if !handle.descriptor().is_datagram() => Request::Receive(body.target()),
                _ => Request::ReceiveMessage(body.set_message(None)),
            },
            OperationKind::ReceiveFrom => Request::ReceiveMessage(body.set_message(None)),
            OperationKind::Send => match body.buffers.len() {
                1 => Request::Send(body.source()),
                _ => Request::SendMessage(body.set_message(None)),
            },
            OperationKind::SendTo => {
                let peer = body.message().sender();
                Request::SendMessage(body.set_message(peer))
            }
            OperationKind::ReadAt => match body.buffers.len() {
                1 => Request::ReadAt(FileRegion::of(body.target()), body.offset),
                _ => Request::ReadMessageAt(body.set_message(None), body.offset),
            },
            OperationKind::WriteAt => {
                let offset = body.offset.saturating_add(body.done as u64);
                match body.buffers.len() {
                    1 => Request::WriteAt(FileRegion::of(body.source()), offset),
                    _ => Request::WriteMessageAt(body.set_message(None), offset),
                }
            }
            OperationKind::Posted => unreachable!("a posted packet is no operation"),
        };
        self.issue(serving, &mut body, request);
        None
    }

    /// An event of an operation under way.
    pub(super) fn advance(
        &self,
        serving: usize,
        mut body: LatchGuard<'_, Body>,
        event: Event,
    ) -> Option<Completion> {
        if body.kind == OperationKind::ReceiveStream {
            return self.advance_stream(serving, body, event);
        }
        match event.outcome {
            Outcome::Interrupted => match body.ending {
                Some(kind) => Some(self.end_as_asked(kind, body.transferred(), body)),
                // Nobody asked: the thread that had submitted it is gone, or a signal came.
                None => self.first_attempt(serving, body),
            },
            Outcome::NoBuffers => match body.ending {
                Some(kind) => Some(self.end_as_asked(kind, 0, body)),
                None => {
                    self.starve(serving, body);
                    None
                }
            },
            Outcome::WouldBlock => {
                if let Some(kind) = body.ending {
                    return Some(self.end_as_asked(kind, body.transferred(), body));
                }
                let wait = match body.kind.side() {
                    Side::Sending => Request::Writable,
                    _ => Request::Readable,
                };
                self.issue(serving, &mut body, wait);
                None
            }
            Outcome::Failed(code) => self.failed(serving, body, code),
            Outcome::Accepted(socket) => Some(self.accepted(serving, body, socket, event.more)),
            Outcome::PooledTruncated(buffer) => {
                let error = Error::new(ErrorKind::Truncated, body.kind.action());
                let error = error.with_transferred(buffer.len());
                body.buffers = Buffers::from(buffer);
                Some(self.conclude(body, Err(error)))
            }
            Outcome::Pooled(buffer) => {
                let length = buffer.len();
                if length == 0 && !body.is_of_datagrams() {
                    drop(buffer);
                    let result = self.end_of_stream(&body);
                    return Some(self.conclude(body, result));
                }
                if let Some(handle) = &body.handle
                    && !body.is_of_datagrams()
                {
                    handle.judge_receive(&buffer, event.is_drained);
                }
                body.buffers = Buffers::from(buffer);
                Some(self.conclude(body, Ok(length)))
            }
            Outcome::Bytes(bytes) => self.moved(serving, body, bytes),
            // Replaced by what a receive then gave, before it comes here.
            Outcome::ReadyForPooled => None,
        }
    }

    /// The request moved bytes, or a wait is over.
    fn moved(
        &self,
        serving: usize,
        mut body: LatchGuard<'_, Body>,
        bytes: usize,
    ) -> Option<Completion> {
        let is_wait_over = matches!(body.request, RequestKind::Readable | RequestKind::Writable);
        match body.kind {
            OperationKind::TransmitFile => {
                if !is_wait_over && let Some(transmitting) = body.transmitting.as_mut() {
                    transmitting.note(bytes);
                }
                if let Some(kind) = body.ending {
                    return Some(self.end_as_asked(kind, body.transferred(), body));
                }
                self.transmit(serving, body)
            }
            OperationKind::ReceiveFromPooled => self.receive_from_pooled(serving, body),
            OperationKind::ReceiveReady => {
                let handle = Arc::clone(body.handle.as_ref()?);
                let result = match handle.descriptor().peek() {
                    Ok(0) => self.end_of_stream(&body),
                    Ok(_) => Ok(0),
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => match body.ending {
                        Some(kind) => Err(Error::new(kind, body.kind.action())),
                        None => return self.first_attempt(serving, body),
                    },
                    Err(e) => Err(crate::sys::error_from_io(&e, body.kind.action())),
                };
                Some(self.conclude(body, result))
            }
            OperationKind::Connect => {
                let handle = Arc::clone(body.handle.as_ref()?);
                let result = match (handle.descriptor().take_error(), body.ending) {
                    (Some(code), _) => Err(error_from_code(code, "connect")),
                    // The shutdown that goes with closing looks like a connection.
                    (None, Some(kind)) if !handle.descriptor().has_peer() => {
                        Err(Error::new(kind, "connect"))
                    }
                    (None, _) => Ok(0),
                };
                Some(self.conclude(body, result))
            }
            _ if is_wait_over => match body.ending {
                Some(kind) => Some(self.end_as_asked(kind, body.transferred(), body)),
                None => self.first_attempt(serving, body),
            },
            OperationKind::Send | OperationKind::WriteAt => {
                body.done += bytes;
                let (done, total) = (body.done, body.buffers.total_len());
                if done >= total {
                    return Some(self.conclude(body, Ok(done)));
                }
                if let Some(kind) = body.ending {
                    return Some(self.end_as_asked(kind, done, body));
                }
                if bytes == 0 {
                    // A device that takes nothing and reports no error would be asked for ever.
                    let error = Error::new(ErrorKind::NoSpace, body.kind.action())
                        .with_detail("the system took no more bytes and gave no reason")
                        .with_transferred(done);
                    return Some(self.conclude(body, Err(error)));
                }
                fault_point!(PartlySent);
                self.first_attempt(serving, body)
            }
            OperationKind::SendTo => Some(self.conclude(body, Ok(bytes))),
            OperationKind::ReadAt => {
                // SAFETY: the read has filled this many bytes of the buffers, in order.
                unsafe { body.buffers.fill(bytes) };
                let result = match bytes {
                    0 if body.buffers.total_capacity() > 0 => {
                        Err(Error::new(ErrorKind::EndOfFile, body.kind.action()))
                    }
                    _ => Ok(bytes),
                };
                Some(self.conclude(body, result))
            }
            OperationKind::ReceiveFrom => {
                // SAFETY: the receive has filled this many bytes of the buffers, in order.
                unsafe { body.buffers.fill(bytes) };
                let (peer, is_truncated) = {
                    let message = body.message();
                    (message.sender(), message.is_truncated())
                };
                let result = match is_truncated {
                    true => Err(Error::new(ErrorKind::Truncated, body.kind.action())
                        .with_transferred(bytes)),
                    false => Ok(bytes),
                };
                let mut completion = self.conclude(body, result);
                completion.peer = peer;
                Some(completion)
            }
            OperationKind::Receive => {
                // SAFETY: the receive has filled this many bytes of the buffers, in order.
                unsafe { body.buffers.fill(bytes) };
                let is_truncated =
                    body.request == RequestKind::TransferMessage && body.message().is_truncated();
                let result = match bytes {
                    0 => self.end_of_stream(&body),
                    _ if is_truncated => {
                        Err(Error::new(ErrorKind::Truncated, "receive").with_transferred(bytes))
                    }
                    _ => Ok(bytes),
                };
                Some(self.conclude(body, result))
            }
            _ => {
                let result = self.end_of_stream(&body);
                Some(self.conclude(body, result))
            }
        }
    }

    fn failed(
        &self,
        serving: usize,
        mut body: LatchGuard<'_, Body>,
        code: i32,
    ) -> Option<Completion> {
        let handle = Arc::clone(body.handle.as_ref()?);
        let error = error_from_code(code, body.kind.action());
        match (body.kind, error.kind()) {
            // The peer left before it was accepted: nobody's business but the system's.
            (OperationKind::Accept | OperationKind::AcceptStream, ErrorKind::Aborted)
                if body.ending.is_none() =>
            {
                return self.first_attempt(serving, body);
            }
            (OperationKind::Connect, _)
                if crate::sys::is_connect_in_progress(code) && body.ending.is_none() =>
            {
                self.issue(serving, &mut body, Request::Writable);
                return None;
            }
            _ => {}
        }
        let is_shut_down = handle.is_sending_shut_down.load(Ordering::Acquire);
        let done = body.transferred();
        let error = match (body.kind.side(), error.kind()) {
            // A connect that was cancelled while it was in progress.
            (_, _) if crate::sys::is_connect_in_progress(code) && body.ending.is_some() => {
                let kind = body.ending.unwrap_or(ErrorKind::Cancelled);
                Error::from_code(kind, code, body.kind.action())
            }
            // A write after this side's own shutdown is not the peer's doing.
            (Side::Sending, ErrorKind::Reset)
                if is_shut_down && !handle.is_reset.load(Ordering::Acquire) =>
            {
                Error::from_code(ErrorKind::ShutDown, code, body.kind.action())
            }
            _ => error,
        };
        // What the system reports while an operation is asked to end is still its own failure,
        // except where the closing of the handle caused it.
        let error = match body.ending {
            Some(ErrorKind::Aborted) => {
                Error::from_code(ErrorKind::Aborted, code, body.kind.action())
            }
            _ => error,
        };
        Some(self.conclude(body, Err(error.with_transferred(done))))
    }

    fn accepted(
        &self,
        serving: usize,
        mut body: LatchGuard<'_, Body>,
        socket: Socket,
        more: bool,
    ) -> Completion {
        let peer = socket.peer_addr().ok().and_then(|a| a.as_socket());
        if body.kind == OperationKind::Accept {
            let mut completion = self.conclude(body, Ok(0));
            completion.peer = peer;
            completion.accepted = Some(socket);
            return completion;
        }
        let mut completion = Completion {
            operation: Operation(body.token()),
            key: body.handle.as_ref().map_or(0, |h| h.key()),
            kind: body.kind,
            is_quiet: false,
            result: Ok(0),
            buffers: Buffers::None,
            more: true,
            is_held: false,
            peer,
            accepted: Some(socket),
            in_line: None,
            last: None,
        };
        body.done += 1;
        body.unclaimed += 1;
        if !more {
            match body.ending {
                None => {
                    if let Some(last) = self.first_attempt(serving, body) {
                        self.push_ready(serving, last);
                    }
                }
                Some(kind) => {
                    let error = Error::new(kind, body.kind.action());
                    completion.last = Some(Box::new(self.conclude(body, Err(error))));
                }
            }
        }
        completion
    }

    fn transmit(&self, serving: usize, mut body: LatchGuard<'_, Body>) -> Option<Completion> {
        match transmission::next(&mut body, |class| self.pool().take(class)) {
            Next::OnSocket(request) => self.issue(serving, &mut body, request),
            Next::OnFile(request, file) => self.issue_on(serving, &mut body, &file, request),
            Next::NoBuffer => self.starve(serving, body),
            Next::Over => {
                let total = body.transmitting.as_ref().map_or(0, |t| t.total);
                return Some(self.conclude(body, Ok(total)));
            }
        }
        None
    }
}
