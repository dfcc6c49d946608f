//! What the tests of memory and of robustness share: each test on every backend, connected
//! sockets, and waits that end in a failure and not in a hang.

#[path = "../world/backends.rs"]
mod backends;
#[path = "../world/loopback.rs"]
mod loopback;
#[path = "../world/net.rs"]
mod net;
#[cfg(feature = "sim")]
#[path = "../world/simulated.rs"]
mod simulated;
#[path = "../world/waiting.rs"]
mod waiting;

#[allow(unused_imports, reason = "some suites have the system's backends only")]
pub(crate) use backends::everywhere;
pub(crate) use backends::{builder, on_every_backend};
pub(crate) use loopback::{any_local, connect};
#[allow(unused_imports, reason = "not every suite needs all")]
pub(crate) use net::{Here, TcpStream, UdpSocket};
pub(crate) use waiting::{DEADLINE, wait_until};

use anyport::BackendKind;
use anyport::net::Socket;

/// Runs a test on a backend; says so when the machine does not offer it.
pub(crate) fn run(kind: BackendKind, test: fn(BackendKind)) {
    if backends::is_offered(kind) {
        test(kind);
    }
}

/// Runs a test in a simulated world.
#[cfg(feature = "sim")]
#[allow(dead_code, reason = "as above")]
pub(crate) fn run_simulated(name: &str, test: fn(BackendKind)) {
    simulated::run_simulated(NOT_SIMULATED, name, test);
}

/// Tests that say nothing of a simulated world, and why.
#[cfg(feature = "sim")]
#[allow(dead_code, reason = "as above")]
const NOT_SIMULATED: &[(&str, &str)] = &[];

/// A connection over loopback: the end for the port, and the peer's.
pub(crate) fn pair() -> (Socket, TcpStream) {
    let (ours, theirs) = loopback::streams();
    (ours.into(), theirs)
}
