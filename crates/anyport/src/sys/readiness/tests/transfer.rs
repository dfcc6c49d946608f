//! Receiving, sending, datagrams and files.

use super::*;
use crate::sys::FileRegion;

#[test]
fn a_receive_waits_for_data_and_the_end_of_the_stream_follows_it() {
    all_ways(|backend| {
        let (near, mut far) = pair();
        let near = attached(&backend, near);
        let mut memory = [0u8; 16];
        issue(&backend, &near, Request::Receive(region(&mut memory)), TOKEN);
        assert_no_event(&backend);
        far.write_all(b"hello").expect("writes");
        drop(far);
        let event = next(&backend);
        assert_eq!(event.token, TOKEN);
        assert_eq!(bytes(event), 5);
        assert_eq!(&memory[..5], b"hello");
        // The end came with the data: no further edge tells of it.
        issue(&backend, &near, Request::Receive(region(&mut memory)), TOKEN);
        assert_eq!(bytes(next(&backend)), 0);
        backend.detach(&near);
    });
}

#[test]
fn a_pooled_receive_has_the_bytes_and_an_empty_buffer_at_the_end() {
    all_ways(|backend| {
        let (near, mut far) = pair();
        let near = attached(&backend, near);
        for class in [SizeClass::Small4K, SizeClass::Large64K] {
            issue(&backend, &near, Request::ReceiveStream(class), TOKEN);
            far.write_all(b"hello").expect("writes");
            let Outcome::Pooled(buffer) = next(&backend).outcome else { panic!("pooled") };
            assert_eq!(&buffer[..], b"hello");
        }
        drop(far);
        issue(&backend, &near, Request::ReceivePooled(SizeClass::Small4K), TOKEN);
        let Outcome::Pooled(buffer) = next(&backend).outcome else { panic!("pooled") };
        assert!(buffer.is_empty());
        backend.detach(&near);
    });
}

#[test]
fn an_empty_pool_ends_a_receive_only_when_there_is_something_to_receive() {
    let class = SizeClass::Small4K;
    let pool = BufferPool::new(PoolOptions::default().bytes_max(class.bytes()));
    let backend = with_pool(pool.clone());
    let held = pool.take(class).expect("the only one");
    assert!(!backend.replenish(0, class));
    let (near, mut far) = pair();
    let near = attached(&backend, near);
    issue(&backend, &near, Request::ReceivePooled(class), TOKEN);
    assert_no_event(&backend);
    far.write_all(b"hello").expect("writes");
    assert!(matches!(next(&backend).outcome, Outcome::NoBuffers));
    drop(held);
    assert!(backend.replenish(0, class));
    issue(&backend, &near, Request::ReceivePooled(class), TOKEN);
    let Outcome::Pooled(buffer) = next(&backend).outcome else { panic!("pooled") };
    assert_eq!(&buffer[..], b"hello");
    backend.detach(&near);
}

#[test]
fn readable_takes_nothing() {
    all_ways(|backend| {
        let (near, mut far) = pair();
        let near = attached(&backend, near);
        issue(&backend, &near, Request::Readable, TOKEN);
        assert_no_event(&backend);
        far.write_all(b"x").expect("writes");
        assert_eq!(bytes(next(&backend)), 0);
        let mut memory = [0u8; 4];
        issue(&backend, &near, Request::Receive(region(&mut memory)), TOKEN);
        assert_eq!(bytes(next(&backend)), 1);
        backend.detach(&near);
    });
}

#[test]
fn a_reset_is_an_error_and_not_an_end() {
    all_ways(|backend| {
        let (near, far) = pair();
        let near = attached(&backend, near);
        issue(&backend, &near, Request::Readable, TOKEN);
        look(&backend);
        socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("sets");
        drop(far);
        assert!(matches!(next(&backend).outcome, Outcome::Failed(libc::ECONNRESET)));
        backend.detach(&near);
    });
}

#[test]
fn sends_and_writable_wait_for_room_while_a_receive_waits_too() {
    all_ways(|backend| {
        let (near, mut far) = pair();
        let near = attached(&backend, near);
        let (mut memory, mut incoming) = (vec![5u8; 1 << 16], [0u8; 1]);
        let receive = Token::new(8, 0);
        issue(&backend, &near, Request::Receive(region(&mut incoming)), receive);
        let mut sent = 0;
        let mut is_waiting = false;
        while !is_waiting {
            issue(&backend, &near, Request::Send(region(&mut memory)), TOKEN);
            look(&backend);
            match backend.next_event(0, |_, _| {}) {
                Some(event) => sent += bytes(event),
                None => is_waiting = true,
            }
        }
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            far.read_to_end(&mut all).expect("reads");
            all.len()
        });
        let event = next(&backend);
        assert_eq!(event.token, TOKEN);
        sent += bytes(event);
        issue(&backend, &near, Request::Writable, TOKEN);
        assert_eq!(bytes(next(&backend)), 0);
        near.shutdown(std::net::Shutdown::Write).expect("shuts down");
        assert_eq!(reader.join().expect("reads"), sent);
        backend.cancel(0, &near, receive);
        while let event = next(&backend)
            && event.token != receive
        {}
        backend.detach(&near);
    });
}

#[test]
fn a_datagram_comes_with_its_sender_and_says_when_it_did_not_fit() {
    all_ways(|backend| {
        let near = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let far = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let (here, there) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        let (near, far) = (attached(&backend, near), attached(&backend, far));
        let (mut out, mut a, mut b) = (*b"datagram", [0u8; 2], [0u8; 4]);
        let mut to = Message::new();
        to.set([region(&mut out)].into_iter(), 0, Some(here), false);
        let mut from = Message::new();
        from.set([region(&mut a), region(&mut b)].into_iter(), 0, None, true);
        issue(&backend, &near, Request::ReceiveMessage(&raw mut *from), TOKEN);
        look(&backend);
        issue(&backend, &far, Request::SendMessage(&raw mut *to), Token::new(8, 0));
        let (first, second) = (next(&backend), next(&backend));
        assert_eq!((first.token, second.token), (Token::new(8, 0), TOKEN));
        assert_eq!((bytes(first), bytes(second)), (8, 6));
        assert_eq!((&a, &b), (b"da", b"tagr"));
        assert_eq!(from.sender(), Some(there));
        assert!(from.is_truncated());
        backend.detach(&near);
        backend.detach(&far);
    });
}

#[test]
fn a_file_is_read_and_written_at_offsets_scattered_and_gathered() {
    let backend = backend();
    let path = std::env::temp_dir().join(format!("anyport-readiness-{}", std::process::id()));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("a new file");
    std::fs::remove_file(&path).expect("removes");
    let Ok(mut file) = Descriptor::from_file(file) else { panic!("a file") };
    backend.attach(&mut file).expect("attaches");
    let (mut ab, mut cd, mut memory) = (*b"ab", *b"cd", [0u8; 8]);
    let mut message = Message::new();
    message.set([region(&mut ab), region(&mut cd)].into_iter(), 0, None, false);
    issue(&backend, &file, Request::WriteMessageAt(&raw mut *message, 3), TOKEN);
    assert_eq!(bytes(next(&backend)), 4);
    issue(&backend, &file, Request::WriteAt(FileRegion::of(region(&mut cd)), 0), TOKEN);
    assert_eq!(bytes(next(&backend)), 2);
    issue(&backend, &file, Request::ReadAt(FileRegion::of(region(&mut memory)), 0), TOKEN);
    assert_eq!(bytes(next(&backend)), 7);
    assert_eq!(&memory, b"cd\0abcd\0");
    issue(&backend, &file, Request::ReadMessageAt(&raw mut *message, 4), TOKEN);
    assert_eq!(bytes(next(&backend)), 3);
    assert_eq!((&ab, &cd), (b"bc", b"dd"));
    issue(&backend, &file, Request::ReadAt(FileRegion::of(region(&mut memory)), 7), TOKEN);
    assert_eq!(bytes(next(&backend)), 0, "the end");
    issue(&backend, &file, Request::ReadAt(FileRegion::of(region(&mut memory)), u64::MAX), TOKEN);
    assert!(matches!(next(&backend).outcome, Outcome::Failed(libc::EINVAL)));
    backend.detach(&file);
}
