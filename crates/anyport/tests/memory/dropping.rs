//! Ports and sockets that are dropped while operations are under way: the memory is given up when
//! the kernel is done with it, and not before.

use crate::kept::{KeptBuffers, PATTERN};
use crate::world::{builder, pair, wait_until};
use crate::{leave_port, loses_cancels, next};
use anyport::buf::PoolOptions;
use anyport::{BackendKind, CompletionPort, ErrorKind, fs};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

const READ_BYTES: usize = 64 << 10;
const READS: usize = 200;
const ROUNDS: usize = 50;

/// How many rounds' buffers are kept and looked at again: a write that comes late is found in a
/// later round.
const ROUNDS_KEPT: usize = 8;

/// A file of `READS` pieces, each of one byte that is not the pattern; removed when it goes.
pub(crate) struct PieceFile {
    path: PathBuf,
}

impl PieceFile {
    pub(crate) fn new(name: &str, pieces: usize, piece_bytes: usize) -> Self {
        let name = format!("anyport-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut file = std::fs::File::create(&path).expect("the temporary directory is writable");
        for piece in 0..pieces {
            file.write_all(&vec![Self::byte(piece); piece_bytes]).expect("there is space");
        }
        file.sync_all().expect("it is a plain file");
        PieceFile { path }
    }

    /// What every byte of a piece is.
    pub(crate) fn byte(piece: usize) -> u8 {
        (piece % 0x80) as u8
    }

    pub(crate) fn open(&self) -> fs::File {
        fs::OpenOptions::new().read(true).open(&self.path).expect("it is there")
    }

    /// Asks the system to forget what it has cached, so that reads take their time.
    pub(crate) fn forget_cached(&self) {
        #[cfg(target_os = "linux")]
        {
            use std::os::fd::AsRawFd;
            let file = std::fs::File::open(&self.path).expect("it is there");
            // SAFETY: no pointers are passed. It is advice: whether it is taken decides only how
            // hard the test tries.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        }
    }
}

impl Drop for PieceFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

pub(crate) fn a_port_dropped_while_files_are_read_writes_nothing_afterwards(kind: BackendKind) {
    let file = PieceFile::new(&format!("dropped-{kind}"), READS, READ_BYTES);
    let mut rounds: VecDeque<KeptBuffers> = VecDeque::new();
    for round in 0..ROUNDS {
        file.forget_cached();
        let port: CompletionPort<usize> = builder(kind).build().expect("the backend is there");
        let handle = port.associate(file.open(), 1).expect("a plain file");
        if round % 3 == 0 {
            // From now on this thread is one of the port's, and starts where it waits.
            port.get(Some(Duration::ZERO)).expect_err("nothing was started");
        }
        let buffers = KeptBuffers::new();
        for piece in 0..READS {
            let offset = (piece * READ_BYTES) as u64;
            handle.read_at(buffers.writable(READ_BYTES), offset, piece).expect("it is open");
        }
        match round % 5 {
            0 => {}
            1 => {
                let packet = next(&port);
                assert_eq!(packet.result, Ok(READ_BYTES));
                let bytes = packet.buffers.into_one().expect("one was given");
                assert!(bytes.as_slice().iter().all(|&b| b == PieceFile::byte(packet.context)));
            }
            2 => handle.clone().close(),
            // None is left when all have been read by now.
            3 => drop(handle.cancel_all()),
            _ => port.close(),
        }
        if round % 2 == 0 {
            drop(handle);
            drop(port);
        } else {
            drop(port);
            drop(handle);
        }
        wait_until("the reads' buffers are given up", || buffers.live() == 0);
        rounds.push_back(buffers);
        rounds.iter().for_each(KeptBuffers::check);
        if rounds.len() > ROUNDS_KEPT {
            rounds.pop_front();
        }
    }
}

/// The byte at a place of what the send tests send; never the pattern.
fn sent_byte(at: usize) -> u8 {
    (at % 0x83) as u8
}

const SEND_BYTES: usize = 4 << 20;

fn sent_bytes() -> Vec<u8> {
    (0..2 * SEND_BYTES).map(sent_byte).collect()
}

/// What the peer of a closed sender has got must be the beginning of what was sent, and no byte of
/// a buffer that was given up.
fn check_prefix(received: &[u8], sent: &[u8]) {
    if received == &sent[..received.len()] {
        return;
    }
    let at = received.iter().zip(sent).position(|(r, s)| r != s).expect("they differ");
    let found = received[at];
    let is_freed = if found == PATTERN { ", which is of a freed buffer" } else { "" };
    panic!("byte {at} of {} is {found:#04x}{is_freed}", received.len());
}

pub(crate) fn a_socket_closed_while_it_sends_gives_its_buffers_back_when_the_kernel_is_done(
    kind: BackendKind,
) {
    if loses_cancels() {
        return;
    }
    let sent = sent_bytes();
    let port: CompletionPort<usize> = builder(kind).build().expect("the backend is there");
    for round in 0..20 {
        let (ours, mut theirs) = pair();
        let handle = port.associate(ours, 1).expect("a new socket");
        let buffers = KeptBuffers::new();
        let (head, tail) = sent.split_at(SEND_BYTES);
        let both = [buffers.to_send(head), buffers.to_send(tail)];
        handle.send(both, round).expect("it is connected");
        let (told, ready) = std::sync::mpsc::channel::<()>();
        let peer = std::thread::spawn(move || {
            // In every other round the send is well under way when the socket closes.
            let mut received = vec![0; if round % 2 == 0 { 0 } else { 1 << 20 }];
            theirs.read_exact(&mut received).expect("it is being sent");
            handle.close();
            // What comes after the buffers were given up counts most.
            ready.recv().expect("the other side tells when");
            theirs.read_to_end(&mut received).expect("an orderly end");
            received
        });
        let packet = next(&port);
        assert_eq!(packet.context, round);
        let gone = match packet.result {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Aborted);
                error.transferred()
            }
            // Where a send is one call for all bytes, it may be faster than the end of the socket.
            Ok(bytes) if kind == BackendKind::Windows && bytes == sent.len() => bytes,
            Ok(bytes) => panic!("it cannot have been sent whole: {bytes}"),
        };
        assert_eq!(packet.buffers.len(), 2);
        assert_eq!(packet.buffers.iter().map(|b| b.len()).sum::<usize>(), sent.len());
        drop(packet.buffers);
        buffers.check();
        told.send(()).expect("the peer waits");
        let received = peer.join().expect("the peer saw no error");
        check_prefix(&received, &sent);
        // Windows does not tell of a send that it has begun.
        if kind != BackendKind::Windows || gone > 0 {
            assert_eq!(gone, received.len(), "it says how many bytes have gone");
        }
        buffers.check();
    }
    assert_eq!(port.stats().operations_live, 0);
}

pub(crate) fn a_port_dropped_while_it_sends_keeps_the_buffers_until_the_kernel_is_done(
    kind: BackendKind,
) {
    let sent = sent_bytes();
    for round in 0..20 {
        let port: CompletionPort<usize> = builder(kind).build().expect("the backend is there");
        let (ours, mut theirs) = pair();
        let handle = port.associate(ours, 1).expect("a new socket");
        if round % 2 == 0 {
            port.get(Some(Duration::ZERO)).expect_err("nothing was started");
        }
        let buffers = KeptBuffers::new();
        handle.send(buffers.to_send(&sent), 0).expect("it is connected");
        handle.send(buffers.to_send(b"behind it"), 1).expect("it is connected");
        drop(port);
        wait_until("the sends' buffers are given up", || buffers.live() == 0);
        drop(handle);
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).expect("an orderly end");
        check_prefix(&received, &sent);
        buffers.check();
    }
}

const SOCKETS: usize = 4;
const RECEIVE_BYTES: usize = 16 << 10;

/// Sends what a closed or dropped socket no longer wants: success and failure are alike, for what
/// matters is where the bytes go.
fn send_unwanted(peer: &mut crate::world::TcpStream) {
    for _ in 0..4 {
        if peer.write_all(&[0x11; RECEIVE_BYTES]).is_err() {
            return;
        }
    }
}

pub(crate) fn a_socket_closed_while_it_receives_writes_nothing_afterwards(kind: BackendKind) {
    let options = PoolOptions::new().quarantine(true);
    let port: CompletionPort<usize> =
        builder(kind).pool(options).build().expect("the backend is there");
    let all = KeptBuffers::new();
    for round in 0..ROUNDS {
        let mut peers = Vec::new();
        for socket in 0..SOCKETS {
            let (ours, mut theirs) = pair();
            let handle = port.associate(ours, socket).expect("a new socket");
            let halves = [all.writable(RECEIVE_BYTES), all.writable(RECEIVE_BYTES)];
            handle.receive(all.writable(RECEIVE_BYTES), round).expect("it is connected");
            handle.receive(halves, round).expect("it is connected");
            handle.receive_pooled(round).expect("it is connected");
            if (round + socket) % 2 == 0 {
                // The bytes race with the close.
                theirs.write_all(&[0x22; 3 * RECEIVE_BYTES]).expect("it is connected");
            }
            handle.close();
            peers.push(theirs);
        }
        for _ in 0..3 * SOCKETS {
            let packet = next(&port);
            assert_eq!(packet.context, round);
            match packet.result {
                Ok(n) => assert!(n > 0, "nobody has ended the stream in an orderly way"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Aborted),
            }
        }
        peers.iter_mut().for_each(send_unwanted);
        all.check();
    }
    assert_eq!(port.stats().operations_live, 0);
    port.pool().check_quarantine().expect("no pooled buffer is written to after it came back");
}

pub(crate) fn a_port_dropped_while_it_receives_writes_nothing_afterwards(kind: BackendKind) {
    let all = KeptBuffers::new();
    let mut pools = Vec::new();
    for round in 0..ROUNDS {
        let options = PoolOptions::new().quarantine(true);
        let port: CompletionPort<usize> =
            builder(kind).pool(options).build().expect("the backend is there");
        let pool = port.pool().clone();
        if round % 3 == 0 {
            port.get(Some(Duration::ZERO)).expect_err("nothing was started");
        }
        let mut handles = Vec::new();
        let mut peers = Vec::new();
        for socket in 0..SOCKETS {
            let (ours, mut theirs) = pair();
            let handle = port.associate(ours, socket).expect("a new socket");
            match socket {
                0 => handle.receive(all.writable(RECEIVE_BYTES), 0).expect("it is connected"),
                1 => handle.receive_pooled(0).expect("it is connected"),
                2 => handle.receive_stream(0).expect("it is connected"),
                _ => {
                    handle.receive_ready(0).expect("it is connected");
                    handle.receive(all.writable(RECEIVE_BYTES), 1).expect("it is connected")
                }
            };
            if round % 2 == 0 {
                theirs.write_all(&[0x33; RECEIVE_BYTES]).expect("it is connected");
            }
            handles.push(handle);
            peers.push(theirs);
        }
        // The sockets stay open for now in every other round: what comes in must stay there.
        if round % 4 < 2 {
            drop(port);
            wait_until("the receives' buffers are given up", || all.live() == 0);
            peers.iter_mut().for_each(send_unwanted);
            drop(handles);
        } else {
            drop(handles);
            drop(port);
            wait_until("the receives' buffers are given up", || all.live() == 0);
            peers.iter_mut().for_each(send_unwanted);
        }
        all.check();
        pools.push(pool);
    }
    leave_port(kind);
    for pool in &pools {
        wait_until("the ports' pooled buffers came back", || pool.live() == 0);
        pool.check_quarantine().expect("no pooled buffer is written to after it came back");
    }
}

pub(crate) fn a_cancelled_receive_writes_nothing_afterwards_and_loses_no_byte(kind: BackendKind) {
    let options = PoolOptions::new().quarantine(true);
    let port: CompletionPort<u8> =
        builder(kind).pool(options).build().expect("the backend is there");
    let all = KeptBuffers::new();
    let (ours, mut theirs) = pair();
    let handle = port.associate(ours, 1).expect("a new socket");
    for round in 0..2_000_u32 {
        let operation = match round % 4 {
            0 => handle.receive_pooled(0).expect("it is connected"),
            1 => handle.receive_stream(0).expect("it is connected"),
            _ => handle.receive(all.writable(RECEIVE_BYTES), 0).expect("it is connected"),
        };
        handle.cancel(operation).expect("no byte has come");
        let packet = next(&port);
        assert_eq!(packet.operation, Some(operation));
        assert_eq!(packet.result.expect_err("no byte has come").kind(), ErrorKind::Cancelled);
        assert!(!packet.more);
        drop(packet);
        let bytes = round.to_le_bytes().map(|b| b & 0x7f);
        theirs.write_all(&bytes).expect("it is connected");
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            handle.receive(vec![0; 64], 1).expect("it is connected");
            let packet = next(&port);
            assert_eq!(packet.context, 1, "the cancelled one has had its packet");
            assert!(packet.result.expect("bytes are there") > 0);
            let part = packet.buffers.into_one().expect("one was given");
            received.extend_from_slice(part.as_slice());
        }
        assert_eq!(received, bytes);
    }
    all.check();
    port.pool().check_quarantine().expect("no pooled buffer is written to after it came back");
}
