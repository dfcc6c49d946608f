//! The traditional model, as good as it gets: a blocking thread for each connection.
//!
//! The honest baseline of the comparison. The kernel does all the scheduling, a slow connection
//! delays only itself, and nothing is allocated for a message; what it costs is a thread each.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::framed::{FrameAssembler, FrameBytes};
use super::{Echo, RECEIVE_LEN, Running};
use crate::header::HEADER_LEN;

/// Stack of a connection's thread. A handler is a few frames deep and keeps its buffer on the heap,
/// so a quarter of this would do; only pages that were touched are resident, so more costs nothing
/// but addresses, and with the usual 2 or 8 MiB some machines run out of those.
const STACK_LEN: usize = 64 * 1024;

/// Rest after a failed accept: what was missing (descriptors, memory) needs time to come back.
const ACCEPT_REST: Duration = Duration::from_millis(10);

/// Starts accepting.
pub(super) fn start(listener: TcpListener, echo: Arc<Echo>) -> Result<Running, String> {
    let chosen = format!(
        "model threads: a blocking thread a connection, {} KiB of stack each \
         (backend, workers and concurrency do not apply)",
        STACK_LEN / 1024
    );
    thread::Builder::new()
        .name("accept".into())
        .spawn(move || accept(&listener, &echo))
        .map_err(|error| format!("cannot start the accepting thread: {error}"))?;
    // Threads that block in a receive end with the process, which closes their connections.
    Ok(Running { chosen, stop: Box::new(|| ()) })
}

fn accept(listener: &TcpListener, echo: &Arc<Echo>) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // The peer gave up while it waited in the backlog.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                echo.counters.complain("cannot accept", error);
                thread::sleep(ACCEPT_REST);
                continue;
            }
        };
        echo.counters.on_accepted();
        let handler = Arc::clone(echo);
        let spawned = thread::Builder::new().stack_size(STACK_LEN).spawn(move || {
            if let Err(error) = serve(stream, &handler) {
                handler.counters.on_error(error.kind());
            }
        });
        // The stream went with the closure, so the peer sees its connection close.
        if let Err(error) = spawned {
            echo.counters.complain("cannot start a thread for a connection", error);
        }
    }
}

fn serve(mut stream: TcpStream, echo: &Echo) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match echo.assembler() {
        None => serve_raw(&mut stream, echo),
        Some(assembler) => serve_framed(&mut stream, assembler, echo),
    }
}

fn serve_raw(stream: &mut TcpStream, echo: &Echo) -> io::Result<()> {
    let mut buffer = vec![0; RECEIVE_LEN];
    loop {
        let len = receive(stream, &mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        echo.stall.on_messages(1);
        stream.write_all(&buffer[..len])?;
    }
}

fn serve_framed(
    stream: &mut TcpStream,
    mut assembler: FrameAssembler,
    echo: &Echo,
) -> io::Result<()> {
    // A frame with a payload of the usual size fits, so that it is echoed without a copy.
    let mut buffer = vec![0; RECEIVE_LEN + HEADER_LEN];
    loop {
        let len = receive(stream, &mut buffer)?;
        if len == 0 {
            let is_clean = assembler.is_between_frames();
            return if is_clean { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let mut frames = assembler.push(&buffer[..len]);
        let whole = match &mut frames.bytes {
            FrameBytes::Prefix(len) => &mut buffer[..*len],
            FrameBytes::Joined(bytes) => bytes,
        };
        echo.stall.on_frames(frames.count, whole);
        stream.write_all(whole)?;
        if let Some(too_long) = frames.too_long {
            let peer = stream.peer_addr().map_or_else(|_| "?".into(), |addr| addr.to_string());
            eprintln!("anyport: connection from {peer} closed: {too_long}");
            echo.counters.on_error("frame too long");
            return Ok(());
        }
    }
}

fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
