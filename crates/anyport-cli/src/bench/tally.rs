//! What was measured: counts, latencies, the time line; of one thread, and then of all.
//!
//! No clock and no I/O. Filled by `recorder`, added up by `generator`, read by `result` and
//! `report`.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer latencies count as this one: an hour.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// An empty histogram of nanoseconds, three digits exact.
pub(crate) fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3).expect("these bounds are in order")
}

/// Lines kept about what went wrong; the counts are complete.
pub(super) const NOTES_MAX: usize = 5;

/// Everything that was measured; of one thread, then of all.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Latencies of the measured window, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// Those whose handler stalled, as the server says.
    pub(crate) stalled: Histogram<u64>,
    /// By size of the mix; empty when there is one size.
    pub(crate) by_part: Vec<Histogram<u64>>,
    /// From the due time of a message to the call that sent it: the generator's own delay.
    pub(crate) send_lag: Histogram<u64>,
    /// From the start of a connect to its end; churn only.
    pub(crate) connect: Histogram<u64>,
    /// Messages and wire bytes that came back while the window was open.
    pub(crate) messages: u64,
    pub(crate) wire_bytes: u64,
    /// The part of the wire bytes that is payload, from 0 to 1.
    pub(crate) payload_share: f64,
    /// Messages that were due in the window, but that nobody had room for; they count as latencies
    /// with the time that they had waited.
    pub(crate) unsent: u64,
    /// How long the window was open.
    pub(crate) measured: Duration,
    /// CPU time that the threads used for the load in that time, and the highest share of its core
    /// that one did; none where the system does not tell.
    pub(crate) cpu: Option<Duration>,
    pub(crate) cpu_share: Option<f64>,
    pub(crate) intervals: Vec<Interval>,
    /// How long the connecting of all took, before the load.
    pub(crate) connected_in: Duration,
    /// Things that were tried and could fail: connections, or with churn exchanges.
    pub(crate) attempts: u64,
    /// Failures by kind; of the whole run.
    pub(crate) errors: BTreeMap<&'static str, u64>,
    /// Bytes that differed from what was sent, or were never sent; of the whole run.
    pub(crate) wrong_bytes: u64,
    /// The first few things that went wrong, in words.
    pub(crate) notes: Vec<String>,
}

impl Tally {
    /// Nothing measured yet, of a mix of `parts` sizes.
    pub(super) fn new(parts: usize) -> Self {
        Self {
            latency: new_histogram(),
            stalled: new_histogram(),
            by_part: (0..if parts > 1 { parts } else { 0 }).map(|_| new_histogram()).collect(),
            send_lag: new_histogram(),
            connect: new_histogram(),
            messages: 0,
            wire_bytes: 0,
            payload_share: 1.0,
            unsent: 0,
            measured: Duration::ZERO,
            cpu: None,
            cpu_share: None,
            intervals: Vec::new(),
            connected_in: Duration::ZERO,
            attempts: 0,
            errors: BTreeMap::new(),
            wrong_bytes: 0,
            notes: Vec::new(),
        }
    }

    /// Payload bytes in `wire_bytes`, on average.
    pub(crate) fn payload_of(&self, wire_bytes: u64) -> f64 {
        wire_bytes as f64 * self.payload_share
    }

    /// All failures.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Adds what another thread measured at the same time.
    pub(crate) fn merge(&mut self, other: Self) {
        self.latency += &other.latency;
        self.stalled += &other.stalled;
        for (mine, others) in self.by_part.iter_mut().zip(&other.by_part) {
            *mine += others;
        }
        self.send_lag += &other.send_lag;
        self.connect += &other.connect;
        self.messages += other.messages;
        self.wire_bytes += other.wire_bytes;
        self.unsent += other.unsent;
        self.measured = self.measured.max(other.measured);
        self.cpu = self.cpu.zip(other.cpu).map(|(mine, others)| mine + others);
        self.cpu_share = self.cpu_share.zip(other.cpu_share).map(|(a, b)| a.max(b));
        for (number, interval) in other.intervals.into_iter().enumerate() {
            match self.intervals.get_mut(number) {
                Some(mine) => mine.merge(interval),
                None => self.intervals.push(interval),
            }
        }
        self.attempts += other.attempts;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.wrong_bytes += other.wrong_bytes;
        self.notes.extend(other.notes);
        self.notes.truncate(NOTES_MAX);
    }
}

/// One piece of the time line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interval {
    /// When it began, in nanoseconds since the load began, and how long it was.
    pub(crate) begin: u64,
    pub(crate) lasting: u64,
    pub(crate) messages: u64,
    pub(crate) wire_bytes: u64,
    pub(crate) errors: u64,
    /// Latencies and how often each occurred.
    pub(super) counts: Vec<(u64, u64)>,
}

impl Interval {
    /// The latencies again.
    pub(crate) fn latency(&self) -> Histogram<u64> {
        let mut histogram = new_histogram();
        for &(value, count) in &self.counts {
            histogram.saturating_record_n(value, count);
        }
        histogram
    }

    fn merge(&mut self, other: Self) {
        self.messages += other.messages;
        self.wire_bytes += other.wire_bytes;
        self.errors += other.errors;
        let mut both: BTreeMap<u64, u64> = self.counts.drain(..).collect();
        for (value, count) in other.counts {
            *both.entry(value).or_default() += count;
        }
        self.counts = both.into_iter().collect();
    }
}
