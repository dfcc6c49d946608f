//! What the socket's own modes, timeouts and shutdowns must not change for overlapped operations.

use crate::peers::{
    LARGE, assert_nothing_comes, assert_nothing_comes_for, full_listener, pattern,
    read_pattern_slowly,
};
use crate::starts::{RECEIVES, error_of, failure_of, room};
use crate::world::{
    TcpStream, assert_nothing_is_left, associated, connection, connection_with_duplicate, get,
    get_all, listener, next, port, streams,
};
use anyport::net::Socket;
use anyport::{BackendKind, ErrorKind};
use std::io::Write;
use std::net::Shutdown;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub fn s24_a_receive_timeout_does_not_end_a_receive(kind: BackendKind) {
    let timeout = Duration::from_millis(40);
    for receive in RECEIVES {
        for is_nonblocking in [true, false] {
            let name = receive.name;
            let port = port(kind);
            let (near, mut peer) = streams();
            let duplicate = near.try_clone().expect("a duplicate");
            duplicate.set_read_timeout(Some(timeout)).expect("a timeout");
            let handle = associated(&port, near, 24);
            duplicate.set_nonblocking(is_nonblocking).expect("the mode");
            (receive.start)(&handle, 1).expect(name);
            assert_nothing_comes_for(name, &port, timeout * 3);
            peer.write_all(b"late").expect("written");
            let packet = get(&port);
            assert_eq!(packet.context, 1, "{name}");
            receive.assert_brings(&packet, b"late");
        }
    }
}

pub fn s24_a_send_timeout_does_not_end_a_send(kind: BackendKind) {
    let timeout = Duration::from_millis(40);
    for is_nonblocking in [true, false] {
        let port = port(kind);
        let (near, mut peer) = streams();
        let duplicate = near.try_clone().expect("a duplicate");
        duplicate.set_write_timeout(Some(timeout)).expect("a timeout");
        let handle = associated(&port, near, 24);
        duplicate.set_nonblocking(is_nonblocking).expect("the mode");
        handle.send(pattern(24, LARGE), 1).expect("started");
        assert_nothing_comes_for("send", &port, timeout * 3);
        let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 24));
        let packet = get(&port);
        assert_eq!((packet.result, packet.context), (Ok(LARGE), 1));
        drop((handle, duplicate));
        assert_eq!(reader.join().expect("the bytes"), LARGE);
    }
}

/// Whoever holds a duplicate may switch the mode that all duplicates share.
pub fn s24_blocking_mode_does_not_make_a_start_wait(kind: BackendKind) {
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        starts_in_blocking_mode(kind);
        ended.send(()).expect("the statement waits");
    });
    next(&end);
}

fn starts_in_blocking_mode(kind: BackendKind) {
    let port = port(kind);
    let (handle, duplicate, _peer) = connection_with_duplicate(&port, 1);
    duplicate.set_nonblocking(false).expect("the mode");
    handle.receive(room(10), 1).expect("started");
    handle.send(pattern(24, LARGE), 2).expect("started");

    let (listener, address) = listener(&port, 2);
    let duplicate = listener.try_clone_socket().expect("a duplicate").into_tcp_listener();
    duplicate.set_nonblocking(false).expect("the mode");
    listener.accept_stream(3).expect("started");
    let client = TcpStream::connect(address).expect("a connection");
    let packet = get(&port);
    assert_eq!((packet.context, packet.peer), (3, client.local_addr().ok()));

    let hanging = full_listener();
    let socket = port.associate(Socket::tcp_v4().expect("a socket"), 3).expect("associated");
    let duplicate = socket.try_clone_socket().expect("a duplicate").into_tcp_stream();
    duplicate.set_nonblocking(false).expect("the mode");
    socket.connect(hanging.address, 4).expect("started");

    assert_nothing_comes("everything waits", &port);
    port.post(0, 0, 5).expect("posted");
    assert_eq!(get(&port).context, 5, "the port goes on");
    assert_eq!(handle.cancel_all(), Ok(2));
    assert_eq!(listener.cancel_all(), Ok(1));
    assert_eq!(socket.cancel_all(), Ok(1));
    for packet in get_all(&port, 4) {
        assert_eq!(error_of("cancelled", &packet).kind(), ErrorKind::Cancelled);
    }
    assert_nothing_is_left(&port);
}

pub fn s25_shutting_down_the_receiving_side_leaves_a_pending_receive(kind: BackendKind) {
    for how in [Shutdown::Read, Shutdown::Both] {
        for receive in RECEIVES {
            let name = receive.name;
            let port = port(kind);
            let (handle, mut peer) = connection(&port, 25);
            let first = (receive.start)(&handle, 1).expect(name);
            if !receive.is_stream {
                (receive.start)(&handle, 2).expect(name);
            }
            assert_nothing_comes(name, &port);
            handle.shutdown(how).expect("shut down");
            assert_nothing_comes(name, &port);
            // A stream is one receive: it goes on as the second one does.
            for context in [1, 2] {
                peer.write_all(b"late").expect("written");
                let packet = get(&port);
                receive.assert_brings(&packet, b"late");
                assert_eq!(packet.more, receive.is_stream, "{name}");
                let expected = if receive.is_stream { 1 } else { context };
                assert_eq!(packet.context, expected, "{name}");
            }
            if receive.is_stream {
                handle.cancel(first).expect("under way");
                assert_eq!(error_of(name, &get(&port)).kind(), ErrorKind::Cancelled);
            }
            assert_nothing_is_left(&port);
        }
    }
}

pub fn s25_a_receive_after_the_shutdown_is_refused(kind: BackendKind) {
    for how in [Shutdown::Read, Shutdown::Both] {
        for receive in RECEIVES {
            let name = receive.name;
            let port = port(kind);
            let (handle, mut peer) = connection(&port, 25);
            handle.shutdown(how).expect("shut down");
            peer.write_all(b"nobody's").expect("written");
            let error = failure_of(&port, name, (receive.start)(&handle, 1));
            assert_eq!(error.kind(), ErrorKind::ShutDown, "{name}: {error}");
            assert_nothing_is_left(&port);
        }
    }
}
