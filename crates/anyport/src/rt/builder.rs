//! What a runtime is built from.

use super::blocking::{BlockingOptions, BlockingPool};
use super::context::Context;
use super::metrics::Counters;
use super::runtime::Runtime;
use super::shared::{self, Entered, Shared};
use crate::buf::PoolOptions;
use crate::error::Error;
use crate::port::{CompletionPort, Packet, PortBuilder, WorkerPool};
use crate::sys::BackendKind;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

type Hook = Arc<dyn Fn(usize) + Send + Sync>;

/// Sets a [`Runtime`] up.
///
/// ```
/// use anyport::rt::Runtime;
///
/// let runtime = Runtime::builder().workers(4).concurrency(2).thread_name("gateway").build()?;
/// assert_eq!(runtime.handle().metrics().workers, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    port: PortBuilder,
    workers: usize,
    thread_name: String,
    on_start: Option<Hook>,
    on_stop: Option<Hook>,
    is_timing: bool,
    blocking: BlockingOptions,
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            port: CompletionPort::<Context>::builder(),
            workers: 0,
            thread_name: "anyport".to_owned(),
            on_start: None,
            on_stop: None,
            is_timing: false,
            blocking: BlockingOptions::new(),
        }
    }

    /// Threads that poll tasks; 0, the default, is twice the concurrency value, so that another can
    /// run while one blocks in a poll.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many of them run at a time; 0, the default, is the cores that the process may use.
    pub fn concurrency(mut self, value: usize) -> Self {
        self.port = self.port.concurrency(value);
        self
    }

    /// Forces a backend; otherwise the best that the system offers is used.
    pub fn backend(mut self, kind: BackendKind) -> Self {
        self.port = self.port.backend(kind);
        self
    }

    /// The bound and the classes of the buffers that receives take.
    pub fn pool(mut self, options: PoolOptions) -> Self {
        self.port = self.port.pool(options);
        self
    }

    /// How many operations may be under way; see [`PortBuilder::operations_max`].
    pub fn operations_max(mut self, operations: usize) -> Self {
        self.port = self.port.operations_max(operations);
        self
    }

    /// Entries of each submission queue of io_uring; see [`PortBuilder::submission_entries`].
    pub fn submission_entries(mut self, entries: u32) -> Self {
        self.port = self.port.submission_entries(entries);
        self
    }

    /// Entries of each completion queue of io_uring; see [`PortBuilder::completion_entries`].
    pub fn completion_entries(mut self, entries: u32) -> Self {
        self.port = self.port.completion_entries(entries);
        self
    }

    /// The first part of the threads' names; their number follows. `anyport` by default.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// What each worker does first, with its number from 0. It must not panic.
    pub fn on_thread_start(mut self, f: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(f));
        self
    }

    /// What each worker does last, with its number from 0. It must not panic.
    pub fn on_thread_stop(mut self, f: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.on_stop = Some(Arc::new(f));
        self
    }

    /// Threads for blocking calls at most; 512 by default, started when they are needed.
    pub fn blocking_threads_max(mut self, threads: usize) -> Self {
        self.blocking = self.blocking.threads_max(threads);
        self
    }

    /// How long a thread for blocking calls waits for the next one before it ends; 10 s by default.
    pub fn blocking_keep_alive(mut self, time: Duration) -> Self {
        self.blocking = self.blocking.keep_alive(time);
        self
    }

    /// Whether each poll is timed for [`Metrics::poll_times`](super::Metrics::poll_times); off by
    /// default, since it reads the clock twice a poll.
    pub fn poll_times(mut self, on: bool) -> Self {
        self.is_timing = on;
        self
    }

    /// Builds the port and starts the workers.
    ///
    /// # Errors
    /// As [`PortBuilder::build`], and `Limit` or `NoMemory` when the system refuses a thread.
    pub fn build(self) -> Result<Runtime, Error> {
        let port: CompletionPort<Context> = self.port.build()?;
        let workers = match self.workers {
            0 => port.concurrency() * 2,
            workers => workers,
        };
        let name = format!("{}-blocking", self.thread_name);
        let blocking = BlockingPool::new(self.blocking.thread_name(&name));
        let shared = Arc::new(Shared::new(port.clone(), blocking, workers));
        shared.counters.set_timing(self.is_timing);
        let (of_start, of_packet) = (Arc::clone(&shared), Arc::clone(&shared));
        let (on_start, on_stop) = (self.on_start, self.on_stop);
        let pool = WorkerPool::builder(&port)
            .threads(workers)
            .thread_name(self.thread_name)
            .on_start(move |number| {
                Counters::adopt(number);
                of_start.adopt_worker();
                ENTERED.with(|entered| *entered.borrow_mut() = Some(shared::enter(&of_start)));
                if let Some(f) = &on_start {
                    f(number);
                }
            })
            .on_stop(move |number| {
                if let Some(f) = &on_stop {
                    f(number);
                }
                let entered = ENTERED.with(|entered| entered.borrow_mut().take());
                drop(entered);
            })
            .start(move |packet, _| of_packet.on_packet(packet))?;
        Ok(Runtime::start(shared, pool))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("workers", &self.workers).finish_non_exhaustive()
    }
}

thread_local! {
    /// A worker is of its runtime from its first packet to its last.
    static ENTERED: RefCell<Option<Entered>> = const { RefCell::new(None) };
}

impl Shared {
    /// What a worker does with a packet.
    fn on_packet(&self, packet: Packet<Context>) {
        let Packet { key, kind, operation, result, context, buffers, more, peer, accepted } =
            packet;
        let ended = |context: ()| Packet {
            key,
            kind,
            operation,
            result,
            context,
            buffers,
            more,
            peer,
            accepted,
        };
        match context {
            Context::Task(task) => self.run(task),
            Context::Source(source) => {
                let woken = self.catching(|| source.on_packet(ended(())));
                // Before the poll, which may block, and may have given the stream to another task.
                drop(source);
                self.port().release_streams();
                if let Some(task) = woken {
                    self.run(task);
                }
            }
            Context::Sending(sending) => sending.fail(ended(()).result.err()),
            Context::Written(written) => {
                let woken = self.catching(|| written.end(ended(())));
                if let Some(task) = woken {
                    self.run(task);
                }
            }
            Context::Nobody => {}
        }
        if let Some(task) = self.take_overflow() {
            self.run(task);
        }
    }
}
