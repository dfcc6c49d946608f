//! `anyport bench suite`: the experiments E1 to E9, by name, against any address.
//!
//! The definitions are here and in docs/performance.md, word for word the same load; every figure
//! that the project states comes from one of them. Rounds go through all experiments in turn, so
//! that a disturbance hits one round and not one experiment. Called by `bench`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;

use super::budget::ErrorBudget;
use super::generator::Failure;
use super::load::Load;
use super::report::{HEADINGS, Row, print, table, write_json};
use super::result::BenchResult;
use super::sizes::SizeMix;
use super::source::Sources;
use super::{Measured, html, measure};
use crate::args::SuiteArgs;
use crate::ending::Ending;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::units::{format_duration, format_rounded};

/// One experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Experiment {
    #[value(name = "E1")]
    E1,
    #[value(name = "E2")]
    E2,
    #[value(name = "E3")]
    E3,
    #[value(name = "E4")]
    E4,
    #[value(name = "E5")]
    E5,
    #[value(name = "E6")]
    E6,
    #[value(name = "E7")]
    E7,
    #[value(name = "E8")]
    E8,
    #[value(name = "E9")]
    E9,
}

impl Experiment {
    fn name(self) -> String {
        format!("{self:?}")
    }

    /// The load that it is, on `peer`.
    fn load(self, peer: SocketAddr, rate: f64) -> Load {
        let closed = |conns: usize, size: usize| Load {
            sizes: SizeMix::one(size),
            ..Load::closed(peer, conns)
        };
        match self {
            Self::E1 => closed(1000, 64),
            Self::E2 => closed(1000, 1024),
            Self::E3 => closed(1000, 16_384),
            Self::E4 => closed(5000, 16_384),
            Self::E5 => Load { pipeline: 16, ..closed(50, 64) },
            Self::E6 => Load { rate: Some(rate), ..closed(5000, 64) },
            Self::E7 => Load { active: 200, ..closed(19_800, 64) },
            Self::E8 => Load { is_churn: true, sources: churn_sources(peer), ..closed(64, 64) },
            Self::E9 => closed(64, 64),
        }
    }
}

/// Churn uses up the ports of one address; where every address of 127.0.0.0/8 is this machine's,
/// it takes 200 of them.
fn churn_sources(peer: SocketAddr) -> Sources {
    let is_local = peer.is_ipv4() && peer.ip().is_loopback() && cfg!(target_os = "linux");
    let range = is_local.then(|| Sources::parse("127.0.1.1-127.0.1.200").ok()).flatten();
    range.unwrap_or_default()
}

/// Runs the experiments of the command line.
pub(crate) fn run(args: &SuiteArgs, interrupt: &Interrupt) -> Ending {
    let mut experiments = args.experiments.clone();
    if experiments.is_empty() {
        experiments = Experiment::value_variants().to_vec();
    }
    let loads: Vec<Load> = experiments.iter().map(|experiment| load(*experiment, args)).collect();
    if let Some(why) = loads.iter().find_map(|load| load.check().err()) {
        return Ending::Usage(why);
    }
    let mut progress = Progress::new();
    let mut runs: Vec<Vec<BenchResult>> = experiments.iter().map(|_| Vec::new()).collect();
    let mut troubles = Vec::new();
    for round in 1..=args.rounds {
        for (number, (experiment, load)) in experiments.iter().zip(&loads).enumerate() {
            let name = experiment.name();
            let step = format!("round {round} of {}, {name}: ", args.rounds);
            let budget = ErrorBudget::Count(0);
            match measure(load, budget, args.pid, interrupt, &mut progress, &step) {
                Ok(Measured { mut result, notes }) => {
                    troubles.extend(notes.iter().map(|note| format!("{name}: {note}")));
                    result.label = Some(name);
                    runs[number].push(result);
                }
                Err(Failure::Interrupted) => return Ending::Interrupted,
                Err(Failure::Message(why)) => troubles.push(format!("{name}: {why}")),
            }
        }
    }
    progress.clear();
    let is_well = troubles.is_empty() && runs.iter().flatten().all(BenchResult::is_well);
    let results: Vec<BenchResult> = runs.into_iter().filter_map(median).collect();
    match report(args, &results, &troubles) {
        Err(why) => Ending::Failed(why),
        Ok(()) if is_well => Ending::Well,
        Ok(()) => Ending::Wrong,
    }
}

fn load(experiment: Experiment, args: &SuiteArgs) -> Load {
    Load {
        measured: args.duration,
        warmup: args.warmup,
        interval: args.duration.min(Duration::from_secs(1)),
        threads: args.threads,
        is_verified: args.verify,
        is_framed: args.framed,
        congestion: args.congestion.clone(),
        ..experiment.load(args.addr, args.rate)
    }
}

/// The run in the middle, by throughput, or where that was given by p99; with the spread of all.
fn median(mut runs: Vec<BenchResult>) -> Option<BenchResult> {
    let spread = spread(&runs);
    runs.sort_by(|a, b| match a.rate_per_s {
        None => a.row.msgs_per_s.total_cmp(&b.row.msgs_per_s),
        Some(_) => a.row.p99_us.unwrap_or(0.0).total_cmp(&b.row.p99_us.unwrap_or(0.0)),
    });
    let middle = runs.len().checked_sub(1)? / 2;
    Some(BenchResult { spread, ..runs.swap_remove(middle) })
}

/// A figure of a row; none where it was not measured.
type Figure = fn(&Row) -> Option<f64>;

/// What varies from run to run.
const SPREAD: [(&str, Figure); 6] = [
    ("msgs_per_s", |row| Some(row.msgs_per_s)),
    ("mb_per_s", |row| Some(row.mb_per_s)),
    ("p50_us", |row| row.p50_us),
    ("p99_us", |row| row.p99_us),
    ("p999_us", |row| row.p999_us),
    ("cpu_us_per_msg", |row| row.cpu_us_per_msg),
];

/// Lowest and highest value of each figure; empty for a single run.
fn spread(runs: &[BenchResult]) -> BTreeMap<&'static str, [f64; 2]> {
    let range = |&(name, figure): &(&'static str, Figure)| {
        let values = runs.iter().filter_map(|run| figure(&run.row));
        let range = values
            .fold([f64::MAX, f64::MIN], |[low, high], value| [low.min(value), high.max(value)]);
        (range[0] <= range[1]).then_some((name, range))
    };
    if runs.len() > 1 { SPREAD.iter().filter_map(range).collect() } else { BTreeMap::new() }
}

fn report(args: &SuiteArgs, results: &[BenchResult], troubles: &[String]) -> Result<(), String> {
    let title = format!(
        "{}: each experiment {} after {} of warm-up, {} round(s), the median one is shown",
        args.addr,
        format_duration(args.duration),
        format_duration(args.warmup),
        args.rounds,
    );
    if args.json.as_deref() != Some(Path::new("-")) {
        print(&format!("{title}\n\n{}", text(results)));
    }
    for trouble in troubles {
        eprintln!("anyport: {trouble}");
    }
    if let Some(path) = &args.json {
        write_json(path, &results)?;
    }
    args.html.as_ref().map_or(Ok(()), |path| html::write(path, &title, results))
}

fn text(results: &[BenchResult]) -> String {
    let mut headings = vec!["name"];
    headings.extend(&HEADINGS[2..]);
    headings.push("generator %");
    let cells = |result: &BenchResult| {
        let mut cells = vec![result.label.clone().unwrap_or_default()];
        cells.extend(result.row.cells().into_iter().skip(2));
        let share = result.generator_cpu_share;
        cells.push(share.map_or_else(|| "-".into(), |share| format!("{:.0}", share * 100.0)));
        cells
    };
    let mut text = table(&headings, &results.iter().map(cells).collect::<Vec<_>>());
    for result in results {
        let name = result.label.as_deref().unwrap_or_default();
        if let Some([low, high]) = result.spread.get("msgs_per_s") {
            let (low, high) = (format_rounded(*low), format_rounded(*high));
            text += &format!("{name}: all rounds: {low} to {high} msgs/s\n");
        }
        for warning in result.warnings() {
            text += &format!("{name}: careful: {warning}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(experiment: Experiment) -> Load {
        experiment.load(([127, 0, 0, 1], 7000).into(), 50_000.0)
    }

    #[test]
    fn every_experiment_is_a_load_that_can_be_made() {
        for experiment in Experiment::value_variants() {
            assert_eq!(load(*experiment).check(), Ok(()), "{experiment:?}");
        }
    }

    #[test]
    fn the_experiments_are_those_of_the_documentation() {
        // Read when it runs: a crate that was packed does not hold the page.
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance.md");
        let page = std::fs::read_to_string(path).expect("the page of the repository");
        for experiment in Experiment::value_variants() {
            let load = load(*experiment);
            let line = format!("| {} | {} |", experiment.name(), load.conns);
            let row = page.lines().find(|row| row.replace(',', "").starts_with(&line));
            let row = row.unwrap_or_else(|| panic!("no row starts with {line}"));
            assert!(row.contains(&format!("| {} |", load.sizes)), "{row}");
        }
    }
}
