//! The system's completion port: handles in, packets out.
//!
//! Guarantees that no wait is shorter than asked for because of rounding. Called by `Windows`.

use crate::error::Error;
use crate::sys::error_from_io;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null_mut;
use std::time::Duration;
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED, OVERLAPPED_ENTRY,
    PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::Threading::INFINITE;

/// Packets that one call takes: few enough that others find something to take as well.
const BATCH: usize = 32;

/// The handle of a port.
pub(super) struct Port {
    handle: OwnedHandle,
}

impl Port {
    /// A port that lets `concurrency` of its threads run.
    pub(super) fn new(concurrency: usize) -> Result<Self, Error> {
        let concurrency = u32::try_from(concurrency).unwrap_or(u32::MAX);
        // SAFETY: no existing handle and no port are named.
        let handle =
            unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, null_mut(), 0, concurrency) };
        if handle.is_null() {
            return Err(error_from_io(&io::Error::last_os_error(), "create a completion port"));
        }
        // SAFETY: the call above gave a new handle, which nobody else knows.
        Ok(Port { handle: unsafe { OwnedHandle::from_raw_handle(handle) } })
    }

    /// Packets of this handle's operations come to the port, with this key, for as long as the
    /// open object lives.
    pub(super) fn associate(&self, handle: HANDLE, key: usize) -> io::Result<()> {
        // SAFETY: the port is open; a handle that is not is reported as an error.
        let port = unsafe { CreateIoCompletionPort(handle, self.handle.as_raw_handle(), key, 0) };
        if port.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Queues a packet.
    pub(super) fn post(&self, key: usize, overlapped: *mut OVERLAPPED) -> io::Result<()> {
        // SAFETY: the port is open; the system only carries the pointer.
        let result =
            unsafe { PostQueuedCompletionStatus(self.handle.as_raw_handle(), 0, key, overlapped) };
        if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes some packets, after waiting for the first; none when the time is over or, where the
    /// wait is alertable, a call was queued to the thread.
    pub(super) fn take(&self, timeout: Option<Duration>, is_alertable: bool) -> Packets {
        let mut packets = Packets { entries: [NO_PACKET; BATCH], count: 0, next: 0 };
        // SAFETY: the entries are writable, and as many as said.
        let result = unsafe {
            GetQueuedCompletionStatusEx(
                self.handle.as_raw_handle(),
                packets.entries.as_mut_ptr(),
                BATCH as u32,
                &mut packets.count,
                milliseconds(timeout),
                i32::from(is_alertable),
            )
        };
        if result == 0 {
            // Nothing was taken, whatever the system left in the count.
            packets.count = 0;
        }
        packets
    }
}

/// What one call took from the port.
pub(super) struct Packets {
    entries: [OVERLAPPED_ENTRY; BATCH],
    count: u32,
    next: usize,
}

impl Iterator for Packets {
    type Item = OVERLAPPED_ENTRY;

    fn next(&mut self) -> Option<OVERLAPPED_ENTRY> {
        let entry = self.entries[..self.count as usize].get(self.next)?;
        self.next += 1;
        Some(*entry)
    }
}

const NO_PACKET: OVERLAPPED_ENTRY = OVERLAPPED_ENTRY {
    lpCompletionKey: 0,
    lpOverlapped: null_mut(),
    Internal: 0,
    dwNumberOfBytesTransferred: 0,
};

/// Rounded up. What is longer than the system can count ends early, and the caller waits again.
fn milliseconds(timeout: Option<Duration>) -> u32 {
    let Some(timeout) = timeout else { return INFINITE };
    let rounded_up = timeout.as_nanos().div_ceil(1_000_000);
    u32::try_from(rounded_up).unwrap_or(INFINITE).min(INFINITE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_cut_short() {
        assert_eq!(milliseconds(None), INFINITE);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_micros(2_001))), 3);
        assert_eq!(milliseconds(Some(Duration::MAX)), INFINITE - 1);
    }

    #[test]
    fn packets_leave_in_the_order_in_which_they_came() {
        let port = Port::new(1).expect("a port");
        for key in 1..=40 {
            port.post(key, null_mut()).expect("posted");
        }
        let mut keys = Vec::new();
        while keys.len() < 40 {
            keys.extend(port.take(None, false).map(|packet| packet.lpCompletionKey));
        }
        assert!(keys.into_iter().eq(1..=40));
        assert_eq!(port.take(Some(Duration::ZERO), false).count(), 0);
    }
}
