//! `anyport serve echo`: sends back what comes in, by one of three models.
//!
//! `port` is the completion port, `tasks` the async runtime on it; `threads` is the blocking baseline
//! that they are compared with. All take the same settings, count the same errors, and end the same way: on the first signal
//! they stop accepting and end, on the second at once.

mod counters;
mod framed;
pub(crate) mod port;
mod stall;
mod tasks;
mod threads;
mod whole;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use crate::args::{EchoArgs, Model};
use crate::congestion;
use crate::ending::Ending;
use crate::interrupt::Interrupt;
use counters::Counters;
use framed::FrameAssembler;
use stall::Stall;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Bytes taken by one receive where the program brings the buffer.
const RECEIVE_LEN: usize = 16 * 1024;

/// What the models share.
struct Echo {
    /// The longest payload of a frame; none when raw.
    frame_max: Option<usize>,
    stall: Stall,
    counters: Counters,
}

impl Echo {
    /// What finds the frames of one new connection; none when raw.
    fn assembler(&self) -> Option<FrameAssembler> {
        self.frame_max.map(FrameAssembler::new)
    }
}

/// A server that serves.
struct Running {
    /// What was chosen and why, in one line.
    chosen: String,
    /// Stops it and returns when it has.
    stop: Box<dyn FnOnce()>,
}

/// Serves until a signal comes.
pub(crate) fn echo(args: &EchoArgs, interrupt: &Interrupt) -> Ending {
    match serve(args, interrupt) {
        Ok(()) => Ending::Well,
        Err(why) => Ending::Failed(why),
    }
}

fn serve(args: &EchoArgs, interrupt: &Interrupt) -> Result<(), String> {
    let listener = listen(args.listen, args.congestion.as_deref())
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let addr = listener
        .local_addr()
        .map_err(|error| format!("cannot tell the address of the listener: {error}"))?;
    let echo = Arc::new(Echo {
        frame_max: args.framed.then_some(args.frame_max),
        stall: Stall::new(args.stall_every, args.stall, args.stall_kind, args.stall_max),
        counters: Counters::default(),
    });
    let running = match args.model {
        Model::Threads => threads::start(listener, Arc::clone(&echo))?,
        Model::Tasks => tasks::start(listener, Arc::clone(&echo), args)?,
        Model::Port => port::start(listener, Arc::clone(&echo), args)?,
    };
    announce(addr, &running.chosen)?;
    if args.end_with_stdin {
        end_with_stdin(interrupt.clone())?;
    }
    interrupt.wait();
    (running.stop)();
    eprintln!("anyport: ended: {}", echo.counters);
    Ok(())
}

fn listen(addr: SocketAddr, congestion_name: Option<&str>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows this option lets a second server steal the address.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if let Some(name) = congestion_name {
        congestion::choose(&socket, name)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Scripts read the first line; people read the second.
fn announce(addr: SocketAddr, chosen: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on {addr}")
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("cannot write the address to standard output: {error}"))?;
    eprintln!("anyport: {chosen}");
    Ok(())
}

/// The end of standard input counts as a signal.
fn end_with_stdin(interrupt: Interrupt) -> Result<(), String> {
    std::thread::Builder::new()
        .name("stdin".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            interrupt.set();
        })
        .map(drop)
        .map_err(|error| format!("cannot watch standard input: {error}"))
}
