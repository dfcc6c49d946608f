//! One run: a port, its threads, its connections, from the first message until nothing is left.

use crate::end::{Context, End, Receiving, Run, handle};
use crate::message::Script;
use crate::world::{DEADLINE, builder, end_with_nothing_left, pair};
use anyport::buf::SizeClass;
use anyport::fault_points::Armed;
use anyport::net::{Socket, SocketHandle};
use anyport::{BackendKind, CompletionPort, WorkerPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const CONNECTIONS: u32 = 6;

const MESSAGES: u32 = 30;

/// One packet in so many keeps its handler for so long, so that threads lose their seats.
const BLOCKED_EVERY: usize = 61;
const BLOCKED: Duration = Duration::from_millis(2);

/// Packets that a thread of the user's takes before it ends.
const TAKEN_BY_GUEST: u32 = 8;

/// The threads of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads {
    pub(crate) running: usize,
    pub(crate) workers: usize,
    /// Threads of the user's that come, one after the other, and end.
    pub(crate) guests: u32,
}

/// More than may run, and than have a ring of their own.
pub(crate) const CROWD: Threads = Threads { running: 2, workers: 6, guests: 0 };

/// More than may run, each with a ring of its own.
pub(crate) const LANED: Threads = Threads { running: 2, workers: 4, guests: 0 };

/// Fewer than may run, so that there is a seat for each guest.
pub(crate) const GUESTS: Threads = Threads { running: 3, workers: 2, guests: 5 };

/// Runs it; panics with a diagnosis when something is wrong.
pub(crate) fn run(kind: BackendKind, threads: Threads, seed: u64, armed: &Armed) {
    let port: CompletionPort<Context> = builder(kind)
        .concurrency(threads.running)
        // Soon reached: a stream that does not keep up pauses.
        .stream_backlog_max(4)
        .build()
        .expect("the backend is there");
    let packets = Arc::new(AtomicUsize::new(0));
    let pool = {
        let packets = Arc::clone(&packets);
        WorkerPool::builder(&port).threads(threads.workers).start(move |packet, _| {
            if packets.fetch_add(1, Ordering::Relaxed).is_multiple_of(BLOCKED_EVERY) {
                thread::sleep(BLOCKED);
            }
            handle(packet);
        })
    };
    let pool = pool.expect("threads are to be had");
    let run = Arc::<Run>::default();
    let ends: Vec<_> =
        (0..CONNECTIONS).flat_map(|connection| connect(&port, connection, seed, &run)).collect();
    ends.iter().for_each(End::start);
    for guest in 0..threads.guests {
        come_and_go(&port, guest, &run);
    }
    if let Err(failure) = run.wait(CONNECTIONS as usize, DEADLINE) {
        let progress: Vec<_> = ends.iter().map(|end| end.progress()).collect();
        let stats = port.stats();
        // Its threads may be stuck for good.
        std::mem::forget((pool, port, ends));
        panic!("{failure}\n{progress:#?}\n{stats:?}\n{}", armed.report());
    }
    drop(ends);
    end_with_nothing_left(port, pool);
}

/// The two ends of a connection, which receive in one way or another.
fn connect(
    port: &CompletionPort<Context>,
    connection: u32,
    seed: u64,
    run: &Arc<Run>,
) -> [Arc<End>; 2] {
    let (near, far) = pair();
    far.set_read_timeout(None).expect("it is open");
    far.set_write_timeout(None).expect("it is open");
    let (asks, echoes) = match connection % 3 {
        0 => (Receiving::Stream, Receiving::Stream),
        1 => (Receiving::Stream, Receiving::Pooled),
        _ => (Receiving::Pooled, Receiving::Own),
    };
    let script = Script { connection, seed, messages: MESSAGES };
    let ends = [(near, asks, Some(script)), (Socket::from(far), echoes, None)];
    ends.map(|(socket, receiving, script)| {
        let handle: SocketHandle<Context> = port.associate(socket, 1).expect("a new socket");
        if connection < 2 {
            // Its messages go in many parts.
            handle.set_send_buffer_size(64 << 10).expect("it is open");
            handle.set_receive_class(SizeClass::Large64K);
        }
        End::new(handle, receiving, script, run)
    })
}

/// A thread of the user's takes a few packets, and ends with a receive of its own under way, whose
/// connection is closed afterwards: its peer must learn of that.
fn come_and_go(port: &CompletionPort<Context>, guest: u32, run: &Run) {
    let (ours, peer) = pair();
    let handle: SocketHandle<Context> = port.associate(ours, 2).expect("a new socket");
    thread::scope(|scope| {
        scope.spawn(|| {
            // Only who is seated has a lane: a first packet, which may be anybody's.
            assert!(port.post(0, 0, None).is_ok(), "there is room");
            for taken in 0..TAKEN_BY_GUEST {
                if let Ok(packet) = port.get(Some(Duration::from_millis(5))) {
                    crate::end::handle(packet);
                }
                if taken == 1 {
                    let started = match guest % 2 {
                        0 => handle.receive_pooled(None),
                        _ => handle.receive_stream(None),
                    };
                    started.expect("it is connected");
                }
            }
        });
    });
    drop(handle);
    let mut byte = [0];
    if !matches!(std::io::Read::read(&mut &peer, &mut byte), Ok(0)) {
        run.fail(format!("the peer of guest {guest} does not learn of the close"));
    }
}
