//! How much a task may do in one poll before others have their turn.
//!
//! A task whose operations are always ready would never return to its worker. So each operation
//! that completes at once costs a unit, and when the units of this poll are used up it says that it
//! is not ready and has the task polled again later. Outside of a runtime's tasks there is no limit.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Operations a poll. Tokio's number, by which its users have tuned their handlers.
const UNITS: u32 = 128;

/// Not in a task.
const UNLIMITED: u32 = u32::MAX;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(UNLIMITED) };
}

/// Runs one poll of a task with a fresh budget.
pub(super) fn with_fresh<R>(poll: impl FnOnce() -> R) -> R {
    let _restore = Restore(LEFT.replace(UNITS));
    poll()
}

/// Runs a poll that has no limit: of a future that a thread waits for by blocking.
pub(super) fn without_limit<R>(poll: impl FnOnce() -> R) -> R {
    let _restore = Restore(LEFT.replace(UNLIMITED));
    poll()
}

struct Restore(u32);

impl Drop for Restore {
    fn drop(&mut self) {
        LEFT.set(self.0);
    }
}

/// Asks for a unit. Pending: there is none left, and the task is polled again in its turn.
pub(crate) fn poll_proceed(cx: &mut Context<'_>) -> Poll<()> {
    match LEFT.get() {
        UNLIMITED => Poll::Ready(()),
        0 => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        left => {
            LEFT.set(left - 1);
            Poll::Ready(())
        }
    }
}

/// Gives the unit back: the operation was not ready after all.
pub(crate) fn refund() {
    let left = LEFT.get();
    if left < UNITS {
        LEFT.set(left + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn a_poll_has_its_units_and_the_next_one_has_them_again() {
        let cx = &mut Context::from_waker(Waker::noop());
        for _ in 0..2 {
            with_fresh(|| {
                for _ in 0..UNITS {
                    assert!(poll_proceed(cx).is_ready());
                }
                assert!(poll_proceed(cx).is_pending());
                refund();
                assert!(poll_proceed(cx).is_ready());
                assert!(poll_proceed(cx).is_pending());
            });
        }
        for _ in 0..2 * UNITS {
            assert!(poll_proceed(cx).is_ready());
        }
    }
}
