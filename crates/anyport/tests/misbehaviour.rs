//! Peers and handlers that misbehave: nobody else notices, and nothing is left behind.
//!
//! A small echo server runs on the worker pool. While clients reset, leave, stop reading and
//! flood it, others that behave get every byte back; afterwards descriptors, buffers and
//! operations are as many as before.

#[path = "memory/world.rs"]
mod world;

#[path = "misbehaviour/server.rs"]
mod server;

use anyport::net::Socket;
use anyport::{BackendKind, CompletionPort, WorkerPool};
use server::{HIGH_WATER_BYTES, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use world::{DEADLINE, TcpStream, builder, wait_until};

world::on_every_backend! {
    tests::peers_that_reset_in_the_middle_disturb_nobody,
    tests::peers_that_end_their_side_get_all_of_their_answer,
    tests::peers_that_connect_and_leave_disturb_nobody,
    tests::peers_that_stop_reading_cost_a_bounded_amount_and_lose_nothing,
    tests::peers_that_stop_reading_and_leave_disturb_nobody,
    tests::floods_disturb_nobody,
    tests::all_misbehaviour_at_once_disturbs_nobody,
    tests::a_handler_that_panics_is_counted_and_its_thread_lives_on,
    tests::a_stream_goes_on_after_its_handler_panicked,
    tests::panics_in_an_echo_server_cost_one_answer_each,
}

/// Descriptors are counted for the whole process: one test at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a test while no other runs. Its port must leave no descriptor behind.
fn alone(test: impl FnOnce()) {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let before = descriptors();
    test();
    // A port that was dropped is gone when the kernel is done with it.
    wait_until("the port's own descriptors are closed", || descriptors() <= before);
}

/// Open descriptors of this process, where the system tells.
#[cfg(not(windows))]
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Open handles of this process.
#[cfg(windows)]
fn descriptors() -> usize {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetProcessHandleCount};
    let mut count = 0;
    // SAFETY: the pseudo handle is always valid and the count is writable.
    let result = unsafe { GetProcessHandleCount(GetCurrentProcess(), &mut count) };
    assert!(result != 0, "the system counts: {}", std::io::Error::last_os_error());
    count as usize
}

/// How the server and the process stand when nothing is going on.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    descriptors: usize,
    operations: usize,
    /// Pooled buffers in use. Of the io_uring backend a part is lent to the kernel, by its need:
    /// there, only what is left at the end counts.
    buffers: Option<usize>,
}

impl Account {
    fn of(server: &Server, kind: BackendKind) -> Self {
        Account {
            descriptors: descriptors(),
            operations: server.operations(),
            buffers: (kind == BackendKind::Readiness).then(|| server.buffers()),
        }
    }
}

/// Clients that behave, each in a thread: they send messages of every size, and check every byte
/// that comes back.
struct Witnesses {
    is_over: Arc<AtomicBool>,
    messages: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Witnesses {
    fn start(server: &Server) -> Self {
        let (is_over, messages) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let threads = (0..4)
            .map(|number| {
                let (is_over, messages) = (Arc::clone(&is_over), Arc::clone(&messages));
                let mut stream = server.connect();
                thread::spawn(move || {
                    let mut size = 1;
                    while !is_over.load(Ordering::Relaxed) {
                        echo(&mut stream, number, size);
                        messages.fetch_add(1, Ordering::Relaxed);
                        size = (size * 3 + number) % 20_000 + 1;
                    }
                    stream.shutdown(Shutdown::Write).expect("it is connected");
                    let mut rest = Vec::new();
                    stream.read_to_end(&mut rest).expect("an orderly end");
                    assert!(rest.is_empty(), "{} bytes too many", rest.len());
                })
            })
            .collect();
        Witnesses { is_over, messages, threads }
    }

    /// Ends them; each must have been served meanwhile, and been served right.
    fn finish(self) {
        let before = self.messages.load(Ordering::Relaxed);
        wait_until("those who behave are still served", || {
            self.messages.load(Ordering::Relaxed) >= before + 8
        });
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("who behaves sees no error and no wrong byte");
        }
    }
}

fn pattern(seed: usize, size: usize) -> Vec<u8> {
    (0..size).map(|at| (seed * 31 + at % 241) as u8).collect()
}

/// Sends a message and checks its echo.
fn echo(stream: &mut TcpStream, seed: usize, size: usize) {
    let message = pattern(seed, size);
    stream.write_all(&message).expect("it is connected");
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer).expect("the answer comes");
    assert!(answer == message, "wrong bytes in an echo of {size}");
}

/// Runs the misbehaviour beside clients that behave, and compares the accounts.
fn misbehave(kind: BackendKind, deed: impl Fn(&Server)) {
    alone(|| misbehave_alone(kind, deed));
}

fn misbehave_alone(kind: BackendKind, deed: impl Fn(&Server)) {
    let server = Server::start(kind);
    // What is made once and kept is made now.
    let warm_up = Witnesses::start(&server);
    warm_up.finish();
    wait_until("the first clients are gone", || server.connections() == 0);
    let before = Account::of(&server, kind);
    let witnesses = Witnesses::start(&server);
    deed(&server);
    witnesses.finish();
    wait_until("all clients are gone", || server.connections() == 0);
    // A connection is counted until its context goes, a moment before its descriptor closes.
    let start = std::time::Instant::now();
    loop {
        let after = Account::of(&server, kind);
        if after == before {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "left behind: {after:?}, before: {before:?}");
        thread::sleep(Duration::from_millis(1));
    }
    let (pool, panics) = server.end();
    assert_eq!(panics, 0, "a handler panicked");
    wait_until("every pooled buffer came back", || pool.live() == 0);
}

/// Makes the close of this stream a reset.
fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).expect("it is a TCP socket");
}

fn reset_many(server: &Server, count: usize) {
    for i in 0..count {
        let mut stream = server.connect();
        match i % 4 {
            // Before, in the middle of, and after an answer.
            0 => {}
            1 => stream.write_all(&pattern(i, 10)).expect("it is connected"),
            2 => {
                stream.write_all(&pattern(i, 40_000)).expect("the system's buffers have room");
                let mut part = [0; 100];
                stream.read_exact(&mut part).expect("the answer comes");
                assert_eq!(part, pattern(i, 100)[..]);
            }
            _ => echo(&mut stream, i, 5_000),
        }
        reset(stream);
    }
}

fn end_one_side_many(server: &Server, count: usize) {
    for i in 0..count {
        let mut stream = server.connect();
        let message = pattern(i, (i * 997) % 50_000);
        stream.write_all(&message).expect("the system's buffers have room");
        stream.shutdown(Shutdown::Write).expect("it is connected");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an orderly end");
        assert_eq!(answer.len(), message.len(), "all of the answer comes before the end");
        assert!(answer == message, "wrong bytes");
    }
}

fn leave_many(server: &Server, count: usize) {
    for _ in 0..count {
        drop(server.connect());
    }
}

/// Writes until the server takes no more, which it must at some time, and says how many bytes.
fn write_until_refused(server: &Server, stream: &mut TcpStream) -> usize {
    let client = stream.local_addr().expect("it is connected");
    stream.set_nonblocking(true).expect("it is a socket");
    let mut written = 0;
    let start = std::time::Instant::now();
    loop {
        match stream.write(&pattern(written % 241, 8_192)) {
            Ok(n) => written += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                // Refused for good: the server goes on only when somebody reads.
                if server.is_paused(client) {
                    break;
                }
                thread::yield_now();
            }
            Err(e) => panic!("the server dropped a slow reader: {e}"),
        }
        assert!(written < 1 << 30, "the server takes whatever comes");
        assert!(start.elapsed() < DEADLINE, "the server never paused; {written} bytes in");
    }
    stream.set_nonblocking(false).expect("it is a socket");
    written
}

/// The bytes that `write_until_refused` has written, from any place: it goes on where it stopped.
fn read_all_written(stream: &mut TcpStream, written: usize) {
    stream.shutdown(Shutdown::Write).expect("it is connected");
    let mut answer = Vec::with_capacity(written);
    stream.read_to_end(&mut answer).expect("an orderly end");
    assert_eq!(answer.len(), written, "a slow reader gets everything");
}

fn stop_reading(server: &Server, leaves: bool) {
    for _ in 0..3 {
        let mut stream = server.connect();
        let client = stream.local_addr().expect("it is connected");
        let written = write_until_refused(server, &mut stream);
        assert!(written > HIGH_WATER_BYTES, "the mark is above what was taken: {written}");
        if leaves {
            drop(stream);
        } else {
            read_all_written(&mut stream, written);
        }
        wait_until("the server is done with it", || !server.is_paused(client));
    }
    assert!(
        server.waiting_peak() <= HIGH_WATER_BYTES + server::OVERSHOOT_BYTES,
        "one connection had {} bytes waiting",
        server.waiting_peak()
    );
}

fn flood(server: &Server, floods: usize, bytes: usize) {
    thread::scope(|scope| {
        for number in 0..floods {
            let mut writer = server.connect();
            let mut reader = writer.try_clone().expect("a descriptor is free");
            scope.spawn(move || {
                let piece = pattern(number, 241 * 250);
                for _ in 0..bytes / piece.len() {
                    writer.write_all(&piece).expect("the server goes on");
                }
                writer.shutdown(Shutdown::Write).expect("it is connected");
            });
            scope.spawn(move || {
                let expected = pattern(number, 241 * 250);
                let mut piece = vec![0; expected.len()];
                for _ in 0..bytes / expected.len() {
                    reader.read_exact(&mut piece).expect("the answer comes");
                    assert!(piece == expected, "wrong bytes in a flood");
                }
                assert_eq!(reader.read(&mut piece).expect("an orderly end"), 0);
            });
        }
    });
}

mod tests {
    use super::*;

    pub(crate) fn peers_that_reset_in_the_middle_disturb_nobody(kind: BackendKind) {
        misbehave(kind, |server| reset_many(server, 300));
    }

    pub(crate) fn peers_that_end_their_side_get_all_of_their_answer(kind: BackendKind) {
        misbehave(kind, |server| end_one_side_many(server, 200));
    }

    pub(crate) fn peers_that_connect_and_leave_disturb_nobody(kind: BackendKind) {
        misbehave(kind, |server| leave_many(server, 500));
    }

    pub(crate) fn peers_that_stop_reading_cost_a_bounded_amount_and_lose_nothing(
        kind: BackendKind,
    ) {
        misbehave(kind, |server| stop_reading(server, false));
    }

    pub(crate) fn peers_that_stop_reading_and_leave_disturb_nobody(kind: BackendKind) {
        misbehave(kind, |server| stop_reading(server, true));
    }

    pub(crate) fn floods_disturb_nobody(kind: BackendKind) {
        misbehave(kind, |server| flood(server, 4, 8 << 20));
    }

    pub(crate) fn all_misbehaviour_at_once_disturbs_nobody(kind: BackendKind) {
        misbehave(kind, |server| {
            thread::scope(|scope| {
                scope.spawn(|| reset_many(server, 200));
                scope.spawn(|| end_one_side_many(server, 100));
                scope.spawn(|| leave_many(server, 200));
                scope.spawn(|| stop_reading(server, true));
                scope.spawn(|| flood(server, 2, 4 << 20));
            });
        });
    }

    pub(crate) fn a_handler_that_panics_is_counted_and_its_thread_lives_on(kind: BackendKind) {
        alone(|| {
            const PACKETS: usize = 1_000;
            let port: CompletionPort<usize> = builder(kind).build().expect("the backend is there");
            let (seen, handled) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
            let pool = WorkerPool::builder(&port)
                .threads(1)
                .on_panic({
                    let seen = Arc::clone(&seen);
                    move |payload| {
                        assert_eq!(payload.downcast_ref::<usize>().map(|n| n % 2), Some(1));
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .start({
                    let handled = Arc::clone(&handled);
                    move |packet, _| {
                        if packet.context % 2 == 1 {
                            std::panic::resume_unwind(Box::new(packet.context));
                        }
                        handled.fetch_add(1, Ordering::Relaxed);
                    }
                })
                .expect("one thread is to be had");
            for number in 0..PACKETS {
                port.post(0, 0, number).expect("there is room");
            }
            wait_until("every packet was handled or panicked over", || {
                handled.load(Ordering::Relaxed) + seen.load(Ordering::Relaxed) == PACKETS
            });
            assert_eq!(pool.panics(), PACKETS as u64 / 2);
            assert_eq!(handled.load(Ordering::Relaxed), PACKETS / 2);
            pool.join();
        });
    }

    pub(crate) fn a_stream_goes_on_after_its_handler_panicked(kind: BackendKind) {
        alone(|| {
            let port: CompletionPort<()> = builder(kind).build().expect("the backend is there");
            let received = Arc::<Mutex<Vec<u8>>>::default();
            let is_ended = Arc::<AtomicBool>::default();
            let pool = WorkerPool::builder(&port)
                .threads(2)
                .on_panic(|_| {})
                .start({
                    let (received, is_ended) = (Arc::clone(&received), Arc::clone(&is_ended));
                    move |packet, _| {
                        if packet.result.expect("an orderly end") == 0 {
                            is_ended.store(true, Ordering::Release);
                            return;
                        }
                        let bytes = packet.buffers.as_slice()[0].as_slice();
                        received.lock().expect("no panic inside").extend_from_slice(bytes);
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                })
                .expect("two threads are to be had");
            let (ours, mut theirs) = world::pair();
            let handle = port.associate(ours, 1).expect("a new socket");
            handle.receive_stream(()).expect("it is connected");
            for byte in 0..200_u8 {
                theirs.write_all(&[byte]).expect("it is connected");
            }
            drop(theirs);
            wait_until("the stream ended", || is_ended.load(Ordering::Acquire));
            let received = received.lock().expect("no panic inside");
            assert_eq!(*received, (0..200_u8).collect::<Vec<u8>>());
            assert!(pool.panics() > 0);
            drop(handle);
            wait_until("nothing is left", || port.stats().operations_live == 0);
        });
    }

    pub(crate) fn panics_in_an_echo_server_cost_one_answer_each(kind: BackendKind) {
        alone(|| {
            let server = Server::start(kind);
            let witnesses = Witnesses::start(&server);
            for panics in 1..=50 {
                let mut stream = server.connect();
                stream.write_all(server::PANIC_PLEASE).expect("it is connected");
                wait_until("the handler panicked", || server.panics() == panics);
                // The connection and its stream are as they were.
                echo(&mut stream, 3, 2_000);
            }
            witnesses.finish();
            wait_until("all clients are gone", || server.connections() == 0);
            let (pool, panics) = server.end();
            assert_eq!(panics, 50);
            wait_until("every pooled buffer came back", || pool.live() == 0);
        });
    }
}
