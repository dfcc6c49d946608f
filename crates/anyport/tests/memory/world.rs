//! What the tests of memory and of robustness share: each test on every backend, connected
//! sockets, and waits that end in a failure and not in a hang.

#[path = "../world/backends.rs"]
mod backends;
#[path = "../world/loopback.rs"]
mod loopback;
#[path = "../world/system_net.rs"]
mod net;
#[path = "../world/waiting.rs"]
mod waiting;

pub(crate) use backends::{builder, on_every_backend};
pub(crate) use loopback::{any_local, connect};
pub(crate) use waiting::{DEADLINE, wait_until};

use anyport::BackendKind;
use anyport::net::Socket;
use std::net::TcpStream;

/// Runs a test on a backend; says so when the machine does not offer it.
pub(crate) fn run(kind: BackendKind, test: fn(BackendKind)) {
    if backends::is_offered(kind) {
        test(kind);
    }
}

/// A connection over loopback: the end for the port, and the peer's.
pub(crate) fn pair() -> (Socket, TcpStream) {
    let (ours, theirs) = loopback::streams();
    (ours.into(), theirs)
}
