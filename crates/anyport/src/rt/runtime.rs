//! The runtime: workers on a completion port, and the handle by which others reach it.

use super::blocking::BlockingTask;
use super::budget;
use super::builder::Builder;
use super::metrics::Metrics;
use super::shared::{self, Entered, Shared};
use super::task::JoinHandle;
use crate::error::Error;
use crate::port::{self, WorkerPool};
use crate::sys::{BackendChoice, Parker as ThreadParker, now};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// How long dropping a runtime waits for its tasks to end.
const DROP_WAITS: Duration = Duration::from_secs(5);

/// How long an end waits for the packets of what it has aborted: only what no cancel reaches, such as
/// a read of a file, takes longer.
const ABORT_WAITS: Duration = Duration::from_secs(1);

/// Longer than a process lives, and no more than a clock can be ahead.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Workers that poll tasks and do their I/O, on one completion port.
///
/// ```
/// use anyport::rt::Runtime;
/// use anyport::rt::net::{TcpListener, TcpStream};
///
/// let runtime = Runtime::new()?;
/// runtime.block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let server = anyport::rt::spawn(async move {
///         let (mut stream, _) = listener.accept().await?;
///         let received = stream.recv().await?;
///         stream.send(received).await
///     });
///     let mut client = TcpStream::connect(address).await?;
///     client.send(b"hello").await?;
///     assert_eq!(client.recv().await?.as_slice(), b"hello");
///     server.await.expect("it does not panic")
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it ends it as [`shut_down`](Self::shut_down) with five seconds does.
///
/// Built by a thread of a simulated world (feature `sim`) it is in that world: see `anyport::sim`.
pub struct Runtime {
    handle: Handle,
    /// `None` after a shutdown.
    pool: Option<WorkerPool>,
}

impl Runtime {
    /// A runtime as a server wants it: two workers a core, of which as many run as there are cores.
    ///
    /// # Errors
    /// See [`Builder::build`].
    pub fn new() -> Result<Self, Error> {
        Builder::new().build()
    }

    /// Sets a runtime up.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn start(shared: Arc<Shared>, pool: WorkerPool) -> Self {
        Runtime { handle: Handle { shared }, pool: Some(pool) }
    }

    /// What can be kept and cloned to spawn tasks from anywhere.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// See [`Handle::block_on`].
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// See [`Handle::spawn`].
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Ends the runtime: no task can be spawned any more, and every task that lives is dropped by a
    /// worker, at its next await; what they had handed over is sent; then the workers end. Waits for all
    /// that until `timeout` has passed, and aborts what is under way then, which takes another second at
    /// most. A poll or a blocking call that does not return cannot be ended; the report counts them, and
    /// they go on by themselves.
    ///
    /// Called in one of its own tasks it waits for nothing: that task cannot end before it returns.
    pub fn shut_down(mut self, timeout: Duration) -> Shutdown {
        self.end(timeout)
    }

    fn end(&mut self, timeout: Duration) -> Shutdown {
        let Some(pool) = self.pool.take() else { return Shutdown::default() };
        let shared = &self.handle.shared;
        // A worker that waited for its own task would wait in vain.
        let (timeout, abort_waits) = match shared.is_of_this_worker() {
            true => (Duration::ZERO, Duration::ZERO),
            false => (timeout, ABORT_WAITS),
        };
        let began = now();
        let deadline = began.checked_add(timeout).unwrap_or(began + FOR_EVER);
        shared.registry.close();
        let tasks_left = shared.registry.wait_empty(deadline);
        let blocking_left = shared.blocking.shut_down(Some(deadline));
        shared.timers.shut_down();
        let operations_left = shared.wait_for_operations(deadline);
        // While there are workers: a thread in `block_on`, or another runtime's task, may wait for one of
        // those that are left, or start one until it is refused.
        shared.port().abort_all();
        shared.wait_for_operations(now() + abort_waits);
        pool.stop();
        shared.port().close();
        match tasks_left {
            0 => pool.join(),
            // A worker is stuck in a poll: waiting for it could take forever.
            _ => pool.leave(),
        }
        shared.drop_queued();
        Shutdown { tasks_left, blocking_left, operations_left }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let left = self.end(DROP_WAITS);
        if left.tasks_left > 0 {
            log::error!("a runtime was dropped while {} tasks did not end", left.tasks_left);
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("metrics", &self.handle.metrics()).finish_non_exhaustive()
    }
}

/// What was left when a runtime had ended: see [`Runtime::shut_down`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shutdown {
    /// Tasks whose poll did not return in time.
    pub tasks_left: usize,
    /// Blocking calls that did not return in time.
    pub blocking_left: usize,
    /// Operations that had not ended in time, such as sends to a peer that does not read: they were
    /// aborted, and the engine waits by itself until the kernel has given them back.
    pub operations_left: usize,
}

/// A handle of a runtime: cheap to clone, and of use on any thread. It does not keep the runtime
/// from ending.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// The runtime that the calling thread works for, or has entered.
    pub fn current() -> Option<Handle> {
        shared::current().map(|shared| Handle { shared })
    }

    /// Hands `future` to the workers. After a shutdown the task is refused: waiting for it gives
    /// [`is_cancelled`](super::JoinError::is_cancelled).
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.shared.spawn(future)
    }

    /// Runs `f` on a thread for calls that block. Tasks may block as well: another worker then takes
    /// the place. This is for what blocks long or often, so that more of it can than there are workers.
    pub fn spawn_blocking<R: Send + 'static>(
        &self,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> BlockingTask<R> {
        self.shared.blocking.spawn(f)
    }

    /// Polls `future` on the calling thread until it is over; what it spawns is polled by the
    /// workers. On a worker the place of the thread goes to another meanwhile.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = shared::enter(&self.shared);
        let mut future = pin!(future);
        let parker =
            Arc::new(Parker { thread: ThreadParker::new(), is_woken: AtomicBool::new(false) });
        let waker = Waker::from(Arc::clone(&parker));
        let mut cx = Context::from_waker(&waker);
        loop {
            let poll = budget::without_limit(|| future.as_mut().poll(&mut cx));
            if let Poll::Ready(output) = poll {
                return output;
            }
            turn_point!();
            if !parker.take() {
                self.shared.port().blocking(|| parker.wait());
            }
        }
    }

    /// Makes the runtime the calling thread's own until the guard is dropped: for what needs a
    /// runtime outside of its tasks.
    pub fn enter(&self) -> EnterGuard {
        EnterGuard { _entered: shared::enter(&self.shared) }
    }

    /// Counters, and what is there now.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    /// The backend in use, and why it was chosen.
    pub fn backend(&self) -> &BackendChoice {
        self.shared.port().backend()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// See [`Handle::enter`]. Guards are dropped in the reverse order of their making.
#[must_use = "the thread leaves the runtime when this is dropped"]
pub struct EnterGuard {
    _entered: Entered,
}

impl fmt::Debug for EnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}

/// As [`Handle::spawn`] of the current runtime.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    shared::expect_current("spawn a task").spawn(future)
}

/// As [`Handle::spawn_blocking`] of the current runtime.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn spawn_blocking<R: Send + 'static>(
    f: impl FnOnce() -> R + Send + 'static,
) -> BlockingTask<R> {
    shared::expect_current("spawn a blocking call").blocking.spawn(f)
}

/// Runs `f`, which is about to block, on this very thread, and has another worker go on with what else
/// there is meanwhile. When it returns one more worker may run for a moment.
///
/// For a call that blocks now and then: a lock that may be held for long, a query of another library, a
/// file of the standard library. It costs little more than the call, `f` may borrow, and there is no
/// second thread to wait for. The task is held up, and one of the workers: when all of them block at
/// once everything waits. So for what blocks often, for long, or in many tasks at once, there is
/// [`spawn_blocking`], which has up to 512 threads of its own.
///
/// Linux notices by itself, after a few milliseconds, when a task blocks: this spares those, and works
/// on every system. Outside of a worker, such as in [`Handle::block_on`] on a thread of one's own, it
/// only calls `f`; so it does where the thread has given its place away already.
///
/// ```
/// use anyport::rt::{self, Runtime};
///
/// # let path = std::env::temp_dir().join(format!("anyport-blocking-{}", std::process::id()));
/// # std::fs::write(&path, "text")?;
/// let runtime = Runtime::new()?;
/// let read = runtime.block_on(runtime.spawn(async move {
///     let text = rt::blocking(|| std::fs::read_to_string(&path));
///     # let _ = std::fs::remove_file(&path);
///     text
/// }))?;
/// assert_eq!(read?, "text");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn blocking<R>(f: impl FnOnce() -> R) -> R {
    port::blocking(f)
}

/// Lets others have their turn: the task is polled again after what waits for a worker now.
///
/// # Cancel safety
/// Nothing is lost.
pub async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How a thread in `block_on` is woken. Wake-ups that come before it sleeps are seen by the flag alone.
struct Parker {
    thread: ThreadParker,
    is_woken: AtomicBool,
}

impl Parker {
    fn take(&self) -> bool {
        self.is_woken.swap(false, Ordering::AcqRel)
    }

    fn wait(&self) {
        while !self.take() {
            self.thread.park(None);
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::AcqRel) {
            turn_point!();
            self.thread.unpark();
        }
    }
}
