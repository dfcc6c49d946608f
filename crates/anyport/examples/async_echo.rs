//! Sends back what each connection brings, a task a connection.
//!
//! `cargo run --release --example async_echo 127.0.0.1:7000`

use anyport::Error;
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, Runtime};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let workers = std::env::args().nth(2).map_or(Ok(0), |n| n.parse())?;
    let runtime = Runtime::builder().workers(workers).build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on {}, {}", listener.local_addr()?, runtime.handle().backend());
        let acceptor = rt::spawn(accept(listener));
        acceptor.await??;
        Ok(())
    })
}

async fn accept(listener: TcpListener) -> Result<(), Error> {
    loop {
        let (stream, peer) = listener.accept().await?;
        rt::spawn(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("{peer}: {error}");
            }
        })
        .detach();
    }
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
