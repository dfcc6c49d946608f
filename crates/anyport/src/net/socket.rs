//! A socket before it is associated with a port.

use super::options::{datagram_setters, option_setters, set};
use crate::error::{Error, ErrorKind};
use crate::sys::{self, OwnedSocket, error_from_io};
use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

/// An open socket that no port knows yet.
///
/// Made here, or from a standard library socket; [`CompletionPort::associate`] makes a
/// [`SocketHandle`](super::SocketHandle) of it.
///
/// [`CompletionPort::associate`]: crate::CompletionPort::associate
///
/// ```
/// use anyport::net::Socket;
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let socket = Socket::from(listener);
/// assert_eq!(socket.local_addr()?, address);
/// let listener: std::net::TcpListener = socket.into_tcp_listener();
/// # drop(listener);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Socket {
    inner: sys::Socket,
}

impl Socket {
    /// A TCP socket for IPv4, neither bound nor connected.
    ///
    /// # Errors
    /// `Limit` when the process or the system has no descriptor left.
    pub fn tcp_v4() -> Result<Self, Error> {
        Self::open(Domain::IPV4, Type::STREAM, Protocol::TCP)
    }

    /// A TCP socket for IPv6, neither bound nor connected.
    ///
    /// # Errors
    /// As [`tcp_v4`](Self::tcp_v4); `Unsupported` without IPv6.
    pub fn tcp_v6() -> Result<Self, Error> {
        Self::open(Domain::IPV6, Type::STREAM, Protocol::TCP)
    }

    /// A UDP socket for IPv4, not bound.
    ///
    /// # Errors
    /// As [`tcp_v4`](Self::tcp_v4).
    pub fn udp_v4() -> Result<Self, Error> {
        Self::open(Domain::IPV4, Type::DGRAM, Protocol::UDP)
    }

    /// A UDP socket for IPv6, not bound.
    ///
    /// # Errors
    /// As [`tcp_v6`](Self::tcp_v6).
    pub fn udp_v6() -> Result<Self, Error> {
        Self::open(Domain::IPV6, Type::DGRAM, Protocol::UDP)
    }

    /// Binds to an address; port 0 lets the system choose one.
    ///
    /// # Errors
    /// `AddressInUse`, `AddressNotAvailable`, `PermissionDenied`.
    pub fn bind(&self, address: SocketAddr) -> Result<(), Error> {
        set(self.inner.bind(address), "bind")
    }

    /// Listens; `backlog` is how many connections the system completes ahead of the accepts (it
    /// may take fewer: `net.core.somaxconn` on Linux).
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(&self, backlog: i32) -> Result<(), Error> {
        set(self.inner.listen(backlog), "listen")
    }

    /// Lets several sockets listen at one address, over which the system spreads the connections; to be
    /// set on each before it is bound. On Linux `SO_REUSEPORT`, and all of one user; on FreeBSD
    /// `SO_REUSEPORT_LB`.
    ///
    /// # Errors
    /// `Unsupported` where the system gives all connections to one of them, as macOS does, or lets no
    /// second one listen: have several tasks or handlers accept from one. What else the system says.
    pub fn spread_connections(&self) -> Result<(), Error> {
        const ACTION: &str = "share an address";
        match sys::spread_connections(&self.sock()) {
            Err(e) if e.kind() == std::io::ErrorKind::Unsupported => {
                Err(Error::new(ErrorKind::Unsupported, ACTION).with_detail(
                    "this system spreads no connections over listeners; accept several from one",
                ))
            }
            result => set(result, ACTION),
        }
    }

    option_setters!();
    datagram_setters!();

    /// Another handle of the same open socket.
    ///
    /// # Errors
    /// `Limit` when the process has no descriptor left.
    pub fn try_clone(&self) -> Result<Self, Error> {
        match self.inner.try_clone() {
            Ok(inner) => Ok(Socket { inner }),
            Err(e) => Err(error_from_io(&e, "duplicate a socket")),
        }
    }

    /// As a standard library stream, in blocking mode.
    pub fn into_tcp_stream(self) -> TcpStream {
        self.into_blocking().into()
    }

    /// As a standard library listener, in blocking mode.
    pub fn into_tcp_listener(self) -> TcpListener {
        self.into_blocking().into()
    }

    /// As a standard library datagram socket, in blocking mode.
    pub fn into_udp_socket(self) -> UdpSocket {
        self.into_blocking().into()
    }

    pub(crate) fn from_inner(inner: sys::Socket) -> Self {
        Socket { inner }
    }

    pub(crate) fn into_inner(self) -> sys::Socket {
        self.inner
    }

    fn open(domain: Domain, kind: Type, protocol: Protocol) -> Result<Self, Error> {
        match sys::Socket::open(domain, kind, protocol) {
            Ok(inner) => Ok(Socket { inner }),
            Err(e) => Err(error_from_io(&e, "open a socket")),
        }
    }

    /// A backend may have switched the mode; what leaves is as the standard library makes it.
    fn into_blocking(self) -> socket2::Socket {
        // It fails only for what is not a socket, and then there is no mode to restore.
        let inner = self.inner.into_system();
        let _ = inner.set_nonblocking(false);
        inner
    }

    fn local(&self) -> std::io::Result<SockAddr> {
        self.inner.local_addr()
    }

    fn remote(&self) -> std::io::Result<SockAddr> {
        self.inner.peer_addr()
    }

    fn sock(&self) -> SockRef<'_> {
        self.inner.options()
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Socket { inner: socket2::Socket::from(stream).into() }
    }
}

impl From<TcpListener> for Socket {
    fn from(listener: TcpListener) -> Self {
        Socket { inner: socket2::Socket::from(listener).into() }
    }
}

impl From<UdpSocket> for Socket {
    fn from(socket: UdpSocket) -> Self {
        Socket { inner: socket2::Socket::from(socket).into() }
    }
}

impl From<OwnedSocket> for Socket {
    /// What is not a socket is refused when it is associated.
    fn from(socket: OwnedSocket) -> Self {
        Socket { inner: socket2::Socket::from(socket).into() }
    }
}

/// The error for a socket that is associated already, through whichever duplicate.
pub(super) fn already_associated() -> Error {
    Error::new(ErrorKind::InvalidInput, "associate a socket")
        .with_detail("it is associated with a port already, and has one port for life")
}
