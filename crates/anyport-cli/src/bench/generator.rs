//! Runs a load on its threads, and adds up what they measured.
//!
//! The threads connect, wait for each other, then keep their own time: nothing is shared while
//! they measure. The calling thread only watches. The first failure stops all. Called by `bench`,
//! `suite` and `demo`.

use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::churn::Churn;
use super::load::Load;
use super::steady::Steady;
use super::tally::Tally;
use crate::interrupt::Interrupt;

/// How often the watcher hears of a run, and an interrupt is seen.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Moments of a run that somebody else may want to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Connecting {
        connected: usize,
    },
    MeasureBegins,
    /// Messages of the measured window so far.
    Tick {
        messages: u64,
    },
    MeasureEnds,
}

/// Why there is no outcome.
#[derive(Debug)]
pub(crate) enum Failure {
    Interrupted,
    Message(String),
}

impl Failure {
    pub(crate) fn poll(error: io::Error) -> Self {
        Self::Message(format!("cannot wait for the connections: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Message(message) => f.write_str(message),
        }
    }
}

/// Whether the threads of a run shall end early: somebody interrupted it, or one of them failed.
#[derive(Default)]
pub(crate) struct Stop {
    interrupt: Interrupt,
    has_failed: AtomicBool,
}

impl Stop {
    /// Ends the run.
    pub(crate) fn set(&self) {
        self.has_failed.store(true, Relaxed);
    }

    /// Whether it shall end.
    pub(crate) fn is_set(&self) -> bool {
        self.has_failed.load(Relaxed) || self.interrupt.is_set()
    }
}

/// What the threads of a run share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) stop: Stop,
    /// Connections made so far.
    pub(crate) connected: AtomicUsize,
    /// Messages of the measured window so far; written once a turn.
    pub(crate) messages: AtomicU64,
}

/// One thread's part of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) thread: usize,
    /// The number of its first connection among those of all threads.
    pub(crate) first: usize,
    pub(crate) conns: usize,
    /// How many of them carry traffic.
    pub(crate) active: usize,
}

impl Share {
    fn new(load: &Load, thread: usize) -> Self {
        let part = |of: usize, thread: usize| of * thread / load.threads;
        Self {
            thread,
            first: part(load.conns, thread),
            conns: part(load.conns, thread + 1) - part(load.conns, thread),
            active: part(load.active, thread + 1) - part(load.active, thread),
        }
    }
}

/// Connects, loads, measures, and waits until all is back. `watch` is called on this thread.
pub(crate) fn run(
    load: &Load,
    interrupt: &Interrupt,
    watch: &mut dyn FnMut(Moment),
) -> Result<Tally, Failure> {
    let stop = Stop { interrupt: interrupt.clone(), ..Stop::default() };
    let shared = Shared { stop, ..Shared::default() };
    let began = Instant::now();
    let (results, connected_in) = thread::scope(|scope| {
        let (reports, from_threads) = channel();
        let mut starts = Vec::new();
        let mut threads = Vec::new();
        for thread in 0..load.threads {
            let (start, begin) = channel();
            let reporter = Reporter(reports.clone());
            let (share, shared) = (Share::new(load, thread), &shared);
            starts.push(start);
            threads.push(scope.spawn(move || {
                let result = work(load, share, shared, &reporter, &begin);
                if result.is_err() {
                    shared.stop.set();
                }
                result
            }));
        }
        drop(reports);
        let conductor = Conductor { shared: &shared, from_threads, running: load.threads };
        let connected_in = conductor.conduct(load, began, starts, watch);
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        (results, connected_in)
    });
    let mut whole: Option<Tally> = None;
    let mut failure = None;
    for result in results {
        match result.unwrap_or_else(|panic| resume_unwind(panic)) {
            Ok(tally) => match &mut whole {
                Some(whole) => whole.merge(tally),
                None => whole = Some(tally),
            },
            // The others were only stopped by the one that has something to say.
            Err(message @ Failure::Message(_)) if !interrupt.is_set() => failure = Some(message),
            Err(interrupted) => failure = failure.or(Some(interrupted)),
        }
    }
    match (failure, whole) {
        (None, Some(tally)) => Ok(Tally { connected_in, ..tally }),
        (failure, _) => Err(failure.unwrap_or(Failure::Interrupted)),
    }
}

fn work(
    load: &Load,
    share: Share,
    shared: &Shared,
    reporter: &Reporter,
    begin: &Receiver<Instant>,
) -> Result<Tally, Failure> {
    // A start that never comes: another thread has failed.
    let wait_for_start = || {
        reporter.send(Report::Ready);
        begin.recv().map_err(|_| Failure::Interrupted)
    };
    if load.is_churn {
        let churn = Churn::new(load, share, shared)?;
        let start = wait_for_start()?;
        churn.run(start)
    } else {
        let steady = Steady::connect(load, share, shared)?;
        let start = wait_for_start()?;
        steady.run(start)
    }
}

enum Report {
    /// Connected, and waits for the start.
    Ready,
    /// Has measured what it had to, or failed.
    Ended,
}

/// Reports the end however the thread ends.
struct Reporter(Sender<Report>);

impl Reporter {
    fn send(&self, report: Report) {
        // Nobody listens any more when the run is being given up.
        let _ = self.0.send(report);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.send(Report::Ended);
    }
}

/// Starts the threads together and tells the watcher how far they are.
struct Conductor<'a> {
    shared: &'a Shared,
    from_threads: Receiver<Report>,
    /// Threads that have not ended.
    running: usize,
}

impl Conductor<'_> {
    /// Returns how long the connecting took, when nothing is left to be told.
    fn conduct(
        mut self,
        load: &Load,
        began: Instant,
        starts: Vec<Sender<Instant>>,
        watch: &mut dyn FnMut(Moment),
    ) -> Duration {
        let mut ready = 0;
        while ready < load.threads {
            match self.from_threads.recv_timeout(TICK) {
                Ok(Report::Ready) => ready += 1,
                // It failed, and nobody is told to start.
                Ok(Report::Ended) | Err(RecvTimeoutError::Disconnected) => return began.elapsed(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            watch(Moment::Connecting { connected: self.shared.connected.load(Relaxed) });
        }
        let start = Instant::now();
        for to_thread in starts {
            // It waits for this; if it has died, its end is seen.
            let _ = to_thread.send(start);
        }
        let begin = start + load.ramp + load.warmup;
        self.watch_until(begin, watch);
        if self.running > 0 {
            watch(Moment::MeasureBegins);
            self.watch_until(begin + load.measured, watch);
            watch(Moment::MeasureEnds);
        }
        start - began
    }

    fn watch_until(&mut self, end: Instant, watch: &mut dyn FnMut(Moment)) {
        while self.running > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match self.from_threads.recv_timeout(left.min(TICK)) {
                Ok(Report::Ready) => {}
                Ok(Report::Ended) => self.running -= 1,
                Err(RecvTimeoutError::Disconnected) => self.running = 0,
                Err(RecvTimeoutError::Timeout) => {
                    watch(Moment::Tick { messages: self.shared.messages.load(Relaxed) });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_threads_are_the_whole() {
        for (conns, active, threads) in [(1, 1, 1), (10, 10, 3), (1000, 7, 4), (5, 5, 5)] {
            let load = Load { active, threads, ..Load::closed(([0; 4], 1).into(), conns) };
            let shares: Vec<Share> = (0..threads).map(|t| Share::new(&load, t)).collect();
            assert_eq!(shares.iter().map(|share| share.conns).sum::<usize>(), conns);
            assert_eq!(shares.iter().map(|share| share.active).sum::<usize>(), active);
            assert!(shares.iter().all(|share| 1 <= share.active && share.active <= share.conns));
            let ends = shares.iter().map(|share| share.first + share.conns);
            assert!(ends.zip(&shares[1..]).all(|(end, next)| end == next.first));
        }
    }

    #[test]
    fn a_failure_of_one_thread_ends_all_and_is_told() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bind").local_addr();
        let load = Load { threads: 3, ..Load::closed(free.expect("address"), 6) };
        let failure = run(&load, &Interrupt::default(), &mut |_| ()).expect_err("a failure");
        assert!(failure.to_string().contains("cannot connect"), "{failure}");
    }
}
