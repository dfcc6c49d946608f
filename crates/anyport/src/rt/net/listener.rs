//! Listening TCP sockets.

use super::accepting::Accepting;
use super::connection::Connection;
use super::resolve::{ToSocketAddrs, addresses_of};
use super::tcp::TcpStream;
use crate::error::{Error, ErrorKind};
use crate::net::{ListenOptions, Socket};
use crate::rt::shared::{Shared, expect_current};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A listening TCP socket.
///
/// Dropping it closes it, and with it the connections that nobody has accepted.
pub struct TcpListener {
    accepting: Arc<Accepting>,
    shared: Arc<Shared>,
}

impl TcpListener {
    /// Listens on `address`, of several on the first that is to be had, with address reuse and a
    /// backlog of 4,096.
    ///
    /// # Errors
    /// Those of the last address: `AddressInUse`, `AddressNotAvailable`, `PermissionDenied`. What
    /// [`lookup_host`](super::lookup_host) fails with; `NotFound` when there is no address.
    ///
    /// # Panics
    /// Outside of a runtime.
    ///
    /// # Cancel safety
    /// Nothing is bound when the future is dropped.
    pub async fn bind(address: impl ToSocketAddrs) -> Result<Self, Error> {
        Self::bind_with(ListenOptions::new(), address).await
    }

    /// As [`bind`](Self::bind), with these options.
    ///
    /// Several listeners of one address, each with a task of its own that accepts:
    ///
    /// ```
    /// use anyport::net::ListenOptions;
    /// use anyport::rt::net::{TcpListener, TcpStream};
    ///
    /// # anyport::rt::Runtime::new()?.block_on(async {
    /// let options = ListenOptions::new().reuse_port(true);
    /// let first = match TcpListener::bind_with(options, "127.0.0.1:0").await {
    ///     Ok(listener) => listener,
    ///     Err(e) if e.kind() == anyport::ErrorKind::Unsupported => return Ok(()),
    ///     Err(e) => return Err(e),
    /// };
    /// let address = first.local_addr()?;
    /// let second = TcpListener::bind_with(options, address).await?;
    /// assert_eq!(second.local_addr()?, address);
    /// # Ok::<(), anyport::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there, and [`ListenOptions::listen`].
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn bind_with(
        options: ListenOptions,
        address: impl ToSocketAddrs,
    ) -> Result<Self, Error> {
        let mut last = Error::new(ErrorKind::NotFound, "listen").with_detail("there is no address");
        for address in addresses_of(address).await? {
            match options.listen(address) {
                Ok(socket) => return Self::from_socket(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Takes a listening socket of the standard library or of one's own making, such as one of
    /// several on one address.
    ///
    /// # Errors
    /// When it cannot be associated with the runtime's port: see
    /// [`CompletionPort::associate`](crate::CompletionPort::associate).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn from_socket(socket: impl Into<Socket>) -> Result<Self, Error> {
        let shared = expect_current("make a listener");
        let socket = shared.port().associate(socket.into(), 0).map_err(|refused| refused.error)?;
        Ok(TcpListener { accepting: Accepting::new(socket), shared })
    }

    /// The next connection and its peer; of one whose peer was gone before it was accepted the system
    /// knows no address, and the next one is taken.
    ///
    /// # Cancel safety
    /// No connection is lost: one that comes when nobody waits is the next one's.
    ///
    /// # Errors
    /// `Limit` when the process has no descriptor left: accept again when some were closed.
    pub async fn accept(&self) -> Result<(TcpStream, SocketAddr), Error> {
        loop {
            let (socket, peer) = self.accepting.accept().await?;
            let Some(peer) = peer else { continue };
            return Ok((TcpStream::of(Connection::new(&self.shared, socket)?), peer));
        }
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.accepting.socket.local_addr()
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.accepting.close();
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener").field("local_addr", &self.local_addr()).finish()
    }
}
