//! What a runtime counts.

use crate::sys::now;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Bounds of the poll-time histogram in microseconds: a bucket counts polls of up to its bound; one
/// more counts the longer ones.
pub const POLL_TIME_BOUNDS: [u64; 10] = [1, 4, 16, 64, 256, 1_000, 4_000, 16_000, 64_000, 256_000];

const BUCKETS: usize = POLL_TIME_BOUNDS.len() + 1;

/// Counters of a runtime, as they were at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Threads that poll tasks.
    pub workers: usize,
    /// Tasks that were spawned.
    pub tasks_spawned: u64,
    /// Tasks that are not over.
    pub tasks_alive: usize,
    /// Polls of tasks.
    pub polls: u64,
    /// Tasks that wait for a worker.
    pub queue_depth: usize,
    /// Packets that a worker took in place of another that had no time for them.
    pub steals: u64,
    /// Times that a worker was blocked in a poll and another took its place.
    pub stand_ins: u64,
    /// Operations under way.
    pub operations: usize,
    /// Bytes of pooled buffers that are in use: by tasks that hold what they have received, by what has
    /// arrived and nobody has taken, and by the kernel, which is lent some.
    pub pool_bytes_taken: usize,
    /// Bytes that the pool of buffers holds, taken or free.
    pub pool_bytes_held: usize,
    /// The most that it may hold, after which receives wait: see [`Builder::pool`](super::Builder::pool).
    pub pool_bytes_max: usize,
    /// Threads for blocking calls, busy or not.
    pub blocking_threads: usize,
    /// Blocking calls that wait for a thread.
    pub blocking_queued: usize,
    /// Polls by their time, of as many buckets as [`POLL_TIME_BOUNDS`] and one more for longer ones;
    /// all 0 unless [`Builder::poll_times`](super::Builder::poll_times) is on.
    pub poll_times: [u64; BUCKETS],
}

/// The counters that change with each poll: a set a worker, so that no two write to the same line.
pub(super) struct Counters {
    sets: Vec<CounterSet>,
    is_timing: AtomicBool,
}

#[derive(Default)]
#[repr(align(128))]
struct CounterSet {
    polls: AtomicU64,
    times: [AtomicU64; BUCKETS],
}

thread_local! {
    /// Which set is the calling worker's; polls happen on workers only.
    static SET: Cell<usize> = const { Cell::new(0) };
}

impl Counters {
    pub(super) fn new(workers: usize) -> Self {
        let sets = (0..workers.max(1)).map(|_| CounterSet::default()).collect();
        Counters { sets, is_timing: AtomicBool::new(false) }
    }

    pub(super) fn workers(&self) -> usize {
        self.sets.len()
    }

    pub(super) fn set_timing(&self, on: bool) {
        self.is_timing.store(on, Ordering::Relaxed);
    }

    /// The calling thread is the worker of this number.
    pub(super) fn adopt(number: usize) {
        SET.set(number);
    }

    pub(super) fn count_poll(&self) {
        self.set().polls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn time_poll<R>(&self, poll: impl FnOnce() -> R) -> R {
        if !self.is_timing.load(Ordering::Relaxed) {
            return poll();
        }
        let start = now();
        let result = poll();
        let bucket = bucket_of(now().saturating_duration_since(start));
        self.set().times[bucket].fetch_add(1, Ordering::Relaxed);
        result
    }

    pub(super) fn polls(&self) -> u64 {
        self.sets.iter().map(|set| set.polls.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn poll_times(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|i| {
            self.sets.iter().map(|set| set.times[i].load(Ordering::Relaxed)).sum()
        })
    }

    fn set(&self) -> &CounterSet {
        &self.sets[SET.get() % self.sets.len()]
    }
}

fn bucket_of(time: Duration) -> usize {
    let micros = time.as_micros();
    POLL_TIME_BOUNDS.iter().position(|&bound| micros <= u128::from(bound)).unwrap_or(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let of = |micros| bucket_of(Duration::from_micros(micros));
        assert_eq!([of(0), of(1), of(2), of(256_000), of(256_001)], [0, 0, 1, 9, 10]);
    }
}
