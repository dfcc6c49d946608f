//! Completion or readiness: what they are, and why a packet.
//!
//! # Two ways to wait
//!
//! A program that serves many connections has to learn from the system when it can go on with one.
//!
//! With **readiness** (epoll, kqueue) the system says that a socket *can* be read. The program
//! calls `recv`, may find nothing after all, and asks again. Memory for the bytes is needed only at
//! the call, and the program does the work itself, on the thread that was told.
//!
//! With **completion** (Windows' completion ports, io_uring) the program says in advance what it
//! wants: "receive into this buffer". The system does it and says when it is *done*. There is
//! nothing left to try. But the buffer belongs to the operation until then, and an operation that
//! is not wanted any more has to be cancelled; it cannot just be forgotten.
//!
//! Anyport offers completion on every system. On Windows and on io_uring the kernel completes; on
//! the readiness backend the library makes the calls when a socket is ready. A program sees no
//! difference but in speed: [`CompletionPort::backend`](crate::CompletionPort::backend) says which
//! it is.
//!
//! # A packet
//!
//! Every operation that was started ends in one [`Packet`](crate::Packet): the key of the handle,
//! what was done, its result, the context that the operation was started with, and the buffers.
//! Whoever takes the packet has all that is needed to go on:
//!
//! ```
//! use anyport::net::Socket;
//! use anyport::{CompletionPort, OperationKind};
//! use std::io::Write;
//! use std::net::{TcpListener, TcpStream};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut peer = TcpStream::connect(listener.local_addr()?)?;
//!
//! let port: CompletionPort<&str> = CompletionPort::new(0)?;
//! let socket = port.associate(Socket::from(listener.accept()?.0), 7)?;
//! // Nothing has come yet, and nobody waits: this returns at once.
//! socket.receive(Vec::<u8>::with_capacity(100), "my context")?;
//!
//! peer.write_all(b"hello")?;
//! let packet = port.get(None)?;
//! assert_eq!((packet.key, packet.kind), (7, OperationKind::Receive));
//! assert_eq!((packet.result, packet.context), (Ok(5), "my context"));
//! assert_eq!(packet.buffers.as_slice()[0].as_slice(), b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What follows from that:
//!
//! * **Any thread can take any packet.** No connection belongs to a thread. A thread that is busy
//!   or stuck holds up the packet that it has, and no other: see [`blocking`](super::blocking).
//! * **The port can hold threads back.** Since all of them come to the port for work, it lets no
//!   more run than the concurrency value, however many wait.
//! * **A failure is a packet, too.** `result` tells of it; the context and the buffers come back
//!   all the same. A start that is refused yields no packet and gives everything back at once, in
//!   [`Rejected`](crate::Rejected).
//! * **Work of your own goes the same way.** [`post`](crate::CompletionPort::post) queues a packet
//!   that no operation made. A task of the [runtime](crate::rt) that is to be polled is such a
//!   packet: so the reactor and the run queue are one.
//!
//! The exceptions are two. A [stream](crate::net::SocketHandle::receive_stream) yields a packet for
//! each piece, the last with [`more`](crate::Packet::more) false. A [quiet
//! send](crate::net::SocketHandle::send_quiet) yields one only if it fails.
//!
//! # Order
//!
//! Operations on one side of a socket, receiving or sending, run in the order of their starts, and
//! a send goes out whole or fails. So several sends may be started without waiting for the one
//! before. Two receives that are started together fill in order, but their packets may be handled
//! by two threads at once; the packets of one *stream* never are. Operations on a file run in any
//! order.
//!
//! # Futures
//!
//! A task waits with `await` for what a handler would take a packet for:
//!
//! ```
//! use anyport::rt::{Runtime, net::TcpStream};
//! # use std::io::Write;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # let peer = std::thread::spawn(move || listener.accept()?.0.write_all(b"hello"));
//!
//! let runtime = Runtime::new()?;
//! runtime.block_on(async {
//!     let mut stream = TcpStream::connect(address).await?;
//!     assert_eq!(stream.recv().await?.as_slice(), b"hello");
//!     Ok::<(), anyport::Error>(())
//! })?;
//! # peer.join().expect("no panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A future may be dropped at any time, an operation may not. So the runtime's futures own no
//! operation: what arrives belongs to the stream, and what is sent belongs to the operation that
//! sends it. The page on [cancelling](super::cancel) says what each of them leaves behind.
