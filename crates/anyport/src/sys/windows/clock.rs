//! Whether a thread runs: the cycles that it has used, and what the system says of its state.
//!
//! The watch for blocked handlers asks; a thread that waits for a core is *not* blocked, which its
//! cycles alone cannot tell. Where the system counts no cycles or tells no states (Wine), no thread
//! is said to be asleep.

use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::time::Duration;
use windows_sys::Wdk::System::SystemInformation::{
    NtQuerySystemInformation, SystemProcessInformation,
};
use windows_sys::Win32::Foundation::{STATUS_INFO_LENGTH_MISMATCH, STATUS_SUCCESS};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcessId, GetCurrentThreadId, OpenThread, THREAD_QUERY_LIMITED_INFORMATION,
};
use windows_sys::Win32::System::WindowsProgramming::{
    QueryThreadCycleTime, SYSTEM_PROCESS_INFORMATION, SYSTEM_THREAD_INFORMATION,
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

/// What another thread can find out about a thread.
pub(crate) struct ThreadWatch;

impl ThreadWatch {
    /// Who wakes is given a boost by the system itself.
    pub(crate) fn prefer_short_runs() {}

    /// Waits are as exact as the system's clock; nothing is put off beyond that.
    pub(crate) fn prefer_exact_timers() {}

    /// CPU time that the thread has used, or more: a cycle counts as a nanosecond. `None` when the
    /// system does not count, or the thread is gone.
    ///
    /// The thread *times* of the system move in steps of 16 ms, too coarse for the watch.
    pub(crate) fn cpu_time(clock: ThreadClock) -> Option<Duration> {
        // SAFETY: no pointers are passed. A number that names no thread gives no handle.
        let thread = unsafe { OpenThread(THREAD_QUERY_LIMITED_INFORMATION, 0, clock.thread_id) };
        if thread.is_null() {
            return None;
        }
        // SAFETY: the call above gave a new handle, which nobody else knows.
        let thread = unsafe { OwnedHandle::from_raw_handle(thread) };
        let mut cycles = 0;
        // SAFETY: the handle is open and the count is writable.
        let result = unsafe { QueryThreadCycleTime(thread.as_raw_handle(), &mut cycles) };
        (result != 0).then(|| Duration::from_nanos(cycles))
    }

    /// True when the thread sleeps in the kernel; false when it runs, could run, or nobody knows.
    pub(crate) fn is_asleep(clock: ThreadClock) -> bool {
        const WAITING: u32 = 5;
        state_of(clock.thread_id) == Some(WAITING)
    }
}

/// The state of a thread of this process, from the list of all.
fn state_of(thread_id: u32) -> Option<u32> {
    // SAFETY: the call has no arguments.
    let process_id = unsafe { GetCurrentProcessId() };
    let list = processes()?;
    let mut process = 0;
    loop {
        let header: SYSTEM_PROCESS_INFORMATION = read_at(&list, process)?;
        if header.UniqueProcessId as usize == process_id as usize {
            let threads = process + size_of::<SYSTEM_PROCESS_INFORMATION>();
            return (0..header.NumberOfThreads as usize).find_map(|number| {
                let place = threads + number * size_of::<SYSTEM_THREAD_INFORMATION>();
                let thread: SYSTEM_THREAD_INFORMATION = read_at(&list, place)?;
                let is_it = thread.ClientId.UniqueThread as usize == thread_id as usize;
                is_it.then_some(thread.ThreadState)
            });
        }
        match header.NextEntryOffset {
            0 => return None,
            offset => process += offset as usize,
        }
    }
}

/// All processes with their threads, as the system lists them.
fn processes() -> Option<Vec<u8>> {
    const FIRST_SIZE: usize = 512 << 10;
    const ATTEMPTS: usize = 4;
    let mut list = vec![0u8; FIRST_SIZE];
    for _ in 0..ATTEMPTS {
        let mut needed = 0;
        // SAFETY: the list is writable and as long as is said.
        let status = unsafe {
            NtQuerySystemInformation(
                SystemProcessInformation,
                list.as_mut_ptr().cast(),
                list.len() as u32,
                &mut needed,
            )
        };
        match status {
            STATUS_SUCCESS => return Some(list),
            // Room for what starts meanwhile.
            STATUS_INFO_LENGTH_MISMATCH => list.resize(needed as usize * 2, 0),
            _ => return None,
        }
    }
    None
}

/// A structure of the system at this place of the list, which need not be aligned; `None` beyond
/// its end.
fn read_at<T: Copy>(list: &[u8], place: usize) -> Option<T> {
    let bytes = list.get(place..)?.get(..size_of::<T>())?;
    // SAFETY: there are as many bytes as the structure has, and it is made of numbers and of
    // pointers that nobody follows: every pattern of bytes is one.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_runs_is_not_asleep_and_its_clock_moves() {
        let clock = ThreadClock::current();
        assert!(!ThreadWatch::is_asleep(clock));
        let Some(before) = ThreadWatch::cpu_time(clock) else {
            return println!("not run: the system counts no cycles");
        };
        let mut sum = 0u64;
        while ThreadWatch::cpu_time(clock).expect("this thread exists") == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }

    #[test]
    fn this_thread_is_in_the_list_and_one_that_ended_is_not() {
        assert!(state_of(ThreadClock::current().thread_id).is_some());
        let clock = std::thread::spawn(ThreadClock::current).join().expect("joins");
        // The system may take a moment to forget the thread after join.
        while state_of(clock.thread_id).is_some() {
            std::thread::yield_now();
        }
        assert!(ThreadWatch::cpu_time(clock).is_none());
    }

    #[test]
    fn what_is_beyond_the_list_is_not_read() {
        let list = [7u8; 12];
        assert_eq!(read_at::<u64>(&list, 4), Some(0x0707_0707_0707_0707));
        assert_eq!(read_at::<u64>(&list, 5), None);
        assert_eq!(read_at::<u64>(&list, usize::MAX), None);
    }
}
