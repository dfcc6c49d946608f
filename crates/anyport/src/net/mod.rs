//! Sockets: made and set up here, then associated with a port, which gives the handle that
//! operations are started on.

mod handle;
mod listen;
#[cfg(unix)]
mod local;
pub(crate) mod options;
#[cfg(feature = "sim")]
mod simulated;
mod socket;

pub use handle::{SocketHandle, Transmission};
pub use listen::{ListenOptions, listen};
pub use options::Keepalive;
pub use socket::Socket;

#[cfg(test)]
mod at_once_tests;
