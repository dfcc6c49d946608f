//! `echo` and `async_echo`: handlers and tasks that send back what comes.

use crate::program::Server;
use crate::world::{assert_same, bytes, connect, rest_of, sends};
use anyport::BackendKind;
use std::io::{Read, Write};
use std::net::SocketAddr;

const CONNECTIONS: u32 = 8;

const LEN: usize = 1 << 20;

pub(crate) fn handlers_send_back_what_comes(kind: BackendKind) {
    let Some(server) = Server::start("echo", kind, &[]) else { return };
    check(server.address);
}

pub(crate) fn tasks_send_back_what_comes_and_end_at_a_signal(kind: BackendKind) {
    let Some(server) = Server::start("async_echo", kind, &["2"]) else { return };
    check(server.address);
    // A connection that is there still is closed.
    let mut stream = connect(server.address);
    stream.write_all(b"there").expect("connected");
    let mut echoed = [0; 5];
    stream.read_exact(&mut echoed).expect("an echo");
    let errors = server.ends_well_at("TERM");
    assert_eq!(errors, "");
    if cfg!(unix) {
        assert_same(&rest_of(&mut stream), b"");
    }
}

/// Sends without waiting for what comes back, on several connections at once.
fn check(address: SocketAddr) {
    let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| connect(address)).collect();
    let senders: Vec<_> =
        (0..).zip(&streams).map(|(seed, stream)| sends(stream, bytes(seed, LEN))).collect();
    for (seed, stream) in (0..).zip(&mut streams) {
        assert_same(&rest_of(stream), &bytes(seed, LEN));
    }
    senders.into_iter().for_each(|sender| sender.join().expect("all was sent"));
}
