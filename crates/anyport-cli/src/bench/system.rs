//! What the generator asks of the operating system beyond portable sockets.
//!
//! The CPU time of a thread (is it the generator that is measured?), source addresses that keep
//! their ports free, and receives that copy nothing. Each has a twin where the system differs.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::Socket;

/// CPU time that the calling thread has used so far; none where the system does not tell.
#[cfg(unix)]
pub(crate) fn thread_cpu_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the call fills.
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) } != 0 {
        return None;
    }
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// See the other one.
#[cfg(windows)]
pub(crate) fn thread_cpu_time() -> Option<Duration> {
    use windows_sys::Win32::Foundation::FILETIME;
    use windows_sys::Win32::System::Threading::{GetCurrentThread, GetThreadTimes};
    const NEVER: FILETIME = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let (mut created, mut ended, mut kernel, mut user) = (NEVER, NEVER, NEVER, NEVER);
    // SAFETY: the handle of the calling thread needs no closing; the pointers are to live values
    // that the call fills.
    let filled = unsafe {
        GetThreadTimes(GetCurrentThread(), &mut created, &mut ended, &mut kernel, &mut user)
    };
    let nanoseconds = |time: FILETIME| {
        ((u64::from(time.dwHighDateTime) << 32) | u64::from(time.dwLowDateTime)) * 100
    };
    (filled != 0).then(|| Duration::from_nanos(nanoseconds(kernel) + nanoseconds(user)))
}

/// Binds `socket` to the address of `source` and leaves the port to the connect, where the system
/// can: a port may then serve several destinations, and one that is winding down is no obstacle.
pub(crate) fn bind_source(socket: &Socket, source: SocketAddr) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::fd::AsRawFd;
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open as long as `socket` is borrowed; the pointer is to a live
        // c_int of the length given. A kernel without the option binds all the same, so the
        // result does not matter.
        let _ = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_BIND_ADDRESS_NO_PORT,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
    }
    socket.bind(&source.into())
}

/// Receives into `space` for counting only. Where the system can, the bytes are thrown away inside
/// the kernel, so that the generator costs less than the server.
pub(crate) fn receive_uncopied(
    socket: &Socket,
    space: &mut [MaybeUninit<u8>],
) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    const FLAGS: i32 = libc::MSG_TRUNC;
    #[cfg(not(target_os = "linux"))]
    const FLAGS: i32 = 0;
    socket.recv_with_flags(space, FLAGS)
}

/// Whether a connect that gave this error goes on by itself.
pub(crate) fn is_connect_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::EINPROGRESS) {
        return true;
    }
    error.kind() == io::ErrorKind::WouldBlock
}

/// What a user can do about an error of a socket or a connect; empty when nothing is known.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    #[cfg(unix)]
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
        return ": raise the limit on open files (ulimit -Hn) or ask for fewer connections";
    }
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            ": the ports of this source address are used up, or it is not this machine's: \
             give several with --source"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(unix, windows))]
    #[test]
    fn cpu_time_of_this_thread_grows_with_work() {
        let before = thread_cpu_time().expect("a clock");
        while thread_cpu_time().expect("a clock") == before {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_used_up_source_address_has_an_advice() {
        let error = io::Error::from(io::ErrorKind::AddrNotAvailable);
        assert!(advice(&error).contains("--source"));
    }
}
