//! Clients that go away half-way: the server has nothing of them afterwards, and serves the others.

use super::peer::{Peer, request};
use super::server::{NEVER, Server, get, http2_client};
use super::world::bytes;
use anyport::BackendKind;
use anyport::net::Socket;
use anyport::rt;
use http_body_util::BodyExt;
use std::time::Duration;

/// Closes the connection in an orderly way, or as one that was cut.
fn leave(peer: Peer, is_cut: bool) {
    if is_cut {
        Socket::from(peer.stream()).set_linger(Some(Duration::ZERO)).expect("it can be set");
    }
}

fn is_served(server: &Server) {
    assert_eq!(Peer::new(server.address).get("/").body, b"hello\n");
    server.wait_for_nobody();
}

pub(crate) fn who_leaves_during_an_upload_leaves_nothing_behind(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    for n in 0..20 {
        let mut peer = Peer::new(server.address);
        peer.send("POST /echo HTTP/1.1\r\nhost: here\r\ncontent-length: 1000000\r\n\r\n");
        peer.send(bytes(0, 1 + n * 5_000));
        leave(peer, n % 2 == 0);
        // Within the headers.
        let mut peer = Peer::new(server.address);
        peer.send(&request("/")[..1 + n]);
        leave(peer, n % 2 == 0);
    }
    is_served(&server);
    server.end();
}

pub(crate) fn who_leaves_during_a_download_leaves_nothing_behind(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    for n in 0..20 {
        let mut peer = Peer::new(server.address);
        peer.send(request("/bytes/1000000000000"));
        assert_eq!(peer.head().status, 200);
        peer.bytes(n * 20_000);
        leave(peer, n % 2 == 0);
    }
    is_served(&server);
    server.end();
}

pub(crate) fn who_leaves_during_an_answers_making_leaves_nothing_behind(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    for n in 0..20 {
        let mut peer = Peer::new(server.address);
        peer.send(request("/sleep/3600000"));
        leave(peer, n % 2 == 0);
    }
    is_served(&server);
    server.end();
}

pub(crate) fn who_leaves_with_many_streams_leaves_nothing_behind(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let address = server.address;
    server.runtime.block_on(async {
        for _ in 0..10 {
            let requests = http2_client(address).await;
            let tasks: Vec<_> = (0..30)
                .map(|n| {
                    let mut requests = requests.clone();
                    rt::spawn(async move {
                        let path = if n % 2 == 0 { "/sleep/3600000" } else { "/bytes/1000000000" };
                        let answer = requests.send_request(get(address, path)).await;
                        let mut body = answer.expect("an answer").into_body();
                        while body.frame().await.is_some() {}
                    })
                })
                .collect();
            // One more, which is answered: the others are under way then.
            let mut requests = requests;
            let answer = requests.send_request(get(address, "/")).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            tasks.iter().for_each(|task| task.abort_handle().abort());
        }
    });
    is_served(&server);
    server.end();
}
