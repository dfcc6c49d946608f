//! Operations that a thread of the port has started before it got stuck in its handler.

use crate::gate::Gate;
use crate::world::{DEADLINE, any_local, builder, pair, wait_until};
use crate::world::{TcpStream, UdpSocket};
use anyport::fs::OpenOptions;
use anyport::net::{self, Socket, SocketHandle};
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind, Packet, WorkerPool};
use std::any::Any;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The context of a packet that wakes a thread for nothing.
const NOTHING: usize = usize::MAX;

/// Starts operations, and gives what must stay open until the end.
type Deed = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// What the other threads take while one is stuck.
type Taken = Receiver<Packet<usize>>;

/// One thread of the port runs `start` in a handler and is stuck in it, or in the next one, when the
/// kernel has what it started; then `check` runs beside it. With each concurrency value: with 1 the
/// stuck thread's place goes to another.
fn beside_a_stuck_thread(
    kind: BackendKind,
    mut start: impl FnMut(&CompletionPort<usize>) -> Vec<Deed>,
    check: impl Fn(&CompletionPort<usize>, &Taken),
) {
    for (concurrency, is_next_stuck) in [(2, false), (1, false), (2, true), (1, true)] {
        let port: CompletionPort<usize> =
            builder(kind).concurrency(concurrency).build().expect("the backend is there");
        let gate = Arc::<Gate>::default();
        let (sender, taken): (Sender<Packet<usize>>, Taken) = mpsc::channel();
        let (handled, is_handled) = mpsc::channel();
        let deeds = Mutex::new(start(&port));
        let kept = Arc::<Mutex<Vec<Box<dyn Any + Send>>>>::default();
        let pool = {
            let gate = Arc::clone(&gate);
            let kept = Arc::clone(&kept);
            WorkerPool::builder(&port).threads(4).start(move |packet, worker| {
                if packet.kind != OperationKind::Posted {
                    let _ = sender.send(packet);
                    return;
                }
                if packet.context == NOTHING {
                    return handled.send(()).expect("it is awaited");
                }
                let deeds = std::mem::take(&mut *deeds.lock().expect("nobody panics with it"));
                if !deeds.is_empty() {
                    let opened = deeds.into_iter().map(|deed| deed());
                    kept.lock().expect("nobody panics with it").extend(opened);
                    if is_next_stuck {
                        return handled.send(()).expect("it is awaited");
                    }
                }
                // Where no thread finds out that another sleeps, it has to say so.
                match cfg!(target_os = "linux") {
                    true => gate.be_stuck(),
                    false => worker.blocking(|| gate.be_stuck()),
                }
            })
        };
        let pool = pool.expect("threads are to be had");
        port.post(0, 0, 0).expect("there is room");
        if is_next_stuck {
            // After two rounds the thread has been asleep, and has handed over what it had started.
            for _ in 0..2 {
                is_handled.recv_timeout(DEADLINE).expect("it is handled");
                port.post(0, 0, NOTHING).expect("there is room");
            }
            is_handled.recv_timeout(DEADLINE).expect("it is handled");
            port.post(0, 0, 0).expect("there is room");
        }
        gate.wait_until_stuck();
        check(&port, &taken);
        gate.open();
        pool.join();
    }
}

fn next(taken: &Taken) -> Packet<usize> {
    taken.recv_timeout(DEADLINE).expect("it completes beside the stuck thread")
}

fn connection(port: &CompletionPort<usize>, key: usize) -> (SocketHandle<usize>, TcpStream) {
    let (ours, theirs) = pair();
    (port.associate(ours, key).expect("a new socket"), theirs)
}

/// After which a datagram of which nothing is heard is sent again.
const DATAGRAM_AGAIN: Duration = Duration::from_millis(500);

/// What is said of a datagram, which is sent again and again: a full machine drops some even on their
/// way to itself.
pub(crate) fn send_until_taken<M>(
    sender: &UdpSocket,
    datagram: &[u8],
    address: SocketAddr,
    taken: &Receiver<M>,
) -> M {
    let start = Instant::now();
    loop {
        sender.send_to(datagram, address).expect("sent");
        match taken.recv_timeout(DATAGRAM_AGAIN) {
            Ok(said) => return said,
            Err(RecvTimeoutError::Timeout) if start.elapsed() < DEADLINE => {}
            Err(error) => panic!("it completes beside the stuck thread: {error}"),
        }
    }
}

/// The peers of what the stuck thread works on, for the check.
type Peers<P> = Arc<Mutex<Vec<P>>>;

fn take_peers<P>(peers: &Peers<P>) -> Vec<P> {
    std::mem::take(&mut *peers.lock().expect("nobody panics with it"))
}

pub(crate) fn receives_of_a_stuck_thread_complete(kind: BackendKind) {
    let peers = Peers::<TcpStream>::default();
    beside_a_stuck_thread(
        kind,
        |port| {
            let mut deeds: Vec<Deed> = Vec::new();
            for key in 0..8 {
                let (handle, peer) = connection(port, key);
                peers.lock().expect("nobody panics with it").push(peer);
                deeds.push(Box::new(move || {
                    let started = match key % 4 {
                        0 => handle.receive(vec![0; 100], key),
                        1 => handle.receive_pooled(key),
                        2 => handle.receive_stream(key),
                        _ => handle.receive_ready(key),
                    };
                    started.expect("it is connected");
                    Box::new(handle)
                }));
            }
            deeds
        },
        |_, taken| {
            let mut peers = take_peers(&peers);
            for (key, peer) in peers.iter_mut().enumerate() {
                peer.write_all(b"data").expect("it is connected");
                let packet = next(taken);
                let bytes = if key % 4 == 3 { 0 } else { 4 };
                assert_eq!((packet.key, packet.result), (key, Ok(bytes)));
            }
        },
    );
}

pub(crate) fn datagrams_of_a_stuck_thread_complete(kind: BackendKind) {
    let addresses = Peers::<std::net::SocketAddr>::default();
    beside_a_stuck_thread(
        kind,
        |port| {
            let socket = UdpSocket::bind(any_local()).expect("a port is free");
            let address = socket.local_addr().expect("it is bound");
            addresses.lock().expect("nobody panics with it").push(address);
            let handle = port.associate(Socket::from(socket), 1).expect("a new socket");
            vec![Box::new(move || {
                handle.receive_from(vec![0; 100], 1).expect("it is bound");
                Box::new(handle)
            })]
        },
        |_, taken| {
            let address = take_peers(&addresses)[0];
            let sender = UdpSocket::bind(any_local()).expect("a port is free");
            let packet = send_until_taken(&sender, b"datagram", address, taken);
            assert_eq!((packet.result, packet.peer), (Ok(8), sender.local_addr().ok()));
        },
    );
}

pub(crate) fn accepts_and_connects_of_a_stuck_thread_complete(kind: BackendKind) {
    let addresses = Peers::<std::net::SocketAddr>::default();
    beside_a_stuck_thread(
        kind,
        |port| {
            let socket = net::listen(any_local()).expect("a port is free");
            let address = socket.local_addr().expect("it is bound");
            addresses.lock().expect("nobody panics with it").push(address);
            let listener = port.associate(socket, 1).expect("a new socket");
            let socket = Socket::tcp_v4().expect("a socket");
            let client = port.associate(socket, 2).expect("a new socket");
            vec![Box::new(move || {
                listener.accept(1).expect("it listens");
                client.connect(address, 2).expect("it is not connected");
                Box::new((listener, client))
            })]
        },
        |_, taken| {
            let mut keys = [next(taken), next(taken)].map(|packet| {
                packet.result.expect("it succeeds");
                packet.key
            });
            keys.sort_unstable();
            assert_eq!(keys, [1, 2]);
            take_peers(&addresses);
        },
    );
}

pub(crate) fn files_of_a_stuck_thread_complete(kind: BackendKind) {
    let path = std::env::temp_dir().join(format!("anyport-takeover-{}-{kind}", std::process::id()));
    std::fs::write(&path, vec![7; 100_000]).expect("a file");
    beside_a_stuck_thread(
        kind,
        |port| {
            let file = OpenOptions::new().read(true).open(&path).expect("it is there");
            let handle = port.associate(file, 1).expect("a plain file");
            vec![Box::new(move || {
                for piece in 0..10 {
                    handle.read_at(vec![0; 10_000], piece * 10_000, 1).expect("it is open");
                }
                Box::new(handle)
            })]
        },
        |_, taken| {
            for _ in 0..10 {
                let packet = next(taken);
                assert_eq!(packet.result, Ok(10_000));
                assert!(packet.buffers.as_slice()[0].as_slice().iter().all(|&b| b == 7));
            }
        },
    );
    let _ = std::fs::remove_file(&path);
}

pub(crate) fn cancels_of_operations_of_a_stuck_thread_take_effect(kind: BackendKind) {
    let handles = Peers::<(SocketHandle<usize>, TcpStream)>::default();
    beside_a_stuck_thread(
        kind,
        |port| {
            let mut deeds: Vec<Deed> = Vec::new();
            for key in 0..4 {
                let (handle, peer) = connection(port, key);
                let again = handle.clone();
                handles.lock().expect("nobody panics with it").push((handle, peer));
                deeds.push(Box::new(move || {
                    let started = match key {
                        0 => again.receive(vec![0; 100], key),
                        1 => again.receive_pooled(key),
                        2 => again.receive_stream(key),
                        _ => again.receive_ready(key),
                    };
                    started.expect("it is connected");
                    Box::new(())
                }));
            }
            deeds
        },
        |_, taken| {
            for (key, (handle, _peer)) in take_peers(&handles).into_iter().enumerate() {
                assert_eq!(handle.cancel_all(), Ok(1));
                let packet = next(taken);
                let kind = packet.result.expect_err("it was cancelled").kind();
                assert_eq!((packet.key, kind), (key, ErrorKind::Cancelled));
                let error = handle.cancel_all().expect_err("nothing is under way");
                assert_eq!(error.kind(), ErrorKind::NotFound);
            }
        },
    );
}

pub(crate) fn a_connection_of_a_stuck_thread_that_is_closed_ends_for_its_peer(kind: BackendKind) {
    let handles = Peers::<(SocketHandle<usize>, TcpStream)>::default();
    beside_a_stuck_thread(
        kind,
        |port| {
            let (handle, peer) = connection(port, 5);
            let again = handle.clone();
            handles.lock().expect("nobody panics with it").push((handle, peer));
            vec![Box::new(move || {
                again.receive_pooled(5).expect("it is connected");
                Box::new(())
            })]
        },
        |_, taken| {
            let (handle, mut peer) = take_peers(&handles).pop().expect("one was made");
            // First it receives something: a request of the stuck thread may still hold the
            // socket when nothing is under way any more.
            peer.write_all(b"x").expect("it is connected");
            assert_eq!(next(taken).result, Ok(1));
            drop(handle);
            let mut rest = Vec::new();
            peer.read_to_end(&mut rest).expect("an orderly end, while the thread is stuck");
            assert!(rest.is_empty());
        },
    );
}

pub(crate) fn sends_that_wait_for_room_go_on_beside_a_stuck_thread(kind: BackendKind) {
    const BYTES: usize = 12 << 20;
    // Made and compared a slice at a time: a loop over bytes takes seconds without optimisation, and
    // the thread is stuck for no longer than its deadline.
    let bytes: Arc<[u8]> =
        (0..=250_u8).collect::<Vec<_>>().repeat(BYTES.div_ceil(251))[..BYTES].into();
    let peers = Peers::<TcpStream>::default();
    beside_a_stuck_thread(
        kind,
        |port| {
            let (handle, peer) = connection(port, 3);
            peers.lock().expect("nobody panics with it").push(peer);
            let bytes = bytes.to_vec();
            vec![Box::new(move || {
                handle.send(bytes, 3).expect("it is connected");
                handle.send(vec![255; 10], 4).expect("it is connected");
                Box::new(handle)
            })]
        },
        |_, taken| {
            let mut peer = take_peers(&peers).pop().expect("one was made");
            let mut received = vec![0; BYTES + 10];
            peer.read_exact(&mut received).expect("everything comes");
            assert!(received[..BYTES] == *bytes, "every byte in its place");
            assert!(received[BYTES..].iter().all(|&b| b == 255), "the second send follows");
            // Two threads may take them, and hand them on in any order.
            let mut results = [next(taken).result, next(taken).result];
            results.sort_by_key(|result| result.as_ref().map_or(0, |bytes| *bytes));
            assert_eq!(results, [Ok(10), Ok(BYTES)]);
        },
    );
    wait_until("all peers were taken", || peers.lock().expect("nobody panics with it").is_empty());
}
