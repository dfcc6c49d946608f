//! Statements 1, 2, 4 and 7 to 10: the port, what belongs to it, waiting, closing, posting.

use crate::starts::assert_refused;
use crate::world::{
    DEADLINE, Gate, TemporaryPath, Workers, any_local, assert_nothing_is_left, builder, bytes_of,
    connection, get, port, streams, wait_until,
};
use anyport::net::Socket;
use anyport::{BackendKind, CompletionPort, ErrorKind, GetError, OperationKind, PostErrorKind, fs};
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub fn s01_zero_is_the_number_of_processors(kind: BackendKind) {
    let port: CompletionPort<()> = builder(kind).concurrency(0).build().expect("a port");
    let processors = thread::available_parallelism().expect("the number of processors");
    assert_eq!(port.concurrency(), processors.get());
}

pub fn s01_a_port_has_the_concurrency_value_that_it_was_made_with(kind: BackendKind) {
    for value in [1, 2, 7, 64] {
        let port: CompletionPort<()> = builder(kind).concurrency(value).build().expect("a port");
        assert_eq!(port.concurrency(), value);
        assert_eq!(port.backend().kind, kind);
    }
}

pub fn s02_each_packet_has_the_key_of_its_handle(kind: BackendKind) {
    let port = port(kind);
    for key in [0, 1, 7, usize::MAX] {
        let (handle, mut peer) = connection(&port, key);
        assert_eq!(handle.key(), key);
        for _ in 0..2 {
            handle.receive(vec![0; 8], key).expect("started");
            peer.write_all(b"x").expect("sent");
            let packet = get(&port);
            assert_eq!((packet.key, packet.context), (key, key));
        }
    }
}

pub fn s02_a_socket_has_one_port(kind: BackendKind) {
    let (first, second) = (port::<()>(kind), port::<()>(kind));
    let (near, mut far) = streams();
    let duplicate = near.try_clone().expect("a duplicate");
    let handle = first.associate(Socket::from(near), 1).expect("associated");
    let mut duplicate = Socket::from(duplicate);
    for port in [&first, &second] {
        let refused = port.associate(duplicate, 2).expect_err("it has a port");
        assert_eq!(refused.error.kind(), ErrorKind::InvalidInput);
        duplicate = refused.resource;
        let again = handle.try_clone_socket().expect("a duplicate");
        let refused = port.associate(again, 2).expect_err("it has a port");
        assert_eq!(refused.error.kind(), ErrorKind::InvalidInput);
    }
    // Nothing is lost: what came back is the socket, and the first association holds.
    assert_eq!(duplicate.peer_addr().expect("connected"), far.local_addr().expect("bound"));
    handle.receive(vec![0; 8], ()).expect("started");
    far.write_all(b"still").expect("sent");
    assert_eq!(get(&first).key, 1);
}

pub fn s02_a_file_has_one_port(kind: BackendKind) {
    let (first, second) = (port::<()>(kind), port::<()>(kind));
    let path = TemporaryPath::new();
    std::fs::write(&path, b"contents").expect("written");
    let file = fs::OpenOptions::new().read(true).open(&path).expect("open");
    let mut duplicate = file.try_clone().expect("a duplicate");
    let handle = first.associate(file, 1).expect("associated");
    for port in [&first, &second] {
        let refused = port.associate(duplicate, 2).expect_err("it has a port");
        assert_eq!(refused.error.kind(), ErrorKind::InvalidInput);
        duplicate = refused.resource;
    }
    handle.read_at(vec![0; 8], 0, ()).expect("started");
    let packet = get(&first);
    assert_eq!((packet.key, packet.result, bytes_of(&packet)), (1, Ok(8), b"contents".to_vec()));
}

pub fn s02_the_association_ends_with_the_handle(kind: BackendKind) {
    let (first, second) = (port(kind), port(kind));
    let (handle, mut peer) = connection(&first, 1);
    handle.receive(vec![0; 8], ()).expect("started");
    peer.write_all(b"one").expect("sent");
    assert_eq!(get(&first).key, 1);
    let socket = handle.into_socket().expect("the only duplicate, and idle");
    if kind == BackendKind::Windows {
        // There the open socket keeps its port: see EXCEPTIONS.md.
        let refused = second.associate(socket, 2).expect_err("it has a port for life");
        assert_eq!(refused.error.kind(), ErrorKind::InvalidInput, "{}", refused.error);
        return assert_nothing_is_left(&first);
    }
    let handle = second.associate(socket, 2).expect("it has no port any more");
    handle.receive(vec![0; 8], ()).expect("started");
    peer.write_all(b"two").expect("sent");
    let packet = get(&second);
    assert_eq!((packet.key, bytes_of(&packet)), (2, b"two".to_vec()));
    assert_nothing_is_left(&first);
}

pub fn s02_what_cannot_overlap_is_refused(kind: BackendKind) {
    let port = port::<()>(kind);
    // Where any descriptor can be taken for a socket.
    #[cfg(unix)]
    {
        let path = TemporaryPath::new();
        let file = std::os::fd::OwnedFd::from(std::fs::File::create(&path).expect("a file"));
        let refused = port.associate(Socket::from(file), 1).expect_err("no socket");
        assert_eq!(refused.error.kind(), ErrorKind::InvalidInput, "{}", refused.error);
    }
    let name = if cfg!(windows) { "NUL" } else { "/dev/null" };
    let device = fs::OpenOptions::new().read(true).open(name).expect("open");
    let refused = port.associate(device, 1).expect_err("no file on a disk");
    assert_eq!(refused.error.kind(), ErrorKind::InvalidInput, "{}", refused.error);
    assert_nothing_is_left(&port);
}

pub fn s02_a_descriptor_that_is_not_open_is_an_invalid_handle(kind: BackendKind) {
    #[cfg(unix)]
    use std::os::fd::{FromRawFd, OwnedFd};
    #[cfg(windows)]
    use std::os::windows::io::{FromRawSocket, OwnedSocket};
    let port = port::<()>(kind);
    // SAFETY: no process has so many descriptors, so nobody's is used; it is forgotten below, so
    // nothing is closed either.
    #[cfg(unix)]
    let nothing = unsafe { OwnedFd::from_raw_fd(0x3fff_fff0) };
    // SAFETY: as above.
    #[cfg(windows)]
    let nothing = unsafe { OwnedSocket::from_raw_socket(0x3fff_fff0) };
    let refused = port.associate(Socket::from(nothing), 1).expect_err("it is not open");
    let error = refused.error;
    std::mem::forget(refused.resource);
    assert_eq!(error.kind(), ErrorKind::InvalidHandle, "{error}");
}

pub fn s04_a_duplicate_has_the_same_key(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 9);
    let duplicate = handle.try_clone().expect("a duplicate");
    assert_eq!(duplicate.key(), 9);
    duplicate.receive(vec![0; 8], "receive").expect("started");
    peer.write_all(b"x").expect("sent");
    let packet = get(&port);
    assert_eq!((packet.key, packet.context), (9, "receive"));
    duplicate.send(b"y".to_vec(), "send").expect("started");
    let packet = get(&port);
    assert_eq!((packet.key, packet.context, packet.result), (9, "send", Ok(1)));
}

pub fn s04_operations_are_aborted_when_the_last_duplicate_closes(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 9);
    let duplicate = handle.try_clone().expect("a duplicate");
    duplicate.receive(vec![0; 8], 1).expect("started");
    duplicate.close();
    peer.write_all(b"alive").expect("sent");
    let packet = get(&port);
    assert_eq!((packet.context, packet.result, bytes_of(&packet)), (1, Ok(5), b"alive".to_vec()));

    let duplicate = handle.try_clone().expect("a duplicate");
    handle.receive(vec![0; 8], 2).expect("started");
    handle.close();
    duplicate.send(b"open".to_vec(), 3).expect("started");
    assert_eq!(get(&port).context, 3, "the receive is still under way");
    duplicate.close();
    let packet = get(&port);
    assert_eq!((packet.key, packet.context), (9, 2));
    assert_eq!(packet.result.expect_err("aborted").kind(), ErrorKind::Aborted);
    assert_nothing_is_left(&port);
}

pub fn s07_nothing_in_time_is_timed_out_and_never_early(kind: BackendKind) {
    let port = port::<()>(kind);
    let (handle, _peer) = connection(&port, 1);
    handle.receive(vec![0; 8], ()).expect("started");
    for micros in [1, 700, 1_000, 1_700, 10_900, 50_000] {
        let timeout = Duration::from_micros(micros);
        let start = Instant::now();
        assert_eq!(port.get(Some(timeout)).expect_err("nothing"), GetError::TimedOut);
        assert!(start.elapsed() >= timeout, "{timeout:?} took {:?}", start.elapsed());
        let mut packets = Vec::new();
        let start = Instant::now();
        let result = port.get_many(&mut packets, 4, Some(timeout));
        assert_eq!((result, packets.len()), (Err(GetError::TimedOut), 0));
        assert!(start.elapsed() >= timeout, "{timeout:?} took {:?}", start.elapsed());
    }
}

pub fn s07_zero_only_looks(kind: BackendKind) {
    let port = port(kind);
    assert_eq!(port.get(Some(Duration::ZERO)).expect_err("nothing"), GetError::TimedOut);
    port.post(1, 2, "posted").expect("posted");
    assert_eq!(port.get(Some(Duration::ZERO)).expect("it is there").context, "posted");
    // What the system has completed is found by looks alone.
    let (handle, mut peer) = connection(&port, 1);
    handle.receive(vec![0; 8], "received").expect("started");
    peer.write_all(b"x").expect("sent");
    let mut packet = None;
    wait_until("the packet", || {
        packet = port.get(Some(Duration::ZERO)).ok();
        packet.is_some()
    });
    assert_eq!(packet.map(|p| p.context), Some("received"));
}

/// A port whose only place has a handler that spins at the gate: every other thread is held back.
fn port_that_holds_back(kind: BackendKind) -> (CompletionPort<()>, Arc<Gate>, Workers<()>) {
    let port: CompletionPort<()> = builder(kind).concurrency(1).build().expect("a port");
    let gate = Gate::new();
    let at_gate = Arc::clone(&gate);
    let workers = Workers::start(&port, 1, move |_| at_gate.spin());
    port.post(0, 0, ()).expect("posted");
    gate.wait_for(1);
    (port, gate, workers)
}

pub fn s07_a_thread_that_is_held_back_is_timed_out_too(kind: BackendKind) {
    let (port, gate, workers) = port_that_holds_back(kind);
    port.post(0, 0, ()).expect("posted");
    for timeout in [Duration::ZERO, Duration::from_micros(1_700), Duration::from_millis(50)] {
        let start = Instant::now();
        assert_eq!(port.get(Some(timeout)).expect_err("held back"), GetError::TimedOut);
        assert!(start.elapsed() >= timeout, "{timeout:?} took {:?}", start.elapsed());
    }
    gate.open();
    workers.end();
}

/// Threads that each wait for a packet, and tell what they got.
struct Waiters(Vec<thread::JoinHandle<Result<OperationKind, GetError>>>);

impl Waiters {
    fn start(port: &CompletionPort<()>, count: usize) -> Self {
        let waiter = |_| {
            let port = port.clone();
            thread::spawn(move || port.get(Some(DEADLINE)).map(|packet| packet.kind))
        };
        Waiters((0..count).map(waiter).collect())
    }

    fn assert_told_of_the_close(self) {
        for waiter in self.0 {
            assert_eq!(waiter.join().expect("no panic"), Err(GetError::Closed));
        }
    }
}

pub fn s08_closing_wakes_every_waiter(kind: BackendKind) {
    let port = port::<()>(kind);
    let waiters = Waiters::start(&port, 6);
    wait_until("six waiters, four of them parked", || {
        let stats = port.stats();
        (stats.threads, stats.threads_parked) == (6, 4)
    });
    assert!(!port.is_closed());
    port.close();
    assert!(port.is_closed());
    waiters.assert_told_of_the_close();
}

pub fn s08_closing_wakes_those_that_a_running_thread_holds_back(kind: BackendKind) {
    let (port, gate, workers) = port_that_holds_back(kind);
    let waiters = Waiters::start(&port, 3);
    wait_until("three parked", || port.stats().threads_parked == 3);
    port.close();
    waiters.assert_told_of_the_close();
    gate.open();
    workers.end();
}

pub fn s08_what_was_posted_before_the_close_is_handed_out_first(kind: BackendKind) {
    let port = port(kind);
    let (handle, _peer) = connection(&port, 99);
    handle.receive(vec![0; 8], 99).expect("started");
    for number in 0..10 {
        port.post(number, 0, number).expect("posted");
    }
    port.clone().close();
    let mut posted = Vec::new();
    loop {
        match port.get(Some(DEADLINE)) {
            Ok(packet) if packet.kind == OperationKind::Posted => posted.push(packet.context),
            Ok(packet) => {
                let error = packet.result.expect_err("aborted by the close");
                assert_eq!((packet.context, error.kind()), (99, ErrorKind::Aborted));
            }
            Err(error) => {
                assert_eq!(error, GetError::Closed);
                break;
            }
        }
    }
    assert_eq!(posted, Vec::from_iter(0..10));
}

pub fn s08_a_closed_port_refuses_everything(kind: BackendKind) {
    let port = port(kind);
    let (handle, peer) = connection(&port, 1);
    port.close();
    port.close();
    let refused = port.post(3, 4, 5).expect_err("closed");
    assert_eq!(refused.kind, PostErrorKind::Closed);
    assert_eq!((refused.key, refused.bytes, refused.context), (3, 4, 5));
    for timeout in [None, Some(Duration::ZERO), Some(DEADLINE)] {
        assert_eq!(port.get(timeout).expect_err("closed"), GetError::Closed);
        let result = port.get_many(&mut Vec::new(), 4, timeout);
        assert_eq!(result, Err(GetError::Closed));
    }
    let refused = port.associate(Socket::from(peer), 2).expect_err("closed");
    assert_eq!(refused.error.kind(), ErrorKind::Closed);
    assert!(refused.resource.peer_addr().is_ok(), "the socket comes back as it was");
    let back = assert_refused(handle.receive(vec![0; 8], 6), ErrorKind::Closed, 6);
    assert_eq!(back.total_capacity(), 8);
    let back = assert_refused(handle.send(b"data".to_vec(), 7), ErrorKind::Closed, 7);
    assert_eq!(back.total_len(), 4);
}

pub fn s09_a_posted_packet_comes_out_as_it_went_in(kind: BackendKind) {
    let port = port(kind);
    let context = Arc::new(any_local());
    let posts = [
        (0, 0, None),
        (usize::MAX, u32::MAX, Some(Arc::clone(&context))),
        (1, 2, None),
        (0x1234, 0x8000_0000, Some(Arc::clone(&context))),
    ];
    for (key, bytes, context) in &posts {
        port.post(*key, *bytes, context.clone()).expect("posted");
    }
    for (key, bytes, context) in posts {
        let packet = get(&port);
        assert_eq!((packet.key, packet.result), (key, Ok(bytes as usize)));
        assert_eq!(packet.context.as_ref().map(Arc::as_ptr), context.as_ref().map(Arc::as_ptr));
        assert_eq!((packet.kind, packet.operation), (OperationKind::Posted, None));
        assert!(packet.buffers.is_empty() && !packet.more);
        assert!(packet.peer.is_none() && packet.accepted.is_none());
    }
    assert_nothing_is_left(&port);
}

pub fn s10_taking_many_gives_at_most_so_many_in_order(kind: BackendKind) {
    let port = port(kind);
    for number in 0..23 {
        port.post(number, 0, number).expect("posted");
    }
    let mut packets = Vec::new();
    for max in [1, 4, 100].into_iter().cycle() {
        let before = packets.len();
        let count = port.get_many(&mut packets, max, Some(DEADLINE)).expect("packets");
        assert_eq!(packets.len(), before + count, "they are added");
        assert!((1..=max).contains(&count), "{count} of at most {max}");
        if packets.len() == 23 {
            break;
        }
    }
    let contexts: Vec<usize> = packets.iter().map(|packet| packet.context).collect();
    assert_eq!(contexts, Vec::from_iter(0..23));
    let nothing = port.get_many(&mut packets, 4, Some(Duration::ZERO));
    assert_eq!((nothing, packets.len()), (Err(GetError::TimedOut), 23));
}

pub fn s10_packets_are_taken_whatever_their_results(kind: BackendKind) {
    let port = port(kind);
    let (good, mut peer) = connection(&port, 1);
    let (closed, _other) = connection(&port, 2);
    good.receive(vec![0; 8], "good").expect("started");
    closed.receive(vec![0; 8], "aborted").expect("started");
    port.post(3, 7, "posted").expect("posted");
    closed.close();
    peer.write_all(b"x").expect("sent");
    let mut packets = Vec::new();
    while packets.len() < 3 {
        port.get_many(&mut packets, 8, Some(DEADLINE)).expect("packets");
    }
    packets.sort_by_key(|packet| packet.key);
    let results: Vec<_> = packets
        .iter()
        .map(|packet| (packet.context, packet.result.as_ref().map_err(|e| e.kind()).copied()))
        .collect();
    let aborted = Err(ErrorKind::Aborted);
    assert_eq!(results, [("good", Ok(1)), ("aborted", aborted), ("posted", Ok(7))]);
    assert_nothing_is_left(&port);
}
