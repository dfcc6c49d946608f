//! I/O completion ports on any OS: start an operation, let the kernel do it, and let any thread
//! of a small pool take any completed packet.
//!
//! # What a completion port is
//!
//! A completion port is a queue of finished work. Sockets and files are *associated* with it, each
//! under a *key*. A thread starts an *overlapped operation* on one, which returns at once, with a
//! *context* and buffers that the operation owns from then on. When the operation is over, one
//! *packet* comes out of the port, with the key, the result, the context and the buffers. Any
//! thread that waits on the port takes it. No more threads run at a time than the *concurrency
//! value* says; one that blocks gives its place to another.
//!
//! So a server needs a few threads for any number of connections, a slow handler delays nobody but
//! its own connection, and no thread waits for a particular socket.
//!
//! # An example
//!
//! One connection, both ends of which are on the same port:
//!
//! ```
//! use anyport::net::{self, Socket};
//! use anyport::{CompletionPort, OperationKind};
//!
//! const LISTENER: usize = 1;
//! const SERVER: usize = 2;
//! const CLIENT: usize = 3;
//!
//! let port: CompletionPort<&str> = CompletionPort::new(0)?;
//! let listener = port.associate(net::listen("127.0.0.1:0".parse()?)?, LISTENER)?;
//! listener.accept("the only one")?;
//!
//! // A send may be started at once: it follows the connect.
//! let client = port.associate(Socket::tcp_v4()?, CLIENT)?;
//! client.connect(listener.local_addr()?, "connects")?;
//! client.send(&b"hello"[..], "says hello")?;
//!
//! let mut server = None;
//! loop {
//!     let packet = port.get(None)?;
//!     match (packet.key, packet.kind) {
//!         (LISTENER, OperationKind::Accept) => {
//!             let connection = packet.accepted.expect("an accept that succeeded has one");
//!             let connection = port.associate(connection, SERVER)?;
//!             connection.receive_pooled("takes what comes")?;
//!             // Dropping the handle would close the socket.
//!             server = Some(connection);
//!         }
//!         (SERVER, OperationKind::ReceivePooled) => {
//!             assert_eq!(packet.context, "takes what comes");
//!             assert_eq!(packet.buffers.as_slice()[0].as_slice(), b"hello");
//!             break;
//!         }
//!         (CLIENT, OperationKind::Connect) => assert_eq!(packet.result, Ok(0)),
//!         (CLIENT, OperationKind::Send) => assert_eq!(packet.result, Ok(5)),
//!         other => panic!("nobody has started {other:?}"),
//!     }
//! }
//! assert_eq!(server.map(|s| s.key()), Some(SERVER));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/echo.rs` is a whole server of two short functions, on a [`WorkerPool`].
//!
//! # Async
//!
//! [`rt`] is a runtime on a port of its own, for those who write tasks in place of handlers:
//!
//! ```
//! use anyport::rt::{self, net::TcpListener, net::TcpStream};
//!
//! # #[cfg(feature = "macros")]
//! #[anyport::main]
//! async fn main() -> Result<(), anyport::Error> {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     rt::spawn(async move {
//!         let (mut stream, _) = listener.accept().await?;
//!         while let Ok(received) = stream.recv().await {
//!             if received.is_empty() {
//!                 break;
//!             }
//!             stream.send(received).await?;
//!         }
//!         stream.flush().await
//!     })
//!     .detach();
//!     let mut client = TcpStream::connect(address).await?;
//!     client.send(b"hello").await?;
//!     assert_eq!(client.recv().await?.as_slice(), b"hello");
//!     Ok(())
//! }
//! # #[cfg(not(feature = "macros"))]
//! # fn main() {}
//! ```
//!
//! With the feature `hyper` that is all that hyper and axum need (`examples/http.rs` serves HTTP/1 and
//! HTTP/2), and with the feature `futures-io` its streams have the traits of the crates around
//! `futures`.
//!
//! # The rules of a packet
//!
//! * An operation that starts yields exactly one packet; a stream ([`net::SocketHandle`]'s
//!   `accept_stream` and `receive_stream`) one for each piece, the last with `more` false.
//! * A start that is refused yields none: [`Rejected`] gives context and buffers back.
//! * Operations on one side of a socket (receiving, sending) run in the order in which they were
//!   started. A send goes out whole or fails. Operations on a file run in any order.
//! * The packets of one receive stream are handed out one at a time: the next when the thread that
//!   took the last one comes back to the port. Two *single* receives that are started together may
//!   be handled by two threads at once.
//! * [`net::SocketHandle::cancel`] only asks: the packet comes all the same, as `Cancelled` or as a
//!   success that was faster.
//! * A connection lives as long as a handle of it does. Keep a clone in the context of each of its
//!   operations, and it closes with its last packet.
//!
//! # Who owns the memory
//!
//! * An operation owns its [`buf::Buffers`] from the start to the packet; nobody can touch them
//!   meanwhile, and moving a [`buf::Buffer`] does not move the bytes.
//! * Dropping a handle or the port *asks* for the end of what is under way. The memory is given up
//!   when the kernel says that it is done, by a thread of the engine; no drop waits for it.
//! * Pooled receives take a buffer from the port's [`buf::BufferPool`] when bytes arrive, so idle
//!   connections hold none. The pool has a bound; at the bound receives wait.
//! * A pooled buffer in your hands keeps its pool alive, not its port.
//! * Receives fill a buffer from its start up to its capacity; afterwards its length is what came.
//!
//! # Backends
//!
//! | [`BackendKind`] | where | how |
//! |---|---|---|
//! | `IoUring` | Linux 6.1 and later, where it is permitted | a ring for each running worker, one more for the engine's own thread |
//! | `Readiness` | any Unix | try the call, else wait until the socket is ready (epoll, kqueue); files on up to four threads |
//! | `Windows` | Windows | the system's own completion port, and overlapped calls |
//!
//! The port asks the kernel when it is built, and takes io_uring where it finds all that it needs.
//! [`PortBuilder::backend`] forces a backend, and so does the environment variable
//! `ANYPORT_BACKEND` (`io_uring`, `readiness`, `windows`, `auto`); the builder goes first. What was forced and
//! is not there is an error. [`CompletionPort::backend`] says what was chosen and why, and
//! [`available_backends`] what this machine offers.
//!
//! Each feature of io_uring is tried out. Without most of them io_uring goes on in the next best
//! way, and [`CompletionPort::backend`] says in which; without the others it is readiness. Where a kernel
//! has a feature and has it wrong, `ANYPORT_WITHOUT` takes it away: a list, with commas, of
//! `owner_rings`, `cancel_any`, `coop_taskrun`, `buffer_rings`, `multishot_receive`,
//! `multishot_accept` (io_uring goes on), and `msg_ring`, `submit_all`, `nodrop`, `ext_arg`,
//! `opcodes`, `linux_6_1` (readiness serves). Another name is an error that lists these.
//!
//! With the feature `sim` there is a fourth, for tests: a seeded network, disk and clock, in which a
//! run can be repeated to the byte. See `anyport::sim`.
//!
//! # Limits
//!
//! Everything that can grow has a limit, set by [`PortBuilder`]:
//!
//! | limit | default | at the limit |
//! |---|---|---|
//! | [`posted_max`](PortBuilder::posted_max) | 65,536 packets | `post` gives the packet back as [`PostErrorKind::Full`] |
//! | [`operations_max`](PortBuilder::operations_max) | 1,048,576 | a start is refused with [`ErrorKind::Limit`] |
//! | [`pool`](PortBuilder::pool) | 256 MiB | pooled receives wait for a buffer |
//! | [`stream_backlog_max`](PortBuilder::stream_backlog_max) | 16 packets a stream | the stream stops receiving |
//! | [`concurrency`](PortBuilder::concurrency) | the cores | further threads wait |
//!
//! What a server has yet to *send* is its own to bound: each send is an operation, and a peer that
//! does not read leaves it under way.
//!
//! # Logging
//!
//! The crate logs by `log`: one line at `info` when a port is built, errors at `error`.
//!
//! # Guide
//!
//! [`guide`] goes into what matters in practice, page by page: completion and readiness, buffers,
//! cancelling, handlers that block, tuning, containers, and what differs from tokio and from Windows'
//! own ports.
//!
#![doc = include_str!("../EXCEPTIONS.md")]

#[macro_use]
mod fault;

mod atomic;
pub mod buf;
mod error;
pub mod fs;
pub mod guide;
mod latch;
pub mod net;
mod op;
mod port;
pub mod rt;
mod sys;

#[cfg(feature = "macros")]
pub use anyport_macros::{main, test};
pub use error::{Error, ErrorKind};
#[cfg(anyport_fault_points)]
#[doc(hidden)]
pub use fault::control as fault_points;
pub use op::{Operation, OperationKind};
pub use port::{
    Associate, AssociateError, CompletionPort, GetError, Packet, PortBuilder, PostError,
    PostErrorKind, Rejected, Stats, Worker, WorkerPool, WorkerPoolBuilder,
};
#[cfg(feature = "sim")]
pub use sys::sim;
pub use sys::{BackendChoice, BackendKind, available_backends};
