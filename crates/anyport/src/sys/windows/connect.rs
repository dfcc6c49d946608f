//! The overlapped connect: its entry point, which the system only gives on request, and what it
//! demands of a socket.

use super::descriptor::Descriptor;
use super::message::Message;
use super::slot::Slot;
use super::start::{Call, code_of};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET6, LPFN_CONNECTEX, SIO_GET_EXTENSION_FUNCTION_POINTER, SO_UPDATE_CONNECT_CONTEXT,
    SOCKET, SOL_SOCKET, WSAEINVAL, WSAID_CONNECTEX, WSAIoctl, connect, setsockopt,
};

/// Starts a connect to the address of the message.
///
/// # Safety
/// The message is valid, and ours until the connect is over; the slot is locked and prepared.
pub(super) unsafe fn start_connect(
    descriptor: &Descriptor,
    slot: &Slot,
    message: *mut Message,
) -> Call {
    let socket = descriptor.raw_socket();
    // SAFETY: the message is valid and nobody else accesses it, by the caller's promise.
    let Some((address, length)) = (unsafe { (*message).address() }) else {
        return Call::Failed(WSAEINVAL);
    };
    // SAFETY: the length is inside the message.
    let length = unsafe { *length };
    if descriptor.is_datagram() {
        // Only notes the peer, and is over at once.
        // SAFETY: pointer and length describe the address inside the message.
        return match unsafe { connect(socket, address, length) } {
            0 => Call::Over(0),
            _ => Call::Failed(code_of(&io::Error::last_os_error())),
        };
    }
    if let Err(e) = bind_if_needed(descriptor) {
        return Call::Failed(code_of(&e));
    }
    let connect_ex = match entry_point(socket) {
        Ok(connect_ex) => connect_ex,
        Err(e) => return Call::Failed(code_of(&e)),
    };
    let mut bytes = 0;
    // SAFETY: the entry point is the system's, for the type that is declared; address and
    // structure stay until the connect is over.
    let result =
        unsafe { connect_ex(socket, address, length, null(), 0, &mut bytes, slot.overlapped()) };
    Call::of_socket(result != 0, bytes)
}

/// After an overlapped connect the socket is connected, but the other calls do not know it yet.
pub(super) fn note_connected(socket: SOCKET) {
    // SAFETY: the option has no value. Of a datagram socket it fails, which means nothing.
    unsafe { setsockopt(socket, SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, null(), 0) };
}

/// The call demands a bound socket, which the ordinary one makes by itself.
fn bind_if_needed(descriptor: &Descriptor) -> io::Result<()> {
    let socket = descriptor.socket();
    let is_bound = match socket.local_addr() {
        Ok(address) => address.as_socket().is_some_and(|address| address.port() != 0),
        Err(e) if e.raw_os_error() == Some(WSAEINVAL) => false,
        Err(e) => return Err(e),
    };
    if is_bound {
        return Ok(());
    }
    let is_v6 = descriptor.socket_kind().is_some_and(|kind| kind.family == i32::from(AF_INET6));
    let any = match is_v6 {
        true => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        false => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    };
    socket.bind(&any.into())
}

type ConnectEx = unsafe extern "system" fn(
    SOCKET,
    *const windows_sys::Win32::Networking::WinSock::SOCKADDR,
    i32,
    *const core::ffi::c_void,
    u32,
    *mut u32,
    *mut windows_sys::Win32::System::IO::OVERLAPPED,
) -> i32;

/// Asked for once: the system has one for all its sockets.
fn entry_point(socket: SOCKET) -> io::Result<ConnectEx> {
    static ENTRY_POINT: OnceLock<ConnectEx> = OnceLock::new();
    if let Some(known) = ENTRY_POINT.get() {
        return Ok(*known);
    }
    let name = WSAID_CONNECTEX;
    let mut found: LPFN_CONNECTEX = None;
    let mut bytes = 0;
    // SAFETY: the input is the call's name, the output one pointer, both of the size that is said.
    let result = unsafe {
        WSAIoctl(
            socket,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const name).cast(),
            size_of_val(&name) as u32,
            (&raw mut found).cast(),
            size_of::<LPFN_CONNECTEX>() as u32,
            &mut bytes,
            null_mut(),
            None,
        )
    };
    match found {
        Some(found) if result == 0 => Ok(*ENTRY_POINT.get_or_init(|| found)),
        _ => Err(io::Error::last_os_error()),
    }
}
