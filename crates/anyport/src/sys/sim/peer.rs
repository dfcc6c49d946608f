//! Blocking sockets of a world, for the ends that are no port's: clients of a server that is tested.

use super::current;
use super::network::{Fault, Protocol};
use super::shared::Shared;
use super::socket::{Handle, io_error};
use super::state::State;
use super::threads::Wait;
use crate::sys::Socket;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A connection of the calling thread's world, as [`std::net::TcpStream`]. Its calls wait in the
/// world's time.
#[derive(Debug)]
pub struct Stream {
    handle: Handle,
}

/// A listener of the calling thread's world, as [`std::net::TcpListener`].
#[derive(Debug)]
pub struct Listener {
    handle: Handle,
}

fn world() -> io::Result<(Arc<Shared>, Option<IpAddr>)> {
    let current = current::get().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the calling thread is in no simulated world")
    })?;
    Ok((current.shared, current.host))
}

impl Listener {
    /// Listens at an address, in the calling thread's world; port 0 is a free one.
    ///
    /// # Errors
    /// The address is taken, or the thread is in no world.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        const BACKLOG: i32 = 128;
        let (shared, host) = world()?;
        let handle = Handle::open(&shared, Protocol::Stream, address.is_ipv6(), host)?;
        handle.bind(address)?;
        handle.listen(BACKLOG)?;
        Ok(Listener { handle })
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// The system has no descriptor for the connection's options.
    pub fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let shared = self.handle.shared();
        loop {
            match shared.with(|state| state.network.accept(self.handle.id())) {
                Poll::Pending => shared.wait(Wait::Readable(self.handle.id()), None),
                Poll::Ready(Err(fault)) => return Err(io_error(fault)),
                Poll::Ready(Ok(id)) => {
                    let stream = Stream::of(Handle::accepted(shared, id)?);
                    let peer = stream.peer_addr()?;
                    return Ok((stream, peer));
                }
            }
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// None: it listens somewhere.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.handle.local()
    }
}

impl Stream {
    /// Connects, in the calling thread's world, and waits for the connection.
    ///
    /// # Errors
    /// Nobody listens there; no way there within a minute; the thread is in no world.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_until(address, None)
    }

    /// As [`connect`](Self::connect), and waits no longer than this, in the world's time.
    ///
    /// # Errors
    /// As `connect`; `TimedOut`.
    pub fn connect_timeout(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        Self::connect_until(address, Some(timeout))
    }

    fn connect_until(address: SocketAddr, timeout: Option<Duration>) -> io::Result<Self> {
        let (shared, host) = world()?;
        let handle = Handle::open(&shared, Protocol::Stream, address.is_ipv6(), host)?;
        let id = handle.id();
        shared
            .with(|state| state.network.connect(&mut state.time, id, address))
            .map_err(io_error)?;
        match until(&handle, timeout, Wait::Writable(id), |state| state.network.connected(id)) {
            Ok(()) => Ok(Stream::of(handle)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(io_error(Fault::TimedOut)),
            Err(e) => Err(e),
        }
    }

    /// How long a read waits, in the world's time; clones have the same.
    ///
    /// # Errors
    /// A time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.handle.options().set_read_timeout(timeout)
    }

    /// How long a write waits, in the world's time; clones have the same.
    ///
    /// # Errors
    /// A time of zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.handle.options().set_write_timeout(timeout)
    }

    /// True when a read would not wait.
    pub fn is_readable(&self) -> bool {
        self.handle.shared().with(|state| state.network.is_readable(self.handle.id()))
    }

    /// True when a write would not wait.
    pub fn is_writable(&self) -> bool {
        self.handle.shared().with(|state| state.network.is_writable(self.handle.id()))
    }

    /// True when the connection was reset or has failed, or both sides have ended.
    pub fn is_over(&self) -> bool {
        self.handle.shared().with(|state| state.network.is_over(self.handle.id()))
    }

    /// Takes a failure that nobody was told of.
    ///
    /// # Errors
    /// None.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(self.handle.take_error().map(io::Error::from_raw_os_error))
    }

    /// Ends sides of the connection.
    ///
    /// # Errors
    /// It is none.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.handle.shutdown(how)
    }

    /// Its drop resets the connection: the drop of the last clone.
    ///
    /// # Errors
    /// What the system says.
    pub fn reset_on_drop(&self) -> io::Result<()> {
        self.handle.options().set_linger(Some(Duration::ZERO))
    }

    /// Another handle of the same connection.
    ///
    /// # Errors
    /// None.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Stream { handle: self.handle.clone() })
    }

    /// This end's address.
    ///
    /// # Errors
    /// None: a connection has one.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.handle.local()
    }

    /// The other end's address.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.handle.peer()
    }

    pub(crate) fn of(handle: Handle) -> Self {
        Stream { handle }
    }
}

/// Tries until there is a result or the time is over, and waits in between.
fn until<R>(
    handle: &Handle,
    timeout: Option<Duration>,
    wait: Wait,
    mut attempt: impl FnMut(&mut State) -> Poll<Result<R, Fault>>,
) -> io::Result<R> {
    let shared = handle.shared();
    let deadline = shared.deadline(timeout);
    loop {
        let (attempted, now) = shared.with(|state| (attempt(state), state.time.now()));
        match attempted {
            Poll::Ready(result) => return result.map_err(io_error),
            Poll::Pending if deadline.is_some_and(|at| at <= now) => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Poll::Pending => shared.wait(wait, deadline),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let (handle, id) = (&self.handle, self.handle.id());
        until(handle, handle.options().read_timeout()?, Wait::Readable(id), |state| {
            let room = to.len();
            let mut place = 0;
            let mut take = |bytes: &[u8]| {
                to[place..place + bytes.len()].copy_from_slice(bytes);
                place += bytes.len();
            };
            let received = state.network.receive(&mut state.time, id, room, &mut take);
            received.map(|received| received.map(|received| received.bytes))
        })
    }
}

impl Write for &Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let (handle, id) = (&self.handle, self.handle.id());
        until(handle, handle.options().write_timeout()?, Wait::Writable(id), |state| {
            state.network.room(id).map(|room| {
                let bytes = room?.min(from.len());
                let bytes = state.network.perhaps_fewer(&mut state.time, id, bytes);
                state.network.send(&mut state.time, id, &from[..bytes]);
                Ok(bytes)
            })
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        (&*self).read(to)
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        (&*self).write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A datagram socket of the calling thread's world, as [`std::net::UdpSocket`].
#[derive(Debug)]
pub struct Datagrams {
    handle: Handle,
}

impl Datagrams {
    /// At an address, in the calling thread's world; port 0 is a free one.
    ///
    /// # Errors
    /// The address is taken, or the thread is in no world.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let (shared, host) = world()?;
        let handle = Handle::open(&shared, Protocol::Datagram, address.is_ipv6(), host)?;
        handle.bind(address)?;
        Ok(Datagrams { handle })
    }

    /// From now on it hears only this one, and speaks to it.
    ///
    /// # Errors
    /// None.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        let id = self.handle.id();
        let connect = |state: &mut State| state.network.connect(&mut state.time, id, peer);
        self.handle.shared().with(connect).map_err(io_error)
    }

    /// Sends one datagram to an address.
    ///
    /// # Errors
    /// It is larger than 65,507 bytes.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.send_datagram(bytes, Some(to))
    }

    /// Sends one datagram to whom it is connected to.
    ///
    /// # Errors
    /// It is connected to nobody, or the datagram is larger than 65,507 bytes.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send_datagram(bytes, None)
    }

    /// Waits for a datagram; what does not fit is lost.
    ///
    /// # Errors
    /// None came in time.
    pub fn recv_from(&self, to: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (handle, id) = (&self.handle, self.handle.id());
        until(handle, handle.options().read_timeout()?, Wait::Readable(id), |state| {
            state.network.receive_datagram(&mut state.time, id).map(|received| {
                let (from, bytes) = received?;
                let length = bytes.len().min(to.len());
                to[..length].copy_from_slice(&bytes[..length]);
                Ok((length, from))
            })
        })
    }

    /// How long a receive waits, in the world's time.
    ///
    /// # Errors
    /// A time of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.handle.options().set_read_timeout(timeout)
    }

    /// Where it is.
    ///
    /// # Errors
    /// None: it is somewhere.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.handle.local()
    }

    fn send_datagram(&self, bytes: &[u8], to: Option<SocketAddr>) -> io::Result<usize> {
        let (id, bytes) = (self.handle.id(), bytes.to_vec());
        let send = |state: &mut State| state.network.send_datagram(&mut state.time, id, to, bytes);
        self.handle.shared().with(send).map_err(io_error)
    }
}

impl From<Datagrams> for Socket {
    fn from(datagrams: Datagrams) -> Self {
        Socket::from_simulated(datagrams.handle)
    }
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Self {
        Socket::from_simulated(stream.handle)
    }
}

impl From<Listener> for Socket {
    fn from(listener: Listener) -> Self {
        Socket::from_simulated(listener.handle)
    }
}
