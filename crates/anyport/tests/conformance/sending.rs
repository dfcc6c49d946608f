//! Sending on streams: whole or an error, in the order of the starts, and not lost by a close.

use crate::peers::{
    LARGE, assert_nothing_comes, assert_pattern, pattern, pattern_from, read_pattern_slowly, reset,
    wait_for_full, wait_for_hang_up,
};
use crate::starts::{RECEIVES, error_of, room};
use crate::system::tells_what_had_gone;
use crate::world::{
    assert_nothing_is_left, assert_sent_in_order, builder, connection, connection_with_duplicate,
    get, get_all, port, read_exactly,
};
use anyport::buf::{BUFFERS_MAX, Buffer, SizeClass};
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, ErrorKind, OperationKind};
use bytes::Bytes;
use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

pub fn s23_a_send_larger_than_all_buffers_completes_whole(kind: BackendKind) {
    let port = port(kind);
    let (handle, duplicate, mut peer) = connection_with_duplicate(&port, 23);
    let message = pattern(23, LARGE);
    let place = message.as_ptr();
    let operation = handle.send(message, 1).expect("started");
    assert_nothing_comes("it cannot all have gone", &port);
    wait_for_full(&port, &duplicate);
    let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 23));
    let packet = get(&port);
    assert_eq!((packet.operation, packet.kind), (Some(operation), OperationKind::Send));
    assert_eq!((packet.key, packet.result, packet.more), (23, Ok(LARGE), false));
    let buffer = packet.buffers.into_one().expect("one buffer");
    assert_eq!((buffer.as_slice().as_ptr(), buffer.len()), (place, LARGE));
    assert_nothing_is_left(&port);
    drop((handle, duplicate));
    assert_eq!(reader.join().expect("the bytes"), LARGE);
}

pub fn s23_quiet_sends_leave_in_order_and_give_up_what_they_held(kind: BackendKind) {
    let port = builder(kind).build::<Arc<()>>().expect("a port");
    let pool = port.pool().clone();
    let (handle, mut peer) = connection(&port, 14);
    let context = Arc::new(());
    let count = 500;
    for i in 0..count {
        let mut buffer = pool.take(SizeClass::Large64K).expect("within the bound");
        buffer.extend_from_slice(&pattern_from(14, i * 1000, 1000));
        handle.send_quiet(buffer, Arc::clone(&context)).expect("started");
        // A packet of its own says that all before it have gone.
        if i % 100 == 99 {
            handle.send(Vec::<u8>::new(), Arc::clone(&context)).expect("started");
        }
    }
    let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 14));
    for _ in 0..count / 100 {
        let packet = get(&port);
        assert_eq!((packet.kind, packet.result), (OperationKind::Send, Ok(0)));
    }
    assert_nothing_is_left(&port);
    assert_eq!((Arc::strong_count(&context), pool.live()), (1, 0));
    drop(handle);
    assert_eq!(reader.join().expect("the bytes"), count * 1000);
}

pub fn s23_what_a_quiet_send_has_held_may_use_the_port_as_it_is_dropped(kind: BackendKind) {
    struct Owner {
        bytes: Vec<u8>,
        handle: SocketHandle<u32>,
    }
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.handle.send(b"second".to_vec(), 2).expect("it is connected");
        }
    }
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 14);
    let owner = Owner { bytes: b"first, ".to_vec(), handle: handle.clone() };
    handle.send_quiet(Bytes::from_owner(owner), 1).expect("started");
    let packet = get(&port);
    assert_eq!((packet.context, packet.result), (2, Ok(6)));
    assert_eq!(read_exactly(&mut peer, 13), b"first, second");
    assert_nothing_is_left(&port);
}

pub fn s11_a_quiet_send_yields_a_packet_only_when_it_fails(kind: BackendKind) {
    let port = port(kind);
    let (handle, duplicate, peer) = connection_with_duplicate(&port, 14);
    handle.send_quiet(pattern(14, LARGE), 1).expect("started");
    handle.send_quiet(pattern(14, 10), 2).expect("started");
    wait_for_full(&port, &duplicate);
    handle.cancel_all().expect("two are under way");
    let mut packets = get_all(&port, 2);
    packets.sort_by_key(|packet| packet.context);
    for (packet, (context, length)) in packets.into_iter().zip([(1, LARGE), (2, 10)]) {
        assert_eq!(error_of("a cancelled send", &packet).kind(), ErrorKind::Cancelled);
        assert_eq!((packet.context, packet.kind), (context, OperationKind::Send));
        assert_eq!(packet.buffers.into_one().expect("one buffer").len(), length);
    }
    assert_nothing_is_left(&port);
    drop(peer);
}

pub fn s23_gather_buffers_leave_in_order(kind: BackendKind) {
    let port = port(kind);
    // Small ones that leave in one piece; as many as there may be, of which the system takes any
    // part; and few large ones.
    let shapes: [Vec<usize>; 3] = [
        vec![5, 0, 1, 0, 0, 700],
        (0..BUFFERS_MAX).map(|i| (i * 7919) % 20_011).collect(),
        vec![LARGE / 2, 1, 0, LARGE / 2],
    ];
    for lengths in shapes {
        let (handle, mut peer) = connection(&port, 23);
        let mut place = 0;
        let buffers: Vec<Buffer> = lengths
            .iter()
            .map(|length| {
                place += length;
                Buffer::from(pattern_from(32, place - length, *length))
            })
            .collect();
        let places: Vec<_> = buffers.iter().map(|b| b.as_slice().as_ptr()).collect();
        handle.send(buffers, 1).expect("started");
        let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 32));
        let packet = get(&port);
        assert_eq!(packet.result, Ok(place));
        let back: Vec<_> = packet.buffers.iter().map(|b| b.as_slice().as_ptr()).collect();
        assert_eq!(back, places, "the same buffers in the same order");
        drop(handle);
        assert_eq!(reader.join().expect("the bytes"), place);
    }
    assert_nothing_is_left(&port);
}

pub fn s23_several_pending_sends_leave_in_the_order_of_their_start(kind: BackendKind) {
    const COUNT: usize = 60;
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 23);
    let mut place = 0;
    let mut lengths = Vec::new();
    for context in 0..COUNT {
        // Of every size between a byte and a megabyte, every third in several buffers.
        let length = 1 + (context * 349_525) % 1_000_003;
        let bytes = pattern_from(3, place, length);
        if context % 3 == 0 {
            let parts: Vec<Buffer> =
                bytes.chunks(50_021).map(|part| Buffer::from(part.to_vec())).collect();
            handle.send(parts, context).expect("started");
        } else {
            handle.send(bytes, context).expect("started");
        }
        place += length;
        lengths.push(length);
    }
    let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 3));
    assert_sent_in_order(&port, &lengths);
    assert_nothing_is_left(&port);
    drop(handle);
    assert_eq!(reader.join().expect("the bytes"), place);
}

pub fn s23_sends_of_several_threads_are_each_in_one_piece(kind: BackendKind) {
    let length_of = |thread, send| (send * 48_611 + thread * 7) % 300_007;
    send_from_several_threads(kind, 40, length_of, |_| false);
}

pub fn s23_quiet_sends_of_several_threads_are_each_in_one_piece(kind: BackendKind) {
    // Small ones, for which a thread may find room at once while another is at the same, and one
    // that has to wait for room, so that others queue up behind it.
    const SENDS: usize = 5_000;
    let length_of = |thread, send| match send {
        2_500 => 3_000_000 + thread,
        _ => send % 61,
    };
    send_from_several_threads(kind, SENDS, length_of, |send| send + 1 != SENDS);
}

/// Each of four threads sends this many messages, each of these lengths, on one handle; all must
/// arrive in one piece and in the order of their thread, and those that are not quiet yield a packet.
fn send_from_several_threads(
    kind: BackendKind,
    sends: usize,
    length_of: fn(usize, usize) -> usize,
    is_quiet: fn(usize) -> bool,
) {
    const THREADS: usize = 4;
    let port: CompletionPort<usize> = port(kind);
    let (handle, mut peer) = connection(&port, 23);
    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let handle = handle.clone();
            thread::spawn(move || {
                for send in 0..sends {
                    let head = vec![thread as u8, send as u8];
                    let body = pattern(head[0] ^ head[1], length_of(thread, send));
                    let parts = [Buffer::from(head), Buffer::from(body)];
                    let context = thread * sends + send;
                    match is_quiet(send) {
                        true => handle.send_quiet(parts, context).expect("started"),
                        false => handle.send(parts, context).expect("started"),
                    };
                }
            })
        })
        .collect();
    let reader = thread::spawn(move || {
        let mut received = [0; THREADS];
        for _ in 0..THREADS * sends {
            let head = read_exactly(&mut peer, 2);
            let thread = usize::from(head[0]);
            assert_eq!(head[1], received[thread] as u8, "the order of thread {thread}");
            let body = read_exactly(&mut peer, length_of(thread, received[thread]));
            assert_pattern(head[0] ^ head[1], 0, &body);
            received[thread] += 1;
        }
        assert_eq!(peer.read(&mut [0]).expect("the end"), 0);
    });
    let expected: Vec<usize> = (0..THREADS * sends).filter(|i| !is_quiet(i % sends)).collect();
    let mut contexts = Vec::new();
    for packet in get_all(&port, expected.len()) {
        let length = length_of(packet.context / sends, packet.context % sends);
        assert_eq!(packet.result, Ok(2 + length));
        contexts.push(packet.context);
    }
    contexts.sort_unstable();
    assert_eq!(contexts, expected, "one packet each");
    for sender in senders {
        sender.join().expect("all is started");
    }
    // Behind all that is quiet.
    handle.send(Vec::<u8>::new(), 0).expect("started");
    assert_eq!(get(&port).result, Ok(0));
    drop(handle);
    reader.join().expect("all messages in one piece");
    assert_nothing_is_left(&port);
}

pub fn s23_a_quiet_send_that_finds_room_for_a_part_goes_on_before_later_ones(kind: BackendKind) {
    const COUNT: usize = 60;
    const LEN: usize = 300_000;
    let port = builder(kind).build::<Arc<()>>().expect("a port");
    let (handle, duplicate, mut peer) = connection_with_duplicate(&port, 24);
    let context = Arc::new(());
    for i in 0..COUNT {
        let bytes = pattern_from(24, i * LEN, LEN);
        handle.send_quiet(bytes, Arc::clone(&context)).expect("started");
    }
    handle.send(pattern_from(24, COUNT * LEN, 1), Arc::clone(&context)).expect("started");
    wait_for_full(&port, &duplicate);
    let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 24));
    let packet = get(&port);
    assert_eq!((packet.kind, packet.result), (OperationKind::Send, Ok(1)));
    drop(packet);
    assert_nothing_is_left(&port);
    assert_eq!(Arc::strong_count(&context), 1, "every context was given up");
    drop((handle, duplicate));
    assert_eq!(reader.join().expect("the bytes"), COUNT * LEN + 1);
}

pub fn s35_a_quiet_send_that_is_over_is_not_found_by_a_cancel(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 23);
    let started = port.stats().operations_started;
    let quiet = handle.send_quiet("quiet", 1).expect("started");
    handle.send(", then not", 2).expect("started");
    assert_eq!(get(&port).context, 2);
    assert_eq!(port.stats().operations_started, started + 2);
    let error = handle.cancel(quiet).expect_err("it is over");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_nothing_is_left(&port);
    assert_eq!(read_exactly(&mut peer, 15), b"quiet, then not");
}

pub fn s11_a_quiet_send_to_a_peer_that_has_reset_yields_a_packet(kind: BackendKind) {
    let port = port(kind);
    let (handle, duplicate, peer) = connection_with_duplicate(&port, 14);
    reset(peer);
    wait_for_hang_up(&duplicate);
    handle.send_quiet([Buffer::from("to"), Buffer::from("nobody")], 7).expect("nobody knows yet");
    let packet = get(&port);
    let error = error_of("a send after a reset", &packet);
    assert_eq!((packet.context, packet.key, error.kind()), (7, 14, ErrorKind::Reset), "{error}");
    assert_eq!((packet.buffers.len(), packet.buffers.total_len(), error.transferred()), (2, 8, 0));
    let refused = handle.send_quiet("more", 8).expect_err("by now it is known");
    assert_eq!((refused.error.kind(), refused.context), (ErrorKind::Reset, 8));
    assert_nothing_is_left(&port);
}

pub fn s23_an_empty_send_completes_with_no_bytes(kind: BackendKind) {
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 23);
    handle.send(room(0), 1).expect("started");
    handle.send([Buffer::from(room(0)), Buffer::from("")], 2).expect("started");
    handle.send("then", 3).expect("started");
    let results: Vec<_> = get_all(&port, 3).iter().map(|p| (p.context, p.result)).collect();
    assert_eq!(results, [(1, Ok(0)), (2, Ok(0)), (3, Ok(4))]);
    assert_eq!(read_exactly(&mut peer, 4), b"then");
}

pub fn s23_a_send_cut_off_by_the_peer_is_an_error(kind: BackendKind) {
    let port = port(kind);
    let (handle, duplicate, mut peer) = connection_with_duplicate(&port, 23);
    handle.send(pattern(23, LARGE), 1).expect("started");
    let read = read_exactly(&mut peer, 1 << 20);
    assert_pattern(23, 0, &read);
    wait_for_full(&port, &duplicate);
    reset(peer);
    let packet = get(&port);
    let error = error_of("send", &packet);
    assert_eq!((packet.context, error.kind()), (1, ErrorKind::Reset), "{error}");
    let gone = error.transferred();
    let known = if tells_what_had_gone(kind) { read.len() } else { 0 };
    assert!((known..LARGE).contains(&gone), "{gone} bytes had gone");
    assert_eq!(packet.buffers.total_len(), LARGE, "the buffer is as it was");
    assert_nothing_is_left(&port);
}

pub fn s23_a_pending_receive_does_not_hold_sends_up(kind: BackendKind) {
    for receive in RECEIVES {
        let name = receive.name;
        let port = port(kind);
        let (handle, mut peer) = connection(&port, 23);
        (receive.start)(&handle, 1).expect(name);
        for _ in 0..3 {
            handle.send("question", 2).expect(name);
            let packet = get(&port);
            assert_eq!((packet.context, packet.result), (2, Ok(8)), "{name}");
            assert_eq!(read_exactly(&mut peer, 8), b"question", "{name}");
        }
        peer.write_all(b"answer").expect("written");
        assert_eq!(get(&port).context, 1, "{name}");
    }
}

pub fn s26_closing_after_a_large_send_delivers_everything(kind: BackendKind) {
    // In the system's buffers as a whole; and far more than these hold.
    for length in [250_000, LARGE] {
        let port = port(kind);
        let (handle, mut peer) = connection(&port, 26);
        handle.set_send_buffer_size(4 << 20).expect("a large buffer");
        handle.send(pattern(26, length), 1).expect("started");
        let mut reader = None;
        if length == LARGE {
            let mut peer = peer.try_clone().expect("a duplicate");
            reader = Some(thread::spawn(move || read_pattern_slowly(&mut peer, 26)));
        }
        assert_eq!(get(&port).result, Ok(length));
        handle.close();
        assert_nothing_is_left(&port);
        drop(port);
        let received = match reader {
            Some(reader) => reader.join().expect("all bytes"),
            None => read_pattern_slowly(&mut peer, 26),
        };
        assert_eq!(received, length);
    }
}

pub fn s26_closing_with_receives_pending_delivers_everything(kind: BackendKind) {
    const LENGTH: usize = 250_000;
    for receive in RECEIVES {
        let name = receive.name;
        let port = port(kind);
        let (handle, mut peer) = connection(&port, 26);
        handle.set_send_buffer_size(4 << 20).expect("a large buffer");
        (receive.start)(&handle, 1).expect(name);
        handle.send(pattern(26, LENGTH), 2).expect(name);
        let packet = get(&port);
        assert_eq!((packet.context, packet.result), (2, Ok(LENGTH)), "{name}");
        handle.close();
        let packet = get(&port);
        assert_eq!(error_of(name, &packet).kind(), ErrorKind::Aborted, "{name}");
        assert_eq!(read_pattern_slowly(&mut peer, 26), LENGTH, "{name}");
        assert_nothing_is_left(&port);
    }
}
