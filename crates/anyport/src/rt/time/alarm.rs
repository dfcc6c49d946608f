//! The handshake between the driver, which sleeps until the earliest timer, and whoever adds a timer
//! that is due before that.
//!
//! The driver announces that it is about to sleep, looks at every shard once more, each under its
//! lock, says until when it sleeps, and sleeps. Whoever adds a timer does so under the lock of its
//! shard, and then asks whether the driver must be rung.
//!
//! **No timer is missed.** Of the driver's look at a shard and the insertion there, both under the
//! same lock, one comes first. If it is the insertion, the look sees the timer. If it is the look,
//! then the announcement before it happens before the claim after the insertion; so the claim reads
//! the announcement or something later:
//!
//! * "asleep until", by the announcement (until anything at all) or by what came of the looks: the
//!   claim succeeds if the timer is due before that, and the driver is rung. If the timer is not,
//!   the driver is awake in time by itself.
//! * "awake", stored by the driver: it has got up since and will announce itself and look again, and
//!   of that look the same holds.
//! * "awake", stored by another claim that succeeded: its ring is under way. It comes after that
//!   store and is kept for a driver that does not sleep yet; so the driver gets up, and the above
//!   holds. If it gets up before the ring comes, it is awake anyway, and the ring is one too many.
//!
//! The lock of the shard orders all of this, so the atomic itself needs no order, and an insertion
//! that rings nobody costs one load of a line that seldom changes. `alarm_loom.rs` runs it in every
//! order.

use crate::atomic::{AtomicUsize, Ordering};

/// The driver is awake, or will be without anybody's help.
const AWAKE: usize = 0;

/// The driver sleeps without end.
const ENDLESS: usize = usize::MAX;

/// A tick that is too large for the word: where words have 32 bits, every one after 49 days.
const SATURATED: usize = usize::MAX - 1;

/// Until when the driver sleeps.
///
/// ```text
/// driver                                                 who adds a timer
/// loop {                                                 lock a shard, insert, unlock
///     fire what is due                                   if alarm.claim(deadline) {
///     alarm.announce()                                       ring
///     lock each shard: when is it due next?              }
///     alarm.sleep_until(the earliest)
///     sleep until then, or until rung
///     alarm.rise()
/// }
/// ```
#[derive(Debug)]
pub(super) struct Alarm {
    asleep_until: AtomicUsize,
}

impl Alarm {
    /// For a driver that is not there yet: the first timer must ring for it.
    pub(super) fn unattended() -> Self {
        Alarm { asleep_until: AtomicUsize::new(ENDLESS) }
    }

    /// For timers that nobody is to be rung for.
    pub(super) fn silent() -> Self {
        Alarm { asleep_until: AtomicUsize::new(AWAKE) }
    }

    /// The driver is about to sleep, and will look at every shard, under its lock, after this.
    pub(super) fn announce(&self) {
        self.asleep_until.store(ENDLESS, Ordering::Relaxed);
    }

    /// The driver has looked, and sleeps until `tick`, or without end. A ring that came meanwhile
    /// must end the sleep at once.
    pub(super) fn sleep_until(&self, tick: Option<u64>) {
        // Not 0, which means awake; a later claim rings for too much then, not for too little.
        let until = tick.map_or(ENDLESS, |tick| compact(tick).max(1));
        self.asleep_until.store(until, Ordering::Relaxed);
    }

    /// The driver is up, whatever woke it.
    pub(super) fn rise(&self) {
        self.asleep_until.store(AWAKE, Ordering::Relaxed);
    }

    /// For who has put a timer into a shard, under the lock of which it was, just before: true when
    /// the caller must ring the driver.
    #[inline]
    pub(super) fn claim(&self, deadline: u64) -> bool {
        let deadline = compact(deadline);
        let mut until = self.asleep_until.load(Ordering::Relaxed);
        loop {
            // Two ticks that do not fit cannot be compared: then rather a ring too many.
            if deadline >= until && (deadline != SATURATED || until == AWAKE) {
                return false;
            }
            // Of several claims one is enough. Those that fail write nothing: "awake" must mean that
            // the driver is, or that a ring is under way.
            match self.asleep_until.compare_exchange_weak(
                until,
                AWAKE,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => until = now,
            }
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn is_endless(&self) -> bool {
        self.asleep_until.load(Ordering::Relaxed) == ENDLESS
    }
}

fn compact(tick: u64) -> usize {
    usize::try_from(tick).map_or(SATURATED, |tick| tick.min(SATURATED))
}

#[cfg(all(test, loom))]
#[path = "alarm_loom.rs"]
mod loom_models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_earlier_rings_and_only_once() {
        let alarm = Alarm::unattended();
        assert!(alarm.claim(1_000), "nobody is there yet");
        assert!(!alarm.claim(1), "and somebody has rung already");
        alarm.announce();
        alarm.sleep_until(Some(500));
        assert!(!alarm.claim(501) && !alarm.claim(500));
        assert!(alarm.claim(499));
        assert!(!alarm.claim(498));
        alarm.rise();
        assert!(!alarm.claim(1));
        alarm.announce();
        assert!(alarm.claim(u64::MAX - 1), "until the looks are done, whatever comes rings");
    }

    #[test]
    fn the_first_tick_is_no_reason_to_seem_awake() {
        let alarm = Alarm::silent();
        assert!(!alarm.claim(0));
        alarm.announce();
        alarm.sleep_until(Some(0));
        assert!(alarm.claim(0));
    }

    #[test]
    fn ticks_beyond_the_word_ring_rather_too_often() {
        let alarm = Alarm::unattended();
        alarm.sleep_until(Some(u64::MAX));
        assert!(alarm.claim(u64::MAX));
        assert!(!alarm.claim(u64::MAX));
    }
}
