//! Receives, and other calls, that do not wait, whatever mode the user has set the socket to.
//!
//! Winsock has no flag for that. An overlapped receive never waits; one that finds nothing is taken
//! back at once, and until the system says that it is over nothing returns. Takes no packet: the
//! lowest bit of the event says so. Called by the layer above when a zero-byte receive is over, and
//! for datagrams by `datagram`.

use super::code::code_of_status;
use super::descriptor::Descriptor;
use super::message::TRANSFER_MAX;
use crate::buf::{BufferPool, SizeClass};
use crate::sys::Outcome;
use std::io;
use std::mem::MaybeUninit;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;
use windows_sys::Win32::Foundation::{
    HANDLE, STATUS_BUFFER_OVERFLOW, STATUS_CANCELLED, STATUS_SUCCESS, WAIT_OBJECT_0,
};
use windows_sys::Win32::Networking::WinSock::{
    MSG_PEEK, SOCKET, WSA_IO_PENDING, WSABUF, WSAEMSGSIZE, WSAGetLastError, WSARecv,
};
use windows_sys::Win32::System::IO::{CancelIoEx, OVERLAPPED};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, WaitForSingleObject};

/// What came.
pub(super) enum Received {
    /// All of it, or of a stream what fitted.
    Whole(usize),
    /// A datagram that was larger than the room.
    Truncated(usize),
}

/// See [`crate::sys::receive_pooled_now`].
pub(crate) fn receive_pooled_now(
    descriptor: &Descriptor,
    pool: &BufferPool,
    class: SizeClass,
) -> Outcome {
    let Some(mut buffer) = pool.take(class) else {
        // A zero-byte receive was over, so there is something.
        return Outcome::NoBuffers;
    };
    let received = attempt(descriptor.raw_socket(), buffer.spare_capacity_mut(), 0);
    match received {
        Ok(Received::Whole(bytes)) => {
            // SAFETY: the buffer was empty, and the system has written its first `bytes` bytes.
            unsafe { buffer.set_len(bytes) };
            Outcome::Pooled(buffer)
        }
        Ok(Received::Truncated(bytes)) => {
            // SAFETY: as above.
            unsafe { buffer.set_len(bytes) };
            Outcome::PooledTruncated(buffer)
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Outcome::WouldBlock,
        Err(e) => Outcome::Failed(e.raw_os_error().unwrap_or_default()),
    }
}

/// Looks at what there is and takes nothing.
pub(super) fn peek_now(socket: SOCKET, room: &mut [MaybeUninit<u8>]) -> io::Result<Received> {
    attempt(socket, room, MSG_PEEK as u32)
}

/// Receives what is there; `WouldBlock` when that is nothing.
fn attempt(socket: SOCKET, room: &mut [MaybeUninit<u8>], flags: u32) -> io::Result<Received> {
    let len = room.len().min(TRANSFER_MAX);
    let region = WSABUF { len: len as u32, buf: room.as_mut_ptr().cast() };
    let mut flags = flags;
    // SAFETY: region, flags and what the call is given stay until it is over.
    let called = unsafe {
        call_now(socket, |overlapped, bytes| {
            WSARecv(socket, &region, 1, bytes, &mut flags, overlapped, None)
        })
    };
    Ok(match called? {
        Called::Done(bytes) => Received::Whole(bytes),
        Called::Overflowed => Received::Truncated(len),
    })
}

/// What an overlapped call came to.
pub(super) enum Called {
    /// It moved this many bytes.
    Done(usize),
    /// It has filled its room with the first part of a datagram.
    Overflowed,
}

/// Makes an overlapped call that is over when this returns: one that has nothing to do yet is taken
/// back, and `WouldBlock`. `call` gets its structure and the place for the number of bytes.
///
/// # Safety
/// The call is on `socket`, and what it names stays valid until this returns.
pub(super) unsafe fn call_now(
    socket: SOCKET,
    call: impl FnOnce(*mut OVERLAPPED, *mut u32) -> i32,
) -> io::Result<Called> {
    // While the thread ends it has no event kept any more, and needs another.
    let temporary;
    let event = match EVENT.try_with(|event| event.as_raw_handle()) {
        Ok(event) => event,
        Err(_) => {
            temporary = new_event();
            temporary.as_raw_handle()
        }
    };
    let mut overlapped = OVERLAPPED {
        // The lowest bit is not part of the handle: it says that no packet is wanted.
        hEvent: (event as usize | 1) as HANDLE,
        ..Default::default()
    };
    let mut bytes = 0;
    // What the call is given stays until it is over, which is waited for below where it is not over
    // at the return.
    if call(&mut overlapped, &mut bytes) == 0 {
        return Ok(Called::Done(bytes as usize));
    }
    // SAFETY: the call has no arguments.
    match unsafe { WSAGetLastError() } {
        WSA_IO_PENDING => {}
        WSAEMSGSIZE => return Ok(Called::Overflowed),
        code => return Err(io::Error::from_raw_os_error(code)),
    }
    // Fails when the call is over already: then there is nothing to wait for.
    // SAFETY: the structure names the call that was just started on this socket.
    unsafe { CancelIoEx(socket as HANDLE, &overlapped) };
    // SAFETY: the event is open.
    let waited = unsafe { WaitForSingleObject(event, INFINITE) };
    if waited != WAIT_OBJECT_0 {
        // The system still owns stack and buffer: nothing may return.
        std::process::abort();
    }
    // SAFETY: the call is over; the system has written the two words and is done.
    let (status, bytes) = unsafe {
        (
            (&raw const overlapped.Internal).read_volatile() as i32,
            (&raw const overlapped.InternalHigh).read_volatile(),
        )
    };
    match status {
        STATUS_SUCCESS => Ok(Called::Done(bytes)),
        STATUS_BUFFER_OVERFLOW => Ok(Called::Overflowed),
        STATUS_CANCELLED => Err(io::ErrorKind::WouldBlock.into()),
        status => Err(io::Error::from_raw_os_error(code_of_status(status))),
    }
}

thread_local! {
    /// Set by the system when a receive of this thread is over, and unset when one starts.
    static EVENT: OwnedHandle = new_event();
}

fn new_event() -> OwnedHandle {
    // SAFETY: neither security attributes nor a name are passed.
    let event = unsafe { CreateEventW(null(), 1, 0, null()) };
    assert!(!event.is_null(), "an event: {}", io::Error::last_os_error());
    // SAFETY: the call above gave a new handle, which nobody else knows.
    unsafe { OwnedHandle::from_raw_handle(event) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::PoolOptions;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    fn connection() -> (Descriptor, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (stream, _) = listener.accept().expect("its other end");
        (Descriptor::from_socket(stream.into()).map_err(|(e, _)| e).expect("a socket"), peer)
    }

    #[test]
    fn a_blocking_socket_without_data_does_not_make_a_receive_wait() {
        let (descriptor, mut peer) = connection();
        let pool = BufferPool::new(PoolOptions::default());
        for _ in 0..100 {
            let outcome = receive_pooled_now(&descriptor, &pool, SizeClass::Small4K);
            assert!(matches!(outcome, Outcome::WouldBlock), "{outcome:?}");
        }
        peer.write_all(b"hello").expect("sent");
        loop {
            match receive_pooled_now(&descriptor, &pool, SizeClass::Small4K) {
                Outcome::WouldBlock => std::thread::yield_now(),
                Outcome::Pooled(buffer) => break assert_eq!(&buffer[..], b"hello"),
                other => panic!("{other:?}"),
            }
        }
    }
}
