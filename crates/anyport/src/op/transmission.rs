//! A file sent to a socket: head, file, tail, one after the other, as one operation in the line of
//! sends.
//!
//! The file goes through one pooled buffer: read a piece, send it, read the next. The steps are
//! requests like any other, so every backend can do it.

use super::body::Body;
use super::handle::HandleCore;
use crate::buf::{Buffer, Buffers, PooledBuffer, SizeClass};
use crate::sys::{FileRegion, Region, Request};
use std::sync::Arc;

/// What to transmit.
pub(crate) struct TransmissionSpec {
    pub(crate) head: Buffers,
    pub(crate) file: Arc<HandleCore>,
    pub(crate) offset: u64,
    /// Bytes of the file; to its end when `None`.
    pub(crate) length: Option<u64>,
    pub(crate) tail: Buffers,
}

impl TransmissionSpec {
    pub(crate) fn into_buffers(self) -> Buffers {
        joined(self.head, self.tail)
    }
}

fn joined(head: Buffers, tail: Buffers) -> Buffers {
    if tail.is_empty() {
        return head;
    }
    if head.is_empty() {
        return tail;
    }
    let mut all = head.into_vec();
    all.extend(tail.into_vec());
    Buffers::Many(all)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Head,
    Read,
    SendPiece,
    Tail,
    Over,
}

/// How far a transmission has come.
pub(super) struct Transmitting {
    spec: TransmissionSpec,
    step: Step,
    /// Bytes of the current part that are sent.
    sent: usize,
    /// Bytes of the file that are read.
    read: u64,
    piece: Option<Buffer>,
    pub(super) total: usize,
}

/// What a transmission does next.
pub(super) enum Next {
    /// A request on the socket.
    OnSocket(Request),
    /// A request on the file.
    OnFile(Request, Arc<HandleCore>),
    /// No pooled buffer is to be had now.
    NoBuffer,
    Over,
}

impl Transmitting {
    pub(super) fn new(spec: TransmissionSpec) -> Self {
        Transmitting { spec, step: Step::Head, sent: 0, read: 0, piece: None, total: 0 }
    }

    pub(super) fn into_buffers(self) -> Buffers {
        self.spec.into_buffers()
    }

    /// The file, while a request on it is under way.
    pub(super) fn file_at_work(&self) -> Option<&Arc<HandleCore>> {
        (self.step == Step::Read).then_some(&self.spec.file)
    }

    /// Takes in how many bytes the request moved.
    pub(super) fn note(&mut self, bytes: usize) {
        match self.step {
            Step::Head | Step::SendPiece | Step::Tail => {
                self.sent += bytes;
                self.total += bytes;
            }
            Step::Read => {
                self.read += bytes as u64;
                self.sent = 0;
                if bytes == 0 {
                    self.piece = None;
                    self.step = Step::Tail;
                } else {
                    if let Some(piece) = &mut self.piece {
                        // SAFETY: the read has filled this many bytes of the piece.
                        unsafe { piece.set_filled(bytes) };
                    }
                    self.step = Step::SendPiece;
                }
            }
            Step::Over => {}
        }
    }
}

/// The next request; `take_piece` gets a buffer from the pool.
pub(super) fn next(
    body: &mut Body,
    take_piece: impl Fn(SizeClass) -> Option<PooledBuffer>,
) -> Next {
    let Some(mut transmitting) = body.transmitting.take() else {
        return Next::Over;
    };
    let next = step(&mut transmitting, body, take_piece);
    body.transmitting = Some(transmitting);
    next
}

fn step(
    t: &mut Transmitting,
    body: &mut Body,
    take_piece: impl Fn(SizeClass) -> Option<PooledBuffer>,
) -> Next {
    loop {
        match t.step {
            Step::Head | Step::Tail => {
                let buffers = if t.step == Step::Head { &t.spec.head } else { &t.spec.tail };
                if t.sent < buffers.total_len() {
                    return Next::OnSocket(send_rest(body, buffers.as_slice(), t.sent));
                }
                t.step = if t.step == Step::Head { Step::Read } else { Step::Over };
                t.sent = 0;
            }
            Step::Read => {
                let left = t.spec.length.map_or(u64::MAX, |length| length - t.read);
                if left == 0 {
                    t.piece = None;
                    t.sent = 0;
                    t.step = Step::Tail;
                    continue;
                }
                if t.piece.is_none() {
                    t.piece = take_piece(SizeClass::Large64K)
                        .or_else(|| take_piece(SizeClass::Small4K))
                        .map(Buffer::from);
                }
                let Some((ptr, len)) = t.piece.as_mut().and_then(Buffer::write_parts) else {
                    return Next::NoBuffer;
                };
                let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
                let offset = t.spec.offset.saturating_add(t.read);
                let request = Request::ReadAt(FileRegion::of(Region { ptr, len }), offset);
                return Next::OnFile(request, Arc::clone(&t.spec.file));
            }
            Step::SendPiece => {
                let piece = t.piece.as_slice();
                if t.sent < piece.iter().map(Buffer::len).sum() {
                    return Next::OnSocket(send_rest(body, piece, t.sent));
                }
                t.step = Step::Read;
            }
            Step::Over => return Next::Over,
        }
    }
}

fn send_rest(body: &mut Body, buffers: &[Buffer], sent: usize) -> Request {
    let regions = buffers.iter().map(|b| {
        let (ptr, len) = b.read_parts();
        Region { ptr: ptr.cast_mut(), len }
    });
    if let [one] = buffers {
        let (ptr, len) = one.read_parts();
        return Request::Send(Region { ptr: ptr.cast_mut().wrapping_add(sent), len: len - sent });
    }
    let message = body.message();
    message.set(regions, sent, None, false);
    Request::SendMessage(message)
}
