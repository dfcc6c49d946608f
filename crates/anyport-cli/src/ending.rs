//! How a command ends, and the exit status that a script sees.

use std::process::ExitCode;

use crate::interrupt::EXIT_INTERRUPTED;

/// The result of a command.
#[derive(Debug)]
pub(crate) enum Ending {
    /// All well: 0.
    Well,
    /// It ran, and something that it measured was wrong; this was said already: 1.
    Wrong,
    /// It could not run, and why: 1.
    Failed(String),
    /// It could not judge what it was given, and why: 2. As 1 a script would take it for a verdict.
    Unjudged(String),
    /// The command line asks for what cannot be, and why: 2.
    Usage(String),
    /// Somebody interrupted it: 130.
    Interrupted,
}

impl Ending {
    /// Says on standard error what has to be said, and gives the exit status.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Well => ExitCode::SUCCESS,
            Self::Wrong => ExitCode::FAILURE,
            Self::Failed(why) => {
                eprintln!("anyport: {why}");
                ExitCode::FAILURE
            }
            Self::Unjudged(why) => {
                eprintln!("anyport: {why}");
                ExitCode::from(2)
            }
            Self::Usage(why) => {
                eprintln!("error: {why}\n\nFor more information, try '--help'.");
                ExitCode::from(2)
            }
            Self::Interrupted => {
                eprintln!("anyport: interrupted");
                ExitCode::from(EXIT_INTERRUPTED)
            }
        }
    }
}
