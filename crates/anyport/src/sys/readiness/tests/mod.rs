//! The backend against real sockets on the loopback, in all ways of registering.

mod connection;
mod ends;
mod lanes;
mod transfer;

use super::super::{Message, Region};
use super::*;
use crate::buf::PoolOptions;
#[cfg(target_os = "linux")]
use socket2::SockAddr;
use socket2::{Domain, Socket as RawSocket, Type};
use std::io::{Read, Write};
#[cfg(target_os = "linux")]
use std::net::SocketAddr;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

const LANES: usize = 2;
const TOKEN: Token = Token::new(7, 0);

fn options(pool: BufferPool) -> BackendOptions {
    BackendOptions { seats: LANES, submission_entries: 0, completion_entries: 0, pool }
}

fn with_pool(pool: BufferPool) -> Readiness {
    Readiness::new(options(pool)).expect("a backend")
}

fn backend() -> Readiness {
    with_pool(BufferPool::new(PoolOptions::default()))
}

/// Runs the test with every way of registering that works here.
fn all_ways(test: impl Fn(Readiness)) {
    test(backend());
    for uses_edges in [true, false] {
        let poller = polling::Poller::new().expect("a poller");
        if !uses_edges || poller.supports_edge() {
            let selector = Selector::Polling { poller, uses_edges };
            let pool = BufferPool::new(PoolOptions::default());
            test(Readiness::with_selector(selector, options(pool)));
        }
    }
}

fn attached(backend: &Readiness, socket: impl Into<RawSocket>) -> Descriptor {
    let Ok(mut descriptor) = Descriptor::from_socket(socket.into()) else { panic!("a socket") };
    backend.attach(&mut descriptor).expect("attaches");
    descriptor
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    (near, listener.accept().expect("accepts").0)
}

fn region(bytes: &mut [u8]) -> Region {
    Region { ptr: bytes.as_mut_ptr(), len: bytes.len() }
}

fn issue(backend: &Readiness, descriptor: &Descriptor, request: Request, token: Token) {
    // SAFETY: every test keeps memory and descriptor until it has taken the event.
    unsafe { backend.issue(0, descriptor, request, token) };
}

/// As from a thread that serves no lane: the sleeping ones must be told.
fn issue_from_outside(
    backend: &Readiness,
    descriptor: &Descriptor,
    request: Request,
    token: Token,
) {
    // SAFETY: every test keeps memory and descriptor until it has taken the event.
    unsafe { backend.issue(backend.clerk_lane(), descriptor, request, token) };
}

/// Lane 0 until it has an event.
fn next(backend: &Readiness) -> Event {
    loop {
        if let Some(event) = backend.next_event(0, |_, _| {}) {
            assert!(!event.more);
            return event;
        }
        backend.wait(0, None);
    }
}

fn bytes(event: Event) -> usize {
    match event.outcome {
        Outcome::Bytes(bytes) => bytes,
        other => panic!("not bytes: {other:?}"),
    }
}

/// Asks the poller without waiting: no request has become an event.
fn assert_no_event(backend: &Readiness) {
    look(backend);
    let event = backend.next_event(0, |_, _| {});
    assert!(event.is_none(), "{event:?}");
}

/// Takes what the poller has now, without waiting.
fn look(backend: &Readiness) {
    backend.wait(0, Some(Duration::ZERO));
}
