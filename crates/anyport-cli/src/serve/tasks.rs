//! The async model: a task for each connection, on the runtime of the completion port.
//!
//! What came is sent back in the buffer in which it came; the stream itself holds a connection back
//! whose peer does not take its answers.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyport::rt::net::{TcpListener as Listener, TcpStream};
use anyport::rt::{self, Runtime, Shutdown, time};
use anyport::{Error, ErrorKind};

use super::framed::{FrameAssembler, Frames};
use super::port::{kind_of, workers};
use super::whole::whole;
use super::{Echo, Running};
use crate::args::EchoArgs;

/// Rest after a failed accept: what was missing (descriptors, memory) needs time to come back.
const ACCEPT_REST: Duration = Duration::from_millis(10);

/// How long the end waits for tasks and for answers that peers have not taken.
const END_MAX: Duration = Duration::from_secs(2);

/// Starts accepting.
pub(super) fn start(
    listener: TcpListener,
    echo: Arc<Echo>,
    args: &EchoArgs,
) -> Result<Running, String> {
    let workers = workers(args);
    let mut builder = Runtime::builder().workers(workers).concurrency(args.concurrency);
    if let Some(kind) = kind_of(args.backend) {
        builder = builder.backend(kind);
    }
    let runtime = builder.build().map_err(|error| format!("cannot build the runtime: {error}"))?;
    let listener = {
        let _entered = runtime.handle().enter();
        Listener::from_socket(listener)
            .map_err(|error| format!("cannot associate the listener: {error}"))?
    };
    let chosen = format!("model tasks: backend {}, {workers} workers", runtime.handle().backend());
    runtime.spawn(accept(listener, echo)).detach();
    let stop = Box::new(move || {
        let left = runtime.shut_down(END_MAX);
        if left != Shutdown::default() {
            eprintln!(
                "anyport: after {END_MAX:?} {} tasks and {} operations had not ended",
                left.tasks_left, left.operations_left
            );
        }
    });
    Ok(Running { chosen, stop })
}

async fn accept(listener: Listener, echo: Arc<Echo>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                echo.counters.on_accepted();
                rt::spawn(connection(stream, Arc::clone(&echo))).detach();
            }
            Err(error) => {
                echo.counters.complain("cannot accept", error);
                time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, echo: Arc<Echo>) {
    // Small answers leave at once; a system that refuses this still echoes.
    let _ = stream.set_nodelay(true);
    let ended = match echo.assembler() {
        None => send_back(stream, &echo).await,
        Some(assembler) => send_back_framed(stream, &echo, assembler).await,
    };
    if let Err(error) = ended
        && error.kind() != ErrorKind::Closed
    {
        echo.counters.on_error(format_args!("{:?}", error.kind()));
    }
}

async fn send_back(mut stream: TcpStream, echo: &Echo) -> Result<(), Error> {
    loop {
        let received = stream.recv().await?;
        if received.is_empty() {
            return stream.flush().await;
        }
        echo.stall.on_messages(1);
        stream.send(received).await?;
    }
}

async fn send_back_framed(
    mut stream: TcpStream,
    echo: &Echo,
    mut assembler: FrameAssembler,
) -> Result<(), Error> {
    loop {
        let received = stream.recv().await?;
        if received.is_empty() {
            if !assembler.is_between_frames() {
                echo.counters.on_error("end inside a frame");
            }
            return stream.flush().await;
        }
        let Frames { count, bytes, too_long } = assembler.push(received.as_slice());
        if let Some(answer) = whole(received, bytes, count, &echo.stall) {
            stream.send(answer).await?;
        }
        if let Some(too_long) = too_long {
            let peer = stream.peer_addr().map_or_else(|_| "?".into(), |addr| addr.to_string());
            eprintln!("anyport: connection from {peer} closed: {too_long}");
            echo.counters.on_error("frame too long");
            return stream.flush().await;
        }
    }
}
