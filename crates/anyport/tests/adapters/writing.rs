//! Writes and flushes: order, parts, how much may be under way, and what it holds.

use super::reading::{poll_once, reset};
use super::world::{Checked, Numbers, bytes, give_up_after, pair, reads_all, runtime, wait_until};
use anyport::BackendKind;
use anyport::buf::PoolOptions;
use anyport::rt::net::TcpStream;
use anyport::rt::{self, Runtime};
use futures_util::io::{AsyncReadExt, AsyncWriteExt, IoSlice};
use std::io::{self, Write};
use std::pin::pin;

/// What may be under way, by the documentation of `send`, and one write more.
const UNDER_WAY_MAX: u64 = (256 + 64) * 1024;

/// Writes parts of this size until a write has to wait, and says how many bytes that were.
fn fill(stream: &mut TcpStream, part: usize) -> usize {
    let mut written = 0;
    loop {
        let poll = poll_once(pin!(AsyncWriteExt::write(stream, &bytes(written, part))));
        let std::task::Poll::Ready(result) = poll else { return written };
        let len = result.expect("it is taken");
        assert!((1..=part).contains(&len));
        written += len;
        assert!(written < 1 << 30, "nothing holds it up");
    }
}

pub(crate) fn several_parts_are_sent_one_after_the_other(kind: BackendKind) {
    const LEN: usize = 2 << 20;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        let reader = reads_all(peer);
        let (mut position, mut numbers) = (0, Numbers(5));
        while position < LEN {
            let all = bytes(position, 3 * 40_000);
            let (first, rest) = all.split_at(numbers.below(40_000));
            let (second, rest) = rest.split_at(numbers.below(40_000));
            let third = &rest[..1 + numbers.below(40_000)];
            let slices = [first, &[], second, third].map(IoSlice::new);
            position += stream.write_vectored(&slices).await.expect("it is taken");
        }
        assert_eq!(AsyncWriteExt::write(&mut stream, &[]).await.expect("nothing to do"), 0);
        stream.close().await.expect("all is sent");
        assert_eq!(stream.bytes_sent(), position as u64);
        let all = reader.join().expect("it ends");
        Checked::default().take(&all);
        assert_eq!(all.len(), position);
    });
}

pub(crate) fn a_dropped_write_has_sent_all_or_nothing(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        let reader = reads_all(peer);
        let (mut position, mut numbers) = (0, Numbers(6));
        for _ in 0..3_000 {
            let part = bytes(position, 1 + numbers.below(30_000));
            let write = AsyncWriteExt::write(&mut stream, &part);
            if let Some(written) = give_up_after(numbers.below(3), write).await {
                position += written.expect("it is taken");
            }
        }
        stream.close().await.expect("all is sent");
        let all = reader.join().expect("it ends");
        Checked::default().take(&all);
        assert_eq!(all.len(), position);
    });
}

pub(crate) fn a_peer_that_does_not_read_holds_up_the_writer(kind: BackendKind) {
    let runtime = runtime(kind);
    let _entered = runtime.handle().enter();
    let (mut stream, peer) = pair();
    let written = fill(&mut stream, 100_000);
    let under_way = written as u64 - stream.bytes_sent();
    assert!(under_way <= UNDER_WAY_MAX, "{under_way}");
    // In a task, which must be woken when there is room.
    let ends = runtime.spawn(async move {
        stream.write_all(&bytes(written, 500_000)).await.expect("there is room again");
        stream.close().await.expect("all is sent");
        stream.bytes_sent()
    });
    let reader = reads_all(peer);
    assert_eq!(runtime.block_on(ends).expect("no panic"), (written + 500_000) as u64);
    let all = reader.join().expect("it ends");
    Checked::default().take(&all);
    assert_eq!(all.len(), written + 500_000);
}

pub(crate) fn small_writes_hold_no_more_memory_than_large_ones(kind: BackendKind) {
    let runtime = runtime(kind);
    let _entered = runtime.handle().enter();
    let (mut stream, _peer) = pair();
    let written = fill(&mut stream, 100);
    let under_way = (written as u64 - stream.bytes_sent()).div_ceil(100);
    assert!(under_way <= UNDER_WAY_MAX / 4096, "{under_way} buffers of 4 KiB");
}

pub(crate) fn a_flush_waits_until_all_has_gone(kind: BackendKind) {
    let runtime = runtime(kind);
    let _entered = runtime.handle().enter();
    let (mut stream, peer) = pair();
    runtime.block_on(AsyncWriteExt::flush(&mut stream)).expect("there is nothing to wait for");
    let written = fill(&mut stream, 64 * 1024);
    for _ in 0..3 {
        assert!(poll_once(pin!(AsyncWriteExt::flush(&mut stream))).is_pending());
    }
    let flushes = runtime.spawn(async move {
        AsyncWriteExt::flush(&mut stream).await.expect("all goes");
        assert_eq!(stream.bytes_sent(), written as u64);
    });
    let reader = reads_all(peer);
    runtime.block_on(flushes).expect("no panic");
    assert_eq!(reader.join().expect("it ends").len(), written);
}

pub(crate) fn peers_that_do_not_read_keep_nobody_from_receiving(kind: BackendKind) {
    let pool = PoolOptions::new().bytes_max(1 << 20);
    let builder = Runtime::builder().backend(kind).workers(2).pool(pool);
    let runtime = builder.build().expect("a runtime");
    let _entered = runtime.handle().enter();
    // More is under way than the pool holds.
    let stuck: Vec<_> = (0..8)
        .map(|_| {
            let (mut stream, peer) = pair();
            fill(&mut stream, 64 * 1024);
            (stream, peer)
        })
        .collect();
    let (mut stream, mut peer) = pair();
    peer.write_all(b"hello").expect("it is connected");
    let received = runtime.block_on(async {
        let mut out = [0; 5];
        stream.read_exact(&mut out).await.expect("there is a buffer for it");
        out
    });
    assert_eq!(&received, b"hello");
    drop(stuck);
}

pub(crate) fn a_write_after_a_reset_is_an_error(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        reset(peer);
        let error = loop {
            if let Err(error) = stream.write_all(b"more").await {
                break error;
            }
            rt::yield_now().await;
        };
        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
        assert!(kinds.contains(&error.kind()), "{error}");
        AsyncWriteExt::flush(&mut stream).await.expect_err("it is told again");
        drop(stream);
        let operations = || rt::Handle::current().map(|handle| handle.metrics().operations);
        wait_until("nothing is under way", || operations() == Some(0));
    });
}
