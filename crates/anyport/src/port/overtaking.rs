//! A forced take-over, for tests with fault points: what the lookout and the clerk do when a thread
//! does not come back, at a moment of the test's choice.

use super::crew::Crew;
use crate::fault::control;
use crate::op::Extent;
use std::sync::Arc;

/// The calling thread serves this lane: where it is held, another takes over from it.
pub(super) fn note_place(crew: &Arc<Crew>, lane: usize) {
    let weak = Arc::downgrade(crew);
    control::serves(Arc::as_ptr(crew) as usize, lane, move || {
        let Some(crew) = weak.upgrade() else { return false };
        let core = crew.core();
        let serving = crew.lane_in_use(lane);
        let is_done = core.rescue(lane, serving, Extent::All) || core.take_completed(lane, serving);
        core.backend().wake(serving);
        is_done
    });
}
