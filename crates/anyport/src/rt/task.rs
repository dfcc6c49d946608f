//! Tasks: futures that the workers poll, and the handles by which others wait for them.

use super::budget;
use super::join_error::JoinError;
use super::registry::{Entry, TaskState};
use async_task::{FallibleTask, Runnable};
use pin_project_lite::pin_project;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

const ABORTED: &str = "it was aborted, or its runtime was shut down";
const SHUT_DOWN: &str = "its runtime was shut down";

pin_project! {
    /// A spawned future: it ends when it is aborted, and a panic in it is a result.
    #[repr(C)]
    struct Spawned<F> {
        // First, beside what the executor keeps of the task: every poll asks it.
        entry: Entry,
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Spawned<F> {
        fn drop(this: Pin<&mut Self>) {
            // Of a task that is dropped in a queue: nobody is left to be told of the panic, and the
            // executor would end the process.
            let mut this = this.project();
            let dropped = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
            if dropped.is_err() {
                log::error!("a destructor of a task panicked as its runtime ended");
            }
        }
    }
}

/// What a task came to. Nobody may want it: then it is dropped where the executor would end the
/// process if that panicked.
struct Ended<T>(Option<Result<T, JoinError>>);

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        let Some(result) = self.0.take() else { return };
        if catch_unwind(AssertUnwindSafe(|| drop(result))).is_err() {
            log::error!("the result of a task that nobody waited for panicked as it was dropped");
        }
    }
}

impl<F: Future> Future for Spawned<F> {
    type Output = Ended<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        turn_point!();
        let poll = match this.future.as_mut().as_pin_mut() {
            Some(future) if !this.entry.is_aborted() => {
                catch_unwind(AssertUnwindSafe(|| future.poll(cx)))
            }
            _ => Ok(Poll::Pending),
        };
        turn_point!();
        let result = match poll {
            Ok(Poll::Ready(output)) => Ok(output),
            Ok(Poll::Pending) if !this.entry.is_aborted() => return Poll::Pending,
            Ok(Poll::Pending) => Err(JoinError::cancelled(ABORTED)),
            Err(payload) => Err(JoinError::panicked(payload)),
        };
        // Its destructors are the task's code as well: the executor would end the process.
        let dropped = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
        Poll::Ready(Ended(Some(match dropped {
            Ok(()) => result,
            Err(payload) => {
                // Dropped with care as well.
                drop(Ended(Some(result)));
                Err(JoinError::panicked(payload))
            }
        })))
    }
}

/// Makes a task of `future`, which `schedule` puts into a queue whenever it is to be polled; it is
/// not in one yet.
pub(super) fn make<F>(
    future: F,
    entry: Entry,
    schedule: impl Fn(Runnable) + Send + Sync + 'static,
) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let state = Arc::clone(entry.state());
    let (runnable, task) = async_task::spawn(Spawned { future: Some(future), entry }, schedule);
    turn_point!();
    state.set_waker(runnable.waker());
    (runnable, JoinHandle { task: Some(task.fallible()), state: Some(state) })
}

/// Waits for a task that was spawned. Dropping it lets the task go on by itself.
///
/// ```
/// use anyport::rt::Runtime;
///
/// let runtime = Runtime::new()?;
/// let sum = runtime.block_on(async {
///     let task = anyport::rt::spawn(async { 1 + 2 });
///     task.await
/// });
/// assert_eq!(sum?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Cancel safety
/// Waiting can be given up and taken up again.
#[must_use = "the task goes on by itself; `detach` says so"]
pub struct JoinHandle<T> {
    /// `None` after it has ended, and of one that was never started.
    task: Option<FallibleTask<Ended<T>>>,
    state: Option<Arc<TaskState>>,
}

impl<T> JoinHandle<T> {
    /// Of a task that was refused: the runtime is shut down.
    pub(super) fn refused() -> Self {
        JoinHandle { task: None, state: None }
    }

    /// Asks the task to end: its future is dropped by a worker, unless it is over before. What it has
    /// given to the kernel is dropped when the kernel is done with it.
    pub fn abort(&self) {
        if let Some(state) = &self.state {
            state.abort();
        }
    }

    /// True when the task is over, so that waiting for it would not wait.
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(|task| task.is_finished())
    }

    /// Lets the task go on by itself.
    pub fn detach(self) {}

    /// Aborts the task whenever wanted, while something else holds the handle.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { state: self.state.clone() }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = &mut self.task else {
            return Poll::Ready(Err(JoinError::cancelled(SHUT_DOWN)));
        };
        ready!(budget::poll_proceed(cx));
        let poll = Pin::new(task).poll(cx);
        if poll.is_pending() {
            budget::refund();
        }
        let ended = ready!(poll);
        self.task = None;
        // Without a result its runtime was dropped with the task in a queue.
        let result = ended.and_then(|mut ended| ended.0.take());
        Poll::Ready(result.unwrap_or_else(|| Err(JoinError::cancelled(SHUT_DOWN))))
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("is_finished", &self.is_finished()).finish()
    }
}

/// See [`JoinHandle::abort_handle`].
#[derive(Clone)]
pub struct AbortHandle {
    state: Option<Arc<TaskState>>,
}

impl AbortHandle {
    /// As [`JoinHandle::abort`].
    pub fn abort(&self) {
        if let Some(state) = &self.state {
            state.abort();
        }
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").finish_non_exhaustive()
    }
}
