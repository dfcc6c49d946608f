//! Clients that check every byte: a sequence of numbered, checksummed messages of mixed sizes, many
//! in flight, and the echo server that they talk to.

use crate::world::TcpStream;
use crate::world::{any_local, builder, connect};
use anyport::net::{self, SocketHandle};
use anyport::{BackendKind, CompletionPort, OperationKind, Packet, Worker, WorkerPool};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How the echo server receives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiving {
    Stream,
    Single,
}

/// The threads of a server.
#[derive(Clone, Copy)]
pub(crate) struct Threads {
    pub(crate) all: usize,
    /// How many may run at a time.
    pub(crate) running: usize,
}

/// The context of every operation.
#[derive(Clone)]
pub(crate) struct Context(Option<Arc<Connection>>);

pub(crate) struct Connection {
    handle: SocketHandle<Context>,
}

/// An echo server on a worker pool.
pub(crate) struct EchoServer {
    port: CompletionPort<Context>,
    pool: WorkerPool,
    listener: SocketHandle<Context>,
    pub(crate) address: SocketAddr,
}

impl EchoServer {
    /// Four threads, two of which may run. `stall` is called before every answer with how many there
    /// were before.
    pub(crate) fn start(
        kind: BackendKind,
        receiving: Receiving,
        stall: impl Fn(usize, &Worker<Context>) + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(kind, receiving, Threads { all: 4, running: 2 }, stall)
    }

    /// As `start`, with so many threads.
    pub(crate) fn start_with(
        kind: BackendKind,
        receiving: Receiving,
        threads: Threads,
        stall: impl Fn(usize, &Worker<Context>) + Send + Sync + 'static,
    ) -> Self {
        let port: CompletionPort<Context> =
            builder(kind).concurrency(threads.running).build().expect("the backend is there");
        let socket = net::listen(any_local()).expect("a port is free");
        let address = socket.local_addr().expect("it is bound");
        let listener = port.associate(socket, 0).expect("a new socket");
        let answers = AtomicUsize::new(0);
        let pool = WorkerPool::builder(&port)
            .threads(threads.all)
            .start(move |packet, worker| {
                echo(packet, worker, receiving, |worker| {
                    stall(answers.fetch_add(1, Ordering::Relaxed), worker);
                });
            })
            .expect("threads are to be had");
        listener.accept_stream(Context(None)).expect("it listens");
        EchoServer { port, pool, listener, address }
    }

    /// Ends it; nothing may be left.
    pub(crate) fn end(self) {
        let EchoServer { port, pool, listener, .. } = self;
        assert_eq!(pool.panics(), 0, "a handler panicked");
        crate::world::wait_until("only the accept is under way", || {
            port.stats().operations_live <= 1
        });
        drop(listener);
        pool.join();
    }
}

fn receive(connection: &Arc<Connection>, receiving: Receiving) {
    let context = Context(Some(Arc::clone(connection)));
    let started = match receiving {
        Receiving::Stream => connection.handle.receive_stream(context),
        Receiving::Single => connection.handle.receive_pooled(context),
    };
    started.expect("it is connected");
}

/// The handler: sends back what comes.
fn echo(
    packet: Packet<Context>,
    worker: &Worker<Context>,
    receiving: Receiving,
    stall: impl FnOnce(&Worker<Context>),
) {
    let Some(connection) = packet.context.0.clone() else {
        if let Some(socket) = packet.accepted {
            let _ = socket.set_nodelay(true);
            let handle = worker.port().associate(socket, 1).expect("a new socket");
            receive(&Arc::new(Connection { handle }), receiving);
        }
        return;
    };
    // No client resets, none leaves before it has everything.
    let bytes = packet.result.unwrap_or_else(|error| panic!("{:?}: {error}", packet.kind));
    if packet.kind == OperationKind::Send || bytes == 0 {
        return;
    }
    stall(worker);
    let context = Context(Some(Arc::clone(&connection)));
    connection.handle.send(packet.buffers, context).expect("it is connected");
    if !packet.more {
        receive(&connection, receiving);
    }
}

/// Message `number` of client `client`: its size, which is mixed, and its bytes, no two alike.
fn message(client: usize, number: usize, sizes: &[usize]) -> Vec<u8> {
    let size = sizes[(client + number * 7) % sizes.len()];
    let mut state = (client as u64) << 32 | number as u64 | 1 << 63;
    (0..size)
        .map(|_| {
            // xorshift: any lost, doubled or moved byte shows.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// Runs `clients` at the same time, each with `messages` of these sizes, all in flight at once as
/// far as the system's buffers go, and compares every byte that comes back.
pub(crate) fn run_clients(address: SocketAddr, clients: usize, messages: usize, sizes: &[usize]) {
    thread::scope(|scope| {
        for client in 0..clients {
            let stream = connect(address);
            scope.spawn(move || run_client(stream, client, messages, sizes));
        }
    });
}

fn run_client(mut reader: TcpStream, client: usize, messages: usize, sizes: &[usize]) {
    let mut writer = reader.try_clone().expect("a descriptor is free");
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..messages {
                writer.write_all(&message(client, number, sizes)).expect("the server goes on");
            }
            writer.shutdown(Shutdown::Write).expect("it is connected");
        });
        for number in 0..messages {
            let expected = message(client, number, sizes);
            let mut answer = vec![0; expected.len()];
            reader.read_exact(&mut answer).expect("the answer comes");
            if let Some(at) = (0..answer.len()).find(|&at| answer[at] != expected[at]) {
                panic!(
                    "client {client}, message {number} of {}: wrong from byte {at}",
                    answer.len()
                );
            }
        }
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).expect("an orderly end");
        assert!(rest.is_empty(), "{} bytes too many", rest.len());
    });
}
