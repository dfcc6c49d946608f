//! The handshake between the driver, which sleeps until the earliest timer, and whoever adds a timer
//! that is due before that.
//!
//! The driver announces that it is about to sleep, looks at every shard once more, each under its
//! lock, and sleeps until the earliest tick that it has seen or that was claimed since. Whoever adds
//! a timer does so under the lock of its shard, and then claims its tick: if the driver would sleep
//! for longer, that tick takes the place of the later one, and the driver is rung.
//!
//! **No timer is missed.** Of the driver's look at a shard and the insertion there, both under the
//! same lock, one comes first. If it is the insertion, the look sees the timer. If it is the look,
//! then the announcement before it happens before the claim after the insertion; so the claim reads
//! the announcement or something later:
//!
//! * a later tick than that of the timer, or none: the claim lowers it and rings.
//! * a tick that is as early: it is the driver's own, or that of another claim, which rings after it
//!   has written it. A ring is kept for a driver that does not sleep yet, and one that is rung reads
//!   what is claimed now. So the driver is awake at that tick.
//! * "awake": the driver has got up since. It will announce itself and look again, and of that look
//!   the same holds.
//!
//! A ring that comes when the driver is up for another reason is one too many, and harmless. The
//! lock of the shard orders all of this, so the atomic itself needs no order, and a claim that rings
//! nobody costs one load of a line that seldom changes. `alarm_loom.rs` runs it in every order.
//!
//! A driver that is rung does not look at the shards for that, and a tick is claimed once: threads
//! that insert without end do not keep it awake.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

/// The driver is up, and will look at the shards before it sleeps.
const AWAKE: u64 = 0;

/// "Without end".
const ENDLESS: u64 = u64::MAX;

/// Until when the driver sleeps.
///
/// ```text
/// driver                                                 who adds a timer
/// loop {                                                 lock a shard, insert, unlock
///     fire what is due                                   if alarm.claim(deadline) {
///     alarm.announce()                                       ring
///     lock each shard: when is it due next?              }
///     alarm.sleep_until(the earliest)
///     while alarm.asleep_until() has not come { sleep until then, or until rung }
///     alarm.rise()
/// }
/// ```
#[derive(Debug)]
pub(super) struct Alarm {
    asleep_until: AtomicU64,
}

impl Alarm {
    /// For a driver that is not there yet: the first timer must ring for it.
    pub(super) fn unattended() -> Self {
        Alarm { asleep_until: AtomicU64::new(ENDLESS) }
    }

    /// For timers that nobody is to be rung for.
    pub(super) fn silent() -> Self {
        Alarm { asleep_until: AtomicU64::new(AWAKE) }
    }

    /// The driver is about to sleep, and will look at every shard, under its lock, after this.
    pub(super) fn announce(&self) {
        self.asleep_until.store(ENDLESS, Ordering::Relaxed);
    }

    /// The driver has looked, and `next` is the earliest that it has seen.
    pub(super) fn sleep_until(&self, next: Option<u64>) {
        if let Some(next) = next {
            // Claims that came in between stand.
            self.lower(next);
        }
    }

    /// The tick at which the driver must get up, by now; `None` if it sleeps without end. It may
    /// become earlier, and the driver is rung then.
    pub(super) fn asleep_until(&self) -> Option<u64> {
        Some(self.asleep_until.load(Ordering::Relaxed)).filter(|&until| until != ENDLESS)
    }

    /// The driver is up, whatever woke it.
    pub(super) fn rise(&self) {
        self.asleep_until.store(AWAKE, Ordering::Relaxed);
    }

    /// For who has put a timer into a shard, under the lock of which it was, just before: true when
    /// the caller must ring the driver.
    #[inline]
    pub(super) fn claim(&self, deadline: u64) -> bool {
        deadline.max(1) < self.asleep_until.load(Ordering::Relaxed) && self.lower(deadline)
    }

    /// Whether this has made it earlier. If not, it has written nothing, so that what is written
    /// always comes with a ring.
    fn lower(&self, tick: u64) -> bool {
        // Tick 0 would seem awake.
        let tick = tick.max(1);
        let earlier = |until| (tick < until).then_some(tick);
        self.asleep_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier).is_ok()
    }
}

#[cfg(all(test, loom))]
#[path = "alarm_loom.rs"]
mod loom_models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_earlier_rings_and_is_what_the_driver_sleeps_for() {
        let alarm = Alarm::unattended();
        assert!(alarm.claim(1_000), "nobody is there yet");
        assert!(!alarm.claim(1_000), "and somebody has rung already");
        alarm.rise();
        assert!(!alarm.claim(1), "the driver will look");
        alarm.announce();
        assert_eq!(alarm.asleep_until(), None);
        alarm.sleep_until(Some(500));
        assert!(!alarm.claim(501) && !alarm.claim(500));
        assert!(alarm.claim(499));
        assert!(!alarm.claim(499));
        assert_eq!(alarm.asleep_until(), Some(499));
    }

    #[test]
    fn what_is_claimed_while_the_driver_looks_stands() {
        let alarm = Alarm::silent();
        alarm.announce();
        assert!(alarm.claim(u64::MAX - 1), "until the looks are done, whatever comes rings");
        assert!(alarm.claim(70));
        alarm.sleep_until(Some(80));
        assert_eq!(alarm.asleep_until(), Some(70));
        alarm.sleep_until(None);
        assert_eq!(alarm.asleep_until(), Some(70));
    }

    #[test]
    fn the_first_tick_is_no_reason_to_seem_awake() {
        let alarm = Alarm::silent();
        assert!(!alarm.claim(0));
        alarm.announce();
        assert!(alarm.claim(0));
        assert!(!alarm.claim(0));
        assert_eq!(alarm.asleep_until(), Some(1));
    }

    #[test]
    fn what_is_never_due_rings_nobody() {
        let alarm = Alarm::unattended();
        assert!(!alarm.claim(u64::MAX));
    }
}
