//! Pooled buffers: they outlive what they came from, and when there are no more, receives wait.

use crate::world::{DEADLINE, builder, pair, wait_until};
use crate::world::{Here, TcpStream};
use crate::{connections, leave_port, next};
use anyport::buf::{PoolOptions, PooledBuffer, SizeClass};
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, OperationKind, PortBuilder};
use std::io::{Read, Write};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

pub(crate) fn pooled_buffers_outlive_port_and_socket(kind: BackendKind) {
    for is_quarantine in [false, true] {
        let options = PoolOptions::new().quarantine(is_quarantine);
        let port: CompletionPort<()> =
            builder(kind).pool(options).build().expect("the backend is there");
        let (ours, mut theirs) = pair();
        let handle = port.associate(ours, 1).expect("a new socket");
        let mut held: Vec<PooledBuffer> = Vec::new();
        for i in 0..10_u8 {
            handle.receive_pooled(()).expect("it is connected");
            theirs.write_all(&[i; 1000]).expect("it is connected");
            let mut count = 0;
            while count < 1000 {
                let packet = next(&port);
                count += packet.result.expect("bytes are there");
                let buffer = packet.buffers.into_one().expect("the engine chose one");
                held.push(buffer.into_pooled().expect("the engine chose a pooled one"));
                if count < 1000 {
                    handle.receive_pooled(()).expect("it is connected");
                }
            }
        }
        drop(handle);
        drop(theirs);
        drop(port);
        let read = |held: &[PooledBuffer]| {
            let bytes: Vec<u8> = held.iter().flat_map(|b| b.iter().copied()).collect();
            let expected: Vec<u8> = (0..10_u8).flat_map(|i| [i; 1000]).collect();
            assert_eq!(bytes, expected);
        };
        read(&held);
        let other = thread::spawn(move || {
            read(&held);
            drop(held);
        });
        other.join().expect("they are good on any thread");
    }
}

const CONNECTIONS: usize = 50;
const CONNECTION_BYTES: usize = 64 << 10;

fn byte_of(connection: usize, at: usize) -> u8 {
    (connection * 5 + at % 253) as u8
}

/// A port whose pool is at its bound with four buffers.
fn with_four_buffers(builder: PortBuilder) -> PortBuilder {
    let class = SizeClass::Small4K;
    builder.pool(PoolOptions::new().bytes_max(4 * class.bytes())).receive_class(class)
}

/// Fifty connections send at once; the pool has four buffers.
struct Crowd {
    port: CompletionPort<usize>,
    handles: Vec<SocketHandle<usize>>,
    peers: thread::JoinHandle<Vec<TcpStream>>,
    received: Vec<usize>,
    ended: usize,
}

impl Crowd {
    fn new(kind: BackendKind) -> Self {
        let port = with_four_buffers(builder(kind)).build().expect("the backend is there");
        let (handles, mut theirs) = connections(&port, CONNECTIONS);
        let peers = thread::spawn(move || {
            const PIECE: usize = 4096;
            for at in (0..CONNECTION_BYTES).step_by(PIECE) {
                for (connection, peer) in theirs.iter_mut().enumerate() {
                    let piece: Vec<u8> =
                        (at..at + PIECE).map(|at| byte_of(connection, at)).collect();
                    peer.write_all(&piece).expect("the other side receives");
                }
            }
            for peer in &theirs {
                peer.shutdown(std::net::Shutdown::Write).expect("it is connected");
            }
            theirs
        });
        Crowd { port, handles, peers, received: vec![0; CONNECTIONS], ended: 0 }
    }

    /// Takes one packet and checks it; gives its connection, and its buffer unless it was the end.
    fn take(&mut self) -> (usize, Option<PooledBuffer>) {
        let packet = next(&self.port);
        let connection = packet.context;
        let bytes = packet.result.expect("at its bound the pool makes receives wait, not fail");
        if bytes == 0 {
            assert_eq!(self.received[connection], CONNECTION_BYTES, "{connection} ended early");
            assert!(!packet.more);
            self.ended += 1;
            return (connection, None);
        }
        let buffer = packet.buffers.into_one().expect("the engine chose one");
        let buffer = buffer.into_pooled().expect("the engine chose a pooled one");
        assert_eq!(buffer.len(), bytes);
        for &byte in buffer.iter() {
            let at = self.received[connection];
            assert_eq!(byte, byte_of(connection, at), "connection {connection}, byte {at}");
            self.received[connection] += 1;
        }
        (connection, Some(buffer))
    }

    fn finish(self) {
        assert_eq!(self.received, [CONNECTION_BYTES; CONNECTIONS]);
        let stats = self.port.pool().stats();
        assert!(stats.bytes_allocated <= stats.bytes_max, "{stats:?}");
        assert_eq!(self.port.stats().operations_live, 0);
        self.peers.join().expect("every byte was taken");
        let pool = self.port.pool().clone();
        let kind = self.port.backend().kind;
        drop((self.handles, self.port));
        leave_port(kind);
        wait_until("every pooled buffer came back", || pool.live() == 0);
    }
}

pub(crate) fn single_receives_wait_while_the_pool_is_at_its_bound_and_lose_nothing(
    kind: BackendKind,
) {
    let mut crowd = Crowd::new(kind);
    for (connection, handle) in crowd.handles.iter().enumerate() {
        handle.receive_pooled(connection).expect("it is connected");
    }
    // Another thread gives the buffers back: that alone must let the waiting receives go on.
    let (give_back, given) = mpsc::channel::<PooledBuffer>();
    let other = thread::spawn(move || given.into_iter().for_each(drop));
    while crowd.ended < CONNECTIONS {
        let (connection, buffer) = crowd.take();
        if let Some(buffer) = buffer {
            crowd.handles[connection].receive_pooled(connection).expect("it is connected");
            give_back.send(buffer).expect("the other thread runs");
        }
    }
    drop(give_back);
    other.join().expect("it only drops");
    crowd.finish();
}

pub(crate) fn streams_wait_while_the_pool_is_at_its_bound_and_lose_nothing(kind: BackendKind) {
    let mut crowd = Crowd::new(kind);
    for (connection, handle) in crowd.handles.iter().enumerate() {
        handle.receive_stream(connection).expect("it is connected");
    }
    while crowd.ended < CONNECTIONS {
        // Given back by the thread that takes the packets, before it takes the next.
        drop(crowd.take());
    }
    crowd.finish();
}

/// Eight threads of the port, one after the other; the pool has four buffers.
pub(crate) fn idle_connections_keep_no_buffers_from_others(kind: BackendKind) {
    const THREADS: usize = 8;
    let builder = with_four_buffers(builder(kind)).concurrency(THREADS);
    let port: CompletionPort<usize> = builder.build().expect("the backend is there");
    let barrier = Barrier::new(THREADS);
    let turn = Mutex::new(0);
    let here = Here::now();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (port, barrier, turn, here) = (&port, &barrier, &turn, &here);
            scope.spawn(move || {
                port.get(Some(Duration::ZERO)).expect_err("nothing was started");
                // From here on all eight have a place of their own, and keep it.
                barrier.wait();
                wait_until("it is this thread's turn", || {
                    *turn.lock().expect("no panic") == number
                });
                let (ours, mut theirs) = here.run(pair);
                let handle = port.associate(ours, number).expect("a new socket");
                let mut received = 0;
                theirs.write_all(&[number as u8; 20_000]).expect("the system has room");
                while received < 20_000 {
                    handle.receive_pooled(number).expect("it is connected");
                    // A short deadline for the one that follows: a fault here stays for good.
                    let packet = port.get(Some(DEADLINE / 3));
                    let packet = packet.unwrap_or_else(|e| panic!("thread {number}: {e}"));
                    assert_eq!(packet.context, number);
                    received += packet.result.expect("bytes are there");
                    let bytes = packet.buffers.as_slice()[0].as_slice();
                    assert!(bytes.iter().all(|&b| usize::from(b) == number));
                }
                // The connection stays, idle and with a receive under way: it holds no buffer.
                handle.receive_pooled(number).expect("it is connected");
                for _ in 0..3 {
                    port.get(Some(Duration::ZERO)).expect_err("no more bytes were sent");
                }
                *turn.lock().expect("no panic") += 1;
                wait_until("all are done", || *turn.lock().expect("no panic") == THREADS);
            });
        }
    });
}

pub(crate) fn no_pooled_buffer_is_used_after_it_came_back(kind: BackendKind) {
    let options = PoolOptions::new().quarantine(true);
    let port: CompletionPort<usize> = builder(kind)
        .pool(options)
        .receive_class(SizeClass::Small4K)
        .build()
        .expect("the backend is there");
    let (handles, mut peers) = connections(&port, 8);
    for (key, handle) in handles.iter().enumerate() {
        let started = match key % 2 {
            0 => handle.receive_stream(key),
            _ => handle.receive_pooled(key),
        };
        started.expect("it is connected");
    }
    let taker = {
        let (port, handles) = (port.clone(), handles.clone());
        thread::spawn(move || {
            let (mut ended, mut sends) = (0, 0);
            while ended < handles.len() || sends > 0 {
                let packet = next(&port);
                let bytes = packet.result.expect("an orderly end");
                if packet.kind == OperationKind::Send {
                    sends -= 1;
                    continue;
                }
                if bytes == 0 {
                    ended += 1;
                    continue;
                }
                let handle = &handles[packet.key];
                if !packet.more {
                    handle.receive_pooled(packet.key).expect("it is connected");
                }
                assert_eq!(packet.buffers.total_len(), bytes);
                // As an echo the buffer goes back into the kernel's hands.
                handle.send(packet.buffers, packet.key).expect("it is connected");
                sends += 1;
            }
        })
    };
    for round in 0..200_u8 {
        let message = [round & 0x7f; 3000];
        for peer in &mut peers {
            peer.write_all(&message).expect("the other side receives");
        }
        for peer in &mut peers {
            let mut echo = [0xff; 3000];
            peer.read_exact(&mut echo).expect("the echo comes");
            assert!(echo == message, "wrong bytes in the echo of round {round}");
        }
        if round % 20 == 0 {
            port.pool().check_quarantine().expect("nobody writes to what came back");
        }
    }
    drop(peers);
    taker.join().expect("every stream ends in an orderly way");
    drop(handles);
    assert_eq!(port.stats().operations_live, 0);
    let checked = port.pool().check_quarantine().expect("nobody writes to what came back");
    assert!(checked > 0, "pooled buffers were used");
}
