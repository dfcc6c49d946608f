//! Connecting and disconnecting.

use crate::peers::{LARGE, assert_nothing_comes, pattern, read_pattern_slowly};
use crate::starts::{RECEIVES, error_of, failure_of, room};
use crate::system::REFUSED;
use crate::world::{
    TcpListener, TcpStream, accept, any_local, assert_nothing_is_left, bytes_of, connection, get,
    get_all, port, read_exactly,
};
use anyport::net::{Socket, SocketHandle};
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind};
use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr};
use std::thread;

fn unconnected(port: &CompletionPort<usize>) -> SocketHandle<usize> {
    port.associate(Socket::tcp_v4().expect("a socket"), 32).expect("associated")
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(any_local()).expect("a listener");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

pub fn s32_a_connect_completes_with_no_bytes(kind: BackendKind) {
    let port = port(kind);
    let (v4, v4_address) = listener();
    let mut cases = vec![(Socket::tcp_v4().expect("a socket"), v4, v4_address)];
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(v6) => {
            let address = v6.local_addr().expect("an address");
            cases.push((Socket::tcp_v6().expect("a socket"), v6, address));
        }
        Err(e) => println!("not run: this machine has no IPv6: {e}"),
    }
    for (socket, listener, address) in cases {
        let handle = port.associate(socket, 32).expect("associated");
        let operation = handle.connect(address, 1).expect("started");
        let packet = get(&port);
        assert_eq!((packet.operation, packet.kind), (Some(operation), OperationKind::Connect));
        assert_eq!((packet.key, packet.context, packet.result), (32, 1, Ok(0)));
        let mut peer = accept(&listener);
        assert_eq!(handle.peer_addr().ok(), Some(address));
        assert_eq!(handle.local_addr().ok(), peer.peer_addr().ok());
        handle.receive(room(10), 2).expect("started");
        peer.write_all(b"welcome").expect("written");
        assert_eq!(bytes_of(&get(&port)), b"welcome");
        assert_nothing_is_left(&port);
    }
}

pub fn s32_sends_started_behind_a_connect_follow_it(kind: BackendKind) {
    let port = port(kind);
    let (listener, address) = listener();
    let handle = unconnected(&port);
    handle.connect(address, 1).expect("started");
    handle.send("first, ", 2).expect("started");
    handle.send("second", 3).expect("started");
    let results: Vec<_> = get_all(&port, 3).iter().map(|p| (p.context, p.result)).collect();
    assert_eq!(results, [(1, Ok(0)), (2, Ok(7)), (3, Ok(6))]);
    assert_eq!(read_exactly(&mut accept(&listener), 13), b"first, second");
}

pub fn s32_what_waits_behind_a_connect_goes_on_though_nobody_waits(kind: BackendKind) {
    let port = port(kind);
    let (listener, address) = listener();
    let handle = unconnected(&port);
    handle.connect(address, 1).expect("started");
    handle.send(pattern(32, LARGE), 2).expect("started");
    assert!(read_exactly(&mut accept(&listener), LARGE) == pattern(32, LARGE));
    let results: Vec<_> = get_all(&port, 2).iter().map(|p| (p.context, p.result)).collect();
    assert_eq!(results, [(1, Ok(0)), (2, Ok(LARGE))]);
    assert_nothing_is_left(&port);
}

pub fn s32_a_refused_connect_says_so(kind: BackendKind) {
    let port = port(kind);
    // Bound without listening: the system refuses, and nobody else can come to listen there.
    let bound = Socket::tcp_v4().expect("a socket");
    bound.bind(any_local()).expect("bound");
    let handle = unconnected(&port);
    let address = bound.local_addr().expect("an address");
    let operation = handle.connect(address, 1).expect("started");
    let packet = get(&port);
    let error = error_of("connect", &packet);
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.code().is_some_and(|code| REFUSED.contains(&code)), "{error}");
    assert_eq!((packet.operation, packet.key, packet.context), (Some(operation), 32, 1));
    assert_nothing_is_left(&port);
}

pub fn s32_a_second_connect_says_already_connected(kind: BackendKind) {
    let port = port(kind);
    let (listener, address) = listener();
    let (other, other_address) = self::listener();
    let handle = unconnected(&port);
    handle.connect(address, 1).expect("started");
    assert_eq!(get(&port).result, Ok(0));
    let mut peer = accept(&listener);
    for address in [address, other_address] {
        let error = failure_of(&port, "connect", handle.connect(address, 2));
        assert_eq!(error.kind(), ErrorKind::AlreadyConnected, "{error}");
    }
    handle.send("as before", 3).expect("started");
    assert_eq!(get(&port).result, Ok(9));
    assert_eq!(read_exactly(&mut peer, 9), b"as before");
    assert_nothing_is_left(&port);
    drop(other);
}

pub fn s32_an_ordinary_connect_queues_nothing(kind: BackendKind) {
    let port = port(kind);
    let (listener, address) = listener();
    let near = Socket::from(TcpStream::connect(address).expect("a connection"));
    let handle = port.associate(near, 32).expect("associated");
    let mut peer = accept(&listener);
    assert_nothing_comes("no operation was started", &port);
    // Nor one through a duplicate of an associated socket.
    let other = unconnected(&port);
    let duplicate = other.try_clone_socket().expect("a duplicate").into_tcp_stream();
    socket2::SockRef::from(&duplicate).connect(&address.into()).expect("connected");
    assert_nothing_comes("no operation was started", &port);
    peer.write_all(b"now").expect("written");
    handle.receive(room(3), 1).expect("started");
    assert_eq!(get(&port).result, Ok(3));
    assert_nothing_is_left(&port);
}

pub fn s33_a_disconnect_without_a_connection_fails(kind: BackendKind) {
    let port = port(kind);
    let handle = unconnected(&port);
    let error = failure_of(&port, "disconnect", handle.disconnect(1));
    assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        let error = handle.shutdown(how).expect_err("no connection");
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
    }
    assert_nothing_is_left(&port);
    // It can be connected after all.
    let (listener, address) = listener();
    handle.connect(address, 2).expect("started");
    assert_eq!(get(&port).result, Ok(0));
    handle.send("hello", 3).expect("started");
    assert_eq!(get(&port).result, Ok(5));
    assert_eq!(read_exactly(&mut accept(&listener), 5), b"hello");
}

pub fn s33_a_disconnect_follows_the_sends_before_it(kind: BackendKind) {
    const LENGTH: usize = 9 << 20;
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 33);
    let message = pattern(33, 2 * LENGTH);
    handle.send(message[..LENGTH].to_vec(), 1).expect("started");
    handle.send(message[LENGTH..].to_vec(), 2).expect("started");
    let operation = handle.disconnect(3).expect("started");
    assert_nothing_comes("the peer does not read", &port);
    let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 33));
    let packets = get_all(&port, 3);
    let results: Vec<_> = packets.iter().map(|p| (p.context, p.result)).collect();
    assert_eq!(results, [(1, Ok(LENGTH)), (2, Ok(LENGTH)), (3, Ok(0))]);
    let last = &packets[2];
    assert_eq!((last.operation, last.kind), (Some(operation), OperationKind::Disconnect));
    assert_eq!(reader.join().expect("all bytes, then the end"), 2 * LENGTH);
    drop(handle);
}

pub fn s33_after_a_disconnect_sending_is_refused_and_receiving_works(kind: BackendKind) {
    for receive in RECEIVES {
        let name = receive.name;
        let port = port(kind);
        let (handle, mut peer) = connection(&port, 33);
        (receive.start)(&handle, 1).expect(name);
        handle.disconnect(2).expect(name);
        let packet = get(&port);
        assert_eq!((packet.context, packet.result, packet.key), (2, Ok(0), 33), "{name}");
        let error = failure_of(&port, name, handle.send("too late", 3));
        assert_eq!(error.kind(), ErrorKind::ShutDown, "{name}: {error}");
        assert_eq!(peer.read(&mut [0; 10]).expect("the end"), 0, "{name}");
        for context in [1, 4] {
            peer.write_all(b"goes on").expect("written");
            if context == 4 && !receive.is_stream {
                (receive.start)(&handle, context).expect(name);
            }
            let packet = get(&port);
            receive.assert_brings(&packet, b"goes on");
        }
    }
}

pub fn s33_an_ordinary_shutdown_queues_nothing(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 33);
    handle.shutdown(Shutdown::Write).expect("shut down");
    // It is done when the call returns.
    assert_eq!(peer.read(&mut [0; 10]).expect("the end"), 0);
    assert_nothing_comes("no operation was started", &port);
    let error = failure_of(&port, "send", handle.send("too late", 1));
    assert_eq!(error.kind(), ErrorKind::ShutDown, "{error}");
    peer.write_all(b"goes on").expect("written");
    handle.receive(room(10), 2).expect("started");
    assert_eq!(bytes_of(&get(&port)), b"goes on");
    assert_nothing_is_left(&port);
}
