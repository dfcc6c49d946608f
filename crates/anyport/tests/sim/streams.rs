//! A checked stream of bytes through ports, with all that a world can put in its way: every byte in
//! order and once, or the connection fails, and each operation has its packet.

use anyport::buf::Buffer;
use anyport::net::{Socket, SocketHandle, listen};
use anyport::sim::{JoinHandle, Link, System, World};
use anyport::{CompletionPort, ErrorKind, GetError, OperationKind, Packet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a run is to do, as its seed has it.
pub(crate) struct Plan {
    connections: usize,
    /// Bytes that each client sends.
    bytes: usize,
    concurrency: usize,
    threads: usize,
    link: Link,
    system: System,
    /// A fault between the hosts.
    fault: Fault,
    /// Handlers sleep now and then, so that others stand in.
    has_stuck_owners: bool,
    /// Receives are cancelled now and then, and started again.
    has_cancels: bool,
    /// Threads end after a few packets, and others begin.
    has_successors: bool,
    /// How long threads wait before they look at something else.
    patience: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    Resets,
    Partition,
    LostHost,
}

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let fault = [Fault::None, Fault::Resets, Fault::Partition, Fault::LostHost];
        let fault = fault[(seed / 3 % 4) as usize];
        let link = Link::new()
            .latency(
                Duration::from_micros(1)..=Duration::from_micros([50, 3000][(seed % 2) as usize]),
            )
            .segment_max([17, 1000, 64 << 10][(seed % 3) as usize])
            .window([100, 4096, 256 << 10][(seed / 2 % 3) as usize])
            .ragged_segments([0.3, 0.0][(seed / 11 % 2) as usize])
            .short_transfers([0.0, 0.5][(seed / 5 % 2) as usize])
            .resets(if fault == Fault::Resets { 0.01 } else { 0.0 });
        Plan {
            connections: 1 + (seed % 4) as usize,
            bytes: [500, 5_000, 40_000][(seed / 7 % 3) as usize],
            concurrency: 1 + (seed % 2) as usize,
            threads: 1 + (seed / 2 % 4) as usize,
            link,
            system: System::new()
                .interruptions([0.0, 0.1][(seed / 4 % 2) as usize])
                .hand_overs([0.02, 0.3][(seed / 13 % 2) as usize])
                .late_cancels(0.5),
            fault,
            has_stuck_owners: seed.is_multiple_of(3),
            has_cancels: seed.is_multiple_of(2),
            has_successors: seed.is_multiple_of(5),
            // Not where minutes pass: that would be many looks.
            patience: (seed.is_multiple_of(4) && matches!(fault, Fault::None | Fault::Resets))
                .then_some(Duration::from_micros(300)),
        }
    }

    /// Connections may fail.
    fn may_fail(&self) -> bool {
        !matches!(self.fault, Fault::None)
    }
}

/// The byte at a place of a connection's stream.
fn byte_at(connection: usize, place: usize) -> u8 {
    (place.wrapping_mul(31) ^ place >> 7 ^ connection.wrapping_mul(77)) as u8
}

/// What a handler is to do with a packet.
#[derive(Clone)]
enum Context {
    Accepts,
    /// The server's end of a connection, which sends back what comes.
    Serves(Arc<Served>),
    /// The client's end.
    Asks(Arc<Asking>),
}

struct Served {
    handle: SocketHandle<Context>,
    has_ended: AtomicBool,
}

struct Asking {
    connection: usize,
    handle: SocketHandle<Context>,
    received: Mutex<usize>,
    sent: AtomicUsize,
    is_over: AtomicBool,
}

struct Run {
    world: World,
    port: CompletionPort<Context>,
    plan_bytes: usize,
    has_stuck_owners: bool,
    has_cancels: bool,
    has_successors: bool,
    patience: Option<Duration>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Clients that are not over.
    asking: AtomicUsize,
    failed: AtomicUsize,
    packets: AtomicU64,
    served: Mutex<Vec<Arc<Served>>>,
}

/// Carries the plan's bytes from clients to a server and back, in the world of the calling thread.
pub(crate) fn carry(world: &World, plan: &Plan) {
    world.set_links(plan.link.clone());
    world.set_system(plan.system.clone());
    let port = CompletionPort::<Context>::builder()
        .concurrency(plan.concurrency)
        .build()
        .expect("a simulated port");
    let listener = world.on_host(SERVER, || listen(SocketAddr::new(SERVER, 80)));
    let listener = port.associate(listener.expect("a listener"), 0).expect("associated");
    listener.accept_stream(Context::Accepts).expect("started");
    let run = Arc::new(Run {
        world: world.clone(),
        port: port.clone(),
        plan_bytes: plan.bytes,
        has_stuck_owners: plan.has_stuck_owners,
        has_cancels: plan.has_cancels,
        has_successors: plan.has_successors,
        patience: plan.patience,
        threads: Mutex::default(),
        asking: AtomicUsize::new(plan.connections),
        failed: AtomicUsize::new(0),
        packets: AtomicU64::new(0),
        served: Mutex::default(),
    });
    for _ in 0..plan.threads {
        Run::start_thread(&run);
    }
    for connection in 0..plan.connections {
        let socket = world.on_host(CLIENT, Socket::tcp_v4).expect("a socket");
        let handle = port.associate(socket, connection + 1).expect("associated");
        let asking = Arc::new(Asking {
            connection,
            handle,
            received: Mutex::new(0),
            sent: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let context = Context::Asks(Arc::clone(&asking));
        asking.handle.connect(SocketAddr::new(SERVER, 80), context).expect("started");
    }
    world.sleep(Duration::from_millis(2));
    match plan.fault {
        Fault::Partition => {
            world.cut(CLIENT, SERVER);
            world.sleep(Duration::from_secs(if plan.bytes > 1000 { 3 } else { 100 }));
            world.mend(CLIENT, SERVER);
        }
        Fault::LostHost => world.lose_host(SERVER),
        Fault::None | Fault::Resets => {}
    }
    while run.asking.load(Ordering::SeqCst) > 0 {
        world.sleep(Duration::from_millis(10));
        let has_ended = world.now() < Duration::from_secs(200);
        // Whoever only receives never learns that the other end is gone.
        let is_half_open = matches!(plan.fault, Fault::Partition | Fault::LostHost);
        if !has_ended && is_half_open {
            break;
        }
        assert!(has_ended, "it never ends: {port:?}");
    }
    if !plan.may_fail() {
        assert_eq!(run.failed.load(Ordering::SeqCst), 0, "nothing was in the way");
    }
    // Contexts hold handles and handles the port: what serves half-open connections is closed here.
    run.served.lock().expect("no panic").clear();
    port.close();
    loop {
        // Whoever ends has started its successor.
        let Some(thread) = run.threads.lock().expect("no panic").pop() else { break };
        thread.join().expect("no handler panics");
    }
    assert!(run.packets.load(Ordering::SeqCst) > 0);
}

impl Run {
    fn start_thread(run: &Arc<Self>) {
        let this = Arc::clone(run);
        let thread = run.world.spawn("worker", move || this.work());
        run.threads.lock().expect("no panic").push(thread);
    }

    /// The life of a thread.
    fn work(self: Arc<Self>) {
        const PACKETS_MAX: usize = 9;
        let mut packets = 0;
        loop {
            match self.port.get(self.patience) {
                Ok(packet) => self.handle(packet),
                // It is elsewhere for a while, and its place another's.
                Err(GetError::TimedOut) => self.world.sleep(Duration::from_micros(50)),
                Err(_) => return,
            }
            packets += 1;
            if self.has_successors && packets > PACKETS_MAX {
                return Self::start_thread(&self);
            }
        }
    }

    fn handle(&self, packet: Packet<Context>) {
        let count = self.packets.fetch_add(1, Ordering::SeqCst);
        if self.has_stuck_owners && count.is_multiple_of(5) {
            let sleep = || self.world.sleep(Duration::from_millis(3));
            match count.is_multiple_of(2) {
                true => sleep(),
                false => self.port.blocking(sleep),
            }
        }
        match packet.context.clone() {
            Context::Accepts => self.accepted(packet),
            Context::Serves(served) => self.serve(&served, packet),
            Context::Asks(asking) => self.ask(&asking, packet),
        }
    }

    fn accepted(&self, packet: Packet<Context>) {
        let Some(socket) = packet.accepted else { return };
        let handle = self.port.associate(socket, 1000);
        // The port may be closed meanwhile.
        let Ok(handle) = handle else { return };
        let served = Arc::new(Served { handle, has_ended: AtomicBool::new(false) });
        self.served.lock().expect("no panic").push(Arc::clone(&served));
        let _ = served.handle.receive_stream(Context::Serves(Arc::clone(&served)));
    }

    /// Sends back what has come; after the end, the end.
    fn serve(&self, served: &Arc<Served>, packet: Packet<Context>) {
        if packet.kind == OperationKind::ReceiveStream {
            match packet.result {
                Ok(0) => {
                    served.has_ended.store(true, Ordering::SeqCst);
                    let _ = served.handle.disconnect(packet.context);
                }
                Ok(_) => {
                    let _ = served.handle.send_quiet(packet.buffers, packet.context);
                }
                Err(_) => {}
            }
        }
    }

    fn ask(&self, asking: &Arc<Asking>, packet: Packet<Context>) {
        let context = || Context::Asks(Arc::clone(asking));
        let is_failure = match (packet.kind, &packet.result) {
            (OperationKind::Connect, Ok(_)) => {
                let _ = asking.handle.receive(room(), context());
                self.send_more(asking);
                false
            }
            (OperationKind::Send, Ok(_)) => {
                self.send_more(asking);
                false
            }
            (OperationKind::Receive, Ok(0)) => {
                let received = *asking.received.lock().expect("no panic");
                assert_eq!(received, self.plan_bytes, "the end comes after everything");
                self.is_over(asking);
                false
            }
            (OperationKind::Receive, Ok(bytes)) => {
                let mut received = asking.received.lock().expect("no panic");
                let came: Vec<u8> =
                    packet.buffers.iter().flat_map(|b| b.as_slice().iter().copied()).collect();
                assert_eq!(came.len(), *bytes);
                for byte in came {
                    assert_eq!(byte, byte_at(asking.connection, *received), "in order, once");
                    *received += 1;
                }
                drop(received);
                self.receive(asking);
                false
            }
            (OperationKind::Receive, Err(e)) if e.kind() == ErrorKind::Cancelled => {
                let _ = asking.handle.receive(room(), context());
                false
            }
            (OperationKind::Disconnect, Ok(_)) => false,
            _ => true,
        };
        if is_failure {
            if !asking.is_over.load(Ordering::SeqCst) {
                self.failed.fetch_add(1, Ordering::SeqCst);
            }
            self.is_over(asking);
        }
    }

    fn receive(&self, asking: &Arc<Asking>) {
        let context = Context::Asks(Arc::clone(asking));
        let started = asking.handle.receive(room(), context);
        if let Ok(operation) = started
            && self.has_cancels
            && self.packets.load(Ordering::SeqCst).is_multiple_of(3)
        {
            // It may be over by now.
            let _ = asking.handle.cancel(operation);
        }
    }

    fn send_more(&self, asking: &Arc<Asking>) {
        const PIECE_MAX: usize = 3000;
        let context = Context::Asks(Arc::clone(asking));
        let sent = asking.sent.load(Ordering::SeqCst);
        let piece = (self.plan_bytes - sent).min(1 + sent * 7 % PIECE_MAX + 200);
        if piece == 0 {
            let _ = asking.handle.disconnect(context);
            return;
        }
        asking.sent.store(sent + piece, Ordering::SeqCst);
        let bytes: Vec<u8> =
            (sent..sent + piece).map(|place| byte_at(asking.connection, place)).collect();
        let _ = match sent % 2 {
            0 => asking.handle.send(bytes, context),
            _ => {
                let (a, b) = bytes.split_at(piece / 2);
                let parts = vec![Buffer::from(a.to_vec()), Buffer::from(b.to_vec())];
                asking.handle.send(parts, context)
            }
        };
    }

    fn is_over(&self, asking: &Asking) {
        if !asking.is_over.swap(true, Ordering::SeqCst) {
            self.asking.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn room() -> Vec<u8> {
    Vec::with_capacity(1000)
}

#[test]
fn bytes_of_every_connection_come_in_order_and_once_or_it_fails() {
    World::check(300, |world| carry(world, &Plan::of(world.seed())));
}
