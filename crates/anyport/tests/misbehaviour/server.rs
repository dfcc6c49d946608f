//! The echo server under test, as a user would write it: an accept stream, a receive stream for
//! each connection, and a high-water mark at which a connection that is not read from is not
//! received from either.

use crate::world::{TcpStream, any_local, builder, connect, wait_until};
use anyport::buf::BufferPool;
use anyport::net::{self, SocketHandle};
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind, Packet, Worker, WorkerPool};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Threads that run at a time.
const CONCURRENCY: usize = 2;

/// Threads of the pool.
const THREADS: usize = 4;

/// Bytes that may wait to be sent on one connection before its receiving pauses.
pub(crate) const HIGH_WATER_BYTES: usize = 256 << 10;

/// Bytes at which it goes on.
const LOW_WATER_BYTES: usize = 64 << 10;

/// What may come beyond the mark: packets that had arrived when the stream was cancelled. The bound
/// is the stream's backlog and what the backend had lent to the kernel, which is at most half of
/// the pool: this pool has 256 MiB, and one connection of the test never gets a quarter of it.
pub(crate) const OVERSHOOT_BYTES: usize = 64 << 20;

/// A message that makes the handler panic.
pub(crate) const PANIC_PLEASE: &[u8] = b"panic, please";

/// A port with its listener and its threads.
pub(crate) struct Server {
    port: CompletionPort<Context>,
    pool: WorkerPool,
    listener: SocketHandle<Context>,
    address: SocketAddr,
    figures: Arc<Figures>,
}

#[derive(Default)]
struct Figures {
    connections: AtomicUsize,
    /// The peers of connections that are paused.
    paused: Mutex<HashSet<SocketAddr>>,
    waiting_peak: AtomicUsize,
}

impl Figures {
    fn note_paused(&self, peer: SocketAddr, is_paused: bool) {
        let mut paused = self.paused.lock().expect("no panic inside");
        if is_paused {
            paused.insert(peer);
        } else {
            paused.remove(&peer);
        }
    }
}

#[derive(Clone)]
enum Context {
    Listener(Arc<Figures>),
    Connection(Arc<Connection>),
    /// Its handler counts itself here, and lasts until all threads are in one.
    Meeting(Arc<AtomicUsize>),
}

/// Lives as long as operations of it are under way.
struct Connection {
    handle: SocketHandle<Context>,
    flow: Mutex<Flow>,
    /// Last, so that it goes last: who is no longer counted has closed its descriptor.
    counted: Counted,
}

/// A connection in the server's figures.
struct Counted {
    peer: SocketAddr,
    figures: Arc<Figures>,
}

#[derive(Default)]
struct Flow {
    /// Bytes received whose send is under way.
    waiting: usize,
    /// The stream was cancelled, or is being: for the mark.
    is_paused: bool,
    /// The stream is over for now: to be started again below the low mark.
    is_stopped: bool,
}

impl Server {
    pub(crate) fn start(kind: BackendKind) -> Self {
        let port: CompletionPort<Context> =
            builder(kind).concurrency(CONCURRENCY).build().expect("the backend is there");
        let socket = net::listen(any_local()).expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        let listener = port.associate(socket, 0).expect("a new socket");
        let figures = Arc::<Figures>::default();
        let pool = WorkerPool::builder(&port)
            .threads(THREADS)
            .start(handle)
            .expect("four threads are to be had");
        // What a thread makes when it first gets a place, it makes now.
        let here = Arc::<AtomicUsize>::default();
        for _ in 0..THREADS {
            assert!(port.post(0, 0, Context::Meeting(Arc::clone(&here))).is_ok(), "there is room");
        }
        wait_until("all threads have had a place", || here.load(Ordering::Acquire) == THREADS);
        listener.accept_stream(Context::Listener(Arc::clone(&figures))).expect("it listens");
        Server { port, pool, listener, address, figures }
    }

    /// Operations under way, and packets that nobody has taken.
    pub(crate) fn operations(&self) -> usize {
        self.port.stats().operations_live
    }

    /// Pooled buffers in use.
    pub(crate) fn buffers(&self) -> usize {
        self.port.pool().live()
    }

    /// A client's connection.
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Connections that the server has not let go.
    pub(crate) fn connections(&self) -> usize {
        self.figures.connections.load(Ordering::Acquire)
    }

    /// True while receiving from this client pauses, because it reached the mark.
    pub(crate) fn is_paused(&self, client: SocketAddr) -> bool {
        self.figures.paused.lock().expect("no panic inside").contains(&client)
    }

    /// The most bytes that have waited on one connection.
    pub(crate) fn waiting_peak(&self) -> usize {
        self.figures.waiting_peak.load(Ordering::Acquire)
    }

    pub(crate) fn panics(&self) -> u64 {
        self.pool.panics()
    }

    /// Ends it; gives the pool of buffers, and how many handlers have panicked.
    pub(crate) fn end(self) -> (BufferPool, u64) {
        let buffers = self.port.pool().clone();
        let panics = self.pool.panics();
        drop(self.listener);
        self.pool.join();
        (buffers, panics)
    }
}

impl Counted {
    fn new(peer: SocketAddr, figures: Arc<Figures>) -> Self {
        figures.connections.fetch_add(1, Ordering::Release);
        Counted { peer, figures }
    }

    fn note_paused(&self, is_paused: bool) {
        self.figures.note_paused(self.peer, is_paused);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.note_paused(false);
        self.figures.connections.fetch_sub(1, Ordering::Release);
    }
}

fn handle(packet: Packet<Context>, worker: &Worker<Context>) {
    match packet.context.clone() {
        Context::Listener(figures) => accepted(packet, worker, figures),
        Context::Meeting(here) => {
            here.fetch_add(1, Ordering::Release);
            // Gives its place to the next.
            worker.blocking(|| {
                wait_until("all threads", || here.load(Ordering::Acquire) == THREADS);
            });
        }
        Context::Connection(connection) => match packet.kind {
            OperationKind::ReceiveStream => received(packet, &connection),
            OperationKind::Send => sent(packet, &connection),
            other => panic!("nobody has started a {other:?}"),
        },
    }
}

fn accepted(packet: Packet<Context>, worker: &Worker<Context>, figures: Arc<Figures>) {
    if let Err(error) = packet.result {
        // The end of the test: the listener was closed.
        assert_eq!(error.kind(), ErrorKind::Aborted, "{error}");
        return;
    }
    let socket = packet.accepted.expect("a connection was accepted");
    // Without an address it was reset before it was accepted.
    let Some(peer) = packet.peer else { return };
    let handle = worker.port().associate(socket, 1).expect("a new socket");
    // It fails when the peer has gone already, which the first receive then tells.
    let _ = handle.set_nodelay(true);
    let counted = Counted::new(peer, figures);
    let connection = Arc::new(Connection { handle, flow: Mutex::default(), counted });
    receive(&connection);
}

fn receive(connection: &Arc<Connection>) {
    let context = Context::Connection(Arc::clone(connection));
    // Refused when the connection was found to be reset: it goes when its sends are over.
    let _ = connection.handle.receive_stream(context);
}

fn received(packet: Packet<Context>, connection: &Arc<Connection>) {
    let bytes = match packet.result {
        Ok(0) => {
            assert!(!packet.more, "the end of a stream is its last packet");
            return;
        }
        Ok(bytes) => bytes,
        Err(error) => {
            assert!(!packet.more, "an error is the last packet of a stream");
            if error.kind() == ErrorKind::Cancelled {
                stopped(connection);
            }
            return;
        }
    };
    if packet.buffers.as_slice()[0].as_slice() == PANIC_PLEASE {
        std::panic::resume_unwind(Box::new("on request"));
    }
    let mut flow = connection.flow.lock().expect("no handler panics inside");
    flow.waiting += bytes;
    connection.counted.figures.waiting_peak.fetch_max(flow.waiting, Ordering::Release);
    let context = Context::Connection(Arc::clone(connection));
    if connection.handle.send(packet.buffers, context).is_err() {
        flow.waiting -= bytes;
    }
    if flow.waiting > HIGH_WATER_BYTES && !flow.is_paused {
        flow.is_paused = true;
        connection.counted.note_paused(true);
        let operation = packet.operation.expect("a receive is an operation");
        // Not found when the stream has ended meanwhile, and then its last packet is on its way.
        let _ = connection.handle.cancel(operation);
    }
}

/// The stream ended because it was cancelled.
fn stopped(connection: &Arc<Connection>) {
    let mut flow = connection.flow.lock().expect("no handler panics inside");
    assert!(flow.is_paused, "cancelled without having been asked");
    flow.is_stopped = true;
    go_on(connection, &mut flow);
}

fn sent(packet: Packet<Context>, connection: &Arc<Connection>) {
    let bytes = packet.buffers.total_len();
    let mut flow = connection.flow.lock().expect("no handler panics inside");
    flow.waiting -= bytes;
    if let Ok(sent) = packet.result {
        assert_eq!(sent, bytes, "a send is whole or an error");
    }
    go_on(connection, &mut flow);
}

fn go_on(connection: &Arc<Connection>, flow: &mut Flow) {
    if flow.is_stopped && flow.waiting <= LOW_WATER_BYTES {
        (flow.is_stopped, flow.is_paused) = (false, false);
        connection.counted.note_paused(false);
        receive(connection);
    }
}
