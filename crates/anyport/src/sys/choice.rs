//! Which backend a port uses, and why: decided once, when the port is built, by asking the kernel.
//!
//! The order: what the builder forces, what `ANYPORT_BACKEND` says, io_uring where the kernel
//! offers all that it takes, readiness everywhere else. What was forced and is not there is an
//! error: nothing is replaced in silence.

use crate::error::{Error, ErrorKind};
use std::fmt;
use std::str::FromStr;

/// The facility of the operating system that moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendKind {
    /// Linux 6.1 and later, where it is permitted: a ring for each running worker.
    IoUring,
    /// Any Unix: try the call, else wait until the socket is ready (epoll, kqueue).
    Readiness,
}

impl BackendKind {
    /// The name that `ANYPORT_BACKEND` and command lines use.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::IoUring => "io_uring",
            BackendKind::Readiness => "readiness",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = Error;

    /// Reads a backend's name: `io_uring` (also `uring`, `io-uring`) or `readiness`.
    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "io_uring" | "io-uring" | "uring" => Ok(BackendKind::IoUring),
            "readiness" => Ok(BackendKind::Readiness),
            _ => Err(Error::new(ErrorKind::InvalidInput, "choose a backend")
                .with_detail("the names are io_uring and readiness (or auto)")),
        }
    }
}

/// What was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendChoice {
    /// The backend in use.
    pub kind: BackendKind,
    /// Why this one, in words for a log line.
    pub reason: String,
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.reason)
    }
}

/// Every backend that this program was built with, and for each that this machine does not allow,
/// the reason.
///
/// ```
/// let all = anyport::available_backends();
/// assert!(all.iter().any(|(_, result)| result.is_ok()), "one of them always works");
/// ```
pub fn available_backends() -> Vec<(BackendKind, Result<(), String>)> {
    vec![(BackendKind::IoUring, probe_uring()), (BackendKind::Readiness, Ok(()))]
}

/// Chooses; `forced` is what the builder asks for.
pub(crate) fn choose(forced: Option<BackendKind>) -> Result<BackendChoice, Error> {
    let environment = std::env::var("ANYPORT_BACKEND").ok();
    choose_from(forced, environment.as_deref(), probe_uring)
}

pub(super) fn unavailable(detail: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, "use a backend").with_detail(detail)
}

fn choose_from(
    forced: Option<BackendKind>,
    environment: Option<&str>,
    probe_uring: impl Fn() -> Result<(), String>,
) -> Result<BackendChoice, Error> {
    let (forced, by) = match (forced, environment) {
        (Some(kind), _) => (Some(kind), "the port's builder asks for it"),
        (None, Some(name)) if !name.is_empty() && name != "auto" => {
            (Some(name.parse()?), "ANYPORT_BACKEND asks for it")
        }
        _ => (None, ""),
    };
    let uring = match forced {
        Some(BackendKind::Readiness) => {
            return Ok(BackendChoice { kind: BackendKind::Readiness, reason: by.to_owned() });
        }
        _ => probe_uring(),
    };
    match (forced, uring) {
        (Some(_), Ok(())) => {
            Ok(BackendChoice { kind: BackendKind::IoUring, reason: by.to_owned() })
        }
        (Some(_), Err(why)) => {
            log::error!("the io_uring backend was asked for and is not to be had: {why}");
            Err(unavailable(
                "io_uring was asked for and this machine does not offer it (refused, switched off \
                 or a kernel before 6.1); remove ANYPORT_BACKEND or the builder's choice",
            ))
        }
        (None, Ok(())) => Ok(BackendChoice {
            kind: BackendKind::IoUring,
            reason: "the kernel offers all that it takes".to_owned(),
        }),
        (None, Err(why)) => Ok(BackendChoice { kind: BackendKind::Readiness, reason: why }),
    }
}

#[cfg(target_os = "linux")]
fn probe_uring() -> Result<(), String> {
    super::uring::probe()
}

#[cfg(not(target_os = "linux"))]
fn probe_uring() -> Result<(), String> {
    Err("io_uring is a facility of Linux".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absent() -> Result<(), String> {
        Err("io_uring_setup is refused".to_owned())
    }

    #[test]
    fn the_builder_goes_before_the_environment() {
        let choice = choose_from(Some(BackendKind::Readiness), Some("io_uring"), || Ok(()));
        assert_eq!(choice.expect("chosen").kind, BackendKind::Readiness);
    }

    #[test]
    fn without_io_uring_readiness_is_chosen_and_the_reason_kept() {
        let choice = choose_from(None, None, absent).expect("chosen");
        assert_eq!(choice.kind, BackendKind::Readiness);
        assert_eq!(choice.reason, "io_uring_setup is refused");
    }

    #[test]
    fn a_forced_backend_that_is_not_there_is_a_clear_error() {
        let error = choose_from(None, Some("io_uring"), absent).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("ANYPORT_BACKEND"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_the_known_ones() {
        let error = choose_from(None, Some("epoll"), || Ok(())).expect_err("refused");
        assert!(error.to_string().contains("readiness"), "{error}");
    }
}
