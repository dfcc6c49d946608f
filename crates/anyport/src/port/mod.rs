//! The completion port: packets, keys, contexts, and the threads that take packets.
//!
//! A packet's way: an event becomes a completion below, a thread of the port takes it in
//! [`CompletionPort::get`], adds the context, and has the packet. The parts: [`port`] is the public
//! type; [`crew`] knows which threads belong to the port and which of them may run; [`clerk`] is
//! the engine's own thread; [`queue`] holds posted packets, [`idle`] the threads that sleep.

mod builder;
mod clerk;
mod contexts;
mod crew;
mod handle_ref;
pub(crate) mod idle;
mod lookout;
mod member;
#[cfg(anyport_fault_points)]
mod overtaking;
mod packet;
#[allow(clippy::module_inception, reason = "the public type of the layer has the layer's name")]
mod port;
pub(crate) mod queue;
mod seats;
mod sighting;
mod stats;
mod taking;
mod worker;

pub use builder::PortBuilder;
pub(crate) use handle_ref::HandleRef;
pub use handle_ref::{Associate, AssociateError, Rejected};
pub use packet::{GetError, Packet, PostError, PostErrorKind};
pub use port::CompletionPort;
pub(crate) use port::blocking;
pub use stats::Stats;
pub use worker::{Worker, WorkerPool, WorkerPoolBuilder};
