//! What is on its way from host to host, what keeps it back, and what its arrival does.

use super::stream::Endpoint;
use super::{Fault, Network, Protocol, Socket, SocketId, State};
use crate::sys::sim::random::nanoseconds;
use crate::sys::sim::timeline::{Happening, Timeline};
use std::net::{IpAddr, SocketAddr};

/// A part of a connection's stream, in its order.
#[derive(Debug)]
pub(in crate::sys::sim) enum Segment {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// See the module documentation.
#[derive(Debug)]
pub(in crate::sys::sim) enum Parcel {
    /// A client asks for a connection.
    Opening {
        client: SocketId,
        from: SocketAddr,
        to: SocketAddr,
    },
    /// And is answered; no server: it is refused.
    Answer {
        client: SocketId,
        server: Option<SocketId>,
        from: SocketAddr,
        to: SocketAddr,
    },
    /// Of a connection, with its place among those of this direction.
    Segment {
        sender: SocketId,
        receiver: SocketId,
        from: SocketAddr,
        to: SocketAddr,
        number: u64,
        segment: Segment,
    },
    /// Ends a connection wherever its bytes are: from a host that knows nothing of it, or from
    /// something between.
    Reset {
        receiver: SocketId,
        from: SocketAddr,
        to: SocketAddr,
    },
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
}

impl Parcel {
    fn hosts(&self) -> (IpAddr, IpAddr) {
        match self {
            Parcel::Opening { from, to, .. }
            | Parcel::Answer { from, to, .. }
            | Parcel::Segment { from, to, .. }
            | Parcel::Reset { from, to, .. }
            | Parcel::Datagram { from, to, .. } => (from.ip(), to.ip()),
        }
    }

    /// Who fails when it does not get through; `None`: nobody would know.
    fn sender(&self) -> Option<SocketId> {
        match self {
            Parcel::Opening { client, .. } => Some(*client),
            Parcel::Answer { server, .. } => *server,
            Parcel::Segment { sender, .. } => Some(*sender),
            Parcel::Reset { .. } | Parcel::Datagram { .. } => None,
        }
    }
}

/// How long a client waits before it asks again a listener that has no room.
const ASKS_AGAIN_NS: u64 = 1_000_000_000;

impl Network {
    /// Puts something on its way.
    pub(super) fn send_off(&mut self, time: &mut Timeline, parcel: Parcel) {
        let (from, to) = parcel.hosts();
        let link = self.links.between(from, to);
        let delay = time.random.within(&link.latency);
        match &parcel {
            Parcel::Datagram { from, to, bytes } => {
                if time.random.chance(link.loss) {
                    time.note("lost", 0, bytes.len() as u64);
                    return;
                }
                if time.random.chance(link.twice) {
                    let delay = time.random.within(&link.latency);
                    let copy = Parcel::Datagram { from: *from, to: *to, bytes: bytes.clone() };
                    time.after(delay, Happening::Parcel(copy));
                }
            }
            &Parcel::Segment { sender, receiver, from, to, .. }
                if time.random.chance(link.reset) =>
            {
                let back = time.random.within(&link.latency);
                let both = [(receiver, from, to, delay), (sender, to, from, back)];
                for (receiver, from, to, delay) in both {
                    time.after(delay, Happening::Parcel(Parcel::Reset { receiver, from, to }));
                }
            }
            _ => {}
        }
        time.after(delay, Happening::Parcel(parcel));
    }

    /// Nothing gets from one host to the other any more; what is on its way is held back, and what
    /// is held back for a minute fails. Datagrams are lost.
    pub(in crate::sys::sim) fn cut(&mut self, from: IpAddr, to: IpAddr) {
        self.links.cut(from, to);
    }

    /// The way is free again, also for what was held back.
    pub(in crate::sys::sim) fn mend(&mut self, time: &mut Timeline, from: IpAddr, to: IpAddr) {
        self.links.mend(from, to);
        let free: Vec<u64> = self
            .held
            .iter()
            .filter(|(_, parcel)| parcel.hosts() == (from, to))
            .map(|(&number, _)| number)
            .collect();
        for number in free {
            if let Some(parcel) = self.held.remove(&number) {
                let delay = time.random.within(&self.links.between(from, to).latency);
                time.after(delay, Happening::Parcel(parcel));
            }
        }
    }

    /// Something has arrived, or would have if it could.
    pub(in crate::sys::sim) fn arrive(&mut self, time: &mut Timeline, parcel: Parcel) {
        let (from, to) = parcel.hosts();
        if self.links.is_cut(from, to) {
            if !matches!(parcel, Parcel::Datagram { .. } | Parcel::Reset { .. }) {
                let number = time.number();
                time.note("held", number, 0);
                self.held.insert(number, parcel);
                time.after(nanoseconds(self.patience), Happening::GivesUp(number));
            }
            return;
        }
        match parcel {
            Parcel::Opening { client, from, to } => self.opening(time, client, from, to),
            Parcel::Answer { client, server, from, to } => {
                time.note("answer", client, server.unwrap_or(0));
                self.answer(time, client, server, from, to);
            }
            Parcel::Segment { sender, receiver, from, to, number, segment } => {
                time.note("segment", receiver, number);
                if self.sockets.contains_key(&receiver) {
                    // The answer to the client is still on its way: this is one as well.
                    self.answer(time, receiver, Some(sender), from, to);
                }
                self.segment(time, (sender, receiver), (from, to), number, segment);
            }
            Parcel::Reset { receiver, .. } => {
                time.note("reset", receiver, 0);
                if let Some(endpoint) = self.endpoint(receiver) {
                    endpoint.break_off(Fault::Reset);
                    self.changed.push(receiver);
                }
            }
            Parcel::Datagram { from, to, bytes } => {
                let Some(receiver) = self.at(Protocol::Datagram, to) else { return };
                let socket = self.sockets.get_mut(&receiver);
                if let Some(State::Datagrams(datagrams)) = socket.map(|socket| &mut socket.state)
                    && datagrams.arrived(from, bytes)
                {
                    time.note("datagram", receiver, 0);
                    self.changed.push(receiver);
                }
            }
        }
    }

    /// What was held back for too long fails, if it still is.
    pub(in crate::sys::sim) fn give_up(&mut self, time: &mut Timeline, number: u64) {
        let Some(sender) = self.held.remove(&number).and_then(|parcel| parcel.sender()) else {
            return;
        };
        time.note("gives up", sender, 0);
        match self.sockets.get_mut(&sender).map(|socket| &mut socket.state) {
            Some(State::Connected(endpoint)) => endpoint.break_off(Fault::TimedOut),
            Some(state @ State::Connecting) => {
                *state = State::Fresh { fault: Some(Fault::TimedOut) };
            }
            _ => return,
        }
        self.changed.push(sender);
    }

    fn endpoint(&mut self, id: SocketId) -> Option<&mut Endpoint> {
        match &mut self.sockets.get_mut(&id)?.state {
            State::Connected(endpoint) => Some(endpoint),
            _ => None,
        }
    }

    /// A client asks at an address.
    fn opening(&mut self, time: &mut Timeline, client: SocketId, from: SocketAddr, to: SocketAddr) {
        time.note("opening", client, 0);
        if !self.sockets.contains_key(&client) {
            // It has closed meanwhile.
            return;
        }
        let listener = self.at(Protocol::Stream, to);
        let has_room = listener.and_then(|id| match &self.sockets.get(&id)?.state {
            State::Listening { backlog, waiting } => Some((id, waiting.len() < *backlog)),
            _ => None,
        });
        let server = match has_room {
            None => None,
            Some((_, false)) => {
                // Not a word, as systems have it; the client asks again.
                let again = Parcel::Opening { client, from, to };
                return time.after(ASKS_AGAIN_NS, Happening::Parcel(again));
            }
            Some((listener, true)) => {
                let mut endpoint = Endpoint::new(to, from, client);
                endpoint.is_told = true;
                let id = self.add(
                    time,
                    Socket {
                        protocol: Protocol::Stream,
                        is_ipv6: to.is_ipv6(),
                        host: Some(to.ip()),
                        local: Some(to),
                        state: State::Connected(endpoint),
                    },
                );
                let listening = self.sockets.get_mut(&listener).map(|socket| &mut socket.state);
                if let Some(State::Listening { waiting, .. }) = listening {
                    waiting.push_back(id);
                }
                self.changed.push(listener);
                Some(id)
            }
        };
        self.send_off(time, Parcel::Answer { client, server, from: to, to: from });
    }

    /// A client that still waits for it learns what became of its connect.
    fn answer(
        &mut self,
        time: &mut Timeline,
        client: SocketId,
        server: Option<SocketId>,
        from: SocketAddr,
        to: SocketAddr,
    ) {
        let Some(socket) = self.sockets.get_mut(&client) else {
            if let Some(server) = server
                && self.endpoint(server).is_some_and(|endpoint| !endpoint.is_known)
            {
                let reset = Parcel::Reset { receiver: server, from: to, to: from };
                self.send_off(time, reset);
            }
            return;
        };
        if !matches!(socket.state, State::Connecting) {
            return;
        }
        socket.state = match server {
            Some(server) => State::Connected(Endpoint::new(to, from, server)),
            None => State::Fresh { fault: Some(Fault::Refused) },
        };
        if let Some(endpoint) = server.and_then(|server| self.endpoint(server)) {
            endpoint.is_known = true;
        }
        self.changed.push(client);
    }

    fn segment(
        &mut self,
        time: &mut Timeline,
        (sender, receiver): (SocketId, SocketId),
        (from, to): (SocketAddr, SocketAddr),
        number: u64,
        segment: Segment,
    ) {
        match self.endpoint(receiver) {
            Some(endpoint) if !endpoint.has_vanished => {
                endpoint.arrived(number, segment);
                self.changed.push(receiver);
            }
            // Nobody is there for it. An end needs nobody.
            _ => {
                if matches!(segment, Segment::Bytes(_)) {
                    let reset = Parcel::Reset { receiver: sender, from: to, to: from };
                    self.send_off(time, reset);
                }
            }
        }
    }
}
