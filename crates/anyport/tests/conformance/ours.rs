//! Statements 45 and 46: what a slow handler delays, and memory when things are dropped.

use crate::system::tells_no_sleep;
use crate::world::{
    Gate, Here, TcpStream, TemporaryPath, Workers, builder, connection, get, port, read_exactly,
    wait_until,
};
use anyport::buf::{BufferPool, PoolOptions, SizeClass};
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind, Packet, WorkerPool, fs, net};
use std::cell::Cell;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

/// A server with four threads and a concurrency value of 2 that answers each byte with itself.
/// Before that, `b` blocks at a gate, `a` does so and announces it, `s` spins at another.
struct Server {
    pool: WorkerPool,
    peers: Vec<TcpStream>,
    blocking: Arc<Gate>,
    spinning: Arc<Gate>,
    /// Bytes answered, for each connection.
    answered: Arc<Vec<AtomicUsize>>,
    port: CompletionPort<()>,
}

impl Server {
    fn start(kind: BackendKind) -> Self {
        const CONNECTIONS: usize = 8;
        let port = port(kind);
        let (handles, peers): (Vec<_>, Vec<_>) =
            (0..CONNECTIONS).map(|key| connection(&port, key)).unzip();
        let (blocking, spinning) = (Gate::new(), Gate::new());
        let answered: Arc<Vec<_>> =
            Arc::new((0..CONNECTIONS).map(|_| AtomicUsize::new(0)).collect());
        let known = Arc::new(OnceLock::new());
        known.set(handles.clone()).expect("set once");
        let pool = {
            let (blocking, spinning) = (Arc::clone(&blocking), Arc::clone(&spinning));
            let answered = Arc::clone(&answered);
            let start = WorkerPool::builder(&port).threads(4);
            start.start(move |packet: Packet<()>, worker| {
                if packet.kind != OperationKind::ReceiveStream || !packet.more {
                    return;
                }
                for byte in packet.buffers.iter().flat_map(|buffer| buffer.as_slice().to_vec()) {
                    match byte {
                        b'b' => blocking.block(),
                        b'a' => worker.blocking(|| blocking.block()),
                        b's' => spinning.spin(),
                        _ => {}
                    }
                    answered[packet.key].fetch_add(1, Ordering::SeqCst);
                    let handles: &Vec<SocketHandle<()>> = known.get().expect("set before");
                    handles[packet.key].send(vec![byte], ()).expect("started");
                }
            })
        };
        for handle in &handles {
            handle.receive_stream(()).expect("started");
        }
        let pool = pool.expect("threads");
        let server = Server { pool, peers, blocking, spinning, answered, port };
        server.exchange(0, b'e');
        server
    }

    /// Sends a byte and reads the answer.
    fn exchange(&self, connection: usize, byte: u8) {
        self.send(connection, byte);
        self.expect(connection, byte);
    }

    fn send(&self, connection: usize, byte: u8) {
        (&self.peers[connection]).write_all(&[byte]).expect("sent");
    }

    fn expect(&self, connection: usize, byte: u8) {
        let mut answer = [0];
        (&self.peers[connection]).read_exact(&mut answer).expect("an answer");
        assert_eq!(answer[0], byte, "on connection {connection}");
    }

    /// While the first `stuck` connections' handlers are stuck, all others are answered, and
    /// nothing more of the stuck ones is handled.
    fn assert_only_these_wait(&self, stuck: usize) {
        let answered = |n: usize| self.answered[n].load(Ordering::SeqCst);
        let before: Vec<usize> = (0..stuck).map(answered).collect();
        (0..stuck).for_each(|connection| self.send(connection, b'e'));
        for _ in 0..20 {
            (stuck..self.peers.len()).for_each(|connection| self.exchange(connection, b'x'));
        }
        assert_eq!((0..stuck).map(answered).collect::<Vec<_>>(), before, "ran side by side");
    }

    /// Lets the stuck handlers go on; their connections are answered in order.
    fn end(self, stuck: &[u8]) {
        self.blocking.open();
        self.spinning.open();
        for (connection, byte) in stuck.iter().enumerate() {
            self.expect(connection, *byte);
            self.expect(connection, b'e');
        }
        assert_eq!(self.pool.panics(), 0);
        self.pool.join();
        self.port.close();
    }
}

/// The first connections' handlers get stuck on these bytes, one after the other: only they wait.
fn only_the_stuck_wait(kind: BackendKind, stuck: &[u8]) {
    let server = Server::start(kind);
    let (mut spinning, mut blocking) = (0, 0);
    for (connection, byte) in stuck.iter().enumerate() {
        let (gate, count) = match byte {
            b's' => (&server.spinning, &mut spinning),
            _ => (&server.blocking, &mut blocking),
        };
        *count += 1;
        server.send(connection, *byte);
        gate.wait_for(*count);
    }
    server.assert_only_these_wait(stuck.len());
    server.end(stuck);
}

pub fn s45_a_handler_that_blocks_delays_only_its_own_connection(kind: BackendKind) {
    only_the_stuck_wait(kind, b"b");
}

pub fn s45_a_handler_that_announces_that_it_blocks_delays_only_its_own(kind: BackendKind) {
    only_the_stuck_wait(kind, b"a");
}

pub fn s45_as_many_handlers_may_block_as_another_thread_is_left(kind: BackendKind) {
    if tells_no_sleep() {
        return;
    }
    only_the_stuck_wait(kind, b"bbb");
}

pub fn s45_a_handler_that_spins_delays_only_its_own_while_a_place_is_free(kind: BackendKind) {
    only_the_stuck_wait(kind, b"s");
}

pub fn s45_others_go_on_beside_one_that_spins_and_two_that_block(kind: BackendKind) {
    if tells_no_sleep() {
        return;
    }
    only_the_stuck_wait(kind, b"sbb");
}

pub fn s45_what_a_handler_started_before_it_blocks_goes_on(kind: BackendKind) {
    if tells_no_sleep() {
        return;
    }
    for concurrency in [1, 2] {
        let port = builder(kind).concurrency(concurrency).build().expect("a port");
        let (own, mut own_peer) = connection(&port, 1);
        let (other, mut other_peer) = connection(&port, 2);
        let gate = Gate::new();
        let (took, taken) = mpsc::channel();
        let at_gate = Arc::clone(&gate);
        let workers = Workers::start(&port, 2, move |packet: Packet<()>| match packet.kind {
            OperationKind::Posted => {
                own.send(b"answer".to_vec(), ()).expect("started");
                other.receive(vec![0; 8], ()).expect("started");
                at_gate.block();
            }
            OperationKind::Receive => took.send(packet.result).expect("it is awaited"),
            _ => {}
        });
        port.post(0, 0, ()).expect("room");
        gate.wait_for(1);
        assert_eq!(read_exactly(&mut own_peer, 6), b"answer");
        other_peer.write_all(b"data").expect("sent");
        assert_eq!(crate::world::next(&taken), Ok(4));
        gate.wait_for(1);
        gate.open();
        workers.end();
    }
}

/// A port whose pool fills what comes back with a pattern and never uses it again.
fn port_in_quarantine(kind: BackendKind) -> CompletionPort<()> {
    let options = PoolOptions::new().quarantine(true);
    builder(kind).concurrency(2).pool(options).build().expect("a port")
}

/// Connections with receives of every sort and sends under way, some started by this thread, which
/// has a place in the port, and some by one that has none and ends.
fn work(port: &CompletionPort<()>, pool: &BufferPool) -> (Vec<SocketHandle<()>>, Vec<TcpStream>) {
    port.post(0, 0, ()).expect("room");
    get(port);
    let (handles, peers): (Vec<_>, Vec<_>) = (0..48).map(|key| connection(port, key)).unzip();
    let start = |handle: &SocketHandle<()>| {
        let buffer = || pool.take(SizeClass::Large64K).expect("within the bound");
        match handle.key() % 4 {
            0 => handle.receive(buffer(), ()).expect("started"),
            1 => handle.receive_pooled(()).expect("started"),
            2 => handle.receive_stream(()).expect("started"),
            _ => handle
                .receive([buffer(), buffer()].map(anyport::buf::Buffer::from), ())
                .expect("started"),
        };
        if handle.key().is_multiple_of(3) {
            // More than goes out while nobody reads.
            handle.set_send_buffer_size(64 << 10).expect("set");
            for _ in 0..32 {
                let mut buffer = buffer();
                buffer.extend_from_slice(&[7; 64 << 10]);
                handle.send(buffer, ()).expect("started");
            }
        }
    };
    let (some, others) = handles.split_at(24);
    some.iter().for_each(start);
    thread::scope(|scope| {
        scope.spawn(|| others.iter().for_each(start));
    });
    (handles, peers)
}

/// The peers send into what was dropped, and read to the end.
fn send_into_what_was_dropped(peers: Vec<TcpStream>) {
    for mut peer in peers {
        // The connection may be reset already; what counts is that bytes arrive if they can.
        let _ = peer.write_all(&[9; 64 << 10]);
        let _ = peer.read_to_end(&mut Vec::new());
    }
}

/// Runs `scenario` on a thread of its own, since a thread that has waited on a port keeps its rings
/// until it ends. After that everything is freed, and nobody has written to it.
fn assert_untouched_after(
    port: CompletionPort<()>,
    scenario: impl FnOnce(CompletionPort<()>, &BufferPool) + Send,
) {
    let pool = port.pool().clone();
    let here = Here::now();
    thread::scope(|scope| {
        scope.spawn(|| here.run(|| scenario(port, &pool)));
    });
    wait_until("the end of all buffers", || pool.live() == 0);
    let checked = pool.check_quarantine().unwrap_or_else(|e| panic!("written after free: {e:?}"));
    assert!(checked > 0, "nothing was under way");
}

/// Port and handles are dropped in this order while operations of every sort are under way.
fn dropped_while_at_work(
    kind: BackendKind,
    drop_both: fn(CompletionPort<()>, Vec<SocketHandle<()>>),
) {
    for _ in 0..5 {
        assert_untouched_after(port_in_quarantine(kind), |port, pool| {
            let (handles, peers) = work(&port, pool);
            drop_both(port, handles);
            send_into_what_was_dropped(peers);
        });
    }
}

pub fn s46_a_dropped_port_frees_nothing_that_the_kernel_may_write(kind: BackendKind) {
    dropped_while_at_work(kind, |port, handles| {
        drop(port);
        drop(handles);
    });
}

pub fn s46_a_port_dropped_after_its_handles_frees_nothing_too_early(kind: BackendKind) {
    dropped_while_at_work(kind, |port, handles| {
        drop(handles);
        drop(port);
    });
}

pub fn s46_dropped_sockets_free_nothing_that_the_kernel_may_write(kind: BackendKind) {
    for _ in 0..5 {
        assert_untouched_after(port_in_quarantine(kind), |port, pool| {
            let (handles, peers) = work(&port, pool);
            drop(handles);
            let (mut aborted, mut aborted_sends) = (0, 0);
            while port.stats().operations_live > 0 {
                let packet = get(&port);
                match packet.result {
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Aborted, "{error}");
                        aborted += 1;
                        aborted_sends += usize::from(packet.kind == OperationKind::Send);
                    }
                    // What went out before the close.
                    Ok(_) => assert_eq!(packet.kind, OperationKind::Send),
                }
            }
            assert!(aborted >= 48, "{aborted} of at least one a connection");
            assert!(aborted_sends >= 16, "{aborted_sends} of at least one where nobody reads");
            send_into_what_was_dropped(peers);
            pool.check_quarantine().unwrap_or_else(|e| panic!("written after free: {e:?}"));
        });
    }
}

pub fn s46_a_port_dropped_with_file_reads_under_way_frees_nothing_too_early(kind: BackendKind) {
    let path = TemporaryPath::new();
    std::fs::write(&path, vec![1; 4 << 20]).expect("written");
    for _ in 0..10 {
        assert_untouched_after(port_in_quarantine(kind), |port, pool| {
            let file = fs::OpenOptions::new().read(true).open(&path).expect("open");
            let handle = port.associate(file, 1).expect("associated");
            for read in 0..256 {
                let buffer = pool.take(SizeClass::Large64K).expect("within the bound");
                handle.read_at(buffer, (read % 64) << 16, ()).expect("started");
            }
            drop(port);
            drop(handle);
        });
    }
}

pub fn s46_a_pooled_buffer_outlives_its_port(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 1);
    handle.receive_pooled(()).expect("started");
    peer.write_all(b"kept").expect("sent");
    let packet = get(&port);
    drop((handle, port));
    assert_eq!(crate::world::bytes_of(&packet), b"kept");
    thread::spawn(move || drop(packet)).join().expect("no panic");
}

/// Everything may be used by every thread, also with contexts that may only be sent.
#[test]
fn ports_and_handles_go_to_any_thread() {
    fn goes_anywhere<V: Send + Sync>() {}
    fn can_be_sent<V: Send>() {}
    goes_anywhere::<CompletionPort<Cell<u8>>>();
    goes_anywhere::<net::SocketHandle<Cell<u8>>>();
    goes_anywhere::<fs::FileHandle<Cell<u8>>>();
    goes_anywhere::<net::Socket>();
    goes_anywhere::<fs::File>();
    goes_anywhere::<WorkerPool>();
    goes_anywhere::<BufferPool>();
    goes_anywhere::<Packet<u8>>();
    goes_anywhere::<anyport::Operation>();
    goes_anywhere::<anyport::Error>();
    can_be_sent::<Packet<Cell<u8>>>();
    can_be_sent::<anyport::Rejected<Cell<u8>>>();
}
