//! What the other end of a connection does: it resets, reads slowly, does not accept; and bytes
//! whose place in the stream can be told.

use crate::system::{GONE, READABLE, WRITABLE, poll};
use crate::world::{DEADLINE, TcpStream, any_local, wait_until};
use anyport::net::Socket;
use anyport::{CompletionPort, GetError};
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

/// More than all buffers between two sockets hold.
pub const LARGE: usize = 16 << 20;

/// How long a statement looks whether something comes that must not. What waits for an event does
/// not use it.
const A_WHILE: Duration = Duration::from_millis(50);

/// Nothing must come as things are.
pub fn assert_nothing_comes<T: Send + 'static>(what: &str, port: &CompletionPort<T>) {
    assert_nothing_comes_for(what, port, A_WHILE);
}

/// As `assert_nothing_comes`, looking for this long.
pub fn assert_nothing_comes_for<T: Send + 'static>(
    what: &str,
    port: &CompletionPort<T>,
    time: Duration,
) {
    match port.get(Some(time)) {
        Err(error) => assert_eq!(error, GetError::TimedOut, "{what}"),
        Ok(p) => panic!("{what}: too early comes {:?}, {:?}", p.kind, p.result),
    }
}

/// The byte at this place of a stream of bytes; another seed is another stream.
pub fn pattern_at(seed: u8, place: usize) -> u8 {
    let mixed = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as u8 ^ seed
}

/// The first `length` bytes of a stream of bytes.
pub fn pattern(seed: u8, length: usize) -> Vec<u8> {
    pattern_from(seed, 0, length)
}

/// The `length` bytes that a stream of bytes has from this place.
pub fn pattern_from(seed: u8, place: usize, length: usize) -> Vec<u8> {
    (place..place + length).map(|place| pattern_at(seed, place)).collect()
}

/// Asserts that `bytes` are what the stream has from this place.
pub fn assert_pattern(seed: u8, place: usize, bytes: &[u8]) {
    let wrong = bytes.iter().enumerate().find(|(i, byte)| **byte != pattern_at(seed, place + i));
    if let Some((i, byte)) = wrong {
        let expected = pattern_at(seed, place + i);
        panic!("byte {} is {byte:#04x} and should be {expected:#04x}", place + i);
    }
}

/// Reads to the end in small pieces and checks every byte; gives their number.
pub fn read_pattern_slowly(stream: &mut TcpStream, seed: u8) -> usize {
    let mut piece = [0; 3001];
    let mut place = 0;
    loop {
        match stream.read(&mut piece).expect("bytes, or a clean end") {
            0 => return place,
            n => {
                assert_pattern(seed, place, &piece[..n]);
                place += n;
            }
        }
    }
}

/// Closes the stream so that its other end sees a reset.
pub fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("linger is set");
    drop(socket);
}

/// What of `events`, or an end, is reported of the stream within the time.
fn poll_stream(stream: &TcpStream, events: i16, timeout: Duration) -> i16 {
    #[cfg(feature = "sim")]
    let stream = match stream {
        TcpStream::System(stream) => stream,
        TcpStream::Simulated(stream) => {
            let report = || {
                let report = |is_so, event| if is_so { event } else { 0 };
                let wanted =
                    report(stream.is_readable(), READABLE) | report(stream.is_writable(), WRITABLE);
                wanted & events | report(stream.is_over(), GONE)
            };
            if !timeout.is_zero() {
                wait_until("what is polled for", || report() != 0);
            }
            return report();
        }
    };
    poll(stream, events, timeout)
}

/// Waits until the connection is gone for this end, a reset included; takes no error.
pub fn wait_for_hang_up(stream: &TcpStream) {
    assert_ne!(poll_stream(stream, 0, DEADLINE) & GONE, 0, "the connection goes");
}

/// Waits until there is something to read.
pub fn wait_for_bytes(stream: &TcpStream) {
    assert_ne!(poll_stream(stream, READABLE, DEADLINE) & READABLE, 0, "bytes come");
}

/// Waits until the system takes no more bytes to send; the port has nothing to tell meanwhile.
pub fn wait_for_full<T: Send + 'static>(port: &CompletionPort<T>, stream: &TcpStream) {
    wait_until("full buffers", || {
        assert_nothing_comes_for("filling the buffers", port, Duration::ZERO);
        poll_stream(stream, WRITABLE, Duration::ZERO) == 0
    });
}

/// A listener at which every connect hangs, and what keeps it so.
pub struct FullListener {
    pub address: SocketAddr,
    _listener: Socket,
    _waiting: Vec<TcpStream>,
}

/// See `FullListener`.
pub fn full_listener() -> FullListener {
    let listener = Socket::tcp_v4().expect("a socket");
    listener.bind(any_local()).expect("bound");
    listener.listen(0).expect("listening");
    let address = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    // The system takes a few connections whatever the backlog; then it leaves them unanswered.
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
        assert!(waiting.len() < 1000, "the listener never fills");
    }
    FullListener { address, _listener: listener, _waiting: waiting }
}
