//! Accepting, connecting, cancelling.

use super::*;

#[test]
fn a_connect_ends_with_a_peer_or_with_the_systems_error() {
    all_ways(|backend| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let address = listener.local_addr().expect("bound");
        let connect = |descriptor: &Descriptor| {
            let mut message = Message::new();
            message.set(std::iter::empty(), 0, Some(address), false);
            issue(&backend, descriptor, Request::Connect(&raw mut *message), TOKEN);
            let event = next(&backend);
            drop(message);
            event.outcome
        };
        let socket = attached(&backend, RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap());
        // Takes the hang-up that an unconnected socket reports.
        assert_no_event(&backend);
        assert!(matches!(connect(&socket), Outcome::Bytes(0)));
        assert_eq!(socket.socket().peer_addr().expect("a peer").as_socket(), Some(address));
        assert!(matches!(connect(&socket), Outcome::Failed(libc::EISCONN)));
        backend.detach(&socket);
        drop(listener);
        let socket = attached(&backend, RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap());
        assert!(matches!(connect(&socket), Outcome::Failed(libc::ECONNREFUSED)));
        backend.detach(&socket);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_hang_up_of_an_unconnected_socket_does_not_end_its_connect() {
    all_ways(|backend| {
        // A full backlog leaves further connects without an answer.
        let listener = RawSocket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).expect("binds");
        listener.listen(0).expect("listens");
        let address = listener.local_addr().expect("bound").as_socket().expect("IPv4");
        let _only = TcpStream::connect(address).expect("connects");
        let socket = attached(&backend, RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap());
        let mut message = Message::new();
        message.set(std::iter::empty(), 0, Some(address), false);
        issue(&backend, &socket, Request::Connect(&raw mut *message), TOKEN);
        assert_no_event(&backend);
        assert_no_event(&backend);
        backend.cancel(0, &socket, TOKEN);
        assert!(matches!(next(&backend).outcome, Outcome::Interrupted));
        backend.detach(&socket);
    });
}

#[test]
fn each_accept_gives_one_connection() {
    all_ways(|backend| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let address = listener.local_addr().expect("bound");
        let listener = attached(&backend, listener);
        issue(&backend, &listener, Request::AcceptStream, TOKEN);
        assert_no_event(&backend);
        let clients: Vec<_> =
            (0..3).map(|_| TcpStream::connect(address).expect("connects")).collect();
        for client in &clients {
            let Outcome::Accepted(socket) = next(&backend).outcome else { panic!("accepted") };
            let peer = socket.peer_addr().expect("connected").as_socket();
            assert_eq!(peer, client.local_addr().ok());
            issue(&backend, &listener, Request::Accept, TOKEN);
        }
        assert_no_event(&backend);
        backend.cancel(0, &listener, TOKEN);
        assert!(matches!(next(&backend).outcome, Outcome::Interrupted));
        backend.detach(&listener);
    });
}

#[test]
fn a_cancel_ends_what_waits_once_and_finds_nothing_else() {
    all_ways(|backend| {
        let (near, mut far) = pair();
        let near = attached(&backend, near);
        let mut memory = [0u8; 4];
        issue(&backend, &near, Request::Receive(region(&mut memory)), TOKEN);
        backend.cancel(0, &near, Token::new(8, 0));
        assert_no_event(&backend);
        backend.cancel(0, &near, TOKEN);
        backend.cancel(0, &near, TOKEN);
        assert!(matches!(next(&backend).outcome, Outcome::Interrupted));
        assert_no_event(&backend);
        far.write_all(b"late").expect("writes");
        assert_no_event(&backend);
        assert_eq!(memory, [0; 4]);
        backend.detach(&near);
    });
}

#[test]
#[should_panic(expected = "two requests in one direction")]
fn a_second_request_in_one_direction_is_refused() {
    let backend = backend();
    let (near, _far) = pair();
    let near = attached(&backend, near);
    issue(&backend, &near, Request::Readable, TOKEN);
    issue(&backend, &near, Request::Readable, Token::new(8, 0));
}
