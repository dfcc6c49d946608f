//! `anyport bench`: loads an echo server and says what came back, how fast, and whether it was
//! right.
//!
//! What is asked for: `load`, `sizes`, `source`, `budget`. What goes over the wire: `pattern`,
//! `connection`, `schedule`. The system's side: `sockets`, `connect`, `system`. The loops: `steady`
//! and `churn`, run by `generator`, measured by `recorder` into a `tally`. What is said: `result`,
//! `report` (rows), `text`, `html`, `compare`. `suite` runs the experiments that the project's
//! figures come from; `demo` uses the same generator.

pub(crate) mod budget;
mod churn;
mod compare;
mod connect;
mod connection;
pub(crate) mod generator;
mod html;
pub(crate) mod load;
mod pattern;
mod recorder;
pub(crate) mod report;
mod result;
mod schedule;
mod server_side;
pub(crate) mod sizes;
mod sockets;
pub(crate) mod source;
mod steady;
pub(crate) mod suite;
mod system;
mod tally;
mod text;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use crate::args::{BenchArgs, BenchCommand, LoadArgs};
use crate::ending::Ending;
use crate::interrupt::Interrupt;
use crate::progress::{Progress, bar};
use crate::units::{format_count, format_rounded};
use budget::ErrorBudget;
use generator::{Failure, Moment};
use load::Load;
use report::{print, write_json};
use result::BenchResult;
use server_side::ServerSide;

/// Runs what the command line asks for.
pub(crate) fn run(args: &BenchArgs, interrupt: &Interrupt) -> Ending {
    match (&args.command, args.load.addr) {
        (Some(BenchCommand::Suite(suite)), _) => suite::run(suite, interrupt),
        (Some(BenchCommand::Compare(compare)), _) => compare::run(compare),
        (None, Some(peer)) => run_one(&args.load, peer, interrupt),
        (None, None) => Ending::Usage("an address is needed: anyport bench HOST:PORT".into()),
    }
}

fn run_one(args: &LoadArgs, peer: SocketAddr, interrupt: &Interrupt) -> Ending {
    let load = Load {
        active: args.active.unwrap_or(args.conns).min(args.conns),
        sizes: args.size.clone(),
        pipeline: args.pipeline,
        rate: args.rate,
        sleeps: args.sleep,
        is_churn: args.churn,
        ramp: args.ramp,
        warmup: args.warmup,
        measured: args.duration,
        interval: args.interval,
        threads: args.threads,
        sources: args.source.clone().unwrap_or_default(),
        is_verified: args.verify,
        is_framed: args.framed,
        congestion: args.congestion.clone(),
        ..Load::closed(peer, args.conns)
    };
    if let Err(why) = load.check() {
        return Ending::Usage(why);
    }
    let mut progress = Progress::new();
    let measured = measure(&load, args.max_errors, args.pid, interrupt, &mut progress, "");
    progress.clear();
    let Measured { mut result, notes } = match measured {
        Ok(measured) => measured,
        Err(Failure::Interrupted) => return Ending::Interrupted,
        Err(Failure::Message(why)) => return Ending::Failed(why),
    };
    result.label = args.label.clone();
    if args.json.as_deref() != Some(Path::new("-")) {
        print(&text::render(&load, &result));
    }
    for note in &notes {
        eprintln!("anyport: {note}");
    }
    let is_well = result.is_well();
    if let Some(path) = &args.json
        && let Err(why) = write_json(path, &result)
    {
        return Ending::Failed(why);
    }
    if let Some(path) = &args.html
        && let Err(why) = html::write(path, &load.describe(), &[result])
    {
        return Ending::Failed(why);
    }
    if is_well { Ending::Well } else { Ending::Wrong }
}

/// A result, and the first things that went wrong, in words.
struct Measured {
    result: BenchResult,
    notes: Vec<String>,
}

/// Makes one load; `step` stands in front of its progress.
fn measure(
    load: &Load,
    budget: ErrorBudget,
    server: Option<u32>,
    interrupt: &Interrupt,
    progress: &mut Progress,
    step: &str,
) -> Result<Measured, Failure> {
    let mut server = server.map(ServerSide::new);
    let mut began = None;
    let tally = generator::run(load, interrupt, &mut |moment| {
        if let Some(server) = &mut server {
            server.on_moment(moment);
        }
        match moment {
            Moment::Connecting { connected } => {
                progress.show(&format!("{step}connected {connected} of {}", load.conns));
            }
            Moment::MeasureBegins => began = Some(Instant::now()),
            Moment::MeasureEnds => progress.show(&format!("{step}waiting for the last bytes")),
            Moment::Tick { messages } => match began.map(|began: Instant| began.elapsed()) {
                None => progress.show(&format!("{step}warming up")),
                Some(time) => {
                    let seconds = time.as_secs_f64();
                    let part = seconds / load.measured.as_secs_f64();
                    let rate = format_rounded(messages as f64 / seconds);
                    progress.show(&format!("{step}{} {rate} messages/s", bar(part)));
                }
            },
        }
    })?;
    let mut result = BenchResult::new(load, &tally, budget.allowed(tally.attempts));
    if let Some(server) = server {
        server.fill(&mut result.row, tally.messages);
    }
    let mut notes = tally.notes;
    if result.row.wrong_bytes > 0 {
        notes.push(format!("{} wrong bytes came back", format_count(result.row.wrong_bytes)));
    }
    Ok(Measured { result, notes })
}
