//! A condition variable: the system's or, for threads of a simulated world that take turns, one that
//! passes the turn on.

use super::thread::now;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// See the module documentation. One mutex belongs to it. Among threads that take turns nobody may
/// pass the turn on while it holds that mutex.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    system: std::sync::Condvar,
    /// Those of a world that wait, the first one first.
    #[cfg(feature = "sim")]
    simulated: Mutex<Vec<std::sync::Arc<super::sim::Parking>>>,
}

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets go of `mutex`, of which `guard` is, and waits until it is notified or, with one, until
    /// the deadline. May return early for no reason.
    pub(crate) fn wait<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, T> {
        #[cfg(feature = "sim")]
        if let Some(parking) = super::sim::Parking::of_caller() {
            let parking = std::sync::Arc::new(parking);
            self.simulated().push(std::sync::Arc::clone(&parking));
            drop(guard);
            parking.park(deadline);
            self.simulated().retain(|other| !std::sync::Arc::ptr_eq(other, &parking));
            return mutex.lock().unwrap_or_else(PoisonError::into_inner);
        }
        // The system's has the mutex from the guard.
        let _ = mutex;
        match deadline {
            None => self.system.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(now());
                let waited = self.system.wait_timeout(guard, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Wakes one that waits, if there is one.
    pub(crate) fn notify_one(&self) {
        #[cfg(feature = "sim")]
        {
            let mut waiting = self.simulated();
            if !waiting.is_empty() {
                let first = waiting.remove(0);
                drop(waiting);
                return first.unpark();
            }
        }
        self.system.notify_one();
    }

    /// Wakes all that wait.
    pub(crate) fn notify_all(&self) {
        #[cfg(feature = "sim")]
        for parking in std::mem::take(&mut *self.simulated()) {
            parking.unpark();
        }
        self.system.notify_all();
    }

    #[cfg(feature = "sim")]
    fn simulated(&self) -> MutexGuard<'_, Vec<std::sync::Arc<super::sim::Parking>>> {
        self.simulated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
