//! The system calls behind the requests on sockets, each without waiting.
//!
//! Guarantees that no call waits, whatever mode the user has set the socket to, that an
//! interrupted call is repeated, and that SIGPIPE is not raised. Called by `Socket` under its
//! lock; but `receive_pooled` and `send_slices` also without it, by the thread that takes a packet or
//! starts a send. Those note nothing on the socket: where they would have to wait, a request asks
//! again under the lock.

use super::super::unix::transfer::{self as call, NO_SIGNAL};
use super::super::{Message, Outcome, Region, Request};
use super::remainder::Answer;
use crate::buf::{BufferPool, SizeClass};
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// What an attempt came to.
pub(super) enum Attempt {
    Done(Outcome),
    /// Done, and the system says that it has taken the last byte.
    Emptied(Outcome),
    /// Nothing could be done: the socket must become ready first.
    Wait,
}

impl Attempt {
    /// What it comes to where nobody waits for the socket.
    pub(super) fn into_outcome(self) -> Outcome {
        match self {
            Attempt::Done(outcome) | Attempt::Emptied(outcome) => outcome,
            Attempt::Wait => Outcome::WouldBlock,
        }
    }
}

/// True for what waits for room to send, false for what waits for something to arrive.
pub(super) fn is_write_side(request: &Request) -> bool {
    match request {
        Request::Send(_)
        | Request::SendMessage(_)
        | Request::Connect(_)
        | Request::Writable
        | Request::WriteAt(..)
        | Request::WriteMessageAt(..) => true,
        Request::Receive(_)
        | Request::ReceiveMessage(_)
        | Request::ReceivePooled(_)
        | Request::ReceiveStream(_)
        | Request::Readable
        | Request::Accept
        | Request::AcceptStream
        | Request::ReadAt(..)
        | Request::ReadMessageAt(..) => false,
    }
}

/// How a receive learns whether it leaves anything in the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Telling {
    /// Not at all: only "would block" shows that a socket is empty.
    No,
    /// From its length: a TCP connection that does not fill the room it was given had no more (epoll(7),
    /// "Questions and answers", 9). Not so before an end or urgent data, whose edges say so.
    ByLength,
    /// From the kernel, since the last receive filled its room: see [`remainder`](super::remainder).
    ByKernel,
}

/// True for the receives that can learn what they leave.
pub(super) fn tells_remainder(request: &Request) -> bool {
    matches!(request, Request::Receive(_) | Request::ReceivePooled(_) | Request::ReceiveStream(_))
}

/// True when a receive has filled the room that it was given.
pub(super) fn fills(request: &Request, outcome: &Outcome) -> bool {
    match (request, outcome) {
        (_, Outcome::Pooled(buffer)) => buffer.len() == buffer.capacity(),
        (Request::Receive(region), Outcome::Bytes(bytes)) => *bytes == region.len.min(TRANSFER_MAX),
        _ => false,
    }
}

/// The first attempt at a request.
///
/// # Safety
/// The memory that the request names is valid and nobody else accesses it; `fd` is open.
pub(super) unsafe fn start(
    fd: RawFd,
    request: &Request,
    pool: &BufferPool,
    telling: Telling,
) -> Attempt {
    match *request {
        // SAFETY: the caller's promise.
        Request::Connect(message) => unsafe { connect(fd, message) },
        // SAFETY: the caller's promise.
        _ => unsafe { go_on(fd, request, pool, telling) },
    }
}

/// A further attempt: the socket has become ready since the last one, or so it seems.
///
/// # Safety
/// As for `start`.
pub(super) unsafe fn go_on(
    fd: RawFd,
    request: &Request,
    pool: &BufferPool,
    telling: Telling,
) -> Attempt {
    match *request {
        // SAFETY: the caller's promise is passed on, here and below.
        Request::Receive(region) => unsafe { receive(fd, region, telling) },
        // SAFETY: see above.
        Request::ReceiveMessage(message) => unsafe { receive_message(fd, message) },
        Request::ReceivePooled(class) | Request::ReceiveStream(class) => {
            receive_pooled(fd, pool, class, telling)
        }
        Request::Readable => peek(fd),
        Request::Writable => writable(fd),
        // SAFETY: see above.
        Request::Send(region) => unsafe { send(fd, region) },
        // SAFETY: see above.
        Request::SendMessage(message) => unsafe { send_message(fd, message) },
        Request::Accept | Request::AcceptStream => accept(fd),
        // SAFETY: see above.
        Request::Connect(message) => unsafe { check_connect(fd, message) },
        Request::ReadAt(..)
        | Request::ReadMessageAt(..)
        | Request::WriteAt(..)
        | Request::WriteMessageAt(..) => Attempt::Done(Outcome::Failed(libc::ESPIPE)),
    }
}

/// The most bytes for one call: what Linux moves at once; other systems refuse more than `int`.
pub(super) const TRANSFER_MAX: usize = 0x7fff_f000;

/// Repeats a call until no signal interrupts it; -1 becomes the error.
pub(super) fn uninterrupted(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(result as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The system's number of an error; every error here has one.
pub(super) fn code_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn transfer(result: io::Result<usize>) -> Attempt {
    match result {
        Ok(bytes) => Attempt::Done(Outcome::Bytes(bytes)),
        Err(e) => refused(&e),
    }
}

fn refused(error: &io::Error) -> Attempt {
    match error.kind() {
        io::ErrorKind::WouldBlock => Attempt::Wait,
        _ => failed(error),
    }
}

fn failed(error: &io::Error) -> Attempt {
    Attempt::Done(Outcome::Failed(code_of(error)))
}

/// # Safety
/// As for `start`.
unsafe fn receive(fd: RawFd, region: Region, telling: Telling) -> Attempt {
    let len = region.len.min(TRANSFER_MAX);
    let received = match telling {
        // SAFETY: the region is valid for writes and ours, by the caller's promise; here and below.
        Telling::ByKernel => unsafe { receive_with_flags(fd, region.ptr, len, true) },
        // SAFETY: see above.
        _ => unsafe { receive_plainly(fd, region.ptr, len, telling) },
    };
    match received {
        Ok(Received { bytes, is_nothing_left: true, .. }) => {
            Attempt::Emptied(Outcome::Bytes(bytes))
        }
        received => transfer(received.map(|r| r.bytes)),
    }
}

/// # Safety
/// As for `start`.
unsafe fn receive_message(fd: RawFd, message: *mut Message) -> Attempt {
    // SAFETY: the message is valid and ours, by the caller's promise.
    let header = unsafe { (*message).header() };
    // SAFETY: the header points to regions and an address that the same promise covers.
    transfer(uninterrupted(|| unsafe { libc::recvmsg(fd, header, libc::MSG_DONTWAIT) }))
}

/// # Safety
/// As for `start`.
unsafe fn send(fd: RawFd, region: Region) -> Attempt {
    let len = region.len.min(TRANSFER_MAX);
    let flags = libc::MSG_DONTWAIT | NO_SIGNAL;
    // SAFETY: the region is valid for reads, by the caller's promise.
    transfer(uninterrupted(|| unsafe { call::send(fd, region.ptr.cast(), len, flags) }))
}

/// Sends from several places that the caller lends for the call; not more than `TRANSFER_MAX` bytes.
pub(super) fn send_slices(socket: &SockRef<'_>, slices: &[IoSlice<'_>]) -> Attempt {
    let flags = libc::MSG_DONTWAIT | NO_SIGNAL;
    let result = match slices {
        [one] => uninterrupted(|| {
            // SAFETY: the slice is lent for the call.
            unsafe { call::send(socket.as_raw_fd(), one.as_ptr().cast(), one.len(), flags) }
        }),
        _ => loop {
            match socket.send_vectored_with_flags(slices, flags) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        },
    };
    transfer(result)
}

/// # Safety
/// As for `start`.
unsafe fn send_message(fd: RawFd, message: *mut Message) -> Attempt {
    // SAFETY: the message is valid and ours, by the caller's promise.
    let header = unsafe { (*message).header() };
    let flags = libc::MSG_DONTWAIT | NO_SIGNAL;
    // SAFETY: the header points to regions and an address that the same promise covers.
    transfer(uninterrupted(|| unsafe { libc::sendmsg(fd, header, flags) }))
}

pub(super) fn receive_pooled(
    fd: RawFd,
    pool: &BufferPool,
    class: SizeClass,
    telling: Telling,
) -> Attempt {
    let Some(mut buffer) = pool.take(class) else {
        // Without a buffer, only a socket that has something (or an end) lacks one.
        return match peek(fd) {
            Attempt::Done(Outcome::Bytes(_)) => Attempt::Done(Outcome::NoBuffers),
            other => other,
        };
    };
    let room = buffer.spare_capacity_mut();
    let (ptr, len) = (room.as_mut_ptr(), room.len());
    let received = match telling {
        // SAFETY: pointer and length are the buffer's room, which is ours.
        Telling::ByLength => unsafe { receive_plainly(fd, ptr.cast(), len, telling) },
        // SAFETY: as above.
        _ => unsafe { receive_with_flags(fd, ptr.cast(), len, telling == Telling::ByKernel) },
    };
    let received = match received {
        Ok(received) => received,
        Err(e) => return refused(&e),
    };
    // SAFETY: the buffer was empty, and the kernel has written its first `bytes` bytes.
    unsafe { buffer.set_len(received.bytes) };
    let outcome = match received.is_truncated {
        true => Outcome::PooledTruncated(buffer),
        false => Outcome::Pooled(buffer),
    };
    match received.is_nothing_left {
        true => Attempt::Emptied(outcome),
        false => Attempt::Done(outcome),
    }
}

/// What a receive says beside its bytes.
struct Received {
    bytes: usize,
    /// The rest of a datagram was cut off.
    is_truncated: bool,
    /// See [`Attempt::Emptied`].
    is_nothing_left: bool,
}

/// Receives what a call without a message tells: bytes, and how many.
///
/// # Safety
/// `len` bytes at `ptr` are valid for writes and nobody else accesses them; `fd` is open.
unsafe fn receive_plainly(
    fd: RawFd,
    ptr: *mut u8,
    len: usize,
    telling: Telling,
) -> io::Result<Received> {
    // SAFETY: the caller's promise.
    let bytes =
        uninterrupted(|| unsafe { call::receive(fd, ptr.cast(), len, libc::MSG_DONTWAIT) })?;
    let is_nothing_left = telling == Telling::ByLength && 0 < bytes && bytes < len;
    Ok(Received { bytes, is_truncated: false, is_nothing_left })
}

/// Receives with what only a message tells.
///
/// # Safety
/// As for `receive_plainly`.
unsafe fn receive_with_flags(
    fd: RawFd,
    ptr: *mut u8,
    len: usize,
    asks_kernel: bool,
) -> io::Result<Received> {
    let mut region = libc::iovec { iov_base: ptr.cast(), iov_len: len };
    // SAFETY: all-zero bytes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut region;
    header.msg_iovlen = 1;
    let mut answer = Answer::new();
    if asks_kernel {
        answer.be_control_of(&mut header);
    }
    // SAFETY: the header names one region, the caller's, and the answer, which outlives the call.
    let bytes = uninterrupted(|| unsafe { libc::recvmsg(fd, &mut header, libc::MSG_DONTWAIT) })?;
    Ok(Received {
        bytes,
        is_truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        is_nothing_left: asks_kernel && answer.is_nothing_left(&header),
    })
}

/// Done when there is something to receive, or the end of the stream; takes nothing. An error that
/// this look takes from the socket is the outcome.
fn peek(fd: RawFd) -> Attempt {
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: one byte of room, as said.
    match uninterrupted(|| unsafe { call::receive(fd, (&raw mut byte).cast(), 1, flags) }) {
        Ok(_) => Attempt::Done(Outcome::Bytes(0)),
        // A datagram larger than the byte, where that is an error: it is there.
        Err(e) if e.raw_os_error() == Some(libc::EMSGSIZE) => Attempt::Done(Outcome::Bytes(0)),
        Err(e) => refused(&e),
    }
}

/// Asks the system, not the hint: what is known may be from before the last send. The question
/// also makes the system report the next room as an edge.
fn writable(fd: RawFd) -> Attempt {
    match has_room(fd) {
        Ok(true) => Attempt::Done(Outcome::Bytes(0)),
        Ok(false) => Attempt::Wait,
        Err(e) => failed(&e),
    }
}

fn has_room(fd: RawFd) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one valid entry.
    let count = uninterrupted(|| unsafe { libc::poll(&mut entry, 1, 0) } as isize)?;
    Ok(count > 0)
}

fn accept(fd: RawFd) -> Attempt {
    // SAFETY: the descriptor is open, by the promise of `start`.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    loop {
        // A user's duplicate may have switched the mode that all duplicates share.
        if let Err(e) = SockRef::from(&fd).set_nonblocking(true) {
            return failed(&e);
        }
        match SockRef::from(&fd).accept() {
            Ok((socket, _)) => return Attempt::Done(Outcome::Accepted(socket.into())),
            // The connection went away while it waited to be accepted: the next one, please.
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ECONNABORTED | libc::EPROTO | libc::EINTR)
                ) => {}
            Err(e) => return refused(&e),
        }
    }
}

/// # Safety
/// As for `start`.
unsafe fn connect(fd: RawFd, message: *mut Message) -> Attempt {
    // SAFETY: the descriptor is open, by the promise of `start`.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    // As for `accept`.
    if let Err(e) = SockRef::from(&socket).set_nonblocking(true) {
        return failed(&e);
    }
    // SAFETY: the caller's promise.
    match unsafe { call_connect(fd, message) } {
        Ok(()) => Attempt::Done(Outcome::Bytes(0)),
        Err(e) => match e.raw_os_error() {
            // Interrupted: the connect goes on all the same, and must not be repeated.
            Some(libc::EINPROGRESS | libc::EINTR) => Attempt::Wait,
            _ => failed(&e),
        },
    }
}

/// What became of a connect. A socket that is not connected reports room and hang-up when it is
/// registered, so an edge alone proves nothing.
///
/// # Safety
/// As for `start`.
unsafe fn check_connect(fd: RawFd, message: *mut Message) -> Attempt {
    match has_room(fd) {
        Ok(true) => {}
        Ok(false) => return Attempt::Wait,
        Err(e) => return failed(&e),
    }
    // SAFETY: the descriptor is open, by the promise of `start`.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let socket = SockRef::from(&borrowed);
    match socket.take_error() {
        Ok(None) => {}
        Ok(Some(e)) | Err(e) => return failed(&e),
    }
    if let Err(e) = socket.peer_addr() {
        // Over without a peer and without an error: somebody else has asked for the error.
        return failed(&e);
    }
    // Linux takes note of the end only in a second call; without it, a later connect of the user
    // would succeed instead of being told that the socket is connected.
    // SAFETY: the caller's promise.
    match unsafe { call_connect(fd, message) } {
        Err(e) if e.raw_os_error() != Some(libc::EISCONN) => failed(&e),
        _ => Attempt::Done(Outcome::Bytes(0)),
    }
}

/// # Safety
/// As for `start`.
unsafe fn call_connect(fd: RawFd, message: *mut Message) -> io::Result<()> {
    // SAFETY: the message is valid and ours, by the caller's promise.
    let (address, length) = unsafe { (*message).address() };
    // SAFETY: pointer and length describe the address inside the message.
    match unsafe { libc::connect(fd, address, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
