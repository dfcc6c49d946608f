//! Every way to receive, for statements that hold for all of them, and what becomes of a start.

use crate::world::{bytes_of, get};
use anyport::buf::{Buffer, Buffers};
use anyport::net::SocketHandle;
use anyport::{CompletionPort, Error, ErrorKind, Operation, Packet, Rejected};

pub type Started = Result<Operation, Rejected<usize>>;

/// Starts an operation with this context.
pub type Start = fn(&SocketHandle<usize>, usize) -> Started;

/// A way to receive: what it is called, and its start.
#[derive(Clone, Copy)]
pub struct Receive {
    pub name: &'static str,
    /// Its packets carry the bytes; otherwise they only tell that there are some.
    pub takes_bytes: bool,
    pub is_stream: bool,
    pub start: Start,
}

impl Receive {
    /// The packet tells of exactly these bytes: it carries them, or only tells that there are some.
    pub fn assert_brings(&self, packet: &Packet<usize>, bytes: &[u8]) {
        let carried = if self.takes_bytes { bytes } else { b"" };
        assert_eq!(packet.result, Ok(carried.len()), "{}", self.name);
        assert_eq!(bytes_of(packet), carried, "{}", self.name);
    }
}

pub const RECEIVES: [Receive; 6] = [
    Receive {
        name: "receive",
        takes_bytes: true,
        is_stream: false,
        start: |handle, context| handle.receive(room(1000), context),
    },
    Receive {
        name: "receive into several buffers",
        takes_bytes: true,
        is_stream: false,
        start: |handle, context| {
            let buffers = [3, 0, 500, 400].map(|bytes| Buffer::from(room(bytes)));
            handle.receive(buffers, context)
        },
    },
    Receive {
        name: "receive_pooled",
        takes_bytes: true,
        is_stream: false,
        start: |handle, context| handle.receive_pooled(context),
    },
    Receive {
        name: "receive_stream",
        takes_bytes: true,
        is_stream: true,
        start: |handle, context| handle.receive_stream(context),
    },
    Receive {
        name: "receive_ready",
        takes_bytes: false,
        is_stream: false,
        start: |handle, context| handle.receive_ready(context),
    },
    Receive {
        name: "receive into no room",
        takes_bytes: false,
        is_stream: false,
        start: |handle, context| handle.receive(room(0), context),
    },
];

/// A buffer without bytes and with room for so many.
pub fn room(bytes: usize) -> Vec<u8> {
    Vec::with_capacity(bytes)
}

/// The start is refused as this, and gives back the context and the buffers, which are returned.
pub fn assert_refused(started: Started, kind: ErrorKind, context: usize) -> Buffers {
    let rejected = started.expect_err("refused");
    assert_eq!((rejected.error.kind(), rejected.context), (kind, context));
    rejected.buffers
}

/// The failure of an operation, which comes from the start or as its one packet.
pub fn failure_of(port: &CompletionPort<usize>, what: &str, started: Started) -> Error {
    match started {
        Err(rejected) => rejected.error,
        Ok(operation) => {
            let packet = get(port);
            assert_eq!(packet.operation, Some(operation), "{what}: another's packet");
            assert!(!packet.more, "{what}: a failure is the last packet");
            error_of(what, &packet)
        }
    }
}

/// The failure that a packet tells of.
pub fn error_of<T>(what: &str, packet: &Packet<T>) -> Error {
    match packet.result {
        Err(error) => error,
        Ok(bytes) => panic!("{what}: a success with {bytes} bytes"),
    }
}
