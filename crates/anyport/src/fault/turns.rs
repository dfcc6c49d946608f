//! Where threads take turns: the turn is passed on in between, and where a latch is held.
//!
//! Who gives the turns is above this layer (`sys/sim`), and says so when it has threads for the
//! first time.

use std::sync::OnceLock;

/// What the giver of turns does for the calling thread.
pub(crate) struct Turns {
    /// Perhaps another thread goes first.
    pub(crate) reach: fn(),
    /// Another thread goes first; false when the calling one takes no turns.
    pub(crate) pass_on: fn() -> bool,
}

static TURNS: OnceLock<Turns> = OnceLock::new();

/// Sets who gives the turns; the first call counts.
pub(crate) fn set(turns: Turns) {
    let _ = TURNS.set(turns);
}

/// The thread is at a fault point.
#[inline]
pub(crate) fn reach() {
    if let Some(turns) = TURNS.get() {
        (turns.reach)();
    }
}

/// The thread waits for another. False where it may sleep instead.
pub(crate) fn pass_on() -> bool {
    TURNS.get().is_some_and(|turns| (turns.pass_on)())
}
