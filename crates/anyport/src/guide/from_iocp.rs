//! Coming from IOCP: the Win32 call, Anyport's, and what differs.
//!
//! The model is the same. What Win32 leaves to a convention, such as who owns an `OVERLAPPED`,
//! types say here; and some rules are stricter, so that they can hold on every system. On Windows
//! the library uses the system's own port.
//!
//! | Win32 | Anyport | what differs |
//! |---|---|---|
//! | `CreateIoCompletionPort(INVALID_HANDLE_VALUE, …, n)` | [`CompletionPort::new(n)`](crate::CompletionPort::new) | 0 is one for each core, there as here. Limits and the backend: [`builder`](crate::CompletionPort::builder). |
//! | `CreateIoCompletionPort(handle, port, key, …)` | [`port.associate(socket, key)`](crate::CompletionPort::associate) | Gives a [`SocketHandle`](crate::net::SocketHandle) or a [`FileHandle`](crate::fs::FileHandle), where operations start. One port for life. |
//! | `GetQueuedCompletionStatus` | [`get`](crate::CompletionPort::get) | A failed operation is a packet with an error in `result`. `get` itself fails only with [`TimedOut`](crate::GetError::TimedOut) (`WAIT_TIMEOUT`) and [`Closed`](crate::GetError::Closed) (`ERROR_ABANDONED_WAIT_0`). |
//! | `GetQueuedCompletionStatusEx` | [`get_many`](crate::CompletionPort::get_many) | There is no choice of alertable waits. |
//! | `PostQueuedCompletionStatus` | [`post`](crate::CompletionPort::post) | Bounded: at the limit it gives the packet back. In place of a pointer goes a context. |
//! | `CloseHandle` of the port | [`close`](crate::CompletionPort::close), or dropping the last clone | Aborts what is under way. What was posted before is still handed out after `close`. |
//! | `OVERLAPPED` | the context `T`, and [`Operation`](crate::Operation) | The engine has the structure. The context is yours, goes in with the start and comes out with the packet; the operation is its name, to cancel it by. |
//! | `ERROR_IO_PENDING` | `Ok(operation)` | Said of every operation that has started. What is refused at once gives everything back: [`Rejected`](crate::Rejected). |
//! | `FILE_SKIP_COMPLETION_PORT_ON_SUCCESS` | none | Every operation yields its packet, but a [quiet send](crate::net::SocketHandle::send_quiet) that succeeds. |
//! | `BindIoCompletionCallback`, `CreateThreadpoolIo` | [`WorkerPool`](crate::WorkerPool) | Twice as many threads as run. A panic in a handler ends with its packet. |
//! | `AcceptEx` | [`accept`](crate::net::SocketHandle::accept) | No socket is made before; it comes in `accepted`, the address in `peer`. It does not wait for first bytes. |
//! | a pile of `AcceptEx` | [`accept_stream`](crate::net::SocketHandle::accept_stream) | One operation, a packet a connection. |
//! | `ConnectEx` | [`connect`](crate::net::SocketHandle::connect) | Need not be bound. Sends may be started at once: they follow. |
//! | `WSARecv`, `WSASend` | [`receive`](crate::net::SocketHandle::receive), [`send`](crate::net::SocketHandle::send) | The next section. |
//! | `WSARecv` with no room | [`receive_ready`](crate::net::SocketHandle::receive_ready) | Or [`receive_pooled`](crate::net::SocketHandle::receive_pooled), which takes a buffer when bytes come, so the trick is not needed. |
//! | `WSARecvFrom`, `WSASendTo` | [`receive_from`](crate::net::SocketHandle::receive_from), [`send_to`](crate::net::SocketHandle::send_to) | |
//! | `DisconnectEx` | [`disconnect`](crate::net::SocketHandle::disconnect) | Ends the sending side. Sockets are not used again. |
//! | `TransmitFile` | [`transmit_file`](crate::net::SocketHandle::transmit_file) | Head, part of a file, tail. |
//! | `ReadFile`, `WriteFile` | [`read_at`](crate::fs::FileHandle::read_at), [`write_at`](crate::fs::FileHandle::write_at) | The offset is an argument. |
//! | `CancelIoEx(handle, overlapped)` | [`cancel(operation)`](crate::net::SocketHandle::cancel) | From any thread; never another operation, however late. |
//! | `CancelIoEx(handle, NULL)` | [`cancel_all`](crate::net::SocketHandle::cancel_all) | Says how many. |
//! | `closesocket` | dropping the last clone of the handle | What is under way comes out as [`Aborted`](crate::ErrorKind::Aborted), which is not [`Cancelled`](crate::ErrorKind::Cancelled). |
//! | `GetLastError` | [`Error::kind`](crate::Error::kind), [`Error::code`](crate::Error::code) | The kind is the same on every system, the code is that of the system that runs. |
//!
//! # What is promised
//!
//! The promises are numbered statements, each with a test for each backend (`tests/conformance/`).
//! The [exceptions](crate#exceptions) say where a system keeps one from holding in full. Those that
//! a server is built on:
//!
//! * **One packet an operation.** If it started, exactly one comes, whatever happens to the socket,
//!   the thread that started it, or its buffers. If the start was refused, none does.
//! * **Order of operations.** Receives of a socket fill in the order of their starts and sends
//!   leave in it, whichever threads started them. A send goes out whole or fails;
//!   [`Error::transferred`](crate::Error::transferred) says how much went, except on Windows.
//! * **Order of packets.** Packets of one side of a handle leave the port in the order of the
//!   starts, and posted packets of one thread in the order of the posts. There is no order over the
//!   whole port. Two packets that have left may be handled side by side; the packets of one
//!   [receive stream](crate::net::SocketHandle::receive_stream) never are.
//! * **Release.** Threads that wait are released last in, first out.
//! * **The concurrency value.** No more threads run than it says, but for moments after one that
//!   was blocked comes back. A thread belongs to the port that it last waited on.
//! * **Blocking.** Windows counts a thread out the moment it blocks. Here it counts out at once if
//!   it [says so](crate::CompletionPort::blocking), else when it was found: see
//!   [`blocking`](super::blocking).
//! * **Memory.** Buffers are the operation's until its packet was taken, and nobody else's. After
//!   that nothing touches them.
//! * **Ends.** The peer's end is a success with 0 bytes; a reset is an error and never a clean end.
//!   An end comes behind all bytes.
//!
//! # A handler
//!
//! ```
//! use anyport::{CompletionPort, OperationKind, Packet, Worker, WorkerPool, net::SocketHandle};
//!
//! /// As one would have it behind an `OVERLAPPED`. It keeps the socket open.
//! #[derive(Clone)]
//! struct Connection(SocketHandle<Connection>);
//!
//! fn on_packet(packet: Packet<Connection>, _: &Worker<Connection>) {
//!     let socket = packet.context.0.clone();
//!     // Refused or not followed by anything, the context goes, and with the last one the socket.
//!     let _ = match (packet.kind, packet.result) {
//!         (OperationKind::ReceivePooled, Ok(1..)) => socket.send(packet.buffers, packet.context),
//!         (OperationKind::Send, Ok(_)) => socket.receive_pooled(packet.context),
//!         _ => return,
//!     };
//! }
//!
//! let port: CompletionPort<Connection> = CompletionPort::new(0)?;
//! let workers = WorkerPool::builder(&port).start(on_packet)?;
//! # workers.join();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
