//! Echo whose connections all begin on one worker, or on each in turn: what stealing makes of it.
//!
//! A connection belongs to the worker that starts its stream, so `one` is the worst that an accept
//! loop can do. Measured beside each other: see `bench/README.md`.
//!
//! `cargo run --release --example imbalance -- 127.0.0.1:7000 port one`, `port both`, `tasks one`,
//! `tasks both`

use anyport::net::{self, SocketHandle};
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, Runtime};
use anyport::{CompletionPort, Error, OperationKind, Packet, Worker, WorkerPool};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const WORKERS: usize = 2;

/// What a packet of the port is about, and which worker a new connection is meant for.
#[derive(Clone)]
enum Context {
    Listener,
    Connection { socket: SocketHandle<Context>, worker: usize },
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "imbalance ADDRESS port|tasks one|both";
    let [address, how, spread] =
        <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>()).map_err(|_| usage)?;
    let workers = if spread == "one" { 1 } else { WORKERS };
    match how.as_str() {
        "port" => port(&address, workers),
        "tasks" => tasks(&address, workers),
        _ => Err(usage.into()),
    }
}

/// The worker that the next connection belongs to.
fn next_worker(workers: usize) -> usize {
    static ACCEPTED: AtomicUsize = AtomicUsize::new(0);
    ACCEPTED.fetch_add(1, Ordering::Relaxed) % workers
}

fn port(address: &str, workers: usize) -> Result<(), Box<dyn std::error::Error>> {
    let port = CompletionPort::new(WORKERS)?;
    let listener = port.associate(net::listen(address.parse()?)?, 0)?;
    let on_packet = move |packet: Packet<Context>, worker: &Worker<Context>| match packet.context {
        Context::Listener => {
            if let Some(Ok(socket)) = packet.accepted.map(|s| {
                let _ = s.set_nodelay(true);
                worker.port().associate(s, 1)
            }) {
                let begin = Context::Connection { socket, worker: next_worker(workers) };
                let _ = worker.port().post(1, 0, begin);
            }
        }
        // Goes round until the worker has it that it is meant for.
        Context::Connection { worker: meant, .. }
            if packet.kind == OperationKind::Posted && meant != worker.number() =>
        {
            let _ = worker.port().post(1, 0, packet.context);
        }
        Context::Connection { ref socket, .. } => {
            let _ = match (packet.kind, packet.result) {
                (OperationKind::Posted, _) => socket.receive_stream(packet.context.clone()),
                (OperationKind::ReceiveStream, Ok(1..)) => {
                    socket.send_quiet(packet.buffers, packet.context.clone())
                }
                _ => return,
            };
        }
    };
    let _workers = WorkerPool::builder(&port).threads(WORKERS).start(on_packet)?;
    listener.accept_stream(Context::Listener)?;
    println!("listening on {}, {}", listener.local_addr()?, port.backend());
    loop {
        thread::park();
    }
}

fn tasks(address: &str, workers: usize) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::builder().workers(WORKERS).thread_name("imbalance").build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on {}, {}", listener.local_addr()?, runtime.handle().backend());
        loop {
            let (stream, _) = listener.accept().await?;
            let meant = format!("imbalance-{}", next_worker(workers));
            rt::spawn(async move {
                while thread::current().name() != Some(&meant) {
                    rt::yield_now().await;
                }
                echo(stream).await
            })
            .detach();
        }
    })
}

async fn echo(mut stream: TcpStream) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    loop {
        let received = stream.recv().await?;
        if received.is_empty() {
            return stream.flush().await;
        }
        stream.send(received).await?;
    }
}
