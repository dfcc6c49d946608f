//! Requests as overlapped calls.
//!
//! Guarantees that no call waits, and that what was over at once without a packet is told apart
//! from what a packet will tell. Called by `Windows` with the slot locked.

use super::connect::start_connect;
use super::descriptor::Descriptor;
use super::finish;
use super::message::{Message, TRANSFER_MAX};
use super::slot::{ADDRESS_ROOM, Accepting, Slot, State};
use crate::sys::{Outcome, Region, Request};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::os::windows::io::AsRawSocket;
use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GetLastError, HANDLE};
use windows_sys::Win32::Networking::WinSock::{
    AcceptEx, MSG_PEEK, SOCKET, WSA_IO_PENDING, WSABUF, WSAENOTSOCK, WSAGetLastError, WSARecv,
    WSARecvFrom, WSASend, WSASendTo,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};

/// How a start went.
pub(super) enum Started {
    /// A packet will tell.
    Pending,
    /// Over; no packet comes.
    Done(Outcome),
}

/// Starts a request.
///
/// # Safety
/// As for `Backend::issue`; `state` is the locked state of `slot`, in which nothing is under way.
pub(super) unsafe fn start(
    descriptor: &Descriptor,
    slot: &Slot,
    state: &mut State,
    request: Request,
) -> Started {
    // SAFETY: nothing is under way in the slot, and it is locked.
    unsafe { slot.prepare(0) };
    let socket = descriptor.raw_socket();
    let result = match request {
        // SAFETY: the region is valid and ours, by the caller's promise, here and below.
        Request::Receive(region) => unsafe { receive(slot, socket, &[part(region)], 0) },
        // SAFETY: the message is valid and ours, by the same promise.
        Request::ReceiveMessage(message) => unsafe { receive_message(slot, socket, message) },
        Request::ReceivePooled(_) | Request::ReceiveStream(_) | Request::Readable => {
            // A datagram would be lost to a receive without room that takes what it finds.
            let flags = if descriptor.is_datagram() { MSG_PEEK as u32 } else { 0 };
            // SAFETY: a region without room names no memory.
            unsafe { receive(slot, socket, &[NO_ROOM], flags) }
        }
        Request::Writable => Call::Over(0),
        // SAFETY: see above.
        Request::Send(region) => unsafe { send(slot, socket, &[part(region)]) },
        // SAFETY: see above.
        Request::SendMessage(message) => unsafe { send_message(slot, socket, message) },
        // SAFETY: the slot keeps what an accept needs until it is over.
        Request::Accept | Request::AcceptStream => unsafe { accept(descriptor, slot, state) },
        // SAFETY: see above.
        Request::Connect(message) => unsafe { start_connect(descriptor, slot, message) },
        Request::ReadAt(..)
        | Request::ReadMessageAt(..)
        | Request::WriteAt(..)
        | Request::WriteMessageAt(..) => {
            // SAFETY: the caller's promise is passed on.
            unsafe { transfer(slot, descriptor.raw_handle(), request, 0) }
        }
    };
    match result {
        Call::Pending => Started::Pending,
        // The packet is on its way all the same.
        Call::Over(_) if !descriptor.skips_packets && !matches!(request, Request::Writable) => {
            Started::Pending
        }
        Call::Over(bytes) => finish::succeeded(slot, state, request, bytes),
        Call::Failed(code) => finish::over_with(state, finish::failed(request, code)),
    }
}

/// What a call said.
pub(super) enum Call {
    Pending,
    /// Done, with this many bytes.
    Over(usize),
    Failed(i32),
}

impl Call {
    /// Of a Winsock call.
    pub(super) fn of_socket(is_over: bool, bytes: u32) -> Self {
        if is_over {
            return Call::Over(bytes as usize);
        }
        // SAFETY: the call has no arguments.
        match unsafe { WSAGetLastError() } {
            WSA_IO_PENDING => Call::Pending,
            code => Call::Failed(code),
        }
    }

    fn of_file(is_over: bool, bytes: u32) -> Self {
        if is_over {
            return Call::Over(bytes as usize);
        }
        // SAFETY: the call has no arguments.
        match unsafe { GetLastError() } {
            ERROR_IO_PENDING => Call::Pending,
            code => Call::Failed(code.cast_signed()),
        }
    }
}

const NO_ROOM: WSABUF = WSABUF { len: 0, buf: std::ptr::dangling_mut() };

fn part(region: Region) -> WSABUF {
    WSABUF { len: region.len.min(TRANSFER_MAX) as u32, buf: region.ptr }
}

/// # Safety
/// The regions stay valid for writes until the receive is over; the slot is locked and prepared.
unsafe fn receive(slot: &Slot, socket: SOCKET, regions: &[WSABUF], flags: u32) -> Call {
    let (mut bytes, mut flags) = (0, flags);
    // SAFETY: the list of regions is captured by the call, what they name and the structure stay,
    // by the caller's promise.
    let result = unsafe {
        WSARecv(
            socket,
            regions.as_ptr(),
            regions.len() as u32,
            &mut bytes,
            &mut flags,
            slot.overlapped(),
            None,
        )
    };
    Call::of_socket(result == 0, bytes)
}

/// # Safety
/// As for `receive`, for the message and what it names.
unsafe fn receive_message(slot: &Slot, socket: SOCKET, message: *mut Message) -> Call {
    // SAFETY: the message is valid and nobody else accesses it, by the caller's promise.
    let message = unsafe { &mut *message };
    let Some((address, length)) = message.address() else {
        // SAFETY: the caller's promise is passed on.
        return unsafe { receive(slot, socket, message.regions(), 0) };
    };
    let regions = message.regions();
    let (mut bytes, mut flags) = (0, 0);
    // SAFETY: as for `receive`; address and length are inside the message, which stays.
    let result = unsafe {
        WSARecvFrom(
            socket,
            regions.as_ptr(),
            regions.len() as u32,
            &mut bytes,
            &mut flags,
            address,
            length,
            slot.overlapped(),
            None,
        )
    };
    Call::of_socket(result == 0, bytes)
}

/// # Safety
/// As for `receive`, with regions to read from.
unsafe fn send(slot: &Slot, socket: SOCKET, regions: &[WSABUF]) -> Call {
    let mut bytes = 0;
    // SAFETY: as for `receive`.
    let result = unsafe {
        WSASend(
            socket,
            regions.as_ptr(),
            regions.len() as u32,
            &mut bytes,
            0,
            slot.overlapped(),
            None,
        )
    };
    Call::of_socket(result == 0, bytes)
}

/// # Safety
/// As for `send`, for the message and what it names.
unsafe fn send_message(slot: &Slot, socket: SOCKET, message: *mut Message) -> Call {
    // SAFETY: the message is valid and nobody else accesses it, by the caller's promise.
    let message = unsafe { &mut *message };
    let Some((address, length)) = message.address() else {
        // SAFETY: the caller's promise is passed on.
        return unsafe { send(slot, socket, message.regions()) };
    };
    let regions = message.regions();
    let mut bytes = 0;
    // SAFETY: as for `receive`; address and length are inside the message, which stays.
    let result = unsafe {
        WSASendTo(
            socket,
            regions.as_ptr(),
            regions.len() as u32,
            &mut bytes,
            0,
            address,
            *length,
            slot.overlapped(),
            None,
        )
    };
    Call::of_socket(result == 0, bytes)
}

/// # Safety
/// The slot is locked and prepared, and nothing is under way in it.
unsafe fn accept(descriptor: &Descriptor, slot: &Slot, state: &mut State) -> Call {
    let Some(kind) = descriptor.socket_kind() else {
        return Call::Failed(WSAENOTSOCK);
    };
    let (family, protocol) = (Domain::from(kind.family), Protocol::from(kind.protocol));
    let socket = match Socket::new(family, Type::from(kind.socket_type), Some(protocol)) {
        Ok(socket) => socket,
        Err(e) => return Call::Failed(code_of(&e)),
    };
    let raw = socket.as_raw_socket() as SOCKET;
    let accepting = state.accepting.get_or_insert_with(Accepting::new);
    accepting.socket = Some(socket);
    let mut bytes = 0;
    // SAFETY: the output is in a box that stays in the slot, and has the room that is said.
    let result = unsafe {
        AcceptEx(
            descriptor.raw_socket(),
            raw,
            accepting.output.as_mut_ptr().cast(),
            0,
            ADDRESS_ROOM as u32,
            ADDRESS_ROOM as u32,
            &mut bytes,
            slot.overlapped(),
        )
    };
    Call::of_socket(result != 0, bytes)
}

/// Reads or writes the part of a file request that comes after `transferred` bytes: of a list, as
/// far as its region goes.
///
/// # Safety
/// What the request names is valid and ours, and stays until the part is over; the slot is locked
/// and nothing is under way in it.
pub(super) unsafe fn transfer(
    slot: &Slot,
    handle: HANDLE,
    request: Request,
    transferred: usize,
) -> Call {
    // SAFETY: the message is valid, by the caller's promise.
    let region = |message: *mut Message| unsafe { region_at((*message).regions(), transferred) };
    let (region, offset, is_read) = match request {
        Request::ReadAt(whole, offset) => (part(whole.region()), offset, true),
        Request::WriteAt(whole, offset) => (part(whole.region()), offset, false),
        Request::ReadMessageAt(message, offset) => (region(message), offset, true),
        Request::WriteMessageAt(message, offset) => (region(message), offset, false),
        _ => unreachable!("only transfers of files come here"),
    };
    // SAFETY: nothing is under way in the slot, by the caller's promise.
    unsafe { slot.prepare(offset.saturating_add(transferred as u64)) };
    let mut bytes = 0;
    let overlapped = slot.overlapped();
    let result = if is_read {
        // SAFETY: region and structure stay until the read is over, by the caller's promise.
        unsafe { ReadFile(handle, region.buf, region.len, &mut bytes, overlapped) }
    } else {
        // SAFETY: as above.
        unsafe { WriteFile(handle, region.buf, region.len, &mut bytes, overlapped) }
    };
    Call::of_file(result != 0, bytes)
}

/// What is left of the region in which the byte after `skip` is; empty at the end of the list.
fn region_at(regions: &[WSABUF], mut skip: usize) -> WSABUF {
    for region in regions {
        let len = region.len as usize;
        if skip < len {
            return WSABUF { len: (len - skip) as u32, buf: region.buf.wrapping_add(skip) };
        }
        skip -= len;
    }
    NO_ROOM
}

pub(super) fn code_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_where_the_last_part_ended() {
        let mut memory = [0u8; 10];
        let start = memory.as_mut_ptr();
        let regions =
            [WSABUF { len: 4, buf: start }, WSABUF { len: 6, buf: start.wrapping_add(4) }];
        for (skip, place, len) in [(0, 0, 4), (3, 3, 1), (4, 4, 6), (9, 9, 1)] {
            let region = region_at(&regions, skip);
            assert_eq!((region.buf, region.len), (start.wrapping_add(place), len));
        }
        assert_eq!(region_at(&regions, 10).len, 0);
    }
}
