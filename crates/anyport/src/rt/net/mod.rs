//! Sockets of tasks.
//!
//! | | |
//! |---|---|
//! | [`TcpListener`], [`TcpStream`] | connections; with options: [`ListenOptions`](crate::net::ListenOptions), [`TcpStream::connect_with`] |
//! | [`UdpSocket`], [`Datagram`] | datagrams, for any number of tasks at once |
//! | `UnixListener`, `UnixStream` | connections within the machine, on Unix |
//! | [`OwnedReadHalf`], [`OwnedWriteHalf`] | a stream for two tasks |
//! | [`lookup_host`], [`ToSocketAddrs`] | from names to addresses |
//!
//! A socket of one runtime may be used by the tasks of another. When its runtime ends, whatever waits
//! for it fails as `Aborted`, and what is asked of it later as `Closed`.
//!
//! What a socket has received stays with the socket, not with the future that waits for it, so a
//! dropped future loses nothing. What is sent belongs to the operation that sends it.
//!
//! # The traits of others
//!
//! With the Cargo feature `futures-io` streams and their halves have `futures_io::{AsyncRead,
//! AsyncWrite}`, and with them what `futures_util`, `async-tungstenite` or `async-compression` do. With
//! the feature `hyper` they are what hyper 1 works on: see `rt::hyper`.
//!
//! A read then copies out of the pooled buffers in which the bytes came, and a write copies into one
//! that is handed over; where it can be had, the stream's own `recv` and `send` spare that. Methods of
//! one name are the stream's own: `AsyncReadExt::read(&mut stream, ..)` names the other.
//!
#![cfg_attr(feature = "futures-io", doc = "```")]
#![cfg_attr(not(feature = "futures-io"), doc = "```text")]
//! use anyport::rt::{self, Runtime, net::TcpListener, net::TcpStream};
//! use futures_util::io::{AsyncReadExt, AsyncWriteExt, copy};
//!
//! Runtime::new()?.block_on(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     let server = rt::spawn(async move {
//!         let (reader, mut writer) = listener.accept().await?.0.into_split();
//!         copy(reader, &mut writer).await
//!     });
//!     let mut client = TcpStream::connect(address).await?;
//!     client.write_all(b"hello").await?;
//!     client.close().await?;
//!     let mut answer = String::new();
//!     client.read_to_string(&mut answer).await?;
//!     assert_eq!(answer, "hello");
//!     assert_eq!(server.await.expect("it does not panic")?, 5);
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accepting;
mod backlog;
mod connection;
mod datagrams;
mod listener;
mod methods;
mod once;
mod pieces;
mod reading;
mod resolve;
mod split;
mod tcp;
mod udp;
#[cfg(unix)]
mod unix;
mod unsent;
mod wait;
mod waiters;
mod writing;

pub use datagrams::Datagram;
pub use listener::TcpListener;
pub use resolve::{ToSocketAddrs, lookup_host};
pub use split::{OwnedReadHalf, OwnedWriteHalf};
pub use tcp::TcpStream;
pub use udp::UdpSocket;
#[cfg(unix)]
pub use unix::{UnixListener, UnixStream};
pub use unsent::Unsent;

pub(super) use once::complete;
pub(crate) use writing::{Sending, Written};
