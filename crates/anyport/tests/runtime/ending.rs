//! How a runtime ends.

use super::world::{Checked, any_local, bytes, connect, pair, runtime, single, wait_until};
use anyport::rt::net::TcpListener;
use anyport::rt::{self, Runtime};
use anyport::{BackendKind, ErrorKind};
use std::future::poll_fn;
use std::io::Read;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// Longer than anything takes.
const AMPLE: Duration = Duration::from_secs(30);

/// More than a clock can count.
const EVER: Duration = Duration::MAX;

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn a_shutdown_drops_every_task(kind: BackendKind) {
    let runtime = runtime(kind);
    let dropped = Arc::new(AtomicUsize::new(0));
    let _entered = runtime.handle().enter();
    let mut peers = Vec::new();
    for i in 0..100 {
        let held = Counted(Arc::clone(&dropped));
        if i % 2 == 0 {
            let (mut stream, peer) = pair();
            peers.push(peer);
            rt::spawn(async move {
                let _held = held;
                stream.recv().await
            })
            .detach();
        } else {
            rt::spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            })
            .detach();
        }
    }
    let left = runtime.shut_down(AMPLE);
    assert_eq!((left.tasks_left, left.blocking_left, left.operations_left), (0, 0, 0));
    assert_eq!(dropped.load(Ordering::SeqCst), 100);
    for mut peer in peers {
        assert_eq!(peer.read_to_end(&mut Vec::new()).expect("an orderly end"), 0);
    }
}

pub(crate) fn a_shutdown_counts_what_does_not_return(kind: BackendKind) {
    let runtime = runtime(kind);
    let (release, gate) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    let task = runtime.spawn(async move {
        started.send(()).expect("somebody waits");
        gate.recv().expect("it is released");
        9
    });
    has_started.recv_timeout(AMPLE).expect("its first poll");
    let left = runtime.shut_down(Duration::ZERO);
    assert_eq!(left.tasks_left, 1);
    release.send(()).expect("it waits");
    wait_until("it ends all the same", || task.is_finished());
}

pub(crate) fn after_a_shutdown_nothing_is_spawned(kind: BackendKind) {
    let runtime = single(kind);
    let handle = runtime.handle().clone();
    runtime.shut_down(AMPLE);
    let error = handle.block_on(handle.spawn(async { 1 })).expect_err("it was refused");
    assert!(error.is_cancelled());
}

pub(crate) fn a_runtime_that_is_dropped_closes_its_sockets(kind: BackendKind) {
    let runtime: Runtime = runtime(kind);
    let (address, accepted) = runtime.block_on(async {
        let listener = TcpListener::bind(any_local()).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let (sender, accepted) = mpsc::channel();
        rt::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            sender.send(()).expect("somebody waits");
            stream.recv().await
        })
        .detach();
        (address, accepted)
    });
    let mut peer = connect(address);
    accepted.recv_timeout(AMPLE).expect("it is accepted");
    drop(runtime);
    assert_eq!(peer.read_to_end(&mut Vec::new()).expect("an orderly end"), 0);
}

pub(crate) fn a_task_that_spawns_on_and_on_ends_with_the_runtime(kind: BackendKind) {
    fn again() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async {
            rt::spawn(again()).detach();
        })
    }
    let runtime = runtime(kind);
    runtime.spawn(again()).detach();
    wait_until("a few have run", || runtime.handle().metrics().tasks_spawned > 1000);
    assert_eq!(runtime.shut_down(EVER).tasks_left, 0);
}

pub(crate) fn who_waits_by_blocking_learns_of_a_shutdown(kind: BackendKind) {
    let runtime = runtime(kind);
    let handle = runtime.handle().clone();
    let (mut stream, _peer) = {
        let _entered = handle.enter();
        pair()
    };
    let (waits, is_waiting) = mpsc::channel();
    let waiter = thread::spawn(move || {
        handle.block_on(async {
            let mut receive = pin!(stream.recv());
            poll_fn(|cx| {
                let poll = receive.as_mut().poll(cx);
                let _ = waits.send(());
                poll
            })
            .await
            .map(drop)
        })
    });
    is_waiting.recv_timeout(AMPLE).expect("its first poll");
    let left = runtime.shut_down(Duration::ZERO);
    assert_eq!(left.operations_left, 1);
    let error = waiter.join().expect("no panic").expect_err("nothing was received");
    assert_eq!(error.kind(), ErrorKind::Aborted);
}

pub(crate) fn a_runtime_may_be_ended_in_one_of_its_tasks(kind: BackendKind) {
    let runtime = single(kind);
    let handle = runtime.handle().clone();
    let ended = handle.spawn(async move { runtime.shut_down(EVER) });
    let left = handle.block_on(ended).expect("no panic");
    assert_eq!(left.tasks_left, 1, "the one that asks");
}

/// Panics as it is dropped.
struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

pub(crate) fn a_result_that_nobody_wants_may_panic_as_it_is_dropped(kind: BackendKind) {
    let runtime = single(kind);
    runtime.spawn(async { Panics }).detach();
    let next = runtime.block_on(runtime.spawn(async { 1 }));
    assert_eq!(next.expect("the worker is there"), 1);
}

pub(crate) fn tasks_left_in_the_queue_are_dropped_even_if_they_panic(kind: BackendKind) {
    let runtime = single(kind);
    let (release, gate) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    let stuck = runtime.spawn(async move {
        started.send(()).expect("somebody waits");
        gate.recv().expect("it is released");
    });
    has_started.recv_timeout(AMPLE).expect("its first poll");
    let dropped = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let held = (Counted(Arc::clone(&dropped)), Panics);
        runtime
            .spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            })
            .detach();
    }
    assert_eq!(runtime.shut_down(Duration::ZERO).tasks_left, 11);
    assert_eq!(dropped.load(Ordering::SeqCst), 10);
    release.send(()).expect("it waits");
    wait_until("it ends all the same", || stuck.is_finished());
}

pub(crate) fn what_a_shutdown_cuts_off_has_no_gap(kind: BackendKind) {
    /// So small that a long line of sends waits.
    const PART: usize = 100;
    for _ in 0..10 {
        let runtime = runtime(kind);
        let entered = runtime.handle().enter();
        let (mut stream, mut peer) = pair();
        let mut sent = 0;
        while stream.try_send(bytes(sent, PART)).is_ok() {
            sent += PART;
        }
        drop(stream);
        drop(entered);
        // It makes room in the very moment in which the sends are aborted.
        let (reads, is_reading) = mpsc::channel();
        let reader = thread::spawn(move || {
            let (mut checked, mut room) = (Checked::default(), vec![0; 64 * 1024]);
            while let Ok(len @ 1..) = peer.read(&mut room) {
                let _ = reads.send(());
                checked.take(&room[..len]);
            }
        });
        is_reading.recv().expect("something has arrived");
        runtime.shut_down(Duration::ZERO);
        reader.join().expect("what comes is the beginning of what was sent");
    }
}
