//! The completion-port model: a few workers take any completed packet of any connection.
//!
//! A connection lives exactly as long as it has an operation under way: each operation carries it
//! as its context, so the last packet closes the socket. Received buffers are sent back as they
//! are. What waits to be sent on a connection is bounded: above a mark its receiving pauses. With
//! `tasks.rs` this is what the program knows of the engine.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyport::buf::Buffers;
use anyport::net::{Socket, SocketHandle};
use anyport::{BackendKind, CompletionPort, Error, ErrorKind, OperationKind, Packet, WorkerPool};

use super::framed::{FrameAssembler, FrameTooLong, Frames};
use super::whole::whole;
use super::{Echo, Running};
use crate::args::{Backend, EchoArgs, Receive};

/// Above this many bytes waiting to be sent, a connection receives no more.
const SENDING_MAX: usize = 256 * 1024;

/// At this many again, it receives again.
const SENDING_RESUME: usize = SENDING_MAX / 2;

/// So many bytes are sent before a packet is asked for that says that they went.
const ASK_AFTER: usize = 32 * 1024;

/// Rest after a failed accept: what was missing (descriptors, memory) needs time to come back.
const ACCEPT_REST: Duration = Duration::from_millis(10);

/// What an operation carries: its connection; none for the listener's accept.
type Context = Option<Arc<Connection>>;

/// Every backend of this program, the preferred one first, and for each that this machine does not
/// allow, why.
pub(crate) fn backends() -> Vec<(Backend, Result<(), String>)> {
    let all = anyport::available_backends().into_iter();
    all.filter_map(|(kind, availability)| Some((name_of(kind)?, availability))).collect()
}

/// The backend that was asked for; none: the best.
pub(super) fn kind_of(backend: Backend) -> Option<BackendKind> {
    match backend {
        Backend::Auto => None,
        Backend::IoUring => Some(BackendKind::IoUring),
        Backend::Readiness => Some(BackendKind::Readiness),
        Backend::Windows => Some(BackendKind::Windows),
    }
}

/// How many workers that is.
pub(super) fn workers(args: &EchoArgs) -> usize {
    match args.workers {
        0 => 2 * std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    }
}

/// Starts accepting.
pub(super) fn start(
    listener: TcpListener,
    echo: Arc<Echo>,
    args: &EchoArgs,
) -> Result<Running, String> {
    let fail = |what: &str, error: Error| format!("{what}: {error}");
    let mut builder = CompletionPort::<Context>::builder().concurrency(args.concurrency);
    if let Some(kind) = kind_of(args.backend) {
        builder = builder.backend(kind);
    }
    let port = builder.build().map_err(|error| fail("cannot build the completion port", error))?;
    let listener = port
        .associate(Socket::from(listener), 0)
        .map_err(|refused| fail("cannot associate the listener", refused.error))?;
    let workers = workers(args);
    let server = Server { port: port.clone(), listener, echo, receive: args.receive };
    server.accept().map_err(|error| fail("cannot accept", error))?;
    let pool = WorkerPool::builder(&port)
        .threads(workers)
        .start(move |packet, _worker| server.on_packet(packet))
        .map_err(|error| fail("cannot start the workers", error))?;
    let chosen = format!(
        "model port: backend {}, {workers} workers, concurrency {}, receive {}",
        port.backend(),
        port.concurrency(),
        match args.receive {
            Receive::Stream => "stream",
            Receive::Single => "single",
        },
    );
    let stop = Box::new(move || {
        pool.stop();
        pool.join();
        port.close();
    });
    Ok(Running { chosen, stop })
}

struct Server {
    port: CompletionPort<Context>,
    listener: SocketHandle<Context>,
    echo: Arc<Echo>,
    receive: Receive,
}

struct Connection {
    socket: SocketHandle<Context>,
    is_framed: bool,
    /// A stream of receives is to be cancelled by whoever holds its packet.
    must_pause: AtomicBool,
    /// Bytes sent since the last send that is asked about; below `ASK_AFTER`.
    unasked: AtomicU32,
    state: Mutex<State>,
}

/// What the handlers of one connection share: a receive and the end of a send may be handled at
/// the same time.
struct State {
    /// Bytes of sends under way whose packets were asked for: see `weight`.
    sending: usize,
    /// Whether a receive is under way.
    is_receiving: bool,
    /// Whether that receive was cancelled because too much waits to be sent.
    is_pausing: bool,
    /// Nothing more is to be received: the stream ended, failed, or was refused.
    has_ended: bool,
    /// None when raw.
    frames: Option<Box<FrameAssembler>>,
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more is to be received now: whoever holds a packet of the stream cancels it.
    fn pause(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_pausing, true) {
            self.must_pause.store(true, Ordering::Relaxed);
        }
    }
}

/// What a send whose packet was asked for counts: those before it that nobody has asked about are
/// less than `ASK_AFTER`.
fn weight(len: usize) -> usize {
    len + ASK_AFTER
}

impl Server {
    fn on_packet(&self, packet: Packet<Context>) {
        match packet.context {
            None => self.on_accepted(packet),
            Some(_) if packet.kind == OperationKind::Send => self.on_sent(packet),
            Some(_) => self.on_received(packet),
        }
    }

    fn accept(&self) -> Result<(), Error> {
        self.listener.accept_stream(None).map(drop).map_err(|rejected| rejected.error)
    }

    fn on_accepted(&self, packet: Packet<Context>) {
        match (packet.result, packet.accepted) {
            (Ok(_), Some(socket)) => {
                self.echo.counters.on_accepted();
                self.open(socket);
            }
            (Ok(_), None) => {}
            // The listener is closed: the server ends.
            (Err(error), _) if matches!(error.kind(), ErrorKind::Aborted | ErrorKind::Closed) => {
                return;
            }
            (Err(error), _) => {
                self.echo.counters.complain("cannot accept", error);
                self.port.blocking(|| std::thread::sleep(ACCEPT_REST));
            }
        }
        if !packet.more
            && let Err(error) = self.accept()
        {
            self.echo.counters.complain("cannot accept any more", error);
        }
    }

    fn open(&self, socket: Socket) {
        // Small answers leave at once; a system that refuses this still echoes.
        let _ = socket.set_nodelay(true);
        let socket = match self.port.associate(socket, 0) {
            Ok(socket) => socket,
            Err(refused) => {
                self.echo.counters.complain("cannot associate a connection", refused.error);
                return;
            }
        };
        let frames = self.echo.assembler().map(Box::new);
        let is_framed = frames.is_some();
        let state = Mutex::new(State {
            sending: 0,
            is_receiving: false,
            is_pausing: false,
            has_ended: false,
            frames,
        });
        let connection = Arc::new(Connection {
            socket,
            is_framed,
            must_pause: AtomicBool::new(false),
            unasked: AtomicU32::new(0),
            state,
        });
        let mut state = connection.state();
        self.start_receive(&connection, &mut state);
    }

    /// Starts a receive unless one is under way or none should be. Under the lock, so that its
    /// first packet finds the state up to date.
    fn start_receive(&self, connection: &Arc<Connection>, state: &mut State) {
        if state.is_receiving || state.has_ended || state.sending > SENDING_RESUME {
            return;
        }
        let context = Some(Arc::clone(connection));
        let started = match self.receive {
            Receive::Stream => connection.socket.receive_stream(context),
            Receive::Single => connection.socket.receive_pooled(context),
        };
        match started {
            Ok(_) => {
                state.is_receiving = true;
                state.is_pausing = false;
            }
            Err(rejected) => {
                state.has_ended = true;
                self.count(&rejected.error);
            }
        }
    }

    fn on_received(&self, packet: Packet<Context>) {
        let Packet { result, context, buffers, more, operation, .. } = packet;
        let Some(connection) = context else { return };
        match result {
            Ok(len @ 1..) => self.echo(&connection, buffers, len),
            Ok(0) => self.on_end(&connection),
            Err(error) => self.on_failed_receive(&connection, &error),
        }
        if !more {
            let mut state = connection.state();
            state.is_receiving = false;
            self.start_receive(&connection, &mut state);
        } else if connection.must_pause.load(Ordering::Relaxed)
            && let Some(operation) = operation
        {
            connection.must_pause.store(false, Ordering::Relaxed);
            // Fails when the stream has just ended; its last packet says so.
            let _ = connection.socket.cancel(operation);
        }
    }

    /// Sends back what came: all of it, or its whole frames.
    fn echo(&self, connection: &Arc<Connection>, buffers: Buffers, len: usize) {
        if !connection.is_framed {
            self.echo.stall.on_messages(1);
            return self.send(connection, buffers, len);
        }
        let mut state = connection.state();
        if state.has_ended {
            return;
        }
        let Some(assembler) = &mut state.frames else { return };
        let Some(received) = buffers.into_one() else {
            return;
        };
        let Frames { count, bytes, too_long } = assembler.push(received.as_slice());
        if let Some(too_long) = &too_long {
            state.has_ended = true;
            connection.pause(&mut state);
            self.refuse(connection, too_long);
        }
        drop(state);
        if let Some(whole) = whole(received, bytes, count, &self.echo.stall) {
            let len = whole.len();
            self.send(connection, whole.into(), len);
        }
    }

    fn send(&self, connection: &Arc<Connection>, buffers: Buffers, len: usize) {
        // One send in a while says how far sending has come; the others need no packet. Only the
        // thread that has the connection's packet sends.
        let unasked = connection.unasked.load(Ordering::Relaxed) as usize + len;
        let context = Some(Arc::clone(connection));
        let started = if unasked < ASK_AFTER {
            connection.unasked.store(unasked as u32, Ordering::Relaxed);
            connection.socket.send_quiet(buffers, context)
        } else {
            connection.unasked.store(0, Ordering::Relaxed);
            let mut state = connection.state();
            state.sending += weight(len);
            if state.sending > SENDING_MAX {
                connection.pause(&mut state);
            }
            drop(state);
            connection.socket.send(buffers, context)
        };
        if let Err(rejected) = started {
            self.on_failed_send(connection, &rejected.error);
        }
    }

    fn on_sent(&self, packet: Packet<Context>) {
        let Some(connection) = packet.context else {
            return;
        };
        match packet.result {
            Ok(len) => {
                let mut state = connection.state();
                state.sending = state.sending.saturating_sub(weight(len));
                self.start_receive(&connection, &mut state);
            }
            Err(error) => self.on_failed_send(&connection, &error),
        }
    }

    fn on_end(&self, connection: &Connection) {
        let mut state = connection.state();
        let is_cut = state.frames.as_ref().is_some_and(|frames| !frames.is_between_frames());
        if is_cut && !state.has_ended {
            self.echo.counters.on_error("end inside a frame");
        }
        state.has_ended = true;
    }

    fn on_failed_receive(&self, connection: &Connection, error: &Error) {
        let mut state = connection.state();
        // The pause that was asked for is no failure: what waits is sent, then it goes on.
        if error.kind() == ErrorKind::Cancelled && state.is_pausing {
            return;
        }
        if !std::mem::replace(&mut state.has_ended, true) {
            self.count(error);
        }
    }

    /// Nothing can be sent any more: the receive ends too, and with it the connection.
    fn on_failed_send(&self, connection: &Connection, error: &Error) {
        if !std::mem::replace(&mut connection.state().has_ended, true) {
            self.count(error);
        }
        // Fails when nothing is under way any more.
        let _ = connection.socket.cancel_all();
    }

    fn refuse(&self, connection: &Connection, too_long: &FrameTooLong) {
        let peer = connection.socket.peer_addr().map_or_else(|_| "?".into(), |a| a.to_string());
        eprintln!("anyport: connection from {peer} closed: {too_long}");
        self.echo.counters.on_error("frame too long");
    }

    fn count(&self, error: &Error) {
        self.echo.counters.on_error(format_args!("{:?}", error.kind()));
    }
}

fn name_of(kind: BackendKind) -> Option<Backend> {
    match kind {
        BackendKind::IoUring => Some(Backend::IoUring),
        BackendKind::Readiness => Some(Backend::Readiness),
        BackendKind::Windows => Some(Backend::Windows),
        _ => None,
    }
}
