//! What the halves of a stream and its operations share.
//!
//! It lives as long as a half or an operation of it does, and with it the socket: so what was given
//! to a stream before it was dropped still goes out.

use super::reading::Reading;
use super::writing::Writing;
use crate::error::Error;
use crate::latch::Latch;
use crate::net::{Socket, SocketHandle};
use crate::op::OperationKind;
use crate::rt::context::{Context, Ended, Source};
use crate::rt::shared::Shared;
use std::sync::Arc;

/// With a thousand connections each message finds most of this no longer in the cache, so each side has
/// first what all messages pass, and the reading side's lies beside the socket.
#[repr(C)]
pub(in crate::rt) struct Connection {
    pub(super) socket: SocketHandle<Context>,
    pub(super) reading: Latch<Reading>,
    pub(super) writing: Writing,
}

impl Connection {
    pub(super) fn new(shared: &Shared, socket: Socket) -> Result<Arc<Self>, Error> {
        let socket = shared.port().associate(socket, 0).map_err(|refused| refused.error)?;
        Ok(Connection::of(socket))
    }

    pub(super) fn of(socket: SocketHandle<Context>) -> Arc<Self> {
        Arc::new(Connection {
            socket,
            reading: Latch::new(Reading::default()),
            writing: Writing::default(),
        })
    }
}

impl Source for Connection {
    fn on_packet(&self, packet: Ended) {
        match packet.kind {
            OperationKind::ReceiveStream => self.on_received(packet),
            #[cfg(any(feature = "futures-io", feature = "hyper"))]
            OperationKind::Disconnect => self.on_closed(packet),
            _ => self.on_direct(packet),
        }
    }
}
