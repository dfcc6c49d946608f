//! What lies between two hosts: how long it takes, what it loses, how much it holds.

use super::random::Chance;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How bytes get from one host to another. Each direction of each connection goes by itself, so
/// connections overtake each other wherever the latency has a range.
///
/// ```
/// use anyport::sim::Link;
/// use std::time::Duration;
///
/// let slow = Link::new()
///     .latency(Duration::from_millis(20)..=Duration::from_millis(90))
///     .segment_max(100)
///     .resets(0.001);
/// # let _ = slow;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a link does nothing until a world has it"]
pub struct Link {
    pub(super) latency: RangeInclusive<Duration>,
    pub(super) segment_max: usize,
    pub(super) window: usize,
    pub(super) ragged: Chance,
    pub(super) short: Chance,
    pub(super) reset: Chance,
    pub(super) loss: Chance,
    pub(super) twice: Chance,
}

impl Link {
    /// A good link: 10 to 200 microseconds, nothing is lost, segments of up to 64 KiB.
    pub fn new() -> Self {
        Link {
            latency: Duration::from_micros(10)..=Duration::from_micros(200),
            segment_max: 64 << 10,
            window: 256 << 10,
            ragged: Chance::NEVER,
            short: Chance::NEVER,
            reset: Chance::NEVER,
            loss: Chance::NEVER,
            twice: Chance::NEVER,
        }
    }

    /// How long anything takes from one host to the other: each time chosen from this range.
    pub fn latency(mut self, range: RangeInclusive<Duration>) -> Self {
        self.latency = range;
        self
    }

    /// The most bytes of a segment, at least 1: a receive finds no more than has arrived.
    pub fn segment_max(mut self, bytes: usize) -> Self {
        self.segment_max = bytes.max(1);
        self
    }

    /// How many bytes of one direction may have been sent and not yet received, at least 1: the
    /// buffers of both ends together. Then a send finds no room.
    pub fn window(mut self, bytes: usize) -> Self {
        self.window = bytes.max(1);
        self
    }

    /// How often, 0 to 1, a segment is shorter than it could be, so that what was sent together
    /// arrives in pieces.
    pub fn ragged_segments(mut self, probability: f64) -> Self {
        self.ragged = Chance::of(probability);
        self
    }

    /// How often, 0 to 1, a receive or a send moves less than it could.
    pub fn short_transfers(mut self, probability: f64) -> Self {
        self.short = Chance::of(probability);
        self
    }

    /// How often, 0 to 1 for each segment, something between the hosts resets the connection.
    pub fn resets(mut self, probability: f64) -> Self {
        self.reset = Chance::of(probability);
        self
    }

    /// How often, 0 to 1, a datagram is lost. Streams lose nothing: what is lost is sent again, and
    /// late.
    pub fn datagram_loss(mut self, probability: f64) -> Self {
        self.loss = Chance::of(probability);
        self
    }

    /// How often, 0 to 1, a datagram arrives twice.
    pub fn datagram_copies(mut self, probability: f64) -> Self {
        self.twice = Chance::of(probability);
        self
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

/// All links of a world.
pub(super) struct Links {
    all_others: Link,
    by_hosts: BTreeMap<(IpAddr, IpAddr), Link>,
    /// From, to.
    cut: BTreeSet<(IpAddr, IpAddr)>,
}

impl Links {
    pub(super) fn new() -> Self {
        Links { all_others: Link::new(), by_hosts: BTreeMap::new(), cut: BTreeSet::new() }
    }

    pub(super) fn set_all(&mut self, link: Link) {
        self.all_others = link;
        self.by_hosts.clear();
    }

    /// In both directions.
    pub(super) fn set(&mut self, a: IpAddr, b: IpAddr, link: Link) {
        self.by_hosts.insert((b, a), link.clone());
        self.by_hosts.insert((a, b), link);
    }

    pub(super) fn between(&self, from: IpAddr, to: IpAddr) -> &Link {
        self.by_hosts.get(&(from, to)).unwrap_or(&self.all_others)
    }

    pub(super) fn cut(&mut self, from: IpAddr, to: IpAddr) {
        self.cut.insert((from, to));
    }

    pub(super) fn mend(&mut self, from: IpAddr, to: IpAddr) {
        self.cut.remove(&(from, to));
    }

    pub(super) fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.cut.contains(&(from, to))
    }
}
