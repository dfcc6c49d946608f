//! Buffers that an overlapped operation takes and gives back, and the bounded pool they come from.
//!
//! An operation owns its [`Buffers`] from its start to its packet. What is guaranteed: moving a
//! [`Buffer`] never moves the memory it names, so the kernel may write there meanwhile; nobody
//! can read a byte that was never written; a [`BufferPool`] never holds more than its bound, and
//! says so with `None` instead of failing. Called by the engine, and by whoever starts operations.

mod block;
mod buffer;
mod buffers;
mod class;
mod custom;
mod options;
mod pool;
mod pooled;
mod quarantine;

pub use buffer::Buffer;
pub use buffers::{BUFFERS_MAX, Buffers};
pub use class::SizeClass;
pub use custom::{RawBuffer, StableBuffer};
pub use options::PoolOptions;
pub use pool::{BufferPool, PoolStats};
pub use pooled::PooledBuffer;
pub use quarantine::QuarantineError;
