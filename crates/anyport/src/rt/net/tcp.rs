//! TCP connections.

use super::connection::Connection;
use super::once::complete;
use super::resolve::{ToSocketAddrs, addresses_of};
use super::split::{OwnedReadHalf, OwnedWriteHalf};
use crate::buf::{Buffer, Buffers, SizeClass};
use crate::error::{Error, ErrorKind};
use crate::net::Socket;
use crate::rt::fs::File;
use crate::rt::shared::expect_current;
use std::fmt;
use std::future::poll_fn;
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
    connection: Arc<Connection>,
    /// False after it was split.
    is_whole: bool,
}

impl TcpStream {
    pub(super) fn of(connection: Arc<Connection>) -> Self {
        TcpStream { connection, is_whole: true }
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

    /// The next bytes that arrive, in the pooled buffer in which they came; an empty buffer: the peer
    /// has ended its side.
    ///
    /// # Cancel safety
    /// No byte is lost: what arrives when nobody waits is the next one's.
    ///
    /// # Errors
    /// `Reset`, after the bytes that arrived before it.
    pub async fn recv(&mut self) -> Result<Buffer, Error> {
        poll_fn(|cx| self.connection.poll_recv(cx)).await
    }

    /// Receives into `buffer`, up to its capacity, and gives it back; 0 bytes: the peer has ended its
    /// side, or the buffer has no room.
    ///
    /// # Cancel safety
    /// No byte is lost: what arrives into a dropped future's buffer is delivered by the next read or
    /// [`recv`](Self::recv). The buffer is lost with the future.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); `InvalidInput` for a read-only buffer.
    pub async fn read(&mut self, buffer: impl Into<Buffer>) -> (Result<usize, Error>, Buffer) {
        self.connection.read(buffer.into()).await
    }

    /// Copies what has arrived, or arrives next, into `out` and leaves it to be received; 0: the peer
    /// has ended its side, or `out` is empty.
    ///
    /// # Cancel safety
    /// Nothing is taken.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn peek(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.connection.poll_copy(cx, out, true)).await
    }

    /// Hands bytes over to be sent, one buffer or several, in one operation: they go out in the order
    /// of the calls. Waits only while more than 256 KiB wait to be sent.
    ///
    /// # Cancel safety
    /// Either all were handed over or none: before the future is ready the buffers are its own.
    ///
    /// # Errors
    /// What the sends before it failed with, such as `Reset`; `ShutDown` after a shutdown. A failure
    /// after the bytes were handed over is told by the next call, and by [`flush`](Self::flush).
    pub async fn send(&mut self, buffers: impl Into<Buffers>) -> Result<(), Error> {
        let mut buffers = Some(buffers.into());
        poll_fn(|cx| self.connection.poll_send(cx, &mut buffers)).await
    }

    /// Sends `buffers`, one or several, and gives them back when the system has taken every byte; says
    /// how many those were.
    ///
    /// # Cancel safety
    /// The operation runs on with the buffers that it owns, and later ones follow it;
    /// [`bytes_sent`](Self::bytes_sent) tells how far it got.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Error::transferred`] tells how many of the bytes went.
    pub async fn write(&mut self, buffers: impl Into<Buffers>) -> (Result<usize, Error>, Buffers) {
        self.connection.write(buffers.into()).await
    }

    /// Sends `length` bytes of a file from `offset`, or what there is up to its end, after what was
    /// handed over before; the bytes need not pass through this program. Says how many those were.
    ///
    /// # Cancel safety
    /// As [`write`](Self::write).
    ///
    /// # Errors
    /// As [`write`](Self::write), and what reading the file fails with.
    pub async fn send_file(
        &mut self,
        file: &File,
        offset: u64,
        length: Option<u64>,
    ) -> Result<usize, Error> {
        self.connection.send_file(file, offset, length).await
    }

    /// Waits until all that was handed over has gone to the system.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    ///
    /// # Errors
    /// What a send has failed with.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.connection.flush().await
    }

    /// Ends the sending side after what was handed over; receiving goes on.
    ///
    /// # Cancel safety
    /// The operation runs on.
    ///
    /// # Errors
    /// `NotConnected`, or what the sends before it failed with.
    pub async fn shutdown(&mut self) -> Result<(), Error> {
        self.connection.shut_down().await
    }

    /// Bytes that the system has taken so far.
    pub fn bytes_sent(&self) -> u64 {
        self.connection.writing.bytes_sent()
    }

    /// Two halves, for two tasks. Dropping one ends its side: the reading half stops receiving, the
    /// writing half shuts the sending side down after what was handed over.
    pub fn into_split(mut self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.is_whole = false;
        (
            OwnedReadHalf::of(Arc::clone(&self.connection)),
            OwnedWriteHalf::of(Arc::clone(&self.connection)),
        )
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

    /// See [`SocketHandle::set_receive_class`](crate::net::SocketHandle::set_receive_class).
    pub fn set_receive_class(&self, class: SizeClass) {
        self.connection.socket.set_receive_class(class);
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

impl Drop for TcpStream {
    fn drop(&mut self) {
        if self.is_whole {
            self.connection.close_reading();
        }
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream").field("peer_addr", &self.peer_addr()).finish_non_exhaustive()
    }
}
