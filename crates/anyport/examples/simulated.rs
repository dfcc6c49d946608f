//! A test of an async echo server in a simulated world: a network that is slow, cuts messages to
//! pieces and breaks connections, an hour that takes no time, and a seed that makes it all again.
//!
//! `cargo run --example simulated --features sim`, and `cargo test` with the same options.

use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, Runtime, time};
use anyport::sim::{Link, World};
use anyport::{Error, ErrorKind};
use std::net::IpAddr;
use std::time::Duration;

/// The server that is tested: it closes a connection that brings nothing for a minute.
async fn serve(listener: TcpListener) -> Result<(), Error> {
    loop {
        let (stream, _) = listener.accept().await?;
        rt::spawn(echo(stream)).detach();
    }
}

async fn echo(mut stream: TcpStream) -> Result<(), Error> {
    const PATIENCE: Duration = Duration::from_secs(60);
    while let Ok(received) = time::timeout(PATIENCE, stream.recv()).await {
        let received = received?;
        if received.is_empty() {
            break;
        }
        stream.send(received).await?;
    }
    stream.shutdown().await
}

/// A client. Its errors are those of connections that break.
async fn ask(server: (IpAddr, u16), question: Vec<u8>) -> Result<(), Error> {
    let mut stream = TcpStream::connect(server).await?;
    stream.send(question.clone()).await?;
    let mut answer = Vec::new();
    while answer.len() < question.len() {
        let received = stream.recv().await?;
        assert!(!received.is_empty(), "the server has ended too early");
        answer.extend_from_slice(received.as_slice());
    }
    assert_eq!(answer, question, "what comes back is what was sent");
    // Longer than the server's patience: an hour of the world's time, and nothing of this test's.
    time::sleep(Duration::from_secs(3600)).await;
    assert!(stream.recv().await?.is_empty(), "the server has closed the connection");
    Ok(())
}

fn echoes(world: &World) {
    let (server, client): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let latency = Duration::from_millis(1)..=Duration::from_millis(80);
    world.set_links(Link::new().latency(latency).segment_max(100).resets(0.002));
    // A runtime is in the world, and on the host, of the thread that builds it.
    let servers = world.on_host(server, Runtime::new).expect("a runtime");
    let clients = world.on_host(client, Runtime::new).expect("a runtime");
    let listener = servers.block_on(TcpListener::bind((server, 7))).expect("a free port");
    let serving = servers.spawn(serve(listener));
    clients.block_on(async {
        let question = |number| vec![number; 500];
        let asking: Vec<_> =
            (0..5).map(|number| rt::spawn(ask((server, 7), question(number)))).collect();
        for task in asking {
            if let Err(error) = task.await.expect("the assertions hold") {
                assert_eq!(error.kind(), ErrorKind::Reset, "{error}");
            }
        }
    });
    serving.abort();
    let left = servers.shut_down(Duration::from_secs(10));
    assert_eq!((left.tasks_left, left.operations_left), (0, 0));
}

fn main() {
    // Each seed is another run. One that fails is printed, with how to have it again.
    World::check(100, echoes);
    println!("100 seeds, and nothing was found");
}

#[test]
fn every_question_comes_back_or_the_connection_breaks() {
    World::check(100, echoes);
}
