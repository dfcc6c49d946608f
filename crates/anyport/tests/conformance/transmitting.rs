//! Sending a file to a socket, with a head and a tail.

use crate::peers::{LARGE, assert_nothing_comes, pattern, pattern_from, read_pattern_slowly};
use crate::world::{
    assert_nothing_is_left, assert_sent_in_order, connection, file_with, get, port, read_exactly,
};
use anyport::buf::{Buffer, Buffers};
use anyport::net::Transmission;
use anyport::{BackendKind, OperationKind};
use std::thread;

pub fn s34_head_file_and_tail_arrive_in_order(kind: BackendKind) {
    let port = port(kind);
    // 64 KiB and its neighbours are where pieces meet.
    for length in [0, 1, 10_000, 65_535, 65_536, 65_537, 200_000] {
        let (file, _path) = file_with(&port, 34, &pattern(34, length));
        type Part = fn() -> Buffers;
        let heads: [(Part, &str); 4] = [
            (|| Buffers::None, ""),
            (|| Buffers::from(""), ""),
            (|| Buffers::from("a head"), "a head"),
            (|| Buffers::from(["two ", "", "heads"].map(Buffer::from)), "two heads"),
        ];
        for (head, head_text) in heads {
            for (tail, tail_text) in heads {
                let (handle, mut peer) = connection(&port, 43);
                let transmission = Transmission::new(file.clone()).head(head()).tail(tail());
                let operation = handle.transmit_file(transmission, length).expect("started");
                let expected =
                    [head_text.as_bytes(), &pattern(34, length), tail_text.as_bytes()].concat();
                let total = expected.len();
                let reader = thread::spawn(move || read_exactly(&mut peer, total) == expected);
                let packet = get(&port);
                assert_eq!((packet.key, packet.kind), (43, OperationKind::TransmitFile));
                assert_eq!((packet.operation, packet.context), (Some(operation), length));
                assert_eq!((packet.result, packet.more), (Ok(total), false), "the total");
                let back = packet.buffers.total_len();
                assert_eq!(back, head_text.len() + tail_text.len(), "head and tail come back");
                assert!(reader.join().expect("all bytes"), "{head_text}, {length}, {tail_text}");
            }
        }
    }
    assert_nothing_is_left(&port);
}

pub fn s34_a_range_of_the_file_is_sent(kind: BackendKind) {
    const LENGTH: usize = 150_000;
    let port = port(kind);
    let content = pattern(34, LENGTH);
    let (file, _path) = file_with(&port, 34, &content);
    let (handle, mut peer) = connection(&port, 34);
    let cases: [(usize, Option<u64>, usize); 9] = [
        (0, Some(0), 0),
        (0, Some(1), 1),
        (1, Some(70_000), 70_000),
        (77_777, None, LENGTH - 77_777),
        (LENGTH - 1, None, 1),
        (LENGTH - 10, Some(11), 10),
        (0, Some(u64::MAX), LENGTH),
        (LENGTH, None, 0),
        (LENGTH + 1000, Some(5), 0),
    ];
    for (offset, length, sent) in cases {
        let transmission = Transmission::new(file.clone()).range(offset as u64, length);
        handle.transmit_file(transmission.head("[").tail("]"), 1).expect("started");
        assert_eq!(get(&port).result, Ok(sent + 2), "{length:?} bytes from {offset}");
        let received = read_exactly(&mut peer, sent + 2);
        assert_eq!((received[0], received[sent + 1]), (b'[', b']'));
        let expected = content.get(offset..offset + sent).unwrap_or_default();
        assert!(received[1..=sent] == *expected, "{length:?} bytes from {offset}");
    }
    assert_nothing_is_left(&port);
}

pub fn s34_a_large_file_reaches_a_slow_reader(kind: BackendKind) {
    const HEAD: usize = 1 << 20;
    let port = port(kind);
    let all = pattern(43, HEAD + LARGE + HEAD);
    let (file, _path) = file_with(&port, 34, &all[HEAD..HEAD + LARGE]);
    let (handle, mut peer) = connection(&port, 34);
    let transmission =
        Transmission::new(file).head(all[..HEAD].to_vec()).tail(all[HEAD + LARGE..].to_vec());
    handle.transmit_file(transmission, 1).expect("started");
    assert_nothing_comes("the peer does not read", &port);
    let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 43));
    assert_eq!(get(&port).result, Ok(all.len()));
    drop(handle);
    assert_eq!(reader.join().expect("the bytes"), all.len());
    assert_nothing_is_left(&port);
}

pub fn s34_transmissions_and_sends_stand_in_one_line(kind: BackendKind) {
    const FILE: usize = 300_000;
    let port = port(kind);
    let (handle, mut peer) = connection(&port, 34);
    let mut place = 0;
    let mut piece = |length: usize| -> Vec<u8> {
        place += length;
        pattern_from(34, place - length, length)
    };
    let mut lengths = Vec::new();
    let mut paths = Vec::new();
    for context in 0..30 {
        let length = 1 + context * 9973;
        if context % 2 == 0 {
            handle.send(piece(length), context).expect("started");
            lengths.push(length);
        } else {
            let head = piece(length);
            let (file, path) = file_with(&port, 34, &piece(FILE));
            let transmission = Transmission::new(file).head(head).tail(piece(3));
            handle.transmit_file(transmission, context).expect("started");
            lengths.push(length + FILE + 3);
            paths.push(path);
        }
    }
    let reader = thread::spawn(move || read_pattern_slowly(&mut peer, 34));
    assert_sent_in_order(&port, &lengths);
    drop(handle);
    assert_eq!(reader.join().expect("the bytes"), lengths.iter().sum::<usize>());
    assert_nothing_is_left(&port);
}
