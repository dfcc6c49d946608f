//! Limits of time, by the runtime's timers: who does not come to the point is cut off.

use super::peer::Peer;
use super::server::Server;
use anyport::BackendKind;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);

pub(crate) fn who_says_nothing_is_cut_off(kind: BackendKind) {
    let server = Server::start(kind, SOON);
    assert!(Peer::new(server.address).has_ended());
    // Nor when it has been answered before.
    let mut peer = Peer::new(server.address);
    assert_eq!(peer.get("/").body, b"hello\n");
    assert!(peer.has_ended());
    server.wait_for_nobody();
    server.end();
}

pub(crate) fn headers_that_do_not_come_are_cut_off(kind: BackendKind) {
    let server = Server::start(kind, SOON);
    let mut peer = Peer::new(server.address);
    peer.send("GET / HTTP/1.1\r\nhost: he");
    peer.rest();
    let mut peer = Peer::new(server.address);
    assert_eq!(peer.get("/").body, b"hello\n");
    peer.send("GET / HTTP/1.1\r\nhost: he");
    peer.rest();
    server.wait_for_nobody();
    server.end();
}

pub(crate) fn a_body_that_does_not_come_is_cut_off(kind: BackendKind) {
    let server = Server::start(kind, SOON);
    let mut peer = Peer::new(server.address);
    peer.send("POST /echo HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\nhello");
    let rest = peer.rest();
    assert!(rest.starts_with(b"HTTP/1.1 200 OK\r\n"), "it is answered piece by piece");
    server.wait_for_nobody();
    server.end();
}

pub(crate) fn who_answers_no_ping_is_cut_off(kind: BackendKind) {
    let server = Server::start(kind, SOON);
    let mut peer = Peer::new(server.address);
    // The preface, and a frame of settings without one.
    peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let rest = peer.rest();
    assert!(!rest.is_empty(), "the server's own settings");
    server.wait_for_nobody();
    server.end();
}
