//! The parts of the async runtime that stand by themselves: calls that block, signals, names of
//! hosts, and why a task gave no result.

pub mod blocking;
mod join_error;
pub mod net;
#[cfg(all(test, not(loom)))]
mod park_on;
pub mod signal;

pub use join_error::JoinError;
