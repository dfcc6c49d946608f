//! What was said last. Whoever is told it comes for one line after the other; old lines are forgotten,
//! read by everybody or not, so memory has a bound and nobody holds up others.

use anyport::Error;
use anyport::rt::net::OwnedWriteHalf;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{future::poll_fn, mem, pin::pin};

/// Lines that a client may be behind, beside what waits to be sent to it (256 KiB).
const BEHIND_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Room {
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    lines: VecDeque<(SocketAddr, Bytes)>,
    /// The number of the first of `lines`.
    first: usize,
    /// Who waits for the next line.
    wakers: Vec<Waker>,
}

impl Room {
    pub(crate) fn say(&self, by: SocketAddr, line: String) {
        let mut said = self.lock();
        said.lines.push_back((by, line.into()));
        if said.lines.len() > BEHIND_MAX {
            said.lines.pop_front();
            said.first += 1;
        }
        let wakers = mem::take(&mut said.wakers);
        drop(said);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The number of the line that will be said next.
    pub(crate) fn next(&self) -> usize {
        let said = self.lock();
        said.first + said.lines.len()
    }

    /// Tells `peer` what the others say, from the line of this number on, until it is too far behind.
    pub(crate) async fn tell(
        &self,
        mut to: OwnedWriteHalf,
        peer: SocketAddr,
        next: usize,
    ) -> Result<&'static str, Error> {
        to.send("* what is your name?\n").await?;
        for number in next.. {
            let Some((by, line)) = poll_fn(|cx| self.poll_line(number, cx)).await else { break };
            if by == peer {
                continue;
            }
            let mut sending = pin!(to.send(line));
            // It is waited for no longer than the line is remembered.
            let sent = poll_fn(|cx| match sending.as_mut().poll(cx) {
                Poll::Pending => self.poll_forgotten(number, cx).map(|()| None),
                sent => sent.map(Some),
            });
            let Some(sent) = sent.await else { break };
            sent?;
        }
        Ok("it does not read")
    }

    /// The line of this number, when it was said, and by whom; `None`: it is forgotten.
    fn poll_line(&self, number: usize, cx: &Context<'_>) -> Poll<Option<(SocketAddr, Bytes)>> {
        let mut said = self.lock();
        let Some(index) = number.checked_sub(said.first) else { return Poll::Ready(None) };
        let line = said.lines.get(index).cloned();
        line.map_or_else(|| said.wait(cx), |line| Poll::Ready(Some(line)))
    }

    fn poll_forgotten(&self, number: usize, cx: &Context<'_>) -> Poll<()> {
        let mut said = self.lock();
        if number < said.first { Poll::Ready(()) } else { said.wait(cx) }
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
