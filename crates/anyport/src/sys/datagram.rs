//! Datagrams by calls that do not wait, whatever the mode of the socket: for who has found that there
//! is one, or wants to know. Any backend's sockets will do.

use super::Descriptor;
use super::system::datagram as system;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;

/// What a receive took.
#[derive(Debug)]
pub(crate) struct TakenDatagram {
    /// Bytes that are there now, from the start of the room.
    pub(crate) bytes: usize,
    /// It was larger than the room; the rest is gone.
    pub(crate) is_truncated: bool,
    /// `None` when it has no internet address.
    pub(crate) sender: Option<SocketAddr>,
}

/// Takes one datagram.
///
/// # Errors
/// `WouldBlock` when there is none; what the system keeps as the socket's error.
pub(crate) fn receive_datagram_now(
    descriptor: &Descriptor,
    room: &mut [MaybeUninit<u8>],
) -> io::Result<TakenDatagram> {
    #[cfg(feature = "sim")]
    if let Some(handle) = descriptor.simulated() {
        return handle.receive_datagram(room);
    }
    system::receive_now(descriptor.system(), room)
}

/// Sends one datagram, whole or not at all: to `peer`, or to whom the socket is connected to.
///
/// # Errors
/// `WouldBlock` when there is no room for it.
pub(crate) fn send_datagram_now(
    descriptor: &Descriptor,
    parts: &[IoSlice<'_>],
    peer: Option<SocketAddr>,
) -> io::Result<()> {
    #[cfg(feature = "sim")]
    if let Some(handle) = descriptor.simulated() {
        return handle.send_datagram(parts, peer);
    }
    system::send_now(descriptor.system(), parts, peer)
}
