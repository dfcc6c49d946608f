//! `serve echo`, by both models and on every backend.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use super::server::{Server, kinds, signal};
use super::{anyport, text};

/// Long enough for a loaded machine, short enough that a hang is seen.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn frame(command_type: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_le_bytes().to_vec();
    frame.extend(command_type.to_le_bytes());
    frame.extend(payload);
    frame
}

#[test]
fn a_server_prints_one_line_and_ends_cleanly_on_either_signal() {
    for kind in kinds() {
        for name in ["INT", "TERM"] {
            let server = Server::start(&kind, &[]);
            let mut stream = connect(&server);
            stream.write_all(b"x").expect("sent");
            stream.read_exact(&mut [0]).expect("echoed");
            signal(server.pid(), name);
            let ended = server.wait();
            assert_eq!(ended.status, Some(0), "{kind:?} {name}: {}", ended.stderr);
            assert_eq!(ended.more_stdout, "", "{kind:?}");
            assert!(ended.stderr.contains("1 connections accepted"), "{}", ended.stderr);
        }
    }
}

#[test]
fn the_second_line_says_what_was_chosen() {
    for kind in kinds() {
        let server = Server::start(&kind, &["--workers", "3", "--concurrency", "2"]);
        signal(server.pid(), "TERM");
        let stderr = server.wait().stderr;
        let line = stderr.lines().next().expect("a line");
        for word in &kind {
            let word = word.trim_start_matches("--");
            assert!(line.contains(word), "{line} lacks {word}");
        }
        if kind.contains(&"port".to_owned()) {
            assert!(line.contains("3 workers") && line.contains("concurrency 2"), "{line}");
        }
    }
}

#[test]
fn a_server_ends_when_its_standard_input_does() {
    for kind in kinds() {
        let server = Server::start(&kind, &["--end-with-stdin"]);
        assert_eq!(server.close_stdin_and_wait().status, Some(0), "{kind:?}");
    }
}

#[test]
fn what_was_sent_before_our_side_closed_comes_back_whole_and_then_the_end() {
    for kind in kinds() {
        let server = Server::start(&kind, &[]);
        let mut stream = connect(&server);
        let sent = bytes(3 << 20);
        let mut reader = stream.try_clone().expect("a duplicate");
        let reading = std::thread::spawn(move || {
            let mut back = Vec::new();
            reader.read_to_end(&mut back).map(|_| back)
        });
        stream.write_all(&sent).expect("sent");
        stream.shutdown(Shutdown::Write).expect("closed");
        let back = reading.join().expect("no panic").expect("a clean end");
        assert!(back == sent, "{kind:?}: {} of {} bytes", back.len(), sent.len());
    }
}

#[test]
fn a_peer_that_does_not_read_costs_a_bounded_amount_and_loses_nothing() {
    for kind in kinds() {
        let server = Server::start(&kind, &[]);
        let mut stream = connect(&server);
        stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        let chunk = bytes(64 * 1024 + 1);
        let mut sent = 0;
        // Both kernels' buffers hold some megabytes; the server itself must not hold more than
        // its mark.
        let limit = 128 << 20;
        while sent < limit {
            let at = sent % chunk.len();
            match stream.write(&chunk[at..]) {
                Ok(len) => sent += len,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => panic!("{kind:?}: {error}"),
            }
        }
        assert!(sent < limit, "{kind:?} took {sent} bytes from a peer that does not read");
        stream.shutdown(Shutdown::Write).expect("closed");
        let mut back = vec![0; chunk.len()];
        let mut received = 0;
        loop {
            let at = received % chunk.len();
            let room = chunk.len() - at;
            let len = stream.read(&mut back[..room]).expect("echoed");
            if len == 0 {
                break;
            }
            assert!(back[..len] == chunk[at..at + len], "{kind:?} at {received}");
            received += len;
        }
        assert_eq!(received, sent, "{kind:?}");
    }
}

#[test]
fn frames_come_back_whole_with_their_command_however_they_are_split() {
    for kind in kinds() {
        let server = Server::start(&kind, &["--framed"]);
        let mut stream = connect(&server);
        stream.set_nodelay(true).expect("set");
        let sent = [frame(7, b""), frame(u32::MAX, &bytes(100)), frame(1, &bytes(50_000))].concat();
        for piece_len in [1, 7, 9, 16_384, sent.len()] {
            let pieces: Vec<&[u8]> = match piece_len {
                // Byte by byte through the headers, then the rest.
                1 => sent[..130].chunks(1).chain([&sent[130..]]).collect(),
                7 | 9 => sent[..1000].chunks(piece_len).chain([&sent[1000..]]).collect(),
                _ => sent.chunks(piece_len).collect(),
            };
            for piece in pieces {
                stream.write_all(piece).expect("sent");
            }
            let mut back = vec![0; sent.len()];
            stream.read_exact(&mut back).expect("echoed");
            assert!(back == sent, "{kind:?} in pieces of {piece_len}");
        }
    }
}

#[test]
fn an_unfinished_frame_is_not_echoed() {
    for kind in kinds() {
        let server = Server::start(&kind, &["--framed"]);
        let mut stream = connect(&server);
        let whole = frame(1, b"whole");
        stream
            .write_all(&[whole.clone(), frame(2, b"cut off")[..10].to_vec()].concat())
            .expect("sent");
        stream.shutdown(Shutdown::Write).expect("closed");
        let mut back = Vec::new();
        stream.read_to_end(&mut back).expect("an end");
        assert_eq!(back, whole, "{kind:?}");
    }
}

#[test]
fn a_frame_over_the_limit_closes_its_connection_with_one_line_and_no_other() {
    for kind in kinds() {
        let server = Server::start(&kind, &["--framed", "--frame-max", "1k"]);
        let mut other = connect(&server);
        let mut stream = connect(&server);
        let good = frame(1, &bytes(1024));
        let bad = frame(2, &[0; 1025])[..8].to_vec();
        stream.write_all(&[good.clone(), bad].concat()).expect("sent");
        let mut back = Vec::new();
        stream.read_to_end(&mut back).expect("closed by the server");
        assert!(back == good, "{kind:?}: the frames before it come back");
        other.write_all(&good).expect("sent");
        other.read_exact(&mut back).expect("the other connection goes on");
        signal(server.pid(), "TERM");
        let stderr = server.wait().stderr;
        let lines: Vec<&str> = stderr.lines().filter(|line| line.contains("1025")).collect();
        assert_eq!(lines.len(), 1, "{kind:?}: {stderr}");
        assert!(lines[0].contains("over the limit of 1024"), "{}", lines[0]);
    }
}

#[test]
fn an_address_in_use_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("address").to_string();
    let output = anyport(&["serve", "echo", "--listen", &addr]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&addr), "{}", text(&output.stderr));
}
