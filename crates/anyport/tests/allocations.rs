//! Once warm, an operation allocates nothing: slots, links, messages and buffers are used again.
//!
//! The allocator counts for the threads that take packets and start operations: the engine's own
//! thread allocates a little by the clock, whatever goes on.

#[path = "world/counting_allocator.rs"]
mod counting_allocator;
#[allow(unused_imports, reason = "other tests use all of it")]
#[path = "memory/world.rs"]
mod world;

use anyport::buf::Buffer;
use anyport::net::SocketHandle;
use anyport::rt::net::UdpSocket;
use anyport::{BackendKind, CompletionPort, Error, OperationKind, Packet, WorkerPool, rt};
use counting_allocator::Counting;
use std::cell::Cell;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use world::{TcpStream, builder, wait_until};

/// Allocations of the threads that are counted.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // While a thread ends it has none.
    if IS_COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(count);

/// There is one count: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const CONNECTIONS: usize = 8;

/// Rounds of one message on each connection before and while it is counted.
const ROUNDS: usize = 1_000;

/// A message in so many may allocate: where a list grows to a new greatest length.
const MESSAGES_FOR_EACH: usize = 200;

world::on_every_backend! {
    tests::echoes_of_a_stream_allocate_nothing_once_warm,
    tests::echoes_that_nobody_asks_about_allocate_nothing_once_warm,
    tests::echoes_of_single_receives_allocate_nothing_once_warm,
    tests::posted_packets_allocate_nothing_once_warm,
    tests::echoes_of_tasks_allocate_nothing_once_warm,
    tests::writes_of_tasks_that_have_a_timeout_allocate_nothing_once_warm,
    tests::datagrams_of_tasks_allocate_nothing_once_warm,
}

#[cfg(feature = "futures-io")]
mod futures_io {
    crate::world::on_every_backend! {
        tests::echoes_by_the_traits_of_others_allocate_nothing_once_warm,
    }
}

fn alone(test: impl FnOnce()) {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    test();
}

/// Runs `round` until it is warm, and counts then.
fn assert_allocates_nothing(messages_a_round: usize, mut round: impl FnMut()) {
    (0..ROUNDS).for_each(|_| round());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..ROUNDS).for_each(|_| round());
    let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let messages = ROUNDS * messages_a_round;
    assert!(count * MESSAGES_FOR_EACH <= messages, "{count} allocations for {messages} messages");
}

/// Counts while each peer sends a message a round and has it back.
fn assert_echoes_allocate_nothing(peers: &mut [TcpStream]) {
    let (message, mut reply) = ([7; 100], [0; 100]);
    assert_allocates_nothing(peers.len(), || {
        for peer in &mut *peers {
            peer.write_all(&message).expect("it is connected");
        }
        for peer in &mut *peers {
            peer.read_exact(&mut reply).expect("the answer comes");
            assert_eq!(reply, message);
        }
    });
}

/// As `echo`, of tasks: what a task does with its connection until the peer has ended its side.
fn echo_of_tasks<F>(kind: BackendKind, serve: fn(rt::net::TcpStream) -> F)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    alone(|| {
        let builder = rt::Runtime::builder().backend(kind).workers(1).concurrency(1);
        let runtime = builder.on_thread_start(|_| IS_COUNTED.set(true)).build();
        let runtime = runtime.expect("the backend is there");
        let mut peers: Vec<TcpStream> = Vec::new();
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (ours, theirs) = world::pair();
            let _entered = runtime.handle().enter();
            let stream = rt::net::TcpStream::from_socket(ours).expect("a new socket");
            tasks.push(runtime.spawn(serve(stream)));
            peers.push(theirs);
        }
        assert_echoes_allocate_nothing(&mut peers);
        drop(peers);
        for task in tasks {
            runtime.block_on(task).expect("it does not panic").expect("an orderly end");
        }
    });
}

/// How a handler answers, and asks for more.
type Answer = fn(&SocketHandle<usize>, Packet<usize>);

/// An echo server, whose contexts are the numbers of connections, and clients in this thread.
fn echo(kind: BackendKind, receive: fn(&SocketHandle<usize>, usize), answer: Answer) {
    alone(|| {
        let port: CompletionPort<usize> = builder(kind).build().expect("the backend is there");
        let mut peers: Vec<TcpStream> = Vec::new();
        let mut handles = Vec::new();
        for number in 0..CONNECTIONS {
            let (ours, theirs) = world::pair();
            handles.push(port.associate(ours, number).expect("a new socket"));
            peers.push(theirs);
        }
        let handles = Arc::new(handles);
        let pool = {
            let handles = Arc::clone(&handles);
            WorkerPool::builder(&port)
                .threads(1)
                .start(move |packet, _| {
                    IS_COUNTED.set(true);
                    if packet.result.is_ok_and(|bytes| bytes > 0) {
                        answer(&handles[packet.context], packet);
                    }
                })
                .expect("a thread is to be had")
        };
        for (number, handle) in handles.iter().enumerate() {
            receive(handle, number);
        }
        assert_echoes_allocate_nothing(&mut peers);
        drop(peers);
        wait_until("all have ended", || port.stats().operations_live == 0);
        pool.join();
    });
}

fn stream(handle: &SocketHandle<usize>, number: usize) {
    handle.receive_stream(number).expect("it is connected");
}

mod tests {
    use super::*;

    pub(crate) fn echoes_of_a_stream_allocate_nothing_once_warm(kind: BackendKind) {
        echo(kind, stream, |handle, packet| {
            if packet.kind == OperationKind::ReceiveStream {
                handle.send(packet.buffers, packet.context).expect("it is connected");
            }
        });
    }

    pub(crate) fn echoes_that_nobody_asks_about_allocate_nothing_once_warm(kind: BackendKind) {
        echo(kind, stream, |handle, packet| {
            handle.send_quiet(packet.buffers, packet.context).expect("it is connected");
        });
    }

    pub(crate) fn echoes_of_single_receives_allocate_nothing_once_warm(kind: BackendKind) {
        let receive = |handle: &SocketHandle<usize>, number| {
            handle.receive_pooled(number).expect("it is connected");
        };
        echo(kind, receive, |handle, packet| {
            if packet.kind == OperationKind::ReceivePooled {
                let number = packet.context;
                handle.send(packet.buffers, number).expect("it is connected");
                handle.receive_pooled(number).expect("it is connected");
            }
        });
    }

    pub(crate) fn echoes_of_tasks_allocate_nothing_once_warm(kind: BackendKind) {
        echo_of_tasks(kind, |mut stream| async move {
            loop {
                let received = stream.recv().await?;
                if received.is_empty() {
                    return stream.flush().await;
                }
                stream.send(received).await?;
            }
        });
    }

    pub(crate) fn writes_of_tasks_that_have_a_timeout_allocate_nothing_once_warm(
        kind: BackendKind,
    ) {
        echo_of_tasks(kind, |mut stream| async move {
            const LIMIT: Duration = Duration::from_secs(3600);
            let mut buffer = Buffer::from(Vec::with_capacity(4096));
            loop {
                let read = rt::time::timeout(LIMIT, stream.read(buffer)).await;
                let (result, received) = read.expect("the peer sends");
                if result? == 0 {
                    return Ok(());
                }
                let (result, written) = stream.write(received).await;
                result?;
                buffer = written.into_one().expect("the one that was written");
            }
        });
    }

    #[cfg(feature = "futures-io")]
    pub(crate) fn echoes_by_the_traits_of_others_allocate_nothing_once_warm(kind: BackendKind) {
        use futures_util::io::{AsyncReadExt, AsyncWriteExt};
        echo_of_tasks(kind, |mut stream| async move {
            let mut message = [0; 100];
            while AsyncReadExt::read_exact(&mut stream, &mut message).await.is_ok() {
                stream.write_all(&message).await.expect("it is connected");
                AsyncWriteExt::flush(&mut stream).await.expect("it is connected");
            }
            AsyncWriteExt::close(&mut stream).await.expect("an orderly end");
            Ok(())
        });
    }

    pub(crate) fn datagrams_of_tasks_allocate_nothing_once_warm(kind: BackendKind) {
        alone(|| {
            let builder = rt::Runtime::builder().backend(kind).workers(1).concurrency(1);
            let runtime = builder.on_thread_start(|_| IS_COUNTED.set(true)).build();
            let runtime = runtime.expect("the backend is there");
            let any = "127.0.0.1:0";
            let [one, many] =
                [(); 2].map(|()| runtime.block_on(UdpSocket::bind(any)).expect("a socket"));
            let addresses = [&one, &many].map(|socket| socket.local_addr().expect("bound"));
            let one_by_one: rt::JoinHandle<Result<(), Error>> = runtime.spawn(async move {
                loop {
                    let (received, sender) = one.recv_from().await?;
                    one.send_to(received, sender).await?;
                }
            });
            let together: rt::JoinHandle<Result<(), Error>> = runtime.spawn(async move {
                let mut datagrams = Vec::new();
                loop {
                    many.recv_many(&mut datagrams, CONNECTIONS).await?;
                    while !datagrams.is_empty() {
                        many.send_many(&mut datagrams).await?;
                    }
                }
            });
            let peer = std::net::UdpSocket::bind(any).expect("a socket");
            peer.set_read_timeout(Some(Duration::from_secs(30))).expect("it can be set");
            let (message, mut reply) = ([7; 100], [0; 200]);
            assert_allocates_nothing(2 * CONNECTIONS, || {
                for address in addresses {
                    for _ in 0..CONNECTIONS {
                        peer.send_to(&message, address).expect("sent");
                    }
                    for _ in 0..CONNECTIONS {
                        let (len, from) = hear(&peer, &mut reply);
                        assert_eq!((&reply[..len], from), (&message[..], address));
                    }
                }
            });
            one_by_one.abort();
            together.abort();
        });
    }

    /// The ring interrupts a call of a thread that has submitted to it, and the standard library
    /// repeats those of streams only.
    fn hear(peer: &std::net::UdpSocket, out: &mut [u8]) -> (usize, std::net::SocketAddr) {
        loop {
            match peer.recv_from(out) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                heard => return heard.expect("the answer comes"),
            }
        }
    }

    pub(crate) fn posted_packets_allocate_nothing_once_warm(kind: BackendKind) {
        alone(|| {
            let port: CompletionPort<usize> = builder(kind).build().expect("the backend is there");
            IS_COUNTED.set(true);
            assert_allocates_nothing(8, || {
                for i in 0..8 {
                    port.post(0, 0, i).expect("there is room");
                }
                for _ in 0..8 {
                    port.get(None).expect("a packet");
                }
            });
        });
    }
}
