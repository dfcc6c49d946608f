//! Cancelling: every kind of operation, wherever it stands, exactly once, and without losing bytes.

use crate::peers::{
    LARGE, assert_nothing_comes, assert_pattern, full_listener, pattern, pattern_from,
    read_pattern_slowly, wait_for_full,
};
use crate::starts::{RECEIVES, Start, error_of, room};
use crate::system::tells_what_had_gone;
use crate::world::{
    UdpSocket, any_local, assert_nothing_is_left, bytes_of, connect, connection,
    connection_with_duplicate, file_with, get, get_all, into_stream, listener, next, port,
    read_exactly,
};
use anyport::buf::Buffer;
use anyport::net::{Socket, SocketHandle, Transmission};
use anyport::{BackendKind, CompletionPort, Error, ErrorKind, OperationKind, Packet};
use std::io::Write;
use std::sync::mpsc;
use std::thread;

fn assert_is_cancelled<T>(what: &str, packet: &Packet<T>) -> Error {
    let error = error_of(what, packet);
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{what}: {error}");
    assert!(!packet.more, "{what}: it is the last packet");
    error
}

fn assert_not_found<V: std::fmt::Debug>(what: &str, result: Result<V, Error>) {
    let error = result.expect_err("nothing to cancel");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
}

pub fn s35_a_cancelled_operation_comes_once_as_cancelled(kind: BackendKind) {
    let port = port(kind);
    let (connected, _peer) = connection(&port, 35);
    let udp = UdpSocket::bind(any_local()).expect("a socket");
    let udp = port.associate(Socket::from(udp), 35).expect("associated");
    let (listener, _) = listener(&port, 35);
    let datagram: Start = |handle, context| {
        let parts = [10, 20].map(|bytes| Buffer::from(room(bytes)));
        handle.receive_from(parts, context)
    };
    let mut cases: Vec<(&str, &SocketHandle<usize>, Start, usize)> = vec![
        ("accept", &listener, |handle, context| handle.accept(context), 0),
        ("accept_stream", &listener, |handle, context| handle.accept_stream(context), 0),
        ("receive_from", &udp, datagram, 30),
    ];
    for receive in RECEIVES {
        let space = match receive.name {
            "receive" => 1000,
            "receive into several buffers" => 903,
            _ => 0,
        };
        cases.push((receive.name, &connected, receive.start, space));
    }
    // Asked before and after the system has it.
    for is_under_way in [false, true] {
        for (name, handle, start, space) in &cases {
            let operation = start(handle, 53).expect(name);
            if is_under_way {
                assert_nothing_comes(name, &port);
            }
            handle.cancel(operation).expect(name);
            let packet = get(&port);
            let error = assert_is_cancelled(name, &packet);
            assert_eq!((packet.operation, error.transferred()), (Some(operation), 0), "{name}");
            assert_eq!((packet.key, packet.context), (35, 53), "{name}");
            assert_eq!(packet.buffers.total_capacity(), *space, "{name}: the buffers come back");
            assert_nothing_is_left(&port);
        }
    }
}

pub fn s35_operations_that_wait_in_line_are_cancelled(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 35);
    let receives: Vec<_> =
        (0..4).map(|context| handle.receive(room(10), context).expect("started")).collect();
    // In the middle, then the one at work: the others keep their places.
    for context in [2, 0] {
        handle.cancel(receives[context]).expect("under way");
        let packet = get(&port);
        assert_is_cancelled("receive", &packet);
        assert_eq!((packet.context, packet.operation), (context, Some(receives[context])));
    }
    for context in [1, 3] {
        peer.write_all(&[context as u8; 5]).expect("written");
        let packet = get(&port);
        assert_eq!((packet.context, packet.result), (context, Ok(5)));
        assert_eq!(bytes_of(&packet), [context as u8; 5]);
    }

    let all = pattern(35, 3 * LARGE);
    let sends: Vec<_> = [&all[..LARGE], &b"never sent".repeat(1000), &all[LARGE..]]
        .into_iter()
        .enumerate()
        .map(|(context, part)| handle.send(part.to_vec(), context).expect("started"))
        .collect();
    assert_nothing_comes("the peer does not read", &port);
    handle.cancel(sends[1]).expect("in line");
    let packet = get(&port);
    assert_eq!(assert_is_cancelled("send", &packet).transferred(), 0);
    assert_eq!((packet.context, packet.buffers.total_len()), (1, 10_000));
    let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 35));
    let results: Vec<_> = get_all(&port, 2).iter().map(|p| (p.context, p.result)).collect();
    assert_eq!(results, [(0, Ok(LARGE)), (2, Ok(2 * LARGE))]);
    assert_nothing_is_left(&port);
    drop(handle);
    assert_eq!(reader.join().expect("nothing of the cancelled send"), 3 * LARGE);
}

pub fn s35_all_of_a_handle_are_cancelled(kind: BackendKind) {
    let port = port(kind);
    let (handle, _peer) = connection(&port, 35);
    let (other, mut other_peer) = connection(&port, 36);
    other.receive(room(10), 100).expect("started");
    for is_under_way in [false, true] {
        for (context, receive) in RECEIVES.into_iter().enumerate() {
            (receive.start)(&handle, context).expect(receive.name);
        }
        let count = RECEIVES.len() + 2;
        for context in RECEIVES.len()..count {
            handle.send(pattern(35, LARGE), context).expect("started");
        }
        if is_under_way {
            assert_nothing_comes("all wait", &port);
        }
        assert_eq!(handle.cancel_all(), Ok(count));
        assert_not_found("a second time", handle.cancel_all());
        let mut packets = get_all(&port, count);
        packets.sort_by_key(|packet| packet.context);
        for (context, packet) in packets.iter().enumerate() {
            assert_is_cancelled("one of all", packet);
            assert_eq!((packet.key, packet.context), (35, context), "once each");
        }
        assert_not_found("when all are over", handle.cancel_all());
    }
    other_peer.write_all(b"untouched").expect("written");
    let packet = get(&port);
    assert_eq!((packet.key, packet.context, packet.result), (36, 100, Ok(9)));
    assert_nothing_is_left(&port);
}

pub fn s35_nothing_to_cancel_is_not_found(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 35);
    let (other, _other_peer) = connection(&port, 36);
    assert_not_found("nothing was started", handle.cancel_all());
    let over = handle.receive(room(10), 1).expect("started");
    peer.write_all(b"done").expect("written");
    assert_eq!(get(&port).result, Ok(4));
    assert_not_found("it is over", handle.cancel(over));
    assert_not_found("it is over", handle.cancel_all());
    // Its successor is another operation, and another handle's.
    let successor = handle.receive(room(10), 2).expect("started");
    assert_ne!(successor, over);
    assert_not_found("the name of one that is over", handle.cancel(over));
    assert_not_found("another handle's", other.cancel(successor));
    assert_nothing_comes("nothing was cancelled", &port);
    peer.write_all(b"too").expect("written");
    assert_eq!(get(&port).result, Ok(3));
    assert_nothing_is_left(&port);
}

pub fn s35_a_second_cancel_is_not_found(kind: BackendKind) {
    let port = port(kind);
    let (handle, _peer) = connection(&port, 35);
    for is_under_way in [false, true] {
        let first = handle.receive(room(10), 1).expect("started");
        let queued = handle.receive_pooled(2).expect("started");
        if is_under_way {
            assert_nothing_comes("no data", &port);
        }
        for operation in [queued, first] {
            handle.cancel(operation).expect("under way");
            assert_not_found("a second time", handle.cancel(operation));
        }
        assert_not_found("both are cancelled", handle.cancel_all());
        for packet in get_all(&port, 2) {
            assert_is_cancelled("receive", &packet);
        }
        assert_not_found("when it is over", handle.cancel(first));
        assert_nothing_is_left(&port);
    }
}

pub fn s35_a_duplicate_cancels_from_another_thread(kind: BackendKind) {
    let port = port(kind);
    let (connected, _peer) = connection(&port, 35);
    let (listener, _) = listener(&port, 35);
    let (sender, operations) = mpsc::channel();
    let duplicates = (connected.clone(), listener.try_clone().expect("a duplicate"));
    let canceller = thread::spawn(move || {
        for operation in operations {
            let results = (duplicates.0.cancel(operation), duplicates.1.cancel(operation));
            assert_eq!((results.0.is_ok(), results.1.is_ok()), (true, false), "{results:?}");
        }
        assert_eq!(duplicates.1.cancel_all(), Ok(3), "the accepts");
    });
    for round in 0..3 {
        for receive in RECEIVES {
            let operation = (receive.start)(&connected, round).expect(receive.name);
            sender.send(operation).expect("the thread lives");
            let packet = get(&port);
            assert_is_cancelled(receive.name, &packet);
            assert_eq!((packet.operation, packet.context), (Some(operation), round));
        }
    }
    for context in [1, 2] {
        listener.accept(context).expect("started");
    }
    listener.accept_stream(3).expect("started");
    drop(sender);
    let mut contexts: Vec<_> = get_all(&port, 3)
        .iter()
        .map(|packet| {
            assert_is_cancelled("accept", packet);
            packet.context
        })
        .collect();
    contexts.sort_unstable();
    assert_eq!(contexts, [1, 2, 3]);
    canceller.join().expect("all are cancelled");
    assert_nothing_is_left(&port);
}

pub fn s35_a_connect_that_hangs_is_cancelled(kind: BackendKind) {
    let port = port(kind);
    let hanging = full_listener();
    for is_under_way in [false, true] {
        let socket = Socket::tcp_v4().expect("a socket");
        let handle = port.associate(socket, 35).expect("associated");
        let connect = handle.connect(hanging.address, 1).expect("started");
        handle.send("behind it", 2).expect("started");
        if is_under_way {
            assert_nothing_comes("it hangs", &port);
        }
        handle.cancel(connect).expect("under way");
        assert_not_found("a second time", handle.cancel(connect));
        let packet = get(&port);
        assert_is_cancelled("connect", &packet);
        assert_eq!((packet.operation, packet.kind), (Some(connect), OperationKind::Connect));
        assert_eq!((packet.key, packet.context), (35, 1));
        drop(handle);
        let packet = get(&port);
        assert_eq!(packet.context, 2);
        error_of("a send without a connection", &packet);
        assert_nothing_is_left(&port);
    }
}

pub fn s35_a_send_to_a_full_peer_is_cancelled(kind: BackendKind) {
    let port = port(kind);
    let parts: [fn() -> Vec<Buffer>; 2] = [
        || vec![Buffer::from(pattern(35, LARGE))],
        || pattern(35, LARGE).chunks(1_000_003).map(|c| Buffer::from(c.to_vec())).collect(),
    ];
    for buffers in parts {
        let (handle, duplicate, mut peer) = connection_with_duplicate(&port, 35);
        let operation = handle.send(buffers(), 1).expect("started");
        assert_nothing_comes("the peer does not read", &port);
        wait_for_full(&port, &duplicate);
        handle.cancel(operation).expect("under way");
        let packet = get(&port);
        let error = assert_is_cancelled("send", &packet);
        assert_eq!((packet.operation, packet.context), (Some(operation), 1));
        assert_eq!(packet.buffers.total_len(), LARGE);
        let gone = error.transferred();
        let known = usize::from(tells_what_had_gone(kind));
        assert!((known..LARGE).contains(&gone), "{gone} bytes had gone");
        assert_nothing_is_left(&port);
        // The peer gets what had gone, and not a byte more.
        drop((handle, duplicate));
        let came = read_pattern_slowly(&mut peer, 35);
        assert!(came == gone || !tells_what_had_gone(kind) && came > gone, "{came} of {gone} came");
    }
}

pub fn s35_a_transmission_to_a_full_peer_is_cancelled(kind: BackendKind) {
    let port = port(kind);
    let (file, _path) = file_with(&port, 35, &pattern(35, LARGE));
    let (handle, duplicate, mut peer) = connection_with_duplicate(&port, 35);
    let operation = handle.transmit_file(Transmission::new(file), 1).expect("started");
    assert_nothing_comes("the peer does not read", &port);
    wait_for_full(&port, &duplicate);
    handle.cancel(operation).expect("under way");
    let packet = get(&port);
    let gone = assert_is_cancelled("transmit a file", &packet).transferred();
    let known = usize::from(tells_what_had_gone(kind));
    assert!((known..LARGE).contains(&gone), "{gone} bytes had gone");
    assert_nothing_is_left(&port);
    // The peer gets what had gone, and not a byte more.
    drop((handle, duplicate));
    let came = read_pattern_slowly(&mut peer, 35);
    assert!(came == gone || !tells_what_had_gone(kind) && came > gone, "{came} of {gone} came");
}

pub fn s35_a_cancelled_disconnect_has_not_happened(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 35);
    let all = pattern(35, 2 * LARGE);
    handle.send(all[..LARGE].to_vec(), 0).expect("started");
    let disconnect = handle.disconnect(1).expect("started");
    assert_nothing_comes("the peer does not read", &port);
    let rejected = handle.send(b"too late".to_vec(), 2).expect_err("the side is about to end");
    assert_eq!(rejected.error.kind(), ErrorKind::ShutDown);
    handle.cancel(disconnect).expect("in line");
    let packet = get(&port);
    assert_is_cancelled("disconnect", &packet);
    assert_eq!((packet.context, packet.operation), (1, Some(disconnect)));
    // The side goes on, and ends when it is asked to once more.
    handle.send(all[LARGE..].to_vec(), 3).expect("started");
    handle.disconnect(4).expect("started");
    let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 35));
    let results: Vec<_> = get_all(&port, 3).iter().map(|p| (p.context, p.result)).collect();
    assert_eq!(results, [(0, Ok(LARGE)), (3, Ok(LARGE)), (4, Ok(0))]);
    assert_eq!(reader.join().expect("all of it, and an end"), 2 * LARGE);
    // What was shut down at once stays so.
    let (handle, _peer) = connection(&port, 35);
    handle.send(pattern(35, LARGE), 0).expect("started");
    let disconnect = handle.disconnect(1).expect("started");
    handle.shutdown(std::net::Shutdown::Write).expect("connected");
    // The send may have failed, and the disconnect be over.
    let _ = handle.cancel(disconnect);
    let rejected = handle.send(b"too late".to_vec(), 2).expect_err("the side has ended");
    assert_eq!(rejected.error.kind(), ErrorKind::ShutDown);
}

pub fn s35_streams_are_cancelled(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 35);
    for round in 0..20 {
        let stream = handle.receive_stream(round).expect("started");
        peer.write_all(b"some").expect("written");
        let packet = get(&port);
        assert_eq!((packet.result, packet.more), (Ok(4), true));
        // The stream waits for this thread to come back; every second time, with bytes behind.
        let message = &b"more"[..if round % 2 == 0 { 4 } else { 0 }];
        peer.write_all(message).expect("written");
        handle.cancel(stream).expect("under way");
        assert_not_found("a second time", handle.cancel(stream));
        let mut received = Vec::new();
        loop {
            let packet = get(&port);
            assert_eq!((packet.operation, packet.context), (Some(stream), round));
            received.extend(bytes_of(&packet));
            if !packet.more {
                assert_is_cancelled("stream", &packet);
                break;
            }
            assert!(packet.result.is_ok(), "{:?}", packet.result);
        }
        while received.len() < message.len() {
            handle.receive(room(10), 1).expect("started");
            received.extend(bytes_of(&get(&port)));
        }
        assert_eq!(received, message, "no byte is lost, none comes twice");
    }
    assert_nothing_is_left(&port);
}

pub fn s35_a_cancelled_receive_loses_no_byte(kind: BackendKind) {
    const ROUNDS: usize = 400;
    let port: CompletionPort<usize> = port(kind);
    for receive in RECEIVES.into_iter().filter(|r| r.takes_bytes) {
        let name = receive.name;
        let (handle, mut peer) = connection(&port, 35);
        let (sender, orders) = mpsc::channel::<usize>();
        let (told, is_done) = mpsc::channel();
        let writer = thread::spawn(move || {
            let mut place = 0;
            for length in orders {
                peer.write_all(&pattern_from(35, place, length)).expect("written");
                place += length;
                told.send(()).expect("the statement waits");
            }
        });
        let (mut sent, mut received) = (0, 0);
        for round in 0..ROUNDS {
            let operation = (receive.start)(&handle, round).expect(name);
            let length = 1 + round % 30;
            sender.send(length).expect("the writer lives");
            sent += length;
            if round % 3 == 0 {
                next(&is_done);
            }
            // The bytes come at the same time, or have just come.
            match handle.cancel(operation) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{name}: {error}"),
            }
            loop {
                let packet = get(&port);
                assert_eq!((packet.operation, packet.context), (Some(operation), round), "{name}");
                let bytes = bytes_of(&packet);
                match packet.result {
                    Ok(length) => assert_eq!(length, bytes.len(), "{name}"),
                    Err(_) => {
                        assert_is_cancelled(name, &packet);
                        assert_eq!(bytes, b"", "{name}: a cancelled receive holds no bytes");
                    }
                }
                assert_pattern(35, received, &bytes);
                received += bytes.len();
                if !packet.more {
                    break;
                }
            }
            if round % 3 != 0 {
                next(&is_done);
            }
        }
        while received < sent {
            handle.receive(room(1000), 0).expect(name);
            let packet = get(&port);
            assert!(packet.result.is_ok_and(|n| n > 0), "{name}: {:?}", packet.result);
            assert_pattern(35, received, &bytes_of(&packet));
            received += bytes_of(&packet).len();
        }
        assert_eq!(received, sent, "{name}");
        drop(sender);
        writer.join().expect("all is written");
    }
    assert_nothing_is_left(&port);
}

/// Also after a cancelled accept the connection goes to the next one.
pub fn s35_a_cancelled_accept_loses_no_connection(kind: BackendKind) {
    let port = port(kind);
    let (handle, address) = listener(&port, 35);
    for round in 0..100 {
        let is_stream = round % 2 == 0;
        let operation = match is_stream {
            true => handle.accept_stream(round),
            false => handle.accept(round),
        };
        let operation = operation.expect("started");
        let connects = thread::spawn(move || connect(address));
        if round % 3 == 0 {
            thread::yield_now();
        }
        let _ = handle.cancel(operation);
        let mut accepted = None;
        loop {
            let packet = get(&port);
            assert_eq!((packet.operation, packet.context), (Some(operation), round));
            if let Some(socket) = packet.accepted {
                assert!(accepted.replace(socket).is_none(), "one connection");
            }
            if !packet.more {
                break;
            }
        }
        let mut client = connects.join().expect("connected");
        if accepted.is_none() {
            handle.accept(round).expect("started");
            accepted = get(&port).accepted;
        }
        let mut server = into_stream(accepted.expect("the connection"));
        server.write_all(b"served").expect("written");
        assert_eq!(read_exactly(&mut client, 6), b"served");
    }
    assert_nothing_is_left(&port);
}
