//! Reads: order, parts, dropped futures, and who is woken.

use super::world::{Checked, Numbers, PeerStream, any_local, bytes, give_up_after, pair, runtime};
use anyport::BackendKind;
use anyport::rt;
use anyport::rt::net::{TcpListener, TcpStream};
use futures_util::io::{AsyncReadExt, AsyncWriteExt, IoSliceMut, copy};
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

/// Sends back all that comes, and ends its side at the end.
async fn echo(stream: TcpStream) -> io::Result<u64> {
    let (reader, mut writer) = stream.split();
    let copied = copy(reader, &mut writer).await?;
    writer.close().await.map(|()| copied)
}

pub(crate) fn every_size_comes_back_whole_and_in_order(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let listener = TcpListener::bind(any_local()).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        for size in [1, 63, 4096, 16_384, 65_536, 300_000, 3 << 20] {
            let (stream, accepted) = (TcpStream::connect(address), listener.accept());
            let mut reader = stream.await.expect("a connection");
            let server = rt::spawn(echo(accepted.await.expect("a connection").0));
            let (from, mut to) = (&mut reader, Vec::new());
            let (mut receiver, mut sender) = from.split();
            let sends = async {
                let mut position = 0;
                for part in [size / 3, size / 2, size - size / 3 - size / 2] {
                    sender.write_all(&bytes(position, part)).await.expect("it is taken");
                    position += part;
                }
                sender.close().await.expect("all is sent");
            };
            let receives = async { receiver.read_to_end(&mut to).await.expect("it comes back") };
            let ((), received) = futures_util::future::join(sends, receives).await;
            assert_eq!(received, size);
            Checked::default().take(&to);
            assert_eq!(server.await.expect("no panic").expect("an orderly end"), size as u64);
        }
    });
}

pub(crate) fn several_parts_are_filled_one_after_the_other(kind: BackendKind) {
    const LEN: usize = 1 << 20;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        let writer = thread::spawn(move || peer.write_all(&bytes(0, LEN)).map(|()| peer));
        let (mut checked, mut numbers) = (Checked::default(), Numbers(1));
        while checked.position < LEN {
            let mut parts = [0; 3].map(|_: u8| vec![0; numbers.below(20_000)]);
            let room: usize = parts.iter().map(Vec::len).sum();
            let [a, b, c] = &mut parts;
            let mut slices = [a, b, c].map(|part| IoSliceMut::new(part));
            let read = stream.read_vectored(&mut slices).await.expect("it arrives");
            assert!(read <= room && (read > 0 || room == 0));
            checked.take(&parts.concat()[..read]);
        }
        drop(writer.join().expect("it ends").expect("all is written"));
        let read = AsyncReadExt::read(&mut stream, &mut [0; 9]).await;
        assert_eq!(read.expect("an orderly end"), 0);
    });
}

pub(crate) fn a_dropped_read_loses_no_byte(kind: BackendKind) {
    const LEN: usize = 4 << 20;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        let writer = thread::spawn(move || peer.write_all(&bytes(0, LEN)).map(|()| peer));
        let (mut checked, mut numbers) = (Checked::default(), Numbers(2));
        while checked.position < LEN {
            let polls = numbers.below(3);
            match numbers.below(3) {
                // Of the traits and of the stream's own methods in turn.
                0 => {
                    let room = 1 + numbers.below(2000);
                    let (result, buffer) = stream.read(Vec::with_capacity(room)).await;
                    assert_eq!(result.expect("it arrives"), buffer.len());
                    checked.take(buffer.as_slice());
                }
                1 => {
                    if let Some(received) = give_up_after(polls, stream.recv()).await {
                        checked.take(received.expect("it arrives").as_slice());
                    }
                }
                _ => {
                    let mut out = vec![0; 1 + numbers.below(20_000)];
                    let read = AsyncReadExt::read(&mut stream, &mut out);
                    if let Some(read) = give_up_after(polls, read).await {
                        checked.take(&out[..read.expect("it arrives")]);
                    }
                }
            }
        }
        drop(writer.join().expect("it ends").expect("all is written"));
    });
}

/// Counts how often it was woken.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn a_read_that_changes_tasks_wakes_the_last_one(kind: BackendKind) {
    let runtime = runtime(kind);
    let _entered = runtime.handle().enter();
    let (mut stream, mut peer) = pair();
    let first = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&first));
    let mut out = [0; 5];
    let poll =
        pin!(AsyncReadExt::read(&mut stream, &mut out)).poll(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
    let read = runtime.spawn(async move {
        let mut out = [0; 5];
        stream.read_exact(&mut out).await.expect("it arrives");
        out
    });
    peer.write_all(b"hello").expect("it is connected");
    assert_eq!(&runtime.block_on(read).expect("no panic"), b"hello");
    assert!(first.count() <= 1, "and the first one is not woken again and again");
}

pub(crate) fn what_arrived_before_a_reset_is_read_first(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        // Unread bytes make the peer's end a reset.
        stream.write_all(b"unread").await.expect("it is taken");
        AsyncWriteExt::flush(&mut stream).await.expect("it goes");
        peer.write_all(b"last words").expect("it is connected");
        let mut out = [0; 100];
        let read = AsyncReadExt::read(&mut stream, &mut out).await.expect("it arrives");
        assert_eq!(&out[..read], b"last words");
        // With a receive under way: Wine forgets a reset that comes while there is none.
        let mut read = pin!(AsyncReadExt::read(&mut stream, &mut out));
        assert!(poll_once(read.as_mut()).is_pending());
        reset(peer);
        let error = read.await.expect_err("it was reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn reset(peer: PeerStream) {
    let socket = anyport::net::Socket::from(peer);
    socket.set_linger(Some(std::time::Duration::ZERO)).expect("it can be set");
}
