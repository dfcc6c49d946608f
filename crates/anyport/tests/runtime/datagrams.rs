//! Datagrams of tasks: each whole, once, with its sender, whoever waits and gives up.

use super::world::{
    Numbers, PeerDatagrams as SystemSocket, any_local, bytes, give_up_after, is_of_no_system,
    runtime, wait_until,
};
use anyport::buf::{Buffer, PoolOptions, SizeClass};
use anyport::rt::net::{Datagram, UdpSocket};
use anyport::rt::{self, Runtime};
use anyport::{BackendKind, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

/// Of what a datagram may have over IPv4, both ends and what is between.
const SIZES: [usize; 7] = [1, 0, 1000, 4096, 9000, 65_507, 2];

/// A socket of the current runtime with its address, and one of the system that hears what is sent.
async fn sockets() -> (UdpSocket, SocketAddr, SystemSocket, SocketAddr) {
    let near = UdpSocket::bind(any_local()).await.expect("a socket");
    let far = SystemSocket::bind(any_local()).expect("a socket");
    far.set_read_timeout(Some(super::world::DEADLINE)).expect("it can be set");
    let (near_at, far_at) = (near.local_addr().expect("bound"), far.local_addr().expect("bound"));
    (near, near_at, far, far_at)
}

/// What `far` hears next, and from whom. The ring interrupts a call of a thread that has submitted to
/// it, and the standard library repeats those of streams only.
fn hear(far: &SystemSocket, out: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match far.recv_from(out) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            heard => return heard.expect("it arrives"),
        }
    }
}

/// Those of a task, connected to each other.
async fn connected() -> (UdpSocket, SystemSocket) {
    let (near, near_at, far, far_at) = sockets().await;
    near.connect(far_at).await.expect("connected");
    far.connect(near_at).expect("connected");
    (near, far)
}

pub(crate) fn datagrams_come_whole_with_their_sender(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, near_at, far, far_at) = sockets().await;
        for is_waiting in [false, true] {
            for size in SIZES {
                let mut receiving = Box::pin(near.recv_from());
                if is_waiting {
                    assert!(give_up_after(1, &mut receiving).await.is_none());
                }
                far.send_to(&bytes(size, size), near_at).expect("sent");
                let (received, sender) = receiving.await.expect("it arrives");
                assert_eq!((received.as_slice(), sender), (&bytes(size, size)[..], far_at));

                let mut reading = Box::pin(near.read_from(Vec::with_capacity(65_536)));
                if is_waiting {
                    assert!(give_up_after(1, &mut reading).await.is_none());
                }
                far.send_to(&bytes(size, size), near_at).expect("sent");
                let (result, read) = reading.await;
                assert_eq!(result, Ok((size, far_at)));
                assert_eq!(read.as_slice(), bytes(size, size));

                near.send_to(bytes(7, size), far_at).await.expect("sent");
                let mut heard = vec![0; 65_536];
                let (len, sender) = hear(&far, &mut heard);
                assert_eq!((&heard[..len], sender), (&bytes(7, size)[..], near_at));
            }
        }
    });
}

pub(crate) fn a_connected_socket_names_no_address(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, near_at, far, far_at) = sockets().await;
        let error = near.send("nobody").await.expect_err("it is not connected");
        // Wine tells it as `WSAEINVAL`.
        let is_wine = kind == BackendKind::Windows && error.kind() == ErrorKind::InvalidInput;
        assert!(error.kind() == ErrorKind::NotConnected || is_wine, "{error}");
        assert_eq!(near.peer_addr().expect_err("not connected").kind(), ErrorKind::NotConnected);
        let address = ("localhost", far_at.port());
        near.connect(address).await.expect("localhost has an address");
        near.connect(far_at).await.expect("and is 127.0.0.1");
        assert_eq!(near.peer_addr(), Ok(far_at));
        let (result, buffers) = near.write([Buffer::from("ques"), Buffer::from("tion")]).await;
        assert_eq!((result, buffers.total_len()), (Ok(8), 8));
        let mut heard = [0; 100];
        assert_eq!(hear(&far, &mut heard), (8, near_at));
        assert_eq!(&heard[..8], b"question");
        // From another than whom it is connected to.
        let stranger = SystemSocket::bind(any_local()).expect("a socket");
        stranger.send_to(b"noise", near_at).expect("sent");
        far.send_to(b"answer", near_at).expect("sent");
        assert_eq!(near.recv().await.expect("it arrives").as_slice(), b"answer");
        far.send_to(b"more", near_at).expect("sent");
        let (result, buffer) = near.read(Vec::with_capacity(10)).await;
        assert_eq!((result, buffer.as_slice()), (Ok(4), &b"more"[..]));
    });
}

pub(crate) fn a_peek_leaves_the_datagram(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, near_at, far, far_at) = sockets().await;
        let near = Arc::new(near);
        let peeking = rt::spawn({
            let near = Arc::clone(&near);
            async move {
                let mut out = [0; 3];
                let peeked = near.peek_from(&mut out).await.expect("it arrives");
                (peeked, out)
            }
        });
        wait_until("it waits", || {
            rt::Handle::current().is_some_and(|h| h.metrics().operations == 1)
        });
        far.send_to(b"first", near_at).expect("sent");
        far.send_to(b"second", near_at).expect("sent");
        assert_eq!(peeking.await.expect("no panic"), ((3, far_at), *b"fir"));
        let mut out = [0; 9];
        assert_eq!(near.peek_from(&mut out).await, Ok((5, far_at)));
        assert_eq!(&out[..5], b"first");
        assert_eq!(near.recv_from().await.expect("it is there").0.as_slice(), b"first");
        assert_eq!(near.recv_from().await.expect("it is there").0.as_slice(), b"second");
    });
}

pub(crate) fn a_datagram_that_does_not_fit_is_told(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, near_at, far, far_at) = sockets().await;
        for is_waiting in [false, true] {
            let mut reading = Box::pin(near.read_from(Vec::with_capacity(5)));
            if is_waiting {
                assert!(give_up_after(1, &mut reading).await.is_none());
            }
            far.send_to(b"too long", near_at).expect("sent");
            far.send_to(b"short", near_at).expect("sent");
            let (result, buffer) = reading.await;
            let error = result.expect_err("it does not fit");
            assert_eq!((error.kind(), error.transferred()), (ErrorKind::Truncated, 5));
            assert_eq!(buffer.as_slice(), b"too l");
            let (result, buffer) = near.read_from(Vec::with_capacity(5)).await;
            assert_eq!((result, buffer.as_slice()), (Ok((5, far_at)), &b"short"[..]));
        }
        near.set_receive_class(SizeClass::Small4K);
        for is_waiting in [false, true] {
            let mut receiving = Box::pin(near.recv_from());
            if is_waiting {
                assert!(give_up_after(1, &mut receiving).await.is_none());
            }
            far.send_to(&bytes(0, 4097), near_at).expect("sent");
            far.send_to(&bytes(0, 4096), near_at).expect("sent");
            assert_eq!(receiving.await.expect_err("it does not fit").kind(), ErrorKind::Truncated);
            assert_eq!(near.recv_from().await.expect("it fits").0.as_slice(), bytes(0, 4096));
        }
        // The class is for what is waited for, and cuts it off, whoever receives.
        let mut reading = Box::pin(near.read_from(Vec::with_capacity(9000)));
        assert!(give_up_after(1, &mut reading).await.is_none());
        far.send_to(&bytes(0, 5000), near_at).expect("sent");
        let (result, buffer) = reading.await;
        let error = result.expect_err("it does not fit");
        assert_eq!((error.kind(), error.transferred()), (ErrorKind::Truncated, 4096));
        assert!(buffer.as_slice() == bytes(0, 4096), "what there is of it");
        let (result, _) = near.read_from(Buffer::from(b"fixed")).await;
        assert_eq!(result.expect_err("it is read-only").kind(), ErrorKind::InvalidInput);
        let error = near.send_to(vec![0; 70_000], far_at).await.expect_err("it is too large");
        assert_eq!(error.kind(), ErrorKind::Truncated);
    });
}

pub(crate) fn all_that_is_there_comes_at_once(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, near_at, far, far_at) = sockets().await;
        let mut datagrams = Vec::new();
        assert_eq!(near.recv_many(&mut datagrams, 0).await, Ok(0));
        for round in 0..3_usize {
            for i in 0..10 {
                far.send_to(&bytes(i, 10 + i), near_at).expect("sent");
            }
            // On the way to the one that was waited for when the round began, in later rounds.
            let mut counts = Vec::new();
            while datagrams.len() < 10 {
                counts.push(near.recv_many(&mut datagrams, 4).await.expect("they are there"));
            }
            assert_eq!(counts.iter().sum::<usize>(), 10, "round {round}");
            assert!(counts.iter().all(|count| (1..=4).contains(count)));
            if round == 0 {
                assert_eq!(counts, [4, 4, 2]);
            }
            for (i, Datagram { bytes: received, peer }) in datagrams.drain(..).enumerate() {
                assert_eq!((received.as_slice(), peer), (&bytes(i, 10 + i)[..], far_at));
            }
            assert!(give_up_after(2, near.recv_many(&mut datagrams, 4)).await.is_none());
        }
        // A failure behind others is the next one's.
        near.set_receive_class(SizeClass::Small4K);
        for size in [1, 5000, 2] {
            far.send_to(&bytes(0, size), near_at).expect("sent");
        }
        let mut came = 0;
        while came == 0 {
            came = near.recv_many(&mut datagrams, 4).await.expect("the first is there");
        }
        let error = near.recv_many(&mut datagrams, 4).await.expect_err("it did not fit");
        assert_eq!(error.kind(), ErrorKind::Truncated);
        assert_eq!(near.recv_many(&mut datagrams, 4).await, Ok(1));
        let sizes: Vec<usize> = datagrams.drain(..).map(|datagram| datagram.bytes.len()).collect();
        assert_eq!(sizes, [1, 2]);

        let of = |i: usize| Datagram { bytes: bytes(i, 20 + i).into(), peer: far_at };
        let mut datagrams: Vec<Datagram> = (0..10).map(of).collect();
        let mut sent = 0;
        while !datagrams.is_empty() {
            sent += near.send_many(&mut datagrams).await.expect("there is room");
            assert_eq!(sent + datagrams.len(), 10);
        }
        assert_eq!(near.send_many(&mut datagrams).await, Ok(0));
        let mut heard = [0; 100];
        for i in 0..10 {
            assert_eq!(hear(&far, &mut heard), (20 + i, near_at));
            assert_eq!(&heard[..20 + i], bytes(i, 20 + i));
        }
        let large = Datagram { bytes: vec![0; 70_000].into(), peer: far_at };
        let mut datagrams = vec![of(0), large, of(1)];
        assert_eq!(near.send_many(&mut datagrams).await, Ok(1));
        let error = near.send_many(&mut datagrams).await.expect_err("it is too large");
        assert_eq!((error.kind(), datagrams.len()), (ErrorKind::Truncated, 1));
        assert_eq!(near.send_many(&mut datagrams).await, Ok(1));
    });
}

pub(crate) fn a_dropped_receive_loses_no_datagram(kind: BackendKind) {
    let runtime = runtime(kind);
    let task = runtime.spawn(async {
        let (near, near_at, far, far_at) = sockets().await;
        let mut numbers = Numbers(21);
        let (mut sent, mut received) = (0, 0);
        while received < super::dropped::races() / 4 {
            // Less than the system's buffer holds.
            for _ in 0..=numbers.below(8) {
                far.send_to(&bytes(sent, 1 + sent % 1400), near_at).expect("sent");
                sent += 1;
            }
            while received < sent {
                let expected = bytes(received, 1 + received % 1400);
                let polls = numbers.below(3);
                let came = match numbers.below(3) {
                    0 => give_up_after(polls, near.recv_from()).await.map(|result| {
                        let (buffer, sender) = result.expect("it arrives");
                        (buffer.as_slice().to_vec(), sender)
                    }),
                    1 => {
                        let reading = near.read_from(Vec::with_capacity(1500));
                        give_up_after(polls, reading).await.map(|(result, buffer)| {
                            let (_, sender) = result.expect("it arrives");
                            (buffer.as_slice().to_vec(), sender)
                        })
                    }
                    _ => {
                        let mut many = Vec::new();
                        let result = give_up_after(polls, near.recv_many(&mut many, 1)).await;
                        result.map(|result| {
                            assert_eq!(result, Ok(1));
                            let Datagram { bytes, peer } = many.remove(0);
                            (bytes.as_slice().to_vec(), peer)
                        })
                    }
                };
                if let Some(came) = came {
                    assert_eq!(came, (expected, far_at));
                    received += 1;
                }
            }
        }
        let mut rest = Vec::new();
        assert!(give_up_after(3, near.recv_many(&mut rest, 9)).await.is_none(), "none twice");
    });
    runtime.block_on(task).expect("it does not panic");
}

pub(crate) fn a_dropped_send_sends_a_whole_datagram_or_none(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, far) = connected().await;
        let mut heard = vec![0; 65_536];
        let mut numbers = Numbers(22);
        for number in 0..500_usize {
            // One of many parts is an operation, as one that finds no room.
            let parts = [1, 2, 9][numbers.below(3)];
            let polls = numbers.below(3);
            let part = |i: usize| Buffer::from(bytes(number * 10 + i, 100));
            let buffers: Vec<Buffer> = (0..parts).map(part).collect();
            if let Some(result) = give_up_after(polls, near.send(buffers)).await {
                result.expect("there is room");
            }
            if polls > 0 {
                let (len, _) = hear(&far, &mut heard);
                let whole: Vec<u8> = (0..parts).flat_map(|i| bytes(number * 10 + i, 100)).collect();
                assert_eq!(heard[..len], whole);
            }
        }
        far.send(b"that was all").expect("sent");
        assert_eq!(near.recv().await.expect("it arrives").as_slice(), b"that was all");
    });
}

pub(crate) fn what_waits_to_be_sent_is_not_overtaken(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, far) = connected().await;
        let mut heard = [0; 100];
        for _ in 0..100 {
            let parts = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(Buffer::from);
            let _ = give_up_after(1, near.send(parts)).await;
            near.send("behind it").await.expect("there is room");
            for expected in ["abcdefghi", "behind it"] {
                let (len, _) = hear(&far, &mut heard);
                assert_eq!(&heard[..len], expected.as_bytes());
            }
        }
    });
}

pub(crate) fn several_tasks_share_a_socket(kind: BackendKind) {
    const TASKS: usize = 8;
    const ROUNDS: usize = 100;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, near_at, far, far_at) = sockets().await;
        let near = Arc::new(near);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (near, heard) = (Arc::clone(&near), Arc::clone(&heard));
                rt::spawn(async move {
                    let mut numbers = Numbers(task as u64);
                    loop {
                        // Some of them give up now and then.
                        let polls = if task % 2 == 0 { 1 + numbers.below(2) } else { usize::MAX };
                        let received = match polls {
                            usize::MAX => near.recv_from().await,
                            polls => match give_up_after(polls, near.recv_from()).await {
                                Some(received) => received,
                                None => {
                                    rt::yield_now().await;
                                    continue;
                                }
                            },
                        };
                        let (received, sender) = received.expect("it arrives");
                        if received.as_slice() == b"end" {
                            return;
                        }
                        heard.lock().expect("nobody panics").push(received.as_slice().to_vec());
                        near.send_to(received, sender).await.expect("there is room");
                    }
                })
            })
            .collect();
        let mut answer = [0; 100];
        for round in 0..ROUNDS {
            for i in 0..TASKS {
                far.send_to(&(round * TASKS + i).to_le_bytes(), near_at).expect("sent");
            }
            for _ in 0..TASKS {
                assert_eq!(hear(&far, &mut answer), (8, near_at));
            }
        }
        for task in tasks {
            // One end each: who has taken one takes no more.
            far.send_to(b"end", near_at).expect("sent");
            drop(task);
        }
        let _ = far_at;
        let mut heard = std::mem::take(&mut *heard.lock().expect("nobody panics"));
        heard.sort_by_key(|bytes| usize::from_le_bytes(bytes[..].try_into().expect("8 bytes")));
        let all: Vec<Vec<u8>> =
            (0..ROUNDS * TASKS).map(|number: usize| number.to_le_bytes().to_vec()).collect();
        assert_eq!(heard, all);
    });
}

pub(crate) fn each_who_waits_is_called(kind: BackendKind) {
    const TASKS: usize = 20;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, near_at, far, _) = sockets().await;
        let near = Arc::new(near);
        for _ in 0..20 {
            let wait = || {
                let near = Arc::clone(&near);
                rt::spawn(async move { near.recv_from().await.map(drop) })
            };
            // Those that are aborted may have been called already: then they call another.
            let aborted: Vec<_> = (0..TASKS).map(|_| wait()).collect();
            let tasks: Vec<_> = (0..TASKS).map(|_| wait()).collect();
            for task in aborted {
                far.send_to(b"for one of them", near_at).expect("sent");
                task.abort();
                if let Ok(received) = task.await {
                    // It was faster, and its datagram is to be made up for.
                    received.expect("it arrives");
                    far.send_to(b"for another", near_at).expect("sent");
                }
            }
            for task in tasks {
                task.await.expect("no panic").expect("it arrives");
            }
        }
    });
}

pub(crate) fn a_refusal_is_told_once(kind: BackendKind) {
    if is_of_no_system(kind) {
        return;
    }
    if kind == BackendKind::Windows {
        println!("not run: a socket of a port does not report it there (statement 27)");
        return;
    }
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, near_at, far, far_at) = sockets().await;
        near.connect(far_at).await.expect("connected");
        drop(far);
        for is_waiting in [true, false] {
            let mut receiving = Box::pin(near.recv());
            if is_waiting {
                assert!(give_up_after(1, &mut receiving).await.is_none());
            }
            near.send("is anybody there?").await.expect("sent");
            assert_eq!(receiving.await.expect_err("nobody").kind(), ErrorKind::Refused);
            assert!(give_up_after(3, near.recv()).await.is_none(), "it was told");
        }
        // To a send, when no receive is faster.
        near.send("is anybody there?").await.expect("sent");
        let told = loop {
            match near.send("and now?").await {
                Ok(()) => rt::yield_now().await,
                Err(error) => break error,
            }
        };
        assert_eq!(told.kind(), ErrorKind::Refused);
        let far = SystemSocket::bind(far_at).expect("nobody else takes it");
        far.set_read_timeout(Some(super::world::DEADLINE)).expect("it can be set");
        // What was sent before may still be reported.
        while near.send("I am").await.is_err() {}
        let mut heard = [0; 100];
        assert_eq!(hear(&far, &mut heard), (4, near_at));
        far.send_to(b"so am I", near_at).expect("sent");
        let answer = loop {
            if let Ok(answer) = near.recv().await {
                break answer;
            }
        };
        assert_eq!(answer.as_slice(), b"so am I");
    });
}

pub(crate) fn a_receive_waits_while_the_pool_is_at_its_bound(kind: BackendKind) {
    let pool = PoolOptions::new().bytes_max(4 * 65_536);
    let builder = Runtime::builder().backend(kind).workers(2).concurrency(1).pool(pool);
    let runtime = builder.build().expect("a runtime");
    runtime.block_on(async {
        let (near, near_at, far, _) = sockets().await;
        let mut held = Vec::new();
        let mut receiving = Box::pin(near.recv_from());
        loop {
            far.send_to(b"held", near_at).expect("sent");
            // It is there: what keeps it from coming is the pool.
            match give_up_after(50, &mut receiving).await {
                Some(received) => held.push(received.expect("it arrives").0),
                None if held.is_empty() => continue,
                None => break,
            }
            receiving = Box::pin(near.recv_from());
            assert!(held.len() <= 4, "the pool has a bound");
        }
        held.clear();
        assert_eq!(receiving.await.expect("there is room again").0.as_slice(), b"held");
    });
}

pub(crate) fn a_group_is_joined_and_left(kind: BackendKind) {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 83, 17, 4);
    let runtime = runtime(kind);
    runtime.block_on(async {
        let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED.to_string(), 0)).await.expect("bound");
        if let Err(error) = member.join_multicast_v4(GROUP, Ipv4Addr::LOCALHOST) {
            println!("not run: no multicast on this machine: {error}");
            return;
        }
        let again = member.join_multicast_v4(GROUP, Ipv4Addr::LOCALHOST);
        assert!(again.is_err(), "it is a member already");
        let sender = UdpSocket::bind(any_local()).await.expect("a socket");
        sender.set_multicast_interface_v4(Ipv4Addr::LOCALHOST).expect("it has that address");
        sender.set_multicast_ttl(0).expect("it can be set");
        sender.set_multicast_loop(true).expect("it can be set");
        sender.set_ttl(3).expect("it can be set");
        sender.set_broadcast(true).expect("it can be set");
        member.set_multicast_loop(true).expect("it can be set");
        let port = member.local_addr().expect("bound").port();
        if let Err(error) = sender.send_to("to all", SocketAddr::from((GROUP, port))).await {
            println!("not run: no way to a group on this machine: {error}");
            return;
        }
        let (heard, from) = member.recv_from().await.expect("it arrives");
        assert_eq!((heard.as_slice(), Ok(from)), (&b"to all"[..], sender.local_addr()));
        member.leave_multicast_v4(GROUP, Ipv4Addr::LOCALHOST).expect("it is a member");
        assert!(member.leave_multicast_v4(GROUP, Ipv4Addr::LOCALHOST).is_err());
    });
}

pub(crate) fn a_dropped_socket_gives_its_address_up(kind: BackendKind) {
    if is_of_no_system(kind) {
        return;
    }
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (near, near_at, _far, _) = sockets().await;
        assert!(give_up_after(1, near.recv_from()).await.is_none());
        let taken = UdpSocket::bind(near_at).await.expect_err("it is in use");
        assert_eq!(taken.kind(), ErrorKind::AddressInUse);
        drop(near);
        wait_until("the address is free", || SystemSocket::bind(near_at).is_ok());
        let second = UdpSocket::bind(&[near_at, any_local()][..]).await.expect("of several");
        assert_eq!(second.local_addr(), Ok(near_at));
        let third = UdpSocket::bind(&[near_at, any_local()][..]).await.expect("the other");
        assert_ne!(third.local_addr(), Ok(near_at));
        let listener = std::net::TcpListener::bind(any_local()).expect("a listener");
        let error = UdpSocket::from_socket(listener).expect_err("it is no datagram socket");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}
