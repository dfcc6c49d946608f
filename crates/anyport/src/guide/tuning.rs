//! Tuning: threads, backends, limits, variables, and what to look at.
//!
//! The defaults serve from one connection to 100,000. Change one thing at a time, and measure it:
//! the README has figures of two machines, and `docs/performance.md` and `bench/` in the repository
//! say how to make your own. Absolute figures of one run mean little; compare in turns.
//!
//! # Threads
//!
//! | setting | default | change it when |
//! |---|---|---|
//! | [`concurrency`](crate::rt::Builder::concurrency), threads that run at a time | the cores that the process may use | other programs need the cores, or a quota is smaller than what the system tells (see [`containers`](super::containers)) |
//! | [`workers`](crate::rt::Builder::workers), [`threads`](crate::WorkerPoolBuilder::threads) | twice that | more handlers block at a time than there are spare threads (see [`blocking`](super::blocking)) |
//! | [`blocking_threads_max`](crate::rt::Builder::blocking_threads_max) | 512 | blocking calls wait in the queue, or each thread costs too much memory |
//!
//! More than twice the concurrency value is seldom of use: those beyond it share rings on io_uring.
//! With handlers that never block, as many threads as the value would do.
//!
//! # Handlers or tasks
//!
//! An echo of tasks costs 5 to 6 % more CPU time than one of handlers; `ARCHITECTURE.md` has the
//! figures. Choose by what is easier to write.
//!
//! # Backend
//!
//! `io_uring` where the kernel permits it, else `readiness`; on Windows the system's own port.
//! [`CompletionPort::backend`](crate::CompletionPort::backend) and
//! [`Handle::backend`](crate::rt::Handle::backend) say which and why, and so does a line at level
//! `info` of the crate `log` when a port is built.
//!
//! | variable | what it does |
//! |---|---|
//! | `ANYPORT_BACKEND` | `io_uring`, `readiness`, `windows` or `auto`. The builder goes before it. What is forced and not there is an error. |
//! | `ANYPORT_WITHOUT` | Takes features of io_uring away, such as `multishot_receive,buffer_rings`, for a kernel that has one and has it wrong. |
//! | `ANYPORT_RINGS` | `shared`: plain rings that any thread submits to, the reference that others are measured against. Costs more. |
//!
//! They are read each time that a port is built.
//!
//! # Memory
//!
//! * [`pool`](crate::rt::Builder::pool): the bound of the receive buffers, 256 MiB, of which up to
//!   half may be lent to io_uring. [`PoolStats::refused`](crate::buf::PoolStats::refused) of [a
//!   port's pool](crate::CompletionPort::pool) counts how often a buffer was wanted and there was
//!   none: where it grows steadily, the pool is too small or the program keeps buffers for too
//!   long.
//! * [`receive_class`](crate::PortBuilder::receive_class): with what size connections begin. They
//!   follow their traffic, so it matters for connections that are short.
//! * [`operations_max`](crate::PortBuilder::operations_max): 1,048,576. A connection of a task has
//!   one receive under way, and its sends.
//! * [`submission_entries`](crate::PortBuilder::submission_entries) and
//!   [`completion_entries`](crate::PortBuilder::completion_entries): a ring has 1,024 and 8,192, of
//!   64 and of 16 bytes. Smaller ones make the kernel hold what does not fit; nothing is lost.
//!
//! # What to look at
//!
//! [`Handle::metrics`](crate::rt::Handle::metrics) of a runtime,
//! [`CompletionPort::stats`](crate::CompletionPort::stats) of a port; both cost little and stop
//! nobody.
//!
//! | figure | what it tells |
//! |---|---|
//! | [`queue_depth`](crate::rt::Metrics::queue_depth), [`posted_waiting`](crate::Stats::posted_waiting) | Above a few for long: the workers have more to do than they can. |
//! | [`stand_ins`](crate::rt::Metrics::stand_ins), [`blocked`](crate::Stats::blocked) | Grows: handlers block. Some is what the port is for; much belongs on `spawn_blocking`. |
//! | [`steals`](crate::rt::Metrics::steals), [`stolen`](crate::Stats::stolen) | Packets that came to one thread and were taken by another that had time. |
//! | [`poll_times`](crate::rt::Metrics::poll_times), if [`Builder::poll_times`](crate::rt::Builder::poll_times) is on | How long polls take. Long ones hold up their own task, and use a place. |
//! | [`operations`](crate::rt::Metrics::operations), [`operations_live`](crate::Stats::operations_live) | Grows without end: sends to peers that do not read. |
//! | [`operations_rejected`](crate::Stats::operations_rejected) | Starts that were refused, at a limit or on a socket that had failed. |
//! | [`pool_bytes_held`](crate::rt::Metrics::pool_bytes_held), [`bytes_allocated`](crate::buf::PoolStats::bytes_allocated) | At the bound with nearly all [taken](crate::rt::Metrics::pool_bytes_taken): receives wait until somebody drops a buffer. |
//! | [`blocking_queued`](crate::rt::Metrics::blocking_queued) | Blocking calls that wait: raise their limit, or find out what blocks. |
//!
//! ```
//! use anyport::rt::{POLL_TIME_BOUNDS, Runtime};
//!
//! let runtime = Runtime::builder().poll_times(true).build()?;
//! runtime.block_on(async { anyport::rt::spawn(async {}).await })?;
//! let metrics = runtime.handle().metrics();
//! assert_eq!(metrics.tasks_spawned, 1);
//! // Polls of more than a millisecond.
//! let first = POLL_TIME_BOUNDS.partition_point(|&micros| micros <= 1_000);
//! let long: u64 = metrics.poll_times[first..].iter().sum();
//! assert!(long <= metrics.polls);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The sockets
//!
//! Small messages that are answered one by one want
//! [`set_nodelay`](crate::rt::net::TcpStream::set_nodelay).
//! [`TcpListener::bind`](crate::rt::net::TcpListener::bind) asks for a backlog of 4,096; Linux
//! grants no more than `net.core.somaxconn`. Each connection needs a descriptor: raise the limit
//! (`ulimit -n`) before you need it. At the limit `accept` fails with
//! [`Limit`](crate::ErrorKind::Limit): rest a moment and go on, as the examples do.
