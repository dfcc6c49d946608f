//! What the tests of the runtime share: a runtime on each backend, and bytes that are checked.

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

pub(crate) use backends::{everywhere, on_every_backend};
pub(crate) use loopback::{any_local, connect};
pub(crate) use net::{
    TcpListener as PeerListener, TcpStream as PeerStream, UdpSocket as PeerDatagrams,
};
pub(crate) use waiting::{DEADLINE, wait_until};

use anyport::BackendKind;
use anyport::rt::Runtime;
use anyport::rt::net::TcpStream;
use std::future::poll_fn;
use std::io::Read;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::Poll;
use std::thread;

/// Runs a test on a backend, for so long at most; says so when the machine does not offer it.
pub(crate) fn run(kind: BackendKind, test: fn(BackendKind)) {
    if !backends::is_offered(kind) {
        return;
    }
    let (sender, ended) = channel();
    let thread = thread::spawn(move || {
        test(kind);
        let _ = sender.send(());
    });
    match ended.recv_timeout(4 * DEADLINE) {
        Err(RecvTimeoutError::Timeout) => panic!("it does not come to its end"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(payload) = thread.join() {
                std::panic::resume_unwind(payload);
            }
        }
    }
}

/// Runs a test in a simulated world.
#[cfg(feature = "sim")]
pub(crate) fn run_simulated(name: &str, test: fn(BackendKind)) {
    simulated::run_simulated(NOT_SIMULATED, name, test);
}

/// Tests that say nothing of a simulated world, and why.
#[cfg(feature = "sim")]
const NOT_SIMULATED: &[(&str, &str)] =
    &[("a_host_is_connected_to_by_its_name", "a simulated world has no names of hosts")];

/// Four workers, of which two run.
pub(crate) fn runtime(kind: BackendKind) -> Runtime {
    let builder = Runtime::builder().backend(kind).workers(4).concurrency(2);
    builder.build().expect("a runtime")
}

/// One worker.
pub(crate) fn single(kind: BackendKind) -> Runtime {
    let builder = Runtime::builder().backend(kind).workers(1).concurrency(1);
    builder.build().expect("a runtime")
}

/// A stream of the current runtime, and its peer.
pub(crate) fn pair() -> (TcpStream, net::TcpStream) {
    let (near, far) = loopback::streams();
    (TcpStream::from_socket(near).expect("a stream"), far)
}

/// A peer that reads until the other side has ended.
pub(crate) fn reads_all(mut peer: net::TcpStream) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("an orderly end");
        all
    })
}

/// After so many bytes a checked stream repeats itself: a prime, so that no buffer's size divides it.
const PERIOD: usize = 65_521;

static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..PERIOD).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect());

/// The bytes of a checked stream from this position on.
pub(crate) fn bytes(from: usize, len: usize) -> Vec<u8> {
    PATTERN.iter().copied().cycle().skip(from % PERIOD).take(len).collect()
}

/// A checked stream as its receiver sees it.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) position: usize,
}

impl Checked {
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = &PATTERN[self.position % PERIOD..];
            let (now, later) = bytes.split_at(bytes.len().min(expected.len()));
            assert!(now == &expected[..now.len()], "from byte {}", self.position);
            self.position += now.len();
            bytes = later;
        }
    }
}

/// Small numbers that look random and are the same in each run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// Polls `future` so many times, each in a turn of its own, and then drops it; gives its result when it
/// was ready before.
pub(crate) async fn give_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        if let Poll::Ready(output) = Pin::as_mut(&mut future).poll(cx) {
            return Poll::Ready(Some(output));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// True in a simulated world, for what only a system has. Says so.
pub(crate) fn is_of_no_system(kind: BackendKind) -> bool {
    let is_simulated = kind.name() == "simulated";
    if is_simulated {
        println!("not run: it is about the system's own sockets");
    }
    is_simulated
}
