//! The choice of TCP congestion control by name.
//!
//! Some systems pace by default (bbr), which has no place on loopback: a comparison on one machine
//! asks for a plain one on both ends. Called by `serve` (the listener; connections inherit it),
//! `bench` and `demo`.

use std::io;

use socket2::Socket;

/// Sets the congestion control of `socket` to the one called `name`. Fails where the system has
/// none of that name, or does not let a program choose.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(crate) fn choose(socket: &Socket, name: &str) -> io::Result<()> {
    socket.set_tcp_congestion(name.as_bytes()).map_err(|error| {
        io::Error::new(error.kind(), format!("congestion control {name}: {error}"))
    })
}

/// See the other one: this system does not let a program choose.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(crate) fn choose(_socket: &Socket, _name: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The name of one without pacing, if this system has it.
pub(crate) fn unpaced() -> Option<&'static str> {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).ok()?;
    ["cubic", "reno"].into_iter().find(|name| choose(&socket, name).is_ok())
}
