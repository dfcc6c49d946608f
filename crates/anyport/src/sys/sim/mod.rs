//! The simulated backend: a seeded network and disk with a clock of their own, for tests.
//!
//! # What a world is
//!
//! A [`World`] is a seed and what follows from it: a clock, a network, a disk, the system that
//! serves requests, and the threads that run in it. Everything is in one state behind one lock
//! (`state.rs`), moved by one timeline (`timeline.rs`), which has the clock, the seeded choices,
//! what is due and when, and a hash over all that happened. Nothing in there depends on addresses
//! of memory, on the order of a hash table or on real time, so the same seed gives the same run, to
//! the byte.
//!
//! * **Hosts** are IP addresses; any address will do, and each has all ports (`network/`).
//! * **Links** between hosts have a latency from a range, segments, a window, losses and resets
//!   (`link.rs`). Each direction of each connection goes by itself, so connections overtake each
//!   other; a stream's segments do too, and are put in order at their end. A link can be cut and
//!   mended; a host can be lost, which leaves its connections half-open.
//! * **The system** takes a request, begins with it a little later, and tells of its end a little
//!   later still (`requests.rs`, `lanes.rs`): there a cancel comes too late. It interrupts now and
//!   then, ends streams by itself, wakes threads for nothing, and moves less than it could.
//! * **The disk** is slow, short of room or failing (`disk.rs`). What files hold is the real
//!   system's.
//!
//! # How a port gets there
//!
//! A port is built inside of a world: by [`PortBuilder::simulated`](crate::PortBuilder::simulated), or by a thread that is in one.
//! No environment variable leads there. Sockets that such a thread opens are simulated as well, by
//! the ordinary calls of [`net`](crate::net), and a simulated port takes no others. `Backend::Sim`
//! (`port.rs`) serves a lane for each seat and the clerk's, as plain rings are: whatever comes to a
//! lane waits there for its thread, or for one that steals; in every other port, by the seed, what
//! is asked of a lane stays there until it is flushed.
//!
//! # The runtime
//!
//! A [`Runtime`](crate::rt::Runtime) that is built by a thread of a world is in it, on that thread's
//! host: its workers, the thread of its timers and those for blocking calls are threads of the world,
//! its timers go by the world's clock, and so do all its waits. A thread that enters the runtime
//! (`block_on`, [`Handle::enter`](crate::rt::Handle::enter)) is on that host meanwhile.
//!
//! ```
//! use anyport::rt::{self, Runtime, net::TcpListener, net::TcpStream, time};
//! use anyport::sim::World;
//! use std::time::Duration;
//!
//! World::run(1, |world| {
//!     let runtime = Runtime::builder().workers(2).build().expect("a runtime");
//!     runtime.block_on(async {
//!         let listener = TcpListener::bind("10.0.0.1:80").await.expect("a listener");
//!         let server = rt::spawn(async move {
//!             let (mut stream, _) = listener.accept().await.expect("a connection");
//!             time::sleep(Duration::from_secs(3600)).await;
//!             stream.send(b"an hour later").await
//!         });
//!         let mut stream = TcpStream::connect("10.0.0.1:80").await.expect("connected");
//!         assert_eq!(stream.recv().await.expect("it comes").as_slice(), b"an hour later");
//!         server.await.expect("no panic").expect("handed over");
//!     });
//!     assert!(world.now() >= Duration::from_secs(3600));
//! });
//! ```
//!
//! Tasks ask [`rt::time::now`](crate::rt::time::now) for the time: `Instant::now` is the real one. In
//! the runtime's own code there are places as well where the turn is passed on (`turn_point`).
//!
//! # How time moves
//!
//! In a world that is *run* ([`World::run`]) the clock stands while a thread has the turn, and moves
//! when it passes the turn on: a little, or, when no thread can go on, to the next thing that is
//! due. An hour of waiting takes no time. In a world that is only *made* ([`World::new`]) the clock
//! is the real one, and real threads use it side by side: the same network and the same choices,
//! but no run twice. That is how the conformance tests run on it.
//!
//! # How threads are scheduled
//!
//! `threads.rs`: exactly one thread of a run has the turn. It keeps it until it waits: on its lane,
//! parked, for a time, for a simulated stream, for a thread's end. Beside that it passes
//! it on, now and then, at each fault point of the engine (`fault/mod.rs`), between two steps that
//! another thread's may come between, even with a latch held: whoever waits for the latch passes
//! the turn on in turn. The seed chooses when, and who is next. A thread that sleeps in a handler is asleep to the
//! clerk as well, so stuck owners and their stand-ins are part of the run. Threads are real ones,
//! started through the world (or by the engine itself: the clerk, the workers of a pool).
//!
//! A world that is run has two cores, whatever the machine has: where a number of threads follows
//! from that of the cores, it is the same everywhere.
//!
//! # What stays real
//!
//! Memory, files' content, socket options (kept, without effect), threads and their locks. Two
//! threads that wait for each other by means that the world does not know (a channel, a mutex held
//! across a wait) stop the run for good.
//!
//! Signals come to the process, and no world has them. Nor has one names of hosts: they are asked for
//! at the system, in real time, while the whole run waits. Addresses need nobody and are the same
//! everywhere.

mod code;
mod current;
mod disk;
mod lanes;
mod link;
mod network;
mod peer;
mod port;
mod random;
mod requests;
mod shared;
mod socket;
mod state;
mod system;
mod thread;
mod threads;
mod timeline;
mod world;

pub use link::Link;
pub use peer::{Datagrams, Listener, Stream};
pub use system::{Disk, System};
pub use thread::JoinHandle;
pub use world::{Entered, World};

pub(super) use current::Restore;
pub(super) use port::Sim;
pub(super) use socket::{Handle, open};
pub(crate) use thread::set_on_thread_end;
pub(super) use thread::{
    Parking, Place, cores, hand_over, is_asleep, now, sleep, spawn, thread_number,
};
