//! One end of a connection: what has arrived, what it has sent, how it ends.

use super::parcel::{Parcel, Segment};
use super::{Fault, Network, Received, SocketId, State};
use crate::sys::sim::timeline::Timeline;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::task::Poll;

/// See the module documentation.
pub(super) struct Endpoint {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    /// The other end.
    pub(super) other: SocketId,
    /// Arrived in order, and not received.
    inbox: VecDeque<u8>,
    /// Arrived before what was sent before it.
    early: BTreeMap<u64, Segment>,
    /// The number of the segment that comes next.
    next: u64,
    /// The number that the next segment of this end has.
    sent: u64,
    /// Bytes that this end has sent and the other has not received.
    unreceived: usize,
    /// The other end has ended its side, and all before it has arrived.
    has_end: bool,
    /// This end has ended its side.
    has_ended: bool,
    /// It receives no more.
    is_receiving_over: bool,
    /// The connection is over, and not by ends.
    broken: Option<Fault>,
    /// Nobody was told of it yet.
    untold: Option<Fault>,
    /// Its host has forgotten it: it sends nothing any more, not even an end.
    pub(super) has_vanished: bool,
    /// A listener's: the client has learnt of it. Until then the client may have gone without a
    /// word.
    pub(super) is_known: bool,
    /// Whoever connected, or accepted it, was told.
    pub(super) is_told: bool,
}

impl Endpoint {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr, other: SocketId) -> Self {
        Endpoint {
            local,
            remote,
            other,
            inbox: VecDeque::new(),
            early: BTreeMap::new(),
            next: 0,
            sent: 0,
            unreceived: 0,
            has_end: false,
            has_ended: false,
            is_receiving_over: false,
            broken: None,
            untold: None,
            has_vanished: false,
            is_known: false,
            is_told: false,
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_broken() || self.has_end && self.has_ended
    }

    /// As `getpeername` has it: none once the connection is broken.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        (!self.is_broken()).then_some(self.remote)
    }

    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.untold.take()
    }

    pub(super) fn has_bytes(&self) -> bool {
        !self.inbox.is_empty()
    }

    pub(super) fn is_readable(&self) -> bool {
        self.has_bytes() || self.has_end || self.is_receiving_over || self.is_broken()
    }

    /// How many bytes it may send now.
    pub(super) fn room(&self, window: usize) -> usize {
        window.saturating_sub(self.unreceived)
    }

    pub(super) fn end_receiving(&mut self) {
        self.is_receiving_over = true;
    }

    /// Ends the sending side, once.
    pub(super) fn end(&mut self, id: SocketId) -> Option<Parcel> {
        if std::mem::replace(&mut self.has_ended, true) || self.is_broken() {
            return None;
        }
        Some(self.next_segment(id, Segment::End))
    }

    /// What the other end is told of a close.
    pub(super) fn close(&mut self, id: SocketId, is_hard: bool) -> Option<Parcel> {
        let leaves_bytes = !self.inbox.is_empty() || !self.early.is_empty();
        if self.has_vanished || self.is_broken() {
            return None;
        }
        if is_hard || leaves_bytes {
            return Some(self.next_segment(id, Segment::Reset));
        }
        self.end(id)
    }

    /// Its host knows nothing of it any more.
    pub(super) fn vanish(&mut self) {
        self.has_vanished = true;
        self.break_off(Fault::Reset);
    }

    /// The connection is over. What had arrived can be received still.
    pub(super) fn break_off(&mut self, fault: Fault) {
        if self.broken.is_none() {
            self.broken = Some(fault);
            self.untold = Some(fault);
            self.early.clear();
        }
    }

    pub(super) fn next_segment(&mut self, id: SocketId, segment: Segment) -> Parcel {
        let number = self.sent;
        self.sent += 1;
        let (from, to) = (self.local, self.remote);
        Parcel::Segment { sender: id, receiver: self.other, from, to, number, segment }
    }

    /// A segment has arrived. Whatever is now in order becomes what can be received.
    pub(super) fn arrived(&mut self, number: u64, segment: Segment) {
        if self.is_broken() || number < self.next {
            return;
        }
        self.early.insert(number, segment);
        while let Some(segment) = self.early.remove(&self.next) {
            self.next += 1;
            match segment {
                Segment::Bytes(bytes) => self.inbox.extend(bytes),
                Segment::End => self.has_end = true,
                Segment::Reset => self.break_off(Fault::Reset),
            }
        }
    }
}

impl Network {
    /// How many bytes a send could take now: at least one.
    pub(in crate::sys::sim) fn room(&mut self, id: SocketId) -> Poll<Result<usize, Fault>> {
        let window = self.window_of(id);
        let endpoint = match self.sockets.get_mut(&id).map(|socket| &mut socket.state) {
            Some(State::Connected(endpoint)) => endpoint,
            Some(State::Connecting) => return Poll::Pending,
            _ => return Poll::Ready(Err(Fault::NotConnected)),
        };
        if let Some(fault) = endpoint.untold.take() {
            return Poll::Ready(Err(fault));
        }
        if endpoint.is_broken() || endpoint.has_ended {
            return Poll::Ready(Err(Fault::BrokenPipe));
        }
        match endpoint.room(window) {
            0 => Poll::Pending,
            room => Poll::Ready(Ok(room)),
        }
    }

    /// How many of `bytes` a transfer moves that could move all: fewer now and then.
    pub(in crate::sys::sim) fn perhaps_fewer(
        &self,
        time: &mut Timeline,
        id: SocketId,
        bytes: usize,
    ) -> usize {
        let Some(State::Connected(endpoint)) = self.sockets.get(&id).map(|socket| &socket.state)
        else {
            return bytes;
        };
        let link = self.links.between(endpoint.local.ip(), endpoint.remote.ip());
        match bytes > 1 && time.random.chance(link.short) {
            true => time.random.up_to(bytes - 1),
            false => bytes,
        }
    }

    /// Sends all of these bytes, no more than there is [`room`](Self::room) for.
    pub(in crate::sys::sim) fn send(&mut self, time: &mut Timeline, id: SocketId, bytes: &[u8]) {
        let Some(State::Connected(endpoint)) =
            self.sockets.get_mut(&id).map(|socket| &mut socket.state)
        else {
            return;
        };
        time.note("send", id, bytes.len() as u64);
        time.trace.add(bytes);
        endpoint.unreceived += bytes.len();
        let link = self.links.between(endpoint.local.ip(), endpoint.remote.ip());
        let mut rest = bytes;
        let mut parcels = Vec::new();
        while !rest.is_empty() {
            let most = link.segment_max.min(rest.len());
            let segment = match time.random.chance(link.ragged) {
                true => time.random.up_to(most),
                false => most,
            };
            let (now, later) = rest.split_at(segment);
            rest = later;
            parcels.push(endpoint.next_segment(id, Segment::Bytes(now.to_vec())));
        }
        for parcel in parcels {
            self.send_off(time, parcel);
        }
    }

    /// Receives up to `room` bytes, which `take` is given in one or two pieces; 0 at the end.
    pub(in crate::sys::sim) fn receive(
        &mut self,
        time: &mut Timeline,
        id: SocketId,
        room: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Received, Fault>> {
        let there = match self.sockets.get_mut(&id).map(|socket| &mut socket.state) {
            Some(State::Connected(endpoint)) => match endpoint.inbox.len() {
                0 => {
                    if let Some(fault) = endpoint.untold.take() {
                        return Poll::Ready(Err(fault));
                    }
                    return match endpoint.is_readable() {
                        true => Poll::Ready(Ok(Received { bytes: 0, is_drained: false })),
                        false => Poll::Pending,
                    };
                }
                there => there,
            },
            Some(State::Connecting) => return Poll::Pending,
            _ => return Poll::Ready(Err(Fault::NotConnected)),
        };
        let bytes = self.perhaps_fewer(time, id, room.min(there));
        let Some(State::Connected(endpoint)) =
            self.sockets.get_mut(&id).map(|socket| &mut socket.state)
        else {
            return Poll::Pending;
        };
        time.note("receive", id, bytes as u64);
        let (first, second) = endpoint.inbox.as_slices();
        let (first, second) = match bytes.checked_sub(first.len()) {
            Some(more) => (first, &second[..more]),
            None => (&first[..bytes], &second[..0]),
        };
        for piece in [first, second] {
            if !piece.is_empty() {
                time.trace.add(piece);
                take(piece);
            }
        }
        endpoint.inbox.drain(..bytes);
        let is_drained = !endpoint.is_readable();
        let other = endpoint.other;
        if let Some(State::Connected(sender)) =
            self.sockets.get_mut(&other).map(|socket| &mut socket.state)
        {
            sender.unreceived = sender.unreceived.saturating_sub(bytes);
            self.changed.push(other);
        }
        Poll::Ready(Ok(Received { bytes, is_drained }))
    }
}
