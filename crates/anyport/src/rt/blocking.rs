//! A bounded pool of threads for calls that block, so that they hold up no worker: reading a
//! directory, asking for a host's address, computing for long.
//!
//! Threads start on demand, when none that is free can take a job, and end after a while without
//! work. `roster.rs` has the argument that no job is lost between a thread that ends and a job that
//! comes; `task.rs` has a job and its result.

mod roster;
mod task;

pub use task::BlockingTask;

use super::join_error::message_of;
use crate::sys::{self, Condvar, now};
use roster::{Brought, Next, Roster};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use task::Job;

/// A bounded pool of threads for calls that block.
///
/// Dropping it is [`shut_down`](Self::shut_down) without waiting.
///
/// ```
/// use anyport::rt::blocking::{BlockingOptions, BlockingPool};
/// # use std::{pin::pin, sync::Arc, task::{Context, Poll, Wake}, thread};
/// # struct Unpark(thread::Thread);
/// # impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark() } }
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     let (mut future, waker) = (pin!(future), Arc::new(Unpark(thread::current())).into());
/// #     loop {
/// #         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
/// #             Poll::Ready(output) => return output,
/// #             Poll::Pending => thread::park(),
/// #         }
/// #     }
/// # }
///
/// let pool = BlockingPool::new(BlockingOptions::new().threads_max(4));
/// let answer = pool.spawn(|| (1..=20u64).product::<u64>());
/// # block_on(async {
/// assert_eq!(answer.await?, 2_432_902_008_176_640_000);
///
/// let error = pool.spawn(|| panic!("no such luck")).await.unwrap_err();
/// assert!(error.is_panic());
/// # Ok::<(), anyport::rt::JoinError>(())
/// # })?;
/// assert_eq!(pool.shut_down(None), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BlockingPool {
    shared: Arc<Shared>,
}

impl BlockingPool {
    /// A pool without a thread yet.
    pub fn new(options: BlockingOptions) -> Self {
        let shared = Shared {
            roster: Mutex::new(Roster::new(options.threads_max)),
            work: Condvar::new(),
            ended: Condvar::new(),
            options,
            threads_started: AtomicU64::new(0),
        };
        BlockingPool { shared: Arc::new(shared) }
    }

    /// Queues a job: a thread that has nothing to do runs it, or a new one; when there are
    /// [`threads_max`](BlockingOptions::threads_max), the first that is through with its own. Jobs
    /// begin in the order in which they were queued. The queue has no limit of its own; how long it
    /// is [`stats`](Self::stats) tells.
    ///
    /// Never blocks and never panics. The task resolves as cancelled when the pool is shut down, and
    /// when the system refuses the very first thread: a job that could only run here would block
    /// whoever counts on not being blocked.
    pub fn spawn<R: Send + 'static>(
        &self,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> BlockingTask<R> {
        let (job, task) = task::job(f);
        let brought = self.shared.lock().bring(job);
        turn_point!();
        match brought {
            Brought::Wake => self.shared.work.notify_one(),
            Brought::Start => self.start_thread(),
            Brought::Wait => {}
            Brought::Refused(job) => job.cancel(SHUT_DOWN),
        }
        task
    }

    /// Ends the pool: new jobs are refused, those that have not begun are dropped, and the tasks of
    /// both resolve as cancelled. Waits until the jobs that run have ended, or until `deadline`;
    /// without one as long as it takes. Returns how many jobs still run then: they cannot be stopped,
    /// and go on by themselves.
    ///
    /// Of a job that calls this on its own pool the job itself is neither waited for nor counted.
    /// It may be called again, to wait once more.
    pub fn shut_down(&self, deadline: Option<Instant>) -> usize {
        let shared = &*self.shared;
        let jobs = shared.lock().close();
        turn_point!();
        shared.work.notify_all();
        cancel_all(jobs, SHUT_DOWN);
        let own = usize::from(SERVES.get() == ptr::from_ref(shared));
        let mut roster = shared.lock();
        while roster.threads() > own {
            if deadline.is_some_and(|deadline| now() >= deadline) {
                break;
            }
            roster = shared.ended.wait(&shared.roster, roster, deadline);
        }
        roster.running() - own
    }

    /// Counters: since the pool was made, and what is there now.
    pub fn stats(&self) -> BlockingStats {
        let roster = self.shared.lock();
        BlockingStats {
            threads: roster.threads(),
            idle: roster.idle(),
            queued: roster.queued(),
            done: roster.done(),
        }
    }

    fn start_thread(&self) {
        let shared = Arc::clone(&self.shared);
        let number = shared.threads_started.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", shared.options.thread_name);
        if let Err(e) = sys::spawn(&name, move || serve(&shared)) {
            self.do_without(&e);
        }
    }

    /// No thread could be had. Others come to the job, if there are any.
    fn do_without(&self, error: &io::Error) {
        log::warn!("cannot start a thread for calls that block: {error}");
        let jobs = self.shared.lock().start_failed();
        self.shared.work.notify_all();
        self.shared.ended.notify_all();
        cancel_all(jobs, NO_THREAD);
    }
}

impl Drop for BlockingPool {
    fn drop(&mut self) {
        self.shut_down(Some(now()));
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool")
            .field("options", &self.shared.options)
            .field("stats", &self.stats())
            .finish()
    }
}

/// How many threads a [`BlockingPool`] may have, how long they stay, and what they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct BlockingOptions {
    threads_max: usize,
    keep_alive: Duration,
    thread_name: String,
}

impl BlockingOptions {
    /// 512 threads at most, which end after 10 seconds without a job and are called
    /// `anyport-block-0` and so on.
    pub fn new() -> Self {
        BlockingOptions {
            threads_max: 512,
            keep_alive: Duration::from_secs(10),
            thread_name: "anyport-block".to_owned(),
        }
    }

    /// The most threads at a time; further jobs wait. Default 512. 0 counts as 1.
    pub fn threads_max(mut self, threads: usize) -> Self {
        self.threads_max = threads;
        self
    }

    /// How long a thread stays without a job. Default 10 seconds; 0 ends it after its job, unless
    /// another waits.
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.keep_alive = time;
        self
    }

    /// What the names of the threads begin with; a number follows. Default `anyport-block`. Some
    /// systems show the first 15 bytes of a name only. NUL characters are left out.
    pub fn thread_name(mut self, prefix: &str) -> Self {
        self.thread_name = prefix.replace('\0', "");
        self
    }
}

impl Default for BlockingOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Counters of a [`BlockingPool`], of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockingStats {
    /// Threads, also those that are about to begin.
    pub threads: usize,
    /// Threads of these that have no job.
    pub idle: usize,
    /// Jobs that wait for a thread. One that was aborted counts until its turn.
    pub queued: usize,
    /// Jobs that have run, also those that panicked.
    pub done: u64,
}

const SHUT_DOWN: &str = "the pool of blocking calls is shut down";
const NO_THREAD: &str = "the system refuses a thread for blocking calls; \
    raise its limit of threads or memory";

struct Shared {
    roster: Mutex<Roster<Arc<dyn Job>>>,
    /// A job came, or the pool was closed: threads without a job wait for it.
    work: Condvar,
    /// A thread ended: `shut_down` waits for it.
    ended: Condvar,
    options: BlockingOptions,
    threads_started: AtomicU64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Roster<Arc<dyn Job>>> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// The pool that this thread is of. Only compared.
    static SERVES: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// The life of one thread.
fn serve(shared: &Arc<Shared>) {
    SERVES.set(Arc::as_ptr(shared));
    let mut roster = shared.lock();
    let mut idle_since = None;
    let mut is_time_over = false;
    loop {
        match roster.next(is_time_over) {
            Next::Run(job) => {
                drop(roster);
                turn_point!();
                let has_run = unharmed(|| job.run()).unwrap_or(true);
                // The last of a result that nobody waits for is dropped here.
                unharmed(|| drop(job));
                turn_point!();
                roster = shared.lock();
                roster.finished(has_run);
                idle_since = None;
                is_time_over = false;
            }
            Next::Sleep => {
                let since: Instant = *idle_since.get_or_insert_with(now);
                let until = since.checked_add(shared.options.keep_alive);
                roster = shared.work.wait(&shared.roster, roster, until);
                is_time_over = until.is_some_and(|until| now() >= until);
            }
            Next::End => {
                drop(roster);
                turn_point!();
                shared.ended.notify_all();
                return;
            }
        }
    }
}

fn cancel_all(jobs: VecDeque<Arc<dyn Job>>, detail: &'static str) {
    for job in jobs {
        unharmed(|| job.cancel(detail));
        unharmed(|| drop(job));
    }
}

/// Calls `f`, which may come to code of the user's beside a job: a waker, the drop of a result or
/// of what a job holds. A panic there concerns neither the thread nor the next job.
fn unharmed<T>(f: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => Some(value),
        Err(payload) => {
            let message = message_of(&*payload);
            let message = message.as_deref().unwrap_or("not with a text");
            log::error!("what belongs to a blocking call panicked beside it: {message}");
            // Its drop may panic once more; what that one carries is not looked at any further.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(payload);
            }
            None
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
