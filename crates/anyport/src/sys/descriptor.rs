//! An open socket or file as backends have it: one of the system, or a simulated socket.

use super::Socket;
use super::system::descriptor as system;
use crate::error::Error;
use socket2::{SockAddr, SockRef};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::Shutdown;
use std::path::Path;

/// Opens a file so that operations on it overlap; in a simulated world the world transfers its bytes,
/// by calls that wait.
pub(crate) fn open_file(options: &OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(feature = "sim")]
    if super::sim::World::current().is_some() {
        return options.open(path);
    }
    system::open_file(options, path)
}

/// See the module documentation. Closed when dropped; the layer above keeps it until no request on
/// it is under way.
pub(crate) struct Descriptor(Kind);

enum Kind {
    System(system::Descriptor),
    #[cfg(feature = "sim")]
    Simulated(super::sim::Handle),
}

impl Descriptor {
    /// Takes a socket in.
    ///
    /// # Errors
    /// `InvalidHandle` when the number names nothing open, `InvalidInput` when it names something
    /// that is not a socket.
    pub(crate) fn from_socket(socket: Socket) -> Result<Self, (Error, Socket)> {
        #[cfg(feature = "sim")]
        let socket = match socket.into_simulated() {
            Ok(handle) => return Ok(Descriptor(Kind::Simulated(handle))),
            Err(socket) => socket,
        };
        #[cfg(not(feature = "sim"))]
        let socket = socket.into_system();
        match system::Descriptor::from_socket(socket) {
            Ok(descriptor) => Ok(Descriptor(Kind::System(descriptor))),
            Err((error, socket)) => Err((error, socket.into())),
        }
    }

    /// Takes a file in.
    ///
    /// # Errors
    /// `InvalidHandle` when the number names nothing open, `InvalidInput` for what has no offsets
    /// to read at: a directory, a pipe, a terminal, a socket.
    pub(crate) fn from_file(file: File) -> Result<Self, (Error, File)> {
        system::Descriptor::from_file(file).map(|descriptor| Descriptor(Kind::System(descriptor)))
    }

    /// The system's own: a backend other than the simulated one attaches no other, and neither does
    /// that one for files.
    #[inline]
    pub(super) fn system(&self) -> &system::Descriptor {
        match &self.0 {
            Kind::System(descriptor) => descriptor,
            #[cfg(feature = "sim")]
            Kind::Simulated(_) => unreachable!("only a simulated port has attached it"),
        }
    }

    /// As `system`, before it is attached: `None` for a simulated socket.
    pub(super) fn system_mut(&mut self) -> Option<&mut system::Descriptor> {
        match &mut self.0 {
            Kind::System(descriptor) => Some(descriptor),
            #[cfg(feature = "sim")]
            Kind::Simulated(_) => None,
        }
    }

    #[cfg(feature = "sim")]
    pub(super) fn simulated(&self) -> Option<&super::sim::Handle> {
        match &self.0 {
            Kind::System(_) => None,
            Kind::Simulated(handle) => Some(handle),
        }
    }

    pub(crate) fn is_socket(&self) -> bool {
        match &self.0 {
            Kind::System(descriptor) => descriptor.is_socket(),
            #[cfg(feature = "sim")]
            Kind::Simulated(_) => true,
        }
    }

    /// For options.
    pub(crate) fn options(&self) -> SockRef<'_> {
        match &self.0 {
            Kind::System(descriptor) => descriptor.socket(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.options(),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SockAddr> {
        match &self.0 {
            Kind::System(descriptor) => descriptor.socket().local_addr(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.local().map(SockAddr::from),
        }
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SockAddr> {
        match &self.0 {
            Kind::System(descriptor) => descriptor.socket().peer_addr(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.peer().map(SockAddr::from),
        }
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match &self.0 {
            Kind::System(descriptor) => descriptor.shutdown(how),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.shutdown(how),
        }
    }

    /// Resets a TCP connection without closing its descriptor, which the kernel may keep open for a
    /// request, where the system can. Elsewhere it does nothing: a linger of zero resets on closing.
    pub(crate) fn reset(&self) -> io::Result<()> {
        match &self.0 {
            Kind::System(descriptor) => descriptor.reset(),
            #[cfg(feature = "sim")]
            Kind::Simulated(_) => Ok(()),
        }
    }

    /// What arrives comes in datagrams, of which a buffer that is too small cuts off a part.
    #[inline]
    pub(crate) fn is_datagram(&self) -> bool {
        match &self.0 {
            Kind::System(descriptor) => descriptor.is_datagram(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.is_datagram(),
        }
    }

    /// Looks for something to receive and takes nothing: 1 byte when there is, 0 at the end.
    pub(crate) fn peek(&self) -> io::Result<usize> {
        match &self.0 {
            Kind::System(descriptor) => descriptor.peek(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.peek(),
        }
    }

    /// Whether it is connected, to whatever sort of address.
    pub(crate) fn has_peer(&self) -> bool {
        self.peer_addr().is_ok()
    }

    /// Takes the socket's pending error, as a finished connect leaves it.
    pub(crate) fn take_error(&self) -> Option<i32> {
        match &self.0 {
            Kind::System(descriptor) => descriptor.take_error(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.take_error(),
        }
    }

    /// True when what looks like the end of the stream is a reset whose error another call took, as
    /// far as the system tells.
    pub(crate) fn was_reset(&self) -> bool {
        match &self.0 {
            Kind::System(descriptor) => descriptor.was_reset(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => handle.was_reset(),
        }
    }

    /// The number of the open socket, the same for all its duplicates; `None` where the system
    /// gives it none.
    pub(crate) fn object_number(&self) -> Option<u64> {
        match &self.0 {
            Kind::System(descriptor) => descriptor.object_number(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => Some(handle.object_number()),
        }
    }

    /// A second descriptor of the same open socket.
    pub(crate) fn duplicate(&self) -> io::Result<Socket> {
        match &self.0 {
            Kind::System(descriptor) => descriptor.duplicate().map(Socket::from),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => Ok(Socket::from_simulated(handle.clone())),
        }
    }

    /// Gives the socket away instead of closing it.
    pub(crate) fn into_socket(self) -> Socket {
        match self.0 {
            Kind::System(descriptor) => descriptor.into_socket().into(),
            #[cfg(feature = "sim")]
            Kind::Simulated(handle) => Socket::from_simulated(handle),
        }
    }

    /// Gives the file away instead of closing it.
    pub(crate) fn into_file(self) -> File {
        match self.0 {
            Kind::System(descriptor) => descriptor.into_file(),
            #[cfg(feature = "sim")]
            Kind::Simulated(_) => unreachable!("a file is none of a simulated network"),
        }
    }
}
