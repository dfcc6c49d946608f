//! Ends that come with, before or after the bytes: none is missed, in whatever order the edges, the
//! receives and the peer come.

use super::*;
use socket2::SockRef;
use std::net::Shutdown;

const CLASS: SizeClass = SizeClass::Small4K;

/// What a receive brought.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// How the bytes stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// The peer closes.
    Close,
    /// The peer ends its side and could still receive.
    HalfClose,
    /// The peer resets the connection.
    Reset,
    /// A duplicate of the receiving socket ends receiving.
    OwnShutdown,
}

const STOPS: [Stop; 4] = [Stop::Close, Stop::HalfClose, Stop::Reset, Stop::OwnShutdown];

/// A receiving socket that is attached, and its peer.
struct Line<'a> {
    backend: &'a Readiness,
    near: Descriptor,
    duplicate: TcpStream,
    far: Option<TcpStream>,
    is_attached: bool,
    is_pooled: bool,
    memory: [u8; 64],
}

impl<'a> Line<'a> {
    fn new(backend: &'a Readiness, is_pooled: bool) -> Self {
        let (near, far) = pair();
        let duplicate = near.try_clone().expect("duplicates");
        let near = attached(backend, near);
        let far = Some(far);
        Line { backend, near, duplicate, far, is_attached: true, is_pooled, memory: [0; 64] }
    }

    fn let_go(&mut self) {
        self.backend.detach(&self.near);
        self.is_attached = false;
    }

    fn start(&mut self) {
        let request = match self.is_pooled {
            true => Request::ReceiveStream(CLASS),
            false => Request::Receive(region(&mut self.memory)),
        };
        issue(self.backend, &self.near, request, TOKEN);
    }

    fn finish(&mut self) -> Got {
        let bytes = match next(self.backend).outcome {
            Outcome::Pooled(buffer) => buffer.to_vec(),
            Outcome::Bytes(bytes) => self.memory[..bytes].to_vec(),
            Outcome::Failed(libc::ECONNRESET) => return Got::Reset,
            other => panic!("{other:?}"),
        };
        if bytes.is_empty() { Got::End } else { Got::Bytes(bytes) }
    }

    fn receive(&mut self) -> Got {
        self.start();
        self.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.far.as_mut().expect("open").write_all(bytes).expect("writes");
    }

    fn stop(&mut self, stop: Stop) {
        let far = self.far.take().expect("open");
        match stop {
            Stop::Close => drop(far),
            Stop::HalfClose => {
                far.shutdown(Shutdown::Write).expect("shuts down");
                self.far = Some(far);
            }
            Stop::Reset => {
                SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("sets");
                drop(far);
            }
            Stop::OwnShutdown => {
                self.duplicate.shutdown(Shutdown::Read).expect("shuts down");
                self.far = Some(far);
            }
        }
    }

    fn assert_stopped(&mut self, stop: Stop) {
        let expected = if stop == Stop::Reset { Got::Reset } else { Got::End };
        assert_eq!(self.receive(), expected, "{stop:?}");
        assert_eq!(self.receive(), Got::End, "{stop:?}");
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.is_attached && !std::thread::panicking() {
            self.let_go();
        }
    }
}

/// Every way of registering, of receiving, and of stopping.
fn all(test: impl Fn(Line<'_>, Stop)) {
    all_ways(|backend| {
        for stop in STOPS {
            for is_pooled in [false, true] {
                test(Line::new(&backend, is_pooled), stop);
            }
        }
    });
}

fn bytes_of(text: &str) -> Got {
    Got::Bytes(text.as_bytes().to_vec())
}

#[test]
fn an_end_that_comes_with_the_bytes_is_found_after_them() {
    all(|mut line, stop| {
        line.start();
        assert_no_event(line.backend);
        line.write(b"hello");
        line.stop(stop);
        assert_eq!(line.finish(), bytes_of("hello"));
        line.assert_stopped(stop);
    });
}

#[test]
fn an_end_before_the_first_receive_is_found_after_the_bytes() {
    for is_seen_before in [false, true] {
        all(|mut line, stop| {
            line.write(b"hello");
            line.stop(stop);
            if is_seen_before {
                assert_no_event(line.backend);
            }
            assert_eq!(line.receive(), bytes_of("hello"));
            line.assert_stopped(stop);
        });
    }
}

#[test]
fn an_end_between_the_edge_and_the_receive_is_found_after_the_bytes() {
    all(|mut line, stop| {
        line.start();
        assert_no_event(line.backend);
        line.write(b"hello");
        // The edge is known and waits in the queue.
        line.backend.wait(0, None);
        line.stop(stop);
        assert_eq!(line.finish(), bytes_of("hello"));
        line.assert_stopped(stop);
    });
}

#[test]
fn an_end_after_the_socket_was_emptied_is_found() {
    all(|mut line, stop| {
        line.start();
        line.write(b"hello");
        assert_eq!(line.finish(), bytes_of("hello"));
        line.stop(stop);
        line.assert_stopped(stop);
    });
}

#[test]
fn an_end_while_a_receive_waits_is_found() {
    all(|mut line, stop| {
        line.write(b"hello");
        assert_eq!(line.receive(), bytes_of("hello"));
        line.start();
        assert_no_event(line.backend);
        line.stop(stop);
        assert_eq!(line.finish(), if stop == Stop::Reset { Got::Reset } else { Got::End });
    });
}

#[test]
fn bytes_after_the_socket_was_emptied_are_found() {
    all(|mut line, stop| {
        for is_seen_before in [false, true, false] {
            line.write(b"one");
            assert_eq!(line.receive(), bytes_of("one"));
            line.write(b"two");
            if is_seen_before {
                assert_no_event(line.backend);
            }
            assert_eq!(line.receive(), bytes_of("two"));
        }
        line.stop(stop);
        line.assert_stopped(stop);
    });
}

#[test]
fn bytes_behind_urgent_ones_are_found() {
    all_ways(|backend| {
        for is_pooled in [false, true] {
            let mut line = Line::new(&backend, is_pooled);
            line.start();
            assert_no_event(&backend);
            line.write(b"one");
            SockRef::from(line.far.as_ref().expect("open")).send_out_of_band(b"!").expect("sends");
            line.write(b"two");
            let mut all = Vec::new();
            let mut got = line.finish();
            while let Got::Bytes(bytes) = &got {
                all.extend_from_slice(bytes);
                if all == b"onetwo" {
                    break;
                }
                got = line.receive();
            }
            assert_eq!(all, b"onetwo");
        }
    });
}

#[test]
fn whatever_a_racing_peer_does_every_byte_and_the_end_arrive() {
    const ROUNDS: usize = 300;
    all_ways(|backend| {
        for round in 0..ROUNDS {
            let stop = [Stop::Close, Stop::HalfClose][round % 2];
            let mut line = Line::new(&backend, round % 3 == 0);
            let far = line.far.take().expect("open");
            let peer = std::thread::spawn(move || {
                let mut far = far;
                for piece in 0..1 + round % 5 {
                    far.write_all(&[piece as u8; 7]).expect("writes");
                }
                if stop == Stop::HalfClose {
                    far.shutdown(Shutdown::Write).expect("shuts down");
                    return Some(far);
                }
                None
            });
            let mut all = Vec::new();
            loop {
                match line.receive() {
                    Got::Bytes(bytes) => all.extend_from_slice(&bytes),
                    Got::End => break,
                    Got::Reset => panic!("reset"),
                }
            }
            let expected: Vec<u8> = (0..1 + round % 5).flat_map(|p| [p as u8; 7]).collect();
            assert_eq!(all, expected);
            drop(peer.join().expect("writes"));
        }
    });
}

#[cfg(target_os = "linux")]
fn tells_remainder(socket: &impl std::os::fd::AsRawFd) -> bool {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: pointer and length describe `value`, which outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INQ,
            (&raw mut value).cast(),
            &mut length,
        )
    };
    assert_eq!(result, 0);
    value != 0
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_is_let_go_is_as_it_came() {
    let backend = backend();
    let mut line = Line::new(&backend, true);
    line.write(b"hello");
    assert_eq!(line.receive(), bytes_of("hello"));
    assert!(tells_remainder(&line.duplicate));
    line.let_go();
    assert!(!tells_remainder(&line.duplicate));
}

#[cfg(target_os = "linux")]
#[test]
fn a_connection_that_was_accepted_has_not_been_asked() {
    let backend = backend();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let address = listener.local_addr().expect("bound");
    let listener = attached(&backend, listener);
    issue(&backend, &listener, Request::Accept, TOKEN);
    let _far = TcpStream::connect(address).expect("connects");
    let Outcome::Accepted(socket) = next(&backend).outcome else { panic!("accepted") };
    assert!(!tells_remainder(&socket.into_system()));
    backend.detach(&listener);
}
