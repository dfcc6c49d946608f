//! Waits for an event that fail when it does not come.
//!
//! Nothing here waits for time to pass or measures speed: the deadline, far beyond what anything
//! takes, only bounds how long a fault is waited for, so that it fails instead of hanging.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for one event that must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `is_so`; fails when it does not come to be.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "did not come: {what}");
        // Between two looks; the number of looks has no part in the result.
        thread::sleep(Duration::from_micros(500));
    }
}
