//! A socket that is associated with a port: where overlapped operations start.

use super::options::{datagram_setters, option_setters};
use super::socket::{Socket, already_associated};
use crate::buf::{Buffers, SizeClass};
use crate::error::{Error, ErrorKind};
use crate::fs::FileHandle;
use crate::op::{HandleCore, Operation, OperationKind, Spec, TransmissionSpec};
use crate::port::{Associate, AssociateError, CompletionPort, HandleRef, Rejected};
use crate::sys::{Association, Descriptor, error_from_io};
use socket2::{SockAddr, SockRef};
use std::fmt;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A socket of a completion port.
///
/// Every method that takes a context starts an overlapped operation: it returns at once, and the
/// operation's one packet (a stream: each of its packets) comes out of the port with the handle's
/// key, the context and the buffers. A start that fails gives context and buffers back in
/// [`Rejected`], and then no packet comes.
///
/// Operations on one side of a socket run in the order in which they were started: receives (and
/// accepts) on one, sends (connect, disconnect, file transmission) on the other.
///
/// Clones are duplicates of the same open socket, with the same key. When the last one is dropped
/// the socket closes: operations under way come out as `Aborted`.
///
/// ```
/// use anyport::{CompletionPort, net};
///
/// let port: CompletionPort<&str> = CompletionPort::new(0)?;
/// let listener = port.associate(net::listen("127.0.0.1:0".parse()?)?, 1)?;
/// listener.accept("first")?;
/// let client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// let packet = port.get(None)?;
/// assert_eq!((packet.key, packet.context), (1, "first"));
/// assert_eq!(packet.peer, Some(client.local_addr()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SocketHandle<T: Send + 'static>(HandleRef<T>);

impl<T: Send + 'static> SocketHandle<T> {
    /// Accepts one connection; the packet has it in `accepted` and its address in `peer`.
    ///
    /// # Errors
    /// The packet's: `Limit` when no descriptor is left.
    pub fn accept(&self, context: T) -> Result<Operation, Rejected<T>> {
        self.0.start(Spec::new(OperationKind::Accept), context)
    }

    /// Accepts connections, one packet each, until it is cancelled, the listener closes or an
    /// error comes (such as `Limit`: no descriptor left), which is its last packet. The packets'
    /// contexts are clones.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn accept_stream(&self, context: T) -> Result<Operation, Rejected<T>>
    where
        T: Clone,
    {
        self.0.start_stream(Spec::new(OperationKind::AcceptStream), context)
    }

    /// Connects to `peer`; success is 0 bytes. Sends may be started at once: they follow.
    ///
    /// # Errors
    /// The packet's: `Refused`, `TimedOut`, `Unreachable`, `AlreadyConnected`.
    pub fn connect(&self, peer: SocketAddr, context: T) -> Result<Operation, Rejected<T>> {
        self.0.start(Spec { peer: Some(peer), ..Spec::new(OperationKind::Connect) }, context)
    }

    /// Receives into `buffers`, filled in order from the start of each up to its capacity;
    /// completes as soon as there are bytes. 0 bytes: the peer has ended its side. Buffers without
    /// any room make it a [`receive_ready`](Self::receive_ready).
    ///
    /// # Errors
    /// At once: `InvalidInput` without buffers or with read-only ones, `ShutDown` after this side
    /// was shut down. The packet's: `Reset`, `NotConnected`, `Cancelled`, `Aborted`.
    pub fn receive(
        &self,
        buffers: impl Into<Buffers>,
        context: T,
    ) -> Result<Operation, Rejected<T>> {
        self.0.start(Spec::with_buffers(OperationKind::Receive, buffers.into()), context)
    }

    /// Receives into one pooled buffer, which the engine takes when bytes are there: an idle
    /// connection holds none. While the pool is at its bound the receive waits.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_pooled(&self, context: T) -> Result<Operation, Rejected<T>> {
        self.0.start(Spec::new(OperationKind::ReceivePooled), context)
    }

    /// Receives into pooled buffers, one packet after the other, until the peer ends its side
    /// (0 bytes), an error comes, or it is cancelled: that packet is the last, with `more` false.
    ///
    /// The packets of one stream are handed out one at a time: the next when the thread that took
    /// the last one asks the port for another packet, or ends. So the handlers of one connection
    /// never run side by side, and its bytes stay in order, whichever threads take the packets.
    /// While a handler runs, a limited number of packets waits; then receiving pauses.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_stream(&self, context: T) -> Result<Operation, Rejected<T>>
    where
        T: Clone,
    {
        self.0.start_stream(Spec::new(OperationKind::ReceiveStream), context)
    }

    /// A zero-byte receive: completes, with 0 bytes, when there is something to receive (or the
    /// end of the stream), and takes nothing.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_ready(&self, context: T) -> Result<Operation, Rejected<T>> {
        self.0.start(Spec::new(OperationKind::ReceiveReady), context)
    }

    /// Receives one datagram; the packet has its sender in `peer`.
    ///
    /// # Errors
    /// As [`receive`](Self::receive); `Truncated` when the datagram was larger than the buffers,
    /// which then hold what fitted ([`Error::transferred`] bytes).
    pub fn receive_from(
        &self,
        buffers: impl Into<Buffers>,
        context: T,
    ) -> Result<Operation, Rejected<T>> {
        self.0.start(Spec::with_buffers(OperationKind::ReceiveFrom, buffers.into()), context)
    }

    /// Receives one datagram into a pooled buffer, which the engine takes when the datagram is there;
    /// the packet has its sender in `peer`. While the pool is at its bound the receive waits.
    ///
    /// The buffer has the [`receive_class`](Self::receive_class), which for datagrams does not follow
    /// the traffic: [`SizeClass::Large64K`] holds any of IPv4.
    ///
    /// # Errors
    /// As [`receive_from`](Self::receive_from).
    ///
    /// ```
    /// use anyport::{CompletionPort, net::Socket};
    /// use std::net::UdpSocket;
    ///
    /// let port: CompletionPort<&str> = CompletionPort::new(1)?;
    /// let socket = Socket::udp_v4()?;
    /// socket.bind("127.0.0.1:0".parse()?)?;
    /// let socket = port.associate(socket, 1)?;
    /// socket.receive_from_pooled("a question")?;
    ///
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.send_to(b"what time is it?", socket.local_addr()?)?;
    /// let packet = port.get(None)?;
    /// assert_eq!((packet.result, packet.peer), (Ok(16), Some(client.local_addr()?)));
    /// assert_eq!(packet.buffers.as_slice()[0].as_slice(), b"what time is it?");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn receive_from_pooled(&self, context: T) -> Result<Operation, Rejected<T>> {
        self.0.start(Spec::new(OperationKind::ReceiveFromPooled), context)
    }

    /// Sends all of `buffers`, in order; completes when the system has taken every byte.
    ///
    /// # Errors
    /// At once: `InvalidInput` without buffers, `ShutDown` after a shutdown or disconnect,
    /// `Reset` after the peer reset the connection. The packet's: `Reset`, `NotConnected`,
    /// `Cancelled`, `Aborted`; [`Error::transferred`] tells how many bytes had gone.
    pub fn send(&self, buffers: impl Into<Buffers>, context: T) -> Result<Operation, Rejected<T>> {
        self.0.start(Spec::with_buffers(OperationKind::Send, buffers.into()), context)
    }

    /// As [`send`](Self::send), and its packet comes only if it fails: on success the buffers and
    /// the context are dropped after the system has taken every byte, by whichever thread is in
    /// `get` next, or before this returns: their `drop` must neither block nor panic, and must not
    /// wait for a lock that the caller holds. For answers of which nobody wants to know that they
    /// went.
    ///
    /// Sends of both sorts leave in the order in which they were started, so the packet of a later
    /// `send` says that all before it have gone: one now and then bounds what waits to be sent.
    ///
    /// # Errors
    /// As [`send`](Self::send). When the port is closed meanwhile, a part may have gone:
    /// [`Error::transferred`] of the refusal tells how much.
    ///
    /// ```
    /// use anyport::{CompletionPort, OperationKind};
    /// use anyport::net::Socket;
    /// use std::io::Read;
    /// use std::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut peer = TcpStream::connect(listener.local_addr()?)?;
    /// let port: CompletionPort<&str> = CompletionPort::new(1)?;
    /// let socket = port.associate(Socket::from(listener.accept()?.0), 1)?;
    ///
    /// socket.send_quiet(b"no packet".to_vec(), "first")?;
    /// socket.send(b", one".to_vec(), "second")?;
    /// let packet = port.get(None)?;
    /// assert_eq!((packet.kind, packet.context), (OperationKind::Send, "second"));
    /// let mut received = [0; 14];
    /// peer.read_exact(&mut received)?;
    /// assert_eq!(&received, b"no packet, one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_quiet(
        &self,
        buffers: impl Into<Buffers>,
        context: T,
    ) -> Result<Operation, Rejected<T>> {
        let spec = Spec::with_buffers(OperationKind::Send, buffers.into());
        self.0.start(Spec { is_quiet: true, ..spec }, context)
    }

    /// Sends one datagram to `peer`.
    ///
    /// # Errors
    /// As [`send`](Self::send); `Truncated` when it is larger than a datagram can be.
    pub fn send_to(
        &self,
        buffers: impl Into<Buffers>,
        peer: SocketAddr,
        context: T,
    ) -> Result<Operation, Rejected<T>> {
        let spec = Spec::with_buffers(OperationKind::SendTo, buffers.into());
        self.0.start(Spec { peer: Some(peer), ..spec }, context)
    }

    /// Sends head, file and tail, in this order, as one operation; the packet's bytes are the
    /// total, and its buffers are those of head and tail.
    ///
    /// The file passes through one pooled buffer of 64 KiB, or of 4 KiB where the pool has no room
    /// for that. The operation holds it from the first read to its end, also while its peer does not
    /// read. So transmissions to peers that do not read can hold all of the pool, with its default
    /// bound about 4,000 of them, and pooled receives wait meanwhile. Where the two ends of a
    /// connection share a pool, each may wait for the other so: bound how many transmissions are
    /// under way, or give the pool more than 64 KiB for each.
    ///
    /// # Errors
    /// As [`send`](Self::send), and what reading the file fails with.
    pub fn transmit_file(
        &self,
        transmission: Transmission<T>,
        context: T,
    ) -> Result<Operation, Rejected<T>> {
        let spec = TransmissionSpec {
            head: transmission.head,
            file: Arc::clone(transmission.file.core()),
            offset: transmission.offset,
            length: transmission.length,
            tail: transmission.tail,
        };
        let kind = OperationKind::TransmitFile;
        self.0.start(Spec { transmission: Some(Box::new(spec)), ..Spec::new(kind) }, context)
    }

    /// Ends the sending side after the sends started before it; completes with 0 bytes. Later
    /// sends fail with `ShutDown`, receiving goes on. Cancelled, it has not happened: sends may start
    /// again.
    ///
    /// # Errors
    /// The packet's: `NotConnected`.
    pub fn disconnect(&self, context: T) -> Result<Operation, Rejected<T>> {
        self.0.start(Spec::new(OperationKind::Disconnect), context)
    }

    /// Shuts a side down at once. A receive under way is not ended by it and is completed by bytes
    /// that come later; new receives fail with `ShutDown`.
    ///
    /// # Errors
    /// `NotConnected`, or what else the system says.
    pub fn shutdown(&self, how: Shutdown) -> Result<(), Error> {
        let (receiving, sending) = match how {
            Shutdown::Read => (true, false),
            Shutdown::Write => (false, true),
            Shutdown::Both => (true, true),
        };
        if !self.core().descriptor().has_peer() {
            return Err(Error::new(ErrorKind::NotConnected, "shut down"));
        }
        if sending {
            // The receiving side is only marked: the system's own call would end a pending
            // receive with 0 bytes.
            let result = self.core().descriptor().shutdown(Shutdown::Write);
            result.map_err(|e| error_from_io(&e, "shut down"))?;
        }
        self.core().note_shutdown(receiving, sending);
        Ok(())
    }

    /// Cancels one operation: its packet comes as `Cancelled`, unless it had completed before.
    ///
    /// # Errors
    /// `NotFound` when it is over, was cancelled before, or is not of this socket.
    pub fn cancel(&self, operation: Operation) -> Result<(), Error> {
        self.0.cancel(operation)
    }

    /// Cancels all operations of this socket, whichever duplicate or thread started them; says how
    /// many.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn cancel_all(&self) -> Result<usize, Error> {
        self.0.cancel_all()
    }

    /// The connection ends by a reset, where the system has such: at once, or with the last operation
    /// and duplicate. Asks all operations to end.
    pub(crate) fn abort(&self) {
        // Each fails where there is no connection any more, or none of TCP: then it just closes.
        let _ = self.sock().set_linger(Some(Duration::ZERO));
        let _ = self.core().descriptor().reset();
        let _ = self.cancel_all();
    }

    /// Drops this duplicate. With the last one the socket closes, and each operation under way
    /// comes out as `Aborted`.
    pub fn close(self) {}

    /// The key given at association.
    pub fn key(&self) -> usize {
        self.core().key()
    }

    /// The size of the pooled buffers that later pooled receives use; a stream under way changes
    /// when it is armed anew.
    ///
    /// From then on the handle keeps it. One of which it was never set follows the traffic: see
    /// [`PortBuilder::receive_class`](crate::PortBuilder::receive_class).
    pub fn set_receive_class(&self, class: SizeClass) {
        self.core().fix_receive_class(class);
    }

    /// The size of the pooled buffers that the next pooled receive uses.
    #[must_use]
    pub fn receive_class(&self) -> SizeClass {
        self.core().receive_class()
    }

    option_setters!();
    datagram_setters!();

    /// A duplicate: the same open socket, the same key.
    ///
    /// # Errors
    /// None today; a system may refuse.
    pub fn try_clone(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }

    /// A socket of its own descriptor, for calls of other libraries. It is the same open socket:
    /// associating it is refused.
    ///
    /// # Errors
    /// `Limit` when the process has no descriptor left.
    pub fn try_clone_socket(&self) -> Result<Socket, Error> {
        match self.core().descriptor().duplicate() {
            Ok(socket) => Ok(Socket::from_inner(socket)),
            Err(e) => Err(error_from_io(&e, "duplicate a socket")),
        }
    }

    /// Takes the socket back from the port. On Windows the open socket keeps its port: it can be
    /// used elsewhere, but not be associated again.
    ///
    /// # Errors
    /// The handle, when another duplicate exists or an operation is under way.
    pub fn into_socket(self) -> Result<Socket, Self> {
        match self.0.into_descriptor() {
            Ok(descriptor) => Ok(Socket::from_inner(descriptor.into_socket())),
            Err(handle) => Err(SocketHandle(handle)),
        }
    }

    pub(crate) fn core(&self) -> &Arc<HandleCore> {
        self.0.core()
    }

    /// The pool of its port.
    #[cfg(any(feature = "futures-io", feature = "hyper"))]
    pub(crate) fn pool(&self) -> &crate::buf::BufferPool {
        self.0.pool()
    }

    fn local(&self) -> std::io::Result<SockAddr> {
        self.core().descriptor().local_addr()
    }

    fn remote(&self) -> std::io::Result<SockAddr> {
        self.core().descriptor().peer_addr()
    }

    pub(crate) fn sock(&self) -> SockRef<'_> {
        self.core().descriptor().options()
    }
}

impl<T: Send + 'static> Clone for SocketHandle<T> {
    fn clone(&self) -> Self {
        SocketHandle(self.0.clone())
    }
}

impl<T: Send + 'static> fmt::Debug for SocketHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketHandle").field("key", &self.key()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Associate<T> for Socket {
    type Handle = SocketHandle<T>;

    fn associate(
        self,
        port: &CompletionPort<T>,
        key: usize,
    ) -> Result<SocketHandle<T>, AssociateError<Self>> {
        let descriptor = match Descriptor::from_socket(self.into_inner()) {
            Ok(descriptor) => descriptor,
            Err((error, socket)) => {
                return Err(AssociateError { error, resource: Socket::from_inner(socket) });
            }
        };
        let back = |error, descriptor: Descriptor| AssociateError {
            error,
            resource: Socket::from_inner(descriptor.into_socket()),
        };
        let association = match descriptor.object_number() {
            Some(number) => match Association::of_socket(number) {
                Some(association) => Some(association),
                None => return Err(back(already_associated(), descriptor)),
            },
            None => None,
        };
        match HandleRef::new(port, descriptor, key, association) {
            Ok(handle) => Ok(SocketHandle(handle)),
            Err((error, descriptor)) => Err(back(error, descriptor)),
        }
    }
}

/// What [`SocketHandle::transmit_file`] sends.
#[derive(Debug)]
pub struct Transmission<T: Send + 'static> {
    /// Sent before the file.
    pub head: Buffers,
    /// The file, associated with the same port.
    pub file: FileHandle<T>,
    /// Where in the file to begin, in bytes.
    pub offset: u64,
    /// Bytes of the file to send; `None`, or more than there are: up to its end.
    pub length: Option<u64>,
    /// Sent after the file.
    pub tail: Buffers,
}

impl<T: Send + 'static> Transmission<T> {
    /// The whole file, without head and tail.
    pub fn new(file: FileHandle<T>) -> Self {
        Transmission { head: Buffers::None, file, offset: 0, length: None, tail: Buffers::None }
    }

    /// Sends `head` before the file.
    pub fn head(mut self, head: impl Into<Buffers>) -> Self {
        self.head = head.into();
        self
    }

    /// Sends `tail` after the file.
    pub fn tail(mut self, tail: impl Into<Buffers>) -> Self {
        self.tail = tail.into();
        self
    }

    /// Sends `length` bytes of the file from `offset`.
    pub fn range(mut self, offset: u64, length: Option<u64>) -> Self {
        self.offset = offset;
        self.length = length;
        self
    }
}
