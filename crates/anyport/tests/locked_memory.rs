//! A process whose locked memory is limited, where rings count as such: a port for whose rings there
//! is no room is on readiness and says so, or is a clear error where io_uring was asked for; threads
//! whose own rings find no room serve all the same.
//!
//! Each test runs again in a child process of its own, as a user who has nothing else running: the
//! limit is of all processes of a user, and root is not held to it.

#![cfg(target_os = "linux")]

#[path = "world/child.rs"]
mod child;

use anyport::net::{self, SocketHandle};
use anyport::rt::Runtime;
use anyport::{
    BackendKind, CompletionPort, ErrorKind, OperationKind, Packet, PortBuilder, Worker, WorkerPool,
    available_backends,
};
use child::{is_child, run_in_child};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// Enough to try io_uring out, and for a port of few entries.
const LIMIT: u64 = 1 << 20;

/// A ring of these takes more than the limit.
const MANY_ENTRIES: u32 = 32_768;

/// Runs `body` in a child process that may lock so much memory. `test` is the name of the calling
/// test.
fn with_locked_memory(test: &str, limit: u64, backend: Option<&str>, body: impl FnOnce()) {
    if is_child() {
        limit_locked_memory(limit);
        if become_nobody() {
            body();
        }
        return;
    }
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return println!("not run: only root can become a user who has nothing else running");
    }
    run_in_child(test, |child| {
        child.env_remove("ANYPORT_WITHOUT").env_remove("ANYPORT_RINGS");
        match backend {
            Some(name) => child.env("ANYPORT_BACKEND", name),
            None => child.env_remove("ANYPORT_BACKEND"),
        };
    });
}

fn limit_locked_memory(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes.max(LIMIT) };
    // SAFETY: the pointer is to a limit that lives as long as the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Gives root up, and with it the right to lock any amount; false where that cannot be done.
fn become_nobody() -> bool {
    let user = 400_000 + std::process::id();
    // SAFETY: no pointers; it only takes rights away, from all threads.
    let is_done = unsafe { libc::setresuid(user, user, user) } == 0;
    if !is_done {
        println!("not run: this process cannot become another user");
    }
    is_done
}

/// False, after it has said so, where nothing can be shown: there is no io_uring, or rings do not
/// count.
fn rings_count() -> bool {
    let is_offered = |(kind, result): &(BackendKind, Result<(), String>)| {
        *kind == BackendKind::IoUring && result.is_ok()
    };
    if !available_backends().iter().any(is_offered) {
        println!("not run: no io_uring here");
        return false;
    }
    let forced = large().backend(BackendKind::IoUring).build::<()>();
    if forced.is_ok() {
        println!("not run: rings of this kernel do not count as locked memory");
    }
    forced.is_err()
}

fn large() -> PortBuilder {
    let builder = CompletionPort::<()>::builder().concurrency(2);
    builder.submission_entries(MANY_ENTRIES).completion_entries(2 * MANY_ENTRIES)
}

#[test]
fn a_port_whose_rings_find_no_room_is_on_readiness_and_says_why() {
    let test = "a_port_whose_rings_find_no_room_is_on_readiness_and_says_why";
    with_locked_memory(test, LIMIT, None, || {
        if !rings_count() {
            return;
        }
        let port = large().build().expect("readiness serves");
        let choice = port.backend().clone();
        assert_eq!(choice.kind, BackendKind::Readiness, "{choice}");
        for word in ["io_uring", "locked memory", "ulimit -l"] {
            assert!(choice.reason.contains(word), "{word}: {choice}");
        }
        assert_eq!(serve(port), 0);
    });
}

#[test]
fn by_name_it_is_an_error_that_says_what_to_do() {
    with_locked_memory("by_name_it_is_an_error_that_says_what_to_do", LIMIT, None, || {
        if !rings_count() {
            return;
        }
        let forced = large().backend(BackendKind::IoUring).build::<()>();
        let error = forced.expect_err("there is no room");
        assert_eq!(error.kind(), ErrorKind::NoMemory);
        for word in ["io_uring", "ulimit -l", "submission_entries", "readiness"] {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    });
}

#[test]
fn by_the_environment_it_is_an_error_too() {
    let test = "by_the_environment_it_is_an_error_too";
    with_locked_memory(test, LIMIT, Some("io_uring"), || {
        if rings_count() {
            let error = large().build::<()>().expect_err("there is no room");
            assert_eq!(error.kind(), ErrorKind::NoMemory);
        }
    });
}

#[test]
fn fewer_entries_have_room() {
    with_locked_memory("fewer_entries_have_room", LIMIT, None, || {
        if !rings_count() {
            return;
        }
        let builder = Runtime::builder().concurrency(2);
        let runtime = builder.submission_entries(64).completion_entries(128).build();
        let runtime = runtime.expect("a runtime");
        let choice = runtime.handle().backend();
        assert_eq!(choice.kind, BackendKind::IoUring, "{choice}");
        assert_eq!(runtime.block_on(runtime.spawn(async { 7 })).expect("it ends"), 7);
    });
}

#[test]
fn where_io_uring_cannot_even_be_tried_the_limit_is_named() {
    let test = "where_io_uring_cannot_even_be_tried_the_limit_is_named";
    with_locked_memory(test, 0, None, || {
        let port = CompletionPort::new(2).expect("readiness serves");
        let choice = port.backend();
        if choice.kind == BackendKind::IoUring {
            return println!("not run: rings of this kernel do not count as locked memory");
        }
        if !choice.reason.contains("EPERM") && !choice.reason.contains("ENOSYS") {
            assert!(choice.reason.contains("ulimit -l"), "{choice}");
        }
        serve(port);
    });
}

#[test]
fn threads_whose_own_rings_find_no_room_lose_nothing() {
    let test = "threads_whose_own_rings_find_no_room_lose_nothing";
    with_locked_memory(test, LIMIT, None, || {
        if !rings_count() {
            return;
        }
        let builder = CompletionPort::<()>::builder().concurrency(2);
        let port = builder.submission_entries(64).completion_entries(128).build();
        let port = port.expect("there is room for these");
        assert_eq!(port.backend().kind, BackendKind::IoUring, "{}", port.backend());
        // Before the first turn of any thread.
        let before = rings_open();
        limit_locked_memory(0);
        assert_eq!(serve(port), before, "no thread has one of its own");
    });
}

#[test]
fn threads_with_rings_and_threads_without_serve_together() {
    let test = "threads_with_rings_and_threads_without_serve_together";
    with_locked_memory(test, LIMIT, None, || {
        if !rings_count() {
            return;
        }
        let builder = CompletionPort::<()>::builder().concurrency(2);
        let port = builder.submission_entries(64).completion_entries(128).build();
        let port: CompletionPort<Context> = port.expect("there is room for these");
        // This thread has a ring, then it leaves what it has started.
        let listener = listen(&port);
        let client = TcpStream::connect(listener).expect("it listens");
        let packet = port.get(Some(DEADLINE)).expect("a client has connected");
        let connection = port.associate(packet.accepted.expect("a connection"), 1).expect("new");
        connection.receive_pooled(Context(connection.clone())).expect("it is connected");
        assert!(port.get(Some(Duration::ZERO)).is_err(), "nothing has come");
        let before = rings_open();
        limit_locked_memory(0);
        let left = port.clone();
        let serving = thread::spawn(move || serve(left));
        exchange(client, 3);
        assert_eq!(serving.join().expect("nothing was lost"), before);
    });
}

/// What an operation carries: the socket that it is of, which closes when the last handle is dropped.
#[derive(Clone, Debug)]
struct Context(SocketHandle<Context>);

/// How many may pass of those who wait.
type Gate = (Mutex<usize>, Condvar);

/// Four threads, of which two run, with messages of every size and handlers that block until another
/// message was handled. Says how many rings there were.
fn serve(port: CompletionPort<Context>) -> usize {
    let gate = Arc::new(Gate::default());
    let pool = WorkerPool::builder(&port).threads(4);
    let pool = pool.start(move |packet, worker| echo(packet, worker, &gate)).expect("threads");
    let address = listen(&port);
    let connect = || TcpStream::connect(address).expect("it listens");
    thread::scope(|scope| {
        for number in 0..6 {
            let stream = connect();
            scope.spawn(move || exchange(stream, number));
        }
    });
    let mut waiting = [connect(), connect()];
    let mut opening = [connect(), connect()];
    for _ in 0..20 {
        for stream in waiting.iter_mut().chain(&mut opening) {
            stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
        }
        for stream in &mut waiting {
            stream.write_all(b"w").expect("it is connected");
        }
        for stream in &mut opening {
            stream.write_all(b"g").expect("it is connected");
        }
        for stream in waiting.iter_mut().chain(&mut opening) {
            stream.read_exact(&mut [0]).expect("the answer comes");
        }
    }
    assert_eq!(pool.panics(), 0, "no handler failed");
    let rings = rings_open();
    pool.join();
    rings
}

fn rings_open() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").expect("it is there");
    let names = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().contains("[io_uring]")).count()
}

fn listen(port: &CompletionPort<Context>) -> SocketAddr {
    let listener = net::listen("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
    let listener = port.associate(listener, 0).expect("a new socket");
    listener.accept(Context(listener.clone())).expect("it listens");
    listener.local_addr().expect("it is bound")
}

fn echo(packet: Packet<Context>, worker: &Worker<Context>, gate: &Gate) {
    let Packet { kind, result, context, buffers, accepted, .. } = packet;
    let Context(socket) = &context;
    let started = match (kind, result) {
        (OperationKind::Accept, Ok(_)) => {
            let accepted = accepted.expect("a connection was accepted");
            let connection = worker.port().associate(accepted, 1).expect("a new socket");
            let context = Context(connection.clone());
            connection.receive_pooled(context).expect("it is connected");
            socket.accept(Context(socket.clone()))
        }
        (OperationKind::ReceivePooled, Ok(1..)) => {
            match buffers.as_slice()[0].as_slice() {
                b"w" => {
                    let passing = gate.0.lock().expect("nobody fails");
                    let (mut passing, waited) = gate
                        .1
                        .wait_timeout_while(passing, DEADLINE, |passing| *passing == 0)
                        .expect("nobody fails");
                    assert!(!waited.timed_out(), "the other messages are handled meanwhile");
                    *passing -= 1;
                }
                b"g" => {
                    *gate.0.lock().expect("nobody fails") += 1;
                    gate.1.notify_one();
                }
                _ => {}
            }
            socket.send(buffers, context.clone())
        }
        (OperationKind::Send, Ok(_)) => socket.receive_pooled(context.clone()),
        _ => return,
    };
    // The port may be closing.
    drop(started);
}

/// Messages of many sizes, of which each byte comes back in its place.
fn exchange(mut stream: TcpStream, number: u8) {
    stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
    for length in [10, 64, 4096, 5000, 100, 300_000] {
        let message: Vec<u8> = (0..length).map(|i| (i % 251) as u8 ^ number).collect();
        let mut writing = stream.try_clone().expect("a descriptor");
        let answer = thread::scope(|scope| {
            scope.spawn(|| writing.write_all(&message).expect("it is connected"));
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer).expect("the answer comes");
            answer
        });
        assert!(answer == message, "client {number}, {length} bytes");
    }
}
