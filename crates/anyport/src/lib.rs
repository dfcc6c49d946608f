//! I/O completion ports on any OS: start an operation, let the kernel do it, and let any thread
//! of a small pool take any completed packet.

pub mod buf;
mod error;
pub mod fs;
pub mod net;
mod op;
mod port;
mod sys;

pub use error::{Error, ErrorKind};
pub use op::{Operation, OperationKind};
pub use port::{
    Associate, AssociateError, CompletionPort, GetError, Packet, PortBuilder, PostError,
    PostErrorKind, Rejected, Stats, Worker, WorkerPool, WorkerPoolBuilder,
};
pub use sys::{BackendChoice, BackendKind, available_backends};
