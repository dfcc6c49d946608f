//! Threads as the engine starts, parks and watches them, where they are, and the time that it is
//! for them: the system's, or a simulated world's.

use super::system::clock;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time, for the calling thread.
#[inline]
pub(crate) fn now() -> Instant {
    #[cfg(feature = "sim")]
    if let Some(now) = super::sim::now() {
        return now;
    }
    Instant::now()
}

/// Lets another thread go first where threads take turns: called where no lock is held. Elsewhere
/// nothing.
#[inline]
pub(crate) fn hand_over() {
    #[cfg(feature = "sim")]
    super::sim::hand_over();
}

/// Lets another thread go first, for who waits for what that one is about to do.
pub(crate) fn yield_now() {
    #[cfg(feature = "sim")]
    if crate::fault::turns::pass_on() {
        return;
    }
    std::thread::yield_now();
}

/// Waits so long.
pub(crate) fn sleep(time: Duration) {
    #[cfg(feature = "sim")]
    if super::sim::sleep(time) {
        return;
    }
    std::thread::sleep(time);
}

/// How many threads can run at a time: the cores that the process may use or, for threads that take
/// turns, as many on every machine.
pub(crate) fn cores() -> usize {
    #[cfg(feature = "sim")]
    if let Some(cores) = super::sim::cores() {
        return cores;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The calling thread's number among those that take turns, the same in each run of a seed. `None`
/// for all others.
pub(crate) fn turn_number() -> Option<u64> {
    #[cfg(feature = "sim")]
    return super::sim::thread_number();
    #[cfg(not(feature = "sim"))]
    None
}

/// Where a thread is: on a host of a simulated world or, as most, in none.
#[derive(Clone)]
pub(crate) struct Place {
    #[cfg(feature = "sim")]
    simulated: Option<super::sim::Place>,
}

impl Place {
    /// Where the calling thread is.
    pub(crate) fn of_caller() -> Self {
        Place {
            #[cfg(feature = "sim")]
            simulated: super::sim::Place::of_caller(),
        }
    }

    /// The calling thread is there as well until what this gives is dropped, unless it is in another
    /// world.
    pub(crate) fn enter(&self) -> InPlace {
        InPlace {
            #[cfg(feature = "sim")]
            _restore: self.simulated.as_ref().and_then(super::sim::Place::enter),
        }
    }
}

/// See [`Place::enter`]. To be dropped by the thread that has entered, in the reverse order.
pub(crate) struct InPlace {
    #[cfg(feature = "sim")]
    _restore: Option<super::sim::Restore>,
}

/// A thread that the engine has started.
#[derive(Debug)]
pub(crate) struct Thread(Kind);

#[derive(Debug)]
enum Kind {
    System(std::thread::JoinHandle<()>),
    #[cfg(feature = "sim")]
    Simulated(super::sim::JoinHandle<()>),
}

/// Starts a thread, in the simulated world and on the host of the calling one, if that is in one.
pub(crate) fn spawn(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
    #[cfg(feature = "sim")]
    let f = match super::sim::spawn(name, f) {
        Ok(thread) => return thread.map(|thread| Thread(Kind::Simulated(thread))),
        Err(f) => f,
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(f)?;
    Ok(Thread(Kind::System(thread)))
}

impl Thread {
    /// True for the calling thread.
    pub(crate) fn is_current(&self) -> bool {
        let id = match &self.0 {
            Kind::System(thread) => thread.thread().id(),
            #[cfg(feature = "sim")]
            Kind::Simulated(thread) => thread.thread().id(),
        };
        id == std::thread::current().id()
    }

    /// Waits for the thread's end.
    ///
    /// # Errors
    /// What it panicked with.
    pub(crate) fn join(self) -> std::thread::Result<()> {
        match self.0 {
            Kind::System(thread) => thread.join(),
            #[cfg(feature = "sim")]
            Kind::Simulated(thread) => thread.join(),
        }
    }
}

/// Where one thread sleeps until another wakes it.
pub(crate) struct Parker {
    token: Mutex<bool>,
    unparked: Condvar,
    #[cfg(feature = "sim")]
    simulated: Option<super::sim::Parking>,
}

impl Parker {
    /// Of the calling thread, or of one that it starts.
    pub(crate) fn new() -> Self {
        Parker {
            token: Mutex::new(false),
            unparked: Condvar::new(),
            #[cfg(feature = "sim")]
            simulated: super::sim::Parking::of_caller(),
        }
    }

    /// Waits until `unpark` or the deadline; an `unpark` that came before counts.
    pub(crate) fn park(&self, deadline: Option<Instant>) {
        #[cfg(feature = "sim")]
        if let Some(parking) = &self.simulated {
            return parking.park(deadline);
        }
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        while !*token {
            token = match deadline {
                None => self.unparked.wait(token).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return;
                    }
                    let waited = self.unparked.wait_timeout(token, deadline - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *token = false;
    }

    pub(crate) fn unpark(&self) {
        #[cfg(feature = "sim")]
        if let Some(parking) = &self.simulated {
            return parking.unpark();
        }
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.unparked.notify_one();
    }
}

impl std::fmt::Debug for Parker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parker").finish_non_exhaustive()
    }
}

/// Names the calling thread for a [`ThreadWatch`] on another thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadClock {
    system: clock::ThreadClock,
    /// Among the threads that take turns.
    #[cfg(feature = "sim")]
    number: Option<u64>,
}

impl ThreadClock {
    /// The calling thread's.
    pub(crate) fn current() -> Self {
        ThreadClock {
            system: clock::ThreadClock::current(),
            #[cfg(feature = "sim")]
            number: super::sim::thread_number(),
        }
    }
}

/// What another thread can find out about a thread.
pub(crate) struct ThreadWatch;

impl ThreadWatch {
    /// See the system's.
    pub(crate) fn prefer_short_runs() {
        clock::ThreadWatch::prefer_short_runs();
    }

    /// See the system's.
    pub(crate) fn prefer_exact_timers() {
        clock::ThreadWatch::prefer_exact_timers();
    }

    /// CPU time that the thread has used; `None` where the system does not tell, or the thread is
    /// gone. A thread that takes turns uses none.
    pub(crate) fn cpu_time(clock: ThreadClock) -> Option<Duration> {
        #[cfg(feature = "sim")]
        if clock.number.is_some() {
            return Some(Duration::ZERO);
        }
        clock::ThreadWatch::cpu_time(clock.system)
    }

    /// True when the thread sleeps; false when it runs, could run, or nobody knows.
    pub(crate) fn is_asleep(clock: ThreadClock) -> bool {
        #[cfg(feature = "sim")]
        if let Some(number) = clock.number {
            return super::sim::is_asleep(number);
        }
        clock::ThreadWatch::is_asleep(clock.system)
    }
}
