//! Async on the port: tasks whose wake-ups are packets, streams, timers.
//!
//! A [`Runtime`] is a completion port and its workers. A task that is to be polled is a packet like
//! any other, so the reactor and the run queue are one thing: any worker goes on with any task, and a
//! worker that is stuck in a poll is stood in for.
//!
//! The layers beneath know nothing of this one.

#[cfg(any(feature = "futures-io", feature = "hyper"))]
mod adapt;
pub mod blocking;
mod budget;
mod builder;
mod context;
pub mod fs;
mod join_error;
mod metrics;
pub mod net;
#[cfg(all(test, not(loom)))]
mod park_on;
mod registry;
mod runtime;
mod shared;
pub mod signal;
mod task;
pub mod time;

#[cfg(feature = "hyper")]
pub use adapt::hyper;
pub use builder::Builder;
pub use join_error::JoinError;
pub use metrics::{Metrics, POLL_TIME_BOUNDS};
pub use runtime::{
    EnterGuard, Handle, Runtime, Shutdown, blocking, spawn, spawn_blocking, yield_now,
};
pub use task::{AbortHandle, JoinHandle};
