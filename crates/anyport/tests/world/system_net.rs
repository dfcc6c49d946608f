//! Sockets of the other ends: the standard library's.

#[allow(unused_imports, reason = "not every suite has datagrams")]
pub(crate) use std::net::UdpSocket;
pub(crate) use std::net::{TcpListener, TcpStream};

/// `127.0.0.1`, at a port that the system chooses.
pub(crate) fn any_local() -> std::net::SocketAddr {
    std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0))
}
