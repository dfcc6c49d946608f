//! Blocking: what happens when a handler or a task blocks, and what to do about it.
//!
//! # The concurrency value
//!
//! A port has more threads than it lets run. The *concurrency value* says how many may run at a
//! time: by default as many as there are cores that the process may use. A
//! [`WorkerPool`](crate::WorkerPool) and a [`Runtime`](crate::rt::Runtime) have twice as many
//! threads. The others wait, and the last one that began to wait is the first to go on.
//!
//! A thread that waits for something other than the port, such as a lock, a disk, a name server or
//! `sleep`, needs no core. Then a waiting thread *stands in*: it takes the place of the one that
//! blocks, and with it the packets. When the blocked one is back there may be one more running for
//! a moment; it is held back at its next packet.
//!
//! # Who notices
//!
//! * **You say so.** [`CompletionPort::blocking`](crate::CompletionPort::blocking) and
//!   [`Worker::blocking`](crate::Worker::blocking) run a closure that may block, and free the place
//!   at once. On every system. In a task [`rt::blocking`](fn@crate::rt::blocking) does that, and so
//!   does [`Handle::block_on`](crate::rt::Handle::block_on) while it waits.
//! * **Nobody says so, on Linux.** The engine's own thread looks at those that run. One that has
//!   been in the same handler since its last look, whose CPU clock stands still and which the
//!   system calls asleep, is blocked. That takes four to eight milliseconds; about 20 where nothing
//!   had changed for a while. The first that is found makes it look more often: for a quarter of a
//!   second most are found within a quarter of a millisecond, then for ten seconds, as in the first ten
//!   of a port, within two.
//! * **Nobody says so, elsewhere.** On Windows the same is done with other calls (no test has shown
//!   it there yet). On other Unixes nobody notices: say so.
//!
//! A handler that *computes* keeps its place: it uses the core that the place stands for. Others go
//! on as long as there are places.
//!
//! Where nobody is left to stand in, packets wait until a thread is back. What was started goes on all
//! the same: large sends, and what stands in line on a handle.
//!
//! ```
//! use anyport::rt::{Runtime, net::TcpStream};
//! use std::io::Write;
//! use std::sync::mpsc;
//!
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! // One runs at a time, another can stand in.
//! let runtime = Runtime::builder().concurrency(1).workers(2).build()?;
//! let mut stream = runtime.block_on(TcpStream::connect(address))?;
//! let (other, waits) = mpsc::channel();
//! let blocked = runtime.spawn(async move {
//!     // Blocks its thread, with what any other library offers.
//!     # #[cfg(target_os = "linux")]
//!     waits.recv().expect("the other task sends");
//! });
//! let receiver = runtime.spawn(async move {
//!     let came = stream.recv().await;
//!     let _ = other.send(());
//!     came
//! });
//! listener.accept()?.0.write_all(b"hello")?;
//! runtime.block_on(async {
//!     assert_eq!(receiver.await?.expect("bytes").as_slice(), b"hello");
//!     blocked.await
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What becomes of what it has started
//!
//! With io_uring each thread has a ring that only it submits to. What a thread prepared before it
//! blocked, and the receives that it has under way, would wait for it. So others *take over*: they
//! submit the one, and start the other again on their own rings, in order and without losing a
//! byte. An idle thread does so for a neighbour that has not moved for a quarter of a millisecond.
//! [`Stats::blocked`](crate::Stats::blocked) and
//! [`Metrics::stand_ins`](crate::rt::Metrics::stand_ins) count threads that gave their place away,
//! [`Stats::stolen`](crate::Stats::stolen) and [`Metrics::steals`](crate::rt::Metrics::steals)
//! packets that another thread took.
//!
//! The packets of one receive stream are handed out one at a time. So while its handler blocks,
//! *that* connection waits, and no other. A task that blocks holds up itself, and whoever waits for
//! it.
//!
//! # How many may block
//!
//! As many as there are threads beyond those that are to run. With 4 threads and a concurrency
//! value of 2, two may block and two still run; when all four block, everything waits, also if they
//! have said so. Where more calls block, or block for long:
//!
//! * [`rt::spawn_blocking`](crate::rt::spawn_blocking) runs a closure on a thread of a pool for
//!   such calls, 512 at most, which are started when they are needed. It costs a thread switch
//!   there and back, and works alike on every system. Opening a file, asking for its length and
//!   looking up a host go that way by themselves.
//! * [`WorkerPoolBuilder::threads`](crate::WorkerPoolBuilder::threads) and
//!   [`Builder::workers`](crate::rt::Builder::workers): more threads. On io_uring those beyond
//!   twice the concurrency value have no ring of their own and cost a little more.
//!
//! # Locks
//!
//! A short lock is no blocking call: it is free before anybody has looked twice, 50 us apart. But do
//! not hold one across `blocking`, or across a call that does block. Others will wait for it in their
//! handlers, be found blocked as well, and use up the threads.
//!
//! # What it costs
//!
//! While at least one other thread could take a place the engine looks at those that run every
//! millisecond; a look costs as much as a packet or two. When nothing changes it looks more seldom,
//! and an idle port is not looked at at all: it makes no system call. What a handler that stalls
//! does to the latency of the others was measured; the figures are in the README, beside those of
//! others.
