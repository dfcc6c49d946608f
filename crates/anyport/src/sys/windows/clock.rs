//! What other threads can find out about a thread. The system tells its CPU time; it has no
//! documented way to tell whether a thread sleeps, so nothing here says that one does.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::time::Duration;
use windows_sys::Win32::Foundation::FILETIME;
use windows_sys::Win32::System::Threading::{
    GetCurrentThreadId, GetThreadTimes, OpenThread, THREAD_QUERY_LIMITED_INFORMATION,
};

/// Names the calling thread for a [`ThreadWatch`] on another thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadClock {
    thread_id: u32,
}

impl ThreadClock {
    /// The calling thread's.
    pub(crate) fn current() -> Self {
        // SAFETY: the call has no arguments and cannot fail.
        ThreadClock { thread_id: unsafe { GetCurrentThreadId() } }
    }
}

/// See the module documentation.
pub(crate) struct ThreadWatch;

impl ThreadWatch {
    /// CPU time that the thread has used, which moves in steps of up to 16 ms; `None` when the
    /// thread is gone.
    pub(crate) fn cpu_time(clock: ThreadClock) -> Option<Duration> {
        // SAFETY: no pointers are passed. A number that names no thread gives no handle.
        let thread = unsafe { OpenThread(THREAD_QUERY_LIMITED_INFORMATION, 0, clock.thread_id) };
        if thread.is_null() {
            return None;
        }
        // SAFETY: the call above gave a new handle, which nobody else knows.
        let thread = unsafe { OwnedHandle::from_raw_handle(thread) };
        let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
        // SAFETY: the handle is open and the four times are writable.
        let result = unsafe {
            GetThreadTimes(thread.as_raw_handle(), &mut created, &mut ended, &mut kernel, &mut user)
        };
        (result != 0).then(|| duration(kernel) + duration(user))
    }

    /// Never true: see the module documentation.
    pub(crate) fn is_asleep(_clock: ThreadClock) -> bool {
        false
    }
}

/// The system counts in steps of 100 ns.
fn duration(time: FILETIME) -> Duration {
    let steps = u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    Duration::from_nanos(steps.saturating_mul(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_thread_that_runs_moves() {
        let clock = ThreadClock::current();
        let before = ThreadWatch::cpu_time(clock).expect("this thread exists");
        let mut sum = 0u64;
        while ThreadWatch::cpu_time(clock).expect("this thread exists") == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
