//! An echo server: `cargo run --release --example echo -- 127.0.0.1:7000`

use anyport::net::{self, SocketHandle};
use anyport::{CompletionPort, OperationKind, Packet, Worker, WorkerPool};
use std::time::Duration;

/// What each operation carries. A socket closes when the last handle of it is dropped.
#[derive(Clone)]
struct Context(SocketHandle<Context>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let port = CompletionPort::new(0)?;
    let listener = port.associate(net::listen(address.parse()?)?, 0)?;
    let _workers = WorkerPool::builder(&port).start(on_packet)?;
    listener.accept(Context(listener.clone()))?;
    println!("listening on {}, {}", listener.local_addr()?, port.backend());
    loop {
        std::thread::park();
    }
}

/// Starts the operation that follows the packet's. A start that is refused drops the context, and
/// so does every packet that nothing follows: the peer has ended, or the connection failed.
fn on_packet(packet: Packet<Context>, worker: &Worker<Context>) {
    let Packet { kind, result, context, buffers, accepted, .. } = packet;
    let Context(socket) = &context;
    let _ = match (kind, result) {
        (OperationKind::Accept, result) => {
            if let Some(Ok(connection)) = accepted.map(|s| worker.port().associate(s, 1)) {
                let _ = connection.receive_pooled(Context(connection.clone()));
            }
            if result.is_err() {
                // No descriptor is left: rest until some connections have closed.
                worker.blocking(|| std::thread::sleep(Duration::from_millis(10)));
            }
            socket.accept(context.clone())
        }
        (OperationKind::ReceivePooled, Ok(1..)) => socket.send(buffers, context.clone()),
        (OperationKind::Send, Ok(_)) => socket.receive_pooled(context.clone()),
        _ => return,
    };
}
