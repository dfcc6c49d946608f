//! The orderly end: what is under way is answered, and nothing else is waited for.

use super::peer::{Peer, request};
use super::server::{NEVER, Server, all_of, get, http2_client};
use super::world::wait_until;
use anyport::BackendKind;

/// The listener is gone.
fn wait_for_the_end_of_accepting(server: &Server) {
    let connects = || std::net::TcpStream::connect(server.address);
    wait_until("nobody is accepted any more", || connects().is_err());
}

pub(crate) fn the_end_waits_for_what_is_under_way(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let mut peer = Peer::new(server.address);
    // They come together: when the first is answered the second is under way.
    peer.send(request("/") + &request("/sleep/300"));
    assert_eq!(peer.answer().body, b"hello\n");
    let mut uploads = Peer::new(server.address);
    uploads.send("POST /echo HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\nhello");
    assert_eq!(uploads.head().status, 200);
    assert_eq!(uploads.chunk(), b"hello");
    server.ask_to_end();
    wait_for_the_end_of_accepting(&server);
    assert_eq!(peer.answer().body, b"slept\n");
    assert!(peer.has_ended());
    uploads.send("again");
    assert_eq!((uploads.chunk(), uploads.chunk()), (b"again".to_vec(), Vec::new()));
    assert!(uploads.has_ended());
    server.end();
}

pub(crate) fn the_end_waits_for_the_streams_of_a_connection(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let address = server.address;
    server.runtime.block_on(async {
        let mut requests = http2_client(address).await;
        let sleeps = |ms| get(address, &format!("/sleep/{ms}"));
        let waits: Vec<_> = (0..20).map(|_| requests.send_request(sleeps(300))).collect();
        // Sent behind them: when it is answered they are under way.
        let answer = requests.send_request(sleeps(0)).await.expect("an answer");
        assert_eq!(all_of(answer).await, "slept\n");
        server.ask_to_end();
        for answer in waits {
            assert_eq!(all_of(answer.await.expect("an answer")).await, "slept\n");
        }
    });
    server.end();
}

pub(crate) fn connections_that_wait_for_a_request_end_at_once(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let mut silent = Peer::new(server.address);
    let mut peer = Peer::new(server.address);
    assert_eq!(peer.get("/").body, b"hello\n");
    server.ask_to_end();
    assert!(peer.has_ended());
    assert!(silent.has_ended());
    server.end();
}
