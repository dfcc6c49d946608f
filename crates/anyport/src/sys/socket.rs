//! A socket before a backend has it: one of the system, or one of a simulated world.

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use std::io;
use std::net::SocketAddr;

/// Whether reusing an address lets nobody else have it while it is in use. On Windows the option lets
/// another program take it over.
pub(crate) const IS_ADDRESS_REUSE_SAFE: bool = cfg!(not(windows));

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Socket(Kind);

#[derive(Debug)]
enum Kind {
    System(socket2::Socket),
    #[cfg(feature = "sim")]
    Simulated(super::sim::Handle),
}

impl Socket {
    /// Opens a socket, in the simulated world that the calling thread is in, if it is in one.
    pub(crate) fn open(domain: Domain, kind: Type, protocol: Protocol) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(handle) = super::sim::open(domain, kind) {
            return Ok(Self::from_simulated(handle?));
        }
        socket2::Socket::new(domain, kind, Some(protocol)).map(Self::from)
    }

    pub(crate) fn bind(&self, address: SocketAddr) -> io::Result<()> {
        match &self.0 {
            Kind::System(socket) => socket.bind(&address.into()),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.bind(address),
        }
    }

    pub(crate) fn listen(&self, backlog: i32) -> io::Result<()> {
        match &self.0 {
            Kind::System(socket) => socket.listen(backlog),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.listen(backlog),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SockAddr> {
        match &self.0 {
            Kind::System(socket) => socket.local_addr(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.local().map(SockAddr::from),
        }
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SockAddr> {
        match &self.0 {
            Kind::System(socket) => socket.peer_addr(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.peer().map(SockAddr::from),
        }
    }

    /// Another handle of the same open socket.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match &self.0 {
            Kind::System(socket) => socket.try_clone().map(Self::from),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => Ok(Self::from_simulated(handle.clone())),
        }
    }

    /// For options.
    pub(crate) fn options(&self) -> SockRef<'_> {
        match &self.0 {
            Kind::System(socket) => SockRef::from(socket),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.options(),
        }
    }

    /// As a socket of the system.
    ///
    /// # Panics
    /// When it is simulated.
    pub(crate) fn into_system(self) -> socket2::Socket {
        match self.0 {
            Kind::System(socket) => socket,
            #[cfg(feature = "sim")]
            Kind::Simulated(_) => panic!("a simulated socket is none of the system's"),
        }
    }

    #[cfg(feature = "sim")]
    pub(in crate::sys) fn from_simulated(handle: super::sim::Handle) -> Self {
        Socket(Kind::Simulated(handle))
    }

    /// As a stream of its world.
    ///
    /// # Errors
    /// The socket, when it is the system's.
    #[cfg(feature = "sim")]
    pub(crate) fn into_stream(self) -> Result<super::sim::Stream, Self> {
        self.into_simulated().map(super::sim::Stream::of).map_err(Self::from)
    }

    /// Which of the two it is.
    #[cfg(feature = "sim")]
    pub(super) fn into_simulated(self) -> Result<super::sim::Handle, socket2::Socket> {
        match self.0 {
            Kind::System(socket) => Err(socket),
            Kind::Simulated(handle) => Ok(handle),
        }
    }
}

impl From<socket2::Socket> for Socket {
    fn from(socket: socket2::Socket) -> Self {
        Socket(Kind::System(socket))
    }
}

#[cfg(feature = "sim")]
impl From<super::sim::Handle> for Socket {
    fn from(handle: super::sim::Handle) -> Self {
        Self::from_simulated(handle)
    }
}
