//! The sockets of a run and the poller that watches them, by number.
//!
//! Owns both, because a poller must never outlive its knowledge of a socket: a socket leaves the
//! poller before it is closed. Events come on the edge where the system has that; elsewhere each
//! event has to be asked for again. Called by `connect`, `steady` and `churn`.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};
use socket2::{Domain, Protocol, Socket, Type};

use super::load::Load;
use super::system::{bind_source, is_connect_under_way};

/// Numbered non-blocking sockets, all watched for reading and writing.
pub(crate) struct Sockets {
    poller: Poller,
    mode: PollMode,
    /// Every socket here is registered with `poller` under its index.
    list: Vec<Option<Socket>>,
}

/// How to connect.
#[derive(Clone, Copy)]
pub(crate) struct Route<'a> {
    pub(crate) peer: SocketAddr,
    /// None: the system chooses.
    pub(crate) source: Option<IpAddr>,
    pub(crate) congestion: Option<&'a str>,
}

impl<'a> Route<'a> {
    /// The route of connection number `number` of `load`.
    pub(crate) fn new(load: &'a Load, number: usize) -> Self {
        let source = load.sources.of(number);
        Self { peer: load.peer, source, congestion: load.congestion.as_deref() }
    }
}

impl Sockets {
    /// `count` places without a socket.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let poller = Poller::new()?;
        let mode = if poller.supports_edge() { PollMode::Edge } else { PollMode::Oneshot };
        let list = std::iter::repeat_with(|| None).take(count).collect();
        Ok(Self { poller, mode, list })
    }

    /// Starts a connect at `index`, in place of a socket that was there. The result comes as an
    /// event; then `connect_error` tells it.
    pub(crate) fn connect(&mut self, index: usize, route: Route<'_>) -> io::Result<()> {
        self.close(index);
        let domain = Domain::for_address(route.peer);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(name) = route.congestion {
            crate::congestion::choose(&socket, name)?;
        }
        if let Some(source) = route.source {
            bind_source(&socket, SocketAddr::new(source, 0))?;
        }
        match socket.connect(&route.peer.into()) {
            Ok(()) => {}
            Err(error) if is_connect_under_way(&error) => {}
            Err(error) => return Err(error),
        }
        // SAFETY: the socket is kept in `list`; `close` and `drop`, the only ways out of it, take
        // it from the poller before they close it.
        unsafe { self.poller.add_with_mode(&socket, Event::all(index), self.mode) }?;
        self.list[index] = Some(socket);
        Ok(())
    }

    /// Why the connect at `index` failed; none when it succeeded.
    pub(crate) fn connect_error(&self, index: usize) -> io::Result<Option<io::Error>> {
        let Some(socket) = self.get(index) else {
            return Ok(Some(io::ErrorKind::NotConnected.into()));
        };
        if let Some(error) = socket.take_error()? {
            return Ok(Some(error));
        }
        // A connect that is still under way has no error either.
        Ok(socket.peer_addr().err())
    }

    /// The socket at `index`; none when it was closed.
    pub(crate) fn get(&self, index: usize) -> Option<&Socket> {
        self.list.get(index).and_then(Option::as_ref)
    }

    /// Number of places.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Waits for events, at most `timeout`. A signal ends the wait early.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        events.clear();
        match self.poller.wait(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Asks for the next event at `index` after one was handled: of something to read, and of room
    /// to write when `wants_room`. Nothing to do where events come on the edge.
    pub(crate) fn await_next(&self, index: usize, wants_room: bool) -> io::Result<()> {
        if self.mode == PollMode::Edge {
            return Ok(());
        }
        let event = Event::new(index, true, wants_room);
        self.get(index)
            .map_or(Ok(()), |socket| self.poller.modify_with_mode(socket, event, self.mode))
    }

    /// Says that nothing more will be sent at `index`.
    pub(crate) fn end_sending(&self, index: usize) -> io::Result<()> {
        self.get(index).map_or(Ok(()), |socket| socket.shutdown(Shutdown::Write))
    }

    /// Closes the socket at `index`, if there is one.
    pub(crate) fn close(&mut self, index: usize) {
        if let Some(socket) = self.list[index].take() {
            // It is registered, so this cannot fail; closing unregisters it in any case on epoll.
            let _ = self.poller.delete(&socket);
        }
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for index in 0..self.list.len() {
            self.close(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    fn route(peer: SocketAddr) -> Route<'static> {
        Route { peer, source: None, congestion: None }
    }

    fn wait_for(sockets: &Sockets, index: usize) {
        let mut events = Events::new();
        while !events.iter().any(|event| event.key == index) {
            sockets.wait(&mut events, Duration::from_secs(10)).expect("a wait");
        }
    }

    #[test]
    fn a_refused_connect_tells_why() {
        let free = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
        let mut sockets = Sockets::new(1).expect("a poller");
        match sockets.connect(0, route(free)) {
            Ok(()) => {
                wait_for(&sockets, 0);
                let error = sockets.connect_error(0).expect("asked").expect("an error");
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
        }
    }

    #[test]
    fn a_place_is_used_again_after_its_socket_was_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let peer = listener.local_addr().expect("address");
        let mut sockets = Sockets::new(2).expect("a poller");
        for _ in 0..3 {
            sockets.connect(1, route(peer)).expect("a connect");
            wait_for(&sockets, 1);
            assert!(sockets.connect_error(1).expect("asked").is_none());
            sockets.close(1);
            assert!(sockets.get(1).is_none());
        }
    }

    #[test]
    fn a_connection_comes_from_the_source_that_was_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let peer = listener.local_addr().expect("address");
        let mut sockets = Sockets::new(1).expect("a poller");
        let source = Some(IpAddr::from([127, 0, 0, 1]));
        sockets.connect(0, Route { source, ..route(peer) }).expect("a connect");
        let (_, from) = listener.accept().expect("accepted");
        assert_eq!(Some(from.ip()), source);
    }

    #[test]
    fn events_that_must_be_asked_for_again_come_again() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let mut sockets = Sockets::new(1).expect("a poller");
        sockets.mode = PollMode::Oneshot;
        sockets.connect(0, route(listener.local_addr().expect("address"))).expect("a connect");
        let (mut stream, _) = listener.accept().expect("accepted");
        wait_for(&sockets, 0);
        for byte in 0..3 {
            sockets.await_next(0, byte == 1).expect("asked");
            stream.write_all(&[byte]).expect("sent");
            loop {
                wait_for(&sockets, 0);
                let mut got = [9];
                match sockets.get(0).expect("open").read(&mut got) {
                    Ok(1) => break assert_eq!(got, [byte]),
                    _ => sockets.await_next(0, false).expect("asked"),
                }
            }
        }
    }
}
