//! How a test arms the fault points, and learns that they were reached.
//!
//! One plan at a time is armed: the points are the process's, so a second test waits for the first.

use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

macro_rules! points {
    ($($name:ident)+) => {
        /// A place in the engine; the module above says which.
        #[allow(missing_docs, reason = "the table of the module above has them")]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Point { $($name),+ }

        impl Point {
            /// Every point, by its number.
            pub const ALL: &[Point] = &[$(Point::$name),+];
        }
    };
}

points! {
    BeforeLease LeaseTaken Filled BackFromKernel Cancelled Staged RingMade
    TakingOver CompletionsTurned StagedTaken Disowned TakenOver
    HandingOver Settling Abandoning Abandoned Retired Discharging
    NoneReady EventTaken Completed Stealing Stolen CompletionTaken NextBegun ContextTaken
    PacketHandedOut Leaving CameBack SeatLost PlaceGivenAway HandedBack BeforeSleep Woken
    BeforeRelease Released WaitingDelivered Pausing
    BeforeLine InLine Started SendingAtOnce SentAtOnce PartlySent
    Cancelling Ending Closing
    Polled SocketTaken Claimed Attempted Tried
    PlainFilled PlainBack
}

/// What happens to a thread that comes to an armed point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It stays away for so long.
    Stall(Duration),
    /// It is held while another thread takes over its lane, until that is done or was refused. A
    /// thread that has none is held while any lane is taken over. Where no lane can be taken over,
    /// all that it has completed is taken.
    TakeOver,
    /// It lets others run.
    Yield,
}

/// Which of the threads that come to an armed point it happens to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Each so many-th.
    Every(u64),
    /// One in so many, as the seed has it.
    OneIn(u64),
}

/// An armed point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where.
    pub point: Point,
    /// What.
    pub action: Action,
    /// To whom.
    pub when: When,
    /// How often at most.
    pub times_max: u64,
}

/// What became of a point.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Threads that came there.
    pub hits: u64,
    /// Those to which something happened.
    pub acted: u64,
    /// Take-overs that were done meanwhile.
    pub taken_over: u64,
    /// Take-overs that found nothing they could take.
    pub refused: u64,
    /// Take-overs that met a lock of the thread that was held.
    pub unfinished: u64,
}

/// How long a thread is held for a take-over that waits for a lock that it holds itself.
const HELD_MAX: Duration = Duration::from_millis(4);

/// Take-overs of who is taking over are forced, further ones are not.
const DEPTH_MAX: u32 = 2;

/// A point, whether and how it is armed, and its counts.
struct State {
    fault: Mutex<Option<Fault>>,
    is_armed: AtomicBool,
    hits: AtomicU64,
    acted: AtomicU64,
    taken_over: AtomicU64,
    refused: AtomicU64,
    unfinished: AtomicU64,
}

/// Takes over one lane; false when it was refused.
type Overtake = Arc<dyn Fn() -> bool + Send + Sync>;

/// The lanes while a plan is armed, by their port and number.
type Lanes = Vec<((usize, usize), Overtake)>;

static STATES: [State; Point::ALL.len()] = [const {
    State {
        fault: Mutex::new(None),
        is_armed: AtomicBool::new(false),
        hits: AtomicU64::new(0),
        acted: AtomicU64::new(0),
        taken_over: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        unfinished: AtomicU64::new(0),
    }
}; Point::ALL.len()];
static IS_ON: AtomicBool = AtomicBool::new(false);
static SEED: AtomicU64 = AtomicU64::new(0);
static ARMED: AtomicU64 = AtomicU64::new(0);
static ONE_ARMED: Mutex<()> = Mutex::new(());
static LANES: Mutex<Lanes> = Mutex::new(Vec::new());
static OVERTAKERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The plan and the place in `LANES` of the lane that this thread serves. Without a
    /// destructor: points are reached while a thread ends.
    static LANE: Cell<Option<(u64, usize)>> = const { Cell::new(None) };
    /// How deep in take-overs that were forced this thread is.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The points are armed until this goes.
pub struct Armed {
    _only: MutexGuard<'static, ()>,
    faults: Vec<Fault>,
    seed: u64,
}

/// Arms these points, and no others, from now on.
#[must_use]
pub fn arm(faults: &[Fault], seed: u64) -> Armed {
    let only = locked(&ONE_ARMED);
    for state in &STATES {
        *locked(&state.fault) = None;
        state.is_armed.store(false, Ordering::SeqCst);
        let counts =
            [&state.hits, &state.acted, &state.taken_over, &state.refused, &state.unfinished];
        counts.into_iter().for_each(|count| count.store(0, Ordering::SeqCst));
    }
    SEED.store(seed, Ordering::SeqCst);
    ARMED.fetch_add(1, Ordering::SeqCst);
    for fault in faults {
        let state = &STATES[fault.point as usize];
        *locked(&state.fault) = Some(*fault);
        state.is_armed.store(true, Ordering::SeqCst);
    }
    IS_ON.store(true, Ordering::SeqCst);
    Armed { _only: only, faults: faults.to_vec(), seed }
}

impl Armed {
    /// What became of a point so far.
    #[must_use]
    pub fn tally(&self, point: Point) -> Tally {
        let state = &STATES[point as usize];
        let get = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Tally {
            hits: get(&state.hits),
            acted: get(&state.acted),
            taken_over: get(&state.taken_over),
            refused: get(&state.refused),
            unfinished: get(&state.unfinished),
        }
    }

    /// The seed, what was armed, and what became of it.
    #[must_use]
    pub fn report(&self) -> String {
        let mut report = format!("seed {}", self.seed);
        for fault in &self.faults {
            let tally = self.tally(fault.point);
            if tally.acted > 0 || self.faults.len() < 8 {
                let _ = write!(report, "\n  {fault:?}: {tally:?}");
            }
        }
        report
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        IS_ON.store(false, Ordering::SeqCst);
        for state in &STATES {
            state.is_armed.store(false, Ordering::SeqCst);
        }
        // Nobody is held any more, so each comes to its end.
        while OVERTAKERS.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        locked(&LANES).clear();
    }
}

/// The calling thread serves this lane of this port from now on, which `overtake` takes over.
pub(crate) fn serves(
    port: usize,
    lane: usize,
    overtake: impl Fn() -> bool + Send + Sync + 'static,
) {
    if !IS_ON.load(Ordering::SeqCst) {
        return;
    }
    let mut lanes = locked(&LANES);
    let place = lanes.iter().position(|(key, _)| *key == (port, lane)).unwrap_or_else(|| {
        lanes.push(((port, lane), Arc::new(overtake)));
        lanes.len() - 1
    });
    LANE.set(Some((ARMED.load(Ordering::SeqCst), place)));
}

/// The calling thread is at this point.
pub(crate) fn reach(point: Point) {
    if !IS_ON.load(Ordering::Acquire) {
        return;
    }
    let state = &STATES[point as usize];
    let hit = state.hits.fetch_add(1, Ordering::Relaxed);
    if !state.is_armed.load(Ordering::Acquire) {
        return;
    }
    let Some(fault) = *locked(&state.fault) else { return };
    let is_due = match fault.when {
        When::Every(count) => (hit + 1).is_multiple_of(count),
        When::OneIn(count) => {
            let seed = SEED.load(Ordering::Relaxed);
            mixed(seed ^ mixed(point as u64 + 1) ^ hit).is_multiple_of(count)
        }
    };
    if !is_due || state.acted.load(Ordering::Relaxed) >= fault.times_max {
        return;
    }
    match fault.action {
        Action::TakeOver if DEPTH.get() >= DEPTH_MAX => return,
        Action::TakeOver => take_over(state, hit),
        Action::Stall(time) => thread::sleep(time),
        Action::Yield => thread::yield_now(),
    }
    state.acted.fetch_add(1, Ordering::Relaxed);
}

/// Holds the calling thread while another takes over.
fn take_over(state: &State, hit: u64) {
    let armed = ARMED.load(Ordering::SeqCst);
    let (place, overtake) = {
        let lanes = locked(&LANES);
        if lanes.is_empty() {
            return;
        }
        let own = LANE.get().filter(|lane| lane.0 == armed && lane.1 < lanes.len());
        let place = own.map_or(hit as usize % lanes.len(), |lane| lane.1);
        (place, Arc::clone(&lanes[place].1))
    };
    let depth = DEPTH.get() + 1;
    let (tells, told) = mpsc::sync_channel(1);
    OVERTAKERS.fetch_add(1, Ordering::SeqCst);
    let spawned = thread::Builder::new().name("anyport-overtaker".to_owned()).spawn(move || {
        DEPTH.set(depth);
        LANE.set(Some((armed, place)));
        let is_done = overtake();
        drop(overtake);
        let _ = tells.send(is_done);
        OVERTAKERS.fetch_sub(1, Ordering::SeqCst);
    });
    if spawned.is_err() {
        OVERTAKERS.fetch_sub(1, Ordering::SeqCst);
        return;
    }
    let count = match told.recv_timeout(HELD_MAX) {
        Ok(true) => &state.taken_over,
        Ok(false) => &state.refused,
        Err(_) => &state.unfinished,
    };
    count.fetch_add(1, Ordering::Relaxed);
}

/// Spreads a number over all bits (splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
