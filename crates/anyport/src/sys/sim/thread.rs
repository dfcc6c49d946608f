//! Threads of a world: how they start and end, sleep and are parked, and what time it is for them.

use super::current::{self, Current, Restore};
use super::shared::Shared;
use super::threads::{ThreadId, Wait};
use crate::fault::turns::{self, Turns};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The cores of a world that is run, whatever the machine has: a run must not depend on that.
const CORES: usize = 2;

/// What a thread of a world does at its end, while it has the turn still: what thread-locals do
/// when a thread is gone would be outside of the run.
static ON_THREAD_END: OnceLock<fn()> = OnceLock::new();

/// Sets what each thread of a world does at its end; the first call counts.
pub(crate) fn set_on_thread_end(f: fn()) {
    let _ = ON_THREAD_END.set(f);
}

pub(super) fn at_end_of_thread() {
    if let Some(f) = ON_THREAD_END.get() {
        f();
    }
}

/// The instant that it is for the calling thread, if that has a time of its own.
pub(in crate::sys) fn now() -> Option<Instant> {
    let current = current::get()?;
    current.thread.map(|_| current.shared.now())
}

/// How many cores there are for the calling thread, if it takes turns.
pub(in crate::sys) fn cores() -> Option<usize> {
    thread_number().map(|_| CORES)
}

/// Waits so long, by the clock of the calling thread's world. False when it takes no turns.
pub(in crate::sys) fn sleep(time: Duration) -> bool {
    let Some(Current { shared, thread: Some(_), .. }) = current::get() else { return false };
    shared.sleep(time);
    true
}

/// The calling thread among those that take turns.
pub(in crate::sys) fn thread_number() -> Option<u64> {
    current::get()?.thread
}

/// True when this thread of the calling thread's world waits for something.
pub(in crate::sys) fn is_asleep(number: u64) -> bool {
    let Some(current) = current::get() else { return false };
    current.shared.with(|state| state.threads.is_asleep(number))
}

/// Lets another thread of the world go first, if the seed says so: now and then. The caller holds
/// no lock but latches, which pass the turn on where they are waited for.
pub(in crate::sys) fn hand_over() {
    if let Some(Current { shared, thread: Some(_), .. }) = current::get()
        && shared.with(|state| state.time.random.chance(state.system.hand_over))
    {
        shared.wait(Wait::Turn, None);
    }
}

/// Lets another thread of the world go first. False when the calling one takes no turns.
fn pass_on() -> bool {
    let Some(Current { shared, thread: Some(_), .. }) = current::get() else { return false };
    let takes_turns = shared.with(|state| state.threads.takes_turns());
    if takes_turns {
        shared.wait(Wait::Turn, None);
    }
    takes_turns
}

/// From now on latches and fault points pass turns on.
pub(super) fn give_turns() {
    turns::set(Turns { reach: hand_over, pass_on });
}

/// How a thread that takes turns is parked.
pub(in crate::sys) struct Parking {
    shared: Arc<Shared>,
    key: u64,
}

impl Parking {
    /// Of the calling thread, if it takes turns.
    pub(in crate::sys) fn of_caller() -> Option<Self> {
        let Current { shared, thread: Some(_), .. } = current::get()? else { return None };
        let key = shared.with(|state| state.time.number());
        Some(Parking { shared, key })
    }

    /// Waits until `unpark` or the deadline; an `unpark` that came before counts.
    pub(in crate::sys) fn park(&self, deadline: Option<Instant>) {
        let deadline = deadline
            .map(|at| super::random::nanoseconds(at.saturating_duration_since(self.shared.start)));
        self.shared.wait(Wait::Unparked(self.key), deadline);
        self.shared.with(|state| state.threads.take_unparked(self.key));
    }

    pub(in crate::sys) fn unpark(&self) {
        self.shared.with(|state| {
            state.threads.unpark(self.key);
            state.has_changed = true;
        });
    }
}

impl fmt::Debug for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        // One that came too late would stay for as long as the world.
        self.shared.with(|state| state.threads.take_unparked(self.key));
    }
}

/// A host of a world, or none in particular, for other threads to be there.
#[derive(Clone)]
pub(in crate::sys) struct Place {
    shared: Arc<Shared>,
    host: Option<IpAddr>,
}

impl Place {
    /// Where the calling thread is, if it is in a world.
    pub(in crate::sys) fn of_caller() -> Option<Self> {
        current::get().map(|Current { shared, host, .. }| Place { shared, host })
    }

    /// Moves the calling thread there, unless it is in another world.
    pub(in crate::sys) fn enter(&self) -> Option<Restore> {
        let to = match current::get() {
            None => Current {
                shared: Arc::clone(&self.shared),
                host: self.host,
                thread: None,
                is_main: false,
            },
            Some(current) if Arc::ptr_eq(&current.shared, &self.shared) => {
                Current { host: self.host.or(current.host), ..current }
            }
            Some(_) => return None,
        };
        Some(current::set(Some(to)))
    }
}

/// Starts a thread in the world and on the host of the calling one.
///
/// # Errors
/// `f`, when the calling thread is in no world.
pub(in crate::sys) fn spawn<R: Send + 'static, F: FnOnce() -> R + Send + 'static>(
    name: &str,
    f: F,
) -> Result<io::Result<JoinHandle<R>>, F> {
    match current::get() {
        Some(current) => Ok(spawn_in(&current, name, f)),
        None => Err(f),
    }
}

pub(super) fn spawn_in<R: Send + 'static>(
    current: &Current,
    name: &str,
    f: impl FnOnce() -> R + Send + 'static,
) -> io::Result<JoinHandle<R>> {
    let shared = Arc::clone(&current.shared);
    let takes_turns = current.thread.is_some();
    let id = shared.with(|state| {
        let id = state.time.number();
        if takes_turns {
            state.threads.add(id, name.to_owned());
        }
        id
    });
    let place = Current { thread: takes_turns.then_some(id), is_main: false, ..current.clone() };
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let shared = Arc::clone(&place.shared);
        let _place = current::set(Some(place));
        if !takes_turns {
            return f();
        }
        shared.wait_for_first_turn(id);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = f();
            at_end_of_thread();
            result
        }));
        if result.is_err() {
            at_end_of_thread();
        }
        shared.leave(id, result.is_err());
        result.unwrap_or_else(|payload| resume_unwind(payload))
    });
    match spawned {
        Ok(thread) => Ok(JoinHandle { shared, id: takes_turns.then_some(id), thread }),
        Err(e) => {
            shared.with(|state| state.threads.remove(id));
            Err(e)
        }
    }
}

/// A thread of a [`World`](super::World), as [`std::thread::JoinHandle`].
pub struct JoinHandle<R> {
    shared: Arc<Shared>,
    id: Option<ThreadId>,
    thread: thread::JoinHandle<R>,
}

impl<R> JoinHandle<R> {
    /// The thread.
    pub fn thread(&self) -> &thread::Thread {
        self.thread.thread()
    }

    /// Waits for the thread's end.
    ///
    /// # Errors
    /// What the thread panicked with.
    pub fn join(self) -> thread::Result<R> {
        if let Some(id) = self.id {
            self.shared.wait(Wait::Ended(id), None);
            self.shared.with(|state| state.threads.panicked.remove(&id));
        }
        // What it does after it has left the world is short and waits for nobody.
        self.thread.join()
    }
}

impl<R> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("thread", self.thread.thread()).finish_non_exhaustive()
    }
}
