//! When each message of a constant rate is due, whatever became of those before it.
//!
//! The time is computed from the message's number, never from what the server did: that is what
//! keeps a stall from hiding itself. No clock and no I/O. Called by `steady` and `churn`.

use std::time::Duration;

/// The due times of one thread's messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Messages per nanosecond once the ramp is over; above zero.
    per_ns: f64,
    /// The rate grows evenly from nothing to `per_ns` in this time.
    ramp_ns: f64,
    /// This thread's place among the others, so that they do not send all at once.
    offset_ns: f64,
}

impl Schedule {
    /// The share of thread `thread` of `threads` in `rate` messages a second.
    pub(crate) fn new(rate: f64, ramp: Duration, thread: usize, threads: usize) -> Self {
        let per_ns = rate / threads as f64 / 1e9;
        let offset_ns = thread as f64 * 1e9 / rate;
        Self { per_ns, ramp_ns: ramp.as_nanos() as f64, offset_ns }
    }

    /// When message `number` is due, in nanoseconds since the load began.
    pub(crate) fn due(&self, number: u64) -> u64 {
        let number = number as f64;
        // During the ramp, rate * t^2 / (2 * ramp) messages have become due by time t.
        let in_ramp = self.per_ns * self.ramp_ns / 2.0;
        let at = if number < in_ramp {
            (2.0 * number * self.ramp_ns / self.per_ns).sqrt()
        } else {
            self.ramp_ns + (number - in_ramp) / self.per_ns
        };
        (at + self.offset_ns) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_distances() {
        let schedule = Schedule::new(1000.0, Duration::ZERO, 0, 1);
        assert_eq!(schedule.due(0), 0);
        assert_eq!(schedule.due(1), 1_000_000);
        assert_eq!(schedule.due(5000), 5_000_000_000);
    }

    #[test]
    fn threads_share_the_rate_and_take_turns() {
        let threads: Vec<Schedule> =
            (0..4).map(|thread| Schedule::new(1000.0, Duration::ZERO, thread, 4)).collect();
        let mut due: Vec<u64> = (0..8).map(|n| threads[n % 4].due(n as u64 / 4)).collect();
        due.sort_unstable();
        let distances: Vec<u64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(distances, [1_000_000; 7]);
    }

    #[test]
    fn a_ramp_ends_at_the_full_rate_after_half_of_its_messages() {
        let schedule = Schedule::new(1000.0, Duration::from_secs(2), 0, 1);
        assert_eq!(schedule.due(1000), 2_000_000_000);
        assert_eq!(schedule.due(1001) - schedule.due(1000), 1_000_000);
        assert_eq!(schedule.due(250), 1_000_000_000);
        assert!((0..2000).all(|n| schedule.due(n) <= schedule.due(n + 1)));
    }
}
