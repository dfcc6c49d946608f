//! Threads that start operations and end: the operations go on, whoever takes their packets.
//!
//! The kernel cancels what a thread has submitted when that thread ends, so the engine has to see
//! to it.

use crate::dropping::PieceFile;
use crate::kept::KeptBuffers;
use crate::world::TcpStream;
use crate::world::{builder, pair};
use crate::{connections, leave_port, next};
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, GetError, OperationKind, Packet};
use std::io::Write;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const SOCKETS: usize = 8;
const ROUNDS: usize = 20;

/// Starts one of each sort of receive, in turn.
fn start_receives(handles: &[SocketHandle<usize>], buffers: &KeptBuffers) {
    for (key, handle) in handles.iter().enumerate() {
        let started = match key % 4 {
            0 => handle.receive(buffers.writable(100), key),
            1 => handle.receive_pooled(key),
            2 => handle.receive_stream(key),
            _ => handle.receive_ready(key),
        };
        started.expect("it is connected");
    }
}

/// Every receive gets the bytes that come now; a stream goes on to its end.
fn finish_receives(port: &CompletionPort<usize>, mut peers: Vec<TcpStream>) {
    for (key, peer) in peers.iter_mut().enumerate() {
        peer.write_all(&[key as u8; 10]).expect("it is connected");
    }
    let mut is_over = [false; SOCKETS];
    let mut bytes_of = [0; SOCKETS];
    while !is_over.iter().all(|&o| o) {
        let packet = next(port);
        let key = packet.key;
        assert!(!is_over[key], "a second packet of {key}");
        let bytes = packet.result.expect("it completes as if its thread were there");
        check_bytes(&packet, bytes);
        bytes_of[key] += bytes;
        match packet.kind {
            OperationKind::ReceiveStream if bytes > 0 => {
                assert!(packet.more, "the stream goes on");
                if bytes_of[key] == 10 {
                    peers[key].shutdown(std::net::Shutdown::Write).expect("it is connected");
                }
            }
            OperationKind::ReceiveStream => {
                assert_eq!((bytes_of[key], packet.more), (10, false));
                is_over[key] = true;
            }
            OperationKind::ReceiveReady => {
                assert_eq!(bytes, 0);
                is_over[key] = true;
            }
            _ => {
                assert!(bytes > 0, "nobody has ended the stream");
                is_over[key] = true;
            }
        }
    }
    assert_eq!(port.stats().operations_live, 0);
}

fn check_bytes(packet: &Packet<usize>, bytes: usize) {
    if bytes > 0 {
        let buffer = &packet.buffers.as_slice()[0];
        assert!(buffer.as_slice()[..bytes].iter().all(|&b| usize::from(b) == packet.key));
    }
}

pub(crate) fn a_receive_of_a_thread_that_ended_completes(kind: BackendKind) {
    let port: CompletionPort<usize> = builder(kind).build().expect("the backend is there");
    let buffers = KeptBuffers::new();
    for _ in 0..ROUNDS {
        let (handles, peers) = connections(&port, SOCKETS);
        thread::scope(|scope| {
            scope.spawn(|| start_receives(&handles, &buffers));
        });
        finish_receives(&port, peers);
    }
    buffers.check();
}

/// What the thread of the port does at the last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Returns,
    Panics,
}

fn a_thread_of_the_port_ends(kind: BackendKind, ending: Ending) {
    let buffers = KeptBuffers::new();
    for round in 0..ROUNDS {
        let builder = builder(kind).concurrency(1 + round % 2);
        let port: CompletionPort<usize> = builder.build().expect("the backend is there");
        let (handles, peers) = connections(&port, SOCKETS);
        if round % 4 >= 2 {
            // This thread has been there before the other.
            assert_eq!(port.get(Some(Duration::ZERO)).expect_err("nothing"), GetError::TimedOut);
        }
        let result = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                port.post(usize::MAX, 0, 0).expect("there is room");
                // With a concurrency value of 1 and a place that another has, none is free.
                let _ = port.get(Some(Duration::from_millis(20)));
                start_receives(&handles, &buffers);
                if ending == Ending::Panics {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
            });
            thread.join()
        });
        assert_eq!(result.is_err(), ending == Ending::Panics);
        // The post, if the other thread did not get it.
        while let Ok(packet) = port.get(Some(Duration::ZERO)) {
            assert_eq!(packet.kind, OperationKind::Posted, "{:?}", packet.result);
        }
        finish_receives(&port, peers);
    }
    buffers.check();
}

pub(crate) fn a_receive_of_a_thread_of_the_port_that_ended_completes(kind: BackendKind) {
    a_thread_of_the_port_ends(kind, Ending::Returns);
}

pub(crate) fn a_receive_of_a_thread_of_the_port_that_panicked_completes(kind: BackendKind) {
    a_thread_of_the_port_ends(kind, Ending::Panics);
}

pub(crate) fn a_stream_goes_on_after_the_thread_that_held_its_packet_ended(kind: BackendKind) {
    let port: CompletionPort<usize> = builder(kind).build().expect("the backend is there");
    for round in 0..ROUNDS {
        let (ours, mut theirs) = pair();
        let handle = port.associate(ours, 1).expect("a new socket");
        let total: Vec<u8> = (0..100).collect();
        let mut received = Vec::new();
        handle.receive_stream(round).expect("it is connected");
        for &byte in &total {
            theirs.write_all(&[byte]).expect("it is connected");
            // Each packet goes to a thread that ends, or panics, with it in its hands.
            let taken = Mutex::new(None);
            thread::scope(|scope| {
                let thread = scope.spawn(|| {
                    let packet = next(&port);
                    *taken.lock().expect("nobody else has it") = Some(packet);
                    if byte % 2 == 0 {
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                });
                // Whether it panicked as it was meant to shows in what it has taken.
                let _ = thread.join();
            });
            let taken = taken.into_inner().expect("no panic while it was locked");
            let packet = taken.unwrap_or_else(|| panic!("no packet came for byte {byte}"));
            assert_eq!((packet.result, packet.more, packet.context), (Ok(1), true, round));
            received.extend_from_slice(packet.buffers.as_slice()[0].as_slice());
        }
        assert_eq!(received, total);
        drop(theirs);
        let packet = next(&port);
        assert_eq!((packet.result, packet.more), (Ok(0), false));
        // It would hold the place of the next round's thread.
        leave_port(kind);
    }
    assert_eq!(port.stats().operations_live, 0);
}

pub(crate) fn a_file_read_of_a_thread_that_ended_completes(kind: BackendKind) {
    const PIECES: usize = 32;
    const PIECE_BYTES: usize = 64 << 10;
    let file = PieceFile::new(&format!("ended-{kind}"), PIECES, PIECE_BYTES);
    for round in 0..ROUNDS {
        let port: CompletionPort<usize> = builder(kind).build().expect("the backend is there");
        let handle = port.associate(file.open(), 1).expect("a plain file");
        let buffers = KeptBuffers::new();
        file.forget_cached();
        thread::scope(|scope| {
            scope.spawn(|| {
                if round % 2 == 0 {
                    let _ = port.get(Some(Duration::ZERO));
                }
                for piece in 0..PIECES {
                    let offset = (piece * PIECE_BYTES) as u64;
                    handle.read_at(buffers.writable(PIECE_BYTES), offset, piece).expect("open");
                }
            });
        });
        for _ in 0..PIECES {
            let packet = next(&port);
            assert_eq!(packet.result, Ok(PIECE_BYTES));
            let bytes = packet.buffers.as_slice()[0].as_slice();
            assert!(bytes.iter().all(|&b| b == PieceFile::byte(packet.context)));
        }
        assert_eq!(port.stats().operations_live, 0);
        drop((port, handle));
        buffers.check();
    }
}
