//! The future of a stream's side: it waits until a poll of that side is ready.

use std::pin::Pin;
use std::task::{Context, Poll};

/// Where somebody may wait.
pub(super) trait Side {
    /// Nobody waits here any more.
    fn forget_waiter(&self);
}

/// Ready when its poll is. Given up, its waker goes at once: it refers to a task, and to the runtime of
/// that task, either of which may end long before something arrives, or the peer reads.
///
/// It lies in each task that serves a connection, for most of its life: a future of its own is a third
/// of what the same in `async` would be.
pub(super) struct Wait<'a, S: Side, P> {
    side: &'a S,
    stage: Stage,
    poll: P,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// It was not polled yet.
    Before,
    Pending,
    Over,
}

impl<'a, S: Side, P> Wait<'a, S, P> {
    pub(super) fn new(side: &'a S, poll: P) -> Self {
        Wait { side, stage: Stage::Before, poll }
    }
}

impl<R, S, P> Future for Wait<'_, S, P>
where
    S: Side,
    P: FnMut(&mut Context<'_>) -> Poll<R> + Unpin,
{
    type Output = R;

    /// # Panics
    /// When it is over: a `send` would say that it has sent, and a `recv` take what is another's.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        assert!(self.stage != Stage::Over, "a future of a stream was polled after it was ready");
        let polled = (self.poll)(cx);
        self.stage = if polled.is_pending() { Stage::Pending } else { Stage::Over };
        polled
    }
}

impl<S: Side, P> Drop for Wait<'_, S, P> {
    fn drop(&mut self) {
        if self.stage == Stage::Pending {
            self.side.forget_waiter();
        }
    }
}
