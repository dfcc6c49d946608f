//! Operations of every sort on both ends of connections, in an order that the seed gives, with
//! cancels, closes and faults in between. Each operation has its packet, once; what comes is what
//! had gone, in order.

use crate::choices::Choices;
use anyport::buf::{Buffer, Buffers, PoolOptions};
use anyport::fs::{FileHandle, OpenOptions};
use anyport::net::{Socket, SocketHandle, Transmission, listen};
use anyport::sim::{Disk, Link, System, World};
use anyport::{CompletionPort, ErrorKind, Operation, OperationKind, Packet};
use std::collections::BTreeMap;
use std::time::Duration;

/// An operation that was started and has not come.
struct Started {
    operation: Operation,
    kind: OperationKind,
    /// Of a send: its place among all, and its bytes.
    sends: Option<(usize, Vec<u8>)>,
    is_quiet: bool,
    was_cancelled: bool,
}

impl Started {
    fn new(operation: Operation, kind: OperationKind) -> Self {
        Started { operation, kind, sends: None, is_quiet: false, was_cancelled: false }
    }
}

/// One end of a connection.
struct End {
    /// `None` after it was closed.
    handle: Option<SocketHandle<u64>>,
    started: BTreeMap<u64, Started>,
    /// What each send has sent, in their order; `None` while that is not known.
    gone: Vec<Option<Vec<u8>>>,
    received: Vec<u8>,
    /// A receive stream is under way, or another receive: they are not mixed, since what is known of
    /// the order is that of the packets.
    has_stream: bool,
    has_disconnected: bool,
    has_end: bool,
    has_failed: bool,
    /// The content of the next send.
    next_byte: u8,
}

impl End {
    fn new(handle: SocketHandle<u64>) -> Self {
        End {
            handle: Some(handle),
            started: BTreeMap::new(),
            gone: Vec::new(),
            received: Vec::new(),
            has_stream: false,
            has_disconnected: false,
            has_end: false,
            has_failed: false,
            next_byte: 0,
        }
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let bytes = (0..count).map(|i| self.next_byte.wrapping_add(i as u8)).collect();
        self.next_byte = self.next_byte.wrapping_add(count as u8).wrapping_add(1);
        bytes
    }

    fn is_receiving(&self) -> bool {
        self.started.values().any(|started| is_receive(started.kind))
    }
}

fn is_receive(kind: OperationKind) -> bool {
    matches!(
        kind,
        OperationKind::Receive
            | OperationKind::ReceivePooled
            | OperationKind::ReceiveReady
            | OperationKind::ReceiveStream
    )
}

const FILE: [u8; 5000] = [0x5a; 5000];

struct Run<'a> {
    world: &'a World,
    port: CompletionPort<u64>,
    file: FileHandle<u64>,
    choices: Choices,
    ends: Vec<End>,
    next: u64,
    has_resets: bool,
}

impl Run<'_> {
    /// Starts something on this end.
    fn start(&mut self, end: usize) {
        let context = self.next_context(end);
        let choice = self.choices.below(11);
        let size = [1, 10, 500, 3000, 20_000][self.choices.below(5)];
        let is_quiet = choice == 1;
        let at = &mut self.ends[end];
        let Some(handle) = at.handle.clone() else { return };
        let room = || Vec::<u8>::with_capacity(size);
        let mut bytes = Vec::new();
        let (kind, started) = match choice {
            0..=4 if at.has_disconnected => return,
            0 => {
                bytes = at.bytes(size);
                (OperationKind::Send, handle.send(bytes.clone(), context))
            }
            1 => {
                bytes = at.bytes(size);
                (OperationKind::Send, handle.send_quiet(bytes.clone(), context))
            }
            2 => {
                bytes = at.bytes(size + 2);
                let (a, b) = bytes.split_at(size / 2);
                let parts = [a, b].map(|part| Buffer::from(part.to_vec()));
                (OperationKind::Send, handle.send(parts, context))
            }
            3 => {
                let (head, tail) = (at.bytes(7), at.bytes(9));
                bytes = [&head[..], &FILE[..size.min(5000)], &tail[..]].concat();
                let transmission = Transmission::new(self.file.clone())
                    .head(head)
                    .tail(tail)
                    .range(0, Some(size as u64));
                (OperationKind::TransmitFile, handle.transmit_file(transmission, context))
            }
            4 if self.choices.one_in(10) => {
                at.has_disconnected = true;
                (OperationKind::Disconnect, handle.disconnect(context))
            }
            5 if !at.has_stream => (OperationKind::Receive, handle.receive(room(), context)),
            6 if !at.has_stream => (OperationKind::ReceivePooled, handle.receive_pooled(context)),
            7 if !at.has_stream => (OperationKind::ReceiveReady, handle.receive_ready(context)),
            8 if !at.has_stream => {
                let parts = [room(), room()].map(Buffer::from);
                (OperationKind::Receive, handle.receive(parts, context))
            }
            9 if !at.is_receiving() => {
                at.has_stream = true;
                (OperationKind::ReceiveStream, handle.receive_stream(context))
            }
            10 => return self.cancel(end),
            _ => return,
        };
        match started {
            Ok(operation) => {
                let sends = matches!(kind, OperationKind::Send | OperationKind::TransmitFile);
                let sends = sends.then(|| {
                    at.gone.push(None);
                    (at.gone.len() - 1, bytes)
                });
                let started = Started { sends, is_quiet, ..Started::new(operation, kind) };
                at.started.insert(context, started);
            }
            Err(rejected) => {
                assert_eq!(rejected.context, context);
                at.has_disconnected &= choice != 4;
                let kind = rejected.error.kind();
                assert!(
                    matches!(kind, ErrorKind::Reset | ErrorKind::ShutDown),
                    "refused: {}",
                    rejected.error
                );
                at.has_failed |= kind == ErrorKind::Reset;
            }
        }
    }

    fn cancel(&mut self, end: usize) {
        let at = &mut self.ends[end];
        let (Some(handle), false) = (&at.handle, at.started.is_empty()) else { return };
        let place = self.choices.below(at.started.len());
        let started = at.started.values_mut().nth(place).expect("so many are there");
        // A connect's end is waited for before the rest.
        match handle.cancel(started.operation) {
            Ok(()) => {
                assert!(!started.was_cancelled, "a second cancel finds nothing");
                started.was_cancelled = true;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    }

    fn take(&mut self, packet: Packet<u64>) {
        let context = packet.context;
        let at = &mut self.ends[(context & 0xff) as usize];
        let started = at.started.get(&context).expect("an operation that has not come yet");
        assert_eq!(packet.kind, started.kind);
        assert_eq!(packet.operation, Some(started.operation));
        let bytes = bytes_of(&packet.buffers);
        match &packet.result {
            Err(error) => {
                let is_asked = started.was_cancelled || at.handle.is_none();
                let is_fine = match error.kind() {
                    ErrorKind::Cancelled => started.was_cancelled,
                    ErrorKind::Aborted => at.handle.is_none(),
                    ErrorKind::Reset | ErrorKind::NotConnected | ErrorKind::ShutDown => true,
                    _ => false,
                };
                assert!(is_fine, "{:?} (asked to end: {is_asked}): {error}", packet.kind);
                at.has_failed |= matches!(error.kind(), ErrorKind::Reset | ErrorKind::NotConnected);
                at.has_disconnected &= packet.kind != OperationKind::Disconnect;
                if let Some((place, bytes)) = &started.sends {
                    at.gone[*place] = Some(bytes[..error.transferred()].to_vec());
                }
            }
            Ok(count) => {
                if let Some((place, bytes)) = &started.sends {
                    assert!(!started.is_quiet, "a quiet send that succeeds has no packet");
                    assert_eq!(*count, bytes.len());
                    at.gone[*place] = Some(bytes.clone());
                }
                match packet.kind {
                    OperationKind::ReceiveReady => assert_eq!(*count, 0),
                    kind if is_receive(kind) => {
                        assert_eq!(*count, bytes.len());
                        assert!(!at.has_end || *count == 0, "bytes after the end");
                        at.has_end |= *count == 0;
                        at.received.extend_from_slice(&bytes);
                    }
                    _ => {}
                }
            }
        }
        if !packet.more {
            let started = at.started.remove(&context).expect("it is there");
            at.has_stream &= started.kind != OperationKind::ReceiveStream;
        }
    }

    fn take_all_that_come(&mut self, time: Duration) {
        while let Ok(packet) = self.port.get(Some(time)) {
            self.take(packet);
        }
    }

    /// Both ends of each connection end in good order, if they can.
    fn finish(&mut self) {
        self.world.set_links(Link::new());
        for _ in 0..10_000 {
            self.take_all_that_come(Duration::from_millis(20));
            let mut has_started = false;
            for end in 0..self.ends.len() {
                has_started |= self.disconnect(end);
                has_started |= self.receive_more(end);
            }
            if !has_started {
                return;
            }
        }
        panic!("it never ends");
    }

    /// Ends the sending side, if that was not done or was cancelled.
    fn disconnect(&mut self, end: usize) -> bool {
        let context = self.next_context(end);
        let at = &mut self.ends[end];
        let is_over = at.has_disconnected || at.has_failed;
        let Some(handle) = at.handle.as_ref().filter(|_| !is_over) else {
            return false;
        };
        match handle.disconnect(context) {
            Ok(operation) => {
                at.started.insert(context, Started::new(operation, OperationKind::Disconnect));
            }
            // Also after one that was cancelled.
            Err(rejected) => assert_eq!(rejected.error.kind(), ErrorKind::Reset),
        }
        at.has_disconnected = true;
        true
    }

    fn receive_more(&mut self, end: usize) -> bool {
        let context = self.next_context(end);
        let at = &mut self.ends[end];
        let is_over = at.has_end || at.has_failed || at.is_receiving();
        let Some(handle) = at.handle.as_ref().filter(|_| !is_over) else { return false };
        let started = handle.receive(Vec::<u8>::with_capacity(50_000), context);
        let operation = started.expect("it is not shut down");
        at.started.insert(context, Started::new(operation, OperationKind::Receive));
        true
    }

    fn next_context(&mut self, end: usize) -> u64 {
        self.next += 1;
        self.next << 8 | end as u64
    }

    fn check(&mut self) {
        for (number, at) in self.ends.iter_mut().enumerate() {
            // Of quiet sends that succeed nobody is told.
            let quiet: Vec<u64> = at
                .started
                .iter()
                .filter(|(_, s)| s.is_quiet)
                .map(|(&context, _)| context)
                .collect();
            for context in quiet {
                let started = at.started.remove(&context).expect("it is there");
                let (place, bytes) = started.sends.expect("it is a send");
                at.gone[place] = Some(bytes);
            }
            let left: Vec<_> = at.started.values().map(|s| (s.kind, s.was_cancelled)).collect();
            let state = (at.handle.is_some(), at.has_disconnected, at.has_end, at.has_failed);
            assert!(left.is_empty(), "end {number} {state:?} still waits for {left:?}");
        }
        for pair in 0..self.ends.len() / 2 {
            for (from, to) in [(2 * pair, 2 * pair + 1), (2 * pair + 1, 2 * pair)] {
                let gone =
                    self.ends[from].gone.iter().map(|gone| gone.clone().expect("it is over"));
                let gone: Vec<u8> = gone.collect::<Vec<_>>().concat();
                let received = &self.ends[to].received;
                assert!(gone.starts_with(received), "{from} to {to}: what comes is what had gone");
                let is_whole = [from, to]
                    .iter()
                    .all(|&end| !self.ends[end].has_failed && self.ends[end].handle.is_some());
                if is_whole {
                    assert_eq!(gone.len(), received.len(), "{from} to {to}: all of it");
                    assert!(self.ends[to].has_end);
                }
            }
        }
        assert!(
            self.has_resets
                || self.ends.iter().all(|e| !e.has_failed || e.handle.is_none())
                || self.ends.iter().any(|e| e.handle.is_none()),
            "nothing had reset a connection"
        );
    }
}

fn bytes_of(buffers: &Buffers) -> Vec<u8> {
    buffers.iter().flat_map(|buffer| buffer.as_slice().iter().copied()).collect()
}

fn mixed(world: &World) {
    let seed = world.seed();
    let mut choices = Choices::new(seed);
    let has_resets = choices.one_in(3);
    let slow = Duration::from_micros([1, 100, 5000][choices.below(3)]);
    world.set_links(
        Link::new()
            .latency(Duration::ZERO..=slow)
            .window([50, 3000, 256 << 10][choices.below(3)])
            .segment_max([10, 1000, 64 << 10][choices.below(3)])
            .ragged_segments(0.3)
            .short_transfers([0.0, 0.3][choices.below(2)])
            .resets(if has_resets { 0.003 } else { 0.0 }),
    );
    world.set_system(
        System::new()
            .interruptions([0.0, 0.1][choices.below(2)])
            .late_cancels([0.1, 0.9][choices.below(2)])
            .tells_within(Duration::ZERO..=Duration::from_micros([1, 2000][choices.below(2)]))
            .hand_overs(0.1),
    );
    world.set_disk(Disk::new().short_transfers(0.3));
    // Room for more than a piece of each transmission: whoever sends one holds that piece until its
    // peer receives, which may need a buffer of the same pool as well. With two pieces' room two
    // transmissions can hold both, and the receives of their peers wait for one.
    let pool = PoolOptions::new().bytes_max([256 << 20, 8 * 65_536][choices.below(2)]);
    let port = CompletionPort::<u64>::builder()
        .concurrency(1 + choices.below(2))
        .pool(pool)
        .stream_backlog_max(1 + choices.below(4))
        .build()
        .expect("a port");
    let path = std::env::temp_dir().join(format!("anyport-mixed-{}-{seed}", std::process::id()));
    std::fs::write(&path, FILE).expect("a file");
    let file = OpenOptions::new().read(true).open(&path).expect("open");
    std::fs::remove_file(&path).expect("it is there");
    let file = port.associate(file, 9).expect("associated");
    let listener = listen("10.0.0.1:80".parse().expect("an address")).expect("a listener");
    let listener = port.associate(listener, 8).expect("associated");
    let mut ends = Vec::new();
    for key in 0..1 + choices.below(3) {
        let client = port.associate(Socket::tcp_v4().expect("a socket"), key).expect("associated");
        client.connect(listener.local_addr().expect("bound"), 0).expect("started");
        listener.accept(0).expect("started");
        let mut server = None;
        for _ in 0..2 {
            let packet = port.get(None).expect("a packet");
            assert_eq!(packet.result, Ok(0), "{:?}", packet.kind);
            server = server.or(packet.accepted);
        }
        let server = port.associate(server.expect("accepted"), key).expect("associated");
        ends.extend([End::new(client), End::new(server)]);
    }
    let mut run = Run { world, port, file, choices, ends, next: 1, has_resets };
    for _ in 0..60 + run.choices.below(100) {
        let end = run.choices.below(run.ends.len());
        match run.choices.below(20) {
            0..12 => run.start(end),
            19 if run.choices.one_in(20) => run.ends[end].handle = None,
            18 => world.sleep(Duration::from_millis(1)),
            _ => {
                if let Ok(packet) = run.port.get(Some(Duration::ZERO)) {
                    run.take(packet);
                }
            }
        }
    }
    run.finish();
    run.check();
    assert_eq!(run.port.stats().operations_live, 0, "{:?}", run.port);
}

#[test]
fn every_operation_has_its_packet_and_what_comes_is_what_had_gone() {
    World::check(1000, mixed);
}
