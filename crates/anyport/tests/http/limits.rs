//! Limits of time, by the runtime's timers: who does not come to the point is cut off.
//!
//! On a slow machine a peer here may meet a limit before it has said all: then it tries again.

use super::peer::Peer;
use super::server::Server;
use anyport::BackendKind;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);

/// A connection on which a request was answered.
fn answered(server: &Server) -> Peer {
    loop {
        let mut peer = Peer::new(server.address);
        if let Some(answer) = peer.try_get("/") {
            assert_eq!(answer.body, b"hello\n");
            return peer;
        }
    }
}

/// What the server sends after these bytes, until it ends the connection.
fn answer_to(server: &Server, bytes: &[u8]) -> Vec<u8> {
    loop {
        let rest = Peer::new(server.address).rest_after(bytes);
        if !rest.is_empty() {
            return rest;
        }
    }
}

pub(crate) fn who_says_nothing_is_cut_off(kind: BackendKind) {
    let server = Server::start(kind, SOON);
    assert!(Peer::new(server.address).has_ended());
    assert!(answered(&server).has_ended());
    server.wait_for_nobody();
    server.end();
}

pub(crate) fn headers_that_do_not_come_are_cut_off(kind: BackendKind) {
    let server = Server::start(kind, SOON);
    Peer::new(server.address).rest_after(b"GET / HTTP/1.1\r\nhost: he");
    answered(&server).rest_after(b"GET / HTTP/1.1\r\nhost: he");
    server.wait_for_nobody();
    server.end();
}

pub(crate) fn a_body_that_does_not_come_is_cut_off(kind: BackendKind) {
    let server = Server::start(kind, SOON);
    let half = b"POST /echo HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\nhello";
    let answer = answer_to(&server, half);
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "it is answered piece by piece");
    server.wait_for_nobody();
    server.end();
}

pub(crate) fn who_answers_no_ping_is_cut_off(kind: BackendKind) {
    let server = Server::start(kind, SOON);
    // The preface, and a frame of settings without one. The answer begins with the server's own.
    answer_to(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    server.wait_for_nobody();
    server.end();
}
