//! How many errors a run may have and still end well: a number, or per cent of what was tried.
//!
//! No I/O. Called by `args`, `bench` and `suite`. Wrong bytes are outside of it: one is too many.

/// The most errors that are put up with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ErrorBudget {
    Count(u64),
    /// Of the connections, or with churn of the exchanges.
    Percent(f64),
}

impl ErrorBudget {
    /// Reads `10` or `0.5%`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not a number of errors: write 10 or 0.5%");
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Count).map_err(|_| refuse()),
            Some(percent) => match percent.trim_end().parse() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self::Percent(percent)),
                _ => Err(refuse()),
            },
        }
    }

    /// The number of errors that `attempts` may have.
    pub(crate) fn allowed(self, attempts: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (attempts as f64 * percent / 100.0) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_number_or_a_share_of_what_was_tried() {
        assert_eq!(ErrorBudget::parse("10").expect("a number").allowed(5), 10);
        assert_eq!(ErrorBudget::parse("0.5%").expect("a share").allowed(1000), 5);
        assert_eq!(ErrorBudget::parse("0.1%").expect("a share").allowed(999), 0);
    }

    #[test]
    fn what_is_no_budget_is_refused() {
        for text in ["", "-1", "%", "101%", "nan%", "1.5", "ten"] {
            assert!(ErrorBudget::parse(text).is_err(), "{text}");
        }
    }
}
