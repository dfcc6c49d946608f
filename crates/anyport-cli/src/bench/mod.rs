//! `anyport bench`: loads an echo server and says what came back, how fast, and whether it was
//! right.
//!
//! The parts: `pattern` (what is sent), `connection` (accounts), `sockets` and `connect` (the
//! system's side), `generator` (the loop), `report` (rows). `demo` uses the same loop.

mod connect;
mod connection;
pub(crate) mod generator;
mod pattern;
pub(crate) mod report;
mod sockets;

use std::path::Path;

use crate::args::BenchArgs;
use crate::ending::Ending;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::units::{format_count, format_size};
use generator::{Failure, Load, Moment};
use report::{HEADINGS, Row, print, table, write_json};

/// The longest frame payload: the table of frames holds three of them.
const FRAMED_SIZE_MAX: usize = 64 << 20;

/// Most messages in flight in all: each has its send time, eight bytes.
const IN_FLIGHT_MAX: usize = 64 << 20;

/// Runs the load of the command line.
pub(crate) fn run(args: &BenchArgs, interrupt: &Interrupt) -> Ending {
    let active = args.active.unwrap_or(args.conns).min(args.conns);
    let load = Load {
        peer: args.addr,
        conns: args.conns,
        active,
        size: args.size,
        pipeline: args.pipeline,
        warmup: args.warmup,
        measured: args.secs,
        is_verified: args.verify,
        is_framed: args.framed,
        congestion: args.congestion.clone(),
    };
    if let Err(why) = check(&load) {
        return Ending::Usage(why);
    }
    let mut progress = Progress::new();
    let outcome = generator::run(&load, interrupt, &mut |moment| match moment {
        Moment::Connecting { connected } => {
            progress.show(&format!("connected {connected} of {}", load.conns));
        }
        Moment::MeasureBegins => progress.show("measuring"),
        Moment::MeasureEnds => progress.show("waiting for the last bytes"),
        Moment::Tick => {}
    });
    progress.clear();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(Failure::Interrupted) => return Ending::Interrupted,
        Err(Failure::Message(why)) => return Ending::Failed(why),
    };
    let row = Row::from_outcome(load.conns, load.size, &outcome);
    let is_json_on_stdout = args.json.as_deref() == Some(Path::new("-"));
    if !is_json_on_stdout {
        // The first two columns and the server's figures are not ours to know.
        let known = (0..HEADINGS.len()).filter(|column| ![0, 1, 9, 10].contains(column));
        let (headings, cells): (Vec<&str>, Vec<String>) =
            known.map(|column| (HEADINGS[column], row.cells().swap_remove(column))).unzip();
        print(&format!("{}\n{}", describe(&load), table(&headings, &[cells])));
    }
    if let Some(path) = &args.json
        && let Err(why) = write_json(path, &row)
    {
        return Ending::Failed(why);
    }
    for note in &outcome.notes {
        eprintln!("anyport: {note}");
    }
    if row.is_clean() { Ending::Well } else { Ending::Wrong }
}

/// Whether the load can be made at all: the limits that one flag alone does not show.
pub(crate) fn check(load: &Load) -> Result<(), String> {
    if load.is_framed && load.size > FRAMED_SIZE_MAX {
        return Err(format!("--framed: a message has at most {}", format_size(FRAMED_SIZE_MAX)));
    }
    if load.active.saturating_mul(load.pipeline) > IN_FLIGHT_MAX {
        return Err(format!("more than {IN_FLIGHT_MAX} messages in flight: lower --pipeline"));
    }
    Ok(())
}

fn describe(load: &Load) -> String {
    let mut text = format!(
        "{}: {} connections, {} messages, pipeline {}, {:.1} s after {:.1} s of warm-up",
        load.peer,
        format_count(load.conns as u64),
        format_size(load.size),
        load.pipeline,
        load.measured.as_secs_f64(),
        load.warmup.as_secs_f64(),
    );
    if load.active < load.conns {
        text += &format!(", {} active", format_count(load.active as u64));
    }
    if load.is_framed {
        text += ", framed";
    }
    text += if load.is_verified { ", every byte compared" } else { ", bytes counted" };
    text
}
