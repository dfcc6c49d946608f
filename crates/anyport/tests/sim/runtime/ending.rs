//! A runtime that ends in the middle of everything: tasks, streams, files, timers and calls. Nothing
//! that was held is left, and the peers learn of it.

use super::{CLIENT, Counted, SERVER, bytes, runtime, unsettled, winding};
use crate::choices::Choices;
use crate::files::TemporaryPath;
use anyport::rt::fs::File;
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, Handle, time};
use anyport::sim::{Disk, Listener, Stream, World};
use std::future::pending;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What tasks of all sorts need.
struct Life {
    world: World,
    count: Arc<AtomicUsize>,
    path: TemporaryPath,
    /// Takes connections and does nothing with them.
    sink: SocketAddr,
}

async fn echo(mut stream: TcpStream, _held: Counted) {
    while let Ok(received) = stream.recv().await {
        if received.is_empty() || stream.send(received).await.is_err() {
            return;
        }
    }
}

/// Goes on for ever, with something of every sort.
async fn live(life: Arc<Life>, mut choices: Choices) {
    let held = Counted::new(&life.count);
    match choices.below(7) {
        0 => loop {
            time::sleep(choices.time(Duration::from_millis(2))).await;
        },
        1 => {
            let mut ticks = time::interval(Duration::from_millis(1));
            loop {
                ticks.tick().await;
            }
        }
        // A peer that never reads.
        2 => {
            let Ok(mut stream) = TcpStream::connect(life.sink).await else { return };
            loop {
                let count = 1 + choices.below(50_000);
                let piece = bytes(0, 0, count);
                let result = match choices.below(2) {
                    0 => stream.send(piece).await.map(drop),
                    _ => stream.write(piece).await.0.map(drop),
                };
                if result.is_err() {
                    return;
                }
            }
        }
        // A peer that never writes.
        3 => {
            let Ok(stream) = TcpStream::connect(life.sink).await else { return };
            let (mut reader, writer) = stream.into_split();
            if choices.one_in(2) {
                drop(writer);
            }
            let _ = reader.read(Vec::with_capacity(100)).await;
        }
        4 => loop {
            let Ok(file) = File::create(&life.path.0).await else { return };
            let _ = file.write_at(bytes(0, 0, 5000), 0).await;
            let _ = file.read_at(Vec::with_capacity(5000), 0).await;
            if file.sync_data().await.is_err() {
                return;
            }
        },
        5 => {
            let world = life.world.clone();
            let sleep = choices.time(Duration::from_millis(3));
            let called = rt::spawn_blocking(move || {
                world.sleep(sleep);
                drop(held);
            });
            let _ = called.await;
        }
        _ => loop {
            let inner = Counted::new(&life.count);
            let child = rt::spawn(async move {
                let _inner = inner;
                time::sleep(Duration::from_millis(1)).await;
            });
            match choices.below(3) {
                0 => child.detach(),
                1 => drop(child.await),
                _ => child.abort(),
            }
            rt::yield_now().await;
            time::sleep(Duration::from_micros(100)).await;
        },
    }
    pending().await
}

pub(super) fn in_the_middle(world: &World) {
    let mut choices = Choices::new(world.seed());
    world.set_system(unsettled(&mut choices));
    world.set_links(winding(&mut choices));
    world.set_disk(Disk::new().latency(Duration::ZERO..=Duration::from_millis(3)));
    let count = Arc::new(AtomicUsize::new(0));
    let sink = world.on_host(CLIENT, || Listener::bind(SocketAddr::new(CLIENT, 9)));
    let sink = sink.expect("a listener");
    let life = Arc::new(Life {
        world: world.clone(),
        count: Arc::clone(&count),
        path: TemporaryPath::new(),
        sink: sink.local_addr().expect("bound"),
    });
    let address = SocketAddr::new(SERVER, 80);
    let runtime = world.on_host(SERVER, || runtime(&mut choices));
    let listener = runtime.block_on(TcpListener::bind(address)).expect("a listener");
    let counts = Arc::clone(&count);
    runtime
        .spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                rt::spawn(echo(stream, Counted::new(&counts))).detach();
            }
        })
        .detach();
    for _ in 0..choices.below(10) {
        runtime.spawn(live(Arc::clone(&life), choices.split())).detach();
    }
    let mut peers: Vec<Stream> = world.on_host(CLIENT, || {
        (0..choices.below(4)).map(|_| Stream::connect(address).expect("connected")).collect()
    });
    let mut due = Vec::new();
    for peer in &mut peers {
        peer.write_all(b"so far").expect("room");
        let mut answer = [0; 6];
        let is_answered = choices.one_in(2);
        if is_answered {
            peer.read_exact(&mut answer).expect("it comes back");
        }
        due.push(if is_answered { &b""[..] } else { b"so far" });
    }
    // Somebody else's thread waits for a task as well.
    let handle: Handle = runtime.handle().clone();
    let waiter = choices.one_in(2).then(|| {
        let handle = handle.clone();
        world.spawn("waiter", move || handle.block_on(handle.spawn(pending::<()>())))
    });
    world.sleep(choices.time(Duration::from_millis(10)));
    let patience = Duration::from_millis([0, 20, 2000][choices.below(3)]);
    let report = match choices.below(4) {
        0 => {
            drop(runtime);
            None
        }
        _ => Some(runtime.shut_down(patience)),
    };
    if patience >= Duration::from_secs(2)
        && let Some(report) = report
    {
        assert_eq!((report.tasks_left, report.blocking_left), (0, 0));
    }
    if let Some(waiter) = waiter {
        let result = waiter.join().expect("no panic");
        assert!(result.is_err_and(|error| error.is_cancelled()));
    }
    assert!(handle.block_on(handle.spawn(async {})).is_err(), "nothing is spawned any more");
    // What had no time to end goes with the last handle.
    drop(handle);
    for (peer, due) in peers.iter_mut().zip(due) {
        // The end, or a reset, after what had been sent.
        peer.set_read_timeout(Some(Duration::from_secs(60))).expect("not zero");
        let mut rest = Vec::new();
        if let Err(error) = peer.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        assert!(due.starts_with(&rest), "{rest:?}");
    }
    drop(sink);
    world.sleep(Duration::from_secs(10));
    assert_eq!(count.load(Ordering::SeqCst), 0, "something is held");
    drop(peers);
    assert_eq!(world.sockets(), 0, "a socket is open");
}

#[test]
fn what_had_no_time_to_end_is_freed_with_the_last_handle() {
    World::check(100, |world| {
        let mut choices = Choices::new(world.seed());
        let runtime = world.on_host(SERVER, || runtime(&mut choices));
        let address = SocketAddr::new(CLIENT, 9);
        let peer = world.on_host(CLIENT, || Listener::bind(address)).expect("a listener");
        for _ in 0..1 + choices.below(4) {
            let sort = choices.below(4);
            runtime
                .spawn(async move {
                    let listener = TcpListener::bind(SocketAddr::new(SERVER, 0)).await;
                    let stream = TcpStream::connect(address).await;
                    let (Ok(listener), Ok(mut stream)) = (listener, stream) else { return };
                    match sort {
                        0 => drop(listener.accept().await),
                        1 => drop(stream.recv().await),
                        2 => while stream.send(bytes(0, 0, 60_000)).await.is_ok() {},
                        _ => while stream.write(bytes(0, 0, 60_000)).await.0.is_ok() {},
                    }
                })
                .detach();
        }
        // Some of them wait, for a connection or for what comes after it.
        world.sleep(choices.time(Duration::from_millis(4)));
        // The world waits for the end of all threads, also of the port's own: so the port was freed.
        runtime.shut_down(Duration::ZERO);
        drop(peer);
    });
}

#[test]
fn a_runtime_that_ends_leaves_nothing_behind() {
    World::check(500, in_the_middle);
}
