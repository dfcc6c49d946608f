//! Requests as submission entries, and completions as outcomes.
//!
//! The 64-bit word that comes back with a completion holds the token in its low 56 bits and, in
//! the high 8, what sort of completion it is.

use super::super::system::descriptor::Descriptor;
use super::super::{Outcome, Request, RequestKind, Token};
use crate::buf::SizeClass;
use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};
use socket2::Socket;
use std::os::fd::{FromRawFd, RawFd};

/// What a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A request whose result is a number of bytes.
    Plain,
    /// A readiness wait: the result is a mask.
    Poll,
    /// A receive into a provided buffer of this class.
    Pooled(SizeClass),
    /// A readiness wait of a pooled receive on a lane that lends no buffers.
    PooledWait,
    /// An accept: the result is a descriptor.
    Accept,
    /// A wake-up of the lane.
    Wake,
    /// The answer to a cancel: of no interest.
    Cancel,
    /// The clerk's doorbell rang.
    Doorbell,
    /// A lane without a thread has events.
    Orphan,
}

impl Sort {
    fn bits(self) -> u64 {
        let sort: u64 = match self {
            Sort::Plain => 0,
            Sort::Poll => 1,
            Sort::Accept => 2,
            Sort::Wake => 3,
            Sort::Cancel => 4,
            Sort::Doorbell => 5,
            Sort::Orphan => 6,
            Sort::PooledWait => 7,
            Sort::Pooled(class) => 8 + u64::from(group_id(class)),
        };
        sort << 56
    }

    pub(super) fn of(user_data: u64) -> Sort {
        match (user_data >> 56) as u8 {
            0 => Sort::Plain,
            1 => Sort::Poll,
            2 => Sort::Accept,
            3 => Sort::Wake,
            4 => Sort::Cancel,
            5 => Sort::Doorbell,
            6 => Sort::Orphan,
            7 => Sort::PooledWait,
            8 => Sort::Pooled(SizeClass::Small4K),
            9 => Sort::Pooled(SizeClass::Medium16K),
            10 => Sort::Pooled(SizeClass::Large64K),
            other => unreachable!("no completion carries the sort {other}"),
        }
    }
}

/// The number of a class's buffer group.
pub(super) fn group_id(class: SizeClass) -> u16 {
    match class {
        SizeClass::Small4K => 0,
        SizeClass::Medium16K => 1,
        SizeClass::Large64K => 2,
    }
}

/// A send must not wait in the kernel: what did not go stays with the operation, where it keeps
/// its place before later sends.
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// The kernel takes 32-bit lengths; longer ones are shortened and go on where they stopped.
fn length(len: usize) -> u32 {
    len.min(i32::MAX as usize & !0xfff) as u32
}

/// The entry for a request.
///
/// Without `may_keep` the kernel does not keep memory of the request beyond the submission: a
/// receive into it finds something at once or gives `WouldBlock`.
///
/// # Safety
/// Pointers in `request` are valid.
pub(super) unsafe fn entry(
    descriptor: &Descriptor,
    request: Request,
    token: Token,
    may_keep: bool,
) -> Entry {
    let fd = types::Fd(descriptor.raw());
    // With it the result is the datagram's true length; on a stream it would throw bytes away.
    let pooled_flags = if descriptor.is_datagram() { libc::MSG_TRUNC } else { 0 };
    let receive_flags = if may_keep { 0 } else { libc::MSG_DONTWAIT };
    let (entry, sort) = match request {
        Request::Receive(r) => {
            let receive = opcode::Recv::new(fd, r.ptr, length(r.len)).flags(receive_flags);
            (receive.build(), Sort::Plain)
        }
        Request::ReceiveMessage(message) => {
            // SAFETY: valid by the caller's promise, and nobody else accesses it now.
            let header = unsafe { (*message).header() };
            let receive = opcode::RecvMsg::new(fd, header).flags(receive_flags as u32);
            (receive.build(), Sort::Plain)
        }
        Request::ReceivePooled(class) => {
            let receive = opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(group_id(class));
            (receive.flags(pooled_flags).build().flags(Flags::BUFFER_SELECT), Sort::Pooled(class))
        }
        Request::ReceiveStream(class) => {
            let receive = opcode::RecvMulti::new(fd, group_id(class)).flags(pooled_flags);
            (receive.build(), Sort::Pooled(class))
        }
        Request::Readable => {
            (opcode::PollAdd::new(fd, (libc::POLLIN | libc::POLLRDHUP) as u32).build(), Sort::Poll)
        }
        Request::Writable => (opcode::PollAdd::new(fd, libc::POLLOUT as u32).build(), Sort::Poll),
        Request::Send(r) => {
            (opcode::Send::new(fd, r.ptr, length(r.len)).flags(SEND_FLAGS).build(), Sort::Plain)
        }
        Request::SendMessage(message) => {
            // SAFETY: as for `ReceiveMessage`.
            let header = unsafe { (*message).header() };
            (opcode::SendMsg::new(fd, header).flags(SEND_FLAGS as u32).build(), Sort::Plain)
        }
        Request::Accept => {
            let accept = opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut());
            (accept.flags(libc::SOCK_CLOEXEC).build(), Sort::Accept)
        }
        Request::AcceptStream => {
            (opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build(), Sort::Accept)
        }
        Request::Connect(message) => {
            // SAFETY: as for `ReceiveMessage`.
            let (address, len) = unsafe { (*message).address() };
            (opcode::Connect::new(fd, address, len).build(), Sort::Plain)
        }
        Request::ReadAt(region, offset) => {
            let r = region.region();
            (opcode::Read::new(fd, r.ptr, length(r.len)).offset(offset).build(), Sort::Plain)
        }
        Request::ReadMessageAt(message, offset) => {
            // SAFETY: as for `ReceiveMessage`.
            let (regions, count) = unsafe { (*message).regions() };
            (opcode::Readv::new(fd, regions, count as u32).offset(offset).build(), Sort::Plain)
        }
        Request::WriteAt(region, offset) => {
            let r = region.region();
            (opcode::Write::new(fd, r.ptr, length(r.len)).offset(offset).build(), Sort::Plain)
        }
        Request::WriteMessageAt(message, offset) => {
            // SAFETY: as for `ReceiveMessage`.
            let (regions, count) = unsafe { (*message).regions() };
            (opcode::Writev::new(fd, regions, count as u32).offset(offset).build(), Sort::Plain)
        }
    };
    entry.user_data(sort.bits() | token.bits())
}

/// True for a local socket: a multishot receive may never tell of its end, when that comes right
/// behind bytes. A socket of TCP says with the bytes that there is more.
pub(super) fn may_miss_its_end(descriptor: &Descriptor) -> bool {
    descriptor.is_local()
}

/// The word that a request's completions carry; `lends` says whether its lane lends the kernel
/// buffers for pooled receives.
pub(super) fn word_of(request: RequestKind, token: Token, lends: bool) -> u64 {
    let sort = match request {
        RequestKind::ReceivePooled(_) if !lends => Sort::PooledWait,
        RequestKind::ReceivePooled(class) => Sort::Pooled(class),
        RequestKind::Readable | RequestKind::Writable => Sort::Poll,
        RequestKind::Accept => Sort::Accept,
        RequestKind::Transfer | RequestKind::TransferMessage => Sort::Plain,
    };
    sort.bits() | token.bits()
}

/// The token of the request that a word belongs to; `None` for the backend's own entries.
pub(super) fn request_of(word: u64) -> Option<Token> {
    match Sort::of(word) {
        Sort::Wake | Sort::Cancel | Sort::Doorbell | Sort::Orphan => None,
        _ => Some(Token::from_bits(word)),
    }
}

/// True for what the kernel may try, not find, and be about to try once more: pooled receives. Not those
/// of streams, for which it waits in any case; but their word does not tell.
pub(super) fn may_be_tried_again(entry: &Entry) -> bool {
    matches!(Sort::of(entry.get_user_data()), Sort::Pooled(_))
}

/// The entry that cancels a request: the kernel finds it by its whole word.
pub(super) fn cancel_entry(word: u64) -> Entry {
    opcode::AsyncCancel::new(word).build().user_data(Sort::Cancel.bits())
}

/// The entry that cancels every request of a ring.
pub(super) fn cancel_all_entry() -> Entry {
    let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::any());
    cancel.build().user_data(Sort::Cancel.bits())
}

/// The entry that waits until there is something for a pooled receive.
pub(super) fn pooled_wait_entry(descriptor: &Descriptor, token: Token) -> Entry {
    let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
    let poll = opcode::PollAdd::new(types::Fd(descriptor.raw()), events);
    poll.build().user_data(Sort::PooledWait.bits() | token.bits())
}

/// The entry, for another ring, that puts a wake-up into this one.
pub(super) fn wake_entry(ring: RawFd) -> Entry {
    let message = opcode::MsgRingData::new(types::Fd(ring), 0, Sort::Wake.bits(), None);
    message.build().flags(Flags::SKIP_SUCCESS).user_data(Sort::Cancel.bits())
}

/// The entry that completes when the doorbell rings.
pub(super) fn doorbell_entry(fd: RawFd) -> Entry {
    let poll = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32);
    poll.build().user_data(Sort::Doorbell.bits())
}

/// The entry that completes when another lane's ring has events.
pub(super) fn orphan_entry(ring: RawFd, lane: usize) -> Entry {
    let poll = opcode::PollAdd::new(types::Fd(ring), libc::POLLIN as u32);
    poll.build().user_data(Sort::Orphan.bits() | lane as u64)
}

/// The outcome of a request that did not choose a buffer.
pub(super) fn outcome(sort: Sort, result: i32) -> Outcome {
    match (sort, result) {
        (_, result) if result < 0 => failure(sort, -result),
        (Sort::Poll, _) => Outcome::Bytes(0),
        (Sort::PooledWait, _) => Outcome::ReadyForPooled,
        (Sort::Accept, fd) => {
            // SAFETY: a successful accept gives a new descriptor, which nobody else knows.
            let socket = unsafe { Socket::from_raw_fd(fd) };
            Outcome::Accepted(socket.into())
        }
        (_, bytes) => Outcome::Bytes(bytes as usize),
    }
}

fn failure(sort: Sort, code: i32) -> Outcome {
    match code {
        libc::EAGAIN => Outcome::WouldBlock,
        libc::ECANCELED | libc::EINTR => Outcome::Interrupted,
        libc::ENOBUFS if matches!(sort, Sort::Pooled(_)) => Outcome::NoBuffers,
        code => Outcome::Failed(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sort_comes_back_from_the_word_that_carries_it() {
        let token = Token::new(0xffff_ffff, 0xffff_ffff);
        for sort in [
            Sort::Plain,
            Sort::Poll,
            Sort::PooledWait,
            Sort::Accept,
            Sort::Wake,
            Sort::Cancel,
            Sort::Doorbell,
            Sort::Orphan,
            Sort::Pooled(SizeClass::Small4K),
            Sort::Pooled(SizeClass::Medium16K),
            Sort::Pooled(SizeClass::Large64K),
        ] {
            let word = sort.bits() | token.bits();
            assert_eq!(Sort::of(word), sort);
            assert_eq!(Token::from_bits(word), token);
        }
    }
}
