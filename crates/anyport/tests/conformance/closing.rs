//! Closing a socket with operations pending.

use crate::peers::{
    LARGE, assert_nothing_comes, full_listener, pattern, pattern_at, wait_for_full,
};
use crate::starts::{RECEIVES, error_of, room};
use crate::system::tells_what_had_gone;
use crate::world::{
    UdpSocket, any_local, assert_nothing_is_left, bytes_of, connection, connection_with_duplicate,
    get, get_all, port,
};
use anyport::buf::Buffer;
use anyport::net::Socket;
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind};
use std::io::{Read, Write};

pub fn s37_closing_aborts_what_is_pending_once_each(kind: BackendKind) {
    const EACH: usize = 5;
    let port: CompletionPort<String> = port(kind);
    for is_under_way in [false, true] {
        let (handle, _peer) = connection(&port, 37);
        let mut places = Vec::new();
        let mut operations = Vec::new();
        for i in 0..EACH {
            let buffers = [i + 1, 50].map(|bytes| Buffer::from(room(bytes)));
            places.push(buffers.each_ref().map(|b| b.as_slice().as_ptr()));
            operations.push(handle.receive(buffers, format!("receive {i}")).expect("started"));
            let context = format!("pooled {i}");
            operations.push(handle.receive_pooled(context).expect("started"));
            let context = format!("ready {i}");
            operations.push(handle.receive_ready(context).expect("started"));
        }
        operations.push(handle.receive_stream("stream".to_string()).expect("started"));
        if is_under_way {
            assert_nothing_comes("no data", &port);
        }
        if is_under_way {
            handle.close()
        } else {
            drop(handle)
        }
        let packets = get_all(&port, operations.len());
        for packet in &packets {
            let error = error_of("closed", packet);
            assert_eq!((error.kind(), error.transferred()), (ErrorKind::Aborted, 0), "{error}");
            assert_eq!((packet.key, packet.more), (37, false), "the key is kept");
            assert_eq!(packet.buffers.total_len(), 0);
        }
        assert_nothing_is_left(&port);
        for (number, operation) in operations.into_iter().enumerate() {
            let mut own = packets.iter().filter(|p| p.operation == Some(operation));
            let packet = own.next().expect("one packet for each");
            assert!(own.next().is_none(), "exactly one packet for each");
            let context = match number % 3 {
                _ if number == 3 * EACH => "stream".to_string(),
                0 => format!("receive {}", number / 3),
                1 => format!("pooled {}", number / 3),
                _ => format!("ready {}", number / 3),
            };
            assert_eq!(packet.context, context);
            if packet.kind == OperationKind::Receive {
                let back: Vec<_> = packet.buffers.iter().map(|b| b.as_slice().as_ptr()).collect();
                assert_eq!(back, places[number / 3], "the buffers come back");
            }
        }
    }
}

pub fn s37_closing_aborts_datagrams_and_connects(kind: BackendKind) {
    let port = port(kind);
    let hanging = full_listener();
    let udp = UdpSocket::bind(any_local()).expect("a socket");
    let udp = port.associate(Socket::from(udp), 1).expect("associated");
    for context in 0..3 {
        udp.receive_from(room(10), context).expect("started");
    }
    let tcp = port.associate(Socket::tcp_v4().expect("a socket"), 2).expect("associated");
    tcp.connect(hanging.address, 3).expect("started");
    tcp.send("behind it", 4).expect("started");
    assert_nothing_comes("all wait", &port);
    udp.close();
    tcp.close();
    let mut packets = get_all(&port, 5);
    packets.sort_by_key(|packet| packet.context);
    for (context, packet) in packets.iter().enumerate() {
        let error = error_of("closed", packet);
        assert_eq!((error.kind(), error.transferred()), (ErrorKind::Aborted, 0), "{error}");
        assert_eq!((packet.context, packet.key), (context, 1 + context / 3));
    }
    assert_nothing_is_left(&port);
}

pub fn s37_closing_aborts_sends_that_wait(kind: BackendKind) {
    const COUNT: usize = 4;
    let port = port(kind);
    let (handle, duplicate, mut peer) = connection_with_duplicate(&port, 37);
    for context in 0..COUNT {
        handle.send(pattern(37, LARGE), context).expect("started");
    }
    handle.disconnect(COUNT).expect("started");
    assert_nothing_comes("the peer does not read", &port);
    wait_for_full(&port, &duplicate);
    drop(duplicate);
    handle.close();
    let mut packets = get_all(&port, COUNT + 1);
    packets.sort_by_key(|packet| packet.context);
    let gone = error_of("send", &packets[0]).transferred();
    for (context, packet) in packets.iter().enumerate() {
        let error = error_of("closed", packet);
        assert_eq!(error.kind(), ErrorKind::Aborted, "{error}");
        assert_eq!((packet.context, packet.key), (context, 37), "one each");
        let expected = if context == 0 { gone } else { 0 };
        assert_eq!(error.transferred(), expected, "only the first had begun");
        let length = if context < COUNT { LARGE } else { 0 };
        assert_eq!(packet.buffers.total_len(), length, "the buffers come back");
    }
    assert_nothing_is_left(&port);
    // What had gone is the beginning, and nothing follows it. It may end with a reset.
    let mut received = Vec::new();
    let _ = peer.read_to_end(&mut received);
    let is_known = tells_what_had_gone(kind);
    assert!(received.len() <= gone || !is_known, "{} bytes of {gone} came", received.len());
    assert!(received.iter().enumerate().all(|(i, byte)| *byte == pattern_at(37, i)));
}

pub fn s37_operations_live_until_the_last_duplicate_closes(kind: BackendKind) {
    for receive in RECEIVES {
        let name = receive.name;
        let port = port(kind);
        let (handle, mut peer) = connection(&port, 37);
        let duplicate = handle.try_clone().expect("a duplicate");
        let last = duplicate.clone();
        (receive.start)(&handle, 1).expect(name);
        handle.close();
        duplicate.close();
        assert_nothing_comes(name, &port);
        peer.write_all(b"alive").expect("written");
        let packet = get(&port);
        assert_eq!((packet.key, packet.context), (37, 1), "{name}");
        receive.assert_brings(&packet, b"alive");
        if !receive.takes_bytes {
            last.receive(room(10), 0).expect(name);
            assert_eq!(bytes_of(&get(&port)), b"alive", "{name}");
        }
        if !receive.is_stream {
            (receive.start)(&last, 1).expect(name);
        }
        assert_nothing_comes(name, &port);
        last.close();
        let packet = get(&port);
        assert_eq!(error_of(name, &packet).kind(), ErrorKind::Aborted, "{name}");
        assert_eq!((packet.key, packet.context, packet.more), (37, 1, false), "{name}");
        assert_nothing_is_left(&port);
    }
}

/// Nobody has to take packets for it: the threads of the port may all be busy.
pub fn s37_the_peer_learns_of_a_close_with_receives_pending(kind: BackendKind) {
    for receive in RECEIVES {
        for is_under_way in [false, true] {
            let name = receive.name;
            let port = port(kind);
            let (handle, mut peer) = connection(&port, 37);
            (receive.start)(&handle, 1).expect(name);
            if is_under_way {
                assert_nothing_comes(name, &port);
            }
            handle.close();
            assert_eq!(peer.read(&mut [0; 10]).expect("a clean end"), 0, "{name}");
            assert_eq!(error_of(name, &get(&port)).kind(), ErrorKind::Aborted, "{name}");
            assert_nothing_is_left(&port);
        }
    }
}
