//! Streams of a simulated world become sockets, as the standard library's do.

use super::Socket;
use crate::sim::{Listener, Stream};
use crate::sys;

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Self {
        Socket::from_inner(sys::Socket::from(stream))
    }
}

impl From<Listener> for Socket {
    fn from(listener: Listener) -> Self {
        Socket::from_inner(sys::Socket::from(listener))
    }
}
