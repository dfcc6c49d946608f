//! Receiving: the end of a stream, missing connections and buffers, and order.

use crate::peers::{
    LARGE, assert_nothing_comes, assert_pattern, pattern, pattern_from, reset, wait_for_bytes,
    wait_for_hang_up,
};
use crate::starts::{RECEIVES, assert_refused, error_of, failure_of, room};
use crate::world::{
    assert_nothing_is_left, builder, bytes_of, connection, connection_with_duplicate, get, get_all,
    next, port,
};
use anyport::buf::{Buffer, Buffers};
use anyport::net::Socket;
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind, WorkerPool};
use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

pub fn s17_a_failed_packet_has_key_name_context_and_buffers_of_its_operation(kind: BackendKind) {
    let port: CompletionPort<String> = port(kind);
    let (handle, peer) = connection(&port, 0x1717);
    let buffers = [10, 20].map(|bytes| Buffer::from(room(bytes)));
    let places = buffers.each_ref().map(|b| b.as_slice().as_ptr());
    let operation = handle.receive(buffers, "seventeen".to_string()).expect("started");
    reset(peer);
    let packet = get(&port);
    assert_eq!((packet.key, packet.kind), (0x1717, OperationKind::Receive));
    assert_eq!(packet.operation, Some(operation));
    assert_eq!(packet.context, "seventeen");
    assert_eq!(error_of("receive", &packet).transferred(), 0);
    assert_eq!((packet.more, packet.peer, packet.accepted.is_some()), (false, None, false));
    let back: Vec<_> = packet.buffers.iter().map(|b| b.as_slice().as_ptr()).collect();
    assert_eq!(back, places, "the same buffers in the same order");
    assert_eq!(packet.buffers.total_capacity(), 30);

    let (handle, _peer) = connection(&port, usize::MAX);
    let message = pattern(17, LARGE);
    let place = message.as_ptr();
    let operation = handle.send(message, "a send".to_string()).expect("started");
    handle.cancel(operation).expect("it is under way");
    let packet = get(&port);
    assert_eq!((packet.key, packet.kind), (usize::MAX, OperationKind::Send));
    assert_eq!(packet.operation, Some(operation));
    assert_eq!(packet.context, "a send");
    error_of("send", &packet);
    let buffer = packet.buffers.into_one().expect("one buffer");
    assert_eq!((buffer.as_slice().as_ptr(), buffer.len()), (place, LARGE));
    drop(handle);
    assert_nothing_is_left(&port);
}

pub fn s18_the_end_of_a_stream_is_a_success_with_no_bytes(kind: BackendKind) {
    for receive in RECEIVES {
        let name = receive.name;
        let port = port(kind);
        let (handle, mut peer) = connection(&port, 18);
        let operation = (receive.start)(&handle, 1).expect(name);
        assert_nothing_comes(name, &port);
        peer.shutdown(Shutdown::Write).expect("shut down");
        let packet = get(&port);
        assert_eq!((packet.operation, packet.key), (Some(operation), 18), "{name}");
        assert_eq!((packet.result, packet.more), (Ok(0), false), "{name}: it was waiting");
        assert_eq!(bytes_of(&packet), b"", "{name}");
        (receive.start)(&handle, 2).expect(name);
        let packet = get(&port);
        assert_eq!((packet.result, packet.context), (Ok(0), 2), "{name}: the end stays");
        handle.send("still", 3).expect("the other direction goes on");
        assert_eq!(get(&port).result, Ok(5), "{name}");
        assert_eq!(crate::world::read_exactly(&mut peer, 5), b"still", "{name}");
        assert_nothing_is_left(&port);
    }
}

pub fn s18_bytes_come_before_the_end(kind: BackendKind) {
    let sent = pattern(18, 5000);
    for receive in RECEIVES.into_iter().filter(|r| r.takes_bytes) {
        for is_waiting in [true, false] {
            let name = receive.name;
            let port = port(kind);
            let (handle, duplicate, mut peer) = connection_with_duplicate(&port, 18);
            let mut is_started = is_waiting;
            if is_waiting {
                (receive.start)(&handle, 0).expect(name);
            }
            peer.write_all(&sent).expect("written");
            drop(peer);
            // A receive that waits may have taken them already.
            if !is_waiting {
                wait_for_bytes(&duplicate);
            }
            let mut received = Vec::new();
            loop {
                if !is_started {
                    (receive.start)(&handle, 0).expect(name);
                }
                let packet = get(&port);
                let bytes = bytes_of(&packet);
                assert_eq!(packet.result, Ok(bytes.len()), "{name}");
                is_started = packet.more;
                if bytes.is_empty() {
                    assert!(!packet.more, "{name}: the end is the last packet");
                    break;
                }
                assert_eq!(packet.more, receive.is_stream, "{name}");
                received.extend(bytes);
            }
            assert!(received == sent, "{name}: {} bytes", received.len());
            assert_nothing_is_left(&port);
        }
    }
}

/// When both sides have ended, the system forgets how; the end is clean all the same.
pub fn s18_the_end_is_clean_after_both_sides_have_ended(kind: BackendKind) {
    for receive in RECEIVES {
        let name = receive.name;
        let port = port(kind);
        let (handle, duplicate, peer) = connection_with_duplicate(&port, 18);
        handle.disconnect(1).expect(name);
        assert_eq!(get(&port).result, Ok(0), "{name}");
        drop(peer);
        wait_for_hang_up(&duplicate);
        (receive.start)(&handle, 2).expect(name);
        assert_eq!(get(&port).result, Ok(0), "{name}");
    }
}

pub fn s20_a_receive_without_a_connection_fails(kind: BackendKind) {
    let port = port(kind);
    for receive in RECEIVES {
        let name = receive.name;
        let socket = Socket::tcp_v4().expect("a socket");
        let handle = port.associate(socket, 20).expect("associated");
        let error = failure_of(&port, name, (receive.start)(&handle, 0));
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{name}: {error}");
        drop(handle);
        assert_nothing_is_left(&port);
    }
}

pub fn s21_a_receive_without_buffers_is_refused(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 21);
    for buffers in [Buffers::None, Buffers::Many(Vec::new())] {
        let back = assert_refused(handle.receive(buffers, 77), ErrorKind::InvalidInput, 77);
        assert_eq!(back.len(), 0);
    }
    assert_nothing_is_left(&port);
    peer.write_all(b"kept").expect("written");
    handle.receive(room(10), 1).expect("started");
    assert_eq!(bytes_of(&get(&port)), b"kept");
}

pub fn s21_a_receive_into_no_room_waits_for_data_and_leaves_it(kind: BackendKind) {
    let port = port(kind);
    let no_room: [fn() -> Buffers; 3] = [
        || Buffers::from(room(0)),
        || Buffers::from(room(0).into_boxed_slice()),
        || Buffers::from([Buffer::from(room(0)), Buffer::from(room(0))]),
    ];
    for buffers in no_room {
        let (handle, mut peer) = connection(&port, 21);
        let count = buffers().len();
        handle.receive(buffers(), 1).expect("started");
        assert_nothing_comes("no data yet", &port);
        peer.write_all(b"data").expect("written");
        for context in [1, 2] {
            let packet = get(&port);
            assert_eq!((packet.context, packet.result), (context, Ok(0)));
            assert_eq!((packet.buffers.len(), packet.buffers.total_len()), (count, 0));
            if context == 1 {
                // The data is still there, so this one does not wait.
                handle.receive(buffers(), 2).expect("started");
            }
        }
        handle.receive(room(10), 3).expect("started");
        assert_eq!(bytes_of(&get(&port)), b"data", "nothing was taken");
        handle.receive_ready(4).expect("started");
        assert_nothing_comes("all data is taken", &port);
        peer.write_all(b"more").expect("written");
        assert_eq!((get(&port).context, port.stats().operations_live), (4, 0));
    }
}

pub fn s22_pending_receives_fill_in_the_order_of_their_start(kind: BackendKind) {
    const COUNT: usize = 100;
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 22);
    for context in 0..COUNT {
        handle.receive(room(7), context).expect("started");
    }
    assert_nothing_comes("no data yet", &port);
    peer.write_all(&pattern(22, COUNT * 7)).expect("written");
    let mut place = 0;
    for (context, packet) in get_all(&port, COUNT).into_iter().enumerate() {
        assert_eq!(packet.context, context, "packets of one handle come in order");
        let bytes = bytes_of(&packet);
        assert_eq!((packet.result, packet.key), (Ok(bytes.len()), 22));
        assert!((1..=7).contains(&bytes.len()), "{} bytes", bytes.len());
        assert_pattern(22, place, &bytes);
        place += bytes.len();
    }
    assert_nothing_is_left(&port);
}

pub fn s22_receives_of_all_kinds_stand_in_one_line(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 22);
    let kinds: Vec<_> = RECEIVES.into_iter().filter(|r| r.takes_bytes && !r.is_stream).collect();
    let count = kinds.len() * 5;
    for context in 0..count {
        (kinds[context % kinds.len()].start)(&handle, context).expect("started");
    }
    for context in 0..count {
        // One message at a time: each receive takes all that is there.
        let message = [context as u8; 3];
        peer.write_all(&message).expect("written");
        let packet = get(&port);
        assert_eq!((packet.context, packet.result), (context, Ok(3)));
        assert_eq!(bytes_of(&packet), message);
    }
    assert_nothing_is_left(&port);
}

pub fn s22_scatter_buffers_fill_in_order(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 22);
    let cases: [(usize, [usize; 4]); 4] =
        [(2, [2, 0, 0, 0]), (3, [3, 0, 0, 0]), (6, [3, 0, 3, 0]), (20, [3, 0, 5, 12])];
    for is_waiting in [true, false] {
        for (length, expected) in cases {
            let start = || {
                let rooms = [3, 0, 5, 100].map(|bytes| Buffer::from(room(bytes)));
                handle.receive(rooms, length).expect("started");
            };
            if is_waiting {
                start();
            }
            peer.write_all(&pattern(22, length)).expect("written");
            if !is_waiting {
                start();
            }
            let packet = get(&port);
            assert_eq!((packet.context, packet.result), (length, Ok(length)));
            let lengths: Vec<_> = packet.buffers.iter().map(Buffer::len).collect();
            assert_eq!(lengths, expected, "of {length} bytes");
            assert_pattern(22, 0, &bytes_of(&packet));
        }
    }
    assert_nothing_is_left(&port);
}

pub fn s22_a_stream_is_in_order_whichever_of_four_threads_takes_its_packets(kind: BackendKind) {
    const CONNECTIONS: usize = 12;
    const MESSAGES: usize = 1500;
    struct Connection {
        seed: u8,
        place: AtomicUsize,
        is_in_a_handler: AtomicBool,
    }
    let port: CompletionPort<Arc<Connection>> =
        builder(kind).concurrency(4).stream_backlog_max(4).build().expect("a port");
    let (ended, ends) = mpsc::channel();
    let pool = WorkerPool::builder(&port)
        .threads(4)
        .start(move |packet, _worker| {
            let connection = &packet.context;
            let is_alone = !connection.is_in_a_handler.swap(true, Ordering::SeqCst);
            assert!(is_alone, "two handlers of one connection run side by side");
            let bytes = bytes_of(&packet);
            assert_eq!(packet.result, Ok(bytes.len()));
            let place = connection.place.load(Ordering::Relaxed);
            assert_pattern(connection.seed, place, &bytes);
            connection.place.store(place + bytes.len(), Ordering::Relaxed);
            connection.is_in_a_handler.store(false, Ordering::SeqCst);
            assert_eq!(packet.more, !bytes.is_empty(), "only the end is the last packet");
            if !packet.more {
                ended.send((packet.key, place)).expect("the statement waits");
            }
        })
        .expect("a pool");
    let mut handles = Vec::new();
    let mut writers = Vec::new();
    let mut sent = [0; CONNECTIONS];
    for (key, sent) in sent.iter_mut().enumerate() {
        let seed = key as u8;
        let (handle, mut peer) = connection(&port, key);
        let is_in_a_handler = AtomicBool::new(false);
        let connection = Connection { seed, place: AtomicUsize::new(0), is_in_a_handler };
        handle.receive_stream(Arc::new(connection)).expect("started");
        handles.push(handle);
        let lengths = (0..MESSAGES).map(move |i| 1 + (i * 977 + key * 131) % 3000);
        *sent = lengths.clone().sum::<usize>();
        writers.push(thread::spawn(move || {
            let mut place = 0;
            for length in lengths {
                peer.write_all(&pattern_from(seed, place, length)).expect("written");
                place += length;
            }
        }));
    }
    for _ in 0..CONNECTIONS {
        let (key, received) = next(&ends);
        assert_eq!(received, sent[key], "connection {key}");
    }
    for writer in writers {
        writer.join().expect("all is written");
    }
    assert_eq!(pool.panics(), 0, "no handler failed");
    pool.join();
    drop(handles);
    assert_eq!(port.stats().operations_live, 0);
}
