//! `chat`: who hears what, and who is let go.

use crate::program::Server;
use crate::world::{DEADLINE, bounded, connect};
use anyport::BackendKind;
use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    /// Connects. Once it was asked for its name it hears everything.
    fn enter(address: SocketAddr) -> Self {
        Client::of(connect(address))
    }

    fn of(stream: TcpStream) -> Self {
        let lines = BufReader::new(stream.try_clone().expect("a descriptor is left"));
        let mut client = Client { stream, lines };
        client.hears("* what is your name?");
        client
    }

    fn says(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).expect("the server reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line in time");
        line.trim_end().to_owned()
    }

    #[track_caller]
    fn hears(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }
}

pub(crate) fn everybody_hears_the_others_and_who_comes_and_goes(kind: BackendKind) {
    let Some(server) = Server::start("chat", kind, &[]) else { return };
    let (mut ann, mut bob) = (Client::enter(server.address), Client::enter(server.address));
    ann.says("Ann");
    bob.hears("* Ann has joined");
    bob.says("Bob");
    ann.hears("* Bob has joined");
    ann.says("hello, Bob");
    bob.hears("Ann: hello, Bob");
    // Several lines in one piece, and one in two.
    bob.stream.write_all(b"hello, Ann\r\nhow are you?\nI am").expect("the server reads");
    ann.hears("Bob: hello, Ann");
    ann.hears("Bob: how are you?");
    bob.says(" well");
    ann.hears("Bob: I am well");
    bob.stream.shutdown(Shutdown::Write).expect("connected");
    ann.hears("* Bob has left: goodbye");
    assert_eq!(bob.line(), "", "the end");
    assert_eq!(server.ends_well_at("INT"), "");
}

pub(crate) fn a_client_that_does_not_read_is_out_and_holds_up_nobody(kind: BackendKind) {
    let Some(server) = Server::start("chat", kind, &[]) else { return };
    let (mut ann, mut bob) = (Client::enter(server.address), Client::enter(server.address));
    // The system holds little for one that does not read, so that the room soon notices.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor is left");
    socket.set_recv_buffer_size(4096).expect("a buffer");
    socket.connect_timeout(&server.address.into(), DEADLINE).expect("it listens");
    let mut slow = Client::of(bounded(socket.into()));
    slow.says("Slow");
    ann.hears("* Slow has joined");
    bob.hears("* Slow has joined");
    ann.says("Ann");
    bob.hears("* Ann has joined");

    let long = "blah ".repeat(200);
    let is_out = (0..100_000).any(|_| {
        ann.says(&long);
        let line = bob.line();
        let is_out = line == "* Slow has left: it does not read";
        assert!(is_out || line == format!("Ann: {}", long.trim_end()), "{line}");
        is_out
    });
    assert!(is_out, "nobody waits for so much");
    ann.hears("* Slow has left: it does not read");

    // What was handed over before comes, and then the end.
    let mut rest = Vec::new();
    slow.lines.read_to_end(&mut rest).expect("an orderly end in time");
    assert!(rest.starts_with(b"* Ann has joined\nAnn: blah"));
    assert_eq!(server.ends_well_at("TERM"), "");
}

pub(crate) fn a_client_that_never_ends_its_line_is_out(kind: BackendKind) {
    let Some(server) = Server::start("chat", kind, &[]) else { return };
    let (mut ann, mut endless) = (Client::enter(server.address), Client::enter(server.address));
    endless.says("Endless");
    ann.hears("* Endless has joined");
    endless.stream.write_all(&[b'a'; 2000]).expect("the server reads");
    ann.hears("* Endless has left: it says too much at once");
}
