//! HTTP/1: connections that are used again, bodies of every kind, and what a client may say.

use super::peer::{Peer, request};
use super::server::{NEVER, Server, all_of, counted, get, http1_client, post};
use super::world::bytes;
use anyport::BackendKind;
use axum::body::Body;
use std::io::Write;
use std::thread;

pub(crate) fn answers_follow_each_other_on_one_connection(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let mut peer = Peer::new(server.address);
    for n in 0..200 {
        let answer = match n % 3 {
            0 => peer.get("/"),
            1 => peer.get("/json"),
            _ => peer.get("/sleep/0"),
        };
        assert_eq!(answer.status, 200);
        let body: &[u8] = match n % 3 {
            0 => b"hello\n",
            1 => b"{\"message\":\"hello\"}\n",
            _ => b"slept\n",
        };
        assert_eq!(answer.body, body);
    }
    assert_eq!(peer.get("/nowhere").status, 404);
    drop(peer);
    server.end();
}

pub(crate) fn pipelined_requests_are_answered_in_their_order(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let mut peer = Peer::new(server.address);
    let sizes = [0, 1, 70_000, 251, 5, 300_000, 64_256, 17];
    for _ in 0..5 {
        let all: String = sizes.iter().map(|n| request(&format!("/bytes/{n}"))).collect();
        peer.send(all);
        for n in sizes {
            let answer = peer.answer();
            assert_eq!((answer.status, answer.body.len()), (200, n));
            assert_eq!(answer.body, counted(n));
        }
    }
    drop(peer);
    server.end();
}

pub(crate) fn a_request_may_come_byte_by_byte(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let mut peer = Peer::new(server.address);
    let head = "POST /echo HTTP/1.1\r\nhost: here\r\ncontent-length: 5\r\n\r\nhello";
    for byte in head.as_bytes() {
        peer.send([*byte]);
    }
    assert_eq!(peer.answer().body, b"hello");
    drop(peer);
    server.end();
}

pub(crate) fn chunked_bodies_come_back_whole(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let mut peer = Peer::new(server.address);
    peer.send("POST /echo HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut position = 0;
    for len in [1, 10, 4096, 7, 16_384, 60_000, 3] {
        let chunk = [format!("{len:x}\r\n").as_bytes(), &bytes(position, len), b"\r\n"].concat();
        // Across the boundaries of chunks and of their heads.
        for part in chunk.chunks(1 + len / 3) {
            peer.send(part);
        }
        position += len;
    }
    peer.send("0\r\n\r\n");
    let answer = peer.answer();
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.body, bytes(0, position));
    drop(peer);
    server.end();
}

pub(crate) fn a_body_is_asked_for_when_it_is_announced(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let mut peer = Peer::new(server.address);
    peer.send(
        "POST /echo HTTP/1.1\r\nhost: here\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    );
    assert_eq!(peer.head().status, 100);
    peer.send("hello");
    assert_eq!(peer.answer().body, b"hello");
    drop(peer);
    server.end();
}

pub(crate) fn large_bodies_go_up_and_down_whole(kind: BackendKind) {
    const LEN: usize = 8 << 20;
    let server = Server::start(kind, NEVER);
    let mut peer = Peer::new(server.address);
    assert!(peer.get(&format!("/bytes/{LEN}")).body == counted(LEN));
    peer.send(format!("POST /echo HTTP/1.1\r\nhost: here\r\ncontent-length: {LEN}\r\n\r\n"));
    let mut stream = peer.stream();
    let writer = thread::spawn(move || stream.write_all(&bytes(0, LEN)));
    assert!(peer.answer().body == bytes(0, LEN));
    writer.join().expect("no panic").expect("all is sent");
    drop(peer);
    server.end();
}

pub(crate) fn a_head_has_no_body(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let mut peer = Peer::new(server.address);
    peer.send("HEAD /bytes/1000 HTTP/1.1\r\nhost: here\r\n\r\n");
    let answer = peer.head();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("1000")));
    // Nothing stands between that and the next one.
    assert_eq!(peer.get("/").body, b"hello\n");
    drop(peer);
    server.end();
}

pub(crate) fn a_connection_ends_when_it_is_asked_to(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let mut peer = Peer::new(server.address);
    peer.send("GET /bytes/100000 HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    let answer = peer.answer();
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.body, counted(100_000));
    assert!(peer.has_ended());
    let mut peer = Peer::new(server.address);
    peer.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(peer.answer().body, b"hello\n");
    assert!(peer.has_ended());
    server.wait_for_nobody();
    server.end();
}

pub(crate) fn what_is_no_request_is_refused(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    for garbage in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n"] {
        let mut peer = Peer::new(server.address);
        peer.send(garbage);
        assert_eq!(peer.answer().status, 400, "{garbage:?}");
        assert!(peer.has_ended());
    }
    server.wait_for_nobody();
    server.end();
}

pub(crate) fn a_client_of_hyper_is_served(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let address = server.address;
    server.runtime.block_on(async {
        let mut requests = http1_client(address).await;
        for len in [0, 1, 10_000, 1 << 20] {
            let path = format!("/bytes/{len}");
            requests.ready().await.expect("it is connected");
            let answer = requests.send_request(get(address, &path)).await.expect("an answer");
            assert!(all_of(answer).await == counted(len));
            let body = Body::from(bytes(0, len));
            requests.ready().await.expect("it is connected");
            let answer = requests.send_request(post(address, "/echo", body)).await;
            assert!(all_of(answer.expect("an answer")).await == bytes(0, len));
        }
    });
    server.end();
}
