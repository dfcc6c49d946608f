//! Statements 5 and 6: the order of packets, and which threads may run.

use crate::peers::LARGE;
use crate::system::tells_no_sleep;
use crate::world::{
    DEADLINE, Gate, ThreadView, Workers, assert_nothing_is_left, builder, connection, get, get_all,
    next, port, read_exactly, wait_until,
};
use anyport::{BackendKind, CompletionPort, OperationKind};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

pub fn s05_posted_packets_of_a_thread_leave_in_order(kind: BackendKind) {
    const PACKETS: u32 = 5_000;
    let port = port(kind);
    let posters: Vec<_> = (0..4)
        .map(|poster| {
            let port = port.clone();
            thread::spawn(move || {
                (0..PACKETS).for_each(|n| port.post(poster, n, ()).expect("room"))
            })
        })
        .collect();
    let mut expected = [0; 4];
    for _ in 0..4 * PACKETS {
        let packet = get(&port);
        assert_eq!(packet.result, Ok(expected[packet.key]), "of thread {}", packet.key);
        expected[packet.key] += 1;
    }
    posters.into_iter().for_each(|poster| poster.join().expect("no panic"));
    assert_nothing_is_left(&port);
}

pub fn s05_packets_of_a_handle_leave_in_order(kind: BackendKind) {
    const OPERATIONS: usize = 300;
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 1);
    for number in 0..OPERATIONS {
        handle.receive(vec![0; 1], (OperationKind::Receive, number)).expect("started");
        handle.send(vec![number as u8], (OperationKind::Send, number)).expect("started");
    }
    let sent: Vec<u8> = (0..OPERATIONS).map(|n| n as u8).collect();
    peer.write_all(&sent).expect("sent");
    assert_eq!(read_exactly(&mut peer, OPERATIONS), sent);
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    for _ in 0..2 * OPERATIONS {
        let packet = get(&port);
        let (kind, number) = packet.context;
        assert_eq!((packet.kind, packet.result), (kind, Ok(1)));
        if kind == OperationKind::Send { &mut sent } else { &mut received }.push(number);
    }
    assert_eq!(received, Vec::from_iter(0..OPERATIONS));
    assert_eq!(sent, Vec::from_iter(0..OPERATIONS));
    assert_nothing_is_left(&port);
}

/// Longer than any thread of the engine stays awake with nothing to do. Where it is too short for once
/// less is proved, and nothing fails.
const QUIET: Duration = Duration::from_millis(100);

pub fn s05_a_port_that_was_left_alone_goes_on_though_nobody_waits(kind: BackendKind) {
    const OPERATIONS: u8 = 10;
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 1);
    for round in 0..2 {
        thread::sleep(QUIET);
        for number in 0..OPERATIONS {
            handle.send(vec![number], number).expect("started");
        }
        let sent: Vec<u8> = (0..OPERATIONS).collect();
        assert_eq!(read_exactly(&mut peer, sent.len()), sent, "round {round}");
    }
    for number in (0..OPERATIONS).chain(0..OPERATIONS) {
        assert_eq!(get(&port).context, number);
    }
    assert_nothing_is_left(&port);
}

pub fn s05_a_large_send_goes_on_though_nobody_waits(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 1);
    for round in 0..2_u8 {
        // The second time on a port that was left alone.
        let message = vec![round; LARGE];
        handle.send(message.clone(), "large").expect("started");
        assert!(read_exactly(&mut peer, LARGE) == message, "round {round}");
        thread::sleep(QUIET);
    }
    for _ in 0..2 {
        let packet = get(&port);
        assert_eq!((packet.context, packet.result), ("large", Ok(LARGE)));
    }
    assert_nothing_is_left(&port);
}

pub fn s05_a_large_send_goes_on_while_the_only_thread_is_stuck(kind: BackendKind) {
    send_beside_a_handler(kind, next);
}

pub fn s05_a_large_send_goes_on_while_the_only_thread_spins(kind: BackendKind) {
    send_beside_a_handler(kind, |is_read| {
        while is_read.try_recv() == Err(TryRecvError::Empty) {
            std::hint::spin_loop();
        }
    });
}

/// The port's only thread has two large sends under way, beside more receives than are searched for
/// what is urgent, and is in a handler until `wait` has seen that all of each was read.
fn send_beside_a_handler(kind: BackendKind, wait: impl Fn(&mpsc::Receiver<()>)) {
    const SENDS: usize = 2;
    const RECEIVES: usize = 80;
    const ROOM: usize = LARGE / 8;
    let port = port(kind);
    let (sending, mut readers): (Vec<_>, Vec<_>) =
        (0..SENDS).map(|key| connection(&port, key)).unzip();
    let (receiving, mut peers): (Vec<_>, Vec<_>) =
        (0..RECEIVES).map(|key| connection(&port, key)).unzip();
    port.post(0, 0, "post").expect("room");
    assert_eq!(get(&port).context, "post");
    for handle in &sending {
        handle.send(vec![7; LARGE], "send").expect("started");
    }
    for handle in &receiving {
        handle.receive(vec![0; 8], "receive").expect("started");
    }
    // The kernel has them all now.
    assert!(port.get(Some(Duration::ZERO)).is_err(), "the buffers are full, and nothing has come");

    // Both sorts of news for one look: what is handed out, and room for the first send.
    assert!(read_exactly(&mut readers[0], ROOM) == vec![7; ROOM]);
    peers[0].write_all(b"x").expect("sent");
    assert_eq!(get(&port).context, "receive");
    // From here on this thread is in the handler of that packet, until its next `get`.
    let (tell, is_read) = mpsc::channel();
    let reading = thread::spawn(move || {
        // One after the other: room for the second comes when the first was seen to long ago.
        for (number, reader) in readers.iter_mut().enumerate() {
            let rest = LARGE - if number == 0 { ROOM } else { 0 };
            assert!(read_exactly(reader, rest) == vec![7; rest], "of send {number}");
            tell.send(()).expect("somebody waits");
        }
        readers
    });
    (0..SENDS).for_each(|_| wait(&is_read));
    for packet in get_all(&port, SENDS) {
        assert_eq!((packet.context, packet.result), ("send", Ok(LARGE)));
    }
    reading.join().expect("all bytes");
    for peer in &mut peers[1..] {
        peer.write_all(b"x").expect("sent");
    }
    for packet in get_all(&port, RECEIVES - 1) {
        assert_eq!((packet.context, packet.result), ("receive", Ok(1)));
    }
    assert_nothing_is_left(&port);
}

pub fn s05_posted_packets_do_not_starve_completions(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 1);
    (0..100).for_each(|_| port.post(0, 0, "posted").expect("room"));
    handle.receive(vec![0; 8], "received").expect("started");
    peer.write_all(b"x").expect("sent");
    let start = Instant::now();
    while get(&port).context == "posted" {
        // There are always a hundred.
        port.post(0, 0, "posted").expect("room");
        assert!(start.elapsed() < DEADLINE, "posted packets starve a completion");
    }
}

pub fn s05_completions_do_not_starve_posted_packets(kind: BackendKind) {
    let port = port(kind);
    let connections: Vec<_> = (0..8).map(|key| connection(&port, key)).collect();
    for (handle, peer) in &connections {
        // What nobody takes completes every zero-byte receive.
        (&*peer).write_all(b"x").expect("sent");
        handle.receive_ready("ready").expect("started");
    }
    assert_eq!(get(&port).context, "ready");
    connections[0].0.receive_ready("ready").expect("started");
    port.post(0, 0, "posted").expect("room");
    let start = Instant::now();
    loop {
        let packet = get(&port);
        if packet.context == "posted" {
            break;
        }
        connections[packet.key].0.receive_ready("ready").expect("started");
        assert!(start.elapsed() < DEADLINE, "completions starve a posted packet");
    }
}

/// Posts one packet after the other: the threads of these numbers take them.
fn assert_released_in_order(
    port: &CompletionPort<()>,
    taken: &mpsc::Receiver<usize>,
    threads: &[usize],
) {
    for thread in threads {
        port.post(0, 0, ()).expect("room");
        assert_eq!(next(taken), *thread);
    }
}

pub fn s05_threads_asleep_are_released_last_in_first_out(kind: BackendKind) {
    let port: CompletionPort<()> = builder(kind).concurrency(3).build().expect("a port");
    let gate = Gate::new();
    let (taken, order) = mpsc::channel();
    let mut threads = Vec::new();
    for number in 0..3 {
        let (begins, begun) = mpsc::channel();
        let (its_port, gate, taken) = (port.clone(), Arc::clone(&gate), taken.clone());
        threads.push(thread::spawn(move || {
            begins.send(ThreadView::current()).expect("it is awaited");
            get(&its_port);
            taken.send(number).expect("it is awaited");
            gate.block();
        }));
        let view = next(&begun);
        wait_until("its place", || port.stats().threads == threads.len());
        view.wait_until_asleep();
    }
    assert_released_in_order(&port, &order, &[2, 1, 0]);
    gate.open();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

pub fn s05_threads_held_back_are_released_last_in_first_out(kind: BackendKind) {
    let port: CompletionPort<()> = builder(kind).concurrency(1).build().expect("a port");
    let gate = Gate::new();
    let (taken, order) = mpsc::channel();
    let mut threads = Vec::new();
    for number in 0..4 {
        let (its_port, gate, taken) = (port.clone(), Arc::clone(&gate), taken.clone());
        threads.push(thread::spawn(move || {
            get(&its_port);
            taken.send(number).expect("it is awaited");
            its_port.blocking(|| gate.block());
        }));
        if number == 0 {
            // The first holds the only place, asleep, so that the others are parked.
            wait_until("the first thread", || port.stats().threads_active == 1);
        } else {
            wait_until("a parked thread", || port.stats().threads_parked == number);
        }
    }
    assert_released_in_order(&port, &order, &[0, 3, 2, 1]);
    gate.open();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

pub fn s06_no_more_threads_run_than_the_value_allows(kind: BackendKind) {
    const PACKETS: usize = 2_000;
    let port = port(kind);
    let running = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let counts = Arc::clone(&running);
    let workers = Workers::start(&port, 6, move |_| {
        let [running, most, over] = &*counts;
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        (0..10_000).for_each(|_| std::hint::spin_loop());
        running.fetch_sub(1, Ordering::SeqCst);
        over.fetch_add(1, Ordering::SeqCst);
    });
    (0..PACKETS).for_each(|_| port.post(0, 0, ()).expect("room"));
    let [_, most, over] = &*running;
    wait_until("all packets", || over.load(Ordering::SeqCst) == PACKETS);
    // A handler that waited for a page of memory was asleep, gave its place away, and ran on.
    let (most, blocked) = (most.load(Ordering::SeqCst), port.stats().blocked as usize);
    assert!(most <= 2 + blocked, "{most} ran at once, and {blocked} were found asleep");
    workers.end();
}

pub fn s06_waiters_are_held_while_a_handler_runs(kind: BackendKind) {
    let port: CompletionPort<()> = builder(kind).concurrency(1).build().expect("a port");
    let gate = Gate::new();
    let (over, others) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (spun, seen) = mpsc::channel();
    let workers = {
        let (gate, over, others) = (Arc::clone(&gate), Arc::clone(&over), Arc::clone(&others));
        Workers::start(&port, 4, move |packet| {
            if packet.key == 0 {
                gate.spin();
                // Long enough for the engine to look at it many times.
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(300) {
                    std::hint::spin_loop();
                }
                spun.send(others.load(Ordering::SeqCst)).expect("it is awaited");
            } else {
                others.fetch_add(1, Ordering::SeqCst);
            }
            over.fetch_add(1, Ordering::SeqCst);
        })
    };
    port.post(0, 0, ()).expect("room");
    gate.wait_for(1);
    wait_until("three threads held back", || port.stats().threads_parked == 3);
    (0..10).for_each(|_| port.post(1, 0, ()).expect("room"));
    gate.open();
    assert_eq!(next(&seen), 0, "packets were taken beside the one that runs");
    wait_until("all packets", || over.load(Ordering::SeqCst) == 11);
    workers.end();
}

pub fn s06_a_thread_that_says_it_blocks_frees_its_place(kind: BackendKind) {
    blocked_threads_free_their_places(kind, true);
}

pub fn s06_a_thread_that_blocks_unannounced_frees_its_place(kind: BackendKind) {
    if tells_no_sleep() {
        return;
    }
    blocked_threads_free_their_places(kind, false);
}

/// Three handlers block; the fourth thread takes the packet that lets them go.
fn blocked_threads_free_their_places(kind: BackendKind, is_announced: bool) {
    let port: CompletionPort<()> = builder(kind).concurrency(1).build().expect("a port");
    let gate = Gate::new();
    let (over, is_over) = mpsc::channel();
    let (its_port, at_gate) = (port.clone(), Arc::clone(&gate));
    let workers = Workers::start(&port, 4, move |packet| {
        match packet.key {
            0 if is_announced => its_port.blocking(|| at_gate.block()),
            0 => at_gate.block(),
            _ => at_gate.open(),
        }
        over.send(packet.key).expect("it is awaited");
    });
    for blocked in 1..=3 {
        port.post(0, 0, ()).expect("room");
        gate.wait_for(blocked);
    }
    port.post(1, 0, ()).expect("room");
    let mut keys: Vec<usize> = (0..4).map(|_| next(&is_over)).collect();
    keys.sort_unstable();
    assert_eq!(keys, [0, 0, 0, 1]);
    workers.end();
}

pub fn s06_a_thread_that_resumes_is_held_at_its_next_wait(kind: BackendKind) {
    let port: CompletionPort<()> = builder(kind).concurrency(1).build().expect("a port");
    let (blocked, spinning) = (Gate::new(), Gate::new());
    let (resumed, is_resumed) = mpsc::channel();
    let first = {
        let (port, blocked) = (port.clone(), Arc::clone(&blocked));
        thread::spawn(move || {
            assert_eq!(get(&port).key, 0);
            port.blocking(|| blocked.block());
            resumed.send(ThreadView::current()).expect("it is awaited");
            get(&port).key
        })
    };
    port.post(0, 0, ()).expect("room");
    blocked.wait_for(1);
    let at_gate = Arc::clone(&spinning);
    let workers = Workers::start(&port, 1, move |_| at_gate.spin());
    port.post(1, 0, ()).expect("room");
    spinning.wait_for(1);
    port.post(2, 0, ()).expect("room");
    blocked.open();
    next(&is_resumed).wait_until_asleep();
    if !cfg!(target_os = "linux") {
        // Where the system does not tell, the port is asked.
        wait_until("a thread that is held", || port.stats().threads_parked == 1);
    }
    let stats = port.stats();
    assert_eq!((stats.posted_waiting, stats.threads_parked), (1, 1), "two run at once: {stats:?}");
    spinning.open();
    wait_until("the first thread's packet", || {
        // The other thread may be faster.
        port.post(2, 0, ()).expect("room");
        first.is_finished()
    });
    assert_eq!(first.join().expect("no panic"), 2);
    workers.end();
}

pub fn s06_a_thread_belongs_to_the_port_that_it_last_waited_on(kind: BackendKind) {
    let first: CompletionPort<()> = builder(kind).concurrency(1).build().expect("a port");
    let second: CompletionPort<()> = builder(kind).concurrency(1).build().expect("a port");
    let (taking, gate) = (Gate::new(), Gate::new());
    let thread = {
        let (first, second) = (first.clone(), second.clone());
        let (taking, gate) = (Arc::clone(&taking), Arc::clone(&gate));
        thread::spawn(move || {
            get(&first);
            taking.spin();
            get(&second);
            gate.spin();
        })
    };
    first.post(0, 0, ()).expect("room");
    taking.wait_for(1);
    assert_eq!((first.stats().threads, second.stats().threads), (1, 0));
    second.post(0, 0, ()).expect("room");
    taking.open();
    gate.wait_for(1);
    assert_eq!((first.stats().threads, second.stats().threads), (0, 1));
    // It runs, but not for the first port: that one's place is free.
    first.post(7, 0, ()).expect("room");
    assert_eq!(get(&first).key, 7);
    gate.open();
    thread.join().expect("no panic");
    wait_until("its end", || second.stats().threads == 0);
}
