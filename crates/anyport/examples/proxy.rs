//! A TCP proxy: copies both ways until both sides have ended. Memory has a bound, for what comes from
//! one side is received no faster than the other takes it.
//!
//! `cargo run --example proxy -- LISTEN TARGET [IDLE_SECONDS]`, such as `127.0.0.1:7000 example.com:80`

use anyport::ErrorKind;
use anyport::rt::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use anyport::rt::{self, signal, time};
use futures_util::future::{select, try_join};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{env::args, error::Error, io, pin::pin, time::Duration};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[anyport::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let end = signal::shutdown_requested();
    let (Some(address), Some(target)) = (args().nth(1), args().nth(2)) else {
        return Err("usage: proxy LISTEN TARGET [IDLE_SECONDS]".into());
    };
    let idle = args().nth(3).map_or(Ok(60), |seconds| seconds.parse()).map(Duration::from_secs)?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}, for {target}", listener.local_addr()?);
    let end = async { Ok(end.await?) };
    Ok(select(pin!(end), pin!(accept(listener, target, idle))).await.factor_first().0?)
}

async fn accept(listener: TcpListener, target: String, idle: Duration) -> io::Result<()> {
    loop {
        let (client, peer) = match listener.accept().await {
            Err(error) if error.kind() == ErrorKind::Limit => {
                // No descriptor is left: rest until some connections have closed.
                time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            accepted => accepted?,
        };
        let served = serve(client, target.clone(), idle);
        rt::spawn(async move {
            match served.await {
                Ok((up, down)) => println!("{peer}: {up} bytes there, {down} back"),
                Err(error) => eprintln!("{peer}: {error}"),
            }
        })
        .detach();
    }
}

async fn serve(client: TcpStream, target: String, idle: Duration) -> io::Result<(u64, u64)> {
    let server = time::timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await??;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client, server) = (client.into_split(), server.into_split());
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let moved = || (up.load(Relaxed), down.load(Relaxed));
    let mut copying =
        pin!(try_join(copy(client.0, server.1, &up), copy(server.0, client.1, &down)));
    loop {
        let before = moved();
        match time::timeout(idle, copying.as_mut()).await {
            Ok(ended) => return ended.map(|_| moved()),
            Err(elapsed) if moved() == before => return Err(elapsed.into()),
            Err(_) => {}
        }
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, sum: &AtomicU64) -> io::Result<()> {
    loop {
        let received = from.recv().await?;
        if received.is_empty() {
            return Ok(to.shutdown().await?);
        }
        sum.fetch_add(received.len() as u64, Relaxed);
        to.send(received).await?;
    }
}
