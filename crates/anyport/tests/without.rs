//! io_uring without each of its features: the port says what it does without, and works.
//!
//! Each test runs again in a child process of its own, from which `ANYPORT_WITHOUT` takes the feature
//! away: the variable is for a whole process, and is to be set before it starts.

#![cfg(target_os = "linux")]

#[path = "world/child.rs"]
mod child;
#[path = "world/waiting.rs"]
mod waiting;

use anyport::net::{self, SocketHandle};
use anyport::{
    BackendKind, CompletionPort, ErrorKind, OperationKind, Packet, Worker, WorkerPool,
    available_backends,
};
use child::{is_child, run_in_child};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use waiting::{DEADLINE, wait_until};

/// Runs `body` in a child process that goes without these features. `test` is the name of the
/// calling test.
fn without(test: &str, features: &str, body: impl FnOnce()) {
    without_on(test, features, None, body);
}

fn without_on(test: &str, features: &str, rings: Option<&str>, body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    if let Err(reason) = io_uring_is_offered() {
        // What the child goes without is looked for only where the rest is there.
        return println!("not run: {reason}");
    }
    run_in_child(test, |child| {
        child.env_remove("ANYPORT_BACKEND").env("ANYPORT_WITHOUT", features);
        match rings {
            Some(name) => child.env("ANYPORT_RINGS", name),
            None => child.env_remove("ANYPORT_RINGS"),
        };
    });
}

fn io_uring_is_offered() -> Result<(), String> {
    let mut all = available_backends().into_iter();
    all.find(|(kind, _)| *kind == BackendKind::IoUring).expect("it is listed").1
}

/// What an operation carries: the socket that it is of, which closes when the last handle is dropped.

#[derive(Clone, Debug)]
struct Context(Option<SocketHandle<Context>>);

/// A port that nobody has set up is on io_uring, says that it does without these, and works.
fn assert_io_uring_serves_without(features: &[&str]) {
    let port: CompletionPort<Context> =
        CompletionPort::<()>::builder().concurrency(2).build().expect("io_uring goes on");
    let choice = port.backend();
    assert_eq!(choice.kind, BackendKind::IoUring, "{choice}");
    for feature in features {
        assert!(choice.reason.contains(&format!("without {feature}")), "{choice}");
    }
    assert!(choice.reason.contains("ANYPORT_WITHOUT"), "{choice}");
    assert_eq!(io_uring_is_offered(), Ok(()));
    serve(port);
}

/// A port that nobody has set up is on readiness, names the feature as the reason, and works; who
/// asks for io_uring is told.
fn assert_readiness_serves_without(feature: &str) {
    let port: CompletionPort<Context> =
        CompletionPort::<()>::builder().concurrency(2).build().expect("readiness always works");
    let choice = port.backend();
    assert_eq!(choice.kind, BackendKind::Readiness, "{choice}");
    for word in [feature, "ANYPORT_WITHOUT", "io_uring"] {
        assert!(choice.reason.contains(word), "{word}: {choice}");
    }
    assert_eq!(io_uring_is_offered(), Err(choice.reason.clone()));
    serve(port);
    let forced: Result<CompletionPort<Context>, _> =
        CompletionPort::<()>::builder().backend(BackendKind::IoUring).build();
    let error = forced.expect_err("it was taken away");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("ANYPORT_WITHOUT"), "{error}");
}

/// Every way of receiving and accepting, with messages below and above the size of a buffer, and
/// wake-ups, on a pool of threads.
fn serve(port: CompletionPort<Context>) {
    for kind in [OperationKind::ReceiveStream, OperationKind::ReceivePooled] {
        let (posted, arrivals) = mpsc::channel();
        let pool = WorkerPool::builder(&port)
            .threads(3)
            .start(move |packet, worker| match packet.kind {
                OperationKind::Posted => posted.send(packet.key).expect("the test waits"),
                _ => echo(packet, worker, kind),
            })
            .expect("threads");
        let address = listen(&port, kind);
        // A thread that waits is woken for each.
        for key in 0..200 {
            port.post(key, 0, Context(None)).expect("there is room");
            assert_eq!(arrivals.recv_timeout(DEADLINE), Ok(key), "the packet came");
        }
        thread::scope(|scope| {
            for client in 0..8 {
                scope.spawn(move || exchange(address, client));
            }
        });
        assert_eq!(pool.panics(), 0, "no handler failed");
        pool.join();
    }
    assert_eq!(port.stats().posted_waiting, 0);
}

/// A listener that takes connections as a stream, or one at a time, as they are to receive.
fn listen(port: &CompletionPort<Context>, kind: OperationKind) -> SocketAddr {
    let listener = net::listen("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
    let listener = port.associate(listener, 0).expect("a new socket");
    let context = Context(Some(listener.clone()));
    match kind {
        OperationKind::ReceiveStream => listener.accept_stream(context),
        _ => listener.accept(context),
    }
    .expect("it listens");
    listener.local_addr().expect("it is bound")
}

fn echo(packet: Packet<Context>, worker: &Worker<Context>, receiving: OperationKind) {
    let Packet { kind, result, context, buffers, accepted, more, .. } = packet;
    let Context(Some(socket)) = context.clone() else { panic!("only posted packets have none") };
    if let Some(connection) = accepted {
        let connection = worker.port().associate(connection, 1).expect("a new socket");
        let context = Context(Some(connection.clone()));
        match receiving {
            OperationKind::ReceiveStream => connection.receive_stream(context),
            _ => connection.receive_pooled(context),
        }
        .expect("it is connected");
    }
    let started = match (kind, result) {
        // The stream goes on by itself.
        (OperationKind::AcceptStream, Ok(_)) => return assert!(more, "nobody has ended it"),
        (OperationKind::Send | OperationKind::Disconnect, Ok(_)) => return,
        (OperationKind::Accept, Ok(_)) => socket.accept(context),
        (OperationKind::ReceiveStream, Ok(1..)) => socket.send(buffers, context),
        (OperationKind::ReceivePooled, Ok(1..)) => {
            socket.send(buffers, context.clone()).expect("it is connected");
            socket.receive_pooled(context)
        }
        (OperationKind::ReceiveStream | OperationKind::ReceivePooled, Ok(_)) => {
            socket.disconnect(context)
        }
        other => panic!("{other:?}"),
    };
    started.expect("the socket is open");
}

/// Small messages one by one, then one of many buffers, and each byte comes back in its place.
fn exchange(address: SocketAddr, client: u8) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
    stream.set_nodelay(true).expect("no delay");
    for length in [1, 64, 4096, 5000, 100, 300_000] {
        let message: Vec<u8> = (0..length).map(|i| (i % 251) as u8 ^ client).collect();
        let mut writing = stream.try_clone().expect("a descriptor");
        let answer = thread::scope(|scope| {
            scope.spawn(|| writing.write_all(&message).expect("it is connected"));
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer).expect("the answer comes");
            answer
        });
        assert!(answer == message, "client {client}, {length} bytes");
    }
    stream.shutdown(Shutdown::Write).expect("it is connected");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the end comes");
    assert_eq!(rest, b"");
}

#[test]
fn without_owner_rings_threads_share_plain_ones() {
    without("without_owner_rings_threads_share_plain_ones", "owner_rings", || {
        assert_io_uring_serves_without(&["owner_rings"]);
    });
}

#[test]
fn without_a_cancel_for_all_threads_share_plain_rings() {
    without("without_a_cancel_for_all_threads_share_plain_rings", "cancel_any", || {
        assert_io_uring_serves_without(&["cancel_any"]);
    });
}

#[test]
fn without_cooperation_completions_interrupt() {
    without("without_cooperation_completions_interrupt", "coop_taskrun", || {
        assert_io_uring_serves_without(&["coop_taskrun"]);
    });
}

#[test]
fn without_buffer_rings_receives_wait_first() {
    without("without_buffer_rings_receives_wait_first", "buffer_rings", || {
        assert_io_uring_serves_without(&["buffer_rings"]);
    });
}

#[test]
fn without_multishot_receives_there_is_one_at_a_time() {
    without("without_multishot_receives_there_is_one_at_a_time", "multishot_receive", || {
        assert_io_uring_serves_without(&["multishot_receive"]);
    });
}

#[test]
fn without_multishot_accepts_there_is_one_at_a_time() {
    without("without_multishot_accepts_there_is_one_at_a_time", "multishot_accept", || {
        assert_io_uring_serves_without(&["multishot_accept"]);
    });
}

#[test]
fn without_all_that_can_be_missed_it_goes_on() {
    let test = "without_all_that_can_be_missed_it_goes_on";
    let features =
        "owner_rings,cancel_any,coop_taskrun,buffer_rings,multishot_receive,multishot_accept";
    without(test, features, || {
        assert_io_uring_serves_without(&[
            "owner_rings",
            "cancel_any",
            "coop_taskrun",
            "buffer_rings",
            "multishot_accept",
        ]);
    });
}

#[test]
fn the_reference_goes_on_without_buffer_rings() {
    let test = "the_reference_goes_on_without_buffer_rings";
    without_on(test, "buffer-rings", Some("shared"), || {
        assert_io_uring_serves_without(&["buffer_rings"]);
        let port = CompletionPort::<()>::new(0).expect("io_uring goes on");
        assert!(port.backend().reason.contains("ANYPORT_RINGS"), "{}", port.backend());
    });
}

/// Readiness is the same whichever feature is missing: one serves for real, the others are asked.
#[test]
fn without_what_it_needs_readiness_serves() {
    without("without_what_it_needs_readiness_serves", "msg_ring", || {
        assert_readiness_serves_without("msg_ring");
    });
}

#[test]
fn before_linux_6_1_readiness_serves() {
    without("before_linux_6_1_readiness_serves", "linux_6_1", || {
        assert_readiness_serves_without("linux_6_1");
    });
}

#[test]
fn without_entries_that_are_all_submitted_readiness_serves() {
    let test = "without_entries_that_are_all_submitted_readiness_serves";
    without(test, "submit_all", || assert_readiness_serves_without("submit_all"));
}

#[test]
fn where_completions_may_be_dropped_readiness_serves() {
    without("where_completions_may_be_dropped_readiness_serves", "nodrop", || {
        assert_readiness_serves_without("nodrop");
    });
}

#[test]
fn without_bounded_waits_readiness_serves() {
    without("without_bounded_waits_readiness_serves", "ext_arg", || {
        assert_readiness_serves_without("ext_arg");
    });
}

#[test]
fn without_an_opcode_readiness_serves() {
    without("without_an_opcode_readiness_serves", "opcodes", || {
        assert_readiness_serves_without("opcodes");
    });
}

#[test]
fn an_unknown_name_is_an_error_that_lists_the_known() {
    without("an_unknown_name_is_an_error_that_lists_the_known", "owner_rings,epoll", || {
        let error = CompletionPort::<()>::new(0).expect_err("no feature is called epoll");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        for word in ["ANYPORT_WITHOUT", "owner_rings", "buffer_rings", "multishot_accept"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    });
}

#[test]
fn asking_leaves_no_descriptor_behind() {
    // Alone in a process: others open descriptors as well.
    without("asking_leaves_no_descriptor_behind", "", || {
        let open = || std::fs::read_dir("/proc/self/fd").expect("it is there").count();
        let before = open();
        assert_eq!(io_uring_is_offered(), Ok(()));
        wait_until("the trials' descriptors are closed", || open() == before);
    });
}
