//! Threads of the user's own that call `get`, and then do something else, end, or panic.

use crate::world::TcpStream;
use crate::world::{DEADLINE, builder, pair, wait_until};
use anyport::buf::PoolOptions;
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, GetError, OperationKind};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

fn connections(
    port: &CompletionPort<usize>,
    count: usize,
) -> (Vec<SocketHandle<usize>>, Vec<TcpStream>) {
    (0..count)
        .map(|key| {
            let (ours, theirs) = pair();
            (port.associate(ours, key).expect("a new socket"), theirs)
        })
        .unzip()
}

pub(crate) fn what_a_thread_that_stays_away_has_started_completes(kind: BackendKind) {
    // Few, which are taken over together, and many, of which those with something to receive are.
    for count in [8, 200] {
        let port: CompletionPort<usize> =
            builder(kind).concurrency(2).build().expect("the backend is there");
        let (handles, mut peers) = connections(&port, count);
        let is_started = Barrier::new(2);
        let (goes_on, may_go_on) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let (port, handles, is_started) = (&port, &handles, &is_started);
            scope.spawn(move || {
                port.post(usize::MAX, 0, 0).expect("there is room");
                port.get(Some(DEADLINE)).expect("its own packet");
                for (key, handle) in handles.iter().enumerate() {
                    handle.receive_stream(key).expect("it is connected");
                }
                // It comes back without a packet, and then is away.
                assert_eq!(port.get(Some(Duration::ZERO)).err(), Some(GetError::TimedOut));
                is_started.wait();
                may_go_on.recv_timeout(DEADLINE).expect("it is told");
                // Its return changes nothing.
                let _ = port.get(Some(Duration::ZERO));
            });
            is_started.wait();
            for round in 0..3 {
                for (key, peer) in peers.iter_mut().enumerate() {
                    peer.write_all(&[round]).expect("it is connected");
                    let packet = port.get(Some(DEADLINE)).expect("another thread takes it");
                    assert_eq!((packet.key, packet.result), (key, Ok(1)));
                    assert_eq!(packet.buffers.as_slice()[0].as_slice(), [round]);
                }
            }
            goes_on.send(()).expect("it waits");
        });
        drop(peers);
        for _ in 0..count {
            let packet = port.get(Some(DEADLINE)).expect("every stream ends");
            assert_eq!((packet.result, packet.more), (Ok(0), false));
        }
        assert_eq!(port.stats().operations_live, 0);
    }
}

pub(crate) fn threads_of_the_user_come_and_go_in_the_middle_of_traffic(kind: BackendKind) {
    const CONNECTIONS: usize = 24;
    const BYTES: usize = 60_000;
    let port: CompletionPort<usize> =
        builder(kind).concurrency(2).build().expect("the backend is there");
    let (handles, peers) = connections(&port, CONNECTIONS);
    let handles = Arc::new(handles);
    for (key, handle) in handles.iter().enumerate() {
        handle.receive_stream(key).expect("it is connected");
    }
    let ended = Arc::<AtomicUsize>::default();
    let is_over = Arc::<AtomicBool>::default();
    // Each takes some packets, echoes them, and then returns or panics, at once or after a while
    // without the port; another comes in its place.
    let thread_of_the_port = {
        let (port, handles, ended) = (port.clone(), Arc::clone(&handles), Arc::clone(&ended));
        move |number: usize| {
            for turn in 0..20 + number % 40 {
                let packet = match port.get(Some(Duration::from_millis(20))) {
                    Ok(packet) => packet,
                    Err(error) => {
                        assert_eq!(error, GetError::TimedOut);
                        continue;
                    }
                };
                if packet.kind == OperationKind::ReceiveStream {
                    match packet.result.expect("no connection fails") {
                        0 => {
                            ended.fetch_add(1, Ordering::SeqCst);
                        }
                        _ => {
                            let handle = &handles[packet.key];
                            handle.send(packet.buffers, packet.key).expect("it is connected");
                        }
                    }
                }
                if (turn + number).is_multiple_of(17) {
                    thread::yield_now();
                }
            }
            match number % 3 {
                0 => std::panic::resume_unwind(Box::new("on purpose")),
                // Away for a while, with requests under way.
                1 => thread::sleep(Duration::from_millis(7)),
                _ => {}
            }
        }
    };
    thread::scope(|scope| {
        for place in 0..3 {
            let (run, is_over) = (&thread_of_the_port, Arc::clone(&is_over));
            scope.spawn(move || {
                let mut number = place;
                while !is_over.load(Ordering::SeqCst) {
                    // Whether it panicked, as every third does, is no matter.
                    thread::scope(|inner| {
                        let _ = inner.spawn(|| run(number)).join();
                    });
                    number += 3;
                }
            });
        }
        let clients: Vec<_> = peers
            .into_iter()
            .enumerate()
            .map(|(client, mut peer)| {
                scope.spawn(move || {
                    let mut writer = peer.try_clone().expect("a descriptor is free");
                    let bytes: Vec<u8> =
                        (0..BYTES).map(|at| (at * 31 + at / 256 + client) as u8).collect();
                    let expected = bytes.clone();
                    let sender = thread::spawn(move || {
                        for piece in bytes.chunks(500) {
                            writer.write_all(piece).expect("the port goes on");
                        }
                    });
                    let mut received = vec![0; BYTES];
                    peer.read_exact(&mut received).expect("the echo comes");
                    assert!(received == expected, "wrong bytes for client {client}");
                    sender.join().expect("it has written");
                })
            })
            .collect();
        let results: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        wait_until("every stream has ended", || {
            ended.load(Ordering::SeqCst) == CONNECTIONS || results.iter().any(Result::is_err)
        });
        is_over.store(true, Ordering::SeqCst);
        results.into_iter().for_each(|result| result.expect("no byte is lost or wrong"));
    });
    wait_until("the sends are over", || {
        let _ = port.get(Some(Duration::ZERO));
        port.stats().operations_live == 0
    });
}

pub(crate) fn a_port_dropped_while_its_threads_are_away_gives_its_buffers_back_when_they_end(
    kind: BackendKind,
) {
    let options = PoolOptions::new().quarantine(true);
    let port: CompletionPort<usize> =
        builder(kind).concurrency(2).pool(options).build().expect("the backend is there");
    let pool = port.pool().clone();
    let (handles, mut peers) = connections(&port, 30);
    let (is_started, started) = mpsc::channel();
    let (goes_on, may_go_on) = mpsc::channel::<()>();
    let thread = {
        let port = port.clone();
        thread::spawn(move || {
            port.post(usize::MAX, 0, 0).expect("there is room");
            port.get(Some(DEADLINE)).expect("its own packet");
            for (key, handle) in handles.iter().enumerate() {
                handle.receive_stream(key).expect("it is connected");
            }
            assert_eq!(port.get(Some(Duration::ZERO)).err(), Some(GetError::TimedOut));
            drop((port, handles));
            is_started.send(()).expect("it is awaited");
            may_go_on.recv_timeout(DEADLINE).expect("it is told");
        })
    };
    started.recv_timeout(DEADLINE).expect("it starts");
    drop(port);
    for peer in &mut peers {
        // Nobody will receive it; it must not be written into memory that was given up.
        let _ = peer.write_all(&[1; 1_000]);
    }
    for peer in &mut peers {
        // An end or a reset: the connection is gone, while the thread is away.
        let mut rest = Vec::new();
        let _ = peer.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    goes_on.send(()).expect("it waits");
    thread.join().expect("it ends");
    wait_until("every pooled buffer came back", || pool.live() == 0);
    pool.check_quarantine().expect("nothing was written after it was given up");
}
