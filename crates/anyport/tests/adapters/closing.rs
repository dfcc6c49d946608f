//! The end of the sending side, by `poll_close`.

use super::reading::{Wakes, poll_once, reset};
use super::world::{bytes, pair, reads_all, runtime, wait_until};
use anyport::BackendKind;
use anyport::rt::Runtime;
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use std::io::{self, Read, Write};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

pub(crate) fn a_close_ends_the_side_after_what_was_written(kind: BackendKind) {
    const LEN: usize = 3 << 20;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        let reader = reads_all(peer.try_clone().expect("a clone"));
        stream.write_all(&bytes(0, LEN)).await.expect("it is taken");
        stream.close().await.expect("it ends");
        assert_eq!(stream.bytes_sent(), LEN as u64, "nothing is under way any more");
        assert_eq!(reader.join().expect("an orderly end"), bytes(0, LEN));
        let late = stream.write_all(b"more").await.expect_err("the side has ended");
        assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
        peer.write_all(b"heard").expect("the other side is open");
        let mut out = [0; 5];
        stream.read_exact(&mut out).await.expect("it arrives");
        assert_eq!(&out, b"heard");
    });
}

pub(crate) fn a_close_that_is_given_up_goes_on(kind: BackendKind) {
    const LEN: usize = 200_000;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        stream.write_all(&bytes(0, LEN)).await.expect("it is taken");
        let _ = poll_once(pin!(stream.close()));
        assert_eq!(reads_all(peer).join().expect("an orderly end").len(), LEN);
    });
}

pub(crate) fn a_close_may_be_asked_for_again_and_by_another_task(kind: BackendKind) {
    let runtime = runtime(kind);
    let _entered = runtime.handle().enter();
    let (mut stream, peer) = pair();
    let mut written = 0;
    // So much that the end has to wait.
    while poll_once(pin!(stream.write_all(&bytes(written, 64 * 1024)))).is_ready() {
        written += 64 * 1024;
    }
    let first = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&first));
    for _ in 0..2 {
        let poll = pin!(stream.close()).poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
    }
    let second = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&second));
    let poll = pin!(stream.close()).poll(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
    let reader = reads_all(peer);
    wait_until("who asked last is woken", || second.count() > 0);
    assert_eq!(first.count(), 0);
    for _ in 0..2 {
        runtime.block_on(stream.close()).expect("it has ended");
    }
    assert_eq!(reader.join().expect("an orderly end").len() as u64, stream.bytes_sent());
}

pub(crate) fn a_side_that_has_ended_in_another_way_is_closed(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        stream.write_all(b"all").await.expect("it is taken");
        stream.shutdown().await.expect("it is sent");
        stream.close().await.expect("it has ended");
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("an orderly end");
        assert_eq!(all, b"all");

        let (mut stream, peer) = pair();
        // With a receive under way: Wine forgets a reset that comes while there is none.
        let mut out = [0; 1];
        let mut read = pin!(AsyncReadExt::read(&mut stream, &mut out));
        assert!(poll_once(read.as_mut()).is_pending());
        reset(peer);
        read.await.expect_err("it was reset");
        // What it says of a connection that is gone is the system's choice; but it says it.
        let _ = stream.close().await;
    });
}

pub(crate) fn halves_are_closed_one_by_one(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (stream, mut peer) = pair();
        let (mut receiver, mut sender) = stream.into_split();
        sender.write_all(b"question").await.expect("it is taken");
        sender.close().await.expect("it is sent");
        drop(sender);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("an orderly end");
        assert_eq!(all, b"question");
        peer.write_all(b"answer").expect("the other side is open");
        drop(peer);
        let mut answer = String::new();
        receiver.read_to_string(&mut answer).await.expect("an orderly end");
        assert_eq!(answer, "answer");
    });
}

pub(crate) fn a_close_that_found_no_place_may_be_asked_for_again(kind: BackendKind) {
    let runtime = Runtime::builder().backend(kind).operations_max(1).build().expect("it is there");
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        // The one operation that there may be.
        let mut out = [0; 1];
        assert!(poll_once(pin!(AsyncReadExt::read(&mut stream, &mut out))).is_pending());
        stream.close().await.expect_err("there is no place for it");
        peer.shutdown(std::net::Shutdown::Write).expect("it is connected");
        assert_eq!(AsyncReadExt::read(&mut stream, &mut out).await.expect("an orderly end"), 0);
        stream.close().await.expect("there is room now");
        assert_eq!(peer.read_to_end(&mut Vec::new()).expect("an orderly end"), 0);
    });
}

pub(crate) fn a_stream_that_is_dropped_forgets_who_waited_for_its_end(kind: BackendKind) {
    let runtime = runtime(kind);
    let _entered = runtime.handle().enter();
    let (mut stream, peer) = pair();
    // More than the system takes while nobody reads: the end has to wait.
    stream.try_send(vec![0; 16 << 20]).expect("nothing waits yet");
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    assert!(pin!(stream.close()).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    drop(stream);
    assert_eq!(Arc::strong_count(&wakes), 1, "while the peer does not read");
    reads_all(peer).join().expect("an orderly end");
}
