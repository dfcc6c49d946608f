//! The simulated network: sockets by address, and what is on its way between hosts.
//!
//! A state machine without threads, pointers or time of its own: calls change it, [`arrive`] lets
//! happen what has become due, and what both have changed is listed for whoever waits. Guarantees,
//! of streams: bytes arrive in order and once, or the connection fails, which its ends learn unless
//! they are kept from each other. Of datagrams: whole or not at all, perhaps twice, in any order.
//!
//! A host is an IP address; any address will do, and no host need be made first.
//!
//! [`arrive`]: Network::arrive

mod datagram;
mod parcel;
mod stream;
#[cfg(test)]
mod tests;

use super::link::{Link, Links};
use super::timeline::Timeline;
use datagram::Datagrams;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::task::Poll;
use std::time::Duration;
use stream::Endpoint;

pub(super) use parcel::Parcel;

/// Names a socket for ever: numbers are not used again.
pub(super) type SocketId = u64;

/// Why a call on a socket fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Reset,
    /// Sent after an end: this side's own, or a reset that was told before.
    BrokenPipe,
    Refused,
    TimedOut,
    NotConnected,
    AlreadyConnected,
    /// A connect goes on.
    InProgress,
    AddressInUse,
    TooLarge,
    Invalid,
}

/// Which protocol a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Stream,
    Datagram,
}

/// What a receive took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) bytes: usize,
    /// Nothing more had arrived, neither bytes nor an end.
    pub(super) is_drained: bool,
}

struct Socket {
    protocol: Protocol,
    is_ipv6: bool,
    /// Where it is, if that was said: whom it connects from.
    host: Option<IpAddr>,
    local: Option<SocketAddr>,
    state: State,
}

enum State {
    /// Neither listens nor is connected; a failed connect has left its reason.
    Fresh {
        fault: Option<Fault>,
    },
    Listening {
        backlog: usize,
        waiting: VecDeque<SocketId>,
    },
    Connecting,
    Connected(Endpoint),
    Datagrams(Datagrams),
}

/// See the module documentation.
pub(super) struct Network {
    sockets: BTreeMap<SocketId, Socket>,
    /// Who is asked for at an address: not the connections of a listener, which share its.
    bound: BTreeMap<(Protocol, SocketAddr), SocketId>,
    links: Links,
    /// What a cut link keeps back, in the order in which it was found cut.
    held: BTreeMap<u64, Parcel>,
    patience: Duration,
    next_port: u16,
    /// Whose state has changed since somebody looked.
    changed: Vec<SocketId>,
}

/// The first of the ports that are given where none was asked for.
const FIRST_FREE_PORT: u16 = 49_152;

/// How long what a cut link holds back is sent again and again before the connection fails.
const PATIENCE: Duration = Duration::from_secs(60);

impl Network {
    pub(super) fn new() -> Self {
        Network {
            sockets: BTreeMap::new(),
            bound: BTreeMap::new(),
            links: Links::new(),
            held: BTreeMap::new(),
            patience: PATIENCE,
            next_port: FIRST_FREE_PORT,
            changed: Vec::new(),
        }
    }

    /// Sockets that are open.
    pub(super) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// The sockets whose state has changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> Vec<SocketId> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn set_all_links(&mut self, link: Link) {
        self.links.set_all(link);
    }

    pub(super) fn set_link(&mut self, a: IpAddr, b: IpAddr, link: Link) {
        self.links.set(a, b, link);
    }

    pub(super) fn open(
        &mut self,
        time: &mut Timeline,
        protocol: Protocol,
        is_ipv6: bool,
        host: Option<IpAddr>,
    ) -> SocketId {
        let state = match protocol {
            Protocol::Stream => State::Fresh { fault: None },
            Protocol::Datagram => State::Datagrams(Datagrams::default()),
        };
        self.add(time, Socket { protocol, is_ipv6, host, local: None, state })
    }

    pub(super) fn bind(&mut self, id: SocketId, address: SocketAddr) -> Result<(), Fault> {
        let socket = self.socket(id)?;
        if socket.local.is_some() || socket.is_ipv6 != address.is_ipv6() {
            return Err(Fault::Invalid);
        }
        let protocol = socket.protocol;
        let address = match address.port() {
            0 => self.free_port(protocol, address.ip())?,
            _ => address,
        };
        if self.bound.contains_key(&(protocol, address)) {
            return Err(Fault::AddressInUse);
        }
        self.bound.insert((protocol, address), id);
        self.socket(id)?.local = Some(address);
        Ok(())
    }

    pub(super) fn listen(&mut self, id: SocketId, backlog: usize) -> Result<(), Fault> {
        let socket = self.socket(id)?;
        let backlog = backlog.max(1);
        match &mut socket.state {
            State::Fresh { .. } => {
                socket.state = State::Listening { backlog, waiting: VecDeque::new() };
            }
            State::Listening { backlog: before, .. } => *before = backlog,
            _ => return Err(Fault::Invalid),
        }
        if socket.local.is_none() {
            let any = any_address(socket.is_ipv6);
            return self.bind(id, SocketAddr::new(any, 0));
        }
        Ok(())
    }

    /// The next connection of a listener.
    pub(super) fn accept(&mut self, id: SocketId) -> Poll<Result<SocketId, Fault>> {
        match self.sockets.get_mut(&id).map(|socket| &mut socket.state) {
            Some(State::Listening { waiting, .. }) => match waiting.pop_front() {
                Some(connection) => Poll::Ready(Ok(connection)),
                None => Poll::Pending,
            },
            _ => Poll::Ready(Err(Fault::Invalid)),
        }
    }

    /// Begins to connect, or looks how the connect that was begun goes.
    pub(super) fn connect(
        &mut self,
        time: &mut Timeline,
        id: SocketId,
        to: SocketAddr,
    ) -> Result<(), Fault> {
        let socket = self.socket(id)?;
        match &mut socket.state {
            State::Fresh { fault } => {
                if let Some(fault) = fault.take() {
                    return Err(fault);
                }
            }
            State::Connecting => return Err(Fault::InProgress),
            // The connect that brought it here was not told yet: it is this one.
            State::Connected(endpoint) if !endpoint.is_told => return Ok(()),
            State::Connected(_) => return Err(Fault::AlreadyConnected),
            State::Listening { .. } => return Err(Fault::Invalid),
            State::Datagrams(_) => {
                self.bind_towards(id, to)?;
                if let State::Datagrams(datagrams) = &mut self.socket(id)?.state {
                    datagrams.peer = Some(to);
                }
                return Ok(());
            }
        }
        if socket.is_ipv6 != to.is_ipv6() || to.port() == 0 {
            return Err(Fault::Invalid);
        }
        let from = self.bind_towards(id, to)?;
        self.socket(id)?.state = State::Connecting;
        self.send_off(time, Parcel::Opening { client: id, from, to });
        Ok(())
    }

    /// How a connect has ended, once it has.
    pub(super) fn connected(&mut self, id: SocketId) -> Poll<Result<(), Fault>> {
        match self.sockets.get_mut(&id).map(|socket| &mut socket.state) {
            Some(State::Connecting) => Poll::Pending,
            Some(State::Connected(endpoint)) => {
                endpoint.is_told = true;
                Poll::Ready(Ok(()))
            }
            Some(State::Datagrams(_)) => Poll::Ready(Ok(())),
            Some(State::Fresh { fault }) => {
                Poll::Ready(Err(fault.take().unwrap_or(Fault::NotConnected)))
            }
            _ => Poll::Ready(Err(Fault::Invalid)),
        }
    }

    pub(super) fn local(&self, id: SocketId) -> Option<SocketAddr> {
        self.sockets.get(&id)?.local
    }

    /// Whom the socket is connected to.
    pub(super) fn peer(&self, id: SocketId) -> Option<SocketAddr> {
        match &self.sockets.get(&id)?.state {
            State::Connected(endpoint) => endpoint.peer(),
            State::Datagrams(datagrams) => datagrams.peer,
            _ => None,
        }
    }

    pub(super) fn protocol(&self, id: SocketId) -> Option<Protocol> {
        self.sockets.get(&id).map(|socket| socket.protocol)
    }

    /// Takes a failure that nobody has been told of.
    pub(super) fn take_fault(&mut self, id: SocketId) -> Option<Fault> {
        match &mut self.sockets.get_mut(&id)?.state {
            State::Fresh { fault } => fault.take(),
            State::Connected(endpoint) => endpoint.take_fault(),
            _ => None,
        }
    }

    /// The connection is over because of the peer, or of something between, in whatever way it was
    /// told.
    pub(super) fn was_reset(&self, id: SocketId) -> bool {
        match self.sockets.get(&id).map(|socket| &socket.state) {
            Some(State::Connected(endpoint)) => endpoint.is_broken(),
            _ => false,
        }
    }

    /// True when nothing moves any more: the connection is broken, or both sides have ended.
    pub(super) fn is_over(&self, id: SocketId) -> bool {
        match self.sockets.get(&id).map(|socket| &socket.state) {
            Some(State::Connected(endpoint)) => endpoint.is_over(),
            _ => false,
        }
    }

    /// True when a receive or an accept would not wait.
    pub(super) fn is_readable(&self, id: SocketId) -> bool {
        match self.sockets.get(&id).map(|socket| &socket.state) {
            Some(State::Connected(endpoint)) => endpoint.is_readable(),
            Some(State::Datagrams(datagrams)) => datagrams.is_readable(),
            Some(State::Listening { waiting, .. }) => !waiting.is_empty(),
            Some(State::Connecting) => false,
            Some(State::Fresh { .. }) | None => true,
        }
    }

    /// True when a receive would find bytes of a stream.
    pub(super) fn has_bytes(&self, id: SocketId) -> bool {
        match self.sockets.get(&id).map(|socket| &socket.state) {
            Some(State::Connected(endpoint)) => endpoint.has_bytes(),
            _ => false,
        }
    }

    /// True when a send would not wait, or a connect is over.
    pub(super) fn is_writable(&self, id: SocketId) -> bool {
        match self.sockets.get(&id).map(|socket| &socket.state) {
            Some(State::Connected(endpoint)) => {
                endpoint.is_broken() || endpoint.room(self.window_of(id)) > 0
            }
            Some(State::Connecting) => false,
            _ => true,
        }
    }

    /// Ends sides of a connection. The receiving side's end is this host's own affair.
    pub(super) fn shut_down(
        &mut self,
        time: &mut Timeline,
        id: SocketId,
        how: Shutdown,
    ) -> Result<(), Fault> {
        let State::Connected(endpoint) = &mut self.socket(id)?.state else {
            return Err(Fault::NotConnected);
        };
        if how != Shutdown::Write {
            endpoint.end_receiving();
        }
        let parcel = (how != Shutdown::Read).then(|| endpoint.end(id)).flatten();
        if let Some(parcel) = parcel {
            self.send_off(time, parcel);
        }
        self.changed.push(id);
        Ok(())
    }

    /// The last handle of a socket is gone. With `is_hard`, and when bytes were left unread, the
    /// peer learns of it as of a reset.
    pub(super) fn close(&mut self, time: &mut Timeline, id: SocketId, is_hard: bool) {
        let Some(socket) = self.sockets.remove(&id) else { return };
        time.note("close", id, u64::from(is_hard));
        self.unbind(id, &socket);
        match socket.state {
            State::Listening { waiting, .. } => {
                for connection in waiting {
                    self.close(time, connection, true);
                }
            }
            State::Connected(mut endpoint) => {
                if let Some(parcel) = endpoint.close(id, is_hard) {
                    self.send_off(time, parcel);
                }
            }
            State::Fresh { .. } | State::Connecting | State::Datagrams(_) => {}
        }
    }

    /// Everything on a host is gone at once, and nobody is told: what comes for it later is
    /// answered by a host that knows nothing of it.
    pub(super) fn lose_host(&mut self, host: IpAddr) {
        for (&id, socket) in &mut self.sockets {
            if socket.local.is_some_and(|local| local.ip() == host)
                && let State::Connected(endpoint) = &mut socket.state
            {
                endpoint.vanish();
                self.changed.push(id);
            }
        }
    }

    fn add(&mut self, time: &mut Timeline, socket: Socket) -> SocketId {
        let id = time.number();
        self.sockets.insert(id, socket);
        id
    }

    fn socket(&mut self, id: SocketId) -> Result<&mut Socket, Fault> {
        self.sockets.get_mut(&id).ok_or(Fault::Invalid)
    }

    /// The address that a socket has, or gets since it speaks to this one.
    fn bind_towards(&mut self, id: SocketId, to: SocketAddr) -> Result<SocketAddr, Fault> {
        let socket = self.socket(id)?;
        if let Some(local) = socket.local {
            return Ok(local);
        }
        // On this very host, unless it was said where the socket is.
        let host =
            socket.host.filter(|host| host.is_ipv4() == to.is_ipv4() && !to.ip().is_loopback());
        self.bind(id, SocketAddr::new(host.unwrap_or(to.ip()), 0))?;
        self.local(id).ok_or(Fault::Invalid)
    }

    fn unbind(&mut self, id: SocketId, socket: &Socket) {
        if let Some(local) = socket.local {
            let key = (socket.protocol, local);
            if self.bound.get(&key) == Some(&id) {
                self.bound.remove(&key);
            }
        }
    }

    fn free_port(&mut self, protocol: Protocol, host: IpAddr) -> Result<SocketAddr, Fault> {
        for _ in FIRST_FREE_PORT..=u16::MAX {
            let address = SocketAddr::new(host, self.next_port);
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_FREE_PORT);
            if !self.bound.contains_key(&(protocol, address)) {
                return Ok(address);
            }
        }
        Err(Fault::AddressInUse)
    }

    /// Who is asked for at this address.
    fn at(&self, protocol: Protocol, address: SocketAddr) -> Option<SocketId> {
        let any = SocketAddr::new(any_address(address.is_ipv6()), address.port());
        let exact = self.bound.get(&(protocol, address));
        exact.or_else(|| self.bound.get(&(protocol, any))).copied()
    }

    fn window_of(&self, id: SocketId) -> usize {
        let hosts = self.sockets.get(&id).and_then(|socket| match &socket.state {
            State::Connected(endpoint) => Some((endpoint.local.ip(), endpoint.remote.ip())),
            _ => None,
        });
        hosts.map_or(0, |(from, to)| self.links.between(from, to).window)
    }
}

fn any_address(is_ipv6: bool) -> IpAddr {
    match is_ipv6 {
        true => Ipv6Addr::UNSPECIFIED.into(),
        false => Ipv4Addr::UNSPECIFIED.into(),
    }
}
