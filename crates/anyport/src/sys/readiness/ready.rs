//! The lanes that sleep while no event waits to be taken.
//!
//! Guarantees that an event pushed while a lane of the port sleeps wakes one, and else the clerk if that
//! sleeps without end; that a wake-up given before a sleep ends that sleep; that at most one lane
//! at a time polls; and that the clerk, where it has that part because no lane had, gives it up to the
//! first lane that wants it. Called by `Readiness` for the lanes and by the file threads for what they
//! finish.

use super::super::Event;
use super::queue::ReadyQueue;
use super::registration::Socket;
use super::selector::Selector;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The queue of events and ready sockets, and the sleepers' lists.
pub(super) struct Ready {
    pub(super) selector: Selector,
    pub(super) queue: ReadyQueue,
    sleepers: Mutex<Sleepers>,
    /// `Sleepers::summary`, changed under its lock and only by read-modify-write.
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

impl Ready {
    /// For `lanes` lanes of the port and, beside them, the clerk's.
    pub(super) fn new(selector: Selector, lanes: usize) -> Self {
        Ready {
            selector,
            queue: ReadyQueue::default(),
            sleepers: Mutex::default(),
            summary: AtomicUsize::new(0),
            lanes: (0..=lanes).map(|_| Lane::default()).collect(),
        }
    }

    /// The lane that polls only while no other does, and is woken for an event only when it sleeps
    /// without end.
    pub(super) fn clerk_lane(&self) -> usize {
        self.lanes.len() - 1
    }

    /// Adds an event and wakes a lane for it if one sleeps. If none does, threads of the port will look
    /// when they are back; but where none runs either there is only the clerk, and operations that
    /// stand in line behind this one wait for it.
    pub(super) fn push(&self, event: Event) {
        self.queue.push(event);
        let summary = self.summary.fetch_add(0, Ordering::AcqRel);
        if summary >= ONE_SLEEPER {
            self.wake_newest();
        } else if summary & CLERK_SLEEPS != 0 {
            self.wake(self.clerk_lane());
        }
    }

    /// Adds an event and wakes nobody.
    pub(super) fn push_quietly(&self, event: Event) {
        self.queue.push(event);
    }

    /// Adds sockets that the calling lane is about to take itself: nobody is woken.
    pub(super) fn push_own(&self, sockets: &mut Vec<Arc<Socket>>) {
        if !sockets.is_empty() {
            self.queue.push_sockets(sockets);
        }
    }

    /// Adds sockets that the clerk has found. A lane that went to sleep since the poll is woken for
    /// them; where none is there the clerk takes them at its next turn.
    pub(super) fn push_clerks(&self, sockets: &mut Vec<Arc<Socket>>) {
        if !sockets.is_empty() {
            self.queue.push_sockets(sockets);
            if self.summary.fetch_add(0, Ordering::AcqRel) >= ONE_SLEEPER {
                self.wake_newest();
            }
        }
    }

    pub(super) fn has_events(&self) -> bool {
        self.queue.len() != 0
    }

    /// Lists the lane as a sleeper. It must then look for events once more, and `leave` after.
    pub(super) fn enter(&self, lane: usize) -> Place {
        let mut sleepers = locked(&self.sleepers);
        if sleepers.has_poller {
            sleepers.parked.push(lane);
            self.publish(&sleepers);
            return Place::Parks;
        }
        sleepers.polling = Some(lane);
        sleepers.begin_turn();
        let displaces_clerk = std::mem::take(&mut sleepers.clerk_polls);
        self.publish(&sleepers);
        drop(sleepers);
        if displaces_clerk {
            self.wake(self.clerk_lane());
        }
        Place::Polls
    }

    /// Takes the lane off the list, if whoever wakes it has not done so already.
    ///
    /// A clerk that sleeps without end is not told that nobody polls any more: whoever leaves goes on
    /// to a handler or out of `get`, and the layer above wakes the clerk for either.
    pub(super) fn leave(&self, lane: usize, place: Place) {
        let mut sleepers = locked(&self.sleepers);
        match place {
            Place::Polls => {
                sleepers.polling = None;
                sleepers.end_turn();
            }
            Place::Parks => sleepers.parked.retain(|&parked| parked != lane),
        }
        self.publish(&sleepers);
    }

    /// The clerk is about to sleep, without end or until it looks at the threads again. It must then
    /// look for events once more, and `leave_as_clerk` after.
    ///
    /// It polls where nobody does: without end, for then no thread of the port is at work, and else if
    /// no lane has polled for a while, as when all threads are stuck.
    pub(super) fn enter_as_clerk(&self, is_endless: bool, now: Instant) -> Place {
        let mut sleepers = locked(&self.sleepers);
        let seen = sleepers.last_turn.filter(|&(turns, _)| turns == sleepers.turns);
        let since = seen.map_or(now, |(_, since)| since);
        sleepers.last_turn = Some((sleepers.turns, since));
        let is_neglected = now.duration_since(since) >= NEGLECTED_AFTER;
        sleepers.clerk_sleeps = is_endless;
        sleepers.clerk_polls = !sleepers.has_poller && (is_endless || is_neglected);
        self.publish(&sleepers);
        if sleepers.clerk_polls { Place::Polls } else { Place::Parks }
    }

    /// The clerk has slept.
    pub(super) fn leave_as_clerk(&self) {
        let mut sleepers = locked(&self.sleepers);
        sleepers.clerk_sleeps = false;
        sleepers.clerk_polls = false;
        self.publish(&sleepers);
    }

    /// Takes the poller's part for a look without waiting; false when a lane has it, or the clerk,
    /// which will say what it finds.
    pub(super) fn begin_look(&self) -> bool {
        let mut sleepers = locked(&self.sleepers);
        if sleepers.has_poller || sleepers.clerk_polls {
            return false;
        }
        sleepers.begin_turn();
        self.publish(&sleepers);
        true
    }

    /// Gives the poller's part back. A lane that parked meanwhile is woken to take it: the caller
    /// goes on to run a handler, and nobody would poll. So is a clerk that sleeps without end.
    pub(super) fn end_look(&self) {
        let mut sleepers = locked(&self.sleepers);
        sleepers.end_turn();
        let wakes_clerk = sleepers.clerk_sleeps;
        self.publish(&sleepers);
        drop(sleepers);
        if wakes_clerk {
            self.wake(self.clerk_lane());
        }
        if self.lacks_poller() {
            self.wake_newest();
        }
    }

    /// True when lanes are parked and none polls.
    pub(super) fn lacks_poller(&self) -> bool {
        let summary = self.summary.load(Ordering::Acquire);
        summary & HAS_POLLER == 0 && summary >= ONE_SLEEPER
    }

    /// Ends the current or else the next sleep of the lane.
    pub(super) fn wake(&self, lane: usize) {
        let this = &self.lanes[lane];
        let mut state = locked(&this.state);
        if std::mem::replace(&mut state.is_woken, true) {
            return;
        }
        match state.sleep {
            Sleep::None => {}
            Sleep::Parked => this.unparked.notify_one(),
            Sleep::Polling => {
                drop(state);
                if let Err(e) = self.selector.notify() {
                    log::error!("cannot wake the thread that polls: {e}");
                }
            }
        }
    }

    /// Parks until a wake-up or the end of the time.
    pub(super) fn park(&self, lane: usize, timeout: Option<Duration>) {
        let this = &self.lanes[lane];
        let mut state = locked(&this.state);
        state.sleep = Sleep::Parked;
        let must_wait = |state: &mut LaneState| !state.is_woken;
        let mut state = match timeout {
            None => {
                this.unparked.wait_while(state, must_wait).unwrap_or_else(PoisonError::into_inner)
            }
            Some(timeout) => {
                this.unparked
                    .wait_timeout_while(state, timeout, must_wait)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        state.sleep = Sleep::None;
        state.is_woken = false;
    }

    /// From here on a wake-up of the lane notifies the poller; false when one was given before.
    pub(super) fn begin_poll(&self, lane: usize) -> bool {
        let mut state = locked(&self.lanes[lane].state);
        if std::mem::take(&mut state.is_woken) {
            return false;
        }
        state.sleep = Sleep::Polling;
        true
    }

    /// The lane has come back from the poller; a wake-up that it was given has done its work.
    pub(super) fn end_poll(&self, lane: usize) {
        let mut state = locked(&self.lanes[lane].state);
        state.sleep = Sleep::None;
        state.is_woken = false;
    }

    /// Wakes the lane that parked last, or else the one that polls.
    fn wake_newest(&self) {
        let mut sleepers = locked(&self.sleepers);
        let newest = sleepers.parked.pop().or_else(|| sleepers.polling.take());
        self.publish(&sleepers);
        drop(sleepers);
        if let Some(lane) = newest {
            self.wake(lane);
        }
    }

    fn publish(&self, sleepers: &Sleepers) {
        self.summary.swap(sleepers.summary(), Ordering::AcqRel);
    }
}

/// Takes a lock whose holder may have panicked: every critical section here leaves the data whole
/// at each step.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bit of `Ready::summary`: a lane has the poller's part.
const HAS_POLLER: usize = 1;
/// Likewise: the clerk sleeps until it is woken.
const CLERK_SLEEPS: usize = 2;
/// The other bits of `Ready::summary` count the lanes that can be woken, without the clerk's.
const ONE_SLEEPER: usize = 4;

/// Lanes that sleep and that nobody has set out to wake yet.
#[derive(Default)]
struct Sleepers {
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

impl Sleepers {
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

#[cfg(test)]
mod tests {
    use super::super::super::{Event, Outcome, Token};
    use super::*;
    use std::sync::Arc;

    fn ready(lanes: usize) -> Ready {
        Ready::new(Selector::new().expect("a selector"), lanes)
    }

    fn event(index: u32) -> Event {
        Event::last(Token::new(index, 1), Outcome::Interrupted)
    }

    #[test]
    fn a_wake_up_before_the_sleep_ends_the_sleep_and_is_used_up() {
        let ready = ready(1);
        ready.wake(0);
        ready.park(0, None);
        ready.wake(0);
        assert!(!ready.begin_poll(0));
        assert!(ready.begin_poll(0));
    }

    #[test]
    fn one_lane_polls_and_the_others_park() {
        let ready = ready(3);
        assert_eq!(ready.enter(0), Place::Polls);
        assert_eq!(ready.enter(1), Place::Parks);
        assert!(!ready.lacks_poller());
        ready.leave(0, Place::Polls);
        assert!(ready.lacks_poller());
        assert_eq!(ready.enter(2), Place::Polls);
        assert!(!ready.lacks_poller());
        assert!(!ready.begin_look());
    }

    #[test]
    fn an_event_wakes_the_lane_that_parked_last_and_the_one_that_polls_last() {
        let ready = ready(3);
        ready.enter(0);
        ready.enter(1);
        ready.enter(2);
        for woken in [2, 1, 0] {
            ready.push(event(9));
            assert!(locked(&ready.lanes[woken].state).is_woken);
        }
        ready.push(event(9));
        assert!(!locked(&ready.lanes[3].state).is_woken, "the clerk comes back by itself");
    }

    #[test]
    fn an_event_wakes_the_clerk_that_sleeps_without_end_only_when_nobody_else_does() {
        let (ready, now) = (ready(1), Instant::now());
        ready.enter(0);
        assert_eq!(ready.enter_as_clerk(true, now), Place::Parks);
        ready.push(event(9));
        let is_woken = |lane: usize| locked(&ready.lanes[lane].state).is_woken;
        assert_eq!((is_woken(0), is_woken(1)), (true, false));
        ready.push(event(9));
        assert!(is_woken(1));
        ready.park(1, None);
        ready.leave_as_clerk();
        ready.push(event(9));
        assert!(!is_woken(1));
    }

    #[test]
    fn the_clerk_polls_while_no_lane_does_and_stops_for_the_first_that_would() {
        let (ready, now) = (ready(1), Instant::now());
        let clerk = ready.clerk_lane();
        let is_told = || std::mem::take(&mut locked(&ready.lanes[clerk].state).is_woken);
        assert_eq!(ready.enter_as_clerk(true, now), Place::Polls);
        assert!(!is_told());
        assert_eq!(ready.enter(0), Place::Polls);
        assert!(is_told());
        ready.leave_as_clerk();
        assert_eq!(ready.enter_as_clerk(true, now), Place::Parks, "a lane polls");
        ready.leave(0, Place::Polls);
        ready.leave_as_clerk();
        assert_eq!(ready.enter_as_clerk(true, now), Place::Polls);
        assert!(!ready.begin_look(), "it looks");
        ready.leave_as_clerk();
        assert!(ready.begin_look());
        assert_eq!(ready.enter_as_clerk(true, now), Place::Parks, "a lane looks");
        ready.end_look();
        assert!(is_told(), "nobody polls any more");
    }

    #[test]
    fn between_looks_at_the_threads_the_clerk_polls_only_if_no_lane_has_for_a_while() {
        let (ready, start) = (ready(1), Instant::now());
        let enter_and_leave = |is_endless, after| {
            let place = ready.enter_as_clerk(is_endless, start + after);
            ready.leave_as_clerk();
            place
        };
        assert_eq!(enter_and_leave(false, Duration::ZERO), Place::Parks);
        assert_eq!(enter_and_leave(false, NEGLECTED_AFTER / 2), Place::Parks);
        assert_eq!(enter_and_leave(false, NEGLECTED_AFTER), Place::Polls);
        assert!(ready.begin_look());
        ready.end_look();
        assert_eq!(enter_and_leave(false, 2 * NEGLECTED_AFTER), Place::Parks);
        // A turn that began before the clerk slept and has ended since is news as well.
        ready.enter(0);
        assert_eq!(enter_and_leave(true, 3 * NEGLECTED_AFTER), Place::Parks);
        ready.leave(0, Place::Polls);
        assert_eq!(enter_and_leave(false, 4 * NEGLECTED_AFTER), Place::Parks);
        assert_eq!(enter_and_leave(false, 5 * NEGLECTED_AFTER), Place::Polls);
    }

    #[test]
    fn a_lane_that_parked_during_a_look_is_woken_to_poll() {
        let ready = ready(2);
        assert!(ready.begin_look());
        assert_eq!(ready.enter(1), Place::Parks);
        ready.end_look();
        assert!(locked(&ready.lanes[1].state).is_woken);
    }

    #[test]
    fn no_wake_up_is_lost_between_looking_and_sleeping() {
        const EVENTS: u32 = 20_000;
        let ready = Arc::new(ready(2));
        // Holds the poller's part, so that the lane under test parks.
        assert!(ready.begin_look());
        let taker = std::thread::spawn({
            let ready = Arc::clone(&ready);
            move || {
                let mut taken = 0;
                while taken < EVENTS {
                    while ready.queue.pop_event().is_some() {
                        taken += 1;
                    }
                    if taken == EVENTS {
                        break;
                    }
                    let place = ready.enter(0);
                    if !ready.has_events() {
                        ready.park(0, None);
                    }
                    ready.leave(0, place);
                }
            }
        });
        for index in 0..EVENTS {
            ready.push(event(index));
        }
        taker.join().expect("takes every event");
    }
}
