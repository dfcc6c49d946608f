//! Defects of kernels that would show: each test provokes one that ARCHITECTURE.md lists.
//!
//! Where the kernel does not have the defect a test passes with and without its guard.

#![cfg(target_os = "linux")]

use anyport::net::Socket;
use anyport::{BackendKind, CompletionPort, available_backends};
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

/// Of so many at least one would find the defect.
const ROUNDS: usize = 200;

/// A message and the end right behind it, before the receiver has looked.
#[test]
fn the_end_of_a_local_stream_that_comes_with_its_last_bytes_is_told() {
    if !available_backends().contains(&(BackendKind::IoUring, Ok(()))) {
        return println!("not run: no io_uring here");
    }
    let builder = CompletionPort::<()>::builder().backend(BackendKind::IoUring).concurrency(1);
    let port: CompletionPort<usize> = builder.build().expect("a port");
    for round in 0..ROUNDS {
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let handle = port.associate(Socket::from(OwnedFd::from(near)), round).expect("a socket");
        handle.receive_stream(round).expect("it is connected");
        far.write_all(b"first").expect("it is connected");
        // The receive is armed from here on.
        let packet = port.get(Some(DEADLINE)).expect("the first bytes");
        assert_eq!((packet.result, packet.more), (Ok(5), true));
        drop(packet);
        far.write_all(b"last").expect("it is connected");
        far.shutdown(Shutdown::Write).expect("it is connected");
        let packet = port.get(Some(DEADLINE)).expect("the last bytes");
        assert_eq!((packet.result, packet.more), (Ok(4), true));
        drop(packet);
        let packet = port.get(Some(DEADLINE)).expect("the end");
        assert_eq!((packet.key, packet.result, packet.more), (round, Ok(0), false));
    }
}
