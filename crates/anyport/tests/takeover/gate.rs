//! Where a handler is stuck until the test lets it go.

use crate::world::DEADLINE;
use std::sync::{Condvar, Mutex};

/// See the module documentation.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    /// Says that it is there, and stays until the gate opens.
    pub(crate) fn be_stuck(&self) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.0 = true;
        self.changed.notify_all();
        let opened = self.changed.wait_timeout_while(state, DEADLINE, |state| !state.1);
        assert!(!opened.expect("nobody panics with it").1.timed_out(), "nobody opens the gate");
    }

    pub(crate) fn wait_until_stuck(&self) {
        let state = self.state.lock().expect("nobody panics with it");
        let stuck = self.changed.wait_timeout_while(state, DEADLINE, |state| !state.0);
        assert!(!stuck.expect("nobody panics with it").1.timed_out(), "nobody gets stuck");
    }

    pub(crate) fn open(&self) {
        self.state.lock().expect("nobody panics with it").1 = true;
        self.changed.notify_all();
    }
}
