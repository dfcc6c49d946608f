//! Who sleeps here, who polls, and how each is woken.
//!
//! Guarantees that an event pushed while a lane of the port sleeps wakes one, and else the clerk if that
//! sleeps without end; that a wake-up given before a sleep ends that sleep; that at most one lane
//! at a time polls; that a lane which parked while another looked at the sockets is woken to poll; and
//! that the clerk, where it has that part because no lane had, gives it up to the first lane that wants
//! it. Loom runs this file with a model of the poller. Called by `Ready`, which knows the poller and the
//! queue; `notify` ends the poller's wait or else its next one.

use crate::atomic::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// See the module documentation.
pub(super) struct Sleepers {
    list: Mutex<List>,
    /// `List::summary`, changed under its lock and only by read-modify-write.
    ///
    /// This word is what makes the handshake safe. Who pushes: writes the queue's length, then does an
    /// RMW here. Who goes to sleep: is added here by an RMW, then reads the length. RMWs of one
    /// word have one order, and the later one sees what was written before the earlier one. If the
    /// pusher's comes later it sees the sleeper and wakes it; if the sleeper's comes later it sees
    /// the event and does not sleep.
    summary: AtomicUsize,
    lanes: Box<[Lane]>,
}

/// The clerk, which takes events that no lane takes, looks for them after this time, and for sockets
/// after so long without a lane that polls.
pub(super) const NEGLECTED_AFTER: Duration = Duration::from_millis(4);

/// How a lane may sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// It is the one that polls.
    Polls,
    /// It parks: another lane polls, or it is the clerk's and somebody has polled of late.
    Parks,
}

impl Sleepers {
    /// For `lanes` lanes of the port and, beside them, the clerk's.
    pub(super) fn new(lanes: usize) -> Self {
        Sleepers {
            list: Mutex::default(),
            summary: AtomicUsize::new(0),
            lanes: (0..=lanes).map(|_| Lane::default()).collect(),
        }
    }

    /// The lane that polls only while no other does, and is woken for an event only when it sleeps
    /// without end.
    pub(super) fn clerk_lane(&self) -> usize {
        self.lanes.len() - 1
    }

    /// Wakes a lane for an event that was pushed, if one sleeps. If none does, threads of the port
    /// will look when they are back; but where none runs either there is only the clerk, and operations
    /// that stand in line behind this one wait for it.
    pub(super) fn call(&self, notify: impl FnOnce()) {
        let summary = self.summary.fetch_add(0, Ordering::AcqRel);
        if summary >= ONE_SLEEPER {
            self.wake_newest(notify);
        } else if summary & CLERK_SLEEPS != 0 {
            self.wake(self.clerk_lane(), notify);
        }
    }

    /// Wakes a lane for what the clerk has pushed, which takes it itself where none sleeps.
    pub(super) fn call_for_clerk(&self, notify: impl FnOnce()) {
        if self.summary.fetch_add(0, Ordering::AcqRel) >= ONE_SLEEPER {
            self.wake_newest(notify);
        }
    }

    /// Lists the lane as a sleeper. It must then look for events once more, and `leave` after.
    pub(super) fn enter(&self, lane: usize, notify: impl FnOnce()) -> Place {
        let mut list = self.list();
        if list.has_poller {
            list.parked.push(lane);
            self.publish(&list);
            return Place::Parks;
        }
        list.polling = Some(lane);
        list.begin_turn();
        let displaces_clerk = std::mem::take(&mut list.clerk_polls);
        self.publish(&list);
        drop(list);
        if displaces_clerk {
            self.wake(self.clerk_lane(), notify);
        }
        Place::Polls
    }

    /// Takes the lane off the list, if whoever wakes it has not done so already.
    ///
    /// A clerk that sleeps without end is not told that nobody polls any more: whoever leaves goes on
    /// to a handler or out of `get`, and the layer above wakes the clerk for either.
    pub(super) fn leave(&self, lane: usize, place: Place) {
        let mut list = self.list();
        match place {
            Place::Polls => {
                list.polling = None;
                list.end_turn();
            }
            Place::Parks => list.parked.retain(|&parked| parked != lane),
        }
        self.publish(&list);
    }

    /// The clerk is about to sleep, without end or until it looks at the threads again. It must then
    /// look for events once more, and `leave_as_clerk` after.
    ///
    /// It polls where nobody does: without end, for then no thread of the port is at work, and else if
    /// no lane has polled for a while, as when all threads are stuck.
    pub(super) fn enter_as_clerk(&self, is_endless: bool, now: Instant) -> Place {
        let mut list = self.list();
        let seen = list.last_turn.filter(|&(turns, _)| turns == list.turns);
        let since = seen.map_or(now, |(_, since)| since);
        list.last_turn = Some((list.turns, since));
        let is_neglected = now.duration_since(since) >= NEGLECTED_AFTER;
        list.clerk_sleeps = is_endless;
        list.clerk_polls = !list.has_poller && (is_endless || is_neglected);
        self.publish(&list);
        if list.clerk_polls { Place::Polls } else { Place::Parks }
    }

    /// The clerk has slept.
    pub(super) fn leave_as_clerk(&self) {
        let mut list = self.list();
        list.clerk_sleeps = false;
        list.clerk_polls = false;
        self.publish(&list);
    }

    /// Takes the poller's part for a look without waiting; false when a lane has it, or the clerk,
    /// which will say what it finds.
    pub(super) fn begin_look(&self) -> bool {
        let mut list = self.list();
        if list.has_poller || list.clerk_polls {
            return false;
        }
        list.begin_turn();
        self.publish(&list);
        true
    }

    /// Gives the poller's part back. A lane that parked meanwhile is woken to take it: the caller
    /// goes on to run a handler, and nobody would poll. So is a clerk that sleeps without end.
    pub(super) fn end_look(&self, notify: impl Fn()) {
        let mut list = self.list();
        list.end_turn();
        let wakes_clerk = list.clerk_sleeps;
        self.publish(&list);
        drop(list);
        if wakes_clerk {
            self.wake(self.clerk_lane(), &notify);
        }
        if self.lacks_poller() {
            self.wake_newest(notify);
        }
    }

    /// True when lanes are parked and none polls.
    pub(super) fn lacks_poller(&self) -> bool {
        let summary = self.summary.load(Ordering::Acquire);
        summary & HAS_POLLER == 0 && summary >= ONE_SLEEPER
    }

    /// Ends the current or else the next sleep of the lane.
    pub(super) fn wake(&self, lane: usize, notify: impl FnOnce()) {
        let this = &self.lanes[lane];
        let mut state = this.state();
        if std::mem::replace(&mut state.is_woken, true) {
            return;
        }
        match state.sleep {
            Sleep::None => {}
            Sleep::Parked => this.unparked.notify_one(),
            Sleep::Polling => {
                drop(state);
                notify();
            }
        }
    }

    /// Parks until a wake-up or the end of the time.
    pub(super) fn park(&self, lane: usize, timeout: Option<Duration>) {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let this = &self.lanes[lane];
        let mut state = this.state();
        state.sleep = Sleep::Parked;
        while !state.is_woken {
            let Some(deadline) = deadline else {
                state = this.unparked.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = this.unparked.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.sleep = Sleep::None;
        state.is_woken = false;
    }

    /// From here on a wake-up of the lane notifies the poller; false when one was given before.
    pub(super) fn begin_poll(&self, lane: usize) -> bool {
        let mut state = self.lanes[lane].state();
        if std::mem::take(&mut state.is_woken) {
            return false;
        }
        state.sleep = Sleep::Polling;
        true
    }

    /// The lane has come back from the poller; a wake-up that it was given has done its work.
    pub(super) fn end_poll(&self, lane: usize) {
        let mut state = self.lanes[lane].state();
        state.sleep = Sleep::None;
        state.is_woken = false;
    }

    /// Wakes the lane that parked last, or else the one that polls.
    fn wake_newest(&self, notify: impl FnOnce()) {
        let mut list = self.list();
        let newest = list.parked.pop().or_else(|| list.polling.take());
        self.publish(&list);
        drop(list);
        if let Some(lane) = newest {
            self.wake(lane, notify);
        }
    }

    fn publish(&self, list: &List) {
        self.summary.swap(list.summary(), Ordering::AcqRel);
    }

    /// Its holder may have panicked: every critical section leaves the list whole at each step.
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bit of `Sleepers::summary`: a lane has the poller's part.
const HAS_POLLER: usize = 1;
/// Likewise: the clerk sleeps until it is woken.
const CLERK_SLEEPS: usize = 2;
/// The other bits of `Sleepers::summary` count the lanes that can be woken, without the clerk's.
const ONE_SLEEPER: usize = 4;

/// Lanes that sleep and that nobody has set out to wake yet.
#[derive(Default)]
struct List {
    /// The last one parked last.
    parked: Vec<usize>,
    polling: Option<usize>,
    /// A lane polls, or works off what the poll found.
    has_poller: bool,
    /// Not one of those above: it is the last to be woken.
    clerk_sleeps: bool,
    /// The clerk polls, or is about to: no lane has the poller's part.
    clerk_polls: bool,
    /// How often lanes took the poller's part and gave it back, wrapping.
    turns: usize,
    /// `turns` as the clerk last saw it, and since when it has been that.
    last_turn: Option<(usize, Instant)>,
}

impl List {
    fn begin_turn(&mut self) {
        self.has_poller = true;
        self.turns = self.turns.wrapping_add(1);
    }

    fn end_turn(&mut self) {
        self.has_poller = false;
        self.turns = self.turns.wrapping_add(1);
    }

    fn summary(&self) -> usize {
        let count = self.parked.len() + usize::from(self.polling.is_some());
        let bit = |is_set, bit| if is_set { bit } else { 0 };
        count * ONE_SLEEPER
            + bit(self.has_poller, HAS_POLLER)
            + bit(self.clerk_sleeps, CLERK_SLEEPS)
    }
}

/// Where one thread sleeps.
#[derive(Default)]
struct Lane {
    state: Mutex<LaneState>,
    unparked: Condvar,
}

impl Lane {
    /// As `Sleepers::list`.
    fn state(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct LaneState {
    is_woken: bool,
    sleep: Sleep,
}

#[derive(Default)]
enum Sleep {
    #[default]
    None,
    Parked,
    Polling,
}

#[cfg(all(test, loom))]
#[path = "sleepers_loom.rs"]
mod loom_models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn nobody_polls() {
        panic!("nobody is in the poller");
    }

    fn is_woken(sleepers: &Sleepers, lane: usize) -> bool {
        sleepers.lanes[lane].state().is_woken
    }

    #[test]
    fn a_wake_up_before_the_sleep_ends_the_sleep_and_is_used_up() {
        let sleepers = Sleepers::new(1);
        sleepers.wake(0, nobody_polls);
        sleepers.park(0, None);
        sleepers.wake(0, nobody_polls);
        assert!(!sleepers.begin_poll(0));
        assert!(sleepers.begin_poll(0));
    }

    #[test]
    fn a_wake_up_of_the_lane_that_polls_notifies_the_poller_once() {
        let sleepers = Sleepers::new(1);
        assert!(sleepers.begin_poll(0));
        let mut notified = 0;
        sleepers.wake(0, || notified += 1);
        sleepers.wake(0, || notified += 1);
        assert_eq!(notified, 1);
        sleepers.end_poll(0);
        assert!(sleepers.begin_poll(0), "what it was given has done its work");
    }

    #[test]
    fn one_lane_polls_and_the_others_park() {
        let sleepers = Sleepers::new(3);
        assert_eq!(sleepers.enter(0, nobody_polls), Place::Polls);
        assert_eq!(sleepers.enter(1, nobody_polls), Place::Parks);
        assert!(!sleepers.lacks_poller());
        sleepers.leave(0, Place::Polls);
        assert!(sleepers.lacks_poller());
        assert_eq!(sleepers.enter(2, nobody_polls), Place::Polls);
        assert!(!sleepers.lacks_poller());
        assert!(!sleepers.begin_look());
    }

    #[test]
    fn an_event_wakes_the_lane_that_parked_last_and_the_one_that_polls_last() {
        let sleepers = Sleepers::new(3);
        for lane in 0..3 {
            sleepers.enter(lane, nobody_polls);
        }
        for woken in [2, 1, 0] {
            sleepers.call(nobody_polls);
            assert!(is_woken(&sleepers, woken));
        }
        sleepers.call(nobody_polls);
        assert!(!is_woken(&sleepers, 3), "the clerk comes back by itself");
    }

    #[test]
    fn an_event_wakes_the_clerk_that_sleeps_without_end_only_when_nobody_else_does() {
        let (sleepers, now) = (Sleepers::new(1), Instant::now());
        sleepers.enter(0, nobody_polls);
        assert_eq!(sleepers.enter_as_clerk(true, now), Place::Parks);
        sleepers.call(nobody_polls);
        assert!(is_woken(&sleepers, 0) && !is_woken(&sleepers, 1));
        sleepers.call(nobody_polls);
        assert!(is_woken(&sleepers, 1));
        sleepers.park(1, None);
        sleepers.leave_as_clerk();
        sleepers.call(nobody_polls);
        assert!(!is_woken(&sleepers, 1));
    }

    #[test]
    fn what_the_clerk_has_found_wakes_a_lane_and_never_the_clerk() {
        let sleepers = Sleepers::new(1);
        sleepers.enter_as_clerk(true, Instant::now());
        sleepers.call_for_clerk(nobody_polls);
        assert!(!is_woken(&sleepers, 1));
        sleepers.enter(0, nobody_polls);
        sleepers.call_for_clerk(nobody_polls);
        assert!(is_woken(&sleepers, 0));
    }

    #[test]
    fn the_clerk_polls_while_no_lane_does_and_stops_for_the_first_that_would() {
        let (sleepers, now) = (Sleepers::new(1), Instant::now());
        let clerk = sleepers.clerk_lane();
        let is_told = || std::mem::take(&mut sleepers.lanes[clerk].state().is_woken);
        assert_eq!(sleepers.enter_as_clerk(true, now), Place::Polls);
        assert!(!is_told());
        assert_eq!(sleepers.enter(0, nobody_polls), Place::Polls);
        assert!(is_told());
        sleepers.leave_as_clerk();
        assert_eq!(sleepers.enter_as_clerk(true, now), Place::Parks, "a lane polls");
        sleepers.leave(0, Place::Polls);
        sleepers.leave_as_clerk();
        assert_eq!(sleepers.enter_as_clerk(true, now), Place::Polls);
        assert!(!sleepers.begin_look(), "it looks");
        sleepers.leave_as_clerk();
        assert!(sleepers.begin_look());
        assert_eq!(sleepers.enter_as_clerk(true, now), Place::Parks, "a lane looks");
        sleepers.end_look(nobody_polls);
        assert!(is_told(), "nobody polls any more");
    }

    #[test]
    fn between_looks_at_the_threads_the_clerk_polls_only_if_no_lane_has_for_a_while() {
        let (sleepers, start) = (Sleepers::new(1), Instant::now());
        let enter_and_leave = |is_endless, after| {
            let place = sleepers.enter_as_clerk(is_endless, start + after);
            sleepers.leave_as_clerk();
            place
        };
        assert_eq!(enter_and_leave(false, Duration::ZERO), Place::Parks);
        assert_eq!(enter_and_leave(false, NEGLECTED_AFTER / 2), Place::Parks);
        assert_eq!(enter_and_leave(false, NEGLECTED_AFTER), Place::Polls);
        assert!(sleepers.begin_look());
        sleepers.end_look(nobody_polls);
        assert_eq!(enter_and_leave(false, 2 * NEGLECTED_AFTER), Place::Parks);
        // A turn that began before the clerk slept and has ended since is news as well.
        sleepers.enter(0, nobody_polls);
        assert_eq!(enter_and_leave(true, 3 * NEGLECTED_AFTER), Place::Parks);
        sleepers.leave(0, Place::Polls);
        assert_eq!(enter_and_leave(false, 4 * NEGLECTED_AFTER), Place::Parks);
        assert_eq!(enter_and_leave(false, 5 * NEGLECTED_AFTER), Place::Polls);
    }

    #[test]
    fn a_lane_that_parked_during_a_look_is_woken_to_poll() {
        let sleepers = Sleepers::new(2);
        assert!(sleepers.begin_look());
        assert_eq!(sleepers.enter(1, nobody_polls), Place::Parks);
        sleepers.end_look(nobody_polls);
        assert!(is_woken(&sleepers, 1));
    }
}
