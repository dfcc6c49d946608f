//! Stalls on purpose: every N-th message of the process blocks its handler, or burns its core.
//!
//! Shows who else has to wait. Both models call it for each message, in the handler; the echo stays
//! right.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::args::StallKind;

/// When to stall, how and for how long.
pub(super) struct Stall {
    /// Zero: never.
    every: u64,
    lasting: Duration,
    kind: StallKind,
    /// Messages so far.
    messages: AtomicU64,
}

impl Stall {
    /// Stalls for `lasting` at every `every`-th message; 0: never.
    pub(super) fn new(every: u64, lasting: Duration, kind: StallKind) -> Self {
        Self { every, lasting, kind, messages: AtomicU64::new(0) }
    }

    /// Counts `messages` more and stalls for each of them whose turn it is.
    pub(super) fn on_messages(&self, messages: u64) {
        for _ in 0..self.due(messages) {
            match self.kind {
                StallKind::Sleep => std::thread::sleep(self.lasting),
                StallKind::Spin => {
                    let start = Instant::now();
                    while start.elapsed() < self.lasting {
                        std::hint::spin_loop();
                    }
                }
            }
        }
    }

    fn due(&self, messages: u64) -> u64 {
        if self.every == 0 {
            return 0;
        }
        let before = self.messages.fetch_add(messages, Relaxed);
        (before + messages) / self.every - before / self.every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nth_message_is_due_however_they_come() {
        let stall = Stall::new(10, Duration::ZERO, StallKind::Sleep);
        assert_eq!(stall.due(9), 0);
        assert_eq!(stall.due(1), 1);
        assert_eq!(stall.due(25), 2);
        assert_eq!(stall.due(5), 1);
        assert_eq!(stall.due(0), 0);
    }

    #[test]
    fn zero_means_never() {
        let stall = Stall::new(0, Duration::MAX, StallKind::Spin);
        stall.on_messages(1_000_000);
    }

    #[test]
    fn a_spinning_stall_lasts_as_long_as_was_asked() {
        let stall = Stall::new(1, Duration::from_millis(2), StallKind::Spin);
        let start = Instant::now();
        stall.on_messages(2);
        assert!(start.elapsed() >= Duration::from_millis(4));
    }
}
