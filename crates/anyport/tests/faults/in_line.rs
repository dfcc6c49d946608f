//! One thread takes every packet, so that their order can be seen: the packets of one side of a
//! connection come in the order in which their operations were started.

use crate::message::{Checker, Script};
use crate::world::{DEADLINE, builder, pair, wait_until};
use anyport::fault_points::Armed;
use anyport::net::{Socket, SocketHandle};
use anyport::{BackendKind, CompletionPort, OperationKind, Packet};

const CONNECTIONS: u32 = 4;

const MESSAGES: u32 = 24;

/// Receives of one connection that stand in line.
const IN_LINE: u32 = 6;

/// The operation's connection, and its place in line.
type Context = (u32, u32);

/// Both ends of a connection, and what has come out of the port for each.
struct Connection {
    sends: SocketHandle<Context>,
    receives: SocketHandle<Context>,
    checker: Checker,
    sent: u32,
    received: u32,
    started: u32,
}

impl Connection {
    fn new(port: &CompletionPort<Context>, script: Script) -> Self {
        let (near, far) = pair();
        let sends = port.associate(near, 1).expect("a new socket");
        let receives = port.associate(Socket::from(far), 2).expect("a new socket");
        let checker = Checker::new(script);
        let mut connection =
            Connection { sends, receives, checker, sent: 0, received: 0, started: 0 };
        (0..IN_LINE).for_each(|_| connection.receive(script));
        for number in 0..script.messages {
            let context = (script.connection, number);
            connection.sends.send(script.message(number), context).expect("it is connected");
        }
        connection
    }

    fn receive(&mut self, script: Script) {
        let context = (script.connection, self.started);
        let started = match self.started % 2 {
            0 => self.receives.receive_pooled(context),
            _ => self.receives.receive(vec![0; 3_000], context),
        };
        started.expect("it is connected");
        self.started += 1;
    }

    fn take(&mut self, packet: &Packet<Context>, script: Script) -> Result<(), String> {
        let place = packet.context.1;
        let next = match packet.kind {
            OperationKind::Send => &mut self.sent,
            _ => &mut self.received,
        };
        if place != *next {
            return Err(format!("{:?} {place} before {next}", packet.kind));
        }
        *next += 1;
        packet.result.as_ref().map_err(|error| format!("{:?}: {error}", packet.kind))?;
        if packet.kind != OperationKind::Send {
            for buffer in packet.buffers.iter() {
                self.checker.take(buffer.as_slice())?;
            }
            self.receive(script);
        }
        Ok(())
    }

    fn is_done(&self, script: Script) -> bool {
        self.checker.is_done() && self.sent == script.messages
    }
}

/// Runs it; panics with a diagnosis when something is wrong.
pub(crate) fn run(kind: BackendKind, seed: u64, armed: &Armed) {
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
            connections[of as usize].take(&packet, script(of))
        });
        if let Err(failure) = checked {
            let progress: Vec<_> = connections.iter().map(|c| c.checker.progress()).collect();
            panic!("{failure}\n{progress:#?}\n{:?}\n{}", port.stats(), armed.report());
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
