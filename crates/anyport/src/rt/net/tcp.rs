//! TCP connections.

use super::connection::Connection;
use super::methods::{receiving_methods, sending_methods};
use super::once::complete;
use super::resolve::{ToSocketAddrs, addresses_of};
use super::split::{OwnedReadHalf, OwnedWriteHalf, Whole};
use crate::error::{Error, ErrorKind};
use crate::net::Socket;
use crate::rt::shared::expect_current;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A TCP connection.
///
/// [`recv`](Self::recv) gives bytes in the pooled buffer in which they came, so an idle connection
/// holds no memory for them; [`read`](Self::read) takes a buffer and gives it back.
/// [`send`](Self::send) hands bytes over, [`write`](Self::write) waits for them to go and gives the
/// buffer back.
///
/// Dropping it closes the connection when what was handed over has gone; bytes that have arrived and
/// were not taken are dropped.
pub struct TcpStream {
    pub(in crate::rt) connection: Whole,
}

impl TcpStream {
    pub(super) fn of(connection: Arc<Connection>) -> Self {
        TcpStream { connection: Whole::of(connection) }
    }

    /// Connects to `peer`: an address, or a host and a port, whose addresses are tried in the order in
    /// which the system gives them.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection that it had begun.
    ///
    /// # Errors
    /// Those of the last address: `Refused`, `TimedOut`, `Unreachable`, and `Limit` when the process
    /// has no descriptor left. What [`lookup_host`](super::lookup_host) fails with; `NotFound` when there is no address.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn connect(peer: impl ToSocketAddrs) -> Result<Self, Error> {
        let mut last =
            Error::new(ErrorKind::NotFound, "connect").with_detail("there is no address");
        for peer in addresses_of(peer).await? {
            // The system may lack one of the families: then the other's addresses are tried.
            let socket = if peer.is_ipv4() { Socket::tcp_v4() } else { Socket::tcp_v6() };
            let connected = match socket {
                Ok(socket) => Self::connect_with(socket, peer).await,
                Err(error) => Err(error),
            };
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// As [`connect`](Self::connect), to one address, with a socket that was bound or has options.
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    ///
    /// # Panics
    /// See there.
    #[allow(clippy::result_large_err, reason = "a refused start gives everything back")]
    pub async fn connect_with(socket: Socket, peer: SocketAddr) -> Result<Self, Error> {
        let connection = Connection::new(&expect_current("connect"), socket)?;
        let stream = TcpStream::of(connection);
        let ended = complete((), |context| stream.connection.socket.connect(peer, context)).await;
        ended.map_err(|rejected| rejected.error)?.result?;
        Ok(stream)
    }

    /// Takes a connected socket, such as one of the standard library.
    ///
    /// # Errors
    /// When it cannot be associated with the runtime's port: see
    /// [`CompletionPort::associate`](crate::CompletionPort::associate).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn from_socket(socket: impl Into<Socket>) -> Result<Self, Error> {
        let shared = expect_current("make a stream");
        Ok(TcpStream::of(Connection::new(&shared, socket.into())?))
    }

    receiving_methods!();
    sending_methods!();

    /// Two halves, for two tasks. Dropping one ends its side: the reading half stops receiving, the
    /// writing half shuts the sending side down after what was handed over.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.connection.into_halves()
    }

    /// Closes the connection at once, by a reset: what was handed over and has not reached the peer is
    /// dropped, and what has arrived. The peer has an error in place of an end, so that it does not take
    /// what it has for all there is. For peers that break the rules or do not read, and for ends that
    /// must not leave a port in use (`TIME_WAIT`).
    ///
    /// ```
    /// use anyport::ErrorKind;
    /// use anyport::rt::net::{TcpListener, TcpStream};
    ///
    /// # anyport::rt::Runtime::new()?.block_on(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (mut stream, _) = listener.accept().await?;
    /// client.abort();
    /// assert_eq!(stream.recv().await.map(drop).unwrap_err().kind(), ErrorKind::Reset);
    /// # Ok::<(), anyport::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn abort(self) {
        self.connection.abort();
    }

    /// Whether small sends leave at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// What the system says.
    pub fn set_nodelay(&self, on: bool) -> Result<(), Error> {
        self.connection.socket.set_nodelay(on)
    }

    /// How long closing waits for what was sent and not acknowledged (`SO_LINGER`); `None`: it goes on
    /// in the background.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_linger(&self, linger: Option<Duration>) -> Result<(), Error> {
        self.connection.socket.set_linger(linger)
    }

    /// This end's address.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.connection.socket.local_addr()
    }

    /// The other end's address.
    ///
    /// # Errors
    /// `NotConnected`, or what the system says.
    pub fn peer_addr(&self) -> Result<SocketAddr, Error> {
        self.connection.socket.peer_addr()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream").field("peer_addr", &self.peer_addr()).finish_non_exhaustive()
    }
}
