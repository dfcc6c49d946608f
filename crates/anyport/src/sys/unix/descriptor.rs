//! An open socket or file as the backends see it. Closed when dropped; the layer above keeps it
//! until no request on it is under way.

use super::code::error_from_io;
use crate::error::{Error, ErrorKind};
use crate::sys::readiness::Registration;
use socket2::{SockRef, Socket};
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::ManuallyDrop;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicU8, Ordering};

/// A socket of the system as the standard library owns it.
pub(crate) use std::os::fd::OwnedFd as OwnedSocket;

/// Opens a file so that operations on it overlap: any file will do.
pub(crate) fn open_file(options: &OpenOptions, path: &Path) -> io::Result<File> {
    options.open(path)
}

/// Lets several sockets listen at one address and share its connections; `Unsupported` where the option
/// of that name gives them all to one.
pub(crate) fn spread_connections(socket: &SockRef<'_>) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "dragonfly"))]
    {
        socket.set_reuse_port(true)
    }
    #[cfg(target_os = "freebsd")]
    {
        socket.set_reuse_port_lb(true)
    }
    #[cfg(not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd"
    )))]
    {
        let _ = socket;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An answer that stays, in one byte. Several may ask at the same time, and are told the same.
#[cfg(target_os = "linux")]
#[derive(Default)]
struct Answer(AtomicU8);

#[cfg(target_os = "linux")]
impl Answer {
    const NO: u8 = 1;
    const YES: u8 = 2;

    /// `None` from who is asked is no answer, and is not kept.
    fn get_or_ask(&self, ask: impl FnOnce() -> Option<bool>) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            Self::YES => Some(true),
            Self::NO => Some(false),
            _ => {
                let answer = ask()?;
                self.0.store(if answer { Self::YES } else { Self::NO }, Ordering::Relaxed);
                Some(answer)
            }
        }
    }
}

/// A descriptor with what its backend keeps about it.
pub(crate) struct Descriptor {
    fd: ManuallyDrop<OwnedFd>,
    is_socket: bool,
    is_datagram: bool,
    is_given_away: bool,
    /// Whether it is a local socket: asked when it is first wanted, by whoever it is.
    #[cfg(target_os = "linux")]
    is_local: Answer,
    /// Of the readiness backend; absent for files and for other backends.
    pub(in crate::sys) registration: Option<Registration>,
}

impl Descriptor {
    /// Takes a socket in.
    ///
    /// # Errors
    /// `InvalidHandle` when the number names nothing open, `InvalidInput` when it names something
    /// that is not a socket.
    pub(crate) fn from_socket(socket: Socket) -> Result<Self, (Error, Socket)> {
        const ACTION: &str = "associate a socket";
        match socket.r#type() {
            Ok(kind) => {
                let is_datagram = kind == socket2::Type::DGRAM;
                let mut descriptor = Self::new(socket.into(), true);
                descriptor.is_datagram = is_datagram;
                Ok(descriptor)
            }
            Err(e) => Err((error_from_io(&e, ACTION), socket)),
        }
    }

    /// Takes a file in.
    ///
    /// # Errors
    /// `InvalidHandle` when the number names nothing open, `InvalidInput` for what has no offsets
    /// to read at: a directory, a pipe, a terminal, a socket.
    pub(crate) fn from_file(file: File) -> Result<Self, (Error, File)> {
        const ACTION: &str = "associate a file";
        match file.metadata() {
            Ok(data) if is_seekable(&data) => Ok(Self::new(file.into(), false)),
            Ok(_) => {
                let error = Error::new(ErrorKind::InvalidInput, ACTION)
                    .with_detail("only regular files and block devices have offsets");
                Err((error, file))
            }
            Err(e) => Err((error_from_io(&e, ACTION), file)),
        }
    }

    fn new(fd: OwnedFd, is_socket: bool) -> Self {
        let fd = ManuallyDrop::new(fd);
        Descriptor {
            fd,
            is_socket,
            is_datagram: false,
            is_given_away: false,
            #[cfg(target_os = "linux")]
            is_local: Answer::default(),
            registration: None,
        }
    }

    /// True for a local socket. The system is asked once: a stream that moves between threads is
    /// begun again by the dozen, while others wait.
    #[cfg(target_os = "linux")]
    pub(in crate::sys) fn is_local(&self) -> bool {
        let ask = || Some(self.socket().domain().ok()? == socket2::Domain::UNIX);
        self.is_local.get_or_ask(ask).unwrap_or(false)
    }

    pub(crate) fn is_socket(&self) -> bool {
        self.is_socket
    }

    pub(in crate::sys) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// For options and addresses.
    pub(crate) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&*self.fd)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    /// See [`crate::sys::Descriptor::reset`]. On Linux to connect to nobody is to reset.
    #[cfg(target_os = "linux")]
    pub(in crate::sys) fn reset(&self) -> io::Result<()> {
        let nobody = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
        let len = size_of::<libc::sockaddr>() as libc::socklen_t;
        // SAFETY: the pointer is to an address of this length, which is only read.
        match unsafe { libc::connect(self.raw(), &raw const nobody, len) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// See [`crate::sys::Descriptor::reset`].
    #[cfg(not(target_os = "linux"))]
    pub(in crate::sys) fn reset(&self) -> io::Result<()> {
        Ok(())
    }

    /// What arrives comes in datagrams, of which a buffer that is too small cuts off a part.
    pub(crate) fn is_datagram(&self) -> bool {
        self.is_datagram
    }

    /// Looks for something to receive and takes nothing: 1 byte when there is, 0 at the end.
    pub(crate) fn peek(&self) -> io::Result<usize> {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        self.socket().recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT)
    }

    /// Takes the socket's pending error, as a finished connect leaves it.
    pub(crate) fn take_error(&self) -> Option<i32> {
        self.socket().take_error().ok().flatten().and_then(|e| e.raw_os_error())
    }

    /// True when what looks like the end of the stream is a reset whose error another call took.
    ///
    /// An orderly end leaves the socket in CLOSE-WAIT as long as this side has not shut down; a
    /// reset leaves it in CLOSE (Linux, net/ipv4/tcp_input.c, `tcp_reset`). Elsewhere false.
    pub(crate) fn was_reset(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            const TCP_CLOSE: u8 = 7;
            // SAFETY: all-zero bytes are a valid tcp_info.
            let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
            let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
            // SAFETY: pointer and length describe `info`, which outlives the call.
            let result = unsafe {
                libc::getsockopt(
                    self.raw(),
                    libc::IPPROTO_TCP,
                    libc::TCP_INFO,
                    (&raw mut info).cast(),
                    &mut length,
                )
            };
            result == 0 && info.tcpi_state == TCP_CLOSE
        }
        #[cfg(not(target_os = "linux"))]
        {
            false
        }
    }

    /// The number that the system gives an open socket, the same for all its duplicates; `None`
    /// where it gives none.
    pub(crate) fn object_number(&self) -> Option<u64> {
        // SAFETY: all-zero bytes are a valid stat.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is writable and the descriptor is open.
        let result = unsafe { libc::fstat(self.raw(), &mut stat) };
        // Systems that number no sockets say 0.
        (result == 0 && stat.st_ino != 0).then_some(stat.st_ino)
    }

    /// A second descriptor of the same open socket.
    pub(crate) fn duplicate(&self) -> io::Result<Socket> {
        self.fd.try_clone().map(Socket::from)
    }

    /// Gives the socket away instead of closing it.
    pub(crate) fn into_socket(self) -> Socket {
        self.into_fd().into()
    }

    /// The file, for who transfers its bytes itself.
    #[cfg(feature = "sim")]
    pub(in crate::sys) fn clone_file(&self) -> io::Result<File> {
        self.fd.try_clone().map(File::from)
    }

    /// Gives the file away instead of closing it.
    pub(crate) fn into_file(self) -> File {
        self.into_fd().into()
    }

    fn into_fd(mut self) -> OwnedFd {
        self.is_given_away = true;
        // SAFETY: `is_given_away` keeps `drop` from closing the descriptor a second time.
        unsafe { ManuallyDrop::take(&mut self.fd) }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if !self.is_given_away {
            // SAFETY: nobody has taken the descriptor: only `into_fd` does, and says so.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

fn is_seekable(data: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    data.file_type().is_file() || data.file_type().is_block_device()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_local_socket_is_known_from_others() {
        let (local, _peer) = UnixDatagram::pair().expect("a pair");
        let inet = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for (socket, is_local) in [(Socket::from(local), true), (Socket::from(inet), false)] {
            let descriptor = Descriptor::from_socket(socket).map_err(|(error, _)| error);
            let descriptor = descriptor.expect("it is a socket");
            assert_eq!((descriptor.is_local(), descriptor.is_local()), (is_local, is_local));
        }
    }

    #[test]
    fn an_answer_is_asked_for_once() {
        for told in [true, false] {
            let answer = Answer::default();
            assert_eq!(answer.get_or_ask(|| None), None);
            assert_eq!(answer.get_or_ask(|| Some(told)), Some(told));
            assert_eq!(answer.get_or_ask(|| unreachable!("it is known")), Some(told));
        }
    }
}
