//! Datagrams by calls that carry their own wish not to wait. See [`crate::sys::receive_datagram_now`].

use super::descriptor::Descriptor;
use super::transfer::NO_SIGNAL;
use crate::sys::TakenDatagram;
use socket2::{MaybeUninitSlice, SockAddr};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;

pub(in crate::sys) fn receive_now(
    descriptor: &Descriptor,
    room: &mut [MaybeUninit<u8>],
) -> io::Result<TakenDatagram> {
    let socket = descriptor.socket();
    let mut room = [MaybeUninitSlice::new(room)];
    let (bytes, flags, sender) =
        uninterrupted(|| socket.recv_from_vectored_with_flags(&mut room, libc::MSG_DONTWAIT))?;
    let is_truncated = flags.is_truncated();
    Ok(TakenDatagram { bytes, is_truncated, sender: sender.as_socket() })
}

pub(in crate::sys) fn send_now(
    descriptor: &Descriptor,
    parts: &[IoSlice<'_>],
    peer: Option<SocketAddr>,
) -> io::Result<()> {
    const FLAGS: libc::c_int = libc::MSG_DONTWAIT | NO_SIGNAL;
    let socket = descriptor.socket();
    let sent = match peer.map(SockAddr::from) {
        Some(peer) => uninterrupted(|| socket.send_to_vectored_with_flags(parts, &peer, FLAGS)),
        None => uninterrupted(|| socket.send_vectored_with_flags(parts, FLAGS)),
    };
    sent.map(drop)
}

fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
