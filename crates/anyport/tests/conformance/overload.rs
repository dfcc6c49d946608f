//! Statement 47: under overload memory is bounded, and what happens at each limit is in the type.

use crate::starts::assert_refused;
use crate::world::{
    Gate, Workers, assert_nothing_is_left, builder, bytes_of, connection, get, next, wait_until,
};
use anyport::buf::{PoolOptions, SizeClass};
use anyport::{BackendKind, CompletionPort, ErrorKind, GetError, Packet, PostErrorKind};
use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub fn s47_a_post_at_the_limit_gives_the_packet_back(kind: BackendKind) {
    for limit in [1, 10, 100] {
        let port = builder(kind).posted_max(limit).build().expect("a port");
        for round in 0..3 {
            for number in 0..limit {
                port.post(number, round, vec![number]).expect("room");
            }
            assert_eq!(port.stats().posted_waiting, limit);
            let full = port.post(77, 88, vec![99]).expect_err("at the limit");
            assert_eq!(full.kind, PostErrorKind::Full);
            assert_eq!((full.key, full.bytes, full.context), (77, 88, vec![99]));
            for number in 0..limit {
                assert_eq!(get(&port).context, [number]);
            }
        }
        assert_nothing_is_left(&port);
    }
}

pub fn s47_quiet_sends_to_peers_that_do_not_read_stop_at_the_limit_of_operations(
    kind: BackendKind,
) {
    const LIMIT: usize = 5;
    let port = builder(kind).operations_max(LIMIT).build().expect("a port");
    let connections: Vec<_> = (0..3 * LIMIT).map(|_| connection(&port, 1)).collect();
    // Fills every connection as far as it goes: from the limit on, what does not go is refused, and
    // is not begun. A system that finds more room for a connection meanwhile ends a send, and
    // another takes its place.
    wait_until("the limit on every connection", || {
        let mut refused = 0;
        for (handle, _) in &connections {
            match handle.send_quiet(vec![0; 1 << 20], 1) {
                Ok(_) => assert!(port.stats().operations_live <= LIMIT, "{:?}", port.stats()),
                Err(rejected) => {
                    assert_eq!((rejected.error.kind(), rejected.context), (ErrorKind::Limit, 1));
                    assert_eq!(rejected.buffers.total_len(), 1 << 20);
                    refused += 1;
                }
            }
        }
        refused == connections.len()
    });
    // Reset, so that what is under way ends; then no more than before may be started.
    let handles: Vec<_> = connections.into_iter().map(|(handle, _peer)| handle).collect();
    wait_until("the end of all", || {
        let _ = port.get(Some(Duration::ZERO));
        port.stats().operations_live == 0
    });
    drop(handles);
    let (handle, _peer) = connection(&port, 2);
    for number in 0..LIMIT {
        handle.receive(vec![0; 1], number).expect("started");
    }
    assert_refused(handle.receive(vec![0; 1], 9), ErrorKind::Limit, 9);
}

pub fn s47_a_start_at_the_limit_of_operations_gives_everything_back(kind: BackendKind) {
    const LIMIT: usize = 10;
    let port = builder(kind).operations_max(LIMIT).build().expect("a port");
    let (handle, mut peer) = connection(&port, 1);
    for number in 0..LIMIT {
        handle.receive(vec![0; 1], number).expect("started");
    }
    let back = assert_refused(handle.receive(vec![0; 33], 77), ErrorKind::Limit, 77);
    assert_eq!(back.total_capacity(), 33);
    let back = assert_refused(handle.send(b"data".to_vec(), 78), ErrorKind::Limit, 78);
    assert_eq!(back.total_len(), 4);
    // A packet that was taken makes room.
    peer.write_all(b"x").expect("sent");
    assert_eq!(get(&port).context, 0);
    handle.receive(vec![0; 1], LIMIT).expect("started");
    assert_refused(handle.receive(vec![0; 1], 79), ErrorKind::Limit, 79);
    peer.write_all(&[1; LIMIT]).expect("sent");
    for number in 1..=LIMIT {
        assert_eq!(get(&port).context, number);
    }
    assert_nothing_is_left(&port);
}

/// A port whose pool is at its bound with this many buffers.
fn port_with_few_buffers<T: Send + 'static>(kind: BackendKind, count: usize) -> CompletionPort<T> {
    builder(kind)
        .concurrency(1)
        .pool(PoolOptions::new().bytes_max(count * SizeClass::Small4K.bytes()))
        .receive_class(SizeClass::Small4K)
        .build()
        .expect("a port")
}

pub fn s47_receives_wait_while_the_pool_is_at_its_bound(kind: BackendKind) {
    const CONNECTIONS: usize = 12;
    let port = port_with_few_buffers(kind, 4);
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|key| connection(&port, key)).collect();
    for (key, (handle, peer)) in connections.iter_mut().enumerate() {
        handle.receive_pooled(key).expect("started");
        peer.write_all(&[key as u8; 100]).expect("sent");
    }
    let mut held = VecDeque::new();
    let mut keys = Vec::new();
    while keys.len() < CONNECTIONS {
        match port.get(Some(Duration::ZERO)) {
            Ok(packet) => {
                assert_eq!(packet.result, Ok(100), "a receive waits and does not fail");
                assert_eq!(bytes_of(&packet), [packet.key as u8; 100]);
                keys.push(packet.key);
                held.push_back(packet);
                assert!(held.len() <= 4, "more buffers than the bound allows");
                assert!(port.pool().live() <= 4);
            }
            Err(error) if held.is_empty() => {
                assert_eq!(error, GetError::TimedOut);
                // Nobody holds a buffer, so the next packet needs nothing but time.
                keys.push(get(&port).key);
            }
            // A buffer that comes back lets the next one in.
            Err(_) => drop(held.pop_front()),
        }
    }
    keys.sort_unstable();
    assert_eq!(keys, Vec::from_iter(0..CONNECTIONS));
    drop(held);
    assert_nothing_is_left(&port);
}

pub fn s47_a_buffer_given_back_wakes_a_sleeping_thread_for_a_receive_that_waits(kind: BackendKind) {
    let port: CompletionPort<()> = port_with_few_buffers(kind, 1);
    for _ in 0..10 {
        let taken = {
            let mut taken = None;
            wait_until("the only buffer", || {
                taken = port.pool().take(SizeClass::Small4K);
                taken.is_some()
            });
            taken
        };
        let (handle, mut peer) = connection(&port, 1);
        handle.receive_pooled(()).expect("started");
        peer.write_all(b"data").expect("sent");
        let waiting = port.clone();
        let (began, begun) = mpsc::channel();
        let waiter = thread::spawn(move || {
            began.send(crate::world::ThreadView::current()).expect("it is awaited");
            let packet = get(&waiting);
            (packet.result, bytes_of(&packet))
        });
        next(&begun).wait_until_asleep();
        drop(taken);
        assert_eq!(waiter.join().expect("it comes"), (Ok(4), b"data".to_vec()));
    }
}

pub fn s47_a_stream_whose_handler_is_slow_holds_few_buffers(kind: BackendKind) {
    const TOTAL: usize = 48 << 20;
    let port = builder(kind)
        .concurrency(2)
        .stream_backlog_max(4)
        .pool(PoolOptions::new().bytes_max(16 << 20))
        .receive_class(SizeClass::Medium16K)
        .build()
        .expect("a port");
    let (handle, mut peer) = connection(&port, 1);
    let gate = Gate::new();
    let received = Arc::new(AtomicUsize::new(0));
    let has_ended = Arc::new(AtomicBool::new(false));
    let workers = {
        let (gate, received) = (Arc::clone(&gate), Arc::clone(&received));
        let has_ended = Arc::clone(&has_ended);
        Workers::start(&port, 4, move |packet: Packet<()>| {
            if received.load(Ordering::SeqCst) == 0 {
                gate.block();
            }
            let count = packet.result.expect("nothing fails");
            received.fetch_add(count, Ordering::SeqCst);
            has_ended.fetch_or(!packet.more, Ordering::SeqCst);
        })
    };
    handle.receive_stream(()).expect("started");
    let sent = Arc::new(AtomicUsize::new(0));
    let sending = Arc::clone(&sent);
    let sender = thread::spawn(move || {
        let chunk = vec![1; 64 << 10];
        for _ in 0..TOTAL / chunk.len() {
            peer.write_all(&chunk).expect("sent");
            sending.fetch_add(chunk.len(), Ordering::SeqCst);
        }
    });
    gate.wait_for(1);
    // While the sender gets on, and until it has stood still for a while.
    let (mut before, mut still) = (0, 0);
    while still < 200 {
        let live = port.pool().live();
        // One in the handler's hands, the backlog, what was under way when it was full, and what
        // the engine has ready for all connections, of two size classes; far from the pool's 1,024.
        assert!(live <= 320, "{live} buffers for one connection");
        let now = sent.load(Ordering::SeqCst);
        assert!(now < TOTAL, "everything was taken from the peer");
        still = if now == before { still + 1 } else { 0 };
        before = now;
        thread::sleep(Duration::from_millis(1));
    }
    gate.open();
    sender.join().expect("sent");
    // The end too: the port, closed before it came, would abort the stream.
    wait_until("all bytes and the end", || has_ended.load(Ordering::SeqCst));
    assert_eq!(received.load(Ordering::SeqCst), TOTAL);
    workers.end();
}
