//! One thread takes every packet, so that their order can be seen: the packets of receives that stand
//! in line come in the order in which they were started.
//!
//! They are all started before the first byte comes. One that is started while the completion of the
//! one before it is in the hands of another thread, and none stands between them, begins at once,
//! and its packet can come first.

use crate::message::{Checker, Script};
use crate::world::{DEADLINE, builder, pair, wait_until};
use anyport::fault_points::Session;
use anyport::net::{Socket, SocketHandle};
use anyport::{BackendKind, CompletionPort, OperationKind, Packet};

const CONNECTIONS: u32 = 4;

const MESSAGES: u32 = 24;

/// Receives of one connection that stand in line: several times what its messages take.
const IN_LINE: u32 = 1_200;

/// The room of those that bring a buffer.
const ROOM: usize = 3_000;

/// The operation's connection, and its place in line.
type Context = (u32, u32);

/// Both ends of a connection, and what has come out of the port for each.
struct Connection {
    _sends: SocketHandle<Context>,
    /// Keeps the receives under way.
    _receives: SocketHandle<Context>,
    checker: Checker,
    sent: u32,
    received: u32,
}

impl Connection {
    fn new(port: &CompletionPort<Context>, script: Script) -> Self {
        let (near, far) = pair();
        let sends: SocketHandle<Context> = port.associate(near, 1).expect("a new socket");
        let receives: SocketHandle<Context> =
            port.associate(Socket::from(far), 2).expect("a new socket");
        for place in 0..IN_LINE {
            let context = (script.connection, place);
            let started = match place % 2 {
                0 => receives.receive_pooled(context),
                _ => receives.receive(vec![0; ROOM], context),
            };
            started.expect("it is connected");
        }
        for number in 0..script.messages {
            let context = (script.connection, number);
            sends.send(script.message(number), context).expect("it is connected");
        }
        let checker = Checker::new(script);
        Connection { _sends: sends, _receives: receives, checker, sent: 0, received: 0 }
    }

    fn take(&mut self, packet: &Packet<Context>) -> Result<(), String> {
        packet.result.as_ref().map_err(|error| format!("{:?}: {error}", packet.kind))?;
        if packet.kind == OperationKind::Send {
            self.sent += 1;
            return Ok(());
        }
        let place = packet.context.1;
        if place != self.received {
            return Err(format!("{:?} {place} before {}", packet.kind, self.received));
        }
        self.received += 1;
        packet.buffers.iter().try_for_each(|buffer| self.checker.take(buffer.as_slice()).map(drop))
    }

    fn is_done(&self, script: Script) -> bool {
        self.checker.is_done() && self.sent == script.messages
    }
}

/// Runs it; panics with a diagnosis when something is wrong.
pub(crate) fn run(kind: BackendKind, seed: u64, session: &Session) {
    let port: CompletionPort<Context> =
        builder(kind).concurrency(1).build().expect("the backend is there");
    // From here on this thread has a lane.
    port.post(0, 0, (0, 0)).expect("there is room");
    port.get(Some(DEADLINE)).expect("its own packet");
    let script = |connection| Script { connection: connection + 2, seed, messages: MESSAGES };
    let mut connections: Vec<_> =
        (0..CONNECTIONS).map(|connection| Connection::new(&port, script(connection))).collect();
    while (0..).zip(&connections).any(|(i, connection)| !connection.is_done(script(i))) {
        let taken = port.get(Some(DEADLINE)).map_err(|error| format!("no packet: {error}"));
        let checked = taken.and_then(|packet| {
            let of = packet.context.0 - 2;
            connections[of as usize].take(&packet)
        });
        if let Err(failure) = checked {
            let progress: Vec<_> = connections.iter().map(|c| c.checker.progress()).collect();
            panic!("{failure}\n{progress:#?}\n{:?}\n{}", port.stats(), session.report());
        }
    }
    drop(connections);
    while port.stats().operations_live > 0 {
        port.get(Some(DEADLINE)).expect("the receives that are left end");
    }
    let buffers = port.pool().clone();
    drop(port);
    wait_until("every pooled buffer came back", || buffers.live() == 0);
}
