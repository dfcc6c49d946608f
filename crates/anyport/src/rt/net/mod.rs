//! Sockets of tasks.
//!
//! What a socket has received stays with the socket, not with the future that waits for it, so a
//! dropped future loses nothing. What is sent belongs to the operation that sends it.

mod accepting;
mod backlog;
mod connection;
mod datagrams;
mod listener;
mod methods;
mod once;
mod reading;
mod resolve;
mod split;
mod tcp;
mod udp;
#[cfg(unix)]
mod unix;
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

pub(super) use once::complete;
pub(crate) use writing::{Sending, Written};
