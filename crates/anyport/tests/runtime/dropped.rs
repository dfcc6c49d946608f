//! What a dropped future leaves behind: no byte and no connection is lost, and none comes twice.

use super::streams::close_by_reset;
use super::world::{
    Checked, Numbers, PeerStream, any_local, bytes, connect, give_up_after, is_of_no_system, pair,
    reads_all, runtime, wait_until,
};
use anyport::buf::Buffer;
use anyport::net::Socket;
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, Handle, Runtime};
use anyport::{BackendKind, ErrorKind};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// Races that each test runs; a run of a million is `ANYPORT_RACES=1000000`.
pub(crate) fn races() -> usize {
    std::env::var("ANYPORT_RACES").map_or(10_000, |n| n.parse().expect("a number"))
}

/// A peer that sends a checked stream in pieces of all sizes, as long as somebody receives.
pub(crate) fn sends(mut peer: PeerStream) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let (mut position, mut numbers) = (0, Numbers(7));
        loop {
            let size = 1 + numbers.below(700);
            if peer.write_all(&bytes(position, size)).is_err() {
                return position;
            }
            position += size;
        }
    })
}

pub(crate) fn a_dropped_receive_loses_no_byte(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime
        .block_on(rt_spawn(&runtime, async {
            let (mut stream, peer) = pair();
            let peer = sends(peer);
            let (mut checked, mut numbers) = (Checked::default(), Numbers(2));
            for _ in 0..races() {
                if let Some(received) = give_up_after(numbers.below(4), stream.recv()).await {
                    checked.take(received.expect("it arrives").as_slice());
                }
            }
            checked.take(stream.recv().await.expect("it arrives").as_slice());
            drop(stream);
            assert!(peer.join().expect("it ends") >= checked.position);
        }))
        .expect("it does not panic");
}

/// Reads only: beside a stream of receives, which goes on once it runs, they would only copy.
pub(crate) fn a_dropped_read_loses_no_byte(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime
        .block_on(rt_spawn(&runtime, async {
            let (mut stream, peer) = pair();
            let peer = sends(peer);
            let (mut checked, mut numbers) = (Checked::default(), Numbers(3));
            for _ in 0..races() {
                let polls = numbers.below(4);
                let room = 1 + numbers.below(2000);
                // A boxed slice does not know how much of it was received.
                let buffer = match numbers.below(2) {
                    0 => Buffer::from(Vec::with_capacity(room)),
                    _ => Buffer::from(vec![0; room].into_boxed_slice()),
                };
                if let Some((result, buffer)) = give_up_after(polls, stream.read(buffer)).await {
                    let len = result.expect("it arrives");
                    checked.take(&buffer.as_slice()[..len]);
                }
            }
            checked.take(stream.recv().await.expect("it arrives").as_slice());
            drop(stream);
            assert!(peer.join().expect("it ends") >= checked.position);
        }))
        .expect("it does not panic");
}

/// Polls `future` once, which waits, and never drops it. Its address stays, so that nobody takes it for a
/// leak.
async fn forget_waiting(future: impl Future) {
    static FORGOTTEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let mut future = Box::pin(future);
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "there is nothing yet");
        Poll::Ready(())
    })
    .await;
    FORGOTTEN.lock().expect("no panic").push(std::ptr::from_ref(&*future).addr());
    std::mem::forget(future);
}

pub(crate) fn a_forgotten_read_leaves_what_it_brings_to_the_next(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        for text in ["first", "second"] {
            forget_waiting(stream.read(Vec::with_capacity(8))).await;
            peer.write_all(text.as_bytes()).expect("sent");
            let (result, buffer) = stream.read(Vec::with_capacity(8)).await;
            assert_eq!(
                (result.expect("it arrives"), buffer.as_slice()),
                (text.len(), text.as_bytes())
            );
        }
        forget_waiting(stream.read(Vec::with_capacity(8))).await;
        peer.write_all(b"third").expect("sent");
        assert_eq!(stream.recv().await.expect("it arrives").as_slice(), b"third");
        peer.write_all(b"fourth").expect("sent");
        assert_eq!(stream.recv().await.expect("it arrives").as_slice(), b"fourth");

        let (mut stream, peer) = pair();
        forget_waiting(stream.read(Vec::with_capacity(8))).await;
        drop(peer);
        for _ in 0..2 {
            assert!(stream.recv().await.expect("a clean end").is_empty());
        }

        let (mut stream, peer) = pair();
        forget_waiting(stream.read(Vec::with_capacity(8))).await;
        close_by_reset(peer);
        for _ in 0..2 {
            assert_eq!(stream.recv().await.expect_err("it was reset").kind(), ErrorKind::Reset);
        }
    });
}

/// A `send` that is polled again would say that it has sent, and a `recv` take the next one's bytes.
pub(crate) fn a_future_of_a_stream_that_is_over_is_not_polled_again(kind: BackendKind) {
    let runtime = runtime(kind);
    let ends = |future: Pin<&mut dyn Future<Output = ()>>| {
        let mut future = future;
        let ready = poll_fn(|cx| future.as_mut().poll(cx));
        runtime.block_on(ready);
        let again = AssertUnwindSafe(|| {
            let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        assert!(catch_unwind(again).is_err());
    };
    let (mut stream, mut peer) = {
        let _entered = runtime.handle().enter();
        pair()
    };
    peer.write_all(b"one").expect("sent");
    ends(pin!(mapped(stream.recv())));
    ends(pin!(mapped(stream.send("two"))));
    let mut came = [0; 3];
    peer.read_exact(&mut came).expect("it arrives");
    assert_eq!(&came, b"two");
}

/// What `async` would wrap would say by itself that it is over.
fn mapped<F: Future + Unpin>(mut future: F) -> impl Future<Output = ()> {
    poll_fn(move |cx| Pin::new(&mut future).poll(cx).map(drop))
}

/// A task of the runtime, so that it is polled by workers.
fn rt_spawn(
    runtime: &rt::Runtime,
    future: impl Future<Output = ()> + Send + 'static,
) -> rt::JoinHandle<()> {
    runtime.spawn(future)
}

pub(crate) fn a_dropped_accept_loses_no_connection(kind: BackendKind) {
    const CONNECTIONS: usize = 200;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let listener = TcpListener::bind(any_local()).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let clients =
            thread::spawn(move || (0..CONNECTIONS).map(|_| connect(address)).collect::<Vec<_>>());
        let (mut accepted, mut numbers) = (Vec::new(), Numbers(4));
        while accepted.len() < CONNECTIONS {
            if let Some(connection) = give_up_after(numbers.below(3), listener.accept()).await {
                accepted.push(connection.expect("a connection"));
            }
        }
        let clients = clients.join().expect("it ends");
        let mut ours: Vec<_> = accepted.iter().map(|(_, peer)| *peer).collect();
        let mut theirs: Vec<_> =
            clients.iter().map(|c| c.local_addr().expect("its address")).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);
    });
}

pub(crate) fn a_dropped_accept_leaves_nothing_behind(kind: BackendKind) {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let runtime = runtime(kind);
    let _entered = runtime.handle().enter();
    let listener = runtime.block_on(TcpListener::bind(any_local())).expect("a listener");
    let nobody = Arc::new(Nobody);
    for _ in 0..100 {
        let waker = Waker::from(Arc::clone(&nobody));
        let mut cx = Context::from_waker(&waker);
        let mut first = Box::pin(listener.accept());
        let mut second = Box::pin(listener.accept());
        for _ in 0..2 {
            assert!(first.as_mut().poll(&mut cx).is_pending());
            assert!(second.as_mut().poll(&mut cx).is_pending());
        }
        drop(waker);
        drop(second);
        assert_eq!(Arc::strong_count(&nobody), 2, "the first one still waits");
        drop(first);
        assert_eq!(Arc::strong_count(&nobody), 1);
    }
}

pub(crate) fn a_dropped_receive_or_send_forgets_who_waited(kind: BackendKind) {
    struct Nobody;
    impl Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let runtime = runtime(kind);
    let _entered = runtime.handle().enter();
    let (mut stream, peer) = pair();
    // More than the system takes while nobody reads.
    let writing = runtime.block_on(give_up_after(1, stream.write(vec![0; 16 << 20])));
    assert!(writing.is_none(), "it waits");
    let nobody = Arc::new(Nobody);
    let poll = |future: Pin<&mut dyn Future<Output = ()>>| {
        let waker = Waker::from(Arc::clone(&nobody));
        assert!(future.poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert!(Arc::strong_count(&nobody) > 1, "it waits");
    };
    poll(pin!(async {
        let _ = stream.recv().await;
    }));
    assert_eq!(Arc::strong_count(&nobody), 1, "of a receive");
    poll(pin!(async {
        let _ = stream.peek(&mut [0]).await;
    }));
    assert_eq!(Arc::strong_count(&nobody), 1, "of a peek");
    poll(pin!(async {
        let _ = stream.read(Vec::with_capacity(1)).await;
    }));
    assert_eq!(Arc::strong_count(&nobody), 1, "of a read");
    poll(pin!(async {
        let _ = stream.send("more").await;
    }));
    assert_eq!(Arc::strong_count(&nobody), 1, "of a send");
    poll(pin!(async {
        let _ = stream.flush().await;
    }));
    assert_eq!(Arc::strong_count(&nobody), 1, "of a flush");
    poll(pin!(async {
        let _ = stream.shutdown().await;
    }));
    assert_eq!(Arc::strong_count(&nobody), 1, "of a shutdown");
    drop(peer);
}

pub(crate) fn an_accept_that_is_dropped_when_it_was_called_calls_another(kind: BackendKind) {
    const TASKS: usize = 20;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let listener = Arc::new(TcpListener::bind(any_local()).await.expect("a listener"));
        let address = listener.local_addr().expect("its address");
        let mut clients = Vec::new();
        for _ in 0..20 {
            let wait = || {
                let listener = Arc::clone(&listener);
                rt::spawn(async move { listener.accept().await.map(drop) })
            };
            let aborted: Vec<_> = (0..TASKS).map(|_| wait()).collect();
            let tasks: Vec<_> = (0..TASKS).map(|_| wait()).collect();
            for task in aborted {
                clients.push(connect(address));
                task.abort();
                if let Ok(accepted) = task.await {
                    // It was faster, and its connection is to be made up for.
                    accepted.expect("a connection");
                    clients.push(connect(address));
                }
            }
            for task in tasks {
                task.await.expect("no panic").expect("a connection");
            }
        }
    });
}

pub(crate) fn a_dropped_write_runs_on_and_later_ones_follow_it(kind: BackendKind) {
    const WRITES: usize = 300;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        let reader = reads_all(peer);
        let (mut position, mut numbers) = (0, Numbers(5));
        for _ in 0..WRITES {
            let size = 1 + numbers.below(100_000);
            // The first poll starts it; a future that is never polled has not written.
            let polls = 1 + numbers.below(3);
            let ended = give_up_after(polls, stream.write(bytes(position, size))).await;
            if let Some((result, buffers)) = ended {
                assert_eq!((result, buffers.total_len()), (Ok(size), size));
            }
            position += size;
        }
        let (result, _) = stream.write(bytes(position, 1)).await;
        assert_eq!(result, Ok(1));
        wait_until("all is counted", || stream.bytes_sent() == (position + 1) as u64);
        stream.shutdown().await.expect("it ends");
        let all = reader.join().expect("it ends");
        Checked::default().take(&all);
        assert_eq!(all.len(), position + 1);
    });
}

pub(crate) fn a_dropped_send_has_sent_all_or_nothing(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        let reader = reads_all(peer);
        let (mut position, mut numbers) = (0, Numbers(6));
        for _ in 0..500 {
            let size = 1 + numbers.below(100_000);
            let sending = stream.send(bytes(position, size));
            // Given up, it was not handed over: the next one sends these bytes.
            if let Some(result) = give_up_after(numbers.below(3), sending).await {
                result.expect("it is handed over");
                position += size;
            }
        }
        stream.shutdown().await.expect("it ends");
        let all = reader.join().expect("it ends");
        Checked::default().take(&all);
        assert_eq!((all.len(), stream.bytes_sent()), (position, position as u64));
    });
}

pub(crate) fn an_aborted_task_loses_no_byte_of_a_stream_that_others_hold(kind: BackendKind) {
    const ROUNDS: usize = 200;
    let runtime = runtime(kind);
    let handle = runtime.handle().clone();
    runtime.block_on(async move {
        let (stream, peer) = pair();
        let peer = sends(peer);
        // The stream and what was received of it belong to the table, not to the task.
        let table = Arc::new(Mutex::new(Some((stream, Checked::default()))));
        for _ in 0..ROUNDS {
            let table = Arc::clone(&table);
            let task = handle.spawn(async move {
                let taken = table.lock().expect("nobody panics").take();
                let Some((stream, checked)) = taken else { return };
                let mut back = PutBack { table: &table, held: Some((stream, checked)) };
                while let Some((stream, checked)) = &mut back.held {
                    checked.take(stream.recv().await.expect("it arrives").as_slice());
                }
            });
            rt::yield_now().await;
            task.abort();
            let _ = task.await;
        }
        let (mut stream, mut checked) =
            table.lock().expect("nobody panics").take().expect("it is back");
        let before = checked.position;
        while checked.position < before + 10_000 {
            checked.take(stream.recv().await.expect("it arrives").as_slice());
        }
        drop(stream);
        assert!(peer.join().expect("it ends") >= checked.position);
    });
}

type Held = (rt::net::TcpStream, Checked);

/// Puts the stream back on the table when the task is dropped.
struct PutBack<'a> {
    table: &'a Mutex<Option<Held>>,
    held: Option<Held>,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        *self.table.lock().expect("nobody panics") = self.held.take();
    }
}

pub(crate) fn a_flush_waits_for_a_dropped_write(kind: BackendKind) {
    const SIZE: usize = 16 << 20;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        assert!(give_up_after(1, stream.write(bytes(0, SIZE))).await.is_none(), "nobody reads yet");
        assert!(give_up_after(3, stream.flush()).await.is_none(), "nobody reads yet");
        let reader = reads_all(peer);
        stream.flush().await.expect("it goes");
        assert_eq!(stream.bytes_sent(), SIZE as u64);
        drop(stream);
        Checked::default().take(&reader.join().expect("it ends"));
    });
}

pub(crate) fn a_sending_half_dropped_at_the_limit_of_operations_ends_its_side(kind: BackendKind) {
    let runtime = Runtime::builder().backend(kind).operations_max(1).build().expect("it is there");
    runtime.block_on(async {
        let (stream, peer) = pair();
        let (mut receives, sends) = stream.into_split();
        // The one operation that there may be.
        assert!(give_up_after(1, receives.recv()).await.is_none());
        drop(sends);
        assert!(reads_all(peer).join().expect("it ends").is_empty());
    });
}

pub(crate) fn a_dropped_connect_closes_its_socket(kind: BackendKind) {
    if is_of_no_system(kind) {
        return;
    }
    if !cfg!(target_os = "linux") {
        println!("not run: elsewhere a full queue may refuse");
        return;
    }
    let runtime = runtime(kind);
    runtime.block_on(async {
        // A full queue leaves further connects without an answer.
        let listener = Socket::tcp_v4().expect("a socket");
        listener.bind(any_local()).expect("bound");
        listener.listen(0).expect("it listens");
        let address = listener.local_addr().expect("bound");
        let _only = connect(address);
        let socket = Socket::tcp_v4().expect("a socket");
        socket.bind(any_local()).expect("bound");
        let given_up = socket.local_addr().expect("bound");
        let connecting = give_up_after(3, TcpStream::connect_with(socket, address)).await;
        assert!(connecting.is_none(), "it has no answer");
        wait_until("its address is free", || std::net::TcpListener::bind(given_up).is_ok());
        wait_until("nothing is under way", || {
            Handle::current().is_some_and(|handle| handle.metrics().operations == 0)
        });
    });
}

pub(crate) fn a_dropped_listener_closes_what_nobody_accepted(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let operations = || Handle::current().map_or(0, |handle| handle.metrics().operations);
        // Some that wait, and more than wait before accepting pauses.
        for (count, is_paused) in [(0, false), (5, false), (100, true)] {
            let listener = TcpListener::bind(any_local()).await.expect("a listener");
            let address = listener.local_addr().expect("its address");
            assert!(give_up_after(1, listener.accept()).await.is_none());
            let clients: Vec<_> = (0..count).map(|_| connect(address)).collect();
            if is_paused {
                wait_until("accepting pauses", || operations() == 0);
            }
            drop(listener);
            for mut client in clients {
                // Those in the system's queue are reset.
                assert!(!matches!(client.read(&mut [0]), Ok(1..)), "nobody sends");
            }
            wait_until("nobody listens", || {
                std::net::TcpStream::connect_timeout(&address, super::world::DEADLINE).is_err()
            });
            wait_until("nothing is under way", || operations() == 0);
        }
        // Accepting goes on when some were taken.
        let listener = TcpListener::bind(any_local()).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        assert!(give_up_after(1, listener.accept()).await.is_none());
        let clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
        wait_until("accepting pauses", || operations() == 0);
        for _ in &clients {
            listener.accept().await.expect("a connection");
        }
    });
}

pub(crate) fn a_half_that_is_dropped_while_receiving_pauses_ends_only_its_side(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let operations = || Handle::current().map_or(0, |handle| handle.metrics().operations);
        let (stream, mut peer) = pair();
        let mut from_peer = peer.try_clone().expect("a clone");
        let (mut receiver, mut sender) = stream.into_split();
        let writer = thread::spawn(move || {
            let piece = bytes(0, 64 * 1024);
            while peer.write_all(&piece).is_ok() {}
        });
        assert!(!receiver.recv().await.expect("it arrives").is_empty());
        wait_until("receiving pauses", || operations() == 0);
        drop(receiver);
        sender.send("still here").await.expect("it is handed over");
        let mut heard = [0; 10];
        from_peer.read_exact(&mut heard).expect("the other side is open");
        assert_eq!(&heard, b"still here");
        assert!(!writer.is_finished(), "the connection is there");
        drop(sender);
        // It closes with bytes unread: the peer, who still sends, is told.
        writer.join().expect("no panic");
        wait_until("nothing is under way", || operations() == 0);
    });
}
