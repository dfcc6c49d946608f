//! Statement 48: an idle port makes no system call, and watching a long handler costs little.
//!
//! Wake-ups are counted for all threads of the engine in this process, so each of these runs in a
//! process of its own: this program again, with one test.

use crate::world::{
    Gate, TcpStream, connection, get, is_in_own_process, listener, next, read_exactly, wait_until,
};
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, OperationKind, Packet, WorkerPool};
use std::io::Write;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long a port is observed.
const OBSERVED: Duration = Duration::from_secs(10);

/// True in a process of its own, where the statement is to be tested; false when it passed there,
/// or the system cannot tell.
fn is_alone(kind: BackendKind, statement: &str) -> bool {
    if !cfg!(target_os = "linux") {
        println!("not run: the system does not tell how often a thread has slept");
        return false;
    }
    is_in_own_process(kind, statement)
}

/// How often each thread of the engine went to sleep so far: with every wake-up once more.
fn sleeps() -> Vec<(String, u64)> {
    let mut sleeps = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").expect("the threads") {
        let path = task.expect("a thread").path();
        // A thread may end meanwhile.
        let Ok(status) = std::fs::read_to_string(path.join("status")) else { continue };
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
        };
        if field("Name:").starts_with("anyport") {
            let count = field("voluntary_ctxt_switches:").parse().expect("a number");
            sleeps.push((format!("{} {}", field("Name:"), field("Pid:")), count));
        }
    }
    sleeps.sort();
    sleeps
}

/// Waits until the engine, of at least this many threads, has come to rest: the same counts for
/// half a second.
fn wait_until_at_rest(threads: usize) {
    let (mut before, mut since) = (sleeps(), Instant::now());
    wait_until("the engine's rest", || {
        let now = sleeps();
        if now != before {
            (before, since) = (now, Instant::now());
        }
        since.elapsed() >= Duration::from_millis(500)
    });
    assert!(before.len() >= threads, "at least {threads} threads: {before:?}");
}

/// No thread of the engine wakes up while it is observed.
fn assert_stays_at_rest() {
    let before = sleeps();
    thread::sleep(OBSERVED);
    assert_eq!(sleeps(), before, "an idle port wakes up");
}

/// The clerk, and the four threads of a `Server`.
const THREADS: usize = 5;

/// A server with every sort of operation under way, after some traffic.
struct Server {
    port: CompletionPort<()>,
    pool: WorkerPool,
    handles: Vec<SocketHandle<()>>,
    peers: Vec<TcpStream>,
    spinning: Arc<Gate>,
}

impl Server {
    fn start(kind: BackendKind) -> Self {
        let port = crate::world::port(kind);
        let (handles, mut peers): (Vec<_>, Vec<_>) =
            (0..16).map(|key| connection(&port, key)).unzip();
        let spinning = Gate::new();
        let (answering, at_gate) = (handles.clone(), Arc::clone(&spinning));
        let pool =
            WorkerPool::builder(&port).threads(4).start(move |packet: Packet<()>, _| match packet
                .kind
            {
                OperationKind::Posted => at_gate.spin(),
                OperationKind::ReceiveStream if packet.more => {
                    answering[packet.key].send(packet.buffers, ()).expect("started");
                }
                _ => {}
            });
        let pool = pool.expect("threads");
        for handle in &handles[..8] {
            handle.receive_stream(()).expect("started");
        }
        for handle in &handles[8..12] {
            handle.receive(vec![0; 64], ()).expect("started");
            handle.receive_pooled(()).expect("started");
        }
        for handle in &handles[12..] {
            handle.receive_ready(()).expect("started");
        }
        let (listener, _) = listener(&port, 99);
        listener.accept_stream(()).expect("started");
        for _ in 0..20 {
            for peer in &mut peers[..8] {
                peer.write_all(b"echo").expect("sent");
            }
            for peer in &mut peers[..8] {
                assert_eq!(read_exactly(peer, 4), b"echo");
            }
        }
        let mut handles = handles;
        handles.push(listener);
        Server { port, pool, handles, peers, spinning }
    }

    fn end(self) {
        self.pool.join();
        self.port.close();
        drop((self.handles, self.peers));
    }
}

pub fn s48_an_idle_port_does_not_wake_up(kind: BackendKind) {
    if !is_alone(kind, "s48_an_idle_port_does_not_wake_up") {
        return;
    }
    let server = Server::start(kind);
    wait_until_at_rest(THREADS);
    assert_stays_at_rest();
    server.end();
}

pub fn s48_an_idle_port_without_threads_does_not_wake_up(kind: BackendKind) {
    if !is_alone(kind, "s48_an_idle_port_without_threads_does_not_wake_up") {
        return;
    }
    // Nobody has ever called `get`: the clerk alone has the operations.
    let port = crate::world::port(kind);
    let (handle, _peer) = connection(&port, 1);
    handle.receive(vec![0; 64], ()).expect("started");
    wait_until_at_rest(1);
    assert_stays_at_rest();
}

pub fn s48_an_idle_port_that_its_only_thread_has_left_does_not_wake_up(kind: BackendKind) {
    if !is_alone(kind, "s48_an_idle_port_that_its_only_thread_has_left_does_not_wake_up") {
        return;
    }
    let port = crate::world::port(kind);
    let (handle, mut peer) = connection(&port, 1);
    let (tell, has_left) = mpsc::channel();
    let thread = {
        let (port, handle) = (port.clone(), handle.clone());
        thread::spawn(move || {
            port.post(0, 0, ()).expect("room");
            assert_eq!(get(&port).kind, OperationKind::Posted);
            // In that packet's handler: it is this thread's, and the kernel has it after a look.
            handle.receive(vec![0; 64], ()).expect("started");
            assert!(port.get(Some(Duration::ZERO)).is_err(), "nothing has come");
            tell.send(()).expect("somebody waits");
            // It stays, and does something else, for as long as the port is observed.
            thread::park();
        })
    };
    next(&has_left);
    wait_until_at_rest(1);
    assert_stays_at_rest();
    peer.write_all(b"x").expect("sent");
    wait_until_at_rest(1);
    thread.thread().unpark();
    thread.join().expect("no panic");
    assert_eq!(get(&port).kind, OperationKind::Receive);
}

pub fn s48_a_handler_that_runs_long_causes_few_wake_ups(kind: BackendKind) {
    if !is_alone(kind, "s48_a_handler_that_runs_long_causes_few_wake_ups") {
        return;
    }
    let server = Server::start(kind);
    wait_until_at_rest(THREADS);
    server.port.post(0, 0, ()).expect("room");
    server.spinning.wait_for(1);
    let total = |sleeps: Vec<(String, u64)>| sleeps.into_iter().map(|(_, n)| n).sum::<u64>();
    let (before, start) = (total(sleeps()), Instant::now());
    thread::sleep(OBSERVED);
    let (wake_ups, seconds) = (total(sleeps()) - before, start.elapsed().as_secs_f64());
    server.spinning.open();
    let rate = wake_ups as f64 / seconds;
    assert!(rate <= 1_000.0, "{rate:.0} wake-ups a second");
    server.end();
}
