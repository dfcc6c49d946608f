//! The command line: every flag of every command, once.
//!
//! Read by `main`; the commands take the parsed structs as they are. Help fits a screen; the man
//! page and the completions come from the same definitions.

mod bench;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::units::{parse_count, parse_duration, parse_size};
pub(crate) use bench::{BenchArgs, BenchCommand, CompareArgs, LoadArgs, SuiteArgs};

const EXAMPLES: &str = "\
Examples:
  anyport demo                              the comparison, in about two minutes
  anyport serve echo --listen 127.0.0.1:7000
  anyport bench 127.0.0.1:7000 --conns 1000 --size 16k --verify
  anyport man > anyport.1
";

const ECHO_EXAMPLES: &str = "\
Examples:
  anyport serve echo --listen 127.0.0.1:0           any free port, printed when ready
  anyport serve echo --framed --backend readiness
  anyport serve echo --model tasks                  an async task a connection
  anyport serve echo --model threads                a blocking thread a connection
  anyport serve echo --stall-every 5000 --stall 20ms --stall-kind spin
";

const DEMO_EXAMPLES: &str = "\
Examples:
  anyport demo
  anyport demo --conns 1000,5000 --size 16k --duration 3s --json rows.json
Exit status: 0 all well, 1 an error, a wrong byte or a server that could not run,
2 usage, 130 interrupted.
";

/// I/O completion ports on any OS: servers, a load generator, and a demo that compares them.
#[derive(Debug, Parser)]
#[command(name = "anyport", version, after_help = EXAMPLES, infer_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server
    #[command(subcommand)]
    Serve(Serve),
    /// Load an echo server and measure it
    Bench(Box<BenchArgs>),
    /// Compare thread-per-connection with completion ports on this machine
    Demo(DemoArgs),
    /// Print the man page
    Man(ManArgs),
    /// Print the completions of a shell
    Completions(CompletionsArgs),
}

/// `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this directory, in place of the whole on standard output
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Serve {
    /// Send back what comes in, raw or as frames
    Echo(EchoArgs),
}

/// `serve echo`.
#[derive(Debug, Args)]
#[command(after_help = ECHO_EXAMPLES)]
pub(crate) struct EchoArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub(crate) listen: SocketAddr,
    /// port, tasks (async, on the port), or threads: a blocking thread for each connection
    #[arg(
        long, value_enum, value_name = "MODEL", hide_possible_values = true,
        default_value_t = Model::Port
    )]
    pub(crate) model: Model,
    /// How the port does it: auto, io_uring, readiness, windows
    #[arg(
        long, value_enum, value_name = "NAME", hide_possible_values = true,
        default_value_t = Backend::Auto
    )]
    pub(crate) backend: Backend,
    /// Worker threads of the port; 0: two a core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count)]
    pub(crate) workers: usize,
    /// Workers of the port that run at once; 0: one a core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count)]
    pub(crate) concurrency: usize,
    /// A receive a connection (stream) or a packet (single)
    #[arg(
        long, value_enum, value_name = "HOW", hide_possible_values = true,
        default_value_t = Receive::Stream
    )]
    pub(crate) receive: Receive,
    /// Echo whole frames: u32 dataLength, u32 commandType, payload
    #[arg(long)]
    pub(crate) framed: bool,
    /// Longest payload; a longer one closes its connection
    #[arg(long, value_name = "SIZE", default_value = "16m", value_parser = frame_size)]
    pub(crate) frame_max: usize,
    /// TCP congestion control, where the system lets programs choose
    #[arg(long, value_name = "NAME")]
    pub(crate) congestion: Option<String>,
    /// Stall the handler at every N-th message, marked if framed; 0: never
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) stall_every: u64,
    /// How long a stall lasts
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = parse_duration)]
    pub(crate) stall: Duration,
    /// A stalled handler blocks (sleep) or burns (spin)
    #[arg(
        long, value_enum, value_name = "HOW", hide_possible_values = true,
        default_value_t = StallKind::Sleep
    )]
    pub(crate) stall_kind: StallKind,
    /// Handlers that stall at once; further turns are left out; 0: any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) stall_max: u64,
    /// End when standard input ends: a parent that dies takes its server with it
    #[arg(long, hide = true)]
    pub(crate) end_with_stdin: bool,
}

/// `demo`.
#[derive(Debug, Args)]
#[command(after_help = DEMO_EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Connections of each round
    #[arg(
        long, value_name = "N,…", value_delimiter = ',', default_value = "1000,5000",
        value_parser = positive
    )]
    pub(crate) conns: Vec<usize>,
    /// Payload of a message
    #[arg(long, value_name = "SIZE", default_value = "16k", value_parser = message_size)]
    pub(crate) size: usize,
    /// Messages in flight on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) pipeline: usize,
    /// Time measured, for each server and round
    #[arg(
        long = "duration", alias = "secs", value_name = "TIME", default_value = "3s",
        value_parser = run_time
    )]
    pub(crate) secs: Duration,
    /// Time under load before that
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(crate) warmup: Duration,
    /// Echo whole frames with the 8-byte header
    #[arg(long)]
    pub(crate) framed: bool,
    /// Write the rows as a JSON list; `-` is standard output, in place of the tables
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// How connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    /// Completion port: a few workers take any completed packet
    Port,
    /// Async on the port: a task for each connection
    Tasks,
    /// A blocking thread for each connection
    Threads,
}

impl Model {
    /// The name on the command line and in rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Tasks => "tasks",
            Self::Threads => "threads",
        }
    }
}

/// What completes the operations of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// The best one that this machine allows
    Auto,
    /// Linux io_uring
    #[value(name = "io_uring", aliases = ["io-uring", "uring"])]
    IoUring,
    /// Try the call, else wait for the socket (epoll, kqueue)
    Readiness,
    /// The completion port of Windows
    Windows,
}

impl Backend {
    /// The name on the command line and in rows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::IoUring => "io_uring",
            Self::Readiness => "readiness",
            Self::Windows => "windows",
        }
    }
}

/// How the port receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Receive {
    /// One operation that yields a packet for each piece that arrives
    Stream,
    /// One operation for each packet
    Single,
}

/// What a stalled handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StallKind {
    /// Blocks
    Sleep,
    /// Burns its core
    Spin,
}

/// The longest message that `bench` makes, in bytes.
const MESSAGE_MAX: usize = 1 << 30;

fn count(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    // Far above any use; keeps a slip of the finger from starting a million threads.
    if number > 4096 { Err(format!("{number} is too many: at most 4096")) } else { Ok(number) }
}

fn positive(text: &str) -> Result<usize, String> {
    match parse_count(text).map(usize::try_from) {
        Ok(Ok(0)) | Err(_) => Err(format!("`{text}` is not a number from 1 up")),
        Ok(Ok(number @ ..=1_000_000)) => Ok(number),
        Ok(_) => Err(format!("{text} is too many: at most 1m")),
    }
}

fn message_size(text: &str) -> Result<usize, String> {
    match parse_size(text)? {
        0 => Err("a message has at least one byte".into()),
        bytes if bytes > MESSAGE_MAX => Err("a message has at most 1g".into()),
        bytes => Ok(bytes),
    }
}

fn frame_size(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    u32::try_from(bytes).map(|_| bytes).map_err(|_| "dataLength has 32 bits: below 4g".into())
}

fn run_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time.is_zero() { Err("the time measured must be above zero".into()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_of_the_contract_is_understood() {
        let line = "anyport demo --conns 1000,5000 --size 16k --secs 3 --json rows.json";
        let cli = Cli::try_parse_from(line.split(' ')).expect("parses");
        let Command::Demo(demo) = cli.command else { panic!("not demo") };
        assert_eq!(demo.conns, [1000, 5000]);
        assert_eq!(demo.size, 16_384);
        assert_eq!(demo.secs, Duration::from_secs(3));
        assert_eq!(demo.json, Some(PathBuf::from("rows.json")));
    }

    #[test]
    fn zero_connections_and_empty_messages_are_usage_errors() {
        for line in [
            "anyport bench 127.0.0.1:1 --conns 0",
            "anyport bench 127.0.0.1:1 --size 0",
            "anyport bench 127.0.0.1:1 --secs 0",
            "anyport bench nowhere",
            "anyport bench",
            "anyport bench 127.0.0.1:1 --rate 0",
            "anyport bench 127.0.0.1:1 --max-errors -1",
            "anyport bench 127.0.0.1:1 --churn --pipeline 2",
            "anyport bench 127.0.0.1:1 --rate 5 --pipeline 2",
            "anyport bench compare",
            "anyport bench suite 127.0.0.1:1 E10",
            "anyport demo --conns 1000,",
            "anyport serve echo --frame-max 4g",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
