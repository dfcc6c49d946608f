//! What the Unix backends share: descriptors, scatter/gather messages, the calls
//! that move bytes, error codes, thread clocks.

pub(super) mod clock;
pub(super) mod code;
pub(super) mod datagram;
pub(super) mod descriptor;
pub(super) mod local;
pub(super) mod message;
pub(super) mod signal;
pub(super) mod transfer;

/// Receives that do not wait: any backend's sockets will do.
pub(super) use super::readiness as receive;
