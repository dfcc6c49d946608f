//! Tests of `Buffer`: it keeps its memory in place, and gives back what it was made from.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::custom::tests::Counted;
use super::super::{BufferPool, PoolOptions, SizeClass};
use super::*;

fn pooled(bytes: &[u8]) -> PooledBuffer {
    let pool = BufferPool::new(PoolOptions::new());
    let mut pooled = pool.take(SizeClass::Small4K).expect("an empty pool has room");
    pooled.extend_from_slice(bytes);
    pooled
}

fn counted(is_writable: bool) -> Buffer {
    let mut bytes = Vec::with_capacity(32);
    bytes.extend_from_slice(b"abc");
    Buffer::custom(Counted::new(bytes, is_writable).0)
}

/// One of each kind, each with the bytes `abc`.
fn one_of_each() -> Vec<Buffer> {
    let mut vec = Vec::with_capacity(16);
    vec.extend_from_slice(b"abc");
    let mut bytes_mut = BytesMut::with_capacity(64);
    bytes_mut.extend_from_slice(b"abc");
    vec![
        vec.into(),
        Box::<[u8]>::from(&b"abc"[..]).into(),
        Bytes::from(b"abc".to_vec()).into(),
        bytes_mut.into(),
        "abc".into(),
        pooled(b"abc").into(),
        counted(true),
        counted(false),
    ]
}

/// Plays the kernel: writes through a pointer taken earlier.
fn write_at(start: *mut u8, bytes: &[u8]) {
    // SAFETY: every caller has the pointer from `write_parts` with enough capacity.
    unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
}

#[test]
fn a_buffer_is_small_and_may_go_to_any_thread() {
    fn is_send_and_sync<B: Send + Sync>() {}
    is_send_and_sync::<Buffer>();
    assert!(size_of::<Buffer>() <= 40, "{} bytes", size_of::<Buffer>());
}

#[test]
fn moving_a_buffer_does_not_move_its_memory() {
    for mut buffer in one_of_each() {
        let read = buffer.read_parts();
        let write = buffer.write_parts();
        let mut moved = Box::new([None, Some(buffer)]);
        moved.swap(0, 1);
        let mut buffer = moved[0].take().expect("just put there");
        assert_eq!(buffer.read_parts(), read);
        assert_eq!(buffer.write_parts(), write);
        let other = std::thread::spawn(move || buffer);
        let mut buffer = other.join().expect("the thread does not panic");
        assert_eq!(buffer.read_parts(), read);
        assert_eq!(buffer.write_parts(), write);
    }
}

#[test]
fn a_pointer_taken_before_a_move_writes_into_the_buffer() {
    for mut buffer in one_of_each() {
        let Some((start, capacity)) = buffer.write_parts() else {
            continue;
        };
        let mut moved = Some(Box::new(buffer));
        let full: Vec<u8> = (0..capacity).map(|i| i as u8).collect();
        write_at(start, &full);
        let mut buffer = *moved.take().expect("just put there");
        // SAFETY: the whole capacity was just written.
        unsafe { buffer.set_filled(capacity) };
        assert_eq!(buffer.as_slice(), full);
    }
}

#[test]
fn a_receive_overwrites_from_the_start_and_sets_the_length() {
    for mut buffer in one_of_each() {
        let shown = format!("{buffer:?}");
        let Some((start, capacity)) = buffer.write_parts() else {
            assert!(!buffer.is_writable(), "{shown}");
            assert_eq!(buffer.capacity(), 0, "{shown}");
            continue;
        };
        assert!(buffer.is_writable(), "{shown}");
        assert_eq!(buffer.capacity(), capacity, "{shown}");
        write_at(start, b"xy");
        // SAFETY: two bytes were just written, and every kind here holds three.
        unsafe { buffer.set_filled(2) };
        let expected: &[u8] = if shown.contains("Box") { b"xyc" } else { b"xy" };
        assert_eq!(buffer.as_slice(), expected, "{shown}");
    }
}

#[test]
fn an_operation_that_failed_leaves_the_contents() {
    for mut buffer in one_of_each() {
        let _unused = buffer.write_parts();
        assert_eq!(buffer.as_slice(), b"abc");
        assert_eq!((buffer.len(), buffer.is_empty()), (3, false));
    }
}

#[test]
fn a_bytes_mut_is_filled_from_its_present_start() {
    let mut bytes = BytesMut::with_capacity(64);
    bytes.extend_from_slice(b"head and body");
    let head = bytes.split_to(5);
    let mut buffer = Buffer::from(bytes);
    let (start, capacity) = buffer.write_parts().expect("writable");
    assert!(capacity < 64);
    write_at(start, &vec![b'z'; capacity]);
    // SAFETY: the whole capacity was just written.
    unsafe { buffer.set_filled(capacity) };
    assert_eq!(&head[..], b"head ", "what was split off is not touched");
    assert_eq!(buffer.into_bytes_mut().expect("what it was"), vec![b'z'; capacity]);
}

#[test]
fn a_buffer_without_memory_is_a_buffer() {
    for buffer in [Vec::new().into(), Buffer::from(Box::default()), BytesMut::new().into()] {
        let mut buffer: Buffer = buffer;
        assert_eq!(buffer.as_slice(), b"");
        assert_eq!(buffer.write_parts().map(|(_, capacity)| capacity), Some(0));
        // SAFETY: zero bytes need no initialisation.
        unsafe { buffer.set_filled(0) };
        assert!(buffer.is_empty());
    }
}

#[test]
fn each_kind_comes_back_as_itself_and_only_as_itself() {
    let as_kinds: [fn(Buffer) -> Result<(), Buffer>; 6] = [
        |buffer| buffer.into_vec().map(|it| assert_eq!(it, b"abc")),
        |buffer| buffer.into_boxed().map(|it| assert_eq!(&it[..], b"abc")),
        |buffer| buffer.into_bytes().map(|it| assert_eq!(&it[..], b"abc")),
        |buffer| buffer.into_bytes_mut().map(|it| assert_eq!(&it[..], b"abc")),
        |buffer| buffer.into_pooled().map(|it| assert_eq!(&it[..], b"abc")),
        |buffer| buffer.into_custom::<Counted>().map(|it| assert_eq!(it.bytes, b"abc")),
    ];
    let mut given_back = 0;
    for mut buffer in one_of_each() {
        for as_kind in as_kinds {
            match as_kind(buffer) {
                Ok(()) => {
                    given_back += 1;
                    buffer = Buffer::from("given back");
                }
                Err(same) => buffer = same,
            }
        }
    }
    assert_eq!(given_back, 7, "all of the eight but the static one");
}

#[test]
fn giving_back_copies_nothing() {
    let vec = b"abc".to_vec();
    let start = vec.as_ptr();
    let vec = Buffer::from(vec).into_vec().expect("a vector");
    assert_eq!(vec.as_ptr(), start);
    let boxed: Box<[u8]> = b"abc".to_vec().into();
    let start = boxed.as_ptr();
    let boxed = Buffer::from(boxed).into_boxed().expect("a box");
    assert_eq!(boxed.as_ptr(), start);
}

#[test]
fn a_receive_into_a_custom_buffer_tells_it_the_length() {
    let (counted, drops) = Counted::new(Vec::with_capacity(32), true);
    let mut buffer = Buffer::custom(counted);
    let (start, capacity) = buffer.write_parts().expect("writable");
    assert!(capacity >= 32);
    write_at(start, b"received");
    // SAFETY: eight bytes were just written.
    unsafe { buffer.set_filled(8) };
    let counted = buffer.into_custom::<Counted>().expect("its own type");
    assert_eq!(counted.bytes, b"received");
    drop(counted);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert_eq!(Arc::strong_count(&drops), 1);
}

#[test]
fn debug_does_not_show_the_bytes() {
    let shown = format!("{:?}", Buffer::from("secret"));
    assert_eq!(shown, "Buffer { kind: Static, len: 6, capacity: 0 }");
}
