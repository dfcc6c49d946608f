//! What these tests share with others: each test on every backend, connected sockets, and waits that
//! end in a failure and not in a hang.

#[path = "../world/backends.rs"]
mod backends;
#[path = "../world/loopback.rs"]
mod loopback;
#[path = "../world/system_net.rs"]
mod net;
#[path = "../world/waiting.rs"]
mod waiting;

pub(crate) use backends::{builder, on_every_backend};
pub(crate) use loopback::any_local;
pub(crate) use net::{TcpStream, UdpSocket};
pub(crate) use waiting::{DEADLINE, wait_until};

use anyport::net::Socket;
use anyport::{BackendKind, CompletionPort, WorkerPool};

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

/// Ends a port whose handles are closed, and its threads: no handler has panicked, nothing is under
/// way, and every pooled buffer comes back.
pub(crate) fn end_with_nothing_left<T: Send + 'static>(port: CompletionPort<T>, pool: WorkerPool) {
    wait_until("nothing is under way", || port.stats().operations_live == 0);
    assert_eq!(pool.panics(), 0, "a handler panicked");
    pool.join();
    let buffers = port.pool().clone();
    drop(port);
    wait_until("every pooled buffer came back", || buffers.live() == 0);
}
