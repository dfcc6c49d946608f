//! `anyport demo`: the comparison on this machine, in about two minutes.
//!
//! Every model and backend that the machine allows runs as a process of its own, one after the
//! other, under the same load from this process; every echoed byte is compared. The exit status
//! says whether all of it was right.

mod child;
mod table;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::args::{Backend, DemoArgs, Model};
use crate::bench::generator::{self, Failure, Moment};
use crate::bench::load::Load;
use crate::bench::report::{Row, print, rounded, write_json};
use crate::bench::sizes::SizeMix;
use crate::ending::Ending;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::units::{format_count, format_size};
use crate::{congestion, process, serve};
use child::ServerProcess;

/// Descriptors that a process needs beside its connections.
const DESCRIPTORS_SPARE: u64 = 64;

/// Runs the comparison. `descriptors` is the limit that holds for this process and its children.
pub(crate) fn run(args: &DemoArgs, interrupt: &Interrupt, descriptors: Option<u64>) -> Ending {
    let mut demo = Demo {
        args,
        interrupt,
        congestion: congestion::unpaced(),
        progress: Progress::new(),
        servers: vec![Server { model: Model::Threads, backend: None }],
        unavailable: Vec::new(),
        rows: Vec::new(),
        troubles: Vec::new(),
    };
    if let Err(why) = args.conns.iter().try_for_each(|&conns| demo.load(conns).check()) {
        return Ending::Usage(why);
    }
    demo.find_backends();
    match demo.measure_all(descriptors) {
        Ok(()) => demo.report(),
        Err(Interrupted) => Ending::Interrupted,
    }
}

/// Nothing more is to be measured or printed.
struct Interrupted;

#[derive(Clone, Copy)]
struct Server {
    model: Model,
    /// None for models that have no choice of it.
    backend: Option<Backend>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model.name())?;
        self.backend.map_or(Ok(()), |backend| write!(f, " {}", backend.name()))
    }
}

struct Demo<'a> {
    args: &'a DemoArgs,
    interrupt: &'a Interrupt,
    /// Asked for on both ends; none where the system does not let a program choose.
    congestion: Option<&'static str>,
    progress: Progress,
    servers: Vec<Server>,
    /// Backends that this machine does not allow, and why.
    unavailable: Vec<String>,
    rows: Vec<Row>,
    /// What went wrong, in words. Any of it makes the exit status 1.
    troubles: Vec<String>,
}

impl Demo<'_> {
    fn find_backends(&mut self) {
        for (backend, availability) in serve::port::backends() {
            match availability {
                Ok(()) => {
                    self.servers.push(Server { model: Model::Port, backend: Some(backend) });
                }
                Err(why) => self.unavailable.push(format!("port {}: {why}", backend.name())),
            }
        }
        if self.servers.len() == 1 {
            self.troubles.push("no backend of the port is available".into());
        }
    }

    fn measure_all(&mut self, descriptors: Option<u64>) -> Result<(), Interrupted> {
        let args = self.args;
        let total = args.conns.len() * self.servers.len();
        for (round, &conns) in args.conns.iter().enumerate() {
            let needed = conns as u64 + DESCRIPTORS_SPARE;
            if let Some(limit) = descriptors.filter(|limit| *limit < needed) {
                self.troubles.push(format!(
                    "{0} connections were not tried: a process may open {1} files here and would \
                     need {2}; raise the hard limit (ulimit -Hn {2}) or ask for fewer (--conns)",
                    format_count(conns as u64),
                    format_count(limit),
                    needed,
                ));
                continue;
            }
            for (number, server) in self.servers.clone().into_iter().enumerate() {
                let step = format!(
                    "{} of {total}: {server}, {} connections",
                    round * self.servers.len() + number + 1,
                    format_count(conns as u64),
                );
                self.measure_one(server, conns, &step)?;
            }
        }
        Ok(())
    }

    fn measure_one(&mut self, server: Server, conns: usize, step: &str) -> Result<(), Interrupted> {
        self.progress.show(&format!("{step}: starting"));
        let blank = Row {
            model: Some(server.model.name()),
            backend: server.backend.map(Backend::name),
            ..Row::empty(conns, self.args.size)
        };
        match self.measure(server, conns, step) {
            Ok(row) => self.rows.push(Row { model: blank.model, backend: blank.backend, ..row }),
            Err(Failure::Interrupted) => return Err(Interrupted),
            Err(Failure::Message(_)) if self.interrupt.is_set() => return Err(Interrupted),
            Err(Failure::Message(why)) => {
                let conns = format_count(conns as u64);
                self.troubles.push(format!("{server}, {conns} connections: {why}"));
                self.rows.push(Row { errors: 1, ..blank });
            }
        }
        Ok(())
    }

    fn measure(&mut self, server: Server, conns: usize, step: &str) -> Result<Row, Failure> {
        let child = ServerProcess::start(&self.arguments(server), self.interrupt)
            .map_err(|why| Failure::Message(format!("the server {why}")))?;
        let pid = child.pid();
        let load = Load { peer: child.addr(), ..self.load(conns) };
        let rss_before = process::resident_bytes(pid).ok();
        let mut rss_peak = None;
        let (mut cpu_begin, mut cpu_end) = (None, None);
        let progress = &mut self.progress;
        let outcome = generator::run(&load, self.interrupt, &mut |moment| {
            match moment {
                Moment::Connecting { connected } => {
                    progress.show(&format!("{step}: connected {connected}"));
                }
                Moment::MeasureBegins => {
                    cpu_begin = process::cpu_time(pid).ok();
                    progress.show(&format!("{step}: measuring"));
                }
                Moment::MeasureEnds => {
                    cpu_end = process::cpu_time(pid).ok();
                    progress.show(&format!("{step}: waiting for the last bytes"));
                }
                Moment::Tick { .. } => {}
            }
            if !matches!(moment, Moment::Connecting { .. }) {
                rss_peak = rss_peak.max(process::resident_bytes(pid).ok());
            }
        })?;
        let ended = child.finish();
        let mut row = Row::from_outcome(conns, self.args.size, &outcome);
        row.cpu_us_per_msg = cpu_begin.zip(cpu_end).filter(|_| outcome.messages > 0).map(
            |(begin, end): (Duration, Duration)| {
                let used = end.saturating_sub(begin);
                rounded(used.as_secs_f64() * 1e6 / outcome.messages as f64)
            },
        );
        row.rss_kib_per_conn = rss_before.zip(rss_peak).map(|(before, peak)| {
            rounded(peak.saturating_sub(before) as f64 / 1024.0 / conns as f64)
        });
        let name = format!("{server}, {} connections", format_count(conns as u64));
        self.troubles.extend(outcome.notes.iter().map(|note| format!("{name}: {note}")));
        if row.wrong_bytes > 0 {
            self.troubles.push(format!("{name}: {} wrong bytes", row.wrong_bytes));
        }
        if let Err(why) = ended {
            row.errors += 1;
            self.troubles.push(format!("{name}: the server {why}"));
        }
        Ok(row)
    }

    fn load(&self, conns: usize) -> Load {
        Load {
            sizes: SizeMix::one(self.args.size),
            pipeline: self.args.pipeline,
            warmup: self.args.warmup,
            measured: self.args.secs,
            is_verified: true,
            is_framed: self.args.framed,
            congestion: self.congestion.map(Into::into),
            ..Load::closed(([127, 0, 0, 1], 0).into(), conns)
        }
    }

    fn arguments(&self, server: Server) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["serve", "echo", "--listen", "127.0.0.1:0", "--end-with-stdin", "--model"]
                .map(Into::into)
                .into();
        arguments.push(server.model.name().into());
        if let Some(backend) = server.backend {
            arguments.extend(["--backend".into(), backend.name().into()]);
        }
        if let Some(congestion) = self.congestion {
            arguments.extend(["--congestion".into(), congestion.into()]);
        }
        if self.args.framed {
            arguments.push("--framed".into());
            arguments.extend(["--frame-max".into(), self.args.size.to_string()]);
        }
        arguments
    }

    fn report(mut self) -> Ending {
        self.progress.clear();
        let is_json_on_stdout = self.args.json.as_deref() == Some(Path::new("-"));
        if !is_json_on_stdout {
            print(&self.tables());
        }
        if let Some(path) = &self.args.json
            && let Err(why) = write_json(path, &self.rows)
        {
            self.troubles.push(why);
        }
        for trouble in &self.troubles {
            eprintln!("anyport: {trouble}");
        }
        let is_well = self.troubles.is_empty() && self.rows.iter().all(Row::is_clean);
        if is_well { Ending::Well } else { Ending::Wrong }
    }

    /// The tables, as they are printed.
    fn tables(&self) -> String {
        // The first one found is the one that a port takes by itself.
        let backend = self.servers.iter().find_map(|server| server.backend).map(Backend::name);
        let mut text = format!(
            "Echo of {} messages, {} in flight a connection, every byte compared{}{}\n\n{}\n{}",
            format_size(self.args.size),
            self.args.pipeline,
            backend.map(|backend| format!("; port: {backend}")).unwrap_or_default(),
            self.congestion.map(|name| format!("; TCP {name}")).unwrap_or_default(),
            table::comparison(&self.args.conns, &self.rows, backend),
            table::full(&self.rows),
        );
        if !self.unavailable.is_empty() {
            text += "\nNot available on this machine:\n";
        }
        for line in &self.unavailable {
            text += &format!("  {line}\n");
        }
        text
    }
}
