//! One line on the terminal that is written over and over; nothing at all when standard error is
//! not a terminal. No colour.

use std::io::{IsTerminal, Write};

/// Characters of a bar.
const BAR_LEN: usize = 30;

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

/// A bar that is filled to `part`, from 0 to 1: `[=====>    ]  55 %`.
pub(crate) fn bar(part: f64) -> String {
    let part = part.clamp(0.0, 1.0);
    let filled = (part * BAR_LEN as f64) as usize;
    let head = if filled < BAR_LEN { ">" } else { "" };
    let body = format!("{}{head}", "=".repeat(filled));
    format!("[{body:<BAR_LEN$}] {:>3.0} %", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_when_empty_as_when_full() {
        assert_eq!(bar(0.0).len(), bar(1.0).len());
        assert_eq!(bar(-1.0), bar(0.0));
        assert_eq!(bar(2.0), bar(1.0));
        assert!(bar(0.5).contains("===>") && bar(0.5).ends_with(" 50 %"));
    }
}
