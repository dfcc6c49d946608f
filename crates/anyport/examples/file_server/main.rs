//! A tiny HTTP/1.1 server: GET and HEAD for the files of a directory.
//!
//! `cargo run --release --example file_server -- 127.0.0.1:7000 DIRECTORY`

mod answer;
mod request;

use anyport::ErrorKind;
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, signal, time};
use futures_util::future::select;
use std::path::{Path, PathBuf};
use std::{env::args, error::Error, io, pin::pin, time::Duration};

/// How long a client may take for a request, and to end its side after its last one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a request.
const HEAD_MAX: usize = 8 * 1024;

#[anyport::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let end = signal::shutdown_requested();
    let (Some(address), Some(directory)) = (args().nth(1), args().nth(2)) else {
        return Err("usage: file_server LISTEN DIRECTORY".into());
    };
    // Without links in it, as the paths of its files will be.
    let directory = Path::new(&directory).canonicalize()?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}, for {}", listener.local_addr()?, directory.display());
    let end = async { Ok(end.await?) };
    Ok(select(pin!(end), pin!(accept(listener, directory))).await.factor_first().0?)
}

async fn accept(listener: TcpListener, directory: PathBuf) -> io::Result<()> {
    loop {
        let (stream, peer) = match listener.accept().await {
            Err(error) if error.kind() == ErrorKind::Limit => {
                // No descriptor is left: rest until some have been closed.
                time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            accepted => accepted?,
        };
        let served = serve(stream, directory.clone());
        rt::spawn(async move { served.await.map_err(|error| eprintln!("{peer}: {error}")) })
            .detach();
    }
}

/// Answers one request after the other, up to the first that says so or is refused.
async fn serve(mut stream: TcpStream, directory: PathBuf) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    while let Some(head) = time::timeout(PATIENCE, next_head(&mut stream, &mut received)).await?? {
        if answer::answer(&mut stream, &head, &directory).await?.is_break() {
            break;
        }
    }
    stream.shutdown().await?;
    // A connection that is closed with bytes unread is reset, and what was sent may be lost.
    let rest = async {
        while !stream.recv().await?.is_empty() {}
        Ok(())
    };
    time::timeout(PATIENCE, rest).await?
}

/// The first line of a request and its headers; `None`: the client has ended.
async fn next_head(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = received.split_off(end + 4);
            let mut head = std::mem::replace(received, rest);
            head.truncate(end);
            return Ok(Some(head));
        }
        if received.len() > HEAD_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the request is too long"));
        }
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        received.extend_from_slice(bytes.as_slice());
    }
}
