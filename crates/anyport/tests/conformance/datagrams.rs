//! Datagrams: one a receive, with its sender, and never cut off in silence.

use crate::peers::{assert_nothing_comes, assert_pattern, pattern};
use crate::starts::{error_of, failure_of, room};
use crate::world::{
    DEADLINE, UdpSocket, any_local, assert_nothing_is_left, bytes_of, get, get_all, port,
};
use anyport::buf::{Buffer, SizeClass};
use anyport::net::{Socket, SocketHandle};
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind};
use std::net::{Ipv6Addr, SocketAddr};

/// A datagram socket of the port, and one of the standard library; neither is connected.
fn datagram_sockets(
    port: &CompletionPort<usize>,
    local: SocketAddr,
) -> std::io::Result<(SocketHandle<usize>, SocketAddr, UdpSocket)> {
    let near = UdpSocket::bind(local)?;
    let address = near.local_addr()?;
    let far = UdpSocket::bind(local)?;
    far.set_read_timeout(Some(DEADLINE))?;
    let handle = port.associate(Socket::from(near), 27).expect("associated");
    Ok((handle, address, far))
}

/// The same with both connected to each other.
fn connected_sockets(port: &CompletionPort<usize>) -> (SocketHandle<usize>, UdpSocket) {
    let [near, far] = [(); 2].map(|()| UdpSocket::bind(any_local()).expect("a socket"));
    near.connect(far.local_addr().expect("an address")).expect("connected");
    far.connect(near.local_addr().expect("an address")).expect("connected");
    (port.associate(Socket::from(near), 27).expect("associated"), far)
}

fn both_ways(kind: BackendKind, local: SocketAddr) {
    let port = port(kind);
    let (handle, address, far) = datagram_sockets(&port, local).expect("two sockets");
    let sender = far.local_addr().expect("an address");
    let lengths = [1, 0, 1000, 9000, 65_507, 2];
    for is_waiting in [true, false] {
        let start = || {
            for (context, _) in lengths.iter().enumerate() {
                handle.receive_from(room(65_536), context).expect("started");
            }
        };
        if is_waiting {
            start();
            assert_nothing_comes("no datagram yet", &port);
        }
        for length in lengths {
            far.send_to(&pattern(27, length), address).expect("sent");
        }
        if !is_waiting {
            start();
        }
        for (context, length) in lengths.into_iter().enumerate() {
            let packet = get(&port);
            assert_eq!((packet.key, packet.context), (27, context));
            assert_eq!(packet.kind, OperationKind::ReceiveFrom);
            assert_eq!((packet.result, packet.peer), (Ok(length), Some(sender)));
            let bytes = bytes_of(&packet);
            assert_eq!(bytes.len(), length);
            assert_pattern(27, 0, &bytes);
        }
    }
    for length in lengths {
        handle.send_to(pattern(72, length), sender, length).expect("started");
        assert_eq!(get(&port).result, Ok(length));
        let mut bytes = vec![0; 65_536];
        let (received, from) = far.recv_from(&mut bytes).expect("a datagram");
        assert_eq!((received, from), (length, address));
        assert_pattern(72, 0, &bytes[..received]);
    }
    let parts = ["one ", "data", "", "gram"].map(Buffer::from);
    handle.send_to(parts, sender, 0).expect("started");
    assert_eq!(get(&port).result, Ok(12));
    let mut bytes = [0; 100];
    let (received, _) = far.recv_from(&mut bytes).expect("a datagram");
    assert_eq!(&bytes[..received], b"one datagram");
    assert_nothing_is_left(&port);
}

pub fn s27_a_receive_gives_one_datagram_and_its_sender(kind: BackendKind) {
    both_ways(kind, any_local());
}

pub fn s27_datagrams_over_ipv6(kind: BackendKind) {
    let local = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    match UdpSocket::bind(local) {
        Ok(_) => both_ways(kind, local),
        Err(e) => println!("not run: this machine has no IPv6: {e}"),
    }
}

pub fn s27_too_small_a_buffer_gives_what_fits_and_says_so(kind: BackendKind) {
    let port = port(kind);
    let (handle, address, far) = datagram_sockets(&port, any_local()).expect("two sockets");
    let sender = far.local_addr().expect("an address");
    for is_waiting in [true, false] {
        let start = || {
            handle.receive_from(room(10), 1).expect("started");
            let rooms = [3, 0, 4].map(|bytes| Buffer::from(room(bytes)));
            handle.receive_from(rooms, 2).expect("started");
            handle.receive_from(room(10), 3).expect("started");
            handle.receive_from(room(10), 4).expect("started");
        };
        if is_waiting {
            start();
        }
        for length in [11, 2000, 10, 9] {
            far.send_to(&pattern(27, length), address).expect("sent");
        }
        if !is_waiting {
            start();
        }
        for (context, fits) in [(1, 10), (2, 7)] {
            let packet = get(&port);
            let error = error_of("cut off", &packet);
            assert_eq!((packet.context, error.kind()), (context, ErrorKind::Truncated), "{error}");
            assert_eq!((error.transferred(), packet.peer), (fits, Some(sender)));
            let bytes = bytes_of(&packet);
            assert_eq!(bytes.len(), fits);
            assert_pattern(27, 0, &bytes);
        }
        // The rest of a cut datagram is gone: the next receive gets the next datagram.
        for (context, length) in [(3, 10), (4, 9)] {
            let packet = get(&port);
            assert_eq!((packet.context, packet.result), (context, Ok(length)));
            assert_pattern(27, 0, &bytes_of(&packet));
        }
    }
    assert_nothing_is_left(&port);
}

pub fn s27_a_connected_socket_says_so_too(kind: BackendKind) {
    let port = port(kind);
    let (handle, far) = connected_sockets(&port);
    for parts in [1, 2] {
        for (length, space) in [(0, 10), (9, 10), (10, 10), (11, 10), (5000, 10), (3, 10)] {
            let buffers: Vec<Buffer> =
                (0..parts).map(|_| Buffer::from(room(space / parts))).collect();
            far.send(&pattern(27, length)).expect("sent");
            handle.receive(buffers, length).expect("started");
            let packet = get(&port);
            let fits = length.min(space);
            if length > space {
                let error = error_of("cut off", &packet);
                assert_eq!(error.kind(), ErrorKind::Truncated, "{length} bytes into {parts}");
                assert_eq!(error.transferred(), fits);
            } else {
                assert_eq!(packet.result, Ok(length));
            }
            assert_eq!(packet.buffers.total_len(), fits, "{length} bytes into {parts}");
            assert_pattern(27, 0, &bytes_of(&packet));
        }
    }
    assert_nothing_is_left(&port);
}

pub fn s27_pooled_receives_give_one_datagram_each(kind: BackendKind) {
    let port = port(kind);
    let (handle, far) = connected_sockets(&port);
    let lengths = [1, 4000, 3, 1400];
    for _ in 0..2 {
        for length in lengths {
            far.send(&pattern(27, length)).expect("sent");
            handle.receive_pooled(length).expect("started");
        }
        for (length, packet) in lengths.into_iter().zip(get_all(&port, lengths.len())) {
            assert_eq!((packet.context, packet.result), (length, Ok(length)));
            assert_pattern(27, 0, &bytes_of(&packet));
        }
    }
    let stream = handle.receive_stream(0).expect("started");
    for length in lengths {
        far.send(&pattern(27, length)).expect("sent");
    }
    for length in lengths {
        let packet = get(&port);
        assert_eq!((packet.result, packet.more), (Ok(length), true));
        assert_pattern(27, 0, &bytes_of(&packet));
    }
    handle.cancel(stream).expect("under way");
    assert_eq!(error_of("stream", &get(&port)).kind(), ErrorKind::Cancelled);
    assert_nothing_is_left(&port);
}

pub fn s27_too_small_a_pooled_buffer_says_so_too(kind: BackendKind) {
    let port = port(kind);
    let (handle, far) = connected_sockets(&port);
    handle.set_receive_class(SizeClass::Small4K);
    for is_waiting in [true, false] {
        for length in [4095, 4096, 4097, 9000, 1] {
            if is_waiting {
                handle.receive_pooled(length).expect("started");
            }
            far.send(&pattern(27, length)).expect("sent");
            if !is_waiting {
                handle.receive_pooled(length).expect("started");
            }
            let packet = get(&port);
            let bytes = bytes_of(&packet);
            assert_eq!((packet.context, bytes.len()), (length, length.min(4096)));
            assert_pattern(27, 0, &bytes);
            if length > 4096 {
                let error = error_of("cut off", &packet);
                assert_eq!((error.kind(), error.transferred()), (ErrorKind::Truncated, 4096));
            } else {
                assert_eq!(packet.result, Ok(length));
            }
        }
    }
    assert_nothing_is_left(&port);
}

pub fn s27_a_pooled_receive_gives_the_sender_too(kind: BackendKind) {
    let port = port(kind);
    let (handle, address, far) = datagram_sockets(&port, any_local()).expect("two sockets");
    let sender = far.local_addr().expect("an address");
    handle.set_receive_class(SizeClass::Small4K);
    let lengths = [1, 0, 4096, 4097, 9000, 1400];
    for is_waiting in [true, false] {
        let start = || {
            for length in lengths {
                handle.receive_from_pooled(length).expect("started");
            }
        };
        if is_waiting {
            start();
            assert_nothing_comes("no datagram yet", &port);
            assert_eq!(port.pool().live(), 0, "what waits holds no buffer");
        }
        for length in lengths {
            far.send_to(&pattern(27, length), address).expect("sent");
        }
        if !is_waiting {
            start();
        }
        for length in lengths {
            let packet = get(&port);
            assert_eq!((packet.kind, packet.context), (OperationKind::ReceiveFromPooled, length));
            assert_eq!(packet.peer, Some(sender));
            let bytes = bytes_of(&packet);
            assert_eq!(bytes.len(), length.min(4096));
            assert_pattern(27, 0, &bytes);
            if length > 4096 {
                let error = error_of("cut off", &packet);
                assert_eq!((error.kind(), error.transferred()), (ErrorKind::Truncated, 4096));
            } else {
                assert_eq!(packet.result, Ok(length));
            }
        }
    }
    let waiting = handle.receive_from_pooled(7).expect("started");
    handle.cancel(waiting).expect("under way");
    assert_eq!(error_of("cancelled", &get(&port)).kind(), ErrorKind::Cancelled);
    handle.receive_from_pooled(8).expect("started");
    drop(handle);
    assert_eq!(error_of("aborted", &get(&port)).kind(), ErrorKind::Aborted);
    assert_nothing_is_left(&port);
}

pub fn s27_a_datagram_larger_than_any_is_refused(kind: BackendKind) {
    let port = port(kind);
    let (handle, address, far) = datagram_sockets(&port, any_local()).expect("two sockets");
    let sender = far.local_addr().expect("an address");
    let error = failure_of(&port, "send_to", handle.send_to(vec![0; 70_000], sender, 1));
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    far.send_to(b"goes on", address).expect("sent");
    handle.receive_from(room(10), 2).expect("started");
    assert_eq!(bytes_of(&get(&port)), b"goes on");
}
