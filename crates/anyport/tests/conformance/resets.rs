//! A connection that the peer resets: a failure that says so, for every operation from then on, and
//! never a clean end.

use crate::peers::{
    LARGE, assert_nothing_comes, assert_pattern, pattern, reset, wait_for_bytes, wait_for_full,
    wait_for_hang_up,
};
use crate::starts::{RECEIVES, error_of, failure_of, room};
use crate::system::{RESET, loses_resets};
use crate::world::{
    TcpStream, assert_nothing_is_left, bytes_of, connection, connection_with_duplicate, get,
    get_all, port,
};
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, Error, ErrorKind};
use std::io::Write;

fn assert_is_reset(what: &str, error: Error) {
    assert_eq!((error.kind(), error.transferred()), (ErrorKind::Reset, 0), "{what}: {error}");
}

/// Every kind of receive, and a send, fail; each time anew.
fn assert_later_calls_fail(what: &str, port: &CompletionPort<usize>, handle: &SocketHandle<usize>) {
    for _ in 0..2 {
        assert_is_reset(what, failure_of(port, what, handle.send("too late", 8)));
        for receive in RECEIVES {
            let what = format!("{what}, then {}", receive.name);
            assert_is_reset(&what, failure_of(port, &what, (receive.start)(handle, 9)));
        }
    }
    assert_nothing_is_left(port);
}

/// A connection that its peer has reset, of which nobody has been told; and a duplicate.
fn connection_that_was_reset(port: &CompletionPort<usize>) -> (SocketHandle<usize>, TcpStream) {
    let (handle, duplicate, peer) = connection_with_duplicate(port, 19);
    reset(peer);
    wait_for_hang_up(&duplicate);
    (handle, duplicate)
}

fn is_of_reset(code: Option<i32>) -> bool {
    code.is_some_and(|code| RESET.contains(&code))
}

pub fn s19_a_reset_ends_a_pending_receive_as_a_reset(kind: BackendKind) {
    let port = port(kind);
    let (handle, peer) = connection(&port, 19);
    handle.receive(room(10), 1).expect("started");
    assert_nothing_comes("no data yet", &port);
    reset(peer);
    let packet = get(&port);
    let error = error_of("receive", &packet);
    assert_is_reset("receive", error);
    assert!(is_of_reset(error.code()), "the system's own number");
    assert_eq!((packet.key, packet.context, packet.buffers.total_len()), (19, 1, 0));
    assert_later_calls_fail("receive", &port, &handle);
}

pub fn s19_a_reset_ends_every_kind_of_receive_as_a_reset(kind: BackendKind) {
    for receive in RECEIVES {
        for is_waiting in [true, false] {
            if !is_waiting && loses_resets() {
                continue;
            }
            let name = receive.name;
            let port = port(kind);
            let (handle, duplicate, peer) = connection_with_duplicate(&port, 19);
            let started = if is_waiting {
                let started = (receive.start)(&handle, 1);
                assert_nothing_comes(name, &port);
                reset(peer);
                started
            } else {
                reset(peer);
                wait_for_hang_up(&duplicate);
                (receive.start)(&handle, 1)
            };
            let error = failure_of(&port, name, started);
            assert_is_reset(name, error);
            assert!(is_of_reset(error.code()), "{name}: the system's own number");
            assert_later_calls_fail(name, &port, &handle);
        }
    }
}

pub fn s19_a_reset_ends_all_operations_that_wait(kind: BackendKind) {
    let port = port(kind);
    let (handle, duplicate, peer) = connection_with_duplicate(&port, 19);
    for (context, receive) in RECEIVES.into_iter().enumerate() {
        (receive.start)(&handle, context).expect(receive.name);
    }
    let receives = RECEIVES.len();
    for context in receives..receives + 3 {
        handle.send(pattern(19, LARGE), context).expect("started");
    }
    assert_nothing_comes("neither side moves", &port);
    wait_for_full(&port, &duplicate);
    reset(peer);
    let mut packets = get_all(&port, receives + 3);
    packets.sort_by_key(|packet| packet.context);
    for (context, packet) in packets.iter().enumerate() {
        let error = error_of("a waiting operation", packet);
        assert_eq!((packet.context, packet.key, packet.more), (context, 19, false));
        assert_eq!(error.kind(), ErrorKind::Reset, "{:?}: {error}", packet.kind);
        // Only the first send had begun.
        assert!(error.transferred() == 0 || context == receives, "{:?}: {error}", packet.kind);
    }
    assert_later_calls_fail("after all failed", &port, &handle);
}

pub fn s19_a_reset_is_no_clean_end_after_a_send_took_the_error(kind: BackendKind) {
    for receive in RECEIVES {
        let name = receive.name;
        let port = port(kind);
        let (handle, _duplicate) = connection_that_was_reset(&port);
        assert_is_reset(name, failure_of(&port, name, handle.send("into nothing", 1)));
        assert_is_reset(name, failure_of(&port, name, (receive.start)(&handle, 2)));
        assert_later_calls_fail(name, &port, &handle);
    }
}

/// The system tells of a reset once; whoever holds a duplicate may have asked first.
pub fn s19_a_reset_is_no_clean_end_after_the_error_was_asked_for(kind: BackendKind) {
    if loses_resets() {
        return;
    }
    for receive in RECEIVES {
        let name = receive.name;
        let port = port(kind);
        let (handle, duplicate) = connection_that_was_reset(&port);
        let error = duplicate.take_error().expect("asked");
        // Windows keeps it for the calls.
        assert!(error.map_or(cfg!(windows), |error| is_of_reset(error.raw_os_error())));
        assert_is_reset(name, failure_of(&port, name, (receive.start)(&handle, 1)));
        assert_later_calls_fail(name, &port, &handle);
    }
}

pub fn s19_a_reset_behind_unread_bytes_is_not_lost(kind: BackendKind) {
    if loses_resets() {
        return;
    }
    for receive in RECEIVES.into_iter().filter(|r| r.takes_bytes) {
        let name = receive.name;
        let port = port(kind);
        let (handle, duplicate, mut peer) = connection_with_duplicate(&port, 19);
        peer.write_all(&pattern(19, 5000)).expect("written");
        reset(peer);
        wait_for_hang_up(&duplicate);
        let mut place = 0;
        let mut is_started = false;
        // Whether the bytes survive the reset is the system's business; the reset does.
        let error = loop {
            if !is_started && let Err(rejected) = (receive.start)(&handle, 1) {
                break rejected.error;
            }
            let packet = get(&port);
            is_started = packet.more;
            match packet.result {
                Err(error) => break error,
                Ok(bytes) => {
                    assert_ne!(bytes, 0, "{name}: a clean end after {place} bytes");
                    assert_pattern(19, place, &bytes_of(&packet));
                    place += bytes;
                }
            }
        };
        assert_is_reset(name, error);
        assert_later_calls_fail(name, &port, &handle);
    }
}

pub fn s19_a_peer_that_leaves_bytes_unread_resets(kind: BackendKind) {
    for receive in RECEIVES {
        let name = receive.name;
        let port = port(kind);
        let (handle, peer) = connection(&port, 19);
        handle.send("never read", 1).expect("started");
        assert_eq!(get(&port).result, Ok(10));
        (receive.start)(&handle, 2).expect(name);
        wait_for_bytes(&peer);
        drop(peer);
        let packet = get(&port);
        assert_eq!(packet.context, 2, "{name}");
        assert_is_reset(name, error_of(name, &packet));
        assert_later_calls_fail(name, &port, &handle);
    }
}
