//! Ctrl-C, SIGTERM and SIGHUP as a value that can be asked and waited for.
//!
//! The first signal asks for a clean end; a second one ends the process at once with status 130.
//! One is made by `main`, before any command starts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Exit status of a process that was interrupted.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Whether somebody asked this process to end. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Set once, never cleared; written under the lock so that no waiter misses it.
    is_set: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Interrupt {
    /// Takes over the signals of this process. Fails when they were taken over before.
    pub(crate) fn install() -> Result<Self, String> {
        let interrupt = Self::default();
        let by_signal = interrupt.clone();
        ctrlc::set_handler(move || {
            if by_signal.is_set() {
                std::process::exit(i32::from(EXIT_INTERRUPTED));
            }
            by_signal.set();
        })
        .map_err(|error| format!("cannot take over Ctrl-C and SIGTERM: {error}"))?;
        Ok(interrupt)
    }

    /// Asks for the end and wakes all waiters.
    pub(crate) fn set(&self) {
        let _held = self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.is_set.store(true, Ordering::Release);
        self.shared.changed.notify_all();
    }

    /// Whether the end was asked for.
    pub(crate) fn is_set(&self) -> bool {
        self.shared.is_set.load(Ordering::Acquire)
    }

    /// Blocks until the end is asked for.
    pub(crate) fn wait(&self) {
        let mut held = self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_set() {
            held = self.shared.changed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_wakes_when_the_end_is_asked_for() {
        let interrupt = Interrupt::default();
        let waiter = {
            let interrupt = interrupt.clone();
            std::thread::spawn(move || interrupt.wait())
        };
        assert!(!interrupt.is_set());
        interrupt.set();
        waiter.join().expect("the waiter returns");
        interrupt.wait();
        assert!(interrupt.is_set());
    }
}
