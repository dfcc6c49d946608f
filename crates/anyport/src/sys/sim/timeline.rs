//! The one source of order in a world: its clock, its choices, what is due and when, and the trace
//! by which two runs are compared.

use super::lanes::Due;
use super::network::Parcel;
use super::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// Something that the world does by itself at its time.
pub(super) enum Happening {
    /// Arrives where it was sent, if nothing is in the way.
    Parcel(Parcel),
    /// What was held back for so long fails: the number of the held parcel.
    GivesUp(u64),
    /// The engine's part: an attempt, a completion that is told, a late cancel.
    Due(Due),
}

/// See the module documentation. Times are in nanoseconds since the world began.
pub(super) struct Timeline {
    now: u64,
    pub(super) random: Random,
    due: BTreeMap<(u64, u64), Happening>,
    numbers: u64,
    pub(super) trace: Trace,
}

impl Timeline {
    pub(super) fn new(seed: u64) -> Self {
        Timeline {
            now: 0,
            random: Random::new(seed),
            due: BTreeMap::new(),
            numbers: 0,
            trace: Trace::new(),
        }
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// A number that this world has not given before.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Puts something on the agenda; at equal times what was put first comes first.
    pub(super) fn after(&mut self, delay: u64, happening: Happening) {
        let number = self.number();
        self.due.insert((self.now.saturating_add(delay), number), happening);
    }

    /// When the next thing is due.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next thing that is due up to `until`; the clock moves to its time.
    pub(super) fn next_until(&mut self, until: u64) -> Option<Happening> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= until)?;
        let ((at, _), happening) = entry.remove_entry();
        self.now = self.now.max(at);
        Some(happening)
    }

    /// Moves the clock on; never back.
    pub(super) fn move_to(&mut self, at: u64) {
        self.now = self.now.max(at);
    }

    /// Notes a step of the run.
    pub(super) fn note(&mut self, what: &'static str, who: u64, how_much: u64) {
        self.trace.note(Step { at: self.now, what, who, how_much });
    }
}

/// One step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    at: u64,
    what: &'static str,
    who: u64,
    how_much: u64,
}

/// A hash over all steps of a run, and the last few of them in words.
pub(super) struct Trace {
    hash: u64,
    steps: u64,
    last: VecDeque<Step>,
}

/// Steps that are kept in words.
const KEPT_MAX: usize = 64;

impl Trace {
    fn new() -> Self {
        // FNV-1a: its basis.
        Trace { hash: 0xcbf2_9ce4_8422_2325, steps: 0, last: VecDeque::with_capacity(KEPT_MAX) }
    }

    /// Equal for equal runs.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes in bytes that were moved.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn note(&mut self, step: Step) {
        self.steps += 1;
        self.add(&step.at.to_le_bytes());
        self.add(step.what.as_bytes());
        self.add(&step.who.to_le_bytes());
        self.add(&step.how_much.to_le_bytes());
        if self.last.len() == KEPT_MAX {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} steps, hash {:016x}; the last:", self.steps, self.hash)?;
        for Step { at, what, who, how_much } in &self.last {
            writeln!(f, "  {at:>14} ns  {what} {who} {how_much}")?;
        }
        Ok(())
    }
}
