//! Overlapped operations: what the kernel owns while one is under way, in which order operations
//! on a handle run, and when one is over.
//!
//! An operation is one slot of the [`table`]: it takes its buffers at the start and gives them back
//! in its one [`Completion`] (a stream: in its last). The layer below sees only requests, one
//! attempt each; that a send goes out whole, that receives fill in order, that a cancelled
//! operation ends exactly once is decided here, the same for every backend. The layer above adds
//! contexts and threads.

mod at_once;
mod attempt;
mod body;
mod completing;
mod core;
mod datagram;
mod ending;
mod handle;
mod name;
mod quiet;
mod receive_class;
mod rescue;
mod start;
mod starving;
mod stream;
mod table;
mod transmission;

#[cfg(test)]
pub(crate) use at_once::fault;
pub(crate) use body::Completion;
pub(crate) use core::{Core, CoreOptions};
pub(crate) use datagram::DatagramIn;
pub(crate) use handle::HandleCore;
pub use name::{Operation, OperationKind};
pub(crate) use quiet::QuietEnds;
pub(crate) use rescue::Extent;
pub(crate) use start::Spec;
pub(crate) use table::Chunks;
pub(crate) use transmission::TransmissionSpec;
