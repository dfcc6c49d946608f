//! What the runtime's packets carry: a task to poll, or who waits for an operation.

use super::net::{Sending, Written};
use crate::Packet;
use async_task::Runnable;
use std::sync::Arc;

/// The context of every operation and post of a runtime.
pub(crate) enum Context {
    /// A task that is to be polled.
    Task(Runnable),
    /// An operation, or a stream of them, of this object.
    Source(Arc<dyn Source>),
    /// A quiet send: it is counted as gone when this is dropped.
    Sending(Sending),
    /// A write that somebody waits for.
    Written(Written),
    /// Nothing.
    Nobody,
}

impl Clone for Context {
    /// For streams, which are started with a `Source` only.
    fn clone(&self) -> Self {
        match self {
            Context::Source(source) => Context::Source(Arc::clone(source)),
            _ => Context::Nobody,
        }
    }
}

/// Whose operations end on a worker.
pub(crate) trait Source: Send + Sync {
    /// Takes what the operation brought, and wakes who waits for it. Called on a worker, outside of
    /// any poll; what it wakes is polled by the same worker next.
    fn on_packet(&self, packet: Ended);
}

/// A packet without the context that led to its source.
pub(crate) type Ended = Packet<()>;
