//! What a receive leaves in the socket, as Linux tells it with the bytes (`TCP_INQ`).
//!
//! Spares the second receive that would only say "would block". Guarantees that a socket is called
//! empty only when its kernel said so in the same call: not where the option is missing, and not
//! after the peer's end, which the kernel counts as one byte. Called by `Socket` and `attempt`.

use std::os::fd::RawFd;

/// Asks the kernel to tell from now on; false where it does not.
pub(super) fn ask(fd: RawFd) -> bool {
    #[cfg(target_os = "linux")]
    {
        set(fd, 1)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = fd;
        false
    }
}

/// Takes it back: who receives from the socket later has not asked.
pub(super) fn stop_asking(fd: RawFd) {
    #[cfg(target_os = "linux")]
    set(fd, 0);
    #[cfg(not(target_os = "linux"))]
    let _ = fd;
}

/// Room for the kernel's answer, laid out as a control message.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
#[repr(C)]
pub(super) struct Answer {
    header: libc::cmsghdr,
    remainder: libc::c_int,
}

impl Answer {
    pub(super) fn new() -> Self {
        // SAFETY: all-zero bytes are a valid cmsghdr and a valid number.
        unsafe { std::mem::zeroed() }
    }

    /// Makes this the place of the control messages. It must outlive the call.
    pub(super) fn be_control_of(&mut self, message: &mut libc::msghdr) {
        message.msg_control = (&raw mut *self).cast();
        message.msg_controllen = size_of::<Self>() as _;
    }

    /// After a receive: the kernel says that nothing is left.
    pub(super) fn is_nothing_left(&self, message: &libc::msghdr) -> bool {
        #[cfg(target_os = "linux")]
        {
            // The bytes of this struct up to the number's end.
            const LENGTH: usize =
                std::mem::offset_of!(Answer, remainder) + size_of::<libc::c_int>();
            message.msg_controllen >= LENGTH as _
                && self.header.cmsg_len == LENGTH as _
                && self.header.cmsg_level == libc::IPPROTO_TCP
                && self.header.cmsg_type == libc::TCP_CM_INQ
                && self.remainder == 0
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = message;
            false
        }
    }
}

#[cfg(target_os = "linux")]
fn set(fd: RawFd, value: libc::c_int) -> bool {
    // SAFETY: the option reads one int behind the pointer.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INQ,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    result == 0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        (near, listener.accept().expect("accepts").0)
    }

    /// Receives at most `room` bytes; how many came, and whether the kernel says that it was all.
    fn receive(socket: &TcpStream, room: usize) -> (isize, bool) {
        let mut memory = [0u8; 64];
        let mut region = libc::iovec { iov_base: memory.as_mut_ptr().cast(), iov_len: room };
        // SAFETY: all-zero bytes are a valid msghdr.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut region;
        message.msg_iovlen = 1;
        let mut answer = Answer::new();
        answer.be_control_of(&mut message);
        assert!(room <= memory.len());
        // SAFETY: the message names the memory and the answer, both longer-lived than the call.
        let bytes = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, 0) };
        (bytes, answer.is_nothing_left(&message))
    }

    #[test]
    fn the_kernel_tells_of_the_last_byte_and_counts_the_end_as_one_more() {
        let (near, mut far) = pair();
        assert!(ask(near.as_raw_fd()));
        far.write_all(b"hello").expect("writes");
        assert_eq!(receive(&near, 2), (2, false));
        assert_eq!(receive(&near, 64), (3, true));
        far.write_all(b"hello").expect("writes");
        far.shutdown(Shutdown::Write).expect("shuts down");
        assert_eq!(receive(&near, 64), (5, false));
        assert_eq!(receive(&near, 64), (0, false));
    }

    #[test]
    fn a_socket_that_was_not_asked_or_is_asked_no_more_is_never_called_empty() {
        let (near, mut far) = pair();
        far.write_all(b"hello").expect("writes");
        assert_eq!(receive(&near, 64), (5, false));
        assert!(ask(near.as_raw_fd()));
        stop_asking(near.as_raw_fd());
        far.write_all(b"hello").expect("writes");
        assert_eq!(receive(&near, 64), (5, false));
    }

    #[test]
    fn another_control_message_in_the_place_is_not_taken_for_the_answer() {
        // SAFETY: all-zero bytes are a valid msghdr.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        let mut answer = Answer::new();
        answer.be_control_of(&mut message);
        assert!(!answer.is_nothing_left(&message), "nothing was written");
        answer.header.cmsg_len =
            (std::mem::offset_of!(Answer, remainder) + size_of::<libc::c_int>()) as _;
        answer.header.cmsg_level = libc::IPPROTO_TCP;
        answer.header.cmsg_type = libc::TCP_CM_INQ;
        assert!(answer.is_nothing_left(&message));
        answer.header.cmsg_level = libc::SOL_SOCKET;
        assert!(!answer.is_nothing_left(&message));
        answer.header.cmsg_level = libc::IPPROTO_TCP;
        message.msg_controllen = 0;
        assert!(!answer.is_nothing_left(&message));
    }

    #[test]
    fn a_socket_of_another_kind_does_not_tell() {
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        assert!(!ask(datagrams.as_raw_fd()));
        let (near, _far) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(!ask(near.as_raw_fd()));
    }
}
