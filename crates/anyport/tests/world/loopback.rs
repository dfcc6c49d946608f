//! Connections over loopback, of the sockets that the test has chosen as `net`.
//!
//! Their blocking calls end at the deadline, so that a byte that was lost fails the test instead of
//! hanging it; and small segments leave at once.

use super::waiting::DEADLINE;
use std::net::SocketAddr;

pub(crate) use super::net::any_local;
use super::net::{TcpListener, TcpStream};

/// A client's connection to whoever listens there.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    bounded(TcpStream::connect_timeout(&address, DEADLINE).expect("a connection"))
}

/// The listener's end of the next connection.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    bounded(listener.accept().expect("a connection").0)
}

/// The two ends of a connection.
pub(crate) fn streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(any_local()).expect("a listener");
    let near = connect(listener.local_addr().expect("its address"));
    (near, accept(&listener))
}

fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("a write timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}
