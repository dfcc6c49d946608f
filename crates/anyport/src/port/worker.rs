//! A pool of threads that take packets and give them to a handler.
//!
//! The pool has more threads than the concurrency value, so that another can run while one blocks;
//! the port sees to it that no more run than that value.

use super::packet::Packet;
use super::port::CompletionPort;
use super::taking::Ended;
use crate::error::Error;
use crate::sys::{Thread, error_from_io, spawn};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

type OnPanic = dyn Fn(&(dyn Any + Send)) + Send + Sync;

type Hook = dyn Fn(usize) + Send + Sync;

/// The threads of a port.
///
/// Dropping the pool stops it and waits for its handlers; the port goes on.
///
/// ```
/// use anyport::{CompletionPort, WorkerPool};
/// use std::sync::mpsc;
///
/// let port: CompletionPort<u32> = CompletionPort::new(0)?;
/// let (sender, results) = mpsc::channel();
/// let pool = WorkerPool::builder(&port)
///     .start(move |packet, _worker| sender.send(packet.context * 2).expect("received"))?;
/// port.post(0, 0, 21).expect("there is room");
/// assert_eq!(results.recv()?, 42);
/// pool.join();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WorkerPool {
    threads: Vec<Thread>,
    control: Arc<Control>,
}

struct Control {
    is_stopping: AtomicBool,
    panics: AtomicU64,
    wake_all: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("panics", &self.panics).finish_non_exhaustive()
    }
}

impl WorkerPool {
    /// Sets a pool on `port` up.
    pub fn builder<T: Send + 'static>(port: &CompletionPort<T>) -> WorkerPoolBuilder<T> {
        WorkerPoolBuilder {
            port: port.clone(),
            threads: 0,
            thread_name: "anyport".to_owned(),
            on_start: None,
            on_stop: None,
            on_panic: None,
        }
    }

    /// Asks the threads to end, each after the packet it is at. Does not wait.
    pub fn stop(&self) {
        self.control.is_stopping.store(true, Ordering::Release);
        (self.control.wake_all)();
    }

    /// Stops, and waits until all threads have ended.
    pub fn join(mut self) {
        self.end();
    }

    /// Stops, and waits for no thread: each ends by itself.
    pub(crate) fn leave(mut self) {
        self.threads.clear();
    }

    /// Panics of handlers so far. The thread lives on after each.
    pub fn panics(&self) -> u64 {
        self.control.panics.load(Ordering::Relaxed)
    }

    /// Threads of the pool.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    fn end(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // A handler that drops its own pool cannot wait for itself.
            if !thread.is_current() {
                // Panics of handlers are caught; one of the engine itself was reported.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sets a [`WorkerPool`] up.
#[must_use = "a builder does nothing until `start`"]
pub struct WorkerPoolBuilder<T: Send + 'static> {
    port: CompletionPort<T>,
    threads: usize,
    thread_name: String,
    on_start: Option<Arc<Hook>>,
    on_stop: Option<Arc<Hook>>,
    on_panic: Option<Arc<OnPanic>>,
}

impl<T: Send + 'static> WorkerPoolBuilder<T> {
    /// How many threads; 0, the default, is twice the concurrency value, which by default is twice
    /// the cores.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The first part of the threads' names; a hyphen and the thread's number follow. `anyport` by
    /// default. Systems cut long names short (Linux: at 15 bytes).
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// What each thread does before its first packet, with its number from 0. It must not panic.
    pub fn on_start(mut self, f: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(f));
        self
    }

    /// What each thread does after its last packet, with its number from 0. It must not panic.
    pub fn on_stop(mut self, f: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_stop = Some(Arc::new(f));
        self
    }

    /// What to do when a handler panics, beside counting it; by default an error is logged. It is
    /// given what the panic carried, and must not panic itself.
    pub fn on_panic(mut self, f: impl Fn(&(dyn Any + Send)) + Send + Sync + 'static) -> Self {
        self.on_panic = Some(Arc::new(f));
        self
    }

    /// Starts the threads. Each calls `handler` for every packet that it takes; a panic in it ends
    /// with that packet.
    ///
    /// # Errors
    /// `Limit` or `NoMemory` when the system refuses a thread; those that had started are ended.
    pub fn start(
        self,
        handler: impl Fn(Packet<T>, &Worker<T>) + Send + Sync + 'static,
    ) -> Result<WorkerPool, Error> {
        let threads = match self.threads {
            0 => self.port.concurrency() * 2,
            n => n,
        };
        let crew = Arc::downgrade(self.port.crew());
        let control = Arc::new(Control {
            is_stopping: AtomicBool::new(false),
            panics: AtomicU64::new(0),
            wake_all: Box::new(move || {
                if let Some(crew) = crew.upgrade() {
                    crew.wake_all();
                }
            }),
        });
        let mut pool = WorkerPool { threads: Vec::with_capacity(threads), control };
        let handler = Arc::new(handler);
        for number in 0..threads {
            let worker = Worker { port: self.port.clone(), number };
            let control = Arc::clone(&pool.control);
            let on_panic = self.on_panic.clone();
            let handler = Arc::clone(&handler);
            let (on_start, on_stop) = (self.on_start.clone(), self.on_stop.clone());
            let thread = spawn(&format!("{}-{number}", self.thread_name), move || {
                if let Some(f) = on_start {
                    f(number);
                }
                run(&worker, &control, on_panic.as_deref(), &*handler);
                if let Some(f) = on_stop {
                    f(number);
                }
            })
            .map_err(|e| error_from_io(&e, "start a worker thread"))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }
}

/// The thread that calls a handler.
#[derive(Debug)]
pub struct Worker<T: Send + 'static> {
    port: CompletionPort<T>,
    number: usize,
}

impl<T: Send + 'static> Worker<T> {
    /// The port that the packet came from.
    pub fn port(&self) -> &CompletionPort<T> {
        &self.port
    }

    /// The thread's number in its pool, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// As [`CompletionPort::blocking`].
    pub fn blocking<R>(&self, f: impl FnOnce() -> R) -> R {
        self.port.blocking(f)
    }
}

fn run<T: Send + 'static>(
    worker: &Worker<T>,
    control: &Control,
    on_panic: Option<&OnPanic>,
    handler: &(impl Fn(Packet<T>, &Worker<T>) + ?Sized),
) {
    let mut packet = None;
    loop {
        let stop = Some(&control.is_stopping);
        match worker.port.take_many(1, None, stop, &mut |p| packet = Some(p)) {
            Ok(_) => {}
            Err(Ended::TimedOut) => continue,
            Err(Ended::Closed | Ended::Stopped) => return,
        }
        let Some(packet) = packet.take() else {
            continue;
        };
        let result = catch_unwind(AssertUnwindSafe(|| handler(packet, worker)));
        if let Err(payload) = result {
            control.panics.fetch_add(1, Ordering::Relaxed);
            match on_panic {
                Some(f) => f(&*payload),
                None => log::error!("a handler panicked; its thread goes on"),
            }
        }
    }
}
