//! Quiet sends that are made at once, while other operations are started and cancelled on the same
//! handle: the tests step in between the look at the line and the call.

use crate::buf::Buffers;
use crate::net::{Socket, SocketHandle};
use crate::op::fault;
use crate::{BackendKind, CompletionPort, ErrorKind, Packet, available_backends};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// A connection of a port whose backend makes quiet sends at once, and its peer; `None` on a system
/// without one.
fn connection() -> Option<(CompletionPort<u32>, Arc<SocketHandle<u32>>, TcpStream)> {
    if !available_backends().contains(&(BackendKind::Readiness, Ok(()))) {
        return None;
    }
    let port =
        CompletionPort::<u32>::builder().backend(BackendKind::Readiness).build().expect("a port");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let peer = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
    peer.set_read_timeout(Some(DEADLINE)).expect("set");
    let (socket, _) = listener.accept().expect("accepted");
    let handle = port.associate(Socket::from(socket), 1).expect("associated");
    Some((port, Arc::new(handle), peer))
}

fn read(peer: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).expect("all bytes");
    bytes
}

fn get(port: &CompletionPort<u32>) -> Packet<u32> {
    port.get(Some(DEADLINE)).expect("a packet")
}

fn send_quiet(handle: &SocketHandle<u32>, bytes: impl Into<Buffers>, context: u32) {
    handle.send_quiet(bytes, context).expect("started");
}

#[test]
fn what_is_started_during_the_call_leaves_after_it() {
    let Some((port, handle, mut peer)) = connection() else { return };
    let other = Arc::clone(&handle);
    fault::during_next_send(move || {
        send_quiet(&other, "second ", 2);
        other.send("third ", 3).expect("started");
        send_quiet(&other, "fourth ", 4);
        other.send("fifth", 5).expect("started");
    });
    send_quiet(&handle, "first ", 1);
    assert_eq!((get(&port).context, get(&port).context), (3, 5));
    assert_eq!(read(&mut peer, 31), b"first second third fourth fifth");
    assert_eq!(port.stats().operations_live, 0);
}

#[test]
fn what_finds_room_for_a_part_stays_before_what_was_started_during_the_call() {
    let Some((port, handle, mut peer)) = connection() else { return };
    handle.set_send_buffer_size(8 * 1024).expect("set");
    let large = vec![7; 1 << 20];
    let other = Arc::clone(&handle);
    fault::during_next_send(move || {
        send_quiet(&other, "then", 2);
        other.send(" this", 3).expect("started");
    });
    send_quiet(&handle, large.clone(), 1);
    let reader = std::thread::spawn(move || {
        let bytes = read(&mut peer, 1 << 20);
        (bytes, read(&mut peer, 9))
    });
    assert_eq!(get(&port).context, 3);
    let (bytes, rest) = reader.join().expect("read");
    assert!(bytes == large, "the part and its rest are in one piece");
    assert_eq!(rest, b"then this");
}

#[test]
fn a_cancel_during_the_call_starts_nothing_before_it() {
    let Some((port, handle, mut peer)) = connection() else { return };
    let (other, other_port) = (Arc::clone(&handle), port.clone());
    fault::during_next_send(move || {
        let second = other.send("second", 2).expect("started");
        send_quiet(&other, "third", 3);
        other.cancel(second).expect("it waits in line");
        let packet = get(&other_port);
        assert_eq!(
            (packet.context, packet.result.map_err(|e| e.kind())),
            (2, Err(ErrorKind::Cancelled))
        );
    });
    send_quiet(&handle, "first ", 1);
    assert_eq!(read(&mut peer, 11), b"first third");
}

#[test]
fn a_port_that_is_closed_during_the_call_says_how_much_has_gone() {
    let Some((port, handle, peer)) = connection() else { return };
    handle.set_send_buffer_size(8 * 1024).expect("set");
    let other = port.clone();
    fault::during_next_send(move || other.close());
    let refused = handle.send_quiet(vec![7; 1 << 20], 1).expect_err("the port is closed");
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::Closed, 1));
    assert_eq!(refused.buffers.total_len(), 1 << 20, "the buffer comes back");
    assert!((1..1 << 20).contains(&refused.error.transferred()), "{:?}", refused.error);
    drop(peer);
}

#[test]
fn a_disconnect_during_the_call_follows_what_the_call_has_left() {
    let Some((port, handle, mut peer)) = connection() else { return };
    handle.set_send_buffer_size(8 * 1024).expect("set");
    let other = Arc::clone(&handle);
    fault::during_next_send(move || {
        other.disconnect(2).expect("started");
    });
    send_quiet(&handle, vec![7; 1 << 20], 1);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes.len())
    });
    let packet = get(&port);
    assert_eq!((packet.context, packet.result), (2, Ok(0)));
    assert_eq!(reader.join().expect("read").expect("to the end"), 1 << 20);
}

#[test]
fn what_the_call_has_left_is_cancelled_like_any_send() {
    let Some((port, handle, _peer)) = connection() else { return };
    handle.set_send_buffer_size(8 * 1024).expect("set");
    let other = Arc::clone(&handle);
    fault::during_next_send(move || {
        other.cancel_all().expect_err("what is at the call cannot be cancelled");
    });
    let operation = handle.send_quiet(vec![7; 1 << 20], 1).expect("started");
    handle.cancel(operation).expect("its rest is under way");
    let packet = get(&port);
    let error = packet.result.expect_err("it was cancelled");
    assert_eq!((packet.context, error.kind()), (1, ErrorKind::Cancelled));
    assert!((1..1 << 20).contains(&error.transferred()), "{error:?}");
}

#[test]
fn more_buffers_or_bytes_than_a_call_takes_go_as_an_operation() {
    let Some((port, handle, mut peer)) = connection() else { return };
    let parts: Vec<crate::buf::Buffer> = (b'a'..=b'i').map(|byte| vec![byte].into()).collect();
    fault::during_next_send(|| panic!("too many for a call"));
    send_quiet(&handle, parts, 1);
    send_quiet(&handle, vec![b'j'; (1 << 20) + 1], 2);
    handle.send("k", 3).expect("started");
    let reader = std::thread::spawn(move || read(&mut peer, 9 + (1 << 20) + 2));
    assert_eq!(get(&port).context, 3);
    let bytes = reader.join().expect("read");
    assert!(bytes.starts_with(b"abcdefghij") && bytes.ends_with(b"jk"));
}
