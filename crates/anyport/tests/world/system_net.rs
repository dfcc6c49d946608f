//! Sockets of the other ends: the standard library's.

pub(crate) use std::net::{TcpListener, TcpStream};

/// `127.0.0.1`, at a port that the system chooses.
pub(crate) fn any_local() -> std::net::SocketAddr {
    std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0))
}
