//! What a server counts: connections, and errors by kind.
//!
//! Counted once a connection or an error, never once a message, so that the models pay nothing
//! for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::units::format_count;

/// At most one line about the same trouble in this time.
const COMPLAINT_EVERY: Duration = Duration::from_secs(1);

/// Counts of one server.
#[derive(Default)]
pub(super) struct Counters {
    accepted: AtomicU64,
    /// Errors so far by kind, and when each was last told.
    errors: Mutex<BTreeMap<String, Errors>>,
}

#[derive(Default)]
struct Errors {
    count: u64,
    last_told: Option<Instant>,
}

impl Counters {
    /// A connection was accepted.
    pub(super) fn on_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// A connection ended with an error of this kind. Peers do that all the time: no line.
    pub(super) fn on_error(&self, kind: impl fmt::Display) {
        self.count(kind.to_string(), false);
    }

    /// Something that the operator should know of: counted, and told at most once a second.
    pub(super) fn complain(&self, kind: impl fmt::Display, detail: impl fmt::Display) {
        let kind = kind.to_string();
        if let Some(count) = self.count(kind.clone(), true) {
            eprintln!("anyport: {kind}: {detail} ({} so far)", format_count(count));
        }
    }

    /// The count after this one, when it is time to tell it.
    fn count(&self, kind: String, is_told: bool) -> Option<u64> {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = errors.entry(kind).or_default();
        entry.count += 1;
        if !is_told || entry.last_told.is_some_and(|at| at.elapsed() < COMPLAINT_EVERY) {
            return None;
        }
        entry.last_told = Some(Instant::now());
        Some(entry.count)
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections accepted", format_count(self.accepted.load(Relaxed)))?;
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.is_empty() {
            return f.write_str(", no errors");
        }
        for (kind, errors) in errors.iter() {
            write!(f, ", {kind}: {}", format_count(errors.count))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_kind() {
        let counters = Counters::default();
        assert_eq!(counters.to_string(), "0 connections accepted, no errors");
        counters.on_accepted();
        counters.on_error("reset");
        counters.on_error("reset");
        counters.on_error("aborted");
        assert_eq!(counters.to_string(), "1 connections accepted, aborted: 1, reset: 2");
    }

    #[test]
    fn the_same_trouble_is_told_once_a_second_but_always_counted() {
        let counters = Counters::default();
        assert_eq!(counters.count("accept".into(), true), Some(1));
        assert_eq!(counters.count("accept".into(), true), None);
        assert_eq!(counters.count("other".into(), true), Some(1));
        assert!(counters.to_string().contains("accept: 2"));
    }
}
