//! Files of tasks.

use super::world::{Checked, bytes, give_up_after, pair, reads_all, runtime, wait_until};
use anyport::fs::OpenOptions;
use anyport::rt;
use anyport::rt::fs::File;
use anyport::{BackendKind, ErrorKind};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// The path of a file that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "anyport-runtime-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        Scratch(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) fn what_is_written_is_read(kind: BackendKind) {
    let (runtime, scratch) = (runtime(kind), Scratch::new());
    runtime.block_on(async {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = File::open_with(options, scratch.path()).await.expect("it is made");
        let (result, buffers) = file.write_at(bytes(0, 100_000), 0).await;
        assert_eq!((result, buffers.total_len()), (Ok(100_000), 100_000));
        file.sync_data().await.expect("it is on the disk");
        file.sync_all().await.expect("it is on the disk");
        assert_eq!(file.metadata().await.expect("it is there").len(), 100_000);
        let (result, buffer) = file.read_at(Vec::with_capacity(1000), 99_500).await;
        assert_eq!(result, Ok(500));
        Checked { position: 99_500 }.take(buffer.as_slice());
        let (result, buffer) = file.read_at(buffer, 100_000).await;
        assert_eq!((result, buffer.len()), (Ok(0), 0));
    });
}

pub(crate) fn reads_and_writes_run_at_the_same_time(kind: BackendKind) {
    const PARTS: usize = 50;
    const PART: usize = 10_000;
    let (runtime, scratch) = (runtime(kind), Scratch::new());
    runtime.block_on(async {
        let file = File::create(scratch.path()).await.expect("it is made");
        let writes: Vec<_> = (0..PARTS)
            .map(|part| {
                let file = file.clone();
                rt::spawn(async move {
                    let at = part * PART;
                    file.write_at(bytes(at, PART), at as u64).await.0
                })
            })
            .collect();
        for write in writes {
            assert_eq!(write.await.expect("it ends"), Ok(PART));
        }
        let file = File::open(scratch.path()).await.expect("it is there");
        let reads: Vec<_> = (0..PARTS)
            .map(|part| {
                let file = file.clone();
                rt::spawn(async move {
                    let at = part * PART;
                    let (result, buffer) =
                        file.read_at(vec![0; PART].into_boxed_slice(), at as u64).await;
                    assert_eq!(result, Ok(PART));
                    Checked { position: at }.take(buffer.as_slice());
                })
            })
            .collect();
        for read in reads {
            read.await.expect("it ends");
        }
    });
}

pub(crate) fn a_dropped_write_runs_on(kind: BackendKind) {
    const LEN: usize = 4 << 20;
    let (runtime, scratch) = (runtime(kind), Scratch::new());
    runtime.block_on(async {
        let file = File::create(scratch.path()).await.expect("it is made");
        let _ = give_up_after(1, file.write_at(bytes(0, LEN), 0)).await;
        // The operation has the file open for as long as it needs.
        drop(file);
    });
    wait_until("it is written", || runtime.handle().metrics().operations == 0);
    let all = std::fs::read(scratch.path()).expect("it is there");
    Checked::default().take(&all);
    assert_eq!(all.len(), LEN);
}

pub(crate) fn a_part_of_a_file_is_sent_between_other_bytes(kind: BackendKind) {
    const LEN: usize = 1 << 20;
    let (runtime, scratch) = (runtime(kind), Scratch::new());
    std::fs::write(scratch.path(), bytes(0, LEN)).expect("it is made");
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        let reader = reads_all(peer);
        let file = File::open(scratch.path()).await.expect("it is there");
        stream.send(bytes(0, 10)).await.expect("it is handed over");
        assert_eq!(stream.send_file(&file, 10, Some(LEN as u64 - 30)).await, Ok(LEN - 30));
        assert_eq!(stream.send_file(&file, LEN as u64 - 20, None).await, Ok(20));
        stream.send(bytes(LEN, 5)).await.expect("it is handed over");
        stream.shutdown().await.expect("all is sent");
        let all = reader.join().expect("it ends");
        Checked::default().take(&all);
        assert_eq!((all.len(), stream.bytes_sent()), (LEN + 5, LEN as u64 + 5));
    });
}

pub(crate) fn what_is_not_there_is_an_error(kind: BackendKind) {
    let (runtime, scratch) = (runtime(kind), Scratch::new());
    runtime.block_on(async {
        let error = File::open(scratch.path()).await.expect_err("nobody made it");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let file = File::create(scratch.path()).await.expect("it is made");
        let (result, _) = file.read_at(anyport::buf::Buffer::from(b"fixed"), 0).await;
        assert_eq!(result.expect_err("it is read-only").kind(), ErrorKind::InvalidInput);
    });
}

/// A future that is polled where it is woken, at once: it sees what whoever wakes it has seen to.
struct PolledAsWoken<F: Future> {
    future: Mutex<Pin<Box<F>>>,
    outputs: Sender<F::Output>,
}

impl<F: Future<Output: Send + 'static> + Send + 'static> PolledAsWoken<F> {
    fn poll(self: &Arc<Self>) {
        let waker = Waker::from(Arc::clone(self));
        let mut future = self.future.lock().expect("no panic");
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.outputs.send(output).expect("it is waited for");
        }
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Wake for PolledAsWoken<F> {
    fn wake(self: Arc<Self>) {
        self.poll();
    }
}

pub(crate) fn a_flush_and_a_shutdown_tell_of_a_dropped_send_that_failed(kind: BackendKind) {
    let (runtime, scratch) = (runtime(kind), Scratch::new());
    let _entered = runtime.handle().enter();
    let file = runtime.block_on(async {
        let mut options = OpenOptions::new();
        options.write(true).create(true);
        let file = File::open_with(options, scratch.path()).await.expect("it is made");
        file.write_at(bytes(0, 1000), 0).await.0.expect("it is written");
        file
    });
    let (mut stream, peer) = pair();
    // More than the system takes while nobody reads: what follows has to wait.
    let written = 16 << 20;
    stream.try_send(vec![0; written]).expect("nothing waits yet");
    // It will fail: the file may not be read.
    let sending = runtime.block_on(give_up_after(1, stream.send_file(&file, 0, None)));
    assert!(sending.is_none(), "it waits");
    let (outputs, flushed) = channel();
    let flush = async move { (stream.flush().await, stream) };
    let flush = Arc::new(PolledAsWoken { future: Mutex::new(Box::pin(flush)), outputs });
    flush.poll();
    let reader = reads_all(peer);
    let (result, mut stream) = flushed.recv().expect("it ends");
    let error = result.expect_err("not all has gone");
    assert_eq!(runtime.block_on(stream.shutdown()), Err(error), "nor is this a good end");
    drop(stream);
    assert_eq!(reader.join().expect("it ends").len(), written);
}
