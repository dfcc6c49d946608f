//! `proxy`: what goes through it, and how each way ends.

use crate::program::Server;
use crate::world::{assert_same, bounded, bytes, connect, rest_of, sends, wait_until};
use anyport::BackendKind;
use std::net::{TcpListener, TcpStream};

const LEN: usize = 1 << 20;

/// A proxy, a connection to it, and that connection as its target sees it.
fn through(kind: BackendKind, more: &[&str]) -> Option<(Server, TcpStream, TcpStream)> {
    let target = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = target.local_addr().expect("it is bound").to_string();
    let server = Server::start("proxy", kind, &[&[address.as_str()], more].concat())?;
    let client = connect(server.address);
    target.set_nonblocking(true).expect("a socket");
    let mut accepted = None;
    wait_until("the proxy's connection", || {
        accepted = target.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.expect("it was waited for");
    stream.set_nonblocking(false).expect("a socket");
    Some((server, client, bounded(stream)))
}

pub(crate) fn bytes_go_both_ways_at_the_same_time(kind: BackendKind) {
    let Some((mut server, mut client, mut target)) = through(kind, &[]) else { return };
    let there = sends(&client, bytes(1, LEN));
    let back = sends(&target, bytes(2, LEN));
    let reader = std::thread::spawn(move || assert_same(&rest_of(&mut target), &bytes(1, LEN)));
    assert_same(&rest_of(&mut client), &bytes(2, LEN));
    for thread in [there, back, reader] {
        thread.join().expect("no panic");
    }
    let said = server.program.line().expect("it goes on");
    assert!(said.ends_with(&format!(": {LEN} bytes there, {LEN} back")), "{said}");
    assert_eq!(server.ends_well_at("TERM"), "");
}

pub(crate) fn the_end_of_one_direction_is_passed_on_and_the_other_goes_on(kind: BackendKind) {
    let Some((_server, mut client, mut target)) = through(kind, &[]) else { return };
    let there = sends(&client, bytes(3, LEN));
    assert_same(&rest_of(&mut target), &bytes(3, LEN));
    there.join().expect("no panic");
    // Only now, behind the other direction's end.
    let back = sends(&target, bytes(4, LEN));
    assert_same(&rest_of(&mut client), &bytes(4, LEN));
    back.join().expect("no panic");
}

pub(crate) fn a_target_that_refuses_is_the_end_of_the_connection(kind: BackendKind) {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = nobody.local_addr().expect("it is bound").to_string();
    drop(nobody);
    let Some(server) = Server::start("proxy", kind, &[&address]) else { return };
    assert_same(&rest_of(&mut connect(server.address)), b"");
    let errors = server.ends_well_at("TERM");
    if cfg!(unix) {
        assert!(errors.contains("refused"), "{errors}");
    }
}

pub(crate) fn an_idle_connection_is_closed(kind: BackendKind) {
    let Some((_server, mut client, mut target)) = through(kind, &["1"]) else { return };
    assert_same(&rest_of(&mut client), b"");
    assert_same(&rest_of(&mut target), b"");
}
