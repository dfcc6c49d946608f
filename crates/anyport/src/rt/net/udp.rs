//! UDP sockets.

use super::datagrams::{Datagram, Datagrams, Received};
use super::once::complete;
use super::resolve::{ToSocketAddrs, addresses_of};
use crate::buf::{Buffer, Buffers, SizeClass};
use crate::error::{Error, ErrorKind};
use crate::net::Socket;
use crate::net::options::datagram_setters;
use crate::rt::shared::expect_current;
use socket2::SockRef;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

/// A UDP socket.
///
/// Several tasks may use it at once, behind an `Arc`: its methods take `&self`. Each datagram goes to
/// one of those who receive, the one that has waited longest.
///
/// * [`recv_from`](Self::recv_from) gives a datagram in a pooled buffer, [`read_from`](Self::read_from)
///   in the caller's, [`recv_many`](Self::recv_many) all that are there.
/// * [`send_to`](Self::send_to) sends one, [`write_to`](Self::write_to) gives the buffers back,
///   [`send_many`](Self::send_many) sends several.
/// * After [`connect`](Self::connect) there are [`recv`](Self::recv), [`read`](Self::read),
///   [`send`](Self::send) and [`write`](Self::write), which name no address.
///
/// A datagram is received when somebody asks for one, and otherwise waits in the system's own buffer
/// (`set_receive_buffer_size` of a [`Socket`](crate::net::Socket)), where the system drops what finds no
/// room. The socket itself keeps at most one, that came for a future that was dropped, and what is
/// peeked at.
///
/// A datagram that does not fit is the error `Truncated`, never a shorter one. With pooled buffers that
/// does not happen with IPv4, unless [`set_receive_class`](Self::set_receive_class) makes them smaller
/// than their 64 KiB.
///
/// What the system reports of a connected socket, such as `Refused` when nobody listens at the other
/// end, is the error of one receive or send, whichever comes first; the next one goes on.
///
/// ```
/// use anyport::rt::net::UdpSocket;
///
/// # anyport::rt::Runtime::new()?.block_on(async {
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.connect(server.local_addr()?).await?;
/// client.send("what time is it?").await?;
///
/// let (question, sender) = server.recv_from().await?;
/// assert_eq!(question.as_slice(), b"what time is it?");
/// server.send_to("late", sender).await?;
/// assert_eq!(client.recv().await?.as_slice(), b"late");
/// # Ok::<(), anyport::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct UdpSocket {
    datagrams: Arc<Datagrams>,
}

impl UdpSocket {
    /// Binds to `address`, of several to the first that is to be had; port 0 lets the system choose one.
    ///
    /// For options that must be set before, bind a [`Socket`](crate::net::Socket) and give it to
    /// [`from_socket`](Self::from_socket).
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
        let mut last = Error::new(ErrorKind::NotFound, "bind").with_detail("there is no address");
        for address in addresses_of(address).await? {
            match bound(address) {
                Ok(socket) => return Self::from_socket(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Takes a datagram socket of the standard library or of one's own making.
    ///
    /// # Errors
    /// `InvalidInput` when it is no datagram socket; when it cannot be associated with the runtime's
    /// port: see [`CompletionPort::associate`](crate::CompletionPort::associate).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn from_socket(socket: impl Into<Socket>) -> Result<Self, Error> {
        let shared = expect_current("make a datagram socket");
        let socket = shared.port().associate(socket.into(), 0).map_err(|refused| refused.error)?;
        if !socket.core().descriptor().is_datagram() {
            return Err(Error::new(ErrorKind::InvalidInput, "make a datagram socket")
                .with_detail("it is a socket of another kind"));
        }
        // The one that holds every datagram.
        socket.set_receive_class(SizeClass::Large64K);
        Ok(UdpSocket { datagrams: Datagrams::new(socket) })
    }

    /// Connects it: from now on it receives from `peer` only, and [`send`](Self::send) sends there. Of
    /// several addresses the first that the system takes; nothing is sent to find out whether anybody
    /// is there. What came from others before may still be received.
    ///
    /// # Errors
    /// Those of the last address: `Unreachable`, `InvalidInput` for one of another family. What
    /// [`lookup_host`](super::lookup_host) fails with; `NotFound` when there is no address.
    ///
    /// # Cancel safety
    /// It may be connected or not.
    #[allow(clippy::result_large_err, reason = "a refused start gives everything back")]
    pub async fn connect(&self, peer: impl ToSocketAddrs) -> Result<(), Error> {
        let mut last =
            Error::new(ErrorKind::NotFound, "connect").with_detail("there is no address");
        for peer in addresses_of(peer).await? {
            let connect = |context| self.datagrams.socket.connect(peer, context);
            let ended = complete((), connect).await.map_err(|rejected| rejected.error)?;
            match ended.result {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The next datagram, in a pooled buffer, and its sender. While the pool is at its bound it waits.
    ///
    /// # Cancel safety
    /// No datagram is lost: what comes when nobody waits is the next one's.
    ///
    /// # Errors
    /// `Truncated`: a datagram did not fit and is gone. `Refused` and others of a connected socket.
    /// None of them ends anything: receive again.
    pub async fn recv_from(&self) -> Result<(Buffer, SocketAddr), Error> {
        let received = self.datagrams.receive().await?;
        let peer = self.sender_of(received.sender)?;
        Ok((received.buffer, peer))
    }

    /// As [`recv_from`](Self::recv_from), for a connected socket, which knows the sender. An empty
    /// buffer is an empty datagram, and no end.
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn recv(&self) -> Result<Buffer, Error> {
        Ok(self.datagrams.receive().await?.buffer)
    }

    /// All datagrams that are there, up to `max`, added to `datagrams`; waits while there is none. Says
    /// how many came.
    ///
    /// A list that is used again and again costs no allocation. Each datagram takes a buffer of 64 KiB
    /// of the pool, of which the memory that was never written to costs nothing;
    /// [`set_receive_class`](Self::set_receive_class) makes them smaller.
    ///
    /// # Cancel safety
    /// See [`recv_from`](Self::recv_from): until it is ready nothing was taken.
    ///
    /// # Errors
    /// See [`recv_from`](Self::recv_from). One that comes behind a datagram is told by the next receive.
    ///
    /// ```
    /// use anyport::rt::net::{Datagram, UdpSocket};
    ///
    /// async fn echo(socket: &UdpSocket) -> Result<(), anyport::Error> {
    ///     let mut datagrams: Vec<Datagram> = Vec::new();
    ///     loop {
    ///         socket.recv_many(&mut datagrams, 64).await?;
    ///         while !datagrams.is_empty() {
    ///             socket.send_many(&mut datagrams).await?;
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn recv_many(
        &self,
        datagrams: &mut Vec<Datagram>,
        max: usize,
    ) -> Result<usize, Error> {
        if max == 0 {
            return Ok(0);
        }
        let mut received = Poll::Ready(self.datagrams.receive().await);
        let mut count = 0;
        // Nothing waits from here on, so that nothing of it can be lost.
        while let Poll::Ready(next) = received {
            let next = next.and_then(|Received { buffer, sender, .. }| {
                Ok(Datagram { bytes: buffer, peer: self.sender_of(sender)? })
            });
            match next {
                Ok(datagram) => datagrams.push(datagram),
                Err(error) if count == 0 => return Err(error),
                Err(error) => {
                    self.datagrams.keep_error(error);
                    break;
                }
            }
            count += 1;
            if count == max {
                break;
            }
            received = self.datagrams.receive_now();
        }
        Ok(count)
    }

    /// The next datagram in `buffer`, which comes back with what has arrived, and its sender.
    ///
    /// # Cancel safety
    /// No datagram is lost, as with [`recv_from`](Self::recv_from). The buffer is dropped.
    ///
    /// # Errors
    /// `InvalidInput` when the buffer is read-only. `Truncated` when the datagram was larger than the
    /// buffer, or than the [receive class](Self::set_receive_class); the buffer then holds what fitted
    /// ([`Error::transferred`] bytes), and the rest is gone. Else as
    /// [`recv_from`](Self::recv_from).
    pub async fn read_from(
        &self,
        buffer: impl Into<Buffer>,
    ) -> (Result<(usize, SocketAddr), Error>, Buffer) {
        let (result, buffer) = self.read_into(buffer.into()).await;
        let result = result.and_then(|(bytes, sender)| Ok((bytes, self.sender_of(sender)?)));
        (result, buffer)
    }

    /// As [`read_from`](Self::read_from), for a connected socket, which knows the sender.
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn read(&self, buffer: impl Into<Buffer>) -> (Result<usize, Error>, Buffer) {
        let (result, buffer) = self.read_into(buffer.into()).await;
        (result.map(|(bytes, _)| bytes), buffer)
    }

    /// Copies the first bytes of the next datagram into `out`, and says how many and whose; it stays for
    /// the next receive. Where tasks peek and receive at the same time, what two of them have peeked at
    /// may be received in another order.
    ///
    /// # Cancel safety
    /// No datagram is lost.
    ///
    /// # Errors
    /// As [`recv_from`](Self::recv_from). That `out` is too small for all of it is none.
    pub async fn peek_from(&self, out: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        let (bytes, sender) = self.datagrams.peek(out).await?;
        Ok((bytes, self.sender_of(sender)?))
    }

    /// Sends one datagram, made of all of `buffers`, to `peer`; waits only while the system has no room
    /// for it. That it was sent does not mean that it arrives.
    ///
    /// # Cancel safety
    /// It was handed over whole or not at all: not before the first poll, and from then on, if it has to
    /// wait for room, for good.
    ///
    /// # Errors
    /// `Truncated` when it is larger than a datagram can be, `PermissionDenied` for a broadcast that was
    /// not [permitted](Self::set_broadcast), `Unreachable`; of a connected socket also what became of
    /// earlier datagrams, such as `Refused`: then this one was not sent.
    pub async fn send_to(
        &self,
        buffers: impl Into<Buffers>,
        peer: SocketAddr,
    ) -> Result<(), Error> {
        self.write_to(buffers, peer).await.0.map(drop)
    }

    /// As [`send_to`](Self::send_to), to whom it is connected to.
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there; `NotConnected`.
    pub async fn send(&self, buffers: impl Into<Buffers>) -> Result<(), Error> {
        self.write(buffers).await.0.map(drop)
    }

    /// As [`send_to`](Self::send_to), and gives the buffers back; says how many bytes the datagram had.
    ///
    /// # Cancel safety
    /// See there. The buffers are dropped.
    ///
    /// # Errors
    /// See there.
    pub async fn write_to(
        &self,
        buffers: impl Into<Buffers>,
        peer: SocketAddr,
    ) -> (Result<usize, Error>, Buffers) {
        self.datagrams.send(buffers.into(), Some(peer)).await
    }

    /// As [`write_to`](Self::write_to), to whom it is connected to.
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there; `NotConnected`.
    pub async fn write(&self, buffers: impl Into<Buffers>) -> (Result<usize, Error>, Buffers) {
        self.datagrams.send(buffers.into(), None).await
    }

    /// Sends the first of `datagrams`, as many as the system has room for now, up to 128 and at least one,
    /// each to its `peer`. What was sent is taken out of the list; says how many those were.
    ///
    /// Each datagram is a call of its own. For a socket that is not connected: some systems refuse to
    /// name an address to one that is.
    ///
    /// # Cancel safety
    /// A datagram is out of the list when it was handed over, and not before.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to), of the first datagram, which is taken out of the list. One that
    /// fails behind others is the first of the next call.
    pub async fn send_many(&self, datagrams: &mut Vec<Datagram>) -> Result<usize, Error> {
        if datagrams.is_empty() {
            return Ok(0);
        }
        self.datagrams.send_first(datagrams).await
    }

    datagram_setters!();

    /// The size of the pooled buffers in which datagrams come, 64 KiB by default; one that is larger is
    /// the error `Truncated`, also for a [`read_from`](Self::read_from) that had to wait for it. For
    /// sockets whose datagrams are small, and kept in great numbers.
    pub fn set_receive_class(&self, class: SizeClass) {
        self.datagrams.socket.set_receive_class(class);
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.datagrams.socket.local_addr()
    }

    /// The address that it is connected to.
    ///
    /// # Errors
    /// `NotConnected`, or what the system says.
    pub fn peer_addr(&self) -> Result<SocketAddr, Error> {
        self.datagrams.socket.peer_addr()
    }

    async fn read_into(
        &self,
        mut buffer: Buffer,
    ) -> (Result<(usize, Option<SocketAddr>), Error>, Buffer) {
        if !buffer.is_writable() {
            let error = Error::new(ErrorKind::InvalidInput, "receive a datagram");
            return (Err(error.with_detail("the buffer is read-only")), buffer);
        }
        let result = self.datagrams.receive_into(&mut buffer).await;
        (result, buffer)
    }

    /// Some systems do not name the sender where there is only one.
    fn sender_of(&self, sender: Option<SocketAddr>) -> Result<SocketAddr, Error> {
        sender.map_or_else(|| self.peer_addr(), Ok)
    }

    fn sock(&self) -> SockRef<'_> {
        self.datagrams.socket.sock()
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.datagrams.close();
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket").field("local_addr", &self.local_addr()).finish_non_exhaustive()
    }
}

fn bound(address: SocketAddr) -> Result<Socket, Error> {
    let socket = if address.is_ipv4() { Socket::udp_v4()? } else { Socket::udp_v6()? };
    socket.bind(address)?;
    Ok(socket)
}
