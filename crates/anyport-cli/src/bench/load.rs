//! What a load is: who is loaded, with how many connections, with what, how fast, for how long.
//!
//! Filled by `bench`, `suite` and `demo`; read by everything that makes the load.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::sizes::SizeMix;
use super::source::Sources;
use crate::units::{format_count, format_duration, format_rounded, format_size};

/// The longest frame payload: the table of frames holds three of them.
const FRAMED_SIZE_MAX: usize = 64 << 20;

/// Most messages in flight in all: each has its send time, eight bytes.
const IN_FLIGHT_MAX: usize = 64 << 20;

/// What to do to whom.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) peer: SocketAddr,
    /// Connections at a time.
    pub(crate) conns: usize,
    /// How many of them carry traffic.
    pub(crate) active: usize,
    /// Payload sizes of messages.
    pub(crate) sizes: SizeMix,
    /// Messages in flight on each active connection; a constant rate does not look at it.
    pub(crate) pipeline: usize,
    /// Messages (with churn: connections) a second in all; none: as fast as they are answered.
    pub(crate) rate: Option<f64>,
    /// Whether a constant rate lets its thread sleep until the next message.
    pub(crate) sleeps: bool,
    /// Each connection carries one message and closes; another follows.
    pub(crate) is_churn: bool,
    /// The load grows evenly from nothing in this time, before the warm-up.
    pub(crate) ramp: Duration,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    /// The grain of the time line.
    pub(crate) interval: Duration,
    pub(crate) threads: usize,
    pub(crate) sources: Sources,
    pub(crate) is_verified: bool,
    pub(crate) is_framed: bool,
    pub(crate) congestion: Option<String>,
}

/// What makes the next message start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// The answer to the one before.
    Closed,
    /// The clock.
    Rate,
    /// The end of a connection.
    Churn,
}

impl Load {
    /// A closed loop of 64-byte messages, one in flight on each of `conns` connections, for three
    /// seconds after one of warm-up.
    pub(crate) fn closed(peer: SocketAddr, conns: usize) -> Self {
        Self {
            peer,
            conns,
            active: conns,
            sizes: SizeMix::one(64),
            pipeline: 1,
            rate: None,
            sleeps: false,
            is_churn: false,
            ramp: Duration::ZERO,
            warmup: Duration::from_secs(1),
            measured: Duration::from_secs(3),
            interval: Duration::from_secs(1),
            threads: 1,
            sources: Sources::default(),
            is_verified: false,
            is_framed: false,
            congestion: None,
        }
    }

    /// What makes the next message start.
    pub(crate) fn mode(&self) -> Mode {
        match (self.is_churn, self.rate) {
            (true, _) => Mode::Churn,
            (false, Some(_)) => Mode::Rate,
            (false, None) => Mode::Closed,
        }
    }

    /// Whether a thread with nothing to do looks again at once: to be woken costs some 50 us on many
    /// machines, which a latency from the due time would be charged with.
    pub(crate) fn spins(&self) -> bool {
        self.rate.is_some() && !self.sleeps
    }

    /// Time from the first message to the end of the measured window.
    pub(crate) fn lasting(&self) -> Duration {
        self.ramp + self.warmup + self.measured
    }

    /// Whether the load can be made at all: the limits that one flag alone does not show.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.is_framed && self.sizes.largest() > FRAMED_SIZE_MAX {
            return Err(format!(
                "--framed: a message has at most {}",
                format_size(FRAMED_SIZE_MAX)
            ));
        }
        if self.active.saturating_mul(self.pipeline) > IN_FLIGHT_MAX {
            return Err(format!("more than {IN_FLIGHT_MAX} messages in flight: lower --pipeline"));
        }
        if self.threads > self.active {
            return Err("--threads: each thread needs a connection with traffic".into());
        }
        if !self.sources.fit(self.peer.ip()) {
            return Err(format!("--source: {} is of another IP version", self.peer));
        }
        if self.lasting().as_secs_f64() / self.interval.as_secs_f64() > 1e6 {
            return Err("--interval: a time line has at most a million points".into());
        }
        Ok(())
    }

    /// What is sent on how many connections, and what makes the next message start.
    pub(crate) fn kind(&self) -> String {
        let conns = format_count(self.conns as u64);
        let mut text = match self.mode() {
            Mode::Churn => {
                format!("churn, {conns} connections at a time, one message of {} each", self.sizes)
            }
            _ => format!("{conns} connections, messages of {}", self.sizes),
        };
        if self.active < self.conns {
            text += &format!(", {} active", format_count(self.active as u64));
        }
        match (self.mode(), self.rate) {
            (Mode::Closed, _) => text += &format!(", pipeline {}", self.pipeline),
            (_, Some(rate)) => text += &format!(", {} a second", format_rounded(rate)),
            _ => {}
        }
        text
    }

    /// The load in one line.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{}: {}", self.peer, self.kind());
        if self.threads > 1 {
            text += &format!(", {} threads", self.threads);
        }
        text += &format!(", {}", format_duration(self.measured));
        let before = [(self.ramp, "ramp"), (self.warmup, "warm-up")];
        let before: Vec<String> = before
            .iter()
            .filter(|(time, _)| !time.is_zero())
            .map(|(time, name)| format!("{} of {name}", format_duration(*time)))
            .collect();
        if !before.is_empty() {
            text += &format!(" after {}", before.join(" and "));
        }
        if self.is_framed {
            text += ", framed";
        }
        text += if self.is_verified { ", every byte compared" } else { ", bytes counted" };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        Load::closed(([127, 0, 0, 1], 7000).into(), 10)
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(load().check(), Ok(()));
        for (bad, word) in [
            (Load { is_framed: true, sizes: SizeMix::one(1 << 30), ..load() }, "--framed"),
            (Load { pipeline: 1 << 30, ..load() }, "--pipeline"),
            (Load { threads: 11, ..load() }, "--threads"),
            (Load { sources: Sources::parse("::1").expect("one"), ..load() }, "--source"),
            (Load { interval: Duration::from_nanos(1), ..load() }, "--interval"),
        ] {
            assert!(bad.check().expect_err(word).contains(word));
        }
    }

    #[test]
    fn the_kind_of_a_load_tells_pipeline_rate_and_churn() {
        for (load, words) in [
            (load(), "10 connections, messages of 64, pipeline 1"),
            (Load { pipeline: 16, ..load() }, "10 connections, messages of 64, pipeline 16"),
            (Load { active: 2, ..load() }, "10 connections, messages of 64, 2 active, pipeline 1"),
            (Load { rate: Some(5e4), ..load() }, "10 connections, messages of 64, 50,000 a second"),
            (
                Load { is_churn: true, ..load() },
                "churn, 10 connections at a time, one message of 64 each",
            ),
        ] {
            assert_eq!(load.kind(), words);
            assert!(load.describe().contains(words), "{}", load.describe());
        }
    }

    #[test]
    fn churn_at_a_rate_is_churn() {
        assert_eq!(load().mode(), Mode::Closed);
        assert_eq!(Load { rate: Some(5.0), ..load() }.mode(), Mode::Rate);
        assert_eq!(Load { rate: Some(5.0), is_churn: true, ..load() }.mode(), Mode::Churn);
    }
}
