//! Local sockets (AF_UNIX), between processes of one machine.

use super::accepting::Accepting;
use super::connection::Connection;
use super::methods::{receiving_methods, sending_methods};
use super::split::{OwnedReadHalf, OwnedWriteHalf, Whole};
use crate::error::{Error, ErrorKind};
use crate::net::Socket;
use crate::rt::shared::{Shared, expect_current};
use crate::rt::time::sleep;
use crate::sys::{error_from_io, unnamed_local};
use std::fmt;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How soon a connect is tried again that found the listener's queue full; it doubles up to the longest.
const AGAIN_AFTER: Duration = Duration::from_millis(1);

/// The longest.
const AGAIN_AFTER_MAX: Duration = Duration::from_millis(32);

/// A listening local socket.
///
/// Dropping it closes it, and with it the connections that nobody has accepted. The file that its path
/// names stays: remove it before the next one is bound there.
pub struct UnixListener {
    accepting: Arc<Accepting>,
    shared: Arc<Shared>,
}

impl UnixListener {
    /// Listens at `path`, where a file is made for it, with the standard library's backlog.
    ///
    /// # Errors
    /// `AddressInUse` when there is a file already, `NotFound` without its directory,
    /// `PermissionDenied`; `InvalidInput` for a path that is too long, about 100 bytes.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn bind(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_system(net::UnixListener::bind(path))
    }

    /// As [`bind`](Self::bind), to any address: on Linux also to a name that is no path
    /// (`SocketAddr::from_abstract_name`).
    ///
    /// # Errors
    /// See there.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn bind_addr(address: &SocketAddr) -> Result<Self, Error> {
        Self::from_system(net::UnixListener::bind_addr(address))
    }

    /// Takes a listening local socket of the standard library or of one's own making.
    ///
    /// # Errors
    /// When it cannot be associated with the runtime's port: see
    /// [`CompletionPort::associate`](crate::CompletionPort::associate).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn from_socket(socket: impl Into<Socket>) -> Result<Self, Error> {
        let shared = expect_current("make a listener");
        let socket = shared.port().associate(socket.into(), 0).map_err(|refused| refused.error)?;
        Ok(UnixListener { accepting: Accepting::new(socket), shared })
    }

    /// The next connection and its peer, which mostly has no name.
    ///
    /// # Cancel safety
    /// No connection is lost: one that comes when nobody waits is the next one's.
    ///
    /// # Errors
    /// `Limit` when the process has no descriptor left: accept again when some were closed.
    pub async fn accept(&self) -> Result<(UnixStream, SocketAddr), Error> {
        let (socket, _) = self.accepting.accept().await?;
        let connection = Connection::new(&self.shared, socket)?;
        // One whose peer is gone already may have no name; what it has sent is there.
        let peer = connection.socket.peer_name().unwrap_or_else(|_| unnamed_local());
        Ok((UnixStream::of(connection), peer))
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.accepting.socket.local_name()
    }

    fn from_system(listener: std::io::Result<net::UnixListener>) -> Result<Self, Error> {
        match listener {
            Ok(listener) => Self::from_socket(listener),
            Err(e) => Err(refused(&e, "listen")),
        }
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        self.accepting.close();
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixListener").field("local_addr", &self.local_addr()).finish()
    }
}

/// A local connection.
///
/// As a [`TcpStream`](super::TcpStream): [`recv`](Self::recv) gives bytes in the pooled buffer in which
/// they came, [`read`](Self::read) takes a buffer and gives it back; [`send`](Self::send) hands bytes
/// over, [`write`](Self::write) waits for them to go.
///
/// Dropping it closes the connection when what was handed over has gone; bytes that have arrived and
/// were not taken are dropped, and the peer learns of that as of a reset.
///
/// ```
/// use anyport::rt::net::UnixStream;
///
/// # anyport::rt::Runtime::new()?.block_on(async {
/// let (mut near, mut far) = UnixStream::pair()?;
/// near.send("hello").await?;
/// assert_eq!(far.recv().await?.as_slice(), b"hello");
/// # Ok::<(), anyport::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct UnixStream {
    pub(in crate::rt) connection: Whole,
}

impl UnixStream {
    fn of(connection: Arc<Connection>) -> Self {
        UnixStream { connection: Whole::of(connection) }
    }

    /// Connects to who listens at `path`. While the listener's queue is full it tries again now and
    /// then: no system tells when there is room.
    ///
    /// # Cancel safety
    /// Dropping the future connects nothing.
    ///
    /// # Errors
    /// `NotFound` when there is no such file, `Refused` when nobody listens there, `PermissionDenied`;
    /// `Limit` when the process has no descriptor left.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, Error> {
        let address = SocketAddr::from_pathname(path).map_err(|e| refused(&e, "connect"))?;
        Self::connect_addr(&address).await
    }

    /// As [`connect`](Self::connect), to any address: on Linux also to a name that is no path
    /// (`SocketAddr::from_abstract_name`).
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    ///
    /// # Panics
    /// See there.
    pub async fn connect_addr(peer: &SocketAddr) -> Result<Self, Error> {
        let shared = expect_current("connect");
        let mut again_after = AGAIN_AFTER;
        loop {
            if let Some(socket) = Socket::connected_local(peer)? {
                return Ok(UnixStream::of(Connection::new(&shared, socket)?));
            }
            sleep(again_after).await;
            again_after = (again_after * 2).min(AGAIN_AFTER_MAX);
        }
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    /// `Limit` when the process has no descriptor left.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn pair() -> Result<(Self, Self), Error> {
        let (near, far) =
            net::UnixStream::pair().map_err(|e| error_from_io(&e, "make a pair of sockets"))?;
        Ok((Self::from_socket(near)?, Self::from_socket(far)?))
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
        Ok(UnixStream::of(Connection::new(&shared, socket.into())?))
    }

    receiving_methods!();
    sending_methods!();

    /// Two halves, for two tasks. Dropping one ends its side: the reading half stops receiving, the
    /// writing half shuts the sending side down after what was handed over.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.connection.into_halves()
    }

    /// Closes the connection at once: what was handed over and the system has not taken is dropped, and
    /// what has arrived. What the system has taken the peer may still receive; then it finds an end, or,
    /// where something had arrived here, mostly a reset.
    pub fn abort(self) {
        self.connection.abort();
    }

    /// This end's address, which mostly is none: see `is_unnamed`.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.connection.socket.local_name()
    }

    /// The other end's address.
    ///
    /// # Errors
    /// `NotConnected`, or what the system says.
    pub fn peer_addr(&self) -> Result<SocketAddr, Error> {
        self.connection.socket.peer_name()
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixStream").field("peer_addr", &self.peer_addr()).finish_non_exhaustive()
    }
}

/// The standard library finds by itself that a path is none for a socket, and has no number for it.
fn refused(error: &std::io::Error, action: &'static str) -> Error {
    match error.raw_os_error() {
        None => Error::new(ErrorKind::InvalidInput, action)
            .with_detail("the path is too long for a local socket, or has a zero byte"),
        Some(_) => error_from_io(error, action),
    }
}
