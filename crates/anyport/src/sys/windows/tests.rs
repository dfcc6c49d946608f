//! The backend against real sockets and files: what it takes for its own, and what it leaves alone.

use super::super::{Message, Outcome, Region};
use super::*;
use crate::buf::PoolOptions;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::windows::io::AsRawSocket;
use windows_sys::Win32::Networking::WinSock::{WSABUF, WSARecv};
use windows_sys::Win32::System::IO::OVERLAPPED;

const LANES: usize = 2;
const TOKEN: Token = Token::new(7, 0);

fn backend() -> Windows {
    let pool = BufferPool::new(PoolOptions::default());
    let options =
        BackendOptions { seats: LANES, submission_entries: 0, completion_entries: 0, pool };
    Windows::new(options).expect("a port")
}

fn connection(backend: &Windows) -> (Descriptor, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
    let Ok(mut descriptor) = Descriptor::from_socket(near.into()) else { panic!("a socket") };
    backend.attach(&mut descriptor).expect("attaches");
    (descriptor, listener.accept().expect("accepts").0)
}

fn issue(backend: &Windows, lane: usize, descriptor: &Descriptor, request: Request) {
    // SAFETY: every test keeps memory and descriptor until it has taken the event.
    unsafe { backend.issue(lane, descriptor, request, TOKEN) };
}

/// Lane 0 until it has an event.
fn next(backend: &Windows) -> Event {
    loop {
        if let Some(event) = backend.next_event(0) {
            assert!(!event.more && event.token == TOKEN);
            return event;
        }
        backend.wait(0, None);
    }
}

fn assert_no_event(backend: &Windows) {
    backend.flush(0);
    assert!(backend.next_event(0).is_none());
}

#[test]
fn packets_of_others_are_not_followed() {
    let backend = backend();
    let (descriptor, mut peer) = connection(&backend);
    issue(&backend, 0, &descriptor, Request::Readable);
    let own = backend.slots.get(TOKEN.index()).overlapped();
    for (key, overlapped) in [
        // Without a pointer, with one to nothing, into the middle of a slot, with a foreign key.
        (OPERATION, null_mut()),
        (OPERATION, std::ptr::dangling_mut::<OVERLAPPED>()),
        (OPERATION, own.wrapping_byte_add(8)),
        (EARLY, null_mut()),
        (0, own),
        (usize::MAX, own),
        (EARLY, own),
    ] {
        backend.port.post(key, overlapped).expect("posted");
    }
    assert_no_event(&backend);
    peer.write_all(b"x").expect("sent");
    assert!(matches!(next(&backend).outcome, Outcome::Bytes(0)));
}

#[test]
fn a_packet_of_a_call_that_is_under_way_ends_it_only_when_the_system_has_let_go() {
    let backend = backend();
    let (descriptor, mut peer) = connection(&backend);
    let mut memory = [0u8; 4];
    let region = Region { ptr: memory.as_mut_ptr(), len: 4 };
    issue(&backend, 0, &descriptor, Request::Receive(region));
    let own = backend.slots.get(TOKEN.index()).overlapped();
    backend.port.post(OPERATION, own).expect("posted");
    // Not by that packet, but by the one of the cancel that it led to.
    assert!(matches!(next(&backend).outcome, Outcome::Interrupted));
    peer.write_all(b"late").expect("sent");
    issue(&backend, 0, &descriptor, Request::Receive(region));
    assert!(matches!(next(&backend).outcome, Outcome::Bytes(4)));
    assert_eq!(&memory, b"late");
}

#[test]
fn an_operation_of_somebody_else_on_the_socket_brings_no_event() {
    let backend = backend();
    let (descriptor, mut peer) = connection(&backend);
    let theirs = descriptor.duplicate().expect("a duplicate");
    let mut memory = [0u8; 4];
    let region = WSABUF { len: 4, buf: memory.as_mut_ptr() };
    let (mut overlapped, mut flags) = (OVERLAPPED::default(), 0);
    let socket = theirs.as_raw_socket() as SOCKET;
    // SAFETY: memory and structure stay until the receive is over, which is waited for below.
    unsafe { WSARecv(socket, &region, 1, null_mut(), &mut flags, &mut overlapped, None) };
    peer.write_all(b"mine").expect("sent");
    // The packet comes to the port that the socket has; nobody is told.
    // SAFETY: the structure is live; the system may write the word, so it is read as volatile.
    while unsafe { (&raw const overlapped.InternalHigh).read_volatile() } != 4 {
        assert_no_event(&backend);
        std::thread::yield_now();
    }
    assert_no_event(&backend);
    assert_eq!(&memory, b"mine");
}

#[test]
fn what_is_over_at_once_comes_by_the_lane_or_to_whoever_waits() {
    let backend = backend();
    let (descriptor, peer) = connection(&backend);
    let mut byte = *b"x";
    let region = Region { ptr: byte.as_mut_ptr(), len: 1 };
    issue(&backend, 0, &descriptor, Request::Send(region));
    assert!(matches!(next(&backend).outcome, Outcome::Bytes(1)));
    // From a thread without a lane, while nobody waits: the clerk has it.
    let clerk = backend.clerk_lane();
    issue(&backend, clerk, &descriptor, Request::Send(region));
    while backend.backlog(clerk) == 0 {
        backend.wait(clerk, None);
    }
    assert!(matches!(backend.next_event(clerk).expect("it").outcome, Outcome::Bytes(1)));
    // While a thread waits: the thread.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| next(&backend));
        while backend.waiting.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        issue(&backend, clerk, &descriptor, Request::Send(region));
        assert!(matches!(waiter.join().expect("joins").outcome, Outcome::Bytes(1)));
    });
    drop(peer);
}

#[test]
fn a_pooled_receive_holds_no_buffer_while_it_waits() {
    let backend = backend();
    let (descriptor, mut peer) = connection(&backend);
    issue(&backend, 0, &descriptor, Request::ReceivePooled(SizeClass::Small4K));
    assert_eq!(backend.pool.stats().taken, [0; SizeClass::COUNT]);
    peer.write_all(b"hello").expect("sent");
    assert!(matches!(next(&backend).outcome, Outcome::ReadyForPooled));
    let outcome = receive::receive_pooled_now(&descriptor, &backend.pool, SizeClass::Small4K);
    let Outcome::Pooled(buffer) = outcome else { panic!("{outcome:?}") };
    assert_eq!(&buffer[..], b"hello");
}

#[test]
fn a_cancelled_request_ends_once_and_its_slot_serves_again() {
    let backend = backend();
    let (descriptor, mut peer) = connection(&backend);
    for _ in 0..100 {
        issue(&backend, 0, &descriptor, Request::Readable);
        backend.cancel(0, &descriptor, RequestKind::Readable, Token::new(8, 0));
        backend.cancel(0, &descriptor, RequestKind::Readable, TOKEN);
        backend.cancel(0, &descriptor, RequestKind::Readable, TOKEN);
        assert!(matches!(next(&backend).outcome, Outcome::Interrupted));
        backend.cancel(0, &descriptor, RequestKind::Readable, TOKEN);
        assert_no_event(&backend);
    }
    issue(&backend, 0, &descriptor, Request::Readable);
    peer.write_all(b"x").expect("sent");
    assert!(matches!(next(&backend).outcome, Outcome::Bytes(0)));
}

#[test]
fn a_scatter_read_fills_one_region_after_the_other_up_to_the_end_of_the_file() {
    let path = std::env::temp_dir().join(format!("anyport-scatter-{}", std::process::id()));
    std::fs::write(&path, b"0123456789").expect("a file");
    let backend = backend();
    let file = descriptor::open_file(std::fs::OpenOptions::new().read(true), &path);
    let Ok(mut descriptor) = Descriptor::from_file(file.expect("opens")) else { panic!("a file") };
    backend.attach(&mut descriptor).expect("attaches");
    let (mut a, mut b, mut c) = ([0u8; 3], [0u8; 4], [0u8; 9]);
    let mut read = |offset| {
        let mut message = Message::new();
        let regions = [&mut a[..], &mut b[..], &mut c[..]]
            .map(|bytes| Region { ptr: bytes.as_mut_ptr(), len: bytes.len() });
        message.set(regions.into_iter(), 0, None, false);
        issue(&backend, 0, &descriptor, Request::ReadMessageAt(&raw mut *message, offset));
        match next(&backend).outcome {
            Outcome::Bytes(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(1), 9);
    // Nothing, and no error: what the end of a file means is decided above.
    assert_eq!(read(10), 0);
    assert_eq!((&a, &b, &c[..2]), (b"123", b"4567", &b"89"[..]));
    drop(descriptor);
    std::fs::remove_file(&path).expect("removed");
}
