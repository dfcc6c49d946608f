//! The backend against real sockets on the loopback, in both ways of registering.

mod connection;
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
const TOKEN: Token = Token(7);

fn options(pool: BufferPool) -> BackendOptions {
    BackendOptions { lanes: LANES, submission_entries: 0, completion_entries: 0, pool }
}

fn with_pool(uses_edges: bool, pool: BufferPool) -> Readiness {
    Readiness::with_poller(Poller::new().expect("a poller"), uses_edges, options(pool))
}

fn backend(uses_edges: bool) -> Readiness {
    with_pool(uses_edges, BufferPool::new(PoolOptions::default()))
}

/// Runs the test with edges where the system has them, and without.
fn both_ways(test: impl Fn(Readiness)) {
    if Poller::new().expect("a poller").supports_edge() {
        test(backend(true));
    }
    test(backend(false));
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
        if let Some(event) = backend.next_event(0) {
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

/// Takes what the poller has now, without waiting.
fn look(backend: &Readiness) {
    backend.wait(0, Some(Duration::ZERO));
}
