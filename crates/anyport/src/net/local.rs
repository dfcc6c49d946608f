//! Local sockets of the standard library become sockets, as those of the internet do.

use super::{Socket, SocketHandle};
use crate::error::Error;
use crate::sys::{self, error_from_io};
use std::io;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Socket::from_inner(socket2::Socket::from(stream).into())
    }
}

impl From<UnixListener> for Socket {
    fn from(listener: UnixListener) -> Self {
        Socket::from_inner(socket2::Socket::from(listener).into())
    }
}

impl Socket {
    /// A local stream that is connected to `peer`; `None` while the listener's queue is full.
    pub(crate) fn connected_local(peer: &SocketAddr) -> Result<Option<Self>, Error> {
        match sys::connect_local(peer) {
            Ok(socket) => Ok(Some(Socket::from_inner(socket.into()))),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(e) => Err(error_from_io(&e, "connect")),
        }
    }
}

impl<T: Send + 'static> SocketHandle<T> {
    /// The address that a local socket is bound to.
    pub(crate) fn local_name(&self) -> Result<SocketAddr, Error> {
        let address = self.sock().local_addr();
        let address = address.map_err(|e| error_from_io(&e, "ask for the local address"))?;
        Ok(sys::local_name(&address))
    }

    /// The address of a local socket's peer.
    pub(crate) fn peer_name(&self) -> Result<SocketAddr, Error> {
        let address = self.sock().peer_addr();
        let address = address.map_err(|e| error_from_io(&e, "ask for the peer's address"))?;
        Ok(sys::local_name(&address))
    }
}
