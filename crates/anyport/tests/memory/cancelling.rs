//! Cancels that race with completion, and names of operations that are over: one packet for each
//! operation, no byte lost or doubled, no later operation met.

use crate::world::TcpStream;
use crate::world::{DEADLINE, builder, pair};
use crate::{connections, next};
use anyport::net::SocketHandle;
use anyport::{BackendKind, CompletionPort, ErrorKind, Operation, Packet};
use std::collections::VecDeque;
use std::io::Write;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const SOCKETS: usize = 8;
const OPERATIONS: usize = 100_000;

/// Names one receive of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Receive {
    socket: usize,
    serial: usize,
}

/// A thread that writes one byte whenever it is told to, to the socket that it is told.
struct Peer {
    orders: Option<Sender<(usize, u8)>>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    fn start(mut sockets: Vec<TcpStream>) -> Self {
        let (orders, received) = mpsc::channel::<(usize, u8)>();
        let thread = thread::spawn(move || {
            for (socket, byte) in received {
                sockets[socket].write_all(&[byte]).expect("it is connected");
            }
        });
        Peer { orders: Some(orders), thread: Some(thread) }
    }

    fn send(&self, socket: usize, byte: u8) {
        let orders = self.orders.as_ref().expect("it is only taken at the end");
        orders.send((socket, byte)).expect("the peer runs");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let result = thread.join();
            assert!(result.is_ok() || thread::panicking(), "the peer failed");
        }
    }
}

/// What is done to one receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    CancelAtOnce,
    ByteThenCancel,
    CancelThenByte,
    ByteOnly,
}

/// The same sequence in every run: xorshift by Marsaglia.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn deed(&mut self) -> Deed {
        match self.roll() % 8 {
            0 | 1 => Deed::CancelAtOnce,
            2 => Deed::CancelThenByte,
            3 => Deed::ByteOnly,
            _ => Deed::ByteThenCancel,
        }
    }
}

/// The race: the sockets, and how many bytes each was sent and has received.
struct Race {
    handles: Vec<SocketHandle<Receive>>,
    peer: Peer,
    dice: Dice,
    sent: [usize; SOCKETS],
    received: [usize; SOCKETS],
    serial: usize,
}

impl Race {
    fn new(port: &CompletionPort<Receive>) -> Self {
        let (handles, peers) = connections(port, SOCKETS);
        Race {
            handles,
            peer: Peer::start(peers),
            dice: Dice(0x9E37_79B9_7F4A_7C15),
            sent: [0; SOCKETS],
            received: [0; SOCKETS],
            serial: 0,
        }
    }

    fn send(&mut self, socket: usize) {
        self.peer.send(socket, self.sent[socket] as u8);
        self.sent[socket] += 1;
    }

    /// Cancels; false when there was nothing to cancel.
    fn cancel(&self, socket: usize, operation: Operation) -> bool {
        match self.handles[socket].cancel(operation) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound);
                false
            }
        }
    }

    /// One receive on each socket, and its packet.
    fn round(&mut self, take: &mut impl FnMut() -> Packet<Receive>) {
        let mut under_way = [None; SOCKETS];
        for (socket, due) in under_way.iter_mut().enumerate() {
            let has_bytes = self.sent[socket] > self.received[socket];
            let deed = self.dice.deed();
            let receive = Receive { socket, serial: self.serial };
            self.serial += 1;
            let buffer: Vec<u8> = Vec::with_capacity(1);
            assert_eq!(buffer.capacity(), 1);
            let operation = self.handles[socket].receive(buffer, receive).expect("connected");
            let was_asked = match deed {
                Deed::CancelAtOnce => self.cancel(socket, operation),
                Deed::CancelThenByte => {
                    let was_asked = self.cancel(socket, operation);
                    self.send(socket);
                    was_asked
                }
                Deed::ByteThenCancel => {
                    self.send(socket);
                    for _ in 0..self.dice.roll() % 2_000 {
                        std::hint::spin_loop();
                    }
                    self.cancel(socket, operation)
                }
                Deed::ByteOnly => {
                    self.send(socket);
                    false
                }
            };
            *due = Some((receive, operation, deed, was_asked, has_bytes));
        }
        for _ in 0..SOCKETS {
            let packet = take();
            let socket = packet.context.socket;
            let expected = under_way[socket].take();
            let (receive, operation, deed, was_asked, has_bytes) =
                expected.unwrap_or_else(|| panic!("a second packet: {packet:?}"));
            assert_eq!((packet.context, packet.operation), (receive, Some(operation)));
            assert_eq!(packet.key, socket);
            match packet.result {
                Ok(bytes) => {
                    assert!(has_bytes || deed != Deed::CancelAtOnce, "no byte was sent");
                    assert_eq!(bytes, 1, "nobody has ended the stream");
                    self.take_byte(socket, packet);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    assert!(was_asked, "cancelled though {deed:?} found nothing to cancel");
                }
            }
        }
    }

    fn take_byte(&mut self, socket: usize, packet: Packet<Receive>) {
        let buffer = packet.buffers.into_one().expect("one was given");
        let expected = self.received[socket] as u8;
        assert_eq!(buffer.as_slice(), [expected], "bytes come once and in order");
        self.received[socket] += 1;
    }

    /// Receives what cancelled receives have left.
    fn finish(&mut self, take: &mut impl FnMut() -> Packet<Receive>) {
        for socket in 0..SOCKETS {
            while self.received[socket] < self.sent[socket] {
                let receive = Receive { socket, serial: self.serial };
                self.serial += 1;
                let buffer: Vec<u8> = Vec::with_capacity(1);
                self.handles[socket].receive(buffer, receive).expect("connected");
                let packet = take();
                assert_eq!((packet.context, packet.result), (receive, Ok(1)));
                self.take_byte(socket, packet);
            }
        }
    }

    fn run(mut self, port: &CompletionPort<Receive>, mut take: impl FnMut() -> Packet<Receive>) {
        for _ in 0..OPERATIONS / SOCKETS {
            self.round(&mut take);
        }
        self.finish(&mut take);
        assert_eq!(self.received, self.sent);
        assert_eq!(port.stats().operations_live, 0);
        for handle in &self.handles {
            let error = handle.cancel_all().expect_err("nothing is under way");
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
    }
}

pub(crate) fn a_cancel_that_races_with_completion_loses_and_doubles_no_byte(kind: BackendKind) {
    let port: CompletionPort<Receive> = builder(kind).build().expect("the backend is there");
    Race::new(&port).run(&port, || next(&port));
    port.get(Some(Duration::ZERO)).expect_err("every packet was taken");
}

pub(crate) fn a_cancel_from_another_thread_loses_and_doubles_no_byte(kind: BackendKind) {
    let port: CompletionPort<Receive> = builder(kind).build().expect("the backend is there");
    let (packets, taken) = mpsc::channel();
    let takers: Vec<_> = (0..2)
        .map(|_| {
            let (port, packets) = (port.clone(), packets.clone());
            thread::spawn(move || {
                while let Ok(packet) = port.get(None) {
                    packets.send(packet).expect("the test goes on");
                }
            })
        })
        .collect();
    Race::new(&port).run(&port, || taken.recv_timeout(DEADLINE).expect("a packet was due"));
    assert!(taken.try_recv().is_err(), "every packet was taken");
    port.close();
    for taker in takers {
        taker.join().expect("it ends with the port");
    }
}

const SUCCESSORS: u32 = 50_000;

/// How many names of finished operations are tried on each later one.
const NAMES_KEPT: usize = 8;

pub(crate) fn the_name_of_a_finished_operation_never_cancels_its_successor(kind: BackendKind) {
    let port: CompletionPort<u32> = builder(kind).build().expect("the backend is there");
    let (ours, mut theirs) = pair();
    let handle = port.associate(ours, 1).expect("a new socket");
    let mut names: VecDeque<Operation> = VecDeque::new();
    for serial in 0..SUCCESSORS {
        let operation = handle.receive(vec![0; 1], serial).expect("it is connected");
        for &name in &names {
            assert_ne!(name, operation);
            let error = handle.cancel(name).expect_err("that one is over");
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        theirs.write_all(&[serial as u8]).expect("it is connected");
        let packet = next(&port);
        assert_eq!((packet.context, packet.operation), (serial, Some(operation)));
        assert_eq!(packet.result, Ok(1), "operation {serial}");
        assert_eq!(packet.buffers.as_slice()[0].as_slice(), [serial as u8]);
        names.push_back(operation);
        if names.len() > NAMES_KEPT {
            names.pop_front();
        }
    }
    assert_eq!(port.stats().operations_live, 0);
}

pub(crate) fn a_cancelled_operation_never_takes_its_successor_along(kind: BackendKind) {
    let port: CompletionPort<u32> = builder(kind).build().expect("the backend is there");
    let (ours, mut theirs) = pair();
    let handle = port.associate(ours, 1).expect("a new socket");
    for serial in 0..SUCCESSORS / 5 {
        let cancelled = handle.receive(vec![0; 1], u32::MAX).expect("it is connected");
        let successor = handle.receive(vec![0; 1], serial).expect("it is connected");
        handle.cancel(cancelled).expect("no byte has come");
        let error = handle.cancel(cancelled).expect_err("a second cancel of the same");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        theirs.write_all(&[serial as u8]).expect("it is connected");
        // Whichever packet leaves first; each must leave, and once.
        let mut byte_went_to = None;
        for _ in 0..2 {
            let packet = next(&port);
            match (packet.operation, packet.result) {
                (o, Err(error)) if o == Some(cancelled) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                }
                (o, Ok(1)) => {
                    assert_eq!(packet.buffers.as_slice()[0].as_slice(), [serial as u8]);
                    assert_eq!(byte_went_to.replace(o), None, "the byte came twice");
                    if o == Some(cancelled) {
                        // The byte was faster than the cancel: the successor gets the next.
                        theirs.write_all(&[serial as u8]).expect("it is connected");
                        byte_went_to = None;
                    }
                }
                (_, result) => panic!("operation {serial} or its predecessor: {result:?}"),
            }
        }
        assert_eq!(byte_went_to, Some(Some(successor)));
    }
    assert_eq!(port.stats().operations_live, 0);
}
