//! Accepting connections, one by one and as a stream, and closing the listener.

use crate::peers::assert_nothing_comes;
use crate::starts::{error_of, room};
use crate::world::{
    TcpStream, any_local, assert_nothing_is_left, builder, bytes_of, connect, get, get_all, next,
    port, read_exactly, wait_until,
};
use anyport::net::{SocketHandle, listen};
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind, Packet, WorkerPool};
use std::collections::HashSet;
use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

const LISTENER: usize = 0x1157;

fn listener<T: Send + 'static>(port: &CompletionPort<T>) -> (SocketHandle<T>, SocketAddr) {
    crate::world::listener(port, LISTENER)
}

/// The packet's connection is the client's, and as good as any other.
fn assert_serves(port: &CompletionPort<usize>, packet: Packet<usize>, mut client: TcpStream) {
    assert_eq!((packet.key, packet.result), (LISTENER, Ok(0)));
    assert_eq!(packet.peer, client.local_addr().ok());
    let socket = packet.accepted.expect("a connection");
    assert_eq!(socket.peer_addr().ok(), client.local_addr().ok());
    assert_eq!(socket.local_addr().ok(), client.peer_addr().ok());
    let handle = port.associate(socket, 28).expect("a socket as any other");
    handle.receive(room(10), 81).expect("started");
    client.write_all(b"question").expect("written");
    let packet = get(port);
    assert_eq!((packet.key, packet.context, packet.result), (28, 81, Ok(8)));
    assert_eq!(bytes_of(&packet), b"question");
    handle.send("answer", 82).expect("started");
    assert_eq!(get(port).result, Ok(6));
    assert_eq!(read_exactly(&mut client, 6), b"answer");
}

pub fn s28_an_accept_completes_at_the_connection(kind: BackendKind) {
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    for local in [any_local(), v6] {
        let port = port(kind);
        let socket = match listen(local) {
            Err(error) if local == v6 => return println!("not run: no IPv6: {error}"),
            listener => listener.expect("a listener"),
        };
        let handle = port.associate(socket, LISTENER).expect("associated");
        let operation = handle.accept(1).expect("started");
        assert_nothing_comes("nobody connects", &port);
        // It sends nothing: the connection alone completes the accept.
        let client = connect(handle.local_addr().expect("an address"));
        let packet = get(&port);
        assert_eq!((packet.operation, packet.kind), (Some(operation), OperationKind::Accept));
        assert_eq!((packet.context, packet.more), (1, false));
        assert_serves(&port, packet, client);
        assert_nothing_is_left(&port);
    }
}

pub fn s28_an_accept_takes_a_connection_that_waits(kind: BackendKind) {
    let port = port(kind);
    let (handle, address) = listener(&port);
    let mut first = connect(address);
    first.write_all(b"early ").expect("written");
    let second = connect(address);
    for (context, client) in [(1, &first), (2, &second)] {
        handle.accept(context).expect("started");
        let packet = get(&port);
        assert_eq!((packet.context, packet.peer), (context, client.local_addr().ok()));
        if context == 1 {
            let handle = port.associate(packet.accepted.expect("it"), 5).expect("associated");
            handle.receive(room(100), 3).expect("started");
            assert_eq!(bytes_of(&get(&port)), b"early ", "what it sent before waits");
        } else {
            assert_serves(&port, packet, second.try_clone().expect("a duplicate"));
        }
    }
    assert_nothing_is_left(&port);
}

pub fn s28_pending_accepts_complete_once_each(kind: BackendKind) {
    const COUNT: usize = 50;
    let port = port(kind);
    let (handle, address) = listener(&port);
    for context in 0..COUNT {
        handle.accept(context).expect("started");
    }
    assert_nothing_comes("nobody connects", &port);
    let clients: Vec<_> = (0..COUNT).map(|_| connect(address)).collect();
    let packets = get_all(&port, COUNT);
    for (context, (packet, client)) in packets.into_iter().zip(clients).enumerate() {
        assert_eq!(packet.context, context, "in the order of the starts");
        assert_serves(&port, packet, client);
    }
    assert_nothing_is_left(&port);
}

pub fn s28_an_accept_stream_gives_every_connection(kind: BackendKind) {
    const COUNT: usize = 300;
    let port: CompletionPort<usize> = port(kind);
    let (handle, address) = listener(&port);
    let early: Vec<_> = (0..10).map(|_| connect(address)).collect();
    let operation = handle.accept_stream(7).expect("started");
    let connects = thread::spawn(move || -> Vec<TcpStream> {
        (early.len()..COUNT).map(|_| connect(address)).chain(early).collect()
    });
    let mut accepted = HashSet::new();
    let mut sockets = Vec::new();
    for packet in get_all(&port, COUNT) {
        assert_eq!((packet.key, packet.context, packet.result), (LISTENER, 7, Ok(0)));
        assert_eq!((packet.operation, packet.more), (Some(operation), true));
        assert_eq!(packet.kind, OperationKind::AcceptStream);
        let socket = packet.accepted.expect("a connection");
        assert_eq!(packet.peer, socket.peer_addr().ok());
        assert!(accepted.insert(packet.peer.expect("a peer")), "a connection comes once");
        sockets.push(socket);
    }
    let clients = connects.join().expect("all connect");
    let all: HashSet<_> = clients.iter().map(|c| c.local_addr().expect("an address")).collect();
    assert_eq!(accepted, all);
    handle.cancel(operation).expect("under way");
    let packet = get(&port);
    assert_eq!(error_of("accept_stream", &packet).kind(), ErrorKind::Cancelled);
    assert_eq!((packet.operation, packet.more, packet.context), (Some(operation), false, 7));
    assert_nothing_is_left(&port);
}

pub fn s28_an_accept_stream_with_four_threads_serves_every_connection(kind: BackendKind) {
    const COUNT: usize = 200;
    type Handles = Arc<Mutex<Vec<SocketHandle<usize>>>>;
    let port: CompletionPort<usize> = builder(kind).concurrency(4).build().expect("a port");
    let (listener, address) = listener(&port);
    listener.accept_stream(0).expect("started");
    let handles: Handles = Arc::default();
    let (ended, ends) = mpsc::channel();
    let (pool_port, pool_handles) = (port.clone(), Arc::clone(&handles));
    let pool = WorkerPool::builder(&port)
        .threads(4)
        .start(move |packet, _worker| match packet.kind {
            OperationKind::AcceptStream => {
                let socket = packet.accepted.expect("a connection");
                let mut handles = pool_handles.lock().expect("the list");
                let handle = pool_port.associate(socket, handles.len()).expect("associated");
                handle.receive_stream(handles.len()).expect("started");
                handles.push(handle);
            }
            OperationKind::ReceiveStream if packet.result == Ok(0) => {
                let handle = pool_handles.lock().expect("the list")[packet.key].clone();
                handle.disconnect(packet.key).expect("started");
            }
            OperationKind::ReceiveStream => {
                let handle = pool_handles.lock().expect("the list")[packet.key].clone();
                handle.send(packet.buffers, packet.key).expect("started");
            }
            OperationKind::Disconnect => ended.send(packet.key).expect("the statement waits"),
            _ => assert!(packet.result.is_ok(), "{:?}: {:?}", packet.kind, packet.result),
        })
        .expect("a pool");
    let clients: Vec<_> = (0..4)
        .map(|client| {
            thread::spawn(move || {
                for i in 0..COUNT / 4 {
                    let mut stream = connect(address);
                    let message = [client as u8, i as u8].repeat(20 * i + 1);
                    stream.write_all(&message).expect("written");
                    assert_eq!(read_exactly(&mut stream, message.len()), message);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every echo is right");
    }
    let keys: HashSet<_> = (0..COUNT).map(|_| next(&ends)).collect();
    assert_eq!(keys.len(), COUNT);
    assert_eq!(pool.panics(), 0, "no handler failed");
    pool.join();
    // They hold the port, and the handler that holds them is gone.
    handles.lock().expect("the list").clear();
}

/// Nothing listens there any more.
fn assert_is_closed(address: SocketAddr) {
    wait_until("the listener closes", || match TcpStream::connect(address) {
        Ok(_) => false,
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionRefused,
    });
}

pub fn s30_closing_the_listener_aborts_its_accepts(kind: BackendKind) {
    const COUNT: usize = 20;
    let port = port(kind);
    for is_flushed in [true, false] {
        let (handle, address) = listener(&port);
        let mut operations = Vec::new();
        for context in 0..COUNT {
            operations.push(handle.accept(context).expect("started"));
        }
        if is_flushed {
            assert_nothing_comes("nobody connects", &port);
        }
        handle.close();
        let mut packets = get_all(&port, COUNT);
        packets.sort_by_key(|packet| packet.context);
        for (context, packet) in packets.iter().enumerate() {
            assert_eq!((packet.key, packet.context), (LISTENER, context), "one each");
            assert_eq!(packet.operation, Some(operations[context]));
            assert_eq!((packet.kind, packet.more), (OperationKind::Accept, false));
            assert_eq!(error_of("accept", packet).kind(), ErrorKind::Aborted);
            assert!(packet.accepted.is_none());
        }
        assert_nothing_is_left(&port);
        assert_is_closed(address);
    }
}

pub fn s30_closing_the_listener_ends_an_accept_stream(kind: BackendKind) {
    let port = port(kind);
    for connections in [0, 3] {
        let (handle, address) = listener(&port);
        let operation = handle.accept_stream(30).expect("started");
        let _clients: Vec<_> = (0..connections).map(|_| connect(address)).collect();
        for packet in get_all(&port, connections) {
            assert_eq!((packet.result, packet.more), (Ok(0), true));
        }
        handle.close();
        let packet = get(&port);
        assert_eq!(error_of("accept_stream", &packet).kind(), ErrorKind::Aborted);
        assert_eq!((packet.key, packet.context, packet.more), (LISTENER, 30, false));
        assert_eq!(packet.operation, Some(operation));
        assert_nothing_is_left(&port);
        assert_is_closed(address);
    }
}
