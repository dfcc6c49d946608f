//! The flags of `bench`, `bench suite` and `bench compare`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{positive, run_time};
use crate::bench::budget::ErrorBudget;
use crate::bench::sizes::SizeMix;
use crate::bench::source::Sources;
use crate::bench::suite::Experiment;
use crate::units::{parse_count, parse_duration};

const BENCH_EXAMPLES: &str = "\
Examples:
  anyport bench 127.0.0.1:7000 --conns 1k --size 16k --duration 10s --verify --html report.html
  anyport bench 127.0.0.1:7000 --rate 50k --size 64:90,16k:10 --json before.json
  anyport bench 127.0.0.1:7000 --churn --conns 64 --source 127.0.1.1-127.0.1.50 --max-errors 0.1%
Exit status: 0 all well, 1 too many errors or a wrong byte, 2 usage, 130 interrupted.
";

const SUITE_EXAMPLES: &str = "\
Examples:
  anyport bench suite 127.0.0.1:7000 --json suite.json
  anyport bench suite 127.0.0.1:7000 E1 E3 --pid $(pgrep -n my-server) --rounds 5
The experiments, as docs/performance.md defines them; one message in flight unless said:
  E1 1,000 connections, 64 B         E2 1,000 connections, 1 KiB    E3 1,000 connections, 16 KiB
  E4 5,000 connections, 16 KiB       E5 50 connections, 64 B, 16 in flight
  E6 5,000 connections, 64 B, --rate a second
  E7 19,800 connections of which 200 are active, 64 B
  E8 churn, 64 at a time, 64 B       E9 64 connections, 64 B: for servers that stall
";

const COMPARE_EXAMPLES: &str = "\
Examples:
  anyport bench compare before.json after.json
  anyport bench compare main.json branch.json --fail-above 10%
Rows are matched by label, model, backend, connections and size. The first file is the base. Where
the rounds of a suite spread over the same values, a change is noise and never fails.
Exit status: 0 all well, 1 something is worse than --fail-above allows, 2 usage, or a file that
cannot be read, matched with the others, or written.
";

/// `bench`.
#[derive(Debug, Args)]
#[command(
    after_help = BENCH_EXAMPLES, args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true, subcommand_help_heading = "Also", disable_help_subcommand = true
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BenchCommand>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

/// What `bench` does beside making one load.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Run the experiments E1 to E9 of docs/performance.md
    Suite(SuiteArgs),
    /// Compare result files with the first of them
    Compare(CompareArgs),
}

/// One load.
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Address of the echo server, such as 127.0.0.1:7000 or example.org:7
    #[arg(value_name = "ADDR", value_parser = resolve, required = true)]
    pub(crate) addr: Option<SocketAddr>,
    /// Connections
    #[arg(long, value_name = "N", default_value = "100", value_parser = positive)]
    pub(crate) conns: usize,
    /// How many of them carry traffic; the others stay idle  [default: all]
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) active: Option<usize>,
    /// Payload of a message; several with weights: 64:90,16k:10
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = SizeMix::parse)]
    pub(crate) size: SizeMix,
    /// Messages in flight on each connection
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive)]
    pub(crate) pipeline: usize,
    /// Messages a second in all, latency from the due time  [default: a closed loop]
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with = "pipeline")]
    pub(crate) rate: Option<f64>,
    /// Let a rate's threads sleep between messages: spares CPU, adds some 0.1 ms
    #[arg(long, requires = "rate")]
    pub(crate) sleep: bool,
    /// Connect, one message, its echo, close, again
    #[arg(long, conflicts_with_all = ["pipeline", "active"])]
    pub(crate) churn: bool,
    /// Let the load grow evenly for this time
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    pub(crate) ramp: Duration,
    /// Time under full load before it is measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(crate) warmup: Duration,
    /// Time measured
    #[arg(
        long, alias = "secs", value_name = "TIME", default_value = "3s", value_parser = run_time
    )]
    pub(crate) duration: Duration,
    /// Grain of the time line
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = run_time)]
    pub(crate) interval: Duration,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive)]
    pub(crate) threads: usize,
    /// Source addresses, used in turn: a list or a range
    #[arg(long, value_name = "IP,…", value_parser = Sources::parse)]
    pub(crate) source: Option<Sources>,
    /// Compare every echoed byte; each connection sends bytes of its own
    #[arg(long)]
    pub(crate) verify: bool,
    /// Give each message the 8-byte header; marked stalls are told apart
    #[arg(long)]
    pub(crate) framed: bool,
    /// Errors that still end well; a wrong byte never does
    #[arg(long, value_name = "N|N%", default_value = "0", value_parser = ErrorBudget::parse)]
    pub(crate) max_errors: ErrorBudget,
    /// TCP congestion control, where the system lets programs choose
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion: Option<String>,
    /// Process of the server, if it runs here: its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Name of this result, for comparisons
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// Write the result as JSON; `-` is standard output, in place of the text
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a report with plots, in one file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// `bench suite`.
#[derive(Debug, Args)]
#[command(after_help = SUITE_EXAMPLES)]
pub(crate) struct SuiteArgs {
    /// Address of the echo server
    #[arg(value_name = "ADDR", value_parser = resolve)]
    pub(crate) addr: SocketAddr,
    /// Which experiments  [default: all]
    #[arg(value_name = "E1…E9", value_enum, hide_possible_values = true, ignore_case = true)]
    pub(crate) experiments: Vec<Experiment>,
    /// Runs of each; the one with the median rate is kept
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive)]
    pub(crate) rounds: usize,
    /// Time measured, for each run
    #[arg(
        long, alias = "secs", value_name = "TIME", default_value = "3s", value_parser = run_time
    )]
    pub(crate) duration: Duration,
    /// Time under load before that
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(crate) warmup: Duration,
    /// Messages a second of E6
    #[arg(long, value_name = "N", default_value = "50k", value_parser = rate)]
    pub(crate) rate: f64,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive)]
    pub(crate) threads: usize,
    /// Compare every echoed byte
    #[arg(long)]
    pub(crate) verify: bool,
    /// Give each message the 8-byte header
    #[arg(long)]
    pub(crate) framed: bool,
    /// TCP congestion control, where the system lets programs choose
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion: Option<String>,
    /// Process of the server, if it runs here: its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Write the rows as a JSON list; `-` is standard output, in place of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a report with plots, in one file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// `bench compare`.
#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub(crate) struct CompareArgs {
    /// Results as written by --json: of bench, bench suite or demo
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub(crate) files: Vec<PathBuf>,
    /// Fail when throughput, a latency or a cost is worse by more than this
    #[arg(long, value_name = "N%", value_parser = percent)]
    pub(crate) fail_above: Option<f64>,
    /// Write the comparison as JSON; `-` is standard output, in place of the table
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a report with plots, in one file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Of several addresses the first IPv4 one: most servers under test listen there.
fn resolve(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("{error}: write HOST:PORT"))?;
    let found: Vec<SocketAddr> = found.collect();
    let preferred = found.iter().find(|addr| addr.is_ipv4()).or(found.first());
    preferred.copied().ok_or_else(|| format!("`{text}` has no address"))
}

fn rate(text: &str) -> Result<f64, String> {
    match parse_count(text)? {
        0 => Err("a rate is at least 1 a second".into()),
        rate @ ..=100_000_000 => Ok(rate as f64),
        _ => Err("a rate is at most 100m a second".into()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse() {
        Ok(percent) if (0.0..1e6).contains(&percent) => Ok(percent),
        _ => Err(format!("`{text}` is not a percentage: write 10%")),
    }
}
