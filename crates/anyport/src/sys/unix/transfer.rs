//! The two calls that move a message's bytes, as directly as they can be made.
//!
//! glibc lets a thread be cancelled in its `recv` and `send`, and takes an atomic step before and
//! after each for it, which together cost 3 % of the CPU time of a 64-byte echo. On Linux the calls
//! are made by number instead, which is no such place; elsewhere the library's are all there is.

use libc::{c_int, c_void};
use std::os::fd::RawFd;

/// The flag by which a send to who has gone raises no signal. Apple's systems have a socket option
/// instead, which is set when the socket is attached.
#[cfg(target_vendor = "apple")]
pub(in crate::sys) const NO_SIGNAL: c_int = 0;
#[cfg(not(target_vendor = "apple"))]
pub(in crate::sys) const NO_SIGNAL: c_int = libc::MSG_NOSIGNAL;

/// As `recv(2)`: the bytes received, or -1 with the reason in `errno`.
///
/// # Safety
/// `len` bytes at `to` are valid for writes, and nobody else accesses them.
pub(in crate::sys) unsafe fn receive(
    fd: RawFd,
    to: *mut c_void,
    len: usize,
    flags: c_int,
) -> isize {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    // SAFETY: the call writes at most `len` bytes at `to`; it is told of no place for an address.
    unsafe {
        let nowhere = std::ptr::null_mut::<c_void>();
        libc::syscall(libc::SYS_recvfrom, fd, to, len, flags, nowhere, nowhere) as isize
    }
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    // SAFETY: the caller's promise.
    unsafe {
        libc::recv(fd, to, len, flags)
    }
}

/// As `send(2)`: the bytes sent, or -1 with the reason in `errno`.
///
/// # Safety
/// `len` bytes at `from` are valid for reads.
pub(in crate::sys) unsafe fn send(
    fd: RawFd,
    from: *const c_void,
    len: usize,
    flags: c_int,
) -> isize {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    // SAFETY: the call reads at most `len` bytes at `from`, and no address.
    unsafe {
        let nobody = std::ptr::null::<c_void>();
        libc::syscall(libc::SYS_sendto, fd, from, len, flags, nobody, 0) as isize
    }
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    // SAFETY: the caller's promise.
    unsafe {
        libc::send(fd, from, len, flags)
    }
}
