//! The size class of a connection's pooled receives follows its traffic, and no byte is lost or
//! moved while it changes.

use crate::next;
use crate::world::TcpStream;
use crate::world::{builder, pair};
use anyport::buf::SizeClass;
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort};
use std::io::Write;
use std::net::Shutdown;
use std::thread;

/// Bytes of which no two near each other are alike by accident.
fn pattern(at: usize) -> u8 {
    (at.wrapping_mul(0x9E37_79B1) >> 16) as u8
}

/// A connection with a stream under way, and what has come of it.
struct Connection {
    port: CompletionPort<()>,
    handle: SocketHandle<()>,
    peer: TcpStream,
    received: usize,
    largest: usize,
}

impl Connection {
    fn new(kind: BackendKind, begin: SizeClass) -> Self {
        Self::on(builder(kind).receive_class(begin).build().expect("the backend is there"))
    }

    fn on(port: CompletionPort<()>) -> Self {
        let (ours, peer) = pair();
        peer.set_nodelay(true).expect("it is connected");
        let handle = port.associate(ours, 1).expect("a new socket");
        handle.receive_stream(()).expect("it is connected");
        Connection { port, handle, peer, received: 0, largest: 0 }
    }

    fn send(&mut self, bytes: usize) {
        let message: Vec<u8> = (self.received..self.received + bytes).map(pattern).collect();
        self.peer.write_all(&message).expect("it is connected");
    }

    /// Takes a packet and checks its bytes; false at the end.
    fn take(&mut self) -> bool {
        let packet = next(&self.port);
        let bytes = packet.result.expect("bytes, or an orderly end");
        if bytes == 0 {
            return false;
        }
        let buffer = packet.buffers.into_one().expect("the engine chose one");
        let buffer = buffer.into_pooled().expect("the engine chose a pooled one");
        for (at, &byte) in buffer.iter().enumerate() {
            assert_eq!(byte, pattern(self.received + at), "byte {}", self.received + at);
        }
        self.received += bytes;
        self.largest = self.largest.max(bytes);
        true
    }

    /// Sends a message and takes all of it.
    fn exchange(&mut self, bytes: usize) {
        let end = self.received + bytes;
        self.send(bytes);
        while self.received < end {
            assert!(self.take(), "ended early");
        }
    }
}

pub(crate) fn bulk_traffic_is_received_into_larger_and_larger_buffers(kind: BackendKind) {
    const BYTES: usize = 8 << 20;
    let mut connection = Connection::new(kind, SizeClass::Small4K);
    let mut peer = connection.peer.try_clone().expect("a duplicate");
    let sender = thread::spawn(move || {
        let bytes: Vec<u8> = (0..BYTES).map(pattern).collect();
        peer.write_all(&bytes).expect("the other side receives");
        peer.shutdown(Shutdown::Write).expect("it is connected");
    });
    while connection.take() {}
    sender.join().expect("no panic");
    assert_eq!(connection.received, BYTES);
    assert_eq!(connection.handle.receive_class(), SizeClass::Large64K);
    assert!(connection.largest > SizeClass::Medium16K.bytes(), "{}", connection.largest);
}

pub(crate) fn small_messages_are_received_into_small_buffers_after_a_while(kind: BackendKind) {
    let mut connection = Connection::new(kind, SizeClass::Large64K);
    for _ in 0..600 {
        connection.exchange(100);
    }
    assert_eq!(connection.handle.receive_class(), SizeClass::Small4K);
    // The buffers in use are small ones, not only the class by name.
    connection.largest = 0;
    connection.exchange(SizeClass::Small4K.bytes() + 1);
    assert!(connection.largest <= SizeClass::Small4K.bytes(), "{}", connection.largest);
}

pub(crate) fn a_connection_whose_messages_change_size_again_and_again_loses_no_byte(
    kind: BackendKind,
) {
    let mut connection = Connection::new(kind, SizeClass::Medium16K);
    for round in 0..4 {
        for i in 0..20 {
            connection.exchange(50_000 + 1_000 * i);
        }
        assert_eq!(connection.handle.receive_class(), SizeClass::Large64K, "round {round}");
        for _ in 0..300 {
            connection.exchange(1);
        }
        assert_eq!(connection.handle.receive_class(), SizeClass::Medium16K, "round {round}");
    }
    // All together, so that much waits while the class changes.
    let (before, sizes) = (connection.received, [1, 70_000, 3, 200_000, 4096, 16_384, 65_536]);
    let total: usize = sizes.iter().sum();
    let bytes: Vec<u8> = (before..before + 40 * total).map(pattern).collect();
    let mut peer = connection.peer.try_clone().expect("a duplicate");
    let sender = thread::spawn(move || {
        let mut left = &bytes[..];
        for &size in sizes.iter().cycle().take(40 * sizes.len()) {
            let message;
            (message, left) = left.split_at(size);
            peer.write_all(message).expect("the other side receives");
        }
        peer.shutdown(Shutdown::Write).expect("it is connected");
    });
    while connection.take() {}
    sender.join().expect("no panic");
    assert_eq!(connection.received, before + 40 * total);
}

pub(crate) fn messages_that_fill_a_buffer_exactly_keep_their_class(kind: BackendKind) {
    // Elsewhere the system does not tell whether anything is left.
    if cfg!(not(target_os = "linux")) {
        return;
    }
    let mut connection = Connection::new(kind, SizeClass::Medium16K);
    for _ in 0..100 {
        connection.exchange(SizeClass::Medium16K.bytes());
        assert_eq!(connection.handle.receive_class(), SizeClass::Medium16K);
    }
}

pub(crate) fn a_class_that_was_set_holds_whatever_comes(kind: BackendKind) {
    let class = SizeClass::Small4K;
    let port = builder(kind).fixed_receive_class(class).build().expect("the backend is there");
    let mut fixed = Connection::on(port);
    let mut set = Connection::new(kind, class);
    set.handle.set_receive_class(class);
    for connection in [&mut fixed, &mut set] {
        for _ in 0..50 {
            connection.exchange(50_000);
        }
        assert_eq!(connection.handle.receive_class(), class);
        assert!(connection.largest <= class.bytes(), "{}", connection.largest);
    }
}

pub(crate) fn single_receives_follow_the_traffic_too(kind: BackendKind) {
    let port: CompletionPort<()> =
        builder(kind).receive_class(SizeClass::Small4K).build().expect("the backend is there");
    let (ours, mut peer) = pair();
    let handle = port.associate(ours, 1).expect("a new socket");
    let mut received = 0;
    let mut exchange = |bytes: usize| {
        let message: Vec<u8> = (received..received + bytes).map(pattern).collect();
        peer.write_all(&message).expect("it is connected");
        let end = received + bytes;
        while received < end {
            handle.receive_pooled(()).expect("it is connected");
            let packet = next(&port);
            let bytes = packet.result.expect("bytes are there");
            let buffer = packet.buffers.into_one().expect("the engine chose one");
            let buffer = buffer.into_pooled().expect("the engine chose a pooled one");
            assert!(buffer.iter().enumerate().all(|(at, &byte)| byte == pattern(received + at)));
            received += bytes;
        }
    };
    for _ in 0..10 {
        exchange(100_000);
    }
    assert_eq!(handle.receive_class(), SizeClass::Large64K);
    for _ in 0..600 {
        exchange(10);
    }
    assert_eq!(handle.receive_class(), SizeClass::Small4K);
}
