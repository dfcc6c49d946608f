//! A thread of a port: what others may know of it, and how it is parked.
//!
//! A thread belongs to the port that it last waited on, until it ends.

use super::crew::Crew;
use super::idle::Since;
use super::lookout::Lookout;
use crate::op::{Core, QuietEnds};
use crate::sys::{Backend, Parker, ThreadClock, Token};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// No seat.
pub(super) const NO_SEAT: u32 = u32::MAX;

/// It has never had a seat, and so no lane.
pub(super) const NO_LANE: u32 = u32::MAX;

/// What a thread of the port does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Activity {
    /// It waits inside `get`, or is about to.
    Waiting = 0,
    /// It has taken a packet and is not back yet, or is looking for the next one.
    Running = 1,
    /// As `Running`, but known to be blocked: its place was given away.
    Blocked = 2,
}

/// A thread of a port.
pub(crate) struct Member {
    pub(super) id: u32,
    pub(super) clock: ThreadClock,
    /// The seat it acts in, or `NO_SEAT`. Written under the lock of the seats.
    pub(super) seat: AtomicU32,
    /// The lane that it serves there: its own, or, while there is none for it, the seat's. Written
    /// before the seat.
    pub(super) lane: AtomicU32,
    activity: AtomicU8,
    /// It stands in for an owner that has come back.
    pub(super) is_wanted_back: AtomicBool,
    /// Moves when the thread enters `get` and when it leaves it with a packet: odd inside a
    /// handler. A thread whose beat stands still there runs long or blocks.
    beat: AtomicU64,
    pub(super) packets: AtomicU64,
    pub(super) stolen: AtomicU64,
    parker: Parker,
}

impl Member {
    pub(super) fn new(id: u32) -> Self {
        Member {
            id,
            clock: ThreadClock::current(),
            seat: AtomicU32::new(NO_SEAT),
            lane: AtomicU32::new(NO_LANE),
            activity: AtomicU8::new(Activity::Waiting as u8),
            is_wanted_back: AtomicBool::new(false),
            beat: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            stolen: AtomicU64::new(0),
            parker: Parker::new(),
        }
    }

    pub(super) fn seat(&self) -> Option<usize> {
        match self.seat.load(Ordering::Acquire) {
            NO_SEAT => None,
            seat => Some(seat as usize),
        }
    }

    /// The lane where the thread waits, and where what it starts goes; `None` without a seat.
    pub(super) fn lane(&self) -> Option<usize> {
        self.seat().map(|_| self.lane.load(Ordering::Acquire) as usize)
    }

    /// Calls of `get`, twice: see the field.
    pub(super) fn beat(&self) -> u64 {
        self.beat.load(Ordering::SeqCst)
    }

    /// The thread enters `get`. Says what was known of it before.
    ///
    /// A read-modify-write, so that of this and `set_blocked` one sees the other.
    pub(super) fn enter(&self) -> Activity {
        let step = 1 + (self.beat.load(Ordering::Relaxed) & 1 ^ 1);
        self.beat.fetch_add(step, Ordering::SeqCst);
        self.activity()
    }

    /// The thread leaves `get` with a packet.
    pub(super) fn leave(&self) {
        self.beat.store(self.beat.load(Ordering::Relaxed) | 1, Ordering::Release);
    }

    pub(super) fn activity(&self) -> Activity {
        // Ordered against the clerk's own mark before it sleeps.
        match self.activity.load(Ordering::SeqCst) {
            0 => Activity::Waiting,
            1 => Activity::Running,
            _ => Activity::Blocked,
        }
    }

    /// Sets the activity and gives the one before. A read-modify-write: the clerk's decision to
    /// sleep is ordered against it.
    pub(super) fn set_activity(&self, activity: Activity) -> u8 {
        self.activity.swap(activity as u8, Ordering::SeqCst)
    }

    /// From running to blocked, unless the thread has come back meanwhile: it is at this beat no
    /// more. With the seats locked, which a thread that finds itself blocked waits for.
    pub(super) fn set_blocked(&self, beat: u64) -> bool {
        let (from, to) = (Activity::Running as u8, Activity::Blocked as u8);
        let change = |from, to| {
            self.activity.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        if !change(from, to) {
            return false;
        }
        if self.beat() != beat {
            change(to, from);
            return false;
        }
        true
    }

    /// One more; only the thread itself counts, so a plain load and store will do.
    pub(super) fn count(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Waits until `unpark` or the deadline; an `unpark` that came before counts.
    pub(super) fn park(&self, deadline: Option<Instant>) {
        self.parker.park(deadline);
    }

    pub(super) fn unpark(&self) {
        self.parker.unpark();
    }
}

/// What a beat tells of its thread: a thread that is in `get` may wait for a lock, and does not
/// block.
pub(super) fn is_in_handler(beat: u64) -> bool {
    beat & 1 == 1
}

/// The calling thread's place in a port's crew. When the thread ends its place is free.
pub(super) struct Membership {
    /// Weak: a thread that once waited on a port must not keep its rings alive.
    crew: Weak<Crew>,
    core: Weak<Core>,
    pub(super) member: Arc<Member>,
    /// Streams whose last packet this thread has taken.
    pub(super) held: Vec<Token>,
    /// Operations that have ended quietly, between two looks for packets.
    pub(super) quiet: QuietEnds,
    /// Packets taken since this thread last handed its requests to the kernel.
    pub(super) unflushed: u32,
    /// Whether posted packets or completions are looked at first; it alternates.
    pub(super) posted_first: bool,
    pub(super) lookout: Lookout,
    /// The lane that the thread serves since it has its seat.
    pub(super) serving: Option<usize>,
    /// The lane that it has adopted, and retires when it ends.
    pub(super) adopted: Option<usize>,
    /// It could not adopt one, and has said so.
    pub(super) is_without_lane: bool,
    /// When it went to sleep, if it has found nothing since.
    pub(super) asleep_since: Option<Since>,
    /// It was woken for some work, and has not looked for any since.
    pub(super) is_claimed: bool,
}

/// A stream that the calling thread has a packet of.
pub(super) struct Held {
    pub(super) token: Token,
    /// Where the thread serves, if it has a seat.
    pub(super) lane: Option<usize>,
    /// There are no more.
    pub(super) is_last: bool,
}

impl Membership {
    /// The calling thread's membership in this crew, taken out of the thread's keeping; `restore`
    /// brings it back. A membership in another crew ends.
    pub(super) fn take(crew: &Arc<Crew>, core: &Arc<Core>) -> Box<Membership> {
        let current = MEMBERSHIP.try_with(|m| m.borrow_mut().take()).unwrap_or_default();
        match current {
            Some(membership) if membership.is_of(crew) => membership,
            other => {
                drop(other);
                let member = crew.enlist();
                // One more that could take what others have left under way.
                crew.wake_clerk();
                Box::new(Membership {
                    member,
                    crew: Arc::downgrade(crew),
                    core: Arc::downgrade(core),
                    held: Vec::new(),
                    quiet: QuietEnds::default(),
                    unflushed: 0,
                    posted_first: false,
                    lookout: Lookout::default(),
                    serving: None,
                    adopted: None,
                    is_without_lane: false,
                    asleep_since: None,
                    is_claimed: false,
                })
            }
        }
    }

    fn is_of(&self, crew: &Arc<Crew>) -> bool {
        std::ptr::eq(self.crew.as_ptr(), Arc::as_ptr(crew))
    }

    /// Puts the membership into the thread's keeping.
    pub(super) fn restore(self: Box<Self>) {
        // While the thread ends there is no keeping any more: the membership ends here.
        let _ = MEMBERSHIP.try_with(|m| {
            let before = m.borrow_mut().replace(self);
            debug_assert!(before.is_none(), "one membership a thread");
        });
    }

    /// Ends the calling thread's membership in this crew, if it has one.
    pub(super) fn end_of_caller(crew: &Arc<Crew>) {
        let membership = MEMBERSHIP.try_with(|m| {
            let mut membership = m.try_borrow_mut().ok()?;
            membership.as_ref()?.is_of(crew).then(|| membership.take()).flatten()
        });
        drop(membership);
    }

    /// Ends the calling thread's membership, in whichever crew.
    #[cfg(feature = "sim")]
    pub(super) fn end_of_thread() {
        drop(MEMBERSHIP.try_with(|m| m.try_borrow_mut().ok().and_then(|mut m| m.take())));
    }

    /// The lane where requests of the calling thread go: that of its seat, else the clerk's.
    pub(super) fn lane_of_caller(crew: &Arc<Crew>, clerk_lane: usize) -> usize {
        MEMBERSHIP
            .try_with(|m| {
                let membership = m.try_borrow().ok()?;
                let membership = membership.as_ref()?;
                membership.is_of(crew).then(|| membership.member.lane())?
            })
            .ok()
            .flatten()
            .unwrap_or(clerk_lane)
    }

    /// One of the streams whose packets the calling thread has, if it is of this crew and has any: that
    /// one is its no more.
    pub(super) fn pop_held(crew: &Arc<Crew>) -> Option<Held> {
        MEMBERSHIP
            .try_with(|m| {
                let mut membership = m.try_borrow_mut().ok()?;
                let membership = membership.as_mut().filter(|membership| membership.is_of(crew))?;
                let token = membership.held.pop()?;
                let is_last = membership.held.is_empty();
                Some(Held { token, lane: membership.member.lane(), is_last })
            })
            .ok()
            .flatten()
    }

    /// The crew that the calling thread is of, and its member there.
    pub(super) fn of_any_crew() -> Option<(Arc<Crew>, Arc<Member>)> {
        MEMBERSHIP
            .try_with(|m| {
                let membership = m.try_borrow().ok()?;
                let membership = membership.as_ref()?;
                Some((membership.crew.upgrade()?, Arc::clone(&membership.member)))
            })
            .ok()
            .flatten()
    }

    /// The calling thread's member of this crew, if it is one.
    pub(super) fn of_caller(crew: &Arc<Crew>) -> Option<Arc<Member>> {
        MEMBERSHIP
            .try_with(|m| {
                let membership = m.try_borrow().ok()?;
                let membership = membership.as_ref()?;
                membership.is_of(crew).then(|| Arc::clone(&membership.member))
            })
            .ok()
            .flatten()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            let lane = core.backend().clerk_lane();
            for token in self.held.drain(..) {
                core.release_stream(lane, token);
            }
            if let Some(lane) = self.adopted {
                core.abandon(lane);
            }
        }
        if let Some(crew) = self.crew.upgrade() {
            fault_point!(Discharging);
            crew.discharge(&self.member);
        }
        Backend::settle_left();
    }
}

thread_local! {
    static MEMBERSHIP: RefCell<Option<Box<Membership>>> = const { RefCell::new(None) };
}
