//! A chat room: the first line of a client is its name, each further one goes to all others.
//!
//! `cargo run --example chat -- 127.0.0.1:7000`, then `nc 127.0.0.1 7000` in two other windows. Nobody
//! waits for a client that does not read: one that is too far behind is out.

mod room;

use anyport::rt::net::{OwnedReadHalf, TcpListener, TcpStream};
use anyport::rt::{self, signal, time};
use anyport::{Error, ErrorKind};
use bytes::BytesMut;
use futures_util::future::select;
use room::Room;
use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

/// Bytes of a line that has not ended yet.
const LINE_MAX: usize = 1024;

#[anyport::main]
async fn main() -> Result<(), Error> {
    let end = signal::shutdown_requested();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}, until Ctrl-C", listener.local_addr()?);
    select(pin!(end), pin!(accept(listener))).await.factor_first().0
}

async fn accept(listener: TcpListener) -> Result<(), Error> {
    let room = Arc::new(Room::default());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => rt::spawn(serve(Arc::clone(&room), stream, peer)).detach(),
            // No descriptor is left: rest until some clients have gone.
            Err(e) if e.kind() == ErrorKind::Limit => time::sleep(Duration::from_millis(10)).await,
            Err(error) => return Err(error),
        }
    }
}

/// A client, from its first line to whichever is over first: what it says, or what it is told.
async fn serve(room: Arc<Room>, stream: TcpStream, peer: SocketAddr) {
    let next = room.next();
    let (from, to) = stream.into_split();
    let mut name = None;
    let (said, told) = (listen(&room, from, peer, &mut name), room.tell(to, peer, next));
    let ended = select(pin!(said), pin!(told)).await.factor_first().0;
    let why = ended.map_or_else(|error| error.to_string(), str::to_owned);
    if let Some(name) = name {
        room.say(peer, format!("* {name} has left: {why}\n"));
    }
}

/// Passes on what a client says.
async fn listen(
    room: &Room,
    mut from: OwnedReadHalf,
    peer: SocketAddr,
    name: &mut Option<String>,
) -> Result<&'static str, Error> {
    let mut bytes = BytesMut::new();
    while bytes.len() <= LINE_MAX {
        let received = from.recv().await?;
        if received.is_empty() {
            return Ok("goodbye");
        }
        bytes.extend_from_slice(received.as_slice());
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(&bytes.split_to(end + 1)).trim_end().to_owned();
            match name {
                Some(name) => room.say(peer, format!("{name}: {line}\n")),
                None => room.say(peer, format!("* {} has joined\n", name.insert(line))),
            }
        }
    }
    Ok("it says too much at once")
}
