//! How far a future of a stream has come.

use std::task::Poll;

/// Whether a future waits, so that one that is dropped meanwhile leaves nothing behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    /// It was not polled yet.
    Before,
    Pending,
    Over,
}

impl Wait {
    /// The future is polled.
    ///
    /// # Panics
    /// When it is over: a `send` would say that it has sent, and a `recv` take what is another's.
    #[inline]
    pub(super) fn begin(self) {
        assert!(self != Wait::Over, "a future of a stream was polled after it was ready");
    }

    /// What the poll came to.
    #[inline]
    pub(super) fn end<R>(&mut self, polled: &Poll<R>) {
        *self = if polled.is_pending() { Wait::Pending } else { Wait::Over };
    }
}
