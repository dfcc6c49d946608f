//! What the statements share: ports, connected sockets, files, and waits that end.
//!
//! Every wait has a deadline far beyond what it takes, so that a bug fails instead of hanging;
//! nothing here measures speed.

#[path = "../world/backends.rs"]
mod backends;
#[path = "../world/child.rs"]
mod child;
#[path = "../world/loopback.rs"]
mod loopback;
#[path = "../world/net.rs"]
mod net;
#[path = "../world/waiting.rs"]
mod waiting;

pub(crate) use backends::{builder, on_every_backend};
pub(crate) use loopback::{accept, any_local, connect, streams};
pub(crate) use net::{Here, TcpListener, TcpStream, UdpSocket, into_stream};
pub(crate) use waiting::{DEADLINE, wait_until};

use anyport::fs::{FileHandle, OpenOptions};
use anyport::net::{Socket, SocketHandle, listen};
use anyport::{BackendKind, CompletionPort, GetError, Packet};
use std::io::Read;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a whole statement may take, with waits of the engine itself that have no deadline.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(120);

/// Runs a statement on a backend; says so when the machine does not offer it.
pub fn run(kind: BackendKind, statement: fn(BackendKind)) {
    if !backends::is_offered(kind) {
        return;
    }
    let (ended, is_over) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _ended = ended;
        statement(kind);
    });
    match is_over.recv_timeout(STATEMENT_DEADLINE) {
        Err(RecvTimeoutError::Timeout) => panic!("hangs: not over after {STATEMENT_DEADLINE:?}"),
        _ => {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

/// Runs a statement in a simulated world, whose clock is the real one and whose faults are few.
#[cfg(feature = "sim")]
pub fn run_simulated(name: &str, statement: fn(BackendKind)) {
    static WORLDS: AtomicU64 = AtomicU64::new(1);
    if let Some((_, why)) = NOT_SIMULATED.iter().find(|(not, _)| *not == name) {
        println!("not run: {why}");
        return;
    }
    let number = WORLDS.fetch_add(1, Ordering::Relaxed);
    let (ended, is_over) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _ended = ended;
        let world = anyport::sim::World::new(number);
        // As over loopback: datagrams, too, come in the order in which they were sent.
        let latency = Duration::from_micros(20);
        world.set_links(anyport::sim::Link::new().latency(latency..=latency));
        net::run_in_world(&world, number as u32, || statement(BackendKind::Simulated));
    });
    match is_over.recv_timeout(STATEMENT_DEADLINE) {
        Err(RecvTimeoutError::Timeout) => panic!("hangs: not over after {STATEMENT_DEADLINE:?}"),
        _ => {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

/// Statements that say nothing of a simulated world, and why.
#[cfg(feature = "sim")]
const NOT_SIMULATED: &[(&str, &str)] = &[
    ("s24_blocking_mode_does_not_make_a_start_wait", "a simulated socket has no mode"),
    ("s32_an_ordinary_connect_queues_nothing", "no other library connects a simulated socket"),
];

/// Runs this statement in a process of its own: true there, where it is to be tested; otherwise
/// it has passed there.
pub fn is_in_own_process(kind: BackendKind, statement: &str) -> bool {
    if !child::is_child() {
        child::run_in_child(&format!("{kind}::{statement}"), |_| {});
    }
    child::is_child()
}

/// A port on this backend with a concurrency value of 2.
pub fn port<T: Send + 'static>(kind: BackendKind) -> CompletionPort<T> {
    builder(kind).concurrency(2).build().expect("a port")
}

/// The next packet, which must come.
pub fn get<T: Send + 'static>(port: &CompletionPort<T>) -> Packet<T> {
    port.get(Some(DEADLINE)).expect("a packet")
}

/// The next `count` packets, which must come.
pub fn get_all<T: Send + 'static>(port: &CompletionPort<T>, count: usize) -> Vec<Packet<T>> {
    (0..count).map(|_| get(port)).collect()
}

/// The next packets are those of sends of these lengths in the order of their start, all whole.
pub fn assert_sent_in_order(port: &CompletionPort<usize>, lengths: &[usize]) {
    for (context, packet) in get_all(port, lengths.len()).into_iter().enumerate() {
        assert_eq!(packet.context, context, "packets of one handle come in order");
        assert_eq!(packet.result, Ok(lengths[context]));
    }
}

/// No operation is under way and no packet waits, so none can come any more.
pub fn assert_nothing_is_left<T: Send + 'static>(port: &CompletionPort<T>) {
    match port.get(Some(Duration::ZERO)) {
        Err(error) => assert_eq!(error, GetError::TimedOut),
        Ok(packet) => panic!("a packet too many: {:?} of key {}", packet.kind, packet.key),
    }
    let stats = port.stats();
    assert_eq!((stats.operations_live, stats.posted_waiting), (0, 0), "{stats:?}");
}

/// The bytes of a packet's buffers, one after the other.
pub fn bytes_of<T>(packet: &Packet<T>) -> Vec<u8> {
    packet.buffers.iter().flat_map(|buffer| buffer.as_slice().iter().copied()).collect()
}

/// A connected socket of the port under this key, and its peer.
pub fn connection<T: Send + 'static>(
    port: &CompletionPort<T>,
    key: usize,
) -> (SocketHandle<T>, TcpStream) {
    let (near, far) = streams();
    (associated(port, near, key), far)
}

/// As `connection`, with a duplicate of the socket between the two that the port does not know of:
/// it tells how the socket is.
pub fn connection_with_duplicate<T: Send + 'static>(
    port: &CompletionPort<T>,
    key: usize,
) -> (SocketHandle<T>, TcpStream, TcpStream) {
    let (near, far) = streams();
    let duplicate = near.try_clone().expect("a duplicate");
    (associated(port, near, key), duplicate, far)
}

/// A listener of the port under this key, and where it listens.
pub fn listener<T: Send + 'static>(
    port: &CompletionPort<T>,
    key: usize,
) -> (SocketHandle<T>, SocketAddr) {
    let socket = listen(any_local()).expect("a listener");
    let address = socket.local_addr().expect("an address");
    (port.associate(socket, key).expect("associated"), address)
}

/// A file of the port under this key, to be read, with this content; it goes with its path.
pub fn file_with<T: Send + 'static>(
    port: &CompletionPort<T>,
    key: usize,
    content: &[u8],
) -> (FileHandle<T>, TemporaryPath) {
    let path = TemporaryPath::new();
    std::fs::write(&path, content).expect("a file");
    let file = OpenOptions::new().read(true).open(&path).expect("open");
    (port.associate(file, key).expect("associated"), path)
}

/// The stream as a socket of the port.
pub fn associated<T: Send + 'static>(
    port: &CompletionPort<T>,
    stream: TcpStream,
    key: usize,
) -> SocketHandle<T> {
    port.associate(Socket::from(stream), key).expect("associated")
}

/// `count` bytes from the stream.
pub fn read_exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).expect("all bytes");
    bytes
}

/// What the channel brings, which must come.
pub fn next<M>(channel: &Receiver<M>) -> M {
    channel.recv_timeout(DEADLINE).expect("it comes")
}

/// A path for a file of one test; what is there is removed when this is dropped.
pub struct TemporaryPath(PathBuf);

impl TemporaryPath {
    /// A path that nobody else has.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("anyport-conformance-{}-{number}", std::process::id());
        TemporaryPath(std::env::temp_dir().join(name))
    }
}

impl AsRef<Path> for TemporaryPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Threads that hand each packet that they get to a handler, until the port is closed.
pub struct Workers<T: Send + 'static> {
    port: CompletionPort<T>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl<T: Send + 'static> Workers<T> {
    /// Starts `count` threads.
    pub fn start(
        port: &CompletionPort<T>,
        count: usize,
        handler: impl Fn(Packet<T>) + Send + Sync + 'static,
    ) -> Self {
        let handler = Arc::new(handler);
        let threads = (0..count)
            .map(|_| {
                let (port, handler) = (port.clone(), Arc::clone(&handler));
                thread::spawn(move || {
                    while let Ok(packet) = port.get(None) {
                        handler(packet);
                    }
                })
            })
            .collect();
        Workers { port: port.clone(), threads }
    }

    /// Closes the port and waits for the threads; a handler's panic is this one's.
    pub fn end(mut self) {
        self.port.close();
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

impl<T: Send + 'static> Drop for Workers<T> {
    fn drop(&mut self) {
        // A statement that failed leaves nobody waiting.
        self.port.close();
    }
}

/// What a handler waits at until the statement opens it.
#[derive(Default)]
pub struct Gate {
    is_open: AtomicBool,
    lock: Mutex<()>,
    opened: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    /// A gate that is shut.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lets everybody through.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
        drop(self.lock.lock().expect("nobody panics with it"));
        self.opened.notify_all();
    }

    /// Blocks until the gate is open.
    pub fn block(&self) {
        let guard = self.lock.lock().expect("nobody panics with it");
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let is_shut = |_: &mut ()| !self.is_open.load(Ordering::SeqCst);
        let waited = self.opened.wait_timeout_while(guard, DEADLINE, is_shut);
        assert!(!waited.expect("nobody panics with it").1.timed_out(), "nobody opens the gate");
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Uses the processor until the gate is open.
    pub fn spin(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let start = Instant::now();
        while !self.is_open.load(Ordering::SeqCst) {
            assert!(start.elapsed() < DEADLINE, "nobody opens the gate");
            std::hint::spin_loop();
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits until so many threads wait at the gate.
    pub fn wait_for(&self, threads: usize) {
        wait_until("threads at the gate", || self.waiting.load(Ordering::SeqCst) == threads);
    }
}

/// A thread as the system sees it.
pub struct ThreadView(PathBuf);

impl ThreadView {
    /// The calling thread.
    pub fn current() -> Self {
        ThreadView(std::fs::read_link("/proc/thread-self").unwrap_or_default())
    }

    /// Waits until the thread sleeps or is gone, where the system tells.
    pub fn wait_until_asleep(&self) {
        if !cfg!(target_os = "linux") {
            return;
        }
        let path = Path::new("/proc").join(&self.0).join("stat");
        wait_until("the thread's sleep", || {
            let Ok(stat) = std::fs::read_to_string(&path) else { return true };
            // The name in parentheses may hold anything; the state follows it.
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
        });
    }
}
