//! What only the operating system knows about a process: its descriptor limit, its CPU time, its
//! resident memory.
//!
//! The system calls that need `unsafe` are here. Called by `main` (the limit) and by `demo` (a
//! child's CPU time and memory).
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

/// Raises the limit on open descriptors to the most that this process may have, and returns the
/// limit that then holds; none where the system has no such limit.
#[cfg(unix)]
pub(crate) fn raise_descriptor_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit that the call fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return None;
    }
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
        // SAFETY: the pointer is to a live rlimit that the call only reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            limit.rlim_cur = raised.rlim_cur;
        }
    }
    // The type is narrower on some systems.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    u64::try_from(limit.rlim_cur).ok()
}

/// See the other one: this system has no limit of this kind.
#[cfg(not(unix))]
pub(crate) fn raise_descriptor_limit() -> Option<u64> {
    None
}

/// CPU time that all threads of the process have used so far, in user and kernel mode, ended
/// threads included. Needs a process of the same user that still runs.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock = 0;
    // SAFETY: the pointer is to a live clockid_t that the call fills.
    let error = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the call fills.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// See the other one: not known on this system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn cpu_time(_pid: u32) -> io::Result<Duration> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Resident memory of the process in bytes (VmRSS); an error where the system does not tell.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    vm_rss(&status).ok_or_else(|| io::Error::other("no VmRSS: the process has ended"))
}

fn vm_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Above the most that Linux counts to.
    #[cfg(target_os = "linux")]
    const NO_PROCESS: u32 = (4 << 20) + 1;

    #[test]
    fn resident_memory_is_read_from_its_line_in_kib() {
        assert_eq!(vm_rss("Name:\tx\nVmHWM:\t   9 kB\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(vm_rss("Name:\tzombie\nState:\tZ\n"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_raised_descriptor_limit_stays_raised() {
        let first = raise_descriptor_limit().expect("a limit");
        assert!(first > 0);
        assert_eq!(raise_descriptor_limit(), Some(first));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn cpu_time_of_this_process_grows_with_work() {
        let me = std::process::id();
        let before = cpu_time(me).expect("a clock");
        while cpu_time(me).expect("a clock") == before {
            std::hint::spin_loop();
        }
        assert!(resident_bytes(me).expect("a status file") > 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_unknown_process_is_an_error() {
        assert!(cpu_time(NO_PROCESS).is_err());
        assert!(resident_bytes(NO_PROCESS).is_err());
    }
}
