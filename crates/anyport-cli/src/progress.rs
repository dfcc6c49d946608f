//! One line on the terminal that is written over and over; nothing at all when standard error is
//! not a terminal. No colour.

use std::io::{IsTerminal, Write};

/// The line.
pub(crate) struct Progress {
    is_terminal: bool,
    /// Characters that are on the line now.
    shown_len: usize,
}

impl Progress {
    /// A line that is empty so far.
    pub(crate) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), shown_len: 0 }
    }

    /// Puts `text` in place of what is shown.
    pub(crate) fn show(&mut self, text: &str) {
        if self.is_terminal {
            let width = self.shown_len;
            self.shown_len = text.chars().count();
            let mut stderr = std::io::stderr().lock();
            // Progress that cannot be shown is no reason to stop.
            let _ = write!(stderr, "\r{text:<width$}").and_then(|()| stderr.flush());
        }
    }

    /// Empties the line, so that other text may follow.
    pub(crate) fn clear(&mut self) {
        if self.shown_len > 0 {
            self.show("");
            eprint!("\r");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
