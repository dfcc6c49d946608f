//! Datagrams in pooled buffers, with their senders.
//!
//! No request of a backend brings both. So the operation waits for the socket without memory, as an
//! idle one should, and the thread that finds it ready takes the datagram. Who has no operation under
//! way may take, and send, by the same calls.

use super::body::{Body, Completion};
use super::core::Core;
use super::handle::HandleCore;
use crate::buf::{Buffer, Buffers, PooledBuffer};
use crate::error::{Error, ErrorKind};
use crate::latch::LatchGuard;
use crate::sys::{error_from_io, receive_datagram_now, send_datagram_now};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

/// A datagram that was taken from a socket.
pub(crate) struct DatagramIn<B> {
    pub(crate) buffer: B,
    /// Its length in the buffer.
    pub(crate) bytes: usize,
    /// The rest did not fit, and is gone.
    pub(crate) is_truncated: bool,
    pub(crate) sender: Option<SocketAddr>,
}

impl<B> DatagramIn<B> {
    /// Its length, or that it did not fit.
    pub(crate) fn result(&self, action: &'static str) -> Result<usize, Error> {
        match self.is_truncated {
            true => Err(Error::new(ErrorKind::Truncated, action).with_transferred(self.bytes)),
            false => Ok(self.bytes),
        }
    }
}

/// Why none was taken.
enum Refusal {
    /// There is none.
    Empty,
    /// The pool is at its bound.
    NoBuffer,
    System(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Refusal::Empty,
            _ => Refusal::System(error),
        }
    }
}

const RECEIVE: &str = "receive a datagram";

impl HandleCore {
    fn take_datagram(&self) -> Result<DatagramIn<PooledBuffer>, Refusal> {
        let class = self.receive_class();
        let mut buffer = self.core.pool().take(class).ok_or(Refusal::NoBuffer)?;
        let taken = receive_datagram_now(self.descriptor(), buffer.spare_capacity_mut())?;
        // SAFETY: the buffer was empty, and the system has written its first `bytes` bytes.
        unsafe { buffer.set_len(taken.bytes) };
        Ok(DatagramIn {
            buffer,
            bytes: taken.bytes,
            is_truncated: taken.is_truncated,
            sender: taken.sender,
        })
    }

    /// Takes a datagram that is there into a pooled buffer. Pending: there is none, or no buffer.
    pub(crate) fn try_receive_from_pooled(&self) -> Poll<Result<DatagramIn<Buffer>, Error>> {
        match self.take_datagram() {
            Ok(DatagramIn { buffer, bytes, is_truncated, sender }) => {
                Poll::Ready(Ok(DatagramIn { buffer: buffer.into(), bytes, is_truncated, sender }))
            }
            Err(Refusal::Empty | Refusal::NoBuffer) => Poll::Pending,
            Err(Refusal::System(e)) => Poll::Ready(Err(error_from_io(&e, RECEIVE))),
        }
    }

    /// Takes a datagram that is there into `buffer`, which must be writable. Pending: there is none.
    pub(crate) fn try_receive_from<'b>(
        &self,
        buffer: &'b mut Buffer,
    ) -> Poll<Result<DatagramIn<&'b mut Buffer>, Error>> {
        let taken = receive_datagram_now(self.descriptor(), buffer.room());
        match taken {
            Ok(taken) => {
                // SAFETY: the system has written this many bytes from the start of the room.
                unsafe { buffer.set_filled(taken.bytes) };
                Poll::Ready(Ok(DatagramIn {
                    buffer,
                    bytes: taken.bytes,
                    is_truncated: taken.is_truncated,
                    sender: taken.sender,
                }))
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(e) => Poll::Ready(Err(error_from_io(&e, RECEIVE))),
        }
    }

    /// Sends one datagram, made of all buffers. Pending: there is no room for it, or it is none that is
    /// sent here, and an operation is to be started.
    pub(crate) fn try_send_to(
        &self,
        buffers: &Buffers,
        peer: Option<SocketAddr>,
    ) -> Poll<Result<usize, Error>> {
        let mut parts = [IoSlice::new(&[]); GATHERED_MAX];
        let is_odd = buffers.is_empty() || buffers.len() > GATHERED_MAX;
        if is_odd || buffers.total_len() > BYTES_MAX {
            return Poll::Pending;
        }
        for (part, buffer) in parts.iter_mut().zip(buffers) {
            *part = IoSlice::new(buffer.as_slice());
        }
        match send_datagram_now(self.descriptor(), &parts[..buffers.len()], peer) {
            Ok(()) => Poll::Ready(Ok(buffers.total_len())),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(e) => Poll::Ready(Err(error_from_io(&e, "send a datagram"))),
        }
    }
}

/// The most buffers of a datagram that is sent without an operation: their places are gathered on the
/// stack.
const GATHERED_MAX: usize = 8;

/// More bytes than any datagram has; an operation says so.
const BYTES_MAX: usize = 1 << 20;

impl Core {
    /// The socket has something, or so it seems.
    pub(super) fn receive_from_pooled(
        &self,
        serving: usize,
        mut body: LatchGuard<'_, Body>,
    ) -> Option<Completion> {
        if let Some(kind) = body.ending {
            return Some(self.end_as_asked(kind, 0, body));
        }
        let handle = Arc::clone(body.handle.as_ref()?);
        match handle.take_datagram() {
            Ok(datagram) => {
                let result = datagram.result(body.kind.action());
                let sender = datagram.sender;
                body.buffers = Buffers::from(datagram.buffer);
                let mut completion = self.conclude(body, result);
                completion.peer = sender;
                Some(completion)
            }
            Err(Refusal::Empty) => self.first_attempt(serving, body),
            Err(Refusal::NoBuffer) => {
                self.starve(serving, body);
                None
            }
            Err(Refusal::System(e)) => {
                let error = error_from_io(&e, body.kind.action());
                Some(self.conclude(body, Err(error)))
            }
        }
    }
}
