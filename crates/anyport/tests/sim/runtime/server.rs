//! A server and many clients that send more than they read: everybody waits for room, nobody holds
//! more than he may, and all that was sent comes back.

use super::{Checked, SERVER, bytes, runtime, unsettled};
use crate::choices::Choices;
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, time};
use anyport::sim::{Link, World};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a client sends.
const TOTAL: usize = 2 << 20;

/// What may be between a client that only sends and itself: its own sends and the server's, four
/// windows' worth on the way, and what the server has received and not sent on.
const BETWEEN_MAX: usize = 2 * (256 << 10) + 4 * WINDOW + 2 * 8 * (64 << 10) + 4 * PIECE;

const WINDOW: usize = 32 << 10;
const PIECE: usize = 64 << 10;

async fn echo(mut stream: TcpStream) {
    while let Ok(received) = stream.recv().await {
        if received.is_empty() {
            break;
        }
        if stream.send(received).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

/// Sends until nothing moves any more, then reads all of it.
async fn client(address: SocketAddr, number: usize, waiting: Arc<AtomicUsize>) {
    let stream = TcpStream::connect(address).await.expect("connected");
    let (mut reader, mut writer) = stream.into_split();
    let sent = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&sent);
    let sending = rt::spawn(async move {
        for from in (0..TOTAL).step_by(PIECE) {
            writer.send(bytes(number, from, PIECE)).await.expect("handed over");
            counts.store(from + PIECE, Ordering::SeqCst);
        }
        writer.shutdown().await.expect("all is sent");
    });
    let mut before = 0;
    loop {
        time::sleep(Duration::from_millis(300)).await;
        let now = sent.load(Ordering::SeqCst);
        if now == before && now > 0 {
            break;
        }
        before = now;
    }
    assert!(before <= BETWEEN_MAX, "{before} bytes are nowhere");
    waiting.fetch_add(1, Ordering::SeqCst);
    let mut checked = Checked::new(number);
    loop {
        let received = reader.recv().await.expect("it comes back");
        if received.is_empty() {
            break;
        }
        checked.take(received.as_slice());
    }
    assert_eq!(checked.position, TOTAL);
    sending.await.expect("it ends");
}

pub(super) fn crowded(world: &World) {
    let mut choices = Choices::new(world.seed());
    world.set_system(unsettled(&mut choices));
    world.set_links(
        Link::new()
            .latency(Duration::ZERO..=Duration::from_micros([10, 1000][choices.below(2)]))
            .window(WINDOW)
            .short_transfers([0.0, 0.2][choices.below(2)]),
    );
    let server = world.on_host(SERVER, || runtime(&mut choices));
    let listener = server.block_on(TcpListener::bind("10.0.0.1:80")).expect("a listener");
    let address = listener.local_addr().expect("bound");
    let serving = server.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            rt::spawn(echo(stream)).detach();
        }
    });
    let clients = runtime(&mut choices);
    let waiting = Arc::new(AtomicUsize::new(0));
    let count = 1 + choices.below(3);
    clients.block_on(async {
        let tasks: Vec<_> = (0..count)
            .map(|number| rt::spawn(client(address, number, Arc::clone(&waiting))))
            .collect();
        for task in tasks {
            task.await.expect("it ends");
        }
    });
    assert_eq!(waiting.load(Ordering::SeqCst), count);
    serving.abort();
    for runtime in [clients, server] {
        let report = runtime.shut_down(Duration::from_secs(10));
        assert_eq!((report.tasks_left, report.operations_left), (0, 0));
    }
}

#[test]
fn whoever_sends_more_than_is_read_waits_and_loses_nothing() {
    World::check(40, crowded);
}

pub(super) fn many(world: &World) {
    const ROUNDS: u8 = 3;
    let mut choices = Choices::new(world.seed());
    world.set_system(unsettled(&mut choices));
    let server = world.on_host(SERVER, || runtime(&mut choices));
    let listener = server.block_on(TcpListener::bind("10.0.0.1:80")).expect("a listener");
    let address = listener.local_addr().expect("bound");
    let serving = server.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            rt::spawn(echo(stream)).detach();
        }
    });
    let clients = runtime(&mut choices);
    clients.block_on(async {
        let tasks: Vec<_> = (0..1 + choices.below(40) as u8)
            .map(|number| {
                let pause = choices.time(Duration::from_millis(5));
                rt::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.expect("connected");
                    for round in 0..ROUNDS {
                        let question = [number, round, 7];
                        stream.send(question.to_vec()).await.expect("handed over");
                        let mut answer = Vec::new();
                        while answer.len() < question.len() {
                            let received = stream.recv().await.expect("it comes back");
                            assert!(!received.is_empty());
                            answer.extend_from_slice(received.as_slice());
                        }
                        assert_eq!(answer, question, "each has its own answer");
                        time::sleep(pause).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("it ends");
        }
    });
    serving.abort();
}

#[test]
fn each_of_many_clients_has_its_own_answers() {
    World::check(200, many);
}
