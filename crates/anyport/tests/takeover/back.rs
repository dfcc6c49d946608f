//! Threads that come back from a handler in which they were stuck, again and again: everything goes
//! on beside them, and after it.

use crate::alive::send_until_taken;
use crate::gate::Gate;
use crate::traffic::{Context, EchoServer, Receiving, Threads};
use crate::world::{DEADLINE, any_local, builder, connect, wait_until};
use crate::world::{TcpStream, UdpSocket};
use anyport::net::Socket;
use anyport::{BackendKind, CompletionPort, OperationKind, Worker, WorkerPool};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, mpsc};

/// Times that a thread gets stuck and comes back.
const ROUNDS: usize = 12;

/// A message that makes the handler stick.
const STICK: u8 = b'!';

fn exchange(stream: &mut TcpStream, byte: u8) {
    stream.write_all(&[byte]).expect("it is connected");
    assert_eq!(answer(stream), byte);
}

fn answer(stream: &mut TcpStream) -> u8 {
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("the answer comes");
    answer[0]
}

/// In each round the thread that serves one of the connections is stuck, while all others are
/// served; then it comes back, and all are served, that one as well.
fn rounds_of_being_stuck(kind: BackendKind, connections: usize, threads: Threads) {
    // The gate of this round; taken by the handler that gets stuck.
    let next = Arc::<Mutex<Option<Arc<Gate>>>>::default();
    let gates = Arc::clone(&next);
    let stall = move |_: usize, worker: &Worker<Context>| {
        let Some(gate) = gates.lock().expect("nobody panics with it").take() else { return };
        // Where no thread finds out that another sleeps, it has to say so.
        match cfg!(target_os = "linux") {
            true => gate.be_stuck(),
            false => worker.blocking(|| gate.be_stuck()),
        }
    };
    let server = EchoServer::start_with(kind, Receiving::Stream, threads, stall);
    let mut streams: Vec<_> = (0..connections).map(|_| connect(server.address)).collect();
    for round in 0..ROUNDS {
        streams.iter_mut().for_each(|stream| exchange(stream, b'a'));
        let gate = Arc::<Gate>::default();
        *next.lock().expect("nobody panics with it") = Some(Arc::clone(&gate));
        let stuck = round * 7 % connections;
        streams[stuck].write_all(&[STICK]).expect("it is connected");
        gate.wait_until_stuck();
        for (i, stream) in streams.iter_mut().enumerate() {
            if i != stuck {
                exchange(stream, b'b');
            }
        }
        gate.open();
        assert_eq!(answer(&mut streams[stuck]), STICK);
    }
    streams.iter_mut().for_each(|stream| exchange(stream, b'c'));
    drop(streams);
    server.end();
}

pub(crate) fn a_thread_that_comes_back_to_nothing_waits_its_turn(kind: BackendKind) {
    for running in [1, 2] {
        rounds_of_being_stuck(kind, 9, Threads { all: 2 * running, running });
    }
}

pub(crate) fn a_thread_that_comes_back_to_much_goes_on_with_it(kind: BackendKind) {
    // More than are taken over together: most stay with the thread that handed them to the kernel.
    for running in [1, 2] {
        rounds_of_being_stuck(kind, 150, Threads { all: 2 * running, running });
    }
}

pub(crate) fn threads_that_share_what_a_seat_has_come_back_as_well(kind: BackendKind) {
    rounds_of_being_stuck(kind, 9, Threads { all: 5, running: 1 });
}

/// What a posted packet asks of its handler.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Receive,
    Nothing,
    Stick,
}

pub(crate) fn a_thread_that_came_back_and_waits_holds_no_socket_open(kind: BackendKind) {
    let port: CompletionPort<Ask> =
        builder(kind).concurrency(1).build().expect("the backend is there");
    let socket = UdpSocket::bind(any_local()).expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    let handle = port.associate(Socket::from(socket), 1).expect("a new socket");
    let handle = Arc::new(Mutex::new(Some(handle)));
    let gate = Arc::<Gate>::default();
    let (done, is_done) = mpsc::channel();
    let pool = {
        let (handle, gate) = (Arc::clone(&handle), Arc::clone(&gate));
        WorkerPool::builder(&port).threads(2).start(move |packet, worker| {
            match (packet.kind, packet.context) {
                (OperationKind::Posted, Ask::Receive) => {
                    let handle = handle.lock().expect("nobody panics with it");
                    let handle = handle.as_ref().expect("it is dropped later");
                    handle.receive_from(vec![0; 100], Ask::Nothing).expect("it is bound");
                }
                (OperationKind::Posted, Ask::Stick) if cfg!(target_os = "linux") => gate.be_stuck(),
                (OperationKind::Posted, Ask::Stick) => worker.blocking(|| gate.be_stuck()),
                _ => {}
            }
            done.send(packet.kind).expect("it is awaited");
        })
    };
    let pool = pool.expect("threads are to be had");
    let next = || is_done.recv_timeout(DEADLINE).expect("it is handled");
    // After the last two the thread has been asleep, and has handed over what it had started.
    for ask in [Ask::Receive, Ask::Nothing, Ask::Nothing] {
        port.post(0, 0, ask).expect("there is room");
        assert_eq!(next(), OperationKind::Posted);
    }
    port.post(0, 0, Ask::Stick).expect("there is room");
    gate.wait_until_stuck();
    let sender = UdpSocket::bind(any_local()).expect("a port is free");
    let taken = send_until_taken(&sender, b"datagram", address, &is_done);
    assert_eq!(taken, OperationKind::ReceiveFrom, "another took the receive over");
    gate.open();
    assert_eq!(next(), OperationKind::Posted);
    drop(handle.lock().expect("nobody panics with it").take());
    wait_until("the socket's port is free", || UdpSocket::bind(address).is_ok());
    pool.join();
}
