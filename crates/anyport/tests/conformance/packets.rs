//! Statements 11, 12, 13, 38 and 40: one packet for each operation that started, none for others,
//! and whose the memory is.

use crate::starts::{Start, assert_refused};
use crate::system::REFUSED;
use crate::world::{
    TcpListener, TemporaryPath, Workers, any_local, assert_nothing_is_left, bytes_of, connection,
    get, get_all, port, read_exactly, streams, wait_until,
};
use anyport::net::Socket;
use anyport::{BackendKind, ErrorKind, OperationKind, fs};
use bytes::Bytes;
use std::io::Write;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub fn s11_an_operation_that_can_finish_at_once_yields_one_packet(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 1);
    for round in 0..20 {
        peer.write_all(b"here").expect("sent");
        // Loopback: what was written is there.
        let received = handle.receive(vec![0; 8], round).expect("started");
        let packet = get(&port);
        assert_eq!((packet.operation, packet.context), (Some(received), round));
        assert_eq!((packet.kind, packet.result), (OperationKind::Receive, Ok(4)));
        let sent = handle.send(b"back".to_vec(), round).expect("started");
        let packet = get(&port);
        assert_eq!((packet.operation, packet.context), (Some(sent), round));
        assert_eq!((packet.kind, packet.result), (OperationKind::Send, Ok(4)));
        assert_eq!(read_exactly(&mut peer, 4), b"back");
        assert_nothing_is_left(&port);
    }
}

pub fn s11_every_operation_yields_one_packet_whichever_thread_starts_it(kind: BackendKind) {
    const CONNECTIONS: usize = 20;
    const ROUNDS: usize = 20;
    let port = port(kind);
    let connections: Vec<_> = (0..CONNECTIONS).map(|key| connection(&port, key)).collect();
    let (handles, peers): (Vec<_>, Vec<_>) = connections.into_iter().unzip();
    let packets: Arc<Vec<AtomicUsize>> =
        Arc::new((0..CONNECTIONS * ROUNDS * 2).map(|_| AtomicUsize::new(0)).collect());
    let counts = Arc::clone(&packets);
    let answering = handles.clone();
    // A receive's packet starts, on a thread of the port, the send of the same round.
    let workers = Workers::start(&port, 4, move |packet| {
        assert_eq!(packet.result, Ok(1));
        let context: usize = packet.context;
        counts[context].fetch_add(1, Ordering::SeqCst);
        if packet.kind == OperationKind::Receive {
            let answer = bytes_of(&packet);
            answering[packet.key].send(answer, context + 1).expect("started");
        }
    });
    for (key, handle) in handles.iter().enumerate() {
        for round in 0..ROUNDS {
            handle.receive(vec![0; 1], (key * ROUNDS + round) * 2).expect("started");
        }
    }
    for mut peer in peers {
        peer.write_all(&[7; ROUNDS]).expect("sent");
        assert_eq!(read_exactly(&mut peer, ROUNDS), [7; ROUNDS]);
    }
    let sum = || packets.iter().map(|n| n.load(Ordering::SeqCst)).sum::<usize>();
    wait_until("all packets", || sum() >= CONNECTIONS * ROUNDS * 2);
    wait_until("the end of all operations", || port.stats().operations_live == 0);
    workers.end();
    assert!(packets.iter().all(|n| n.load(Ordering::SeqCst) == 1), "one packet each");
}

pub fn s12_a_refused_start_yields_no_packet(kind: BackendKind) {
    let port = port(kind);
    let (handle, _peer) = connection(&port, 1);
    let before = port.stats();
    let none: Vec<anyport::buf::Buffer> = Vec::new();
    let back = assert_refused(handle.receive(none, 1), ErrorKind::InvalidInput, 1);
    assert_eq!(back.len(), 0);
    let none: Vec<anyport::buf::Buffer> = Vec::new();
    let back = assert_refused(handle.send(none, 2), ErrorKind::InvalidInput, 2);
    assert_eq!(back.len(), 0);
    let constant = Bytes::from_static(b"constant");
    let back = assert_refused(handle.receive(constant, 3), ErrorKind::InvalidInput, 3);
    assert_eq!(back.len(), 1);
    handle.shutdown(Shutdown::Both).expect("connected");
    let back = assert_refused(handle.receive(vec![0; 8], 4), ErrorKind::ShutDown, 4);
    assert_eq!(back.len(), 1);
    let back = assert_refused(handle.send(b"late".to_vec(), 5), ErrorKind::ShutDown, 5);
    assert_eq!(back.len(), 1);
    let after = port.stats();
    assert_eq!(after.operations_rejected - before.operations_rejected, 5);
    assert_eq!(after.operations_started, before.operations_started);
    assert_nothing_is_left(&port);
}

pub fn s12_a_failure_is_told_by_the_start_or_by_the_packet_and_never_by_both(kind: BackendKind) {
    let port = port(kind);
    let unconnected = Socket::tcp_v4().expect("a socket");
    let handle = port.associate(unconnected, 1).expect("associated");
    let starts: [Start; 5] = [
        |handle, n| handle.receive(vec![0; 8], n),
        |handle, n| handle.send(b"data".to_vec(), n),
        |handle, n| handle.accept(n),
        |handle, n| handle.disconnect(n),
        |handle, n| handle.receive_pooled(n),
    ];
    for (number, start) in starts.into_iter().enumerate() {
        match start(&handle, number) {
            Err(rejected) => assert_eq!(rejected.context, number),
            Ok(operation) => {
                let packet = get(&port);
                assert_eq!((packet.operation, packet.context), (Some(operation), number));
                packet.result.expect_err("it cannot succeed");
                assert!(!packet.more);
            }
        }
        assert_nothing_is_left(&port);
    }
}

pub fn s13_a_failed_packet_tells_kind_and_code_and_harms_no_other(kind: BackendKind) {
    let port = port(kind);
    // The address of a listener that is gone.
    let nobody = TcpListener::bind(any_local()).expect("bound").local_addr().expect("its address");
    let connecting = port.associate(Socket::tcp_v4().expect("a socket"), 5).expect("associated");
    let operation = connecting.connect(nobody, "refused").expect("started");
    let packet = get(&port);
    assert_eq!((packet.key, packet.context), (5, "refused"));
    assert_eq!((packet.operation, packet.kind), (Some(operation), OperationKind::Connect));
    let error = packet.result.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.code().is_some_and(|code| REFUSED.contains(&code)), "{error}");
    // The next is a success, and nothing of the failure is left in it.
    let (handle, mut peer) = connection(&port, 6);
    handle.receive(vec![0; 8], "good").expect("started");
    peer.write_all(b"x").expect("sent");
    let packet = get(&port);
    assert_eq!((packet.key, packet.context, packet.result), (6, "good", Ok(1)));
    assert_nothing_is_left(&port);
}

pub fn s38_closing_an_idle_handle_yields_nothing(kind: BackendKind) {
    let port = port(kind);
    let (never_used, _peer) = connection(&port, 1);
    never_used.close();
    let (used, mut peer) = connection(&port, 2);
    used.receive(vec![0; 8], ()).expect("started");
    used.send(b"y".to_vec(), ()).expect("started");
    peer.write_all(b"x").expect("sent");
    get_all(&port, 2);
    used.close();
    let listener = Socket::from(TcpListener::bind(any_local()).expect("a listener"));
    port.associate(listener, 3).expect("associated").close();
    let datagrams = Socket::udp_v4().expect("a socket");
    port.associate(datagrams, 4).expect("associated").close();
    let path = TemporaryPath::new();
    let file = fs::OpenOptions::new().write(true).create(true).open(&path).expect("a file");
    port.associate(file, 5).expect("associated").close();
    // The peer learns that it is closed, so the close is over.
    assert_eq!(read_exactly(&mut peer, 1), b"y");
    let at_end = std::io::Read::read(&mut peer, &mut [0; 8]);
    assert_eq!(at_end.expect("a clean end"), 0);
    assert_nothing_is_left(&port);
    // A packet that they caused would come before this one.
    port.post(6, 0, ()).expect("room");
    assert_eq!(get(&port).key, 6);
    assert_nothing_is_left(&port);
}

pub fn s40_a_buffer_is_not_touched_after_its_packet_was_taken(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 1);
    for round in 0..50 {
        handle.receive(vec![0xEE; 64], ()).expect("started");
        peer.write_all(b"first").expect("sent");
        let taken = get(&port);
        assert_eq!(bytes_of(&taken), b"first");
        let cancelled = handle.receive(vec![0xEE; 64], ()).expect("started");
        handle.cancel(cancelled).expect("under way");
        let packet = get(&port);
        assert_eq!(packet.result.expect_err("cancelled").kind(), ErrorKind::Cancelled);
        let buffer = packet.buffers.into_one().expect("one buffer").into_vec().expect("a vec");
        let mut given_up = buffer;
        given_up.clear();
        given_up.resize(64, 0xA5);
        // Bytes that arrive now belong to the next receive alone.
        peer.write_all(&[round; 64]).expect("sent");
        handle.receive(vec![0; 64], ()).expect("started");
        let next = get(&port);
        let count = next.result.expect("received");
        assert_eq!(bytes_of(&next), vec![round; count]);
        assert_eq!(given_up, [0xA5; 64], "written to after its packet");
        assert_eq!(bytes_of(&taken), b"first", "written to after its packet");
        for _ in 0..64 - count {
            handle.receive(vec![0; 1], ()).expect("started");
            assert_eq!(bytes_of(&get(&port)), [round]);
        }
    }
    assert_nothing_is_left(&port);
}

/// Memory of the user's that tells when it is freed.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

pub fn s40_nothing_of_an_operation_is_freed_before_its_packet_is_taken(kind: BackendKind) {
    let port = port(kind);
    let (handle, peer) = connection(&port, 1);
    let (buffers, contexts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..3 {
        // More than the system takes while nobody reads.
        let buffer = Bytes::from_owner(Counted(vec![1; 32 << 20], Arc::clone(&buffers)));
        handle.send(buffer, Counted(Vec::new(), Arc::clone(&contexts))).expect("started");
    }
    handle.receive(vec![0; 8], Counted(Vec::new(), Arc::clone(&contexts))).expect("started");
    // Closing and the peer's end complete everything, with nobody there to take the packets.
    handle.close();
    drop(peer);
    let freed = || (buffers.load(Ordering::SeqCst), contexts.load(Ordering::SeqCst));
    assert_eq!(freed(), (0, 0));
    for _ in 0..4 {
        let (buffers_before, contexts_before) = freed();
        let packet = get(&port);
        packet.result.as_ref().expect_err("aborted");
        assert_eq!(freed(), (buffers_before, contexts_before), "all of it is in the packet");
        let is_send = usize::from(packet.kind == OperationKind::Send);
        drop(packet);
        assert_eq!(freed(), (buffers_before + is_send, contexts_before + 1));
    }
    assert_eq!(freed(), (3, 4));
    assert_nothing_is_left(&port);
}

pub fn s40_buffers_come_back_from_where_they_were(kind: BackendKind) {
    let port = port(kind);
    let (near, mut peer) = streams();
    let handle = Arc::new(crate::world::associated(&port, near, 1));
    let buffers = [vec![0; 16], vec![0; 16]];
    let places = buffers.each_ref().map(|buffer| buffer.as_ptr() as usize);
    let buffers = buffers.map(anyport::buf::Buffer::from);
    // Started by a thread that ends before the operation does.
    let starting = Arc::clone(&handle);
    let thread = thread::spawn(move || starting.receive(buffers, ()).map(drop));
    thread.join().expect("no panic").expect("started");
    peer.write_all(&[3; 20]).expect("sent");
    let packet = get(&port);
    assert_eq!(packet.result, Ok(20));
    assert_eq!(bytes_of(&packet), [3; 20]);
    let vectors: Vec<Vec<u8>> =
        packet.buffers.into_vec().into_iter().map(|b| b.into_vec().expect("a vec")).collect();
    let back: Vec<usize> = vectors.iter().map(|v| v.as_ptr() as usize).collect();
    assert_eq!(back, places);
    assert_eq!((vectors[0].len(), vectors[1].len()), (16, 4));
}
