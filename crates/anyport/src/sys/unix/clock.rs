//! Whether a thread runs: its CPU clock, and what the system says of its state.
//!
//! The watch for blocked handlers asks; a thread that waits for a core is *not* blocked, which its
//! CPU clock alone cannot tell, so on Linux the state is asked for as well.

use std::time::Duration;

/// Names the calling thread for a [`ThreadWatch`] on another thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadClock {
    #[cfg(target_os = "linux")]
    thread_id: libc::pid_t,
    #[cfg(not(target_os = "linux"))]
    thread: usize,
}

impl ThreadClock {
    /// The calling thread's.
    pub(crate) fn current() -> Self {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: gettid has no arguments and cannot fail.
            ThreadClock { thread_id: unsafe { libc::gettid() } }
        }
        #[cfg(not(target_os = "linux"))]
        {
            ThreadClock { thread: 0 }
        }
    }
}

/// What another thread can find out about a thread.
pub(crate) struct ThreadWatch;

impl ThreadWatch {
    /// Asks the scheduler to let the calling thread run soon after it wakes, in turn for short runs:
    /// for a thread that mostly sleeps. Linux from 6.12 on lets who asks for a shorter run go before
    /// a longer one (kernel/sched/fair.c, `PREEMPT_SHORT`); elsewhere nothing changes.
    pub(crate) fn prefer_short_runs() {
        #[cfg(target_os = "linux")]
        {
            // The layout of `struct sched_attr`, its first version; from 0.1 to 100 ms are taken.
            const SIZE: u32 = 48;
            const SHORT_RUN_NS: u64 = 100_000;
            #[repr(C)]
            #[derive(Default)]
            struct SchedAttr {
                size: u32,
                policy: u32,
                flags: u64,
                nice: i32,
                priority: u32,
                runtime: u64,
                deadline: u64,
                period: u64,
            }
            let mut attributes = SchedAttr::default();
            // SAFETY: the kernel writes at most `SIZE` bytes, the size of the structure, and reads
            // as many. A refusal changes nothing.
            unsafe {
                if libc::syscall(libc::SYS_sched_getattr, 0, &mut attributes, SIZE, 0) == 0
                    && attributes.policy == libc::SCHED_OTHER as u32
                {
                    attributes.size = SIZE;
                    attributes.runtime = SHORT_RUN_NS;
                    libc::syscall(libc::SYS_sched_setattr, 0, &attributes, 0);
                }
            }
        }
    }

    /// Asks for timers of the calling thread that are not put off to go together with others: by
    /// default Linux adds up to 50 us to every wait (timerslack, prctl(2)), waits for completions of
    /// a ring among them.
    pub(crate) fn prefer_exact_timers() {
        // SAFETY: no pointers; a refusal changes nothing.
        #[cfg(target_os = "linux")]
        unsafe {
            libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong);
        }
    }

    /// CPU time that the thread has used; `None` where the system does not tell, or the thread is
    /// gone.
    pub(crate) fn cpu_time(clock: ThreadClock) -> Option<Duration> {
        #[cfg(target_os = "linux")]
        {
            // The kernel's encoding of "the CPU clock of thread N" (CPUCLOCK_PERTHREAD_MASK 4,
            // CPUCLOCK_SCHED 2): asking by number, an ended thread is an error and not a crash.
            let id = (!clock.thread_id << 3) | 4 | 2;
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: `now` is a valid timespec to write to.
            let result = unsafe { libc::clock_gettime(id, &mut now) };
            (result == 0).then(|| Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = clock;
            None
        }
    }

    /// True when the thread sleeps in the kernel; false when it runs, could run, or nobody knows.
    pub(crate) fn is_asleep(clock: ThreadClock) -> bool {
        #[cfg(target_os = "linux")]
        {
            use std::io::Read;
            let path = format!("/proc/self/task/{}/stat", clock.thread_id);
            let mut text = [0u8; 512];
            let Ok(mut file) = std::fs::File::open(path) else {
                return false;
            };
            let Ok(n) = file.read(&mut text) else {
                return false;
            };
            // "tid (name) S …": the name may hold anything, so look behind the last bracket.
            let text = &text[..n];
            let Some(end) = text.iter().rposition(|&b| b == b')') else {
                return false;
            };
            matches!(text.get(end + 2), Some(b'S' | b'D' | b'T' | b't'))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = clock.thread;
            false
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_runs_is_not_asleep_and_its_clock_moves() {
        let clock = ThreadClock::current();
        assert!(!ThreadWatch::is_asleep(clock));
        let before = ThreadWatch::cpu_time(clock).expect("this thread exists");
        let mut sum = 0u64;
        while ThreadWatch::cpu_time(clock).expect("this thread exists") == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }

    #[test]
    fn a_thread_that_ended_has_no_clock() {
        let clock = std::thread::spawn(ThreadClock::current).join().expect("joins");
        // The kernel may take a moment to forget the thread after join.
        while ThreadWatch::cpu_time(clock).is_some() {
            std::thread::yield_now();
        }
    }
}
