//! The whole result of one load: what `--json` writes and what the report and the text show.
//!
//! The fields of `Row` come first and keep their meaning; everything else is added to them. Times
//! are in microseconds unless the name says otherwise. Called by `bench` and `suite`.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::load::{Load, Mode};
use super::recorder::Window;
use super::report::{Row, format_latency, rounded};
use super::tally::{Interval, Tally};
use crate::units::{format_count, format_rounded};

/// Above this share of its core, the generator may be what was measured.
const CPU_SHARE_MAX: f64 = 0.9;

/// Below this part of the rate that was asked for, the load was not the one asked for.
const RATE_MET: f64 = 0.99;

/// Buckets of the printed histogram for each doubling of the latency.
const BUCKETS_PER_DOUBLING: f64 = 8.0;

/// One load and what came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BenchResult {
    #[serde(flatten)]
    pub(crate) row: Row,
    /// The load in words, for people.
    #[serde(skip)]
    pub(crate) load: String,
    /// Of the program that measured.
    pub(crate) version: &'static str,
    pub(crate) label: Option<String>,
    pub(crate) addr: String,
    pub(crate) mode: Mode,
    pub(crate) active: usize,
    pub(crate) pipeline: usize,
    pub(crate) threads: usize,
    /// As on the command line: `64:90,16k:10`.
    pub(crate) sizes: String,
    /// Messages (with churn: exchanges) a second that were asked for; null: as fast as answered.
    pub(crate) rate_per_s: Option<f64>,
    pub(crate) framed: bool,
    pub(crate) verified: bool,
    pub(crate) ramp_s: f64,
    pub(crate) warmup_s: f64,
    /// The measured window as it really was.
    pub(crate) duration_s: f64,
    /// Messages that came back in the measured window.
    pub(crate) messages: u64,
    /// Messages that were due in the window but never sent, for want of room; each counts as a
    /// latency with the time that it had waited.
    pub(crate) unsent: u64,
    /// The row's percentiles and more.
    pub(crate) min_us: Option<f64>,
    pub(crate) mean_us: Option<f64>,
    pub(crate) p75_us: Option<f64>,
    pub(crate) p90_us: Option<f64>,
    pub(crate) p9999_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    /// Connections, or with churn exchanges, that were tried.
    pub(crate) attempts: u64,
    pub(crate) errors_by_kind: BTreeMap<&'static str, u64>,
    /// Errors that `--max-errors` puts up with.
    pub(crate) errors_allowed: u64,
    /// How long all connections took to connect, in seconds; churn connects all the time.
    pub(crate) connect_s: f64,
    /// Each connect of churn.
    pub(crate) connect: Option<Quantiles>,
    /// How late the generator itself was; constant rates only.
    pub(crate) send_lag: Option<Quantiles>,
    /// The highest share of its core that a thread of the generator used; 1 is all of it.
    pub(crate) generator_cpu_share: Option<f64>,
    pub(crate) generator_cpu_us_per_msg: Option<f64>,
    /// Whether the generator may be what was measured.
    pub(crate) generator_is_limit: Option<bool>,
    /// Messages whose handler stalled, as the server says, and all others.
    pub(crate) stalled: Option<Quantiles>,
    pub(crate) others: Option<Quantiles>,
    /// Each size of a mix.
    pub(crate) by_size: Vec<SizeLatency>,
    pub(crate) timeline: Vec<Point>,
    pub(crate) histogram: Vec<Bucket>,
    /// Lowest and highest value of some figures, where a suite made several runs.
    pub(crate) spread: BTreeMap<&'static str, [f64; 2]>,
}

/// The distribution of some latencies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) messages: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) p9999_us: f64,
    pub(crate) max_us: f64,
}

/// The latencies of one size of a mix.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SizeLatency {
    pub(crate) size: usize,
    #[serde(flatten)]
    pub(crate) latency: Quantiles,
}

/// One point of the time line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// When it begins, in seconds since the measured window did; negative before.
    pub(crate) t_s: f64,
    pub(crate) lasting_s: f64,
    pub(crate) msgs_per_s: f64,
    pub(crate) mb_per_s: f64,
    /// Null when nothing came back.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    pub(crate) errors: u64,
}

/// One bar of the histogram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    /// Latencies from here (excluded) to there.
    pub(crate) from_us: f64,
    pub(crate) to_us: f64,
    pub(crate) count: u64,
}

impl BenchResult {
    /// What came of `load`; `errors_allowed` is the budget in errors.
    pub(crate) fn new(load: &Load, tally: &Tally, errors_allowed: u64) -> Self {
        let is_churn = load.mode() == Mode::Churn;
        let at = |quantile: f64| quantile_us(&tally.latency, quantile);
        let some = |value: f64| (!tally.latency.is_empty()).then(|| rounded(value / 1e3));
        let is_stalled = !tally.stalled.is_empty();
        let others = is_stalled.then(|| {
            let mut others = tally.latency.clone();
            // Stalled messages are among all; nothing can be missing.
            let _ = others.subtract(&tally.stalled);
            others
        });
        let cpu_per_message = |cpu: std::time::Duration| {
            (tally.messages > 0).then(|| rounded(cpu.as_secs_f64() * 1e6 / tally.messages as f64))
        };
        Self {
            row: Row::from_outcome(load.conns, load.sizes.mean().round() as usize, tally),
            load: load.kind(),
            version: env!("CARGO_PKG_VERSION"),
            label: None,
            addr: load.peer.to_string(),
            mode: load.mode(),
            active: load.active,
            pipeline: load.pipeline,
            threads: load.threads,
            sizes: load.sizes.to_string(),
            rate_per_s: load.rate,
            framed: load.is_framed,
            verified: load.is_verified,
            ramp_s: load.ramp.as_secs_f64(),
            warmup_s: load.warmup.as_secs_f64(),
            duration_s: rounded(tally.measured.as_secs_f64()),
            messages: tally.messages,
            unsent: tally.unsent,
            min_us: some(tally.latency.min() as f64),
            mean_us: some(tally.latency.mean()),
            p75_us: at(0.75),
            p90_us: at(0.9),
            p9999_us: at(0.9999),
            max_us: at(1.0),
            attempts: tally.attempts,
            errors_by_kind: tally.errors.clone(),
            errors_allowed,
            connect_s: rounded(if is_churn { 0.0 } else { tally.connected_in.as_secs_f64() }),
            connect: Quantiles::of(&tally.connect),
            send_lag: load.rate.and_then(|_| Quantiles::of(&tally.send_lag)),
            generator_cpu_share: tally.cpu_share.map(rounded),
            generator_cpu_us_per_msg: tally.cpu.and_then(cpu_per_message),
            generator_is_limit: tally.cpu_share.map(|share| share > CPU_SHARE_MAX),
            stalled: Quantiles::of(&tally.stalled),
            others: others.as_ref().and_then(Quantiles::of),
            by_size: load
                .sizes
                .parts()
                .iter()
                .zip(&tally.by_part)
                .filter_map(|(part, latency)| {
                    Some(SizeLatency { size: part.size, latency: Quantiles::of(latency)? })
                })
                .collect(),
            timeline: points(tally, Window::new(load)),
            histogram: buckets(&tally.latency),
            spread: BTreeMap::new(),
        }
    }

    /// Whether the budget of errors holds and no byte was wrong.
    pub(crate) fn is_well(&self) -> bool {
        self.row.wrong_bytes == 0 && self.row.errors <= self.errors_allowed
    }

    /// What a reader must know before trusting the figures.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.generator_is_limit == Some(true) {
            warnings.push(format!(
                "the generator used {:.0} % of its core: it may be what was measured, not the \
                 server (more --threads, if there are cores)",
                self.generator_cpu_share.unwrap_or(0.0) * 100.0
            ));
        }
        if let Some(rate) = self.rate_per_s.filter(|rate| self.row.msgs_per_s < rate * RATE_MET) {
            warnings.push(format!(
                "{} a second were asked for, {} came back",
                format_rounded(rate),
                format_rounded(self.row.msgs_per_s)
            ));
        }
        if self.unsent > 0 {
            warnings.push(format!(
                "{} messages were due but could not be sent: they count with the time that they \
                 had waited by the end",
                format_count(self.unsent)
            ));
        }
        if let Some((lag, p99)) = self.send_lag.map(|lag| lag.p99_us).zip(self.row.p99_us)
            && lag > p99 / 2.0
        {
            warnings.push(format!(
                "the generator itself sent late, p99 {}: part of the latency is its own",
                format_latency(lag)
            ));
        }
        warnings
    }
}

impl Quantiles {
    /// None when there is no latency.
    pub(crate) fn of(latency: &Histogram<u64>) -> Option<Self> {
        Some(Self {
            messages: latency.len(),
            p50_us: quantile_us(latency, 0.5)?,
            p99_us: quantile_us(latency, 0.99)?,
            p999_us: quantile_us(latency, 0.999)?,
            p9999_us: quantile_us(latency, 0.9999)?,
            max_us: quantile_us(latency, 1.0)?,
        })
    }
}

fn quantile_us(latency: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!latency.is_empty()).then(|| rounded(latency.value_at_quantile(quantile) as f64 / 1e3))
}

fn points(tally: &Tally, window: Window) -> Vec<Point> {
    let point = |interval: &Interval| {
        let lasting_s = interval.lasting as f64 / 1e9;
        let latency = interval.latency();
        Point {
            t_s: rounded((interval.begin as f64 - window.begin as f64) / 1e9),
            lasting_s: rounded(lasting_s),
            msgs_per_s: rounded(interval.messages as f64 / lasting_s),
            mb_per_s: rounded(tally.payload_of(interval.wire_bytes) / lasting_s / 1e6),
            p50_us: quantile_us(&latency, 0.5),
            p99_us: quantile_us(&latency, 0.99),
            p999_us: quantile_us(&latency, 0.999),
            max_us: quantile_us(&latency, 1.0),
            errors: interval.errors,
        }
    };
    tally.intervals.iter().filter(|interval| interval.lasting > 0).map(point).collect()
}

fn buckets(latency: &Histogram<u64>) -> Vec<Bucket> {
    let edge_us = |number: i32| 2f64.powf(f64::from(number) / BUCKETS_PER_DOUBLING);
    let mut counts = BTreeMap::<i32, u64>::new();
    for step in latency.iter_recorded() {
        let us = (step.value_iterated_to() as f64 / 1e3).max(1e-3);
        let number = (us.log2() * BUCKETS_PER_DOUBLING).ceil() as i32;
        *counts.entry(number).or_default() += step.count_at_value();
    }
    let bucket = |(number, count): (i32, u64)| Bucket {
        from_us: rounded(edge_us(number - 1)),
        to_us: rounded(edge_us(number)),
        count,
    };
    counts.into_iter().map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::super::recorder::Recorder;
    use super::super::tally::new_histogram;
    use super::*;
    use std::time::Duration;

    fn result(load: &Load, change: impl FnOnce(&mut Tally)) -> BenchResult {
        let mut recorder = Recorder::new(load, 1.0);
        let second = 1_000_000_000;
        recorder.roll(second);
        (0..100).for_each(|us| recorder.on_message(us * 1000, 0, us % 10 == 0));
        let mut tally = recorder.finish(4 * second);
        change(&mut tally);
        BenchResult::new(load, &tally, 2)
    }

    fn load() -> Load {
        Load::closed(([127, 0, 0, 1], 7000).into(), 1)
    }

    #[test]
    fn a_generator_above_its_share_of_a_core_says_so() {
        let with_share = |share| result(&load(), |tally| tally.cpu_share = Some(share));
        let limit = with_share(0.95);
        assert_eq!(limit.generator_is_limit, Some(true));
        assert!(limit.warnings()[0].contains("95 % of its core"));
        let fine = with_share(0.85);
        assert_eq!(fine.generator_is_limit, Some(false));
        assert!(fine.warnings().is_empty());
        let unknown = result(&load(), |tally| tally.cpu_share = None);
        assert_eq!(unknown.generator_is_limit, None);
    }

    #[test]
    fn a_rate_that_was_not_met_says_so() {
        let asked = |rate| Load { rate: Some(rate), ..load() };
        let second = |tally: &mut Tally| {
            tally.cpu_share = None;
            tally.measured = Duration::from_secs(1);
        };
        assert!(result(&asked(100.0), second).warnings().is_empty());
        assert!(result(&asked(200.0), second).warnings()[0].contains("200 a second were asked"));
    }

    #[test]
    fn a_generator_that_sent_late_says_so_in_the_unit_of_the_report() {
        let late = result(&Load { rate: Some(1.0), ..load() }, |tally| {
            tally.cpu_share = None;
            tally.send_lag.saturating_record(3_678_000);
        });
        let warnings = late.warnings().join("\n");
        assert!(warnings.contains("p99 3.68 ms: part of"), "{warnings}");
    }

    #[test]
    fn stalled_messages_and_the_others_are_all() {
        let result = result(&load(), |_| ());
        let (stalled, others) = (result.stalled.expect("some"), result.others.expect("some"));
        assert_eq!((stalled.messages, others.messages), (10, 90));
    }

    #[test]
    fn the_budget_covers_errors_and_never_wrong_bytes() {
        let with_errors = |count| {
            result(&load(), |tally| {
                tally.errors.insert("closed", count);
            })
        };
        assert!(with_errors(2).is_well());
        assert!(!with_errors(3).is_well());
        assert!(!result(&load(), |tally| tally.wrong_bytes = 1).is_well());
    }

    #[test]
    fn the_bars_of_the_histogram_hold_every_message() {
        let mut latency = new_histogram();
        for us in [1, 50, 51, 1000, 20_000] {
            latency.saturating_record_n(us * 1000, us);
        }
        let bars = buckets(&latency);
        assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), latency.len());
        assert!(bars.iter().all(|bar| bar.from_us < bar.to_us));
        let at = bars.iter().find(|bar| bar.from_us < 1000.0 && 1000.0 <= bar.to_us);
        assert_eq!(at.expect("a bar").count, 1000);
    }

    #[test]
    fn nothing_measured_has_no_quantiles() {
        assert_eq!(Quantiles::of(&new_histogram()), None);
    }
}
