//! An open socket or file as the backend sees it. Closed when dropped; the layer above keeps it
//! until no request on it is under way.

use super::code::error_from_io;
use super::receive::{self, Received};
use crate::error::{Error, ErrorKind};
use socket2::{SockRef, Socket};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::Shutdown;
use std::os::windows::fs::OpenOptionsExt;
#[cfg(feature = "sim")]
use std::os::windows::io::BorrowedHandle;
use std::os::windows::io::{
    AsRawHandle, AsRawSocket, AsSocket, BorrowedSocket, FromRawHandle, FromRawSocket,
    IntoRawHandle, IntoRawSocket, RawSocket,
};
use std::path::Path;
use windows_sys::Win32::Foundation::{CloseHandle, GetHandleInformation, HANDLE};
use windows_sys::Win32::Networking::WinSock::{
    SO_PROTOCOL_INFOW, SOCK_DGRAM, SOCKET, SOL_SOCKET, WSAPROTOCOL_INFOW, XP1_IFS_HANDLES,
    closesocket, getsockopt,
};
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_OVERLAPPED, FILE_TYPE_DISK, GetFileType};

/// A socket of the system as the standard library owns it.
pub(crate) use std::os::windows::io::OwnedSocket;

/// There is no such option: the one that lets an address be shared gives it to who bound it last.
pub(crate) fn spread_connections(_: &SockRef<'_>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Opens a file so that operations on it overlap.
pub(crate) fn open_file(options: &OpenOptions, path: &Path) -> io::Result<File> {
    options.clone().custom_flags(FILE_FLAG_OVERLAPPED).open(path)
}

/// A handle with what its backend knows about it.
pub(crate) struct Descriptor {
    raw: usize,
    kind: Kind,
    is_given_away: bool,
    /// What succeeds at once queues no packet.
    pub(super) skips_packets: bool,
}

enum Kind {
    Socket(SocketKind),
    File,
}

/// What another socket must have to be of the same kind.
#[derive(Clone, Copy)]
pub(super) struct SocketKind {
    pub(super) family: i32,
    pub(super) socket_type: i32,
    pub(super) protocol: i32,
    /// The socket is a handle of the system's own, with all that comes with it.
    pub(super) is_system_handle: bool,
}

impl Descriptor {
    /// Takes a socket in.
    ///
    /// # Errors
    /// `InvalidHandle` when the handle names nothing open, `InvalidInput` when it names something
    /// that is not a socket.
    pub(crate) fn from_socket(socket: Socket) -> Result<Self, (Error, Socket)> {
        match kind_of(socket.as_raw_socket()) {
            Ok(kind) => Ok(Self::new(socket.into_raw_socket() as usize, Kind::Socket(kind))),
            Err(e) => Err((error_from_io(&refusal(&socket, e), "associate a socket"), socket)),
        }
    }

    /// Takes a file in.
    ///
    /// # Errors
    /// `InvalidHandle` when the handle names nothing open, `InvalidInput` for what has no offsets
    /// to read at: a directory, a pipe, a console.
    pub(crate) fn from_file(file: File) -> Result<Self, (Error, File)> {
        const ACTION: &str = "associate a file";
        let is_dir = match file.metadata() {
            Ok(data) => data.is_dir(),
            Err(e) if has_offsets(&file) => return Err((error_from_io(&e, ACTION), file)),
            Err(_) => false,
        };
        if is_dir || !has_offsets(&file) {
            let error = Error::new(ErrorKind::InvalidInput, ACTION)
                .with_detail("only regular files and disks have offsets");
            return Err((error, file));
        }
        Ok(Self::new(file.into_raw_handle() as usize, Kind::File))
    }

    fn new(raw: usize, kind: Kind) -> Self {
        Descriptor { raw, kind, is_given_away: false, skips_packets: false }
    }

    pub(crate) fn is_socket(&self) -> bool {
        matches!(self.kind, Kind::Socket(_))
    }

    /// What arrives comes in datagrams, of which a buffer that is too small cuts off a part.
    pub(crate) fn is_datagram(&self) -> bool {
        self.socket_kind().is_some_and(|kind| kind.socket_type == SOCK_DGRAM)
    }

    pub(super) fn socket_kind(&self) -> Option<SocketKind> {
        match self.kind {
            Kind::Socket(kind) => Some(kind),
            Kind::File => None,
        }
    }

    pub(super) fn raw_handle(&self) -> HANDLE {
        self.raw as HANDLE
    }

    pub(super) fn raw_socket(&self) -> SOCKET {
        self.raw as SOCKET
    }

    /// For options and addresses. Of a file, every one fails.
    pub(crate) fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    /// See [`crate::sys::Descriptor::reset`].
    pub(in crate::sys) fn reset(&self) -> io::Result<()> {
        Ok(())
    }

    /// Looks for something to receive and takes nothing: 1 byte when there is, 0 at the end.
    pub(crate) fn peek(&self) -> io::Result<usize> {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        match receive::peek_now(self.raw_socket(), &mut byte)? {
            Received::Whole(bytes) => Ok(bytes),
            Received::Truncated(_) => Ok(1),
        }
    }

    /// Takes the socket's pending error, as a finished connect leaves it.
    pub(crate) fn take_error(&self) -> Option<i32> {
        self.socket().take_error().ok().flatten().and_then(|e| e.raw_os_error())
    }

    /// Never: the system reports a reset to every later call, whoever was told first.
    pub(crate) fn was_reset(&self) -> bool {
        false
    }

    /// Sockets have no number here; the system itself refuses a second association.
    pub(crate) fn object_number(&self) -> Option<u64> {
        None
    }

    /// A second handle of the same open socket.
    pub(crate) fn duplicate(&self) -> io::Result<Socket> {
        self.socket().try_clone()
    }

    /// Gives the socket away instead of closing it.
    pub(crate) fn into_socket(mut self) -> Socket {
        assert!(self.is_socket(), "a file was taken for a socket");
        self.is_given_away = true;
        // SAFETY: the handle is an open socket, and `is_given_away` keeps `drop` from closing it a
        // second time.
        unsafe { Socket::from_raw_socket(self.raw as RawSocket) }
    }

    /// The file, for who transfers its bytes itself.
    #[cfg(feature = "sim")]
    pub(in crate::sys) fn clone_file(&self) -> io::Result<File> {
        // SAFETY: the handle is open for as long as the descriptor lives, which outlives the borrow.
        let handle = unsafe { BorrowedHandle::borrow_raw(self.raw_handle()) };
        handle.try_clone_to_owned().map(File::from)
    }

    /// Gives the file away instead of closing it.
    pub(crate) fn into_file(mut self) -> File {
        assert!(!self.is_socket(), "a socket was taken for a file");
        self.is_given_away = true;
        // SAFETY: as for `into_socket`.
        unsafe { File::from_raw_handle(self.raw_handle()) }
    }
}

impl AsSocket for Descriptor {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        // SAFETY: the handle is open for as long as `self` is borrowed, and is not the invalid
        // one. What is asked of a handle that is no socket fails.
        unsafe { BorrowedSocket::borrow_raw(self.raw as RawSocket) }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.is_given_away {
            return;
        }
        match self.kind {
            // SAFETY: the socket is open and nobody has taken it: only `into_socket` does, and
            // says so.
            Kind::Socket(_) => unsafe {
                closesocket(self.raw_socket());
            },
            // SAFETY: as above, with `into_file`.
            Kind::File => unsafe {
                CloseHandle(self.raw_handle());
            },
        }
    }
}

/// Winsock has one number for what is not a socket and what is not open; the system has two.
fn refusal(socket: &Socket, error: io::Error) -> io::Error {
    let mut flags = 0;
    // SAFETY: the flags are writable; a handle that is not open is reported as an error.
    let result = unsafe { GetHandleInformation(socket.as_raw_socket() as HANDLE, &mut flags) };
    if result == 0 { io::Error::last_os_error() } else { error }
}

fn has_offsets(file: &File) -> bool {
    // SAFETY: the handle is open, by the promise of `File`; what is not gives "unknown".
    unsafe { GetFileType(file.as_raw_handle()) == FILE_TYPE_DISK }
}

fn kind_of(socket: RawSocket) -> io::Result<SocketKind> {
    // SAFETY: all-zero bytes are a valid protocol description.
    let mut info: WSAPROTOCOL_INFOW = unsafe { std::mem::zeroed() };
    let mut length = size_of::<WSAPROTOCOL_INFOW>() as i32;
    // SAFETY: pointer and length describe `info`, which outlives the call.
    let result = unsafe {
        getsockopt(
            socket as SOCKET,
            SOL_SOCKET,
            SO_PROTOCOL_INFOW,
            (&raw mut info).cast(),
            &mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(SocketKind {
        family: info.iAddressFamily,
        socket_type: info.iSocketType,
        protocol: info.iProtocol,
        is_system_handle: info.dwServiceFlags1 & XP1_IFS_HANDLES != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_knows_its_kind() {
        let stream = Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None);
        let descriptor = Descriptor::from_socket(stream.expect("a socket")).map_err(|(e, _)| e);
        let descriptor = descriptor.expect("a socket");
        let kind = descriptor.socket_kind().expect("a socket");
        assert_eq!(kind.family, i32::from(socket2::Domain::IPV6));
        assert!(!descriptor.is_datagram() && kind.is_system_handle);
    }
}
