//! HTTP/2: streams of one connection beside each other.

use super::server::{NEVER, Server, all_of, counted, get, http2_client, post};
use super::world::{bytes, give_up_after};
use anyport::BackendKind;
use anyport::rt;
use axum::body::Body;
use http_body_util::BodyExt;

pub(crate) fn many_streams_share_a_connection(kind: BackendKind) {
    const STREAMS: usize = 200;
    let server = Server::start(kind, NEVER);
    let address = server.address;
    server.runtime.block_on(async {
        let requests = http2_client(address).await;
        let tasks: Vec<_> = (0..STREAMS)
            .map(|n| {
                let mut requests = requests.clone();
                rt::spawn(async move {
                    for round in 0..3 {
                        let len = 500 * n + 7 * round;
                        requests.ready().await.expect("it is connected");
                        let (request, expected) = match (n + round) % 3 {
                            0 => (get(address, &format!("/bytes/{len}")), counted(len)),
                            1 => (get(address, "/sleep/1"), b"slept\n".to_vec()),
                            _ => {
                                let body = Body::from(bytes(n, len));
                                (post(address, "/echo", body), bytes(n, len))
                            }
                        };
                        let answer = requests.send_request(request).await.expect("an answer");
                        assert!(all_of(answer).await == expected);
                    }
                })
            })
            .collect();
        drop(requests);
        for task in tasks {
            task.await.expect("every answer is right");
        }
    });
    server.end();
}

pub(crate) fn large_bodies_of_streams_go_up_and_down_whole(kind: BackendKind) {
    const LEN: usize = 8 << 20;
    let server = Server::start(kind, NEVER);
    let address = server.address;
    server.runtime.block_on(async {
        let mut requests = http2_client(address).await;
        let answer = requests.send_request(get(address, &format!("/bytes/{LEN}"))).await;
        assert!(all_of(answer.expect("an answer")).await == counted(LEN));
        let body = Body::from(bytes(0, LEN));
        let answer = requests.send_request(post(address, "/echo", body)).await;
        assert!(all_of(answer.expect("an answer")).await == bytes(0, LEN));
    });
    server.end();
}

pub(crate) fn a_stream_that_waits_holds_up_no_other(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let address = server.address;
    server.runtime.block_on(async {
        let mut requests = http2_client(address).await;
        let mut waits = requests.clone();
        let waits = waits.send_request(get(address, "/sleep/3600000"));
        // One that is not read: it waits for the stream's window.
        let unread = requests.send_request(get(address, "/bytes/100000000")).await;
        let mut waits = std::pin::pin!(waits);
        for _ in 0..50 {
            assert!(give_up_after(1, waits.as_mut()).await.is_none());
            let answer = requests.send_request(get(address, "/")).await.expect("an answer");
            assert_eq!(all_of(answer).await, "hello\n");
        }
        drop(unread);
    });
    server.end();
}

pub(crate) fn a_stream_that_is_dropped_ends_alone(kind: BackendKind) {
    let server = Server::start(kind, NEVER);
    let address = server.address;
    server.runtime.block_on(async {
        let mut requests = http2_client(address).await;
        for _ in 0..20 {
            let answer = requests.send_request(get(address, "/bytes/100000000")).await;
            let mut body = answer.expect("an answer").into_body();
            let first = body.frame().await.expect("there is more").expect("it comes");
            let first = first.into_data().expect("bytes");
            assert_eq!(first, counted(first.len()));
            drop(body);
            let answer = requests.send_request(get(address, "/bytes/1000")).await;
            assert_eq!(all_of(answer.expect("an answer")).await, counted(1000));
        }
    });
    server.end();
}
