//! Datagrams: each whole or not at all.

use super::parcel::Parcel;
use super::{Fault, Network, SocketId, State};
use crate::sys::sim::timeline::Timeline;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Poll;

/// The most bytes of a datagram over IP.
const DATAGRAM_MAX: usize = 65_507;

/// What a socket keeps that nobody receives; more is lost.
const INBOX_MAX: usize = 212_992;

/// A datagram and its sender.
pub(in crate::sys::sim) type Datagram = (SocketAddr, Vec<u8>);

/// What a datagram socket knows.
#[derive(Default)]
pub(super) struct Datagrams {
    /// The only one that it hears, and speaks to where nobody else is named.
    pub(super) peer: Option<SocketAddr>,
    inbox: VecDeque<Datagram>,
    inbox_bytes: usize,
}

impl Datagrams {
    pub(super) fn is_readable(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// False when it is lost: not from the peer, or there is no room.
    pub(super) fn arrived(&mut self, from: SocketAddr, bytes: Vec<u8>) -> bool {
        let is_heard = self.peer.is_none_or(|peer| peer == from);
        if !is_heard || self.inbox_bytes + bytes.len() > INBOX_MAX {
            return false;
        }
        self.inbox_bytes += bytes.len();
        self.inbox.push_back((from, bytes));
        true
    }
}

impl Network {
    /// Sends one datagram, to the peer where `to` names nobody.
    pub(in crate::sys::sim) fn send_datagram(
        &mut self,
        time: &mut Timeline,
        id: SocketId,
        to: Option<SocketAddr>,
        bytes: Vec<u8>,
    ) -> Result<usize, Fault> {
        let State::Datagrams(datagrams) = &self.socket(id)?.state else {
            return Err(Fault::Invalid);
        };
        let to = to.or(datagrams.peer).ok_or(Fault::NotConnected)?;
        if bytes.len() > DATAGRAM_MAX {
            return Err(Fault::TooLarge);
        }
        let from = self.bind_towards(id, to)?;
        // Bound to every address of its host: its own is the one on the way to the other.
        let from = match from.ip().is_unspecified() {
            true => SocketAddr::new(to.ip(), from.port()),
            false => from,
        };
        let length = bytes.len();
        time.note("send datagram", id, length as u64);
        time.trace.add(&bytes);
        self.send_off(time, Parcel::Datagram { from, to, bytes });
        Ok(length)
    }

    /// The next datagram that has arrived.
    pub(in crate::sys::sim) fn receive_datagram(
        &mut self,
        time: &mut Timeline,
        id: SocketId,
    ) -> Poll<Result<Datagram, Fault>> {
        let datagrams = match self.socket(id).map(|socket| &mut socket.state) {
            Ok(State::Datagrams(datagrams)) => datagrams,
            _ => return Poll::Ready(Err(Fault::Invalid)),
        };
        let Some((from, bytes)) = datagrams.inbox.pop_front() else { return Poll::Pending };
        datagrams.inbox_bytes -= bytes.len();
        time.note("receive datagram", id, bytes.len() as u64);
        time.trace.add(&bytes);
        Poll::Ready(Ok((from, bytes)))
    }
}
