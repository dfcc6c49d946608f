//! Sends back what each connection brings, a task a connection, until Ctrl-C or SIGTERM.
//!
//! `cargo run --release --example async_echo -- 127.0.0.1:7000`; the number of workers may follow.

use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, Runtime, Shutdown, signal, time};
use anyport::{Error, ErrorKind};
use futures_util::future::select;
use std::pin::pin;
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let workers = std::env::args().nth(2).map_or(Ok(0), |n| n.parse())?;
    let runtime = Runtime::builder().workers(workers).build()?;
    let served: Result<(), Box<dyn std::error::Error>> = runtime.block_on(async {
        let end = signal::shutdown_requested();
        let listener = TcpListener::bind(address).await?;
        println!("listening on {}, {}", listener.local_addr()?, runtime.handle().backend());
        let acceptor = rt::spawn(accept(listener));
        let (end, acceptor) = (async { Ok(end.await?) }, async { Ok(acceptor.await??) });
        select(pin!(end), pin!(acceptor)).await.factor_first().0
    });
    let left = runtime.shut_down(Duration::from_secs(2));
    if left != Shutdown::default() {
        eprintln!("not over in time: {left:?}");
    }
    served
}

async fn accept(listener: TcpListener) -> Result<(), Error> {
    loop {
        let (stream, peer) = match listener.accept().await {
            Err(error) if error.kind() == ErrorKind::Limit => {
                // No descriptor is left: rest until some connections have closed.
                time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            accepted => accepted?,
        };
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
