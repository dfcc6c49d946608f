//! Every fault point that a backend has, alone and together with all others.

use crate::message::mixed;
use crate::traffic::{CROWD, GUESTS, LANED, run};
use crate::{alive, chorus, in_line, plan};
use anyport::BackendKind;
use anyport::fault_points::{Fault, Point, arm};
use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Names a point: only this one is armed.
const POINT: &str = "ANYPORT_FAULT_POINT";

/// The seed of the first run.
const SEED: &str = "ANYPORT_FAULT_SEED";

/// Far longer than a run takes, its own deadlines included.
const RUN_MAX: Duration = Duration::from_secs(120);

/// Runs with each point.
const RUNS_MIN: u64 = 4;

/// Runs until a point is given up that nobody comes to.
const RUNS_MAX: u64 = 12;

/// Seeds of the runs with all points at once.
const SEEDS: u64 = 12;

pub(crate) fn order_survives_a_thread_that_stays_away_at_each_point(kind: BackendKind) {
    for point in points(kind) {
        until_reached(
            kind,
            point,
            "order_survives_a_thread_that_stays_away_at_each_point",
            &plan::faults(point, false),
        );
    }
}

pub(crate) fn order_survives_a_take_over_at_each_point(kind: BackendKind) {
    for point in points(kind) {
        until_reached(
            kind,
            point,
            "order_survives_a_take_over_at_each_point",
            &plan::faults(point, true),
        );
    }
}

pub(crate) fn order_survives_faults_at_all_points_at_once(kind: BackendKind) {
    let faults = plan::all_at_once(kind);
    let first = seed();
    for seed in first..first + SEEDS {
        for threads in [LANED, CROWD, GUESTS] {
            let _told = Repeat::of(kind, "order_survives_faults_at_all_points_at_once", None, seed);
            run(kind, threads, seed, &arm(&faults, seed));
        }
        let _told = Repeat::of(kind, "order_survives_faults_at_all_points_at_once", None, seed);
        let armed = arm(&faults, seed);
        chorus::run(kind, seed, &armed);
        in_line::run(kind, seed, &armed);
    }
}

pub(crate) fn what_a_stuck_thread_has_started_completes_whatever_point_is_slow(kind: BackendKind) {
    const STUCK: &str = "what_a_stuck_thread_has_started_completes_whatever_point_is_slow";
    const CASES: [fn(BackendKind); 5] = [
        alive::files_of_a_stuck_thread_complete,
        alive::datagrams_of_a_stuck_thread_complete,
        alive::accepts_and_connects_of_a_stuck_thread_complete,
        alive::cancels_of_operations_of_a_stuck_thread_take_effect,
        alive::a_connection_of_a_stuck_thread_that_is_closed_ends_for_its_peer,
    ];
    for point in points(kind) {
        let seed = seed();
        for is_take_over in [false, true] {
            let _told = Repeat::of(kind, STUCK, Some(point), seed);
            let _armed = arm(&plan::faults(point, is_take_over), seed);
            CASES.iter().for_each(|case| case(kind));
        }
    }
    // Too large to be run with each.
    let seed = seed();
    let _told = Repeat::of(kind, STUCK, None, seed);
    let _armed = arm(&plan::all_at_once(kind), seed);
    alive::receives_of_a_stuck_thread_complete(kind);
    alive::sends_that_wait_for_room_go_on_beside_a_stuck_thread(kind);
}

/// Runs with these faults a few times, and on until the point was reached and its fault has acted.
fn until_reached(kind: BackendKind, point: Point, test: &'static str, faults: &[Fault]) {
    let first = seed();
    let mut has_acted = false;
    for seed in first..first + RUNS_MAX {
        let _told = Repeat::of(kind, test, Some(point), seed);
        let armed = arm(faults, seed);
        run(kind, plan::threads(point, seed), seed, &armed);
        chorus::run(kind, seed, &armed);
        in_line::run(kind, seed, &armed);
        println!("{}", armed.report());
        has_acted |= armed.tally(point).acted > 0;
        if has_acted && seed + 1 >= first + RUNS_MIN {
            return;
        }
    }
    panic!("{point:?} was reached in none of {RUNS_MAX} runs");
}

/// The points to be armed: all that the backend has, or the one that is named.
fn points(kind: BackendKind) -> impl Iterator<Item = Point> {
    let named = std::env::var(POINT).ok();
    let is_named =
        move |point: &Point| named.as_ref().is_none_or(|name| *name == format!("{point:?}"));
    Point::ALL.iter().copied().filter(move |&point| plan::has(kind, point)).filter(is_named)
}

/// The one that is named, else one that no run had before.
fn seed() -> u64 {
    let named = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    named.unwrap_or_else(|| mixed(now() as u64) % 1_000_000)
}

/// Says how to repeat a run that fails, and ends the process over one that does not end: whoever is
/// stuck in the engine cannot be got out of it.
struct Repeat {
    told: String,
    /// Closed when the run is over.
    _ends: Sender<()>,
}

impl Repeat {
    fn of(kind: BackendKind, test: &str, point: Option<Point>, seed: u64) -> Self {
        let point = point.map_or(String::new(), |point| format!("{POINT}={point:?} "));
        let told = format!("repeat it: {point}{SEED}={seed} ci/faults {kind}::{test}");
        let (ends, ended) = mpsc::channel();
        let repeat = told.clone();
        thread::spawn(move || {
            if ended.recv_timeout(RUN_MAX) == Err(RecvTimeoutError::Timeout) {
                // Not by `eprintln`, which the harness keeps until the test ends.
                let _ = writeln!(std::io::stderr(), "a run does not end. {repeat}");
                std::process::abort();
            }
        });
        Repeat { told, _ends: ends }
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.told);
        }
    }
}
