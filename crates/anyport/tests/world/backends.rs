//! Each test on every backend, and what becomes of it where the machine does not offer one.
//!
//! Such a test says that it was not run; it fails when `ANYPORT_REQUIRE` names the backend.

use anyport::{BackendKind, CompletionPort, PortBuilder, available_backends};
use std::sync::OnceLock;

/// Asked once, before the first test: to ask takes descriptors for a moment, and there are tests
/// that count those of the process.
static OFFERED: OnceLock<Vec<(BackendKind, Result<(), String>)>> = OnceLock::new();

/// Makes a test for each backend of each function in the list, which `world::run` runs.
macro_rules! on_every_backend {
    ($($part:ident::$test:ident),+ $(,)?) => {
        mod io_uring {
            $(#[test]
            fn $test() {
                crate::world::run(anyport::BackendKind::IoUring, crate::$part::$test);
            })+
        }

        mod readiness {
            $(#[test]
            fn $test() {
                crate::world::run(anyport::BackendKind::Readiness, crate::$part::$test);
            })+
        }

        mod windows {
            $(#[test]
            fn $test() {
                crate::world::run(anyport::BackendKind::Windows, crate::$part::$test);
            })+
        }
    };
}
pub(crate) use on_every_backend;

/// As `on_every_backend`, and in a simulated world each, as `world::run_simulated` does it.
#[allow(unused_macros, reason = "some suites have statements, or the system's sockets only")]
macro_rules! everywhere {
    ($($part:ident::$test:ident),+ $(,)?) => {
        world::on_every_backend! { $($part::$test,)+ }

        #[cfg(feature = "sim")]
        mod simulated {
            $(#[test]
            fn $test() {
                crate::world::run_simulated(stringify!($test), crate::$part::$test);
            })+
        }
    };
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use everywhere;

/// True when the machine offers this backend. Says why when it does not, and fails when it is
/// required.
pub(crate) fn is_offered(kind: BackendKind) -> bool {
    let offered = OFFERED.get_or_init(available_backends);
    let reason = match offered.iter().find(|(k, _)| *k == kind) {
        Some((_, Ok(()))) => return true,
        Some((_, Err(reason))) => reason.clone(),
        None => format!("{kind} is not part of this build"),
    };
    let required = std::env::var("ANYPORT_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|name| name.trim().parse() == Ok(kind));
    assert!(!is_required, "{kind} is required and not to be had: {reason}");
    println!("not run: {reason}");
    false
}

/// Sets a port up on this backend.
#[allow(dead_code, reason = "some suites build something else")]
pub(crate) fn builder(kind: BackendKind) -> PortBuilder {
    CompletionPort::<()>::builder().backend(kind)
}
