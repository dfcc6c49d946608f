//! Socket options that servers set, the same on a socket before association and on its handle; those of
//! datagrams also on a task's socket.

use crate::error::Error;
use crate::sys::error_from_io;
use socket2::SockRef;
use std::io;
use std::time::Duration;

/// TCP keepalive: how long a connection may be silent, and how a dead peer is found out.
///
/// The system rounds to whole seconds; most accept 1 s to about 9 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe. Servers use 30 s to 60 s.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer after which the connection is reset; 1 to 127 on Linux.
    pub count: u32,
}

pub(crate) fn set(result: io::Result<()>, action: &'static str) -> Result<(), Error> {
    result.map_err(|e| error_from_io(&e, action))
}

pub(super) fn set_keepalive(socket: SockRef<'_>, keepalive: &Keepalive) -> Result<(), Error> {
    let settings = socket2::TcpKeepalive::new()
        .with_time(keepalive.idle)
        .with_interval(keepalive.interval)
        .with_retries(keepalive.count);
    set(socket.set_tcp_keepalive(&settings), "set keepalive")
}

pub(super) fn set_reuse_port(socket: SockRef<'_>, on: bool) -> Result<(), Error> {
    const ACTION: &str = "set port sharing";
    #[cfg(unix)]
    {
        set(socket.set_reuse_port(on), ACTION)
    }
    #[cfg(not(unix))]
    {
        let _ = (socket, on);
        Err(Error::new(crate::error::ErrorKind::Unsupported, ACTION))
    }
}

/// The setters, on anything that gives a `SockRef`.
macro_rules! option_setters {
    () => {
        /// Lets the address be bound again while old connections of it linger (`SO_REUSEADDR`).
        ///
        /// # Errors
        /// What the system says.
        pub fn set_reuse_address(&self, on: bool) -> Result<(), $crate::Error> {
            $crate::net::options::set(self.sock().set_reuse_address(on), "set address reuse")
        }

        /// Lets several sockets listen at one address and share its connections
        /// (`SO_REUSEPORT`).
        ///
        /// # Errors
        /// What the system says; `Unsupported` on Windows, which has no such option.
        pub fn set_reuse_port(&self, on: bool) -> Result<(), $crate::Error> {
            $crate::net::options::set_reuse_port(self.sock(), on)
        }

        /// Keeps a socket for IPv6 from serving IPv4 as well (`IPV6_V6ONLY`); to be set before it is
        /// bound. What the system does otherwise differs.
        ///
        /// # Errors
        /// What the system says; it is no option of a socket for IPv4.
        pub fn set_only_v6(&self, on: bool) -> Result<(), $crate::Error> {
            $crate::net::options::set(self.sock().set_only_v6(on), "restrict a socket to IPv6")
        }

        /// Turns TCP keepalive on.
        ///
        /// # Errors
        /// What the system says of the times and the count.
        pub fn set_keepalive(
            &self,
            keepalive: &$crate::net::Keepalive,
        ) -> Result<(), $crate::Error> {
            $crate::net::options::set_keepalive(self.sock(), keepalive)
        }

        /// Sends small segments at once instead of collecting them (`TCP_NODELAY`).
        ///
        /// # Errors
        /// What the system says.
        pub fn set_nodelay(&self, on: bool) -> Result<(), $crate::Error> {
            $crate::net::options::set(self.sock().set_tcp_nodelay(on), "set no-delay")
        }

        /// The system's send buffer, in bytes; Linux doubles what is asked for.
        ///
        /// # Errors
        /// What the system says.
        pub fn set_send_buffer_size(&self, bytes: usize) -> Result<(), $crate::Error> {
            let result = self.sock().set_send_buffer_size(bytes);
            $crate::net::options::set(result, "set the send buffer size")
        }

        /// The system's receive buffer, in bytes; Linux doubles what is asked for.
        ///
        /// # Errors
        /// What the system says.
        pub fn set_receive_buffer_size(&self, bytes: usize) -> Result<(), $crate::Error> {
            let result = self.sock().set_recv_buffer_size(bytes);
            $crate::net::options::set(result, "set the receive buffer size")
        }

        /// How long a close waits for unsent bytes, in whole seconds; zero makes the close a
        /// reset; `None` is the system's way.
        ///
        /// # Errors
        /// What the system says.
        pub fn set_linger(&self, linger: Option<std::time::Duration>) -> Result<(), $crate::Error> {
            $crate::net::options::set(self.sock().set_linger(linger), "set linger")
        }

        /// The address that this socket is bound to.
        ///
        /// # Errors
        /// What the system says; `Unsupported` when it is no internet address.
        pub fn local_addr(&self) -> Result<std::net::SocketAddr, $crate::Error> {
            $crate::net::options::address(self.local(), "ask for the local address")
        }

        /// The address of the peer.
        ///
        /// # Errors
        /// `NotConnected`, or what else the system says.
        pub fn peer_addr(&self) -> Result<std::net::SocketAddr, $crate::Error> {
            $crate::net::options::address(self.remote(), "ask for the peer's address")
        }
    };
}
pub(super) use option_setters;

/// The setters of datagram sockets, on anything that gives a `SockRef` and its own address.
macro_rules! datagram_setters {
    () => {
        /// Lets datagrams be sent to broadcast addresses (`SO_BROADCAST`).
        ///
        /// # Errors
        /// What the system says.
        pub fn set_broadcast(&self, on: bool) -> Result<(), $crate::Error> {
            $crate::net::options::set(self.sock().set_broadcast(on), "set broadcast")
        }

        /// How many hops what is sent from now on may take (`IP_TTL`, `IPV6_UNICAST_HOPS`): 1 to
        /// 255.
        ///
        /// # Errors
        /// What the system says.
        pub fn set_ttl(&self, hops: u32) -> Result<(), $crate::Error> {
            let result = match self.local_addr()?.is_ipv6() {
                true => self.sock().set_unicast_hops_v6(hops),
                false => self.sock().set_ttl_v4(hops),
            };
            $crate::net::options::set(result, "set the time to live")
        }

        /// As [`set_ttl`](Self::set_ttl), for what is sent to groups; 0 to 255, the system's default
        /// is 1: it stays in the local network.
        ///
        /// # Errors
        /// What the system says.
        pub fn set_multicast_ttl(&self, hops: u32) -> Result<(), $crate::Error> {
            let result = match self.local_addr()?.is_ipv6() {
                true => self.sock().set_multicast_hops_v6(hops),
                false => self.sock().set_multicast_ttl_v4(hops),
            };
            $crate::net::options::set(result, "set the time to live of multicast")
        }

        /// Whether what is sent to a group comes to the members on this machine too. On Unix this is
        /// for the sender to set, on Windows for the receiver.
        ///
        /// # Errors
        /// What the system says.
        pub fn set_multicast_loop(&self, on: bool) -> Result<(), $crate::Error> {
            let result = match self.local_addr()?.is_ipv6() {
                true => self.sock().set_multicast_loop_v6(on),
                false => self.sock().set_multicast_loop_v4(on),
            };
            $crate::net::options::set(result, "set multicast loopback")
        }

        /// The interface, by its address, from which what is sent to groups leaves; unspecified: the
        /// system's choice.
        ///
        /// # Errors
        /// `AddressNotAvailable` when no interface has the address.
        pub fn set_multicast_interface_v4(
            &self,
            interface: std::net::Ipv4Addr,
        ) -> Result<(), $crate::Error> {
            let result = self.sock().set_multicast_if_v4(&interface);
            $crate::net::options::set(result, "set the interface of multicast")
        }

        /// As [`set_multicast_interface_v4`](Self::set_multicast_interface_v4), by the number of the
        /// interface; 0: the system's choice.
        ///
        /// # Errors
        /// What the system says.
        pub fn set_multicast_interface_v6(&self, interface: u32) -> Result<(), $crate::Error> {
            let result = self.sock().set_multicast_if_v6(interface);
            $crate::net::options::set(result, "set the interface of multicast")
        }

        /// Joins a group on the interface that has this address; unspecified: the system's choice.
        ///
        /// # Errors
        /// `InvalidInput` for what is no group; `AddressInUse` when it is a member already; `Other`
        /// when there is no such interface.
        pub fn join_multicast_v4(
            &self,
            group: std::net::Ipv4Addr,
            interface: std::net::Ipv4Addr,
        ) -> Result<(), $crate::Error> {
            let result = self.sock().join_multicast_v4(&group, &interface);
            $crate::net::options::set(result, "join a multicast group")
        }

        /// Leaves a group that it has joined there; closing the socket leaves all.
        ///
        /// # Errors
        /// `AddressNotAvailable` when it is no member.
        pub fn leave_multicast_v4(
            &self,
            group: std::net::Ipv4Addr,
            interface: std::net::Ipv4Addr,
        ) -> Result<(), $crate::Error> {
            let result = self.sock().leave_multicast_v4(&group, &interface);
            $crate::net::options::set(result, "leave a multicast group")
        }

        /// As [`join_multicast_v4`](Self::join_multicast_v4), on the interface of this number; 0: the
        /// system's choice.
        ///
        /// # Errors
        /// See there.
        pub fn join_multicast_v6(
            &self,
            group: std::net::Ipv6Addr,
            interface: u32,
        ) -> Result<(), $crate::Error> {
            let result = self.sock().join_multicast_v6(&group, interface);
            $crate::net::options::set(result, "join a multicast group")
        }

        /// As [`leave_multicast_v4`](Self::leave_multicast_v4).
        ///
        /// # Errors
        /// See there.
        pub fn leave_multicast_v6(
            &self,
            group: std::net::Ipv6Addr,
            interface: u32,
        ) -> Result<(), $crate::Error> {
            let result = self.sock().leave_multicast_v6(&group, interface);
            $crate::net::options::set(result, "leave a multicast group")
        }
    };
}
pub(crate) use datagram_setters;

pub(super) fn address(
    result: io::Result<socket2::SockAddr>,
    action: &'static str,
) -> Result<std::net::SocketAddr, Error> {
    let address = result.map_err(|e| error_from_io(&e, action))?;
    address.as_socket().ok_or_else(|| {
        Error::new(crate::error::ErrorKind::Unsupported, action)
            .with_detail("it is not an internet address")
    })
}
