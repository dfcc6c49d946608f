//! Which backend a port uses, and why: decided once, when the port is built, by asking the kernel.
//!
//! The order: what the builder forces, what `ANYPORT_BACKEND` says, the system's own port on
//! Windows, io_uring where the kernel offers all that it takes, readiness everywhere else. What was forced and is not there is an
//! error: nothing is replaced in silence. Where nothing was forced and the rings of the port are then
//! not to be had, `Chosen::instead` has what serves in their place.

use crate::error::{Error, ErrorKind};
use std::fmt;
use std::str::FromStr;

/// The facility of the operating system that moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendKind {
    /// Linux 6.1 and later, where it is permitted: a ring for each running worker.
    IoUring,
    /// Any Unix: try the call, else wait until the socket is ready (epoll, kqueue). The port's threads in
    /// `get` look whether it is, and the engine's own thread where none is there or comes back.
    Readiness,
    /// Windows: the system's own completion port.
    Windows,
    /// A simulated network and disk, for tests: see [`sim`](crate::sim).
    #[cfg(feature = "sim")]
    Simulated,
}

impl BackendKind {
    /// The name that `ANYPORT_BACKEND` and command lines use.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::IoUring => "io_uring",
            BackendKind::Readiness => "readiness",
            BackendKind::Windows => "windows",
            #[cfg(feature = "sim")]
            BackendKind::Simulated => "simulated",
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

    /// Reads a backend's name: `io_uring` (also `uring`, `io-uring`), `readiness` or `windows`.
    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "io_uring" | "io-uring" | "uring" => Ok(BackendKind::IoUring),
            "readiness" => Ok(BackendKind::Readiness),
            "windows" => Ok(BackendKind::Windows),
            _ => Err(Error::new(ErrorKind::InvalidInput, "choose a backend")
                .with_detail("the names are io_uring, readiness and windows (or auto)")),
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

/// A choice, and whether somebody asked for it by name.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) choice: BackendChoice,
    is_forced: bool,
}

impl Chosen {
    #[cfg(feature = "sim")]
    pub(crate) fn of_world() -> Self {
        let reason = "the port is of a simulated world".to_owned();
        Chosen { choice: BackendChoice { kind: BackendKind::Simulated, reason }, is_forced: true }
    }

    /// What the port takes when this backend could not be made, which was there a moment ago: readiness
    /// for io_uring, whose rings need memory that may be limited or a right that may be taken away.
    ///
    /// # Errors
    /// The same error: where the backend was asked for by name, where there is nothing else, and
    /// when what lacks are descriptors, without which no backend serves.
    pub(crate) fn instead(&self, error: Error) -> Result<BackendChoice, Error> {
        let is_of_rings = matches!(error.kind(), ErrorKind::NoMemory | ErrorKind::Unsupported)
            || error.kind() == ErrorKind::PermissionDenied;
        if self.is_forced || self.choice.kind != BackendKind::IoUring || !is_of_rings {
            return Err(error);
        }
        let reason = format!("io_uring is here, but not the rings of this port: {error}");
        Ok(BackendChoice { kind: BackendKind::Readiness, reason })
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
    let kinds = [BackendKind::IoUring, BackendKind::Readiness, BackendKind::Windows];
    kinds.map(|kind| (kind, probe(kind).map(drop))).into()
}

/// Chooses; `forced` is what the builder asks for.
pub(crate) fn choose(forced: Option<BackendKind>) -> Result<Chosen, Error> {
    #[cfg(target_os = "linux")]
    super::uring::check_settings()?;
    let environment = std::env::var("ANYPORT_BACKEND").ok();
    choose_from(forced, environment.as_deref(), probe)
}

pub(super) fn unavailable(detail: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, "use a backend").with_detail(detail)
}

fn choose_from(
    forced: Option<BackendKind>,
    environment: Option<&str>,
    probe: impl Fn(BackendKind) -> Probed,
) -> Result<Chosen, Error> {
    let (forced, by) = match (forced, environment) {
        (Some(kind), _) => (Some(kind), "the port's builder asks for it"),
        (None, Some(name)) if !name.is_empty() && name != "auto" => {
            (Some(name.parse()?), "ANYPORT_BACKEND asks for it")
        }
        _ => (None, ""),
    };
    let is_forced = forced.is_some();
    let chosen = |kind, reason| Ok(Chosen { choice: BackendChoice { kind, reason }, is_forced });
    if let Some(kind) = forced {
        return match probe(kind) {
            Ok(note) => chosen(kind, format!("{by}{note}")),
            Err(why) => {
                log::error!("the {kind} backend was asked for and is not to be had: {why}");
                Err(unavailable(refusal(kind)))
            }
        };
    }
    if probe(BackendKind::Windows).is_ok() {
        let reason = "the system has completion ports of its own".to_owned();
        return chosen(BackendKind::Windows, reason);
    }
    match probe(BackendKind::IoUring) {
        Ok(note) => {
            chosen(BackendKind::IoUring, format!("the kernel offers all that it takes{note}"))
        }
        Err(why) => chosen(BackendKind::Readiness, why),
    }
}

/// What a forced backend that is not there is refused with.
fn refusal(kind: BackendKind) -> &'static str {
    match kind {
        BackendKind::IoUring => {
            "io_uring was asked for and this machine does not offer it (refused, switched off, no \
             locked memory left or a kernel before 6.1), or ANYPORT_WITHOUT takes away what it needs; remove \
             ANYPORT_BACKEND or the builder's choice, or ANYPORT_WITHOUT"
        }
        BackendKind::Readiness => {
            "readiness was asked for, which is for Unix; remove ANYPORT_BACKEND or the builder's \
             choice"
        }
        BackendKind::Windows => {
            "windows was asked for, and this is another system; remove ANYPORT_BACKEND or the \
             builder's choice"
        }
        #[cfg(feature = "sim")]
        BackendKind::Simulated => {
            "the simulated backend is in simulated worlds: build the port on a thread that is in \
             one, or with `PortBuilder::simulated`"
        }
    }
}

/// What a backend does without on this machine, to go on a log line: mostly nothing. Or why this
/// machine does not offer it.
type Probed = Result<String, String>;

/// Whether this machine offers a backend.
fn probe(kind: BackendKind) -> Probed {
    let absent = match kind {
        #[cfg(target_os = "linux")]
        BackendKind::IoUring => return super::uring::probe(),
        #[cfg(not(target_os = "linux"))]
        BackendKind::IoUring => "io_uring is a facility of Linux",
        #[cfg(unix)]
        BackendKind::Readiness => return Ok(String::new()),
        #[cfg(not(unix))]
        BackendKind::Readiness => "readiness is for Unix",
        #[cfg(windows)]
        BackendKind::Windows => return Ok(String::new()),
        #[cfg(not(windows))]
        BackendKind::Windows => "the system's own completion ports are a facility of Windows",
        #[cfg(feature = "sim")]
        BackendKind::Simulated => match super::sim::World::current() {
            Some(_) => return Ok(String::new()),
            None => "the calling thread is in no simulated world",
        },
    };
    Err(absent.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Unix that has the backends that are named.
    fn unix(has_uring: bool) -> impl Fn(BackendKind) -> Probed {
        move |kind| match kind {
            BackendKind::IoUring if !has_uring => Err("io_uring_setup is refused".to_owned()),
            BackendKind::Windows => Err("not Windows".to_owned()),
            _ => Ok(String::new()),
        }
    }

    #[test]
    fn the_builder_goes_before_the_environment() {
        let choice = choose_from(Some(BackendKind::Readiness), Some("io_uring"), unix(true));
        assert_eq!(choice.expect("chosen").choice.kind, BackendKind::Readiness);
    }

    #[test]
    fn without_io_uring_readiness_is_chosen_and_the_reason_kept() {
        let choice = choose_from(None, None, unix(false)).expect("chosen").choice;
        assert_eq!(choice.kind, BackendKind::Readiness);
        assert_eq!(choice.reason, "io_uring_setup is refused");
    }

    #[test]
    fn what_io_uring_does_without_is_said_however_it_was_chosen() {
        let without = |kind| match kind {
            BackendKind::Windows => Err("not Windows".to_owned()),
            _ => Ok("; without this".to_owned()),
        };
        for (forced, environment) in
            [(None, None), (None, Some("io_uring")), (Some(BackendKind::IoUring), None)]
        {
            let choice = choose_from(forced, environment, without).expect("chosen").choice;
            assert_eq!(choice.kind, BackendKind::IoUring);
            assert!(choice.reason.ends_with("; without this"), "{choice}");
        }
    }

    #[test]
    fn a_forced_backend_that_is_not_there_is_a_clear_error() {
        let error = choose_from(None, Some("io_uring"), unix(false)).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("ANYPORT_BACKEND"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_the_known_ones() {
        let error = choose_from(None, Some("epoll"), unix(true)).expect_err("refused");
        assert!(error.to_string().contains("readiness"), "{error}");
    }

    #[test]
    fn a_system_that_has_completion_ports_uses_them() {
        let windows = |kind| match kind {
            BackendKind::Windows => Ok(String::new()),
            other => Err(format!("no {other}")),
        };
        let choice = choose_from(None, None, windows).expect("chosen").choice;
        assert_eq!(choice.kind, BackendKind::Windows);
        let error = choose_from(Some(BackendKind::Windows), None, unix(true)).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn where_nothing_was_forced_readiness_serves_for_rings_that_are_not_to_be_had() {
        let no_memory = || Error::from_code(ErrorKind::NoMemory, 12, "create an io_uring");
        let choice = choose_from(None, Some("auto"), unix(true)).expect("chosen");
        let instead = choice.instead(no_memory()).expect("nothing was forced");
        assert_eq!(instead.kind, BackendKind::Readiness);
        assert!(instead.reason.contains("create an io_uring"), "{instead}");
        // Without descriptors nothing serves.
        assert!(choice.instead(Error::new(ErrorKind::Limit, "create an io_uring")).is_err());
        for (forced, environment) in [(None, Some("io_uring")), (Some(BackendKind::IoUring), None)]
        {
            let choice = choose_from(forced, environment, unix(true)).expect("chosen");
            assert_eq!(choice.instead(no_memory()), Err(no_memory()));
        }
        let choice = choose_from(None, None, unix(false)).expect("chosen");
        assert_eq!(choice.instead(no_memory()), Err(no_memory()), "there is nothing else");
    }
}
