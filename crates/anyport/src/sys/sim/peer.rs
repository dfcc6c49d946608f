//! Blocking streams of a world, for the ends that are no port's: clients of a server that is tested.

use super::current;
use super::network::{Fault, Protocol};
use super::shared::Shared;
use super::socket::{Handle, io_error};
use super::threads::Wait;
use crate::sys::Socket;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A connection of the calling thread's world, as [`std::net::TcpStream`]. Its calls wait in the
/// world's time.
///
/// Of a run, it ends no wait that another thread's drop would have to end: keep it until threads
/// that read from clones of it are over.
#[derive(Debug)]
pub struct Stream {
    handle: Handle,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
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
        let (shared, host) = world()?;
        let handle = Handle::open(&shared, Protocol::Stream, address.is_ipv6(), host)?;
        let id = handle.id();
        shared
            .with(|state| state.network.connect(&mut state.time, id, address))
            .map_err(io_error)?;
        loop {
            match shared.with(|state| state.network.connected(id)) {
                Poll::Pending => shared.wait(Wait::Writable(id), None),
                Poll::Ready(Ok(())) => return Ok(Stream::of(handle)),
                Poll::Ready(Err(fault)) => return Err(io_error(fault)),
            }
        }
    }

    /// How long a read waits, in the world's time.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    /// How long a write waits, in the world's time.
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
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
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Stream {
            handle: self.handle.clone(),
            read_timeout: self.read_timeout,
            write_timeout: self.write_timeout,
        }
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

    fn of(handle: Handle) -> Self {
        Stream { handle, read_timeout: None, write_timeout: None }
    }

    /// Waits and tries again until there is a result or the time is over.
    fn until<R>(
        &self,
        timeout: Option<Duration>,
        wait: Wait,
        mut attempt: impl FnMut() -> Poll<Result<R, Fault>>,
    ) -> io::Result<R> {
        let shared = self.handle.shared();
        let deadline = shared.deadline(timeout);
        loop {
            match attempt() {
                Poll::Ready(result) => return result.map_err(io_error),
                Poll::Pending => {
                    let is_late =
                        shared.with(|state| deadline.is_some_and(|at| at <= state.time.now()));
                    if is_late {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    shared.wait(wait, deadline);
                }
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let (shared, id) = (self.handle.shared(), self.handle.id());
        self.until(self.read_timeout, Wait::Readable(id), || {
            let room = to.len();
            let mut place = 0;
            let mut take = |bytes: &[u8]| {
                to[place..place + bytes.len()].copy_from_slice(bytes);
                place += bytes.len();
            };
            shared.with(|state| {
                let received = state.network.receive(&mut state.time, id, room, &mut take);
                received.map(|received| received.map(|received| received.bytes))
            })
        })
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let (shared, id) = (self.handle.shared(), self.handle.id());
        self.until(self.write_timeout, Wait::Writable(id), || {
            shared.with(|state| {
                state.network.room(id).map(|room| {
                    let bytes = room?.min(from.len());
                    let bytes = state.network.perhaps_fewer(&mut state.time, id, bytes);
                    state.network.send(&mut state.time, id, &from[..bytes]);
                    Ok(bytes)
                })
            })
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
