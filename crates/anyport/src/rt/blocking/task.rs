//! One job of the pool and the future of its result: two ends of one allocation.
//!
//! A job is queued, running, or over, and every step from one to the next is made once, under a
//! lock that no foreign code runs under but for the cloning of a waker.

use crate::rt::JoinError;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The result of a job that [`BlockingPool::spawn`](super::BlockingPool::spawn) has queued: a future
/// of what the job returned.
///
/// Dropping it leaves the job alone: it runs, or begins to when its turn comes, and its result is
/// dropped on its thread. A result that is there already is dropped with the task.
///
/// # Errors
/// A [`JoinError`]: the job panicked; or it was cancelled, which happens only before it begins.
///
/// # Panics
/// When it is polled after it gave its result.
///
/// # Cancel safety
/// A reference to it may be awaited, given up and awaited again; nothing is lost.
pub struct BlockingTask<R> {
    end: Arc<dyn ResultEnd<R>>,
}

impl<R> BlockingTask<R> {
    /// A job that has not begun never begins: what it holds is dropped, here and now, and the task
    /// resolves as cancelled. One that runs is not stopped, and its result comes all the same.
    pub fn abort(&self) {
        self.end.abort();
    }

    /// Whether there is a result to take, or it was taken.
    pub fn is_finished(&self) -> bool {
        self.end.is_finished()
    }
}

impl<R> Future for BlockingTask<R> {
    type Output = Result<R, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.end.poll(cx)
    }
}

impl<R> fmt::Debug for BlockingTask<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingTask")
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// The end of a job that the pool has.
pub(super) trait Job: Send + Sync {
    /// Runs it, unless it was cancelled; says whether it has run. Panics of the job are its result.
    fn run(&self) -> bool;

    /// A job that has not begun never begins, because of `detail`.
    fn cancel(&self, detail: &'static str);
}

/// The end of a job that the one who waits has.
trait ResultEnd<R>: Send + Sync {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<R, JoinError>>;
    fn abort(&self);
    fn is_finished(&self) -> bool;
}

/// The two ends of a job that calls `f`.
pub(super) fn job<F, R>(f: F) -> (Arc<dyn Job>, BlockingTask<R>)
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let both = Arc::new(Both { state: Mutex::new(State { stage: Stage::Queued(f), waker: None }) });
    (both.clone(), BlockingTask { end: both })
}

struct Both<F, R> {
    state: Mutex<State<F, R>>,
}

struct State<F, R> {
    stage: Stage<F, R>,
    /// Of who waits for the result.
    waker: Option<Waker>,
}

enum Stage<F, R> {
    Queued(F),
    Running,
    Over(Result<R, JoinError>),
    Taken,
}

impl<F, R> Both<F, R> {
    fn lock(&self) -> MutexGuard<'_, State<F, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the job with this result and wakes who waits for it.
    fn end(&self, mut state: MutexGuard<'_, State<F, R>>, result: Result<R, JoinError>) {
        state.stage = Stage::Over(result);
        let waker = state.waker.take();
        drop(state);
        turn_point!();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the job if it has not begun.
    fn take(state: &mut State<F, R>) -> Option<F> {
        match mem::replace(&mut state.stage, Stage::Running) {
            Stage::Queued(f) => Some(f),
            other => {
                state.stage = other;
                None
            }
        }
    }
}

impl<F, R> Job for Both<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    fn run(&self) -> bool {
        let Some(f) = Self::take(&mut self.lock()) else {
            return false;
        };
        let result = catch_unwind(AssertUnwindSafe(f)).map_err(JoinError::panicked);
        turn_point!();
        self.end(self.lock(), result);
        true
    }

    fn cancel(&self, detail: &'static str) {
        let mut state = self.lock();
        if let Some(f) = Self::take(&mut state) {
            self.end(state, Err(JoinError::cancelled(detail)));
            // Last and without the lock: what a job holds may do anything when it is dropped.
            drop(f);
        }
    }
}

impl<F, R> ResultEnd<R> for Both<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<R, JoinError>> {
        let mut state = self.lock();
        match mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Over(result) => Poll::Ready(result),
            Stage::Taken => {
                drop(state);
                panic!("a blocking task was polled after it gave its result");
            }
            waits => {
                state.stage = waits;
                let is_known =
                    state.waker.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
                let former = if is_known { None } else { state.waker.replace(cx.waker().clone()) };
                drop(state);
                drop(former);
                Poll::Pending
            }
        }
    }

    fn abort(&self) {
        self.cancel("it was aborted before it began");
    }

    fn is_finished(&self) -> bool {
        matches!(self.lock().stage, Stage::Over(_) | Stage::Taken)
    }
}
