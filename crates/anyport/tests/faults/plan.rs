//! Which points a backend has, and what it takes to come there.

use crate::traffic::{CROWD, GUESTS, LANED, Threads};
use anyport::BackendKind;
use anyport::fault_points::{Action, Fault, Point, When};
use std::time::Duration;

/// Far longer than a thread is given before others take over.
const STALL: Duration = Duration::from_millis(2);

/// Where it holds a lock that others wait for.
const STALL_LOCKED: Duration = Duration::from_micros(300);

/// How often at most in one run.
const TIMES_MAX: u64 = 60;

/// True for a point that this backend comes to.
pub(crate) fn has(kind: BackendKind, point: Point) -> bool {
    use Point::*;
    let are_shared = std::env::var("ANYPORT_RINGS").is_ok_and(|name| name == "shared");
    match point {
        BeforeLease | LeaseTaken | Filled | BackFromKernel | Cancelled | Staged | RingMade
        | TakingOver | CompletionsTurned | StagedTaken | Disowned | TakenOver | HandingOver => {
            kind == BackendKind::IoUring && !are_shared
        }
        // What every thread comes to that has adopted a lane.
        Settling | Abandoning | Abandoned | Retired => kind == BackendKind::IoUring && !are_shared,
        PlainFilled | PlainBack => kind == BackendKind::IoUring,
        Polled | SocketTaken | Claimed | Attempted | Tried => kind == BackendKind::Readiness,
        SendingAtOnce | SentAtOnce => kind == BackendKind::Readiness,
        // One queue of events for all lanes: nobody has another's.
        Stealing | Stolen => kind == BackendKind::IoUring,
        // Elsewhere a stream has nothing under way while its packet is in a handler.
        Pausing | WaitingDelivered => kind == BackendKind::IoUring,
        _ => true,
    }
}

/// Who passes there seldom is held every time.
fn is_rare(point: Point) -> bool {
    use Point::*;
    matches!(
        point,
        Cancelled
            | RingMade
            | HandingOver
            | Settling
            | Abandoning
            | Abandoned
            | Retired
            | Discharging
            | SeatLost
            | PlaceGivenAway
            | HandedBack
            | Pausing
            | PartlySent
            | Cancelling
            | Ending
            | Closing
            | TakingOver
            | CompletionsTurned
            | StagedTaken
            | Disowned
            | TakenOver
            | Stealing
            | Stolen
            | WaitingDelivered
    )
}

fn is_locked(point: Point) -> bool {
    use Point::*;
    matches!(
        point,
        Staged
            | Disowned
            | EventTaken
            | Completed
            | Released
            | Pausing
            | InLine
            | PartlySent
            | Ending
            | Claimed
            | Attempted
            | Tried
    )
}

/// The threads of a run that comes to this point; those that have a choice take turns by the seed.
pub(crate) fn threads(point: Point, seed: u64) -> Threads {
    use Point::*;
    match point {
        RingMade | Abandoning | Abandoned | Retired | Discharging | Closing => GUESTS,
        SeatLost | HandedBack | HandingOver | Settling => CROWD,
        _ if seed.is_multiple_of(2) => LANED,
        _ => CROWD,
    }
}

/// This point armed, and what brings threads there.
pub(crate) fn faults(point: Point, is_take_over: bool) -> Vec<Fault> {
    let action = match (is_take_over, is_locked(point)) {
        (true, _) => Action::TakeOver,
        (false, true) => Action::Stall(STALL_LOCKED),
        (false, false) => Action::Stall(STALL),
    };
    let when = When::Every(if is_rare(point) { 1 } else { 7 });
    let mut faults = vec![Fault { point, action, when, times_max: TIMES_MAX }];
    use Point::*;
    if matches!(
        point,
        TakingOver | CompletionsTurned | StagedTaken | Disowned | TakenOver | Cancelled
    ) {
        // Take-overs come from elsewhere, and there are many.
        let when = When::Every(11);
        faults.push(Fault { point: ContextTaken, action: Action::TakeOver, when, times_max: 100 });
    }
    faults
}

/// All points that the backend has, each seldom.
pub(crate) fn all_at_once(kind: BackendKind) -> Vec<Fault> {
    let points = Point::ALL.iter().copied().filter(|&point| has(kind, point));
    let fault = |(number, point): (usize, Point)| {
        let action = match number % 3 {
            0 if is_locked(point) => Action::Stall(STALL_LOCKED),
            0 => Action::Stall(STALL),
            1 => Action::TakeOver,
            _ => Action::Yield,
        };
        let when = When::OneIn(if is_rare(point) { 4 } else { 60 });
        Fault { point, action, when, times_max: TIMES_MAX }
    };
    points.enumerate().map(fault).collect()
}
