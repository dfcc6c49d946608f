//! Listening sockets with what must be set before they listen.

use super::Socket;
use crate::error::Error;
use crate::sys::IS_ADDRESS_REUSE_SAFE;
use std::net::SocketAddr;

/// How a TCP socket is to listen: what servers start with, and what may be changed about it.
///
/// ```
/// use anyport::net::ListenOptions;
///
/// let options = ListenOptions::new().backlog(128);
/// let socket = options.listen("127.0.0.1:0".parse()?)?;
/// assert_ne!(socket.local_addr()?.port(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "options do nothing until `listen`"]
pub struct ListenOptions {
    is_address_reused: bool,
    is_port_reused: bool,
    backlog: u32,
    only_v6: Option<bool>,
}

impl ListenOptions {
    /// Address reuse, but on Windows, and a backlog of 4,096.
    pub fn new() -> Self {
        ListenOptions {
            is_address_reused: IS_ADDRESS_REUSE_SAFE,
            is_port_reused: false,
            backlog: 4096,
            only_v6: None,
        }
    }

    /// Whether the address may be bound while old connections of it linger (`SO_REUSEADDR`); so by
    /// default, but not on Windows, where it lets other programs take the address over.
    pub fn reuse_address(mut self, on: bool) -> Self {
        self.is_address_reused = on;
        self
    }

    /// Whether others may listen at the same address, if they have set this too, and the system spreads
    /// the connections over all of them; not so by default. Where it does not, listening fails as
    /// `Unsupported`: see [`Socket::spread_connections`].
    ///
    /// A connection belongs to its listener from the moment at which it is there: those that a listener
    /// has not accepted when it closes are reset, on Linux unless `net.ipv4.tcp_migrate_req` is set.
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.is_port_reused = on;
        self
    }

    /// How many connections the system completes ahead of the accepts; 4,096 by default. It may take
    /// fewer: `net.core.somaxconn` on Linux.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// Whether a socket at an address of IPv6 leaves IPv4 alone (`IPV6_V6ONLY`); the system's own choice
    /// by default: with `[::]` Linux and macOS serve IPv4 too, Windows and some BSDs do not. Addresses
    /// of IPv4 do not heed it.
    pub fn only_v6(mut self, on: bool) -> Self {
        self.only_v6 = Some(on);
        self
    }

    /// A socket that listens at `address`; port 0 lets the system choose one.
    ///
    /// # Errors
    /// As [`Socket::bind`]; `Unsupported` where the system spreads no connections, or has no IPv6.
    pub fn listen(self, address: SocketAddr) -> Result<Socket, Error> {
        let socket = if address.is_ipv4() { Socket::tcp_v4()? } else { Socket::tcp_v6()? };
        if self.is_address_reused {
            socket.set_reuse_address(true)?;
        }
        if self.is_port_reused {
            socket.spread_connections()?;
        }
        if let Some(only_v6) = self.only_v6
            && address.is_ipv6()
        {
            socket.set_only_v6(only_v6)?;
        }
        socket.bind(address)?;
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        Ok(socket)
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A listening TCP socket with address reuse and a backlog of 4,096: what servers start with.
///
/// # Errors
/// As [`Socket::bind`].
pub fn listen(address: SocketAddr) -> Result<Socket, Error> {
    ListenOptions::new().listen(address)
}
