//! The sockets of a run and the poller that watches them, by number, in edge mode.
//!
//! Owns both, because a poller must never outlive its knowledge of a socket: a socket leaves the
//! poller before it is closed. Called by `connect` and `generator`.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};
use socket2::{Domain, Protocol, Socket, Type};

/// Numbered non-blocking sockets, all watched for reading and writing.
pub(crate) struct Sockets {
    poller: Poller,
    /// Every socket here is registered with `poller` under its index.
    list: Vec<Option<Socket>>,
}

impl Sockets {
    /// `count` places without a socket.
    pub(crate) fn new(count: usize) -> io::Result<Self> {
        let poller = Poller::new()?;
        Ok(Self { poller, list: std::iter::repeat_with(|| None).take(count).collect() })
    }

    /// Starts a connect at `index`, in place of a socket that was there. The result comes as an
    /// event; then `connect_error` tells it.
    pub(crate) fn connect(
        &mut self,
        index: usize,
        peer: SocketAddr,
        congestion: Option<&str>,
    ) -> io::Result<()> {
        self.close(index);
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(name) = congestion {
            crate::congestion::choose(&socket, name)?;
        }
        match socket.connect(&peer.into()) {
            Ok(()) => {}
            Err(error) if is_under_way(&error) => {}
            Err(error) => return Err(error),
        }
        // SAFETY: the socket is kept in `list`; `close` and `drop`, the only ways out of it, take
        // it from the poller before they close it.
        unsafe { self.poller.add_with_mode(&socket, Event::all(index), PollMode::Edge) }?;
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

/// Receives into `space` for counting only. Where the system can, the bytes are thrown away inside
/// the kernel, so that the generator costs less than the server.
pub(crate) fn receive_uncopied(
    socket: &Socket,
    space: &mut [MaybeUninit<u8>],
) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    const FLAGS: i32 = libc::MSG_TRUNC;
    #[cfg(not(target_os = "linux"))]
    const FLAGS: i32 = 0;
    socket.recv_with_flags(space, FLAGS)
}

fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

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
        match sockets.connect(0, free, None) {
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
            sockets.connect(1, peer, None).expect("a connect");
            wait_for(&sockets, 1);
            assert!(sockets.connect_error(1).expect("asked").is_none());
            sockets.close(1);
            assert!(sockets.get(1).is_none());
        }
    }
}
