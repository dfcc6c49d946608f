//! What the tests share: each backend, bounds on waits, and bytes that are checked.

#[path = "../world/backends.rs"]
mod backends;
#[path = "../world/waiting.rs"]
mod waiting;

pub(crate) use backends::on_every_backend;
pub(crate) use waiting::{DEADLINE, wait_until};

use anyport::BackendKind;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};

/// Runs a test on a backend; says so when the machine does not offer it.
pub(crate) fn run(kind: BackendKind, test: fn(BackendKind)) {
    if backends::is_offered(kind) {
        test(kind);
    }
}

/// A connection of which no call waits for longer than the deadline.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    bounded(TcpStream::connect(address).expect("it listens"))
}

pub(crate) fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
    stream.set_write_timeout(Some(DEADLINE)).expect("not zero");
    stream
}

/// So many bytes, other ones for each seed; no buffer's size is a period of theirs.
pub(crate) fn bytes(seed: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| ((i ^ seed).wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
}

/// Sends all of `bytes` on a thread of its own, and ends this side behind them.
pub(crate) fn sends(stream: &TcpStream, bytes: Vec<u8>) -> JoinHandle<()> {
    let mut stream = stream.try_clone().expect("a descriptor is left");
    thread::spawn(move || {
        stream.write_all(&bytes).expect("the peer takes it");
        stream.shutdown(Shutdown::Write).expect("connected");
    })
}

/// What comes up to the end of the stream.
pub(crate) fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an orderly end in time");
    rest
}

/// As `assert_eq!`, without a megabyte on the screen.
#[track_caller]
pub(crate) fn assert_same(came: &[u8], expected: &[u8]) {
    let differs = came.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "the first byte that differs");
    assert_eq!(came.len(), expected.len(), "bytes that came");
}
