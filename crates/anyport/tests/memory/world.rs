//! What the tests of memory and of robustness share: each test on every backend, connected
//! sockets, and waits that end in a failure and not in a hang.
//!
//! Nothing here waits for time to pass: every wait is for an event, and the deadline only bounds
//! how long a fault is waited for.

use anyport::net::Socket;
use anyport::{BackendKind, CompletionPort, PortBuilder, available_backends};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How long a test waits for what must happen before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Makes a test for each backend of each function in the list.
macro_rules! on_every_backend {
    ($($part:ident::$test:ident),+ $(,)?) => {
        mod io_uring {
            $(#[test]
            fn $test() {
                crate::world::run(anyport::BackendKind::IoUring, crate::$part::$test);
            })+
        }
        mod readiness {
            $(#[test]
            fn $test() {
                crate::world::run(anyport::BackendKind::Readiness, crate::$part::$test);
            })+
        }
        mod windows {
            $(#[test]
            fn $test() {
                crate::world::run(anyport::BackendKind::Windows, crate::$part::$test);
            })+
        }
    };
}
pub(crate) use on_every_backend;

/// Runs a test, or says why this machine cannot: which is a failure when `ANYPORT_REQUIRE` names
/// the backend.
pub(crate) fn run(kind: BackendKind, test: fn(BackendKind)) {
    let result = available_backends().into_iter().find(|(k, _)| *k == kind).map(|(_, r)| r);
    let Some(Err(reason)) = result else {
        return test(kind);
    };
    let required = std::env::var("ANYPORT_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == kind.name()),
        "{kind} is required here and not to be had: {reason}"
    );
    println!("not run: {reason}");
}

/// A port's builder with this backend.
pub(crate) fn port_on(kind: BackendKind) -> PortBuilder {
    CompletionPort::<()>::builder().backend(kind)
}

/// A connection over loopback: the end for the port, and the peer's; without delay for small
/// segments.
pub(crate) fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let ours = TcpStream::connect(address).expect("it listens");
    let (theirs, _) = listener.accept().expect("one has connected");
    for end in [&ours, &theirs] {
        end.set_nodelay(true).expect("it is a TCP socket");
        // A byte that was lost fails the test instead of hanging it.
        end.set_read_timeout(Some(DEADLINE)).expect("not zero");
        end.set_write_timeout(Some(DEADLINE)).expect("not zero");
    }
    (ours.into(), theirs)
}

/// Waits until a condition holds; fails when it does not in time.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited for: {what}");
        // Between two looks; the number of looks has no part in the result.
        std::thread::sleep(Duration::from_micros(200));
    }
}
