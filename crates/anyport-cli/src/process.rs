//! What only the operating system knows about a process: its descriptor limit, its CPU time, its
//! resident memory.
//!
//! The system calls that need `unsafe` are here. Called by `main` (the limit) and by `demo` (a
//! child's CPU time and memory).
#![allow(unsafe_code)]

use std::io;
#[cfg(windows)]
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
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

/// See the other one.
#[cfg(windows)]
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    use windows_sys::Win32::Foundation::FILETIME;
    use windows_sys::Win32::System::Threading::GetProcessTimes;
    // The system counts in steps of 100 ns.
    let duration = |time: FILETIME| {
        let steps = u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
        Duration::from_nanos(steps.saturating_mul(100))
    };
    let process = windows_process(pid)?;
    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    let handle = process.as_raw_handle();
    // SAFETY: the handle is open and the four times are writable.
    let result =
        unsafe { GetProcessTimes(handle, &mut created, &mut ended, &mut kernel, &mut user) };
    if result == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(duration(kernel) + duration(user))
}

/// See the other one: not known on this system.
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
pub(crate) fn cpu_time(_pid: u32) -> io::Result<Duration> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Resident memory of the process in bytes (the working set).
#[cfg(windows)]
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    use windows_sys::Win32::System::ProcessStatus::{
        K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS,
    };
    let process = windows_process(pid)?;
    let mut counters = PROCESS_MEMORY_COUNTERS::default();
    let size = u32::try_from(size_of_val(&counters)).map_err(io::Error::other)?;
    // SAFETY: the handle is open, and the counters are writable and as large as is said.
    match unsafe { K32GetProcessMemoryInfo(process.as_raw_handle(), &mut counters, size) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(counters.WorkingSetSize as u64),
    }
}

/// The process, to be asked about.
#[cfg(windows)]
fn windows_process(pid: u32) -> io::Result<OwnedHandle> {
    use windows_sys::Win32::System::Threading::{
        OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_VM_READ,
    };
    let access = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_VM_READ;
    // SAFETY: no pointers are passed. A number that names no process gives no handle.
    let process = unsafe { OpenProcess(access, 0, pid) };
    if process.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above gave a new handle, which nobody else knows.
    Ok(unsafe { OwnedHandle::from_raw_handle(process) })
}

/// Resident memory of the process in bytes (VmRSS); an error where the system does not tell.
#[cfg(not(windows))]
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    vm_rss(&status).ok_or_else(|| io::Error::other("no VmRSS: the process has ended"))
}

#[cfg(not(windows))]
fn vm_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Above the most that Linux counts to; Windows has only even numbers.
    #[cfg(any(target_os = "linux", windows))]
    const NO_PROCESS: u32 = (4 << 20) + 1;

    #[cfg(not(windows))]
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

    #[cfg(any(target_os = "linux", windows))]
    #[test]
    fn cpu_time_of_this_process_grows_with_work() {
        let me = std::process::id();
        let before = cpu_time(me).expect("a clock");
        while cpu_time(me).expect("a clock") == before {
            std::hint::spin_loop();
        }
        assert!(resident_bytes(me).expect("it is told") > 0);
    }

    #[cfg(any(target_os = "linux", windows))]
    #[test]
    fn an_unknown_process_is_an_error() {
        assert!(cpu_time(NO_PROCESS).is_err());
        assert!(resident_bytes(NO_PROCESS).is_err());
    }
}
