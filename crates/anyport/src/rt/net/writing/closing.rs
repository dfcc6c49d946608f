//! The end of the sending side, asked for by polls: it is begun once, and whoever asks again waits for
//! the same end.

use crate::error::{Error, ErrorKind};
use crate::rt::context::{Context, Ended};
use crate::rt::net::connection::Connection;
use std::mem;
use std::sync::Arc;
use std::task::{self, Poll, Waker, ready};

/// How far it is.
#[derive(Default)]
pub(super) enum Closing {
    #[default]
    NotAsked,
    /// The operation stands in line behind the sends, or runs.
    UnderWay(Waker),
    Over(Result<(), Error>),
}

impl Closing {
    /// Gives the waker of who waits for the end, who waits no more.
    pub(super) fn forget_waiter(&mut self) -> Option<Waker> {
        match self {
            Closing::UnderWay(waker) => Some(mem::replace(waker, Waker::noop().clone())),
            _ => None,
        }
    }
}

impl Connection {
    /// Ends the sending side after what was handed over; ready when all of that has gone, and the end
    /// with it. Over also when the side was ended in another way, or the peer has ended all.
    pub(in crate::rt) fn poll_close(
        self: &Arc<Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.writing.backlog.check()?;
        ready!(self.poll_disconnect(cx))?;
        // The last sends may not have been counted yet. And of an end that was asked for in another
        // way nothing is heard here: what was handed over goes before it.
        self.poll_flush(cx)
    }

    fn poll_disconnect(self: &Arc<Self>, cx: &mut task::Context<'_>) -> Poll<Result<(), Error>> {
        let mut closing = self.writing.closing.lock();
        let before = match &mut *closing {
            Closing::Over(result) => return Poll::Ready(*result),
            Closing::UnderWay(waker) if waker.will_wake(cx.waker()) => return Poll::Pending,
            Closing::UnderWay(waker) => mem::replace(waker, cx.waker().clone()),
            // Under the lock, so that its packet finds this up to date.
            Closing::NotAsked => {
                match self.socket.disconnect(Context::Source(Arc::clone(self) as _)) {
                    Ok(_) => *closing = Closing::UnderWay(cx.waker().clone()),
                    // There may be a place for it later.
                    Err(rejected) if rejected.error.kind() == ErrorKind::Limit => {
                        return Poll::Ready(Err(rejected.error));
                    }
                    Err(rejected) => {
                        let result = unless_ended_before(rejected.error);
                        *closing = Closing::Over(result);
                        return Poll::Ready(result);
                    }
                }
                return Poll::Pending;
            }
        };
        // A waker may do anything when it is dropped.
        drop(closing);
        drop(before);
        Poll::Pending
    }

    /// The end that `poll_close` has asked for.
    pub(in crate::rt::net) fn on_closed(&self, packet: Ended) {
        let result = packet.result.map(drop).or_else(unless_ended_before);
        let before = mem::replace(&mut *self.writing.closing.lock(), Closing::Over(result));
        if let Closing::UnderWay(waker) = before {
            waker.wake();
        }
    }
}

/// There is nothing to end any more: that is no failure of an end.
fn unless_ended_before(error: Error) -> Result<(), Error> {
    match error.kind() {
        ErrorKind::ShutDown | ErrorKind::NotConnected => Ok(()),
        _ => Err(error),
    }
}
