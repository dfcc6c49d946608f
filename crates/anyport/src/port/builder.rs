//! How a port is made: its concurrency value, its backend, its limits.

use super::port::CompletionPort;
use crate::buf::{BufferPool, PoolOptions, SizeClass};
use crate::error::{Error, ErrorKind};
use crate::op::{Core, CoreOptions};
use crate::sys::{Backend, BackendKind, BackendOptions, Chosen, choose, cores};

/// Most seats, and so rings, that a port can have.
const CONCURRENCY_MAX: usize = 1024;

/// Sets up a [`CompletionPort`]. Every setting has a default that serves 100,000 connections.
///
/// ```
/// use anyport::{BackendKind, CompletionPort};
///
/// let port: CompletionPort<u64> = CompletionPort::<u64>::builder()
///     .concurrency(2)
///     .posted_max(1000)
///     .backend(BackendKind::Readiness)
///     .build()?;
/// assert_eq!(port.concurrency(), 2);
/// assert_eq!(port.backend().kind, BackendKind::Readiness);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct PortBuilder {
    concurrency: usize,
    backend: Option<BackendKind>,
    #[cfg(feature = "sim")]
    world: Option<crate::sim::World>,
    posted_max: usize,
    operations_max: usize,
    pool: PoolOptions,
    receive_class: SizeClass,
    is_receive_class_fixed: bool,
    submission_entries: u32,
    completion_entries: u32,
    stream_backlog_max: usize,
}

impl PortBuilder {
    pub(super) fn new() -> Self {
        PortBuilder {
            concurrency: 0,
            backend: None,
            #[cfg(feature = "sim")]
            world: crate::sim::World::current(),
            posted_max: 65_536,
            operations_max: 1 << 20,
            pool: PoolOptions::new(),
            receive_class: SizeClass::Medium16K,
            is_receive_class_fixed: false,
            submission_entries: 1024,
            completion_entries: 8192,
            stream_backlog_max: 16,
        }
    }

    /// How many threads of the port may run at the same time; 0, the default, is one for each
    /// core (two for a thread of a simulated world that is run). At most 1,024.
    pub fn concurrency(mut self, value: usize) -> Self {
        self.concurrency = value;
        self
    }

    /// Forces a backend, before what `ANYPORT_BACKEND` says.
    pub fn backend(mut self, kind: BackendKind) -> Self {
        self.backend = Some(kind);
        self
    }

    /// The port is of this simulated world, and so are all sockets that it takes. Threads that are
    /// in a world need not say so.
    ///
    /// ```
    /// use anyport::sim::World;
    /// use anyport::{BackendKind, CompletionPort};
    ///
    /// let world = World::new(1);
    /// let port: CompletionPort<()> = CompletionPort::<()>::builder().simulated(&world).build()?;
    /// assert_eq!(port.backend().kind, BackendKind::Simulated);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "sim")]
    pub fn simulated(mut self, world: &crate::sim::World) -> Self {
        self.world = Some(world.clone());
        self
    }

    /// How many posted packets may wait; at the limit `post` gives the packet back. Default
    /// 65,536.
    pub fn posted_max(mut self, packets: usize) -> Self {
        self.posted_max = packets;
        self
    }

    /// How many operations may be under way; at the limit a start is refused with `Limit`. A quiet
    /// send that the system takes whole before it returns is none; one of which it has just taken a
    /// part is let in, so that there may be one more for each thread. Default 1,048,576.
    pub fn operations_max(mut self, operations: usize) -> Self {
        self.operations_max = operations;
        self
    }

    /// The pool that pooled receives take their buffers from. Default 256 MiB at the most.
    pub fn pool(mut self, options: PoolOptions) -> Self {
        self.pool = options;
        self
    }

    /// The size of the buffers with which the pooled receives of a new handle begin. Default
    /// 16 KiB.
    ///
    /// Each handle then follows its traffic: after a few receives that left bytes behind the class
    /// grows, after 256 in a row that the class below would have held it shrinks. It grows only
    /// where the [pool](Self::pool) holds 256 buffers of the larger class.
    /// [`set_receive_class`](crate::net::SocketHandle::set_receive_class) ends that for a handle,
    /// [`fixed_receive_class`](Self::fixed_receive_class) for all.
    pub fn receive_class(mut self, class: SizeClass) -> Self {
        self.receive_class = class;
        self.is_receive_class_fixed = false;
        self
    }

    /// As [`receive_class`](Self::receive_class), for servers that count on the size of what they
    /// receive: the pooled receives of all handles use this class, whatever comes.
    pub fn fixed_receive_class(mut self, class: SizeClass) -> Self {
        self.receive_class = class;
        self.is_receive_class_fixed = true;
        self
    }

    /// Entries of each submission queue, where the backend has such; rounded up to a power of
    /// two. What does not fit waits in memory. Default 1,024. The queues may count as locked memory:
    /// see [`guide::containers`](crate::guide::containers).
    pub fn submission_entries(mut self, entries: u32) -> Self {
        self.submission_entries = entries;
        self
    }

    /// Entries of each completion queue, where the backend has such; rounded up to a power of
    /// two. What does not fit waits in the kernel. Default 8,192.
    pub fn completion_entries(mut self, entries: u32) -> Self {
        self.completion_entries = entries;
        self
    }

    /// How many packets of one receive stream may wait for its handler before the stream pauses
    /// its receiving. Default 16. What the kernel had filled before the pause took effect comes
    /// on top: with io_uring up to the buffers that the lane had lent to it at that moment, which
    /// are never more than half of the pool.
    pub fn stream_backlog_max(mut self, packets: usize) -> Self {
        self.stream_backlog_max = packets;
        self
    }

    /// Makes the port, and its clerk thread.
    ///
    /// # Errors
    /// `InvalidInput` for a limit of 0 or one out of range; `Unsupported` when a forced backend is
    /// not there; `Limit` when the system has no descriptors or threads for it; `NoMemory` when it
    /// has no memory, or not the locked memory that the rings of a forced io_uring count as. Where
    /// nothing is forced readiness serves then, and [`CompletionPort::backend`] says so.
    pub fn build<T: Send + 'static>(self) -> Result<CompletionPort<T>, Error> {
        let invalid = |detail| {
            Err(Error::new(ErrorKind::InvalidInput, "create a completion port").with_detail(detail))
        };
        if self.concurrency > CONCURRENCY_MAX {
            return invalid("the concurrency value is at most 1,024");
        }
        if self.posted_max == 0 || self.posted_max > 1 << 28 {
            return invalid("the limit of posted packets is 1 to 268,435,456");
        }
        if self.operations_max == 0 || self.operations_max > u32::MAX as usize - 1 {
            return invalid("the limit of operations is 1 to 4,294,967,294");
        }
        if self.stream_backlog_max == 0 {
            return invalid("the backlog of a stream is at least 1");
        }
        if self.submission_entries == 0 || self.completion_entries < self.submission_entries {
            return invalid("a completion queue is at least as long as its submission queue");
        }
        let concurrency = match self.concurrency {
            0 => cores().min(CONCURRENCY_MAX),
            n => n,
        };
        let chosen = self.choose()?;
        let pool = BufferPool::new(self.pool.clone());
        let make = |kind| {
            let options = BackendOptions {
                seats: concurrency,
                submission_entries: self.submission_entries,
                completion_entries: self.completion_entries,
                pool: pool.clone(),
            };
            self.make_backend(kind, options)
        };
        let (backend, choice) = match make(chosen.choice.kind) {
            Ok(backend) => (backend, chosen.choice),
            Err(error) => {
                let instead = chosen.instead(error)?;
                (make(instead.kind)?, instead)
            }
        };
        log::info!("completion port: {choice}, concurrency value {concurrency}");
        let core = Core::new(
            backend,
            pool,
            CoreOptions {
                operations_max: self.operations_max,
                stream_backlog_max: self.stream_backlog_max,
                receive_class: self.receive_class,
                is_receive_class_fixed: self.is_receive_class_fixed,
            },
        );
        CompletionPort::start(core, concurrency, choice, self.posted_max)
    }

    /// Which backend, and why.
    fn choose(&self) -> Result<Chosen, Error> {
        #[cfg(feature = "sim")]
        if self.world.is_some() && self.backend.is_none_or(|kind| kind == BackendKind::Simulated) {
            return Ok(Chosen::of_world());
        }
        choose(self.backend)
    }

    fn make_backend(&self, kind: BackendKind, options: BackendOptions) -> Result<Backend, Error> {
        #[cfg(feature = "sim")]
        if let Some(world) = self.world.as_ref().filter(|_| kind == BackendKind::Simulated) {
            crate::sys::sim::set_on_thread_end(super::member::Membership::end_of_thread);
            return Ok(Backend::in_world(world, options));
        }
        Backend::new(kind, options)
    }
}
