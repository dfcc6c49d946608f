//! Streams of a simulated world become sockets, as the standard library's do.

use super::Socket;
use crate::sim::{Datagrams, Listener, Stream};
use crate::sys;

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Self {
        Socket::from_inner(sys::Socket::from(stream))
    }
}

impl TryFrom<Socket> for Stream {
    type Error = Socket;

    /// The socket comes back when it is none of a simulated world.
    fn try_from(socket: Socket) -> Result<Self, Socket> {
        socket.into_inner().into_stream().map_err(Socket::from_inner)
    }
}

impl From<Datagrams> for Socket {
    fn from(datagrams: Datagrams) -> Self {
        Socket::from_inner(sys::Socket::from(datagrams))
    }
}

impl From<Listener> for Socket {
    fn from(listener: Listener) -> Self {
        Socket::from_inner(sys::Socket::from(listener))
    }
}
