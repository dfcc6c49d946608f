//! Datagrams by overlapped calls that are taken back when they would wait. See
//! [`crate::sys::receive_datagram_now`].

use super::descriptor::Descriptor;
use super::message::TRANSFER_MAX;
use super::receive::{Called, call_now};
use crate::sys::TakenDatagram;
use socket2::SockAddr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use windows_sys::Win32::Networking::WinSock::{
    SOCKADDR_STORAGE, WSABUF, WSAEMSGSIZE, WSARecvFrom, WSASend, WSASendTo,
};

pub(in crate::sys) fn receive_now(
    descriptor: &Descriptor,
    room: &mut [MaybeUninit<u8>],
) -> io::Result<TakenDatagram> {
    let socket = descriptor.raw_socket();
    let len = room.len().min(TRANSFER_MAX);
    let region = WSABUF { len: len as u32, buf: room.as_mut_ptr().cast() };
    let mut flags = 0;
    // SAFETY: the system writes an address of at most the storage's length, and that length; both
    // stay until the call is over, as do region and flags.
    let (called, sender) = unsafe {
        SockAddr::try_init(|storage, length| {
            *length = size_of::<SOCKADDR_STORAGE>() as i32;
            call_now(socket, |overlapped, bytes| {
                let none = None;
                let sender = storage.cast();
                WSARecvFrom(socket, &region, 1, bytes, &mut flags, sender, length, overlapped, none)
            })
        })
    }?;
    let (bytes, is_truncated) = match called {
        Called::Done(bytes) => (bytes, false),
        Called::Overflowed => (len, true),
    };
    Ok(TakenDatagram { bytes, is_truncated, sender: sender.as_socket() })
}

pub(in crate::sys) fn send_now(
    descriptor: &Descriptor,
    parts: &[IoSlice<'_>],
    peer: Option<SocketAddr>,
) -> io::Result<()> {
    let socket = descriptor.raw_socket();
    // An `IoSlice` is laid out as the system's own: std says so.
    let regions = parts.as_ptr().cast::<WSABUF>();
    let count = parts.len() as u32;
    let peer = peer.map(SockAddr::from);
    // SAFETY: the regions and the address are borrowed for the call, which is over at the return.
    let called = unsafe {
        call_now(socket, |overlapped, bytes| match &peer {
            Some(peer) => {
                let (address, len) = (peer.as_ptr().cast(), peer.len());
                WSASendTo(socket, regions, count, bytes, 0, address, len, overlapped, None)
            }
            None => WSASend(socket, regions, count, bytes, 0, overlapped, None),
        })
    };
    match called? {
        Called::Done(_) => Ok(()),
        // Larger than a datagram can be: nothing has gone.
        Called::Overflowed => Err(io::Error::from_raw_os_error(WSAEMSGSIZE)),
    }
}
