//! Time: [`sleep()`], [`timeout()`] and [`interval()`], for any number of tasks.
//!
//! | | |
//! |---|---|
//! | [`sleep()`], [`sleep_until`] | wait |
//! | [`timeout()`], [`timeout_at`] | give a future a limit |
//! | [`interval()`], [`interval_at`] | tick again and again |
//! | [`now`] | what time it is, in a simulation too |
//! | [`Timers`] | what all of them wait by; a runtime has its own |
//!
//! The resolution is a millisecond. No timer fires early; one fires up to a millisecond late, plus
//! what the system takes to wake a thread. What making, cancelling and resetting a timer costs does
//! not depend on how many there are, and once memory is warm none is asked for.
//!
//! # How it works
//!
//! Each thread makes its timers in a shard: a hierarchical timing wheel behind a lock. One thread,
//! the driver, sleeps until the earliest timer of all shards, and wakes whom it is for. A new timer
//! rings the driver only if it is earlier than what the driver sleeps for.
//!
//! | | |
//! |---|---|
//! | `wheel.rs`, `slab.rs` | timers by when they are due, and their places; no clock, no thread |
//! | `clock.rs` | the system's time or one set by hand; ticks |
//! | `shard.rs` | a wheel and its lock, for some threads |
//! | `driver.rs`, `alarm.rs` | the thread that serves the shards; how it is rung |
//! | `timers.rs`, `current.rs`, `manual.rs` | all of it together; which are current; time by hand |
//! | `sleep.rs`, `timeout.rs`, `interval.rs` | the futures |

mod alarm;
mod clock;
mod current;
mod driver;
mod interval;
mod manual;
mod shard;
mod slab;
mod sleep;
mod timeout;
mod timers;
mod wheel;

#[cfg(all(test, not(loom)))]
mod tests;

pub use current::{Entered, now};
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use manual::ManualTime;
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
pub use timers::Timers;
