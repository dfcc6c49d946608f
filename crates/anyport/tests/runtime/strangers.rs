//! What belongs to one runtime in the hands of tasks of another, and of threads of none.

use super::world::{any_local, bytes, connect, is_of_no_system, pair, runtime, single, wait_until};
use anyport::rt::net::{TcpListener, UdpSocket};
use anyport::rt::{Handle, JoinHandle, Runtime};
use anyport::{BackendKind, Error, ErrorKind};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

pub(crate) fn a_task_uses_what_belongs_to_another_runtime(kind: BackendKind) {
    if is_of_no_system(kind) {
        return;
    }
    const LEN: usize = 1 << 20;
    let (one, other) = (runtime(kind), single(kind));
    let (listener, socket) = one.block_on(async {
        let listener = TcpListener::bind(any_local()).await.expect("a listener");
        (listener, UdpSocket::bind(any_local()).await.expect("a socket"))
    });
    let address = listener.local_addr().expect("its address");
    let serving = other.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut echoed = 0;
        loop {
            let received = stream.recv().await.expect("it arrives");
            if received.is_empty() {
                return echoed;
            }
            echoed += received.len();
            match echoed % 2 {
                0 => stream.send(received).await.expect("it is handed over"),
                _ => {
                    let (result, _) = stream.write(received).await;
                    result.expect("it goes");
                }
            }
        }
    });
    let mut peer = connect(address);
    let mut from_peer = peer.try_clone().expect("a clone");
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        from_peer.read_to_end(&mut all).expect("an orderly end");
        all
    });
    peer.write_all(&bytes(0, LEN)).expect("it is read");
    peer.shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(other.block_on(serving).expect("no panic"), LEN);
    assert!(reader.join().expect("no panic") == bytes(0, LEN));

    let address = socket.local_addr().expect("its address");
    let receiving = other.spawn(async move { socket.recv_from().await.map(|(bytes, _)| bytes) });
    wait_until("it waits", || one.handle().metrics().operations == 1);
    let far = std::net::UdpSocket::bind(any_local()).expect("a socket");
    far.send_to(b"from afar", address).expect("sent");
    let received = other.block_on(receiving).expect("no panic").expect("it arrives");
    assert_eq!(received.as_slice(), b"from afar");
}

/// Ends `one` while somebody waits for what belongs to it, who must learn of that.
fn ends_with(one: Runtime, other: &Runtime, waiting: JoinHandle<Result<(), Error>>) {
    wait_until("it waits", || one.handle().metrics().operations > 0);
    assert!(!waiting.is_finished());
    // Nobody of its own waits: what is left is the other's.
    assert_eq!(one.shut_down(Duration::ZERO).tasks_left, 0);
    let error = other.block_on(waiting).expect("no panic").expect_err("its runtime has ended");
    assert!(matches!(error.kind(), ErrorKind::Aborted | ErrorKind::Closed), "{error}");
}

pub(crate) fn a_runtime_that_ends_tells_the_tasks_of_others(kind: BackendKind) {
    let other = runtime(kind);
    {
        let one = runtime(kind);
        let (mut stream, _peer) = {
            let _entered = one.handle().enter();
            pair()
        };
        let waiting = other.spawn(async move {
            let error = stream.recv().await.map(drop);
            // From now on everything fails at once.
            stream.recv().await.expect_err("the runtime has ended");
            stream.read(Vec::with_capacity(1)).await.0.expect_err("the runtime has ended");
            stream.send("more").await.expect_err("the runtime has ended");
            stream.write("more").await.0.expect_err("the runtime has ended");
            stream.shutdown().await.expect_err("the runtime has ended");
            error
        });
        ends_with(one, &other, waiting);
    }
    {
        let one = runtime(kind);
        let (mut stream, _peer) = {
            let _entered = one.handle().enter();
            pair()
        };
        let waiting =
            other.spawn(async move { stream.read(Vec::with_capacity(1)).await.0.map(drop) });
        ends_with(one, &other, waiting);
    }
    {
        let one = runtime(kind);
        // More than the system takes of a peer that does not read.
        let (mut stream, _peer) = {
            let _entered = one.handle().enter();
            pair()
        };
        let waiting = other.spawn(async move { stream.write(vec![0; 64 << 20]).await.0.map(drop) });
        ends_with(one, &other, waiting);
    }
    {
        let one = runtime(kind);
        let listener = one.block_on(TcpListener::bind(any_local())).expect("a listener");
        let waiting = other.spawn(async move {
            let error = listener.accept().await.map(drop);
            listener.accept().await.map(drop).expect_err("the runtime has ended");
            error
        });
        ends_with(one, &other, waiting);
    }
    {
        let one = runtime(kind);
        let socket = one.block_on(UdpSocket::bind(any_local())).expect("a socket");
        let waiting = other.spawn(async move {
            let error = socket.recv_from().await.map(drop);
            socket.recv_from().await.map(drop).expect_err("the runtime has ended");
            error
        });
        ends_with(one, &other, waiting);
    }
}

pub(crate) fn a_runtime_that_ends_tells_a_thread_that_blocks_on_it(kind: BackendKind) {
    let one = runtime(kind);
    let handle: Handle = one.handle().clone();
    let blocked = thread::spawn(move || {
        handle.block_on(async {
            let (mut stream, _peer) = pair();
            stream.recv().await.map(drop)
        })
    });
    wait_until("it waits", || one.handle().metrics().operations == 1);
    one.shut_down(Duration::ZERO);
    let error = blocked.join().expect("no panic").expect_err("the runtime has ended");
    assert!(matches!(error.kind(), ErrorKind::Aborted | ErrorKind::Closed), "{error}");
}
