//! A world as tests use it.

use super::current::{self, Current, Restore};
use super::link::Link;
use super::shared::Shared;
use super::system::{Disk, System};
use super::thread::{self, JoinHandle};
use super::threads::{Clock, Wait};
use std::fmt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A simulated network, disk and clock, that a seed determines. Clones are the same world.
///
/// ```
/// use anyport::net::{self, Socket};
/// use anyport::sim::World;
/// use anyport::{CompletionPort, OperationKind};
/// use std::time::{Duration, Instant};
///
/// World::run(7, |world| {
///     let port: CompletionPort<()> = CompletionPort::new(1).expect("a port");
///     let listener = net::listen("10.0.0.1:80".parse().expect("an address")).expect("a listener");
///     let listener = port.associate(listener, 1).expect("associated");
///     listener.accept(()).expect("started");
///     let client = port.associate(Socket::tcp_v4().expect("a socket"), 2).expect("associated");
///     client.connect(listener.local_addr().expect("bound"), ()).expect("started");
///     let kinds = [port.get(None), port.get(None)].map(|packet| packet.expect("a packet").kind);
///     assert!(kinds.contains(&OperationKind::Accept) && kinds.contains(&OperationKind::Connect));
///
///     // An hour of the world's time.
///     world.sleep(Duration::from_secs(3600));
/// });
/// ```
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

/// Set to a number, it is the only seed of [`World::check`].
const SEED_VARIABLE: &str = "ANYPORT_SIM_SEED";

/// Set to a number, it is how many seeds [`World::check`] takes.
const SEEDS_VARIABLE: &str = "ANYPORT_SIM_SEEDS";

impl World {
    /// A world whose clock is the real one: threads use it side by side, and no run is like
    /// another. To be [entered](Self::enter).
    pub fn new(seed: u64) -> Self {
        let clock = Clock::Real { since: Instant::now(), from: 0 };
        World { shared: Arc::new(Shared::new(seed, clock)) }
    }

    /// Runs `f` in a new world of this seed, whose threads take turns: the same seed gives the same
    /// run. Waits, in the world's time, for the end of all threads that were started in it, and of
    /// the engine's own: ports must be dropped.
    ///
    /// # Panics
    /// When `f` does, or a thread that nobody has joined; when no thread can go on and nothing is
    /// due. Each time the seed is printed.
    pub fn run<R>(seed: u64, f: impl FnOnce(&World) -> R) -> R {
        thread::give_turns();
        let world = World { shared: Arc::new(Shared::new(seed, Clock::Turns)) };
        let me = world.shared.with(|state| {
            let me = state.time.number();
            state.threads.add(me, "main".to_owned());
            state.threads.set_wait(me, None);
            state.threads.has_turn = Some(me);
            me
        });
        let result = {
            let shared = Arc::clone(&world.shared);
            let _place =
                current::set(Some(Current { shared, host: None, thread: Some(me), is_main: true }));
            catch_unwind(AssertUnwindSafe(|| {
                let result = f(&world);
                thread::at_end_of_thread();
                world.shared.wait(Wait::AllEnded(me), None);
                let panicked = world.shared.with(|state| state.threads.panicked.clone());
                assert!(panicked.is_empty(), "threads have panicked: {:?}", panicked.values());
                result
            }))
        };
        world.shared.with(|state| {
            let now = state.time.now();
            state.threads.let_go(now);
            state.threads.remove(me);
        });
        result.unwrap_or_else(|payload| {
            eprintln!("this was seed {seed} of a simulated world{}", how_to_repeat(seed));
            resume_unwind(payload)
        })
    }

    /// [Runs](Self::run) `f` in a world of each seed below `seeds`. With `ANYPORT_SIM_SEED` set to
    /// a number: of this seed only; with `ANYPORT_SIM_SEEDS`: of each seed below that.
    ///
    /// # Panics
    /// As `run`, at the first seed with which it does; and when a variable is no number.
    pub fn check(seeds: u64, mut f: impl FnMut(&World)) {
        let number = |name| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
        };
        match number(SEED_VARIABLE) {
            Some(seed) => Self::run(seed, &mut f),
            None => (0..number(SEEDS_VARIABLE).unwrap_or(seeds)).for_each(|s| Self::run(s, &mut f)),
        }
    }

    /// The seed that this world follows from.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// How old the world is, by its own clock.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.shared.with(|state| state.time.now()))
    }

    /// A hash over all that has happened, bytes and times: equal for equal runs.
    pub fn trace(&self) -> u64 {
        self.shared.with(|state| state.time.trace.hash())
    }

    /// How many steps have happened.
    pub fn steps(&self) -> u64 {
        self.shared.with(|state| state.time.trace.steps())
    }

    /// How many sockets are open: also connections that nobody has accepted yet, and what a port keeps
    /// until its operations are over.
    pub fn sockets(&self) -> usize {
        self.shared.with(|state| state.network.sockets())
    }

    /// The calling thread is in this world until what this gives is dropped: ports that it builds
    /// and sockets that it opens are simulated. Threads of a run are in theirs anyway.
    pub fn enter(&self) -> Entered {
        Entered(self.place(None))
    }

    /// Calls `f` with the calling thread on this host: sockets that it opens are there, as far as
    /// they are not bound elsewhere, and so are threads that it starts.
    pub fn on_host<R>(&self, host: IpAddr, f: impl FnOnce() -> R) -> R {
        let _place = self.place(Some(host));
        f()
    }

    /// Starts a thread in this world, on the host of the calling one.
    ///
    /// # Panics
    /// When the system has no thread left.
    pub fn spawn<R: Send + 'static>(
        &self,
        name: &str,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> JoinHandle<R> {
        let thread = thread::spawn_in(&self.place_on(None), name, f);
        thread.expect("the system has a thread for it")
    }

    /// Waits so long, by the world's clock.
    pub fn sleep(&self, time: Duration) {
        self.shared.sleep(time);
    }

    /// Lets another thread go first, if the seed says so.
    pub fn yield_now(&self) {
        self.shared.wait(Wait::Turn, None);
    }

    /// Sets all links, also those that were set by themselves.
    pub fn set_links(&self, link: Link) {
        self.shared.with(|state| state.network.set_all_links(link));
    }

    /// Sets the link between two hosts, in both directions.
    pub fn set_link(&self, a: IpAddr, b: IpAddr, link: Link) {
        self.shared.with(|state| state.network.set_link(a, b, link));
    }

    /// Nothing gets from one host to the other any more. Streams' bytes are held back, and fail
    /// after a minute; datagrams are lost. The other direction is a link of its own.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        self.shared.with(|state| state.network.cut(from, to));
    }

    /// The way is free again, and what was held back comes.
    pub fn mend(&self, from: IpAddr, to: IpAddr) {
        self.shared.with(|state| state.network.mend(&mut state.time, from, to));
    }

    /// The host loses power and is back at once: its connections end as by a reset, and the other
    /// ends learn of it when they send.
    pub fn lose_host(&self, host: IpAddr) {
        self.shared.with(|state| state.network.lose_host(host));
    }

    /// Sets how the system serves requests.
    pub fn set_system(&self, system: System) {
        self.shared.with(|state| state.system = system);
    }

    /// Sets how the disk serves files.
    pub fn set_disk(&self, disk: Disk) {
        self.shared.with(|state| state.disk = disk);
    }

    /// The world that the calling thread is in.
    pub fn current() -> Option<World> {
        current::get().map(|current| World { shared: current.shared })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn place(&self, host: Option<IpAddr>) -> Restore {
        current::set(Some(self.place_on(host)))
    }

    /// Where the calling thread is, or would be if it were in this world.
    fn place_on(&self, host: Option<IpAddr>) -> Current {
        let current = current::get().filter(|c| Arc::ptr_eq(&c.shared, &self.shared));
        let current = current.unwrap_or_else(|| Current {
            shared: Arc::clone(&self.shared),
            host: None,
            thread: None,
            is_main: false,
        });
        Current { host: host.or(current.host), ..current }
    }
}

/// The calling thread is in a world while this lives. Not to be dropped by another.
#[must_use = "the thread leaves the world when this is dropped"]
#[expect(dead_code, reason = "it is there for its drop")]
pub struct Entered(Restore);

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entered")
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.shared.seed).finish_non_exhaustive()
    }
}

/// The command that runs the calling test with this seed alone.
fn how_to_repeat(seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("");
    match std::env::var("CARGO_PKG_NAME") {
        Ok(package) => {
            let features = if package == "anyport" { " --features sim" } else { "" };
            format!("; again with: {SEED_VARIABLE}={seed} cargo test -p {package}{features} {test}")
        }
        Err(_) => format!("; again with: {SEED_VARIABLE}={seed}"),
    }
}
