//! Where one thread of the port waits: events that belong to it, and how it is woken.
//!
//! All lanes wait on one port. So that a wake-up reaches the thread that it is meant for, it is a
//! call queued to that thread (an APC) and not a packet, which any thread might take. Guarantees
//! that a wake-up given before a wait ends that wait. Called by `Windows`.

use super::port::Packets;
use crate::sys::Event;
use std::collections::VecDeque;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle, HANDLE};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, GetCurrentThread, QueueUserAPC};

/// See the module documentation.
#[derive(Default)]
pub(super) struct Lane {
    events: Mutex<VecDeque<Event>>,
    /// Length of `events`, written under its lock, so that looking takes none.
    event_count: AtomicUsize,
    sleep: Mutex<Sleep>,
    unparked: Condvar,
}

#[derive(Default)]
struct Sleep {
    is_woken: bool,
    /// Threads that wait on the port for this lane: one, or two for the moment in which a lane
    /// changes hands. Their handles are open for as long as they are listed.
    waiting: Vec<Waiting>,
}

struct Waiting(HANDLE);

// SAFETY: the handle of a thread means the same in every thread.
unsafe impl Send for Waiting {}

impl Lane {
    /// Adds an event; wakes nobody.
    pub(super) fn push(&self, event: Event) {
        let mut events = locked(&self.events);
        events.push_back(event);
        self.event_count.store(events.len(), Ordering::Relaxed);
    }

    /// Takes the oldest event.
    pub(super) fn pop(&self) -> Option<Event> {
        if self.event_count() == 0 {
            return None;
        }
        let mut events = locked(&self.events);
        let event = events.pop_front();
        self.event_count.store(events.len(), Ordering::Relaxed);
        event
    }

    pub(super) fn event_count(&self) -> usize {
        self.event_count.load(Ordering::Relaxed)
    }

    /// Runs `take`, an alertable wait, so that `wake` ends it; `None` when the lane was woken
    /// before.
    pub(super) fn wait(&self, take: impl FnOnce() -> Packets) -> Option<Packets> {
        // While the thread ends it has no handle kept any more, and needs another.
        let temporary;
        let thread = match THREAD.try_with(|thread| thread.as_raw_handle()) {
            Ok(thread) => thread,
            Err(_) => {
                temporary = current_thread();
                temporary.as_raw_handle()
            }
        };
        {
            let mut sleep = locked(&self.sleep);
            if std::mem::take(&mut sleep.is_woken) {
                return None;
            }
            sleep.waiting.push(Waiting(thread));
        }
        // A call that is queued before the wait begins ends it at once.
        let packets = take();
        let mut sleep = locked(&self.sleep);
        sleep.waiting.retain(|waiting| waiting.0 != thread);
        if sleep.waiting.is_empty() {
            sleep.is_woken = false;
        }
        Some(packets)
    }

    /// Waits for `wake` alone: the clerk's way.
    pub(super) fn park(&self, timeout: Option<Duration>) {
        let sleep = locked(&self.sleep);
        let must_wait = |sleep: &mut Sleep| !sleep.is_woken;
        let mut sleep = match timeout {
            None => {
                self.unparked.wait_while(sleep, must_wait).unwrap_or_else(PoisonError::into_inner)
            }
            Some(timeout) => {
                self.unparked
                    .wait_timeout_while(sleep, timeout, must_wait)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        sleep.is_woken = false;
    }

    /// Ends the current or else the next wait of the lane.
    pub(super) fn wake(&self) {
        let mut sleep = locked(&self.sleep);
        if std::mem::replace(&mut sleep.is_woken, true) {
            return;
        }
        self.unparked.notify_one();
        for waiting in &sleep.waiting {
            // SAFETY: the handle is open while it is listed, under the lock. The function does
            // nothing, in whichever alertable wait of its thread it runs.
            if unsafe { QueueUserAPC(Some(awake), waiting.0, 0) } == 0 {
                let error = std::io::Error::last_os_error();
                log::error!("cannot wake a thread of the port: {error}");
            }
        }
    }
}

/// What ends an alertable wait.
unsafe extern "system" fn awake(_: usize) {}

thread_local! {
    /// The calling thread, as other threads may name it.
    static THREAD: OwnedHandle = current_thread();
}

fn current_thread() -> OwnedHandle {
    let mut handle = std::ptr::null_mut();
    // SAFETY: the pseudo handles are always valid, and `handle` is writable.
    let result = unsafe {
        DuplicateHandle(
            GetCurrentProcess(),
            GetCurrentThread(),
            GetCurrentProcess(),
            &mut handle,
            0,
            0,
            DUPLICATE_SAME_ACCESS,
        )
    };
    assert!(result != 0, "a handle of this thread: {}", std::io::Error::last_os_error());
    // SAFETY: the call above gave a new handle, which nobody else knows.
    unsafe { OwnedHandle::from_raw_handle(handle) }
}

/// Takes a lock whose holder may have panicked: every critical section here leaves the data whole
/// at each step.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::port::Port;
    use super::*;
    use crate::sys::{Outcome, Token};
    use std::sync::Arc;

    #[test]
    fn events_come_out_in_the_order_in_which_they_went_in() {
        let lane = Lane::default();
        for index in 0..3 {
            let outcome = Outcome::Interrupted;
            lane.push(Event::last(Token::new(index, 1), outcome));
        }
        assert_eq!(lane.event_count(), 3);
        let order: Vec<u32> = std::iter::from_fn(|| lane.pop()).map(|e| e.token.index()).collect();
        assert_eq!(order, [0, 1, 2]);
    }

    #[test]
    fn a_wake_up_before_the_wait_ends_it_and_is_used_up() {
        let (port, lane) = (Port::new(1).expect("a port"), Lane::default());
        lane.wake();
        assert!(lane.wait(|| port.take(None, true)).is_none());
        assert!(lane.wait(|| port.take(Some(Duration::ZERO), true)).is_some());
        lane.wake();
        lane.park(None);
    }

    #[test]
    fn a_wake_up_reaches_the_thread_of_its_lane_among_several() {
        const ROUNDS: usize = 200;
        let port = Arc::new(Port::new(2).expect("a port"));
        let lanes: [Arc<Lane>; 2] = Default::default();
        let (sender, woken) = std::sync::mpsc::channel();
        let threads: Vec<_> = (0..2)
            .map(|number| {
                let (port, lane, sender) =
                    (Arc::clone(&port), Arc::clone(&lanes[number]), sender.clone());
                std::thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        // An early return is allowed; a wake-up of the other lane is not.
                        lane.wait(|| port.take(None, true));
                        sender.send(number).expect("heard");
                    }
                })
            })
            .collect();
        for number in (0..2).cycle().take(2 * ROUNDS) {
            lanes[number].wake();
            assert_eq!(woken.recv().expect("one wakes"), number);
        }
        for thread in threads {
            thread.join().expect("joins");
        }
    }
}
