//! What the handles, the tasks and the workers of a runtime share: the port, and how a task comes
//! into its queue.
//!
//! The port is the run queue: a task that is to be polled is posted like any packet, and any worker
//! takes it. One step is spared where it can be: a task that is woken by a packet is polled by the
//! worker that took the packet, as soon as the packet is dealt with. Nothing waits behind it, so
//! nothing is held up when its poll blocks. What is woken in a poll is always posted.

use super::budget;
use super::context::Context;
use super::metrics::{Counters, Metrics};
use super::registry::Registry;
use super::task::{self, JoinHandle};
use super::time::{self, Timers};
use crate::port::{CompletionPort, PostErrorKind};
use crate::rt::blocking::BlockingPool;
use crate::sys::{InPlace, Place, now, sleep};
use async_task::Runnable;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a shutdown looks whether something is under way still.
const OPERATIONS_LOOK: Duration = Duration::from_millis(1);

pub(crate) struct Shared {
    port: CompletionPort<Context>,
    /// Tasks that the port's bounded queue had no room for.
    overflow: Mutex<VecDeque<Runnable>>,
    overflow_len: AtomicUsize,
    pub(super) registry: Arc<Registry>,
    pub(super) counters: Counters,
    pub(crate) blocking: BlockingPool,
    pub(super) timers: Timers,
    /// Where it was built: its threads are there, and whoever has entered it.
    place: Place,
}

impl Shared {
    pub(super) fn new(
        port: CompletionPort<Context>,
        blocking: BlockingPool,
        workers: usize,
    ) -> Self {
        Shared {
            port,
            overflow: Mutex::new(VecDeque::new()),
            overflow_len: AtomicUsize::new(0),
            registry: Arc::new(Registry::default()),
            counters: Counters::new(workers),
            blocking,
            timers: Timers::with_shards(workers),
            place: Place::of_caller(),
        }
    }

    pub(crate) fn port(&self) -> &CompletionPort<Context> {
        &self.port
    }

    pub(super) fn spawn<F>(self: &Arc<Self>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Some(entry) = self.registry.enter() else { return JoinHandle::refused() };
        let shared = Arc::clone(self);
        let (runnable, handle) = task::make(future, entry, move |task| shared.schedule(task));
        self.post(runnable);
        handle
    }

    /// A task is to be polled.
    fn schedule(&self, task: Runnable) {
        turn_point!();
        let mut task = Some(task);
        // While the thread's locals are being destroyed it catches nothing.
        let _ = CAUGHT.try_with(|caught| task = task.take().and_then(|t| caught.offer(self, t)));
        if let Some(task) = task {
            self.post(task);
        }
    }

    fn post(&self, task: Runnable) {
        let Err(refused) = self.port.post(0, 0, Context::Task(task)) else { return };
        let Context::Task(task) = refused.context else { return };
        match refused.kind {
            PostErrorKind::Full => {
                turn_point!();
                let mut overflow = self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
                overflow.push_back(task);
                self.overflow_len.store(overflow.len(), Ordering::Release);
                drop(overflow);
                turn_point!();
                // A worker looks here after each packet. Where the queue was emptied meanwhile this is
                // one; where it is full still, there are packets that have yet to be taken.
                let posted = self.port.post(0, 0, Context::Nobody);
                if posted.is_err_and(|refused| refused.kind == PostErrorKind::Closed) {
                    // Perhaps after the last worker, and whoever ends the runtime, looked there.
                    self.drop_overflow();
                }
            }
            // To drop it is to cancel it; its destructors may be the last to refer to this.
            PostErrorKind::Closed => drop(task),
        }
    }

    /// A task that found the queue full. One at a time, behind a packet of the queue, so that neither
    /// keeps the other from having its turn.
    pub(super) fn take_overflow(&self) -> Option<Runnable> {
        if self.overflow_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut overflow = self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
        let task = overflow.pop_front();
        let is_left = !overflow.is_empty();
        self.overflow_len.store(overflow.len(), Ordering::Release);
        drop(overflow);
        turn_point!();
        if is_left {
            // For the next look; see `post`.
            let _ = self.port.post(0, 0, Context::Nobody);
        }
        task
    }

    /// Deals with a packet: `f` is its handler. Gives the task that it woke first, if any: the caller
    /// polls it now.
    pub(super) fn catching(&self, f: impl FnOnce()) -> Option<Runnable> {
        CAUGHT.with(|caught| {
            let _end = caught.begin(self);
            f();
            // Before the end, which would have it polled by any worker.
            caught.task.take()
        })
    }

    /// Polls a task once.
    pub(super) fn run(&self, task: Runnable) {
        turn_point!();
        self.counters.count_poll();
        budget::with_fresh(|| self.counters.time_poll(|| task.run()));
    }

    /// The calling thread is a worker of this runtime.
    pub(super) fn is_of_this_worker(&self) -> bool {
        let of = WORKS_FOR.try_with(Cell::get);
        of.is_ok_and(|of| std::ptr::eq(of, self))
    }

    /// The calling thread becomes a worker of this runtime.
    pub(super) fn adopt_worker(&self) {
        WORKS_FOR.set(self);
    }

    /// Drops the tasks that wait to be polled, after the workers were told to end. They refer to this,
    /// so neither would be freed.
    pub(super) fn drop_queued(&self) {
        self.drop_overflow();
        while self.port.stats().posted_waiting > 0 && self.port.get(Some(Duration::ZERO)).is_ok() {}
    }

    fn drop_overflow(&self) {
        let mut overflow = self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
        let tasks = std::mem::take(&mut *overflow);
        self.overflow_len.store(0, Ordering::Release);
        drop(overflow);
        drop(tasks);
    }

    /// Waits until nothing is under way, or until the deadline; says how much is. The last packet of an
    /// operation drops what it belongs to: that closes a socket whose stream is gone.
    pub(super) fn wait_for_operations(&self, deadline: Instant) -> usize {
        loop {
            let left = self.port.stats().operations_live;
            if left == 0 || now() >= deadline {
                return left;
            }
            sleep(OPERATIONS_LOOK);
        }
    }

    pub(super) fn metrics(&self) -> Metrics {
        let port = self.port.stats();
        let (tasks_alive, tasks_spawned) = self.registry.counts();
        let blocking = self.blocking.stats();
        let pool = self.port.pool().stats();
        Metrics {
            workers: self.counters.workers(),
            tasks_spawned,
            tasks_alive,
            polls: self.counters.polls(),
            queue_depth: port.posted_waiting + self.overflow_len.load(Ordering::Acquire),
            steals: port.stolen,
            stand_ins: port.blocked,
            operations: port.operations_live,
            pool_bytes_taken: pool.bytes_taken(),
            pool_bytes_held: pool.bytes_allocated,
            pool_bytes_max: pool.bytes_max,
            blocking_threads: blocking.threads,
            blocking_queued: blocking.queued,
            poll_times: self.counters.poll_times(),
        }
    }
}

thread_local! {
    static CAUGHT: Caught = const { Caught { of: Cell::new(std::ptr::null()), task: Cell::new(None) } };
    /// The runtime whose worker the thread is; else null. Compared only.
    static WORKS_FOR: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// The task that a packet has woken, on its way to the poll.
struct Caught {
    /// The runtime whose packet the thread is at; else null. Compared only.
    of: Cell<*const Shared>,
    task: Cell<Option<Runnable>>,
}

impl Caught {
    fn begin<'a>(&'a self, shared: &'a Shared) -> CatchEnd<'a> {
        self.of.set(shared);
        CatchEnd { caught: self, shared }
    }

    /// Gives the task back unless it is to be polled here.
    fn offer(&self, shared: &Shared, task: Runnable) -> Option<Runnable> {
        if !std::ptr::eq(self.of.get(), shared) {
            return Some(task);
        }
        match self.task.take() {
            None => {
                self.task.set(Some(task));
                None
            }
            first => {
                self.task.set(first);
                Some(task)
            }
        }
    }
}

struct CatchEnd<'a> {
    caught: &'a Caught,
    shared: &'a Shared,
}

impl Drop for CatchEnd<'_> {
    fn drop(&mut self) {
        self.caught.of.set(std::ptr::null());
        // Left only by a panic of the packet's handler.
        if let Some(task) = self.caught.task.take() {
            self.shared.post(task);
        }
    }
}

/// The runtime that the calling thread works for, or has entered.
pub(crate) fn current() -> Option<Arc<Shared>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// As `current`, for what cannot do without.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub(crate) fn expect_current(what: &str) -> Arc<Shared> {
    match current() {
        Some(shared) => shared,
        None => panic!(
            "{what} outside of a runtime: call it in a task, in `block_on`, or after `Handle::enter`"
        ),
    }
}

/// The thread is of this runtime until the guard is dropped.
pub(super) fn enter(shared: &Arc<Shared>) -> Entered {
    let before = CURRENT.with(|current| current.borrow_mut().replace(Arc::clone(shared)));
    let (_timers, _place) = (shared.timers.enter(), shared.place.enter());
    Entered { before, _timers, _place, _of_thread: PhantomData }
}

/// See [`Handle::enter`](super::Handle::enter). Guards end in the reverse order of their beginning.
#[must_use = "the thread leaves the runtime when this is dropped"]
pub(super) struct Entered {
    before: Option<Arc<Shared>>,
    _timers: time::Entered,
    _place: InPlace,
    /// It is of the thread that made it.
    _of_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        // While the thread ends there is nothing to leave.
        let inside =
            CURRENT.try_with(|current| std::mem::replace(&mut *current.borrow_mut(), before));
        drop(inside);
    }
}
