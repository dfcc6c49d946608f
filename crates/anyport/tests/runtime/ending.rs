//! How a runtime ends.

use super::world::{any_local, connect, pair, runtime, single, wait_until};
use anyport::BackendKind;
use anyport::rt::net::TcpListener;
use anyport::rt::{self, Runtime};
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
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
        assert_eq!(peer.read(&mut [0]).expect("an orderly end"), 0);
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
    assert_eq!(peer.read(&mut [0]).expect("an orderly end"), 0);
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
