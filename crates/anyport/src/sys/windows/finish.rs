//! What became of a request: from the packet's status, or from a call that was over at once.
//!
//! Called by `Windows` with the slot locked.

use super::code::code_of_status;
use super::connect::note_connected;
use super::slot::{Slot, State};
use super::start::{Call, Started, transfer};
use crate::sys::{Outcome, Request};
use socket2::Socket;
use std::os::windows::io::AsRawSocket;
use windows_sys::Win32::Foundation::{
    ERROR_CONNECTION_ABORTED, ERROR_HANDLE_EOF, ERROR_MORE_DATA, ERROR_NETNAME_DELETED,
    ERROR_OPERATION_ABORTED, ERROR_UNEXP_NET_ERR, HANDLE, STATUS_ALERTED, STATUS_BUFFER_OVERFLOW,
    STATUS_CANCELLED, STATUS_CONNECTION_ABORTED, STATUS_SUCCESS,
};
use windows_sys::Win32::Networking::WinSock::{
    SO_UPDATE_ACCEPT_CONTEXT, SOCKET, SOL_SOCKET, WSAECONNABORTED, WSAECONNRESET, WSAEINTR,
    WSAEMSGSIZE, setsockopt,
};

/// A packet says how the call ended.
pub(super) fn of_packet(slot: &Slot, state: &mut State, status: i32, bytes: usize) -> Started {
    let request = state.request;
    match status {
        STATUS_SUCCESS => succeeded(slot, state, request, bytes),
        STATUS_BUFFER_OVERFLOW => over_with(state, failed(request, WSAEMSGSIZE)),
        status => over_with(state, failed(request, code_of_status(status))),
    }
}

/// The status of a call that is over, as its packet and the system say, although its structure does
/// not.
///
/// Wine only. It finishes a call in the thread that has started it, and that thread writes the
/// structure. When the thread ends with that still to be done, the packet carries what the thread
/// was to be told, and nobody touches structure or memory any more.
pub(super) fn status_of_abandoned(status: i32, request: Request) -> i32 {
    match (status, request) {
        (error, _) if error < 0 => error,
        // How much of a send had gone out nobody knows: to start it again could send bytes twice.
        (_, Request::Send(_) | Request::SendMessage(_)) => STATUS_CONNECTION_ABORTED,
        // The thread was to receive what has come.
        (STATUS_ALERTED, _) => STATUS_CANCELLED,
        (status, _) => status,
    }
}

/// The call was a success.
pub(super) fn succeeded(slot: &Slot, state: &mut State, request: Request, bytes: usize) -> Started {
    let outcome = match request {
        Request::Accept | Request::AcceptStream => accepted(state),
        Request::Connect(_) => {
            note_connected(state.handle as SOCKET);
            Outcome::Bytes(0)
        }
        Request::ReceivePooled(_) | Request::ReceiveStream(_) => Outcome::ReadyForPooled,
        Request::Readable | Request::Writable => Outcome::Bytes(0),
        Request::ReadMessageAt(..) => return read_on(slot, state, request, bytes),
        _ => Outcome::Bytes(bytes),
    };
    Started::Done(outcome)
}

/// The outcome of a call that failed with a number of Winsock or Win32.
pub(super) fn failed(request: Request, code: i32) -> Outcome {
    match (request, code) {
        (_, WSAEINTR) => Outcome::Interrupted,
        (_, code) if code == ERROR_OPERATION_ABORTED.cast_signed() => Outcome::Interrupted,
        (_, WSAEMSGSIZE) => truncated(request, code),
        (_, code) if code == ERROR_MORE_DATA.cast_signed() => truncated(request, WSAEMSGSIZE),
        (Request::ReadAt(..) | Request::ReadMessageAt(..), code)
            if code == ERROR_HANDLE_EOF.cast_signed() =>
        {
            Outcome::Bytes(0)
        }
        // The peer left before it was accepted: nobody's business but the system's.
        (Request::Accept | Request::AcceptStream, code) if is_of_lost_peer(code) => {
            Outcome::Interrupted
        }
        _ => Outcome::Failed(code),
    }
}

fn is_of_lost_peer(code: i32) -> bool {
    matches!(code, WSAECONNRESET | WSAECONNABORTED)
        || matches!(
            code.cast_unsigned(),
            ERROR_NETNAME_DELETED | ERROR_CONNECTION_ABORTED | ERROR_UNEXP_NET_ERR
        )
}

/// A datagram was larger than the room for it.
fn truncated(request: Request, code: i32) -> Outcome {
    match request {
        // A look at it, which took nothing.
        Request::ReceivePooled(_) | Request::ReceiveStream(_) => Outcome::ReadyForPooled,
        Request::Readable => Outcome::Bytes(0),
        Request::ReceiveMessage(message) => {
            // SAFETY: the request's last event is not taken, so its message is valid, and the
            // system is done with it.
            let message = unsafe { &mut *message };
            message.set_truncated();
            Outcome::Bytes(message.capacity())
        }
        _ => Outcome::Failed(code),
    }
}

/// A request that is over, with what parts of it had been done before.
pub(super) fn over_with(state: &mut State, outcome: Outcome) -> Started {
    if let Some(accepting) = &mut state.accepting {
        accepting.socket = None;
    }
    Started::Done(match outcome {
        // Bytes that an earlier part has read are there, whatever ended a later one.
        Outcome::Interrupted | Outcome::Failed(_) | Outcome::Bytes(0) if state.transferred > 0 => {
            Outcome::Bytes(state.transferred)
        }
        outcome => outcome,
    })
}

/// The system's own scatter read wants whole pages; so one region after the other is read, until
/// one is not filled.
fn read_on(slot: &Slot, state: &mut State, request: Request, mut bytes: usize) -> Started {
    let Request::ReadMessageAt(message, _) = request else {
        return Started::Done(Outcome::Bytes(bytes));
    };
    loop {
        // SAFETY: the request's last event is not taken, so its message is valid.
        let regions = unsafe { (*message).regions() };
        let mut begun = state.transferred;
        let region = regions.iter().map(|region| region.len as usize).find(|len| {
            let is_here = begun < *len;
            begun = begun.saturating_sub(*len);
            is_here
        });
        let is_filled = region.is_some_and(|len| bytes >= len);
        state.transferred += bytes;
        let total: usize = regions.iter().map(|region| region.len as usize).sum();
        if !is_filled || state.is_cancelled || state.transferred >= total {
            return Started::Done(Outcome::Bytes(state.transferred));
        }
        // SAFETY: the last part is over and the slot is locked; what the request names stays until
        // its last event is taken.
        match unsafe { transfer(slot, state.handle, request, state.transferred) } {
            Call::Pending => return Started::Pending,
            Call::Over(_) if !state.skips_packets => return Started::Pending,
            Call::Over(more) => bytes = more,
            Call::Failed(code) => return over_with(state, failed(request, code)),
        }
    }
}

fn accepted(state: &mut State) -> Outcome {
    let Some(socket) = state.accepting.as_mut().and_then(|accepting| accepting.socket.take())
    else {
        unreachable!("an accept has its socket until it is over");
    };
    inherit(&socket, state.handle);
    Outcome::Accepted(socket.into())
}

/// After an overlapped accept the socket is connected, but the other calls do not know it yet.
fn inherit(socket: &Socket, listener: HANDLE) {
    // SAFETY: the option's value is one handle, of the size that is said.
    let result = unsafe {
        setsockopt(
            socket.as_raw_socket() as SOCKET,
            SOL_SOCKET,
            SO_UPDATE_ACCEPT_CONTEXT,
            (&raw const listener).cast(),
            size_of::<HANDLE>() as i32,
        )
    };
    if result != 0 {
        // The connection is gone already: the first call on it says so.
        log::debug!("an accepted socket: {}", std::io::Error::last_os_error());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::SizeClass;
    use crate::sys::Region;

    #[test]
    fn an_abandoned_call_starts_again_unless_it_has_failed_or_bytes_could_go_twice() {
        let region = Region { ptr: std::ptr::dangling_mut(), len: 1 };
        let pooled = Request::ReceivePooled(SizeClass::Small4K);
        for (status, request, told) in [
            (STATUS_ALERTED, Request::Receive(region), STATUS_CANCELLED),
            (STATUS_ALERTED, pooled, STATUS_CANCELLED),
            (STATUS_ALERTED, Request::Send(region), STATUS_CONNECTION_ABORTED),
            (STATUS_SUCCESS, Request::Send(region), STATUS_CONNECTION_ABORTED),
            (STATUS_CANCELLED, Request::Send(region), STATUS_CANCELLED),
            (STATUS_CANCELLED, pooled, STATUS_CANCELLED),
            // The end of the stream, of which the receive that follows tells.
            (STATUS_SUCCESS, pooled, STATUS_SUCCESS),
        ] {
            assert_eq!(status_of_abandoned(status, request), told);
        }
    }
}
