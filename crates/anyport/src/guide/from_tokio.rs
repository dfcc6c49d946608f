//! Coming from tokio: its items, Anyport's, and what differs.
//!
//! The runtime is [`anyport::rt`](crate::rt). Tasks look the same; reading and writing does not,
//! since operations own their buffers.
//!
//! | tokio | Anyport | what differs |
//! |---|---|---|
//! | `#[tokio::main]`, `#[tokio::test]` | `#[anyport::main]`, `#[anyport::test]` | Options are `workers`, `concurrency`, `backend`. |
//! | `Runtime::new`, `Builder` | [`Runtime::new`](crate::rt::Runtime::new), [`Builder`](crate::rt::Builder) | Two workers a core, of which as many run as there are cores. No runtime of one thread for futures that are not `Send`. |
//! | `Handle::current` | [`Handle::current`](crate::rt::Handle::current) | `None` outside of a runtime; it does not panic. |
//! | `Runtime::shutdown_timeout` | [`Runtime::shut_down`](crate::rt::Runtime::shut_down) | Waits for what was handed over to be sent, and reports what was left. Dropping the runtime waits five seconds at most, for blocking calls too. |
//! | `spawn`, `JoinHandle` | [`spawn`](crate::rt::spawn), [`JoinHandle`](crate::rt::JoinHandle) | Also detached when dropped, but the compiler asks you to say [`detach`](crate::rt::JoinHandle::detach). |
//! | `JoinError`, `AbortHandle` | [`JoinError`](crate::rt::JoinError), [`AbortHandle`](crate::rt::AbortHandle) | |
//! | `spawn_blocking` | [`spawn_blocking`](crate::rt::spawn_blocking) | Needed less often: see below. |
//! | `block_in_place` | [`rt::blocking`](fn@crate::rt::blocking) | On Linux just blocking will do, a few milliseconds later. |
//! | `Handle::block_on` | [`Handle::block_on`](crate::rt::Handle::block_on) | Allowed within a task. |
//! | `task::yield_now` | [`yield_now`](crate::rt::yield_now) | |
//! | `TcpListener`, `TcpStream` | [`TcpListener`](crate::rt::net::TcpListener), [`TcpStream`](crate::rt::net::TcpStream) | Methods that own their buffers: the next table. With the feature `futures-io` also the `AsyncRead` and `AsyncWrite` of `futures`, with `hyper` those of hyper; none of tokio's. |
//! | `into_split` | [`into_split`](crate::rt::net::TcpStream::into_split) | The writing half ends its side when it is dropped, there too. |
//! | `UdpSocket` | [`UdpSocket`](crate::rt::net::UdpSocket) | A datagram that does not fit is an error, and never cut short. [`recv_many`](crate::rt::net::UdpSocket::recv_many), [`send_many`](crate::rt::net::UdpSocket::send_many). |
//! | `UnixListener`, `UnixStream` | `rt::net::{UnixListener, UnixStream}`, on Unix | As those of TCP. No local datagrams. |
//! | `TcpSocket` | [`ListenOptions`](crate::net::ListenOptions), [`connect_with`](crate::rt::net::TcpStream::connect_with) | |
//! | `lookup_host`, `ToSocketAddrs` | [`lookup_host`](crate::rt::net::lookup_host), [`ToSocketAddrs`](crate::rt::net::ToSocketAddrs) | |
//! | `fs::File` | [`File`](crate::rt::fs::File) | No cursor: [`read_at`](crate::rt::fs::File::read_at), [`write_at`](crate::rt::fs::File::write_at), several at a time. |
//! | `fs::read_dir` and the like | `std::fs` in [`spawn_blocking`](crate::rt::spawn_blocking) | |
//! | `time::{sleep, timeout, interval}` | [`time`](crate::rt::time) | The same resolution, a millisecond. `Sleep` is `Unpin`. [`time::now`](crate::rt::time::now) is the clock, which is `std`'s. |
//! | `time::pause`, `advance` | [`Timers::manual`](crate::rt::time::Timers::manual), or the feature `sim` | |
//! | `signal::ctrl_c`, `signal::unix` | [`signal`](crate::rt::signal) | Watched from the call on, not from the first poll. |
//! | `sync`, `select!`, `join!` | none of its own | What needs no runtime works here: `tokio::sync`, the macros of `futures`. |
//! | `RuntimeMetrics` | [`Metrics`](crate::rt::Metrics) | |
//!
//! # Reading and writing
//!
//! | tokio | Anyport | |
//! |---|---|---|
//! | `read(&mut buf)` | [`recv()`](crate::rt::net::TcpStream::recv) | Gives the bytes in a buffer of the pool, which is taken when they come. The usual way. |
//! | | [`read(buffer)`](crate::rt::net::TcpStream::read) | Takes your buffer and gives it back. |
//! | `peek(&mut buf)` | [`peek(&mut buf)`](crate::rt::net::TcpStream::peek) | |
//! | `write_all(&buf)` | [`send(buffers)`](crate::rt::net::TcpStream::send) | Hands the bytes over; waits only while more than 256 KiB wait to be sent. |
//! | | [`write(buffers)`](crate::rt::net::TcpStream::write) | Waits until the system has taken all, and gives the buffers back. |
//! | `try_write(&buf)` | [`try_send(buffers)`](crate::rt::net::TcpStream::try_send) | Hands over all or gives all back. |
//! | `set_zero_linger`, then a drop | [`abort()`](crate::rt::net::TcpStream::abort) | |
//! | `write_vectored` | the same two, with several buffers | All of them, not a part. |
//! | `flush()`, which does nothing on a `TcpStream` | [`flush()`](crate::rt::net::TcpStream::flush) | Waits until what was handed over has gone to the system. A failure after `send` shows here, or at the next call. |
//! | `shutdown()` | [`shutdown()`](crate::rt::net::TcpStream::shutdown) | After what was handed over. |
//! | `io::copy` | a loop of `recv` and `send` | See the example `proxy`. |
//! | `sendfile` by hand | [`send_file`](crate::rt::net::TcpStream::send_file) | |
//!
//! An echo, then, is:
//!
//! ```
//! use anyport::rt::net::TcpStream;
//!
//! async fn echo(mut stream: TcpStream) -> Result<(), anyport::Error> {
//!     loop {
//!         let received = stream.recv().await?;
//!         if received.is_empty() {
//!             // The peer has ended its side.
//!             return stream.flush().await;
//!         }
//!         stream.send(received).await?;
//!     }
//! }
//! ```
//!
//! # What else is different
//!
//! * **Blocking.** There a task that blocks keeps its worker until it is over. Here another worker
//!   takes its place, on Linux without being told: see [`blocking`](super::blocking) for how many,
//!   and for other systems.
//! * **Fairness.** A poll has the same budget, 128 operations that are ready at once; then others
//!   have their turn.
//! * **Dropped futures.** `write_all` there leaves a part written. Here an operation that began
//!   goes out whole, and one that did not has sent nothing: see [`cancel`](super::cancel).
//! * **Dropped streams.** What was handed over goes out first, although the stream is gone. There
//!   is no task and no `await` for it.
//! * **Queues.** There is one queue of tasks, the port's, and no queue for each worker. What is
//!   woken by a packet is polled by the worker that took it.
//! * **Mixing.** Both runtimes may live in one process. Tokio's sockets and timers need tokio's
//!   runtime, those of this library this one. Channels join them.
