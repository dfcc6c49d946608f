//! Local sockets of tasks: what streams of TCP promise, and paths.

use super::world::{Checked, DEADLINE, Numbers, bytes, give_up_after, runtime, wait_until};
use anyport::buf::Buffer;
use anyport::net::Socket;
use anyport::rt::fs::File;
use anyport::rt::net::{UnixListener, UnixStream};
use anyport::rt::{self, Handle};
use anyport::{BackendKind, ErrorKind};
use std::future::pending;
use std::io::{Read, Write};
use std::os::unix::net;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A path that nobody else uses; what is there is removed when it is dropped.
struct OwnPath(PathBuf);

impl OwnPath {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        OwnPath(std::env::temp_dir().join(format!("anyport-{}-{number}", std::process::id())))
    }
}

impl Drop for OwnPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A stream of the current runtime, and its peer.
fn pair() -> (UnixStream, net::UnixStream) {
    let (near, far) = net::UnixStream::pair().expect("a pair");
    far.set_read_timeout(Some(DEADLINE)).expect("it can be set");
    far.set_write_timeout(Some(DEADLINE)).expect("it can be set");
    (UnixStream::from_socket(near).expect("a stream"), far)
}

async fn echo(mut stream: UnixStream) {
    loop {
        let received = stream.recv().await.expect("it arrives");
        if received.is_empty() {
            return stream.shutdown().await.expect("all has gone");
        }
        stream.send(received).await.expect("it is handed over");
    }
}

pub(crate) fn a_listener_serves_at_its_path(kind: BackendKind) {
    const LEN: usize = 1 << 20;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let path = OwnPath::new();
        let listener = UnixListener::bind(&path.0).expect("a listener");
        let address = listener.local_addr().expect("its address");
        assert_eq!(address.as_pathname(), Some(&*path.0));
        let again = UnixListener::bind(&path.0).expect_err("there is a file");
        assert_eq!(again.kind(), ErrorKind::AddressInUse);
        let serving = rt::spawn(async move {
            for _ in 0..3 {
                let (stream, peer) = listener.accept().await.expect("a connection");
                assert!(peer.is_unnamed());
                assert!(stream.peer_addr().expect("its peer").is_unnamed());
                rt::spawn(echo(stream)).detach();
            }
        });
        for round in 0..3 {
            let stream = UnixStream::connect(&path.0).await.expect("a connection");
            assert_eq!(stream.peer_addr().expect("connected").as_pathname(), Some(&*path.0));
            assert!(stream.local_addr().expect("connected").is_unnamed());
            let (mut receiver, mut sender) = stream.into_split();
            let sends = rt::spawn(async move {
                let (mut sent, mut numbers) = (0, Numbers(round));
                while sent < LEN {
                    let size = (1 + numbers.below(40_000)).min(LEN - sent);
                    match numbers.below(2) {
                        0 => sender.send(bytes(sent, size)).await.expect("it is handed over"),
                        _ => assert_eq!(sender.write(bytes(sent, size)).await.0, Ok(size)),
                    }
                    sent += size;
                }
                sender.flush().await.expect("it goes");
                assert_eq!(sender.bytes_sent(), LEN as u64);
            });
            let (mut checked, mut numbers) = (Checked::default(), Numbers(round + 10));
            while checked.position < LEN {
                match numbers.below(3) {
                    0 => checked.take(receiver.recv().await.expect("it arrives").as_slice()),
                    1 => {
                        let room = 1 + numbers.below(40_000);
                        let (result, buffer) = receiver.read(Vec::with_capacity(room)).await;
                        assert_eq!(result, Ok(buffer.len()));
                        checked.take(buffer.as_slice());
                    }
                    _ => {
                        let mut out = vec![0; 1 + numbers.below(5000)];
                        let len = receiver.peek(&mut out).await.expect("it arrives");
                        Checked { position: checked.position }.take(&out[..len]);
                    }
                }
            }
            sends.await.expect("it ends");
            // The dropped half has ended its side.
            assert!(receiver.recv().await.expect("an orderly end").is_empty());
        }
        serving.await.expect("no panic");
        wait_until("the listener is closed", || net::UnixStream::connect(&path.0).is_err());
        let refused = UnixStream::connect(&path.0).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::Refused);
        std::fs::remove_file(&path.0).expect("the file is still there");
        let gone = UnixStream::connect(&path.0).await.expect_err("there is no file");
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        let long = "x".repeat(200);
        let error = UnixStream::connect(&long).await.expect_err("it is too long");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(UnixListener::bind(&long).expect_err("likewise").kind(), error.kind());
    });
}

pub(crate) fn a_name_that_is_no_path_is_served_too(kind: BackendKind) {
    #[cfg(not(target_os = "linux"))]
    {
        let _ = kind;
        println!("not run: only Linux has such names");
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt;
        let runtime = runtime(kind);
        runtime.block_on(async {
            let name = format!("anyport-{}-{kind}", std::process::id());
            let address = net::SocketAddr::from_abstract_name(&name).expect("a name");
            let listener = UnixListener::bind_addr(&address).expect("a listener");
            let stream = UnixStream::connect_addr(&address).await.expect("a connection");
            let (mut accepted, _) = listener.accept().await.expect("a connection");
            let peer = stream.peer_addr().expect("connected");
            assert_eq!(peer.as_abstract_name(), Some(name.as_bytes()));
            let local = accepted.local_addr().expect("connected");
            assert_eq!(local.as_abstract_name(), Some(name.as_bytes()));
            drop(stream);
            assert!(accepted.recv().await.expect("an orderly end").is_empty());
        });
    }
}

pub(crate) fn the_end_right_behind_the_last_bytes_is_told(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        for round in 0..200 {
            let (mut near, mut far) = UnixStream::pair().expect("a pair");
            far.send("first").await.expect("it is handed over");
            assert_eq!(near.recv().await.expect("it arrives").as_slice(), b"first");
            far.send("last").await.expect("it is handed over");
            match round % 2 {
                0 => far.shutdown().await.expect("it ends"),
                _ => drop(far),
            }
            let (result, buffer) = near.read(Vec::with_capacity(100)).await;
            assert_eq!((result, buffer.as_slice()), (Ok(4), &b"last"[..]));
            assert!(near.recv().await.expect("an orderly end").is_empty());
            assert!(near.recv().await.expect("it stays so").is_empty());
        }
    });
}

pub(crate) fn a_local_stream_ends_its_sides_one_by_one(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        stream.send("question").await.expect("it is handed over");
        stream.shutdown().await.expect("it is sent");
        let late = stream.send("more").await.expect_err("the side has ended");
        assert_eq!(late.kind(), ErrorKind::ShutDown);
        let mut question = Vec::new();
        peer.read_to_end(&mut question).expect("an orderly end");
        assert_eq!(question, b"question");
        peer.write_all(b"answer").expect("the other side is open");
        assert_eq!(stream.recv().await.expect("it arrives").as_slice(), b"answer");

        let (stream, mut peer) = pair();
        let (mut receiver, mut sender) = stream.into_split();
        sender.send("last words").await.expect("it is handed over");
        drop(sender);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("an orderly end");
        assert_eq!(all, b"last words");
        peer.write_all(b"heard").expect("the other side is open");
        assert_eq!(receiver.recv().await.expect("it arrives").as_slice(), b"heard");
    });
}

pub(crate) fn a_peer_that_goes_with_bytes_unread_is_told(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, peer) = pair();
        stream.send("unread").await.expect("it is handed over");
        stream.flush().await.expect("it goes");
        drop(peer);
        // Linux tells it as a reset, others as an end.
        let end = stream.recv().await;
        if cfg!(target_os = "linux") {
            assert_eq!(end.expect_err("it was reset").kind(), ErrorKind::Reset);
        }
        let error = loop {
            if let Err(error) = stream.send("more").await {
                break error;
            }
            rt::yield_now().await;
        };
        assert_eq!(error.kind(), ErrorKind::Reset);
    });
}

pub(crate) fn who_does_not_read_holds_up_the_other(kind: BackendKind) {
    const LEN: usize = 16 << 20;
    const PART: usize = 64 * 1024;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        let mut from_peer = peer.try_clone().expect("a clone");
        let writer = thread::spawn(move || peer.write_all(&bytes(0, LEN)));
        let mut checked = Checked::default();
        checked.take(stream.recv().await.expect("it arrives").as_slice());
        wait_until("receiving pauses", || {
            Handle::current().is_some_and(|handle| handle.metrics().operations == 0)
        });
        assert!(!writer.is_finished());
        while checked.position < LEN {
            checked.take(stream.recv().await.expect("it arrives").as_slice());
        }
        writer.join().expect("it ends").expect("all is written");

        let mut sent = 0;
        // The system takes what its buffers hold; then too much is under way.
        while give_up_after(1, stream.send(bytes(sent, PART))).await.is_some() {
            sent += PART;
            assert!(sent < 1 << 30, "nothing holds it up");
        }
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            from_peer.read_to_end(&mut all).expect("an orderly end");
            all
        });
        stream.send(bytes(sent, PART)).await.expect("there is room again");
        stream.shutdown().await.expect("it ends");
        drop(stream);
        let all = reader.join().expect("it ends");
        Checked::default().take(&all);
        assert_eq!(all.len(), sent + PART);
    });
}

pub(crate) fn an_aborted_local_stream_drops_what_waits(kind: BackendKind) {
    const PART: usize = 64 * 1024;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let (mut stream, mut peer) = pair();
        assert!(give_up_after(1, stream.recv()).await.is_none());
        let mut sent = 0;
        while stream.try_send(bytes(sent, PART)).is_ok() {
            sent += PART;
        }
        stream.abort();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).expect("nothing had arrived there");
        Checked::default().take(&all);
        assert!(all.len() < sent, "what waited was dropped");
        wait_until("its operations end", || {
            Handle::current().is_some_and(|h| h.metrics().operations == 0)
        });
    });
}

pub(crate) fn a_dropped_receive_loses_no_byte_of_a_local_stream(kind: BackendKind) {
    let runtime = runtime(kind);
    let task = runtime.spawn(async {
        let (mut stream, mut peer) = pair();
        let peer = thread::spawn(move || {
            let (mut position, mut numbers) = (0, Numbers(7));
            loop {
                let size = 1 + numbers.below(700);
                if peer.write_all(&bytes(position, size)).is_err() {
                    return position;
                }
                position += size;
            }
        });
        let (mut checked, mut numbers) = (Checked::default(), Numbers(31));
        for _ in 0..super::dropped::races() {
            let polls = numbers.below(4);
            match numbers.below(2) {
                0 => {
                    if let Some(received) = give_up_after(polls, stream.recv()).await {
                        checked.take(received.expect("it arrives").as_slice());
                    }
                }
                _ => {
                    let buffer = Buffer::from(Vec::with_capacity(1 + numbers.below(2000)));
                    if let Some((result, buffer)) = give_up_after(polls, stream.read(buffer)).await
                    {
                        assert_eq!(result, Ok(buffer.len()));
                        checked.take(buffer.as_slice());
                    }
                }
            }
        }
        checked.take(stream.recv().await.expect("it arrives").as_slice());
        drop(stream);
        assert!(peer.join().expect("it ends") >= checked.position);
    });
    runtime.block_on(task).expect("it does not panic");
}

pub(crate) fn a_connect_waits_while_the_listeners_queue_is_full(kind: BackendKind) {
    if !cfg!(target_os = "linux") {
        println!("not run: elsewhere a full queue refuses");
        return;
    }
    let runtime = runtime(kind);
    runtime.block_on(async {
        let path = OwnPath::new();
        let socket = Socket::from(net::UnixListener::bind(&path.0).expect("a listener"));
        socket.listen(0).expect("a shorter queue");
        let listener = UnixListener::from_socket(socket).expect("a listener");
        let mut connected = Vec::new();
        let waiting = loop {
            let mut connect = Box::pin(UnixStream::connect(&path.0));
            match give_up_after(1, &mut connect).await {
                Some(stream) => connected.push(stream.expect("a connection")),
                None => break connect,
            }
            assert!(connected.len() < 100, "it has a queue of none");
        };
        // Nobody comes of one that gives up.
        let dropped = give_up_after(1, UnixStream::connect(&path.0)).await;
        assert!(dropped.is_none());
        let accepting = rt::spawn(async move {
            let mut accepted = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let greeting = stream.recv().await.expect("it arrives");
                accepted.push(stream);
                if greeting.as_slice() == b"the last" {
                    return accepted.len();
                }
            }
        });
        let before = connected.len();
        for stream in &mut connected {
            stream.send("one more").await.expect("it is handed over");
        }
        let mut last = waiting.await.expect("a connection");
        last.send("the last").await.expect("it is handed over");
        assert_eq!(accepting.await.expect("no panic"), before + 1);
    });
}

pub(crate) fn a_dropped_accept_loses_no_local_connection(kind: BackendKind) {
    const CONNECTIONS: usize = 200;
    let runtime = runtime(kind);
    runtime.block_on(async {
        let path = OwnPath::new();
        let listener = UnixListener::bind(&path.0).expect("a listener");
        let to = path.0.clone();
        let clients = thread::spawn(move || {
            let client = |i: usize| {
                let mut stream = net::UnixStream::connect(&to).expect("a connection");
                stream.write_all(&i.to_le_bytes()).expect("it goes");
                stream
            };
            (0..CONNECTIONS).map(client).collect::<Vec<_>>()
        });
        let (mut accepted, mut numbers) = (Vec::new(), Numbers(4));
        while accepted.len() < CONNECTIONS {
            if let Some(connection) = give_up_after(numbers.below(3), listener.accept()).await {
                accepted.push(connection.expect("a connection").0);
            }
        }
        let mut heard = Vec::new();
        for stream in &mut accepted {
            let received = stream.recv().await.expect("it arrives");
            heard.push(usize::from_le_bytes(received.as_slice().try_into().expect("8 bytes")));
        }
        // Several workers take them: in no order.
        heard.sort_unstable();
        assert!(heard.into_iter().eq(0..CONNECTIONS));
        drop(clients.join().expect("it ends"));
    });
}

pub(crate) fn a_file_goes_through_a_local_stream(kind: BackendKind) {
    let runtime = runtime(kind);
    runtime.block_on(async {
        let path = OwnPath::new();
        std::fs::write(&path.0, bytes(0, 200_000)).expect("a file");
        let file = File::open(&path.0).await.expect("a file");
        let (mut near, mut far) = UnixStream::pair().expect("a pair");
        let reading = rt::spawn(async move {
            let mut checked = Checked::default();
            loop {
                let received = far.recv().await.expect("it arrives");
                if received.is_empty() {
                    return checked.position;
                }
                checked.take(received.as_slice());
            }
        });
        near.send(bytes(0, 1000)).await.expect("it is handed over");
        assert_eq!(near.send_file(&file, 1000, None).await, Ok(199_000));
        near.send(bytes(200_000, 10)).await.expect("it is handed over");
        drop(near);
        assert_eq!(reading.await.expect("no panic"), 200_010);
    });
}

pub(crate) fn a_runtime_that_ends_closes_its_local_sockets(kind: BackendKind) {
    let runtime = runtime(kind);
    let path = OwnPath::new();
    let mut peers = Vec::new();
    {
        let _entered = runtime.handle().enter();
        let (mut stream, peer) = pair();
        peers.push(peer);
        let listener = UnixListener::bind(&path.0).expect("a listener");
        rt::spawn(async move {
            let (_near, _) = listener.accept().await.expect("a connection");
            pending::<()>().await;
        })
        .detach();
        rt::spawn(async move { stream.recv().await }).detach();
    }
    let client = net::UnixStream::connect(&path.0).expect("a connection");
    client.set_read_timeout(Some(DEADLINE)).expect("it can be set");
    peers.push(client);
    let left = runtime.shut_down(DEADLINE);
    assert_eq!((left.tasks_left, left.operations_left), (0, 0));
    for mut peer in peers {
        assert!(!matches!(peer.read(&mut [0]), Ok(1..)), "an end, or a reset");
    }
    assert!(net::UnixStream::connect(&path.0).is_err(), "nobody listens");
}
