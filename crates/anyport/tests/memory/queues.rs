//! Queues between the port and the kernel that are full: nothing that does not fit is lost, no
//! cancel either.

use crate::dropping::PieceFile;
use crate::world::{TcpStream, UdpSocket};
use crate::world::{any_local, builder, connect};
use crate::{connections, next};
use anyport::net::{self, Socket, SocketHandle};
use anyport::{BackendKind, CompletionPort, ErrorKind, Operation, OperationKind};
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

const PIECES: usize = 64;
const PIECE_BYTES: usize = 512;
const READS: usize = 4_000;
const DATAGRAM_SOCKETS: usize = 256;

/// What an operation of these tests is, and what must become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Read(usize),
    /// A receive that gets its datagram.
    Datagram(usize),
    /// A receive that is cancelled.
    Cancelled(usize),
}

/// A port with so many entries in its submission and its completion queue.
fn port_with_queues<T: Send + 'static>(
    kind: BackendKind,
    entries: (u32, u32),
) -> CompletionPort<T> {
    builder(kind)
        .submission_entries(entries.0)
        .completion_entries(entries.1)
        .build()
        .expect("the backend is there")
}

/// Starts thousands of operations without taking a packet, cancels some, and takes all packets:
/// one of each.
fn flood(kind: BackendKind, entries: (u32, u32), rounds: usize, is_of_port: bool) {
    let port: CompletionPort<What> = port_with_queues(kind, entries);
    let file =
        PieceFile::new(&format!("flood-{kind}-{entries:?}-{is_of_port}"), PIECES, PIECE_BYTES);
    let file = port.associate(file.open(), 1).expect("a plain file");
    let sockets: Vec<(SocketHandle<What>, SocketAddr)> = (0..DATAGRAM_SOCKETS)
        .map(|key| {
            let socket = UdpSocket::bind(any_local()).expect("a port is free");
            let address = socket.local_addr().expect("it is bound");
            (port.associate(Socket::from(socket), key).expect("a new socket"), address)
        })
        .collect();
    let sender = UdpSocket::bind(any_local()).expect("a port is free");
    if is_of_port {
        port.get(Some(Duration::ZERO)).expect_err("nothing was started");
    }
    for round in 0..rounds {
        let mut due: HashMap<Operation, What> = HashMap::new();
        let mut start = |operation: Operation, what| {
            assert_eq!(due.insert(operation, what), None, "a name is given twice");
        };
        for i in 0..READS {
            let (piece, what) = (i % PIECES, What::Read(i));
            let offset = (piece * PIECE_BYTES) as u64;
            start(file.read_at(vec![0xff; PIECE_BYTES], offset, what).expect("open"), what);
            // A receive after every few reads, so that all sorts stand in the queues together.
            if i % 8 == 0 && i / 8 < DATAGRAM_SOCKETS {
                let socket = i / 8;
                let is_cancelled = (socket + round) % 2 == 0;
                let what =
                    if is_cancelled { What::Cancelled(socket) } else { What::Datagram(socket) };
                let handle = &sockets[socket].0;
                let operation = handle.receive_from(vec![0; 64], what).expect("bound");
                start(operation, what);
                if is_cancelled && socket % 4 < 2 {
                    handle.cancel(operation).expect("no datagram has come");
                }
            }
        }
        for (&operation, &what) in &due {
            if let What::Cancelled(socket) = what
                && socket % 4 >= 2
            {
                sockets[socket].0.cancel(operation).expect("no datagram has come");
            }
        }
        for &what in due.values() {
            if let What::Datagram(socket) = what {
                let sent = sender.send_to(&(socket as u32).to_le_bytes(), sockets[socket].1);
                assert_eq!(sent.expect("loopback takes it"), 4);
            }
        }
        while !due.is_empty() {
            let packet = next(&port);
            let operation = packet.operation.expect("nobody posts");
            let what = due.remove(&operation).expect("each has one packet");
            assert_eq!(packet.context, what);
            let buffer = packet.buffers.into_one().expect("one was given");
            match what {
                What::Read(i) => {
                    assert_eq!(packet.result, Ok(PIECE_BYTES));
                    let expected = PieceFile::byte(i % PIECES);
                    assert!(buffer.as_slice().iter().all(|&b| b == expected));
                }
                What::Datagram(socket) => {
                    assert_eq!(packet.result, Ok(4));
                    assert_eq!(buffer.as_slice(), (socket as u32).to_le_bytes());
                }
                What::Cancelled(_) => {
                    let error = packet.result.expect_err("it was cancelled");
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                }
            }
        }
        assert_eq!(port.stats().operations_live, 0);
    }
    port.get(Some(Duration::ZERO)).expect_err("every packet was taken");
}

pub(crate) fn operations_and_cancels_survive_a_full_submission_queue(kind: BackendKind) {
    flood(kind, (2, 8192), 4, false);
}

pub(crate) fn operations_started_by_a_thread_of_the_port_survive_a_full_submission_queue(
    kind: BackendKind,
) {
    flood(kind, (2, 8192), 4, true);
}

pub(crate) fn no_completion_is_lost_in_a_full_completion_queue(kind: BackendKind) {
    flood(kind, (2, 4), 2, false);
    flood(kind, (4, 4), 2, true);
}

const STREAMS: usize = 64;
const STREAM_BYTES: usize = 48 << 10;

fn stream_byte(stream: usize, at: usize) -> u8 {
    (stream * 7 + at % 251) as u8
}

pub(crate) fn streams_survive_a_full_completion_queue(kind: BackendKind) {
    let port: CompletionPort<usize> = port_with_queues(kind, (2, 4));
    let (handles, mut peers) = connections(&port, STREAMS);
    for (stream, handle) in handles.iter().enumerate() {
        handle.receive_stream(stream).expect("it is connected");
    }
    // Small pieces, so that there are many completions; all of it fits into the system's buffers.
    const PIECE: usize = 1024;
    for at in (0..STREAM_BYTES).step_by(PIECE) {
        for (stream, peer) in peers.iter_mut().enumerate() {
            let piece: Vec<u8> = (at..at + PIECE).map(|at| stream_byte(stream, at)).collect();
            peer.write_all(&piece).expect("the system's buffers have room");
        }
    }
    drop(peers);
    let mut received = vec![0; STREAMS];
    let mut ended = 0;
    while ended < STREAMS {
        let packet = next(&port);
        let stream = packet.context;
        let bytes = packet.result.expect("an orderly end");
        assert_eq!(packet.more, bytes > 0, "0 bytes and only they are the end");
        if bytes == 0 {
            assert_eq!(received[stream], STREAM_BYTES, "stream {stream} ended early");
            ended += 1;
            continue;
        }
        let buffer = packet.buffers.into_one().expect("bytes come in a buffer");
        assert_eq!(buffer.len(), bytes);
        for &byte in buffer.as_slice() {
            let at = received[stream];
            assert_eq!(byte, stream_byte(stream, at), "stream {stream}, byte {at}");
            received[stream] += 1;
        }
    }
    assert_eq!(port.stats().operations_live, 0);
}

pub(crate) fn an_accept_stream_survives_a_full_completion_queue(kind: BackendKind) {
    let port: CompletionPort<()> = port_with_queues(kind, (2, 4));
    let socket = net::listen(any_local()).expect("a port is free");
    let listener = port.associate(socket, 7).expect("a new socket");
    let operation = listener.accept_stream(()).expect("it listens");
    let address = listener.local_addr().expect("it is bound");
    let clients: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
    let mut due: Vec<SocketAddr> =
        clients.iter().map(|c| c.local_addr().expect("it is connected")).collect();
    while !due.is_empty() {
        let packet = next(&port);
        assert_eq!((packet.key, packet.kind), (7, OperationKind::AcceptStream));
        assert!(packet.more && packet.result.is_ok(), "{:?}", packet.result);
        let peer = packet.peer.expect("an accepted connection has a peer");
        let place = due.iter().position(|a| *a == peer).expect("each comes once");
        due.swap_remove(place);
        assert!(packet.accepted.is_some());
    }
    listener.cancel(operation).expect("a stream goes on until it is cancelled");
    let packet = next(&port);
    assert!(!packet.more);
    assert_eq!(packet.result.expect_err("cancelled").kind(), ErrorKind::Cancelled);
}
