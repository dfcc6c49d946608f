//! A simulated socket as handles hold it; closed with the last of them.
//!
//! Options are kept by a socket of the system that is otherwise not used: what is set can be asked
//! for again, and is refused where the system refuses it. Of the options only a linger of zero has
//! an effect: the close is a reset.

use super::code;
use super::current;
use super::network::{Fault, Network, Protocol, SocketId};
use super::shared::Shared;
use super::state::State;
use super::timeline::Timeline;
use crate::sys::TakenDatagram;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A handle of a simulated socket; clones are of the same.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    id: SocketId,
    protocol: Protocol,
    options: socket2::Socket,
}

/// Opens a socket in the world that the calling thread is in; `None`: it is in none.
pub(in crate::sys) fn open(
    domain: socket2::Domain,
    kind: socket2::Type,
) -> Option<io::Result<Handle>> {
    let current = current::get()?;
    let is_ipv6 = domain == socket2::Domain::IPV6;
    let protocol = match kind == socket2::Type::DGRAM {
        true => Protocol::Datagram,
        false => Protocol::Stream,
    };
    Some(Handle::open(&current.shared, protocol, is_ipv6, current.host))
}

pub(super) fn io_error(fault: Fault) -> io::Error {
    io::Error::from_raw_os_error(code::of(fault))
}

fn options_for(protocol: Protocol, is_ipv6: bool) -> io::Result<socket2::Socket> {
    let domain = if is_ipv6 { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
    let kind = match protocol {
        Protocol::Stream => socket2::Type::STREAM,
        Protocol::Datagram => socket2::Type::DGRAM,
    };
    socket2::Socket::new(domain, kind, None)
}

impl Handle {
    pub(super) fn open(
        shared: &Arc<Shared>,
        protocol: Protocol,
        is_ipv6: bool,
        host: Option<IpAddr>,
    ) -> io::Result<Self> {
        let options = options_for(protocol, is_ipv6)?;
        let open = |network: &mut Network, time: &mut Timeline| {
            network.open(time, protocol, is_ipv6, host)
        };
        let id = shared.with(|state| open(&mut state.network, &mut state.time));
        Ok(Handle(Arc::new(Inner { shared: Arc::clone(shared), id, protocol, options })))
    }

    /// The handle of a connection that a listener has accepted.
    ///
    /// # Errors
    /// The system has no socket for its options: the connection is closed.
    pub(super) fn accepted(shared: &Arc<Shared>, id: SocketId) -> io::Result<Self> {
        let is_ipv6 = shared.with(|state| state.network.local(id)).is_some_and(|a| a.is_ipv6());
        match options_for(Protocol::Stream, is_ipv6) {
            Ok(options) => {
                let (shared, protocol) = (Arc::clone(shared), Protocol::Stream);
                Ok(Handle(Arc::new(Inner { shared, id, protocol, options })))
            }
            Err(e) => {
                shared.with(|state| state.network.close(&mut state.time, id, true));
                Err(e)
            }
        }
    }

    pub(super) fn id(&self) -> SocketId {
        self.0.id
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(in crate::sys) fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.0.options)
    }

    pub(in crate::sys) fn is_datagram(&self) -> bool {
        self.0.protocol == Protocol::Datagram
    }

    pub(in crate::sys) fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.0.shared.with(|state| state.network.bind(self.0.id, address)).map_err(io_error)
    }

    pub(in crate::sys) fn listen(&self, backlog: i32) -> io::Result<()> {
        let backlog = usize::try_from(backlog).unwrap_or(0);
        self.0.shared.with(|state| state.network.listen(self.0.id, backlog)).map_err(io_error)
    }

    /// Unspecified, with port 0, before it has one.
    pub(in crate::sys) fn local(&self) -> io::Result<SocketAddr> {
        match self.0.shared.with(|state| state.network.local(self.0.id)) {
            Some(address) => Ok(address),
            None => self.options().local_addr()?.as_socket().ok_or(io_error(Fault::Invalid)),
        }
    }

    pub(in crate::sys) fn peer(&self) -> io::Result<SocketAddr> {
        let peer = self.0.shared.with(|state| state.network.peer(self.0.id));
        peer.ok_or(io_error(Fault::NotConnected))
    }

    pub(in crate::sys) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0
            .shared
            .with(|state| state.network.shut_down(&mut state.time, self.0.id, how))
            .map_err(io_error)
    }

    /// As `recv` that only peeks and does not wait: 1 byte when there is something, 0 at the end.
    pub(in crate::sys) fn peek(&self) -> io::Result<usize> {
        let id = self.0.id;
        self.0.shared.with(|state| {
            let network = &mut state.network;
            match network.is_readable(id) {
                false => Err(io::ErrorKind::WouldBlock.into()),
                true if self.is_datagram() || network.has_bytes(id) => Ok(1),
                true => match network.take_fault(id) {
                    Some(fault) => Err(io_error(fault)),
                    None if network.peer(id).is_none() && !network.was_reset(id) => {
                        Err(io_error(Fault::NotConnected))
                    }
                    None => Ok(0),
                },
            }
        })
    }

    /// Takes a datagram that has arrived: see [`crate::sys::receive_datagram_now`].
    pub(in crate::sys) fn receive_datagram(
        &self,
        room: &mut [MaybeUninit<u8>],
    ) -> io::Result<TakenDatagram> {
        let id = self.0.id;
        let received =
            self.0.shared.with(|state| state.network.receive_datagram(&mut state.time, id));
        let (sender, datagram) = match received {
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(received) => received.map_err(io_error)?,
        };
        let bytes = datagram.len().min(room.len());
        for (to, from) in room.iter_mut().zip(&datagram) {
            to.write(*from);
        }
        let is_truncated = bytes < datagram.len();
        Ok(TakenDatagram { bytes, is_truncated, sender: Some(sender) })
    }

    /// Sends a datagram: see [`crate::sys::send_datagram_now`].
    pub(in crate::sys) fn send_datagram(
        &self,
        parts: &[IoSlice<'_>],
        peer: Option<SocketAddr>,
    ) -> io::Result<()> {
        let (id, bytes) = (self.0.id, parts.iter().flat_map(|part| part.iter().copied()).collect());
        let send = |state: &mut State| {
            state.network.send_datagram(&mut state.time, id, peer, bytes).map(drop)
        };
        self.0.shared.with(send).map_err(io_error)
    }

    pub(in crate::sys) fn take_error(&self) -> Option<i32> {
        self.0.shared.with(|state| state.network.take_fault(self.0.id)).map(code::of)
    }

    pub(in crate::sys) fn was_reset(&self) -> bool {
        self.0.shared.with(|state| state.network.was_reset(self.0.id))
    }

    /// The number by which one open socket has one port.
    pub(in crate::sys) fn object_number(&self) -> u64 {
        // Above what the system gives: worlds do not share their numbers with each other either.
        1 << 63 | std::ptr::from_ref(&*self.0).addr() as u64
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("id", &self.0.id).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let linger = SockRef::from(&self.options).linger().ok().flatten();
        let is_hard = linger == Some(Duration::ZERO);
        self.shared.with(|state| {
            state.lines.remove(&self.id);
            state.network.close(&mut state.time, self.id, is_hard);
        });
    }
}
