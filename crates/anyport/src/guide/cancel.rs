//! Cancelling: what a dropped future leaves behind, operations, timeouts, tasks, and the end.
//!
//! # A dropped future loses no byte
//!
//! A future is dropped when a timeout is over, when another one of several was first, or when its
//! task is aborted. In the runtime that is safe at any await:
//!
//! | future | when it is dropped |
//! |---|---|
//! | [`recv`](crate::rt::net::TcpStream::recv), [`peek`](crate::rt::net::TcpStream::peek) | What arrives is the next one's. |
//! | [`read`](crate::rt::net::TcpStream::read) | The same: bytes that arrive into its buffer are given to the next receive. The buffer is lost. |
//! | [`send`](crate::rt::net::TcpStream::send) | Before it is ready nothing was handed over; afterwards everything was. |
//! | [`write`](crate::rt::net::TcpStream::write), [`send_file`](crate::rt::net::TcpStream::send_file) | The operation goes on with its buffers, to its end. [`bytes_sent`](crate::rt::net::TcpStream::bytes_sent) counts its bytes when it is over; a failure is told by the next call that sends. |
//! | [`flush`](crate::rt::net::TcpStream::flush) | Nothing. |
//! | [`shutdown`](crate::rt::net::TcpStream::shutdown) | It happens all the same. |
//! | [`accept`](crate::rt::net::TcpListener::accept) | A connection that comes is the next one's. |
//! | [`connect`](crate::rt::net::TcpStream::connect) | The connection that it had begun is closed. |
//! | [`recv_from`](crate::rt::net::UdpSocket::recv_from), [`recv_many`](crate::rt::net::UdpSocket::recv_many), [`peek_from`](crate::rt::net::UdpSocket::peek_from) | A datagram that comes is the next one's. |
//! | [`send_to`](crate::rt::net::UdpSocket::send_to), [`write_to`](crate::rt::net::UdpSocket::write_to) | Not before its first poll was anything handed over; from then on the datagram goes out whole, also if it has to wait for room. |
//! | [`File::read_at`](crate::rt::fs::File::read_at), [`write_at`](crate::rt::fs::File::write_at) | The operation goes on; its buffer is dropped when it is over. A write happens. |
//! | [`File::open`](crate::rt::fs::File::open), [`metadata`](crate::rt::fs::File::metadata) and other calls that block | The call goes on, on its thread; its result is dropped. |
//! | [`sleep`](crate::rt::time::sleep()), [`tick`](crate::rt::time::Interval::tick) | The timer is taken out; no tick is lost. |
//! | [`JoinHandle`](crate::rt::JoinHandle) | The task goes on by itself. |
//! | [`spawn_blocking`](crate::rt::spawn_blocking) | The call runs, or begins when its turn comes. |
//!
//! # Timeouts
//!
//! [`timeout`](crate::rt::time::timeout()) gives a future a limit. The future goes first: what is
//! ready counts, even if the time is over.
//!
//! ```
//! use anyport::rt::{Runtime, net::TcpStream, time};
//! use std::io::{Read, Write};
//! use std::time::Duration;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # let peer = std::thread::spawn(move || {
//! #     let mut stream = listener.accept()?.0;
//! #     stream.read_exact(&mut [0])?;
//! #     stream.write_all(b"late")
//! # });
//!
//! Runtime::new()?.block_on(async {
//!     let mut stream = TcpStream::connect(address).await?;
//!     // The peer says nothing before it is asked.
//!     let waited = time::timeout(Duration::from_millis(5), stream.recv()).await;
//!     assert!(waited.is_err());
//!     stream.send(b"?").await?;
//!     // What comes after the receive was dropped is there.
//!     let mut came = Vec::new();
//!     while came.len() < 4 {
//!         came.extend_from_slice(stream.recv().await?.as_slice());
//!     }
//!     assert_eq!(came, b"late");
//!     Ok::<(), anyport::Error>(())
//! })?;
//! # peer.join().expect("no panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A timeout around several awaits drops what was between two of them: bytes that were received and
//! not yet passed on, for example. Put it around one step, or poll the same future again after a
//! timeout, as the example `proxy` does.
//!
//! # Operations of handlers
//!
//! [`SocketHandle::cancel`](crate::net::SocketHandle::cancel) *asks*. The packet comes all the
//! same, once: as [`Cancelled`](crate::ErrorKind::Cancelled), or as a success that was faster. Only
//! then do the buffers come back. [`cancel_all`](crate::net::SocketHandle::cancel_all) does it for
//! all of a socket, whoever has started them. A name that is over, or was cancelled before, is
//! [`NotFound`](crate::ErrorKind::NotFound) and never another operation's.
//!
//! A receive that comes out as cancelled has taken no byte from the stream. Of a send a part may
//! have gone: [`Error::transferred`](crate::Error::transferred) tells how much, except on Windows.
//! A transfer from or to a file that has begun may run to its end; its packet then tells what it
//! did.
//!
//! When the last handle of a socket is dropped it closes, and each operation under way comes out as
//! [`Aborted`](crate::ErrorKind::Aborted).
//!
//! # Tasks
//!
//! [`JoinHandle::abort`](crate::rt::JoinHandle::abort) has a worker drop the task's future at its
//! next await; waiting for the task then gives an error of which
//! [`is_cancelled`](crate::rt::JoinError::is_cancelled) is true. A poll that does not return cannot
//! be ended, nor can a blocking call that has begun.
//!
//! # Streams that are dropped
//!
//! Dropping a [`TcpStream`](crate::rt::net::TcpStream) stops receiving and closes the connection
//! *when what was handed over has gone*. So an answer may be sent and the stream dropped. But a
//! peer that does not read keeps the socket, and what waits for it, until it reads, goes away, or
//! the runtime ends. [`flush`](crate::rt::net::TcpStream::flush) with a timeout says whether it
//! went. Where bytes have come that nobody received the system resets the connection when it
//! closes, and a reset may cost the peer what it has not received yet: read to the end first where
//! that matters, as the example `file_server` does.
//!
//! # The end
//!
//! [`Runtime::shut_down`](crate::rt::Runtime::shut_down) refuses new tasks, has all that live
//! dropped, waits until what they had handed over is sent, and then ends the workers; at the
//! timeout it aborts the rest. It reports what was left. Dropping the runtime does the same with
//! five seconds. [`CompletionPort::close`](crate::CompletionPort::close) aborts what is under way
//! and hands out what was posted before.
