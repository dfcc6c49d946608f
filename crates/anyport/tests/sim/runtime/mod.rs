//! The runtime in simulated worlds: its tasks, timers, streams and files, and how it ends, in
//! thousands of orders.

mod datagrams;
mod ending;
mod files;
mod repeat;
mod server;
mod streams;
mod stuck;
mod tasks;
mod timers;

use crate::choices::Choices;
use anyport::buf::PoolOptions;
use anyport::rt::Runtime;
use anyport::sim::{Link, System, World};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

/// Longer than anything takes that comes to its end.
const AMPLE: Duration = Duration::from_secs(300);

/// A runtime of few threads, as the choices have it; on the host of the calling thread.
fn runtime(choices: &mut Choices) -> Runtime {
    let concurrency = 1 + choices.below(2);
    let workers = concurrency + 1 + choices.below(2);
    // With little room receives wait for each other's buffers.
    let pool = PoolOptions::new().bytes_max([256 << 20, 128 << 10][choices.below(2)]);
    let builder = Runtime::builder().workers(workers).concurrency(concurrency).pool(pool);
    builder.build().expect("a runtime")
}

/// A system that does what one may: late, early, for nothing, and in any order.
fn unsettled(choices: &mut Choices) -> System {
    System::new()
        .interruptions([0.0, 0.1][choices.below(2)])
        .late_cancels([0.1, 0.9][choices.below(2)])
        .hand_overs([0.02, 0.2][choices.below(2)])
        .early_wakes([0.0, 0.05][choices.below(2)])
        .tells_within(Duration::ZERO..=Duration::from_micros([20, 1000][choices.below(2)]))
}

/// A network that loses nothing, and has nothing else to recommend it.
fn winding(choices: &mut Choices) -> Link {
    Link::new()
        .latency(Duration::ZERO..=Duration::from_micros([10, 500, 5000][choices.below(3)]))
        .window([100, 4096, 256 << 10][choices.below(3)])
        .segment_max([17, 1000, 64 << 10][choices.below(3)])
        .ragged_segments([0.0, 0.3][choices.below(2)])
        .short_transfers([0.0, 0.3][choices.below(2)])
}

/// After so many bytes a stream repeats itself: a prime, so that no buffer's size divides it.
const PERIOD: usize = 65_521;

static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..PERIOD).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect());

/// So many bytes of a stream from there on, in pieces.
fn pieces(stream: usize, from: usize, count: usize) -> impl Iterator<Item = &'static [u8]> {
    let mut from = from + stream * 7919;
    let mut left = count;
    std::iter::from_fn(move || {
        let piece = &PATTERN[from % PERIOD..];
        let piece = &piece[..piece.len().min(left)];
        (from, left) = (from + piece.len(), left - piece.len());
        (!piece.is_empty()).then_some(piece)
    })
}

fn bytes(stream: usize, from: usize, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    pieces(stream, from, count).for_each(|piece| bytes.extend_from_slice(piece));
    bytes
}

/// A stream as its receiver sees it.
struct Checked {
    stream: usize,
    position: usize,
}

impl Checked {
    fn new(stream: usize) -> Self {
        Checked { stream, position: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.look_at(bytes);
        self.position += bytes.len();
    }

    fn look_at(&self, mut bytes: &[u8]) {
        for piece in pieces(self.stream, self.position, bytes.len()) {
            let (now, later) = bytes.split_at(piece.len());
            assert!(now == piece, "stream {} after {}", self.stream, self.position);
            bytes = later;
        }
    }
}

/// Counts those that exist.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// As a panic, without the report.
fn give_up() -> ! {
    std::panic::resume_unwind(Box::new("on purpose"))
}

/// The main thread of the run sleeps until it is so.
fn wait_until(world: &World, what: &str, is_so: impl Fn() -> bool) {
    let deadline = world.now() + AMPLE;
    while !is_so() {
        assert!(world.now() < deadline, "{what}");
        world.sleep(Duration::from_millis(1));
    }
}
