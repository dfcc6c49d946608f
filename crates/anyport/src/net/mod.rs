//! Sockets: made and set up here, then associated with a port, which gives the handle that
//! operations are started on.

mod handle;
#[cfg(unix)]
mod local;
pub(crate) mod options;
#[cfg(feature = "sim")]
mod simulated;
mod socket;

pub use handle::{SocketHandle, Transmission};
pub use options::Keepalive;
pub use socket::{Socket, listen};

#[cfg(test)]
mod at_once_tests;
