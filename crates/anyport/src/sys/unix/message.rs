//! The memory of a scatter/gather or datagram call: header, region list, address. Its address is
//! given to the kernel, so it lives in a box that an operation keeps until its last event.

use super::super::Region;
use std::net::SocketAddr;

/// A message header with all that it points to.
pub(crate) struct Message {
    header: libc::msghdr,
    regions: Vec<libc::iovec>,
    address: libc::sockaddr_storage,
}

// SAFETY: the raw pointers point into the message's own heap memory, or to memory that the
// operation which owns the message owns as well; neither is bound to a thread.
unsafe impl Send for Message {}

impl Message {
    /// An empty message. The box is what keeps its address.
    pub(crate) fn new() -> Box<Self> {
        // SAFETY: all-zero bytes are a valid msghdr and a valid sockaddr_storage.
        let (header, address) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Box::new(Message { header, regions: Vec::new(), address })
    }

    /// Sets the regions, leaving out the first `skip` bytes (what went before), and the address to
    /// send to; without one, room for a sender's address when `wants_sender`.
    pub(crate) fn set(
        &mut self,
        regions: impl Iterator<Item = Region>,
        mut skip: usize,
        peer: Option<SocketAddr>,
        wants_sender: bool,
    ) {
        self.regions.clear();
        for region in regions {
            if skip >= region.len {
                skip -= region.len;
                continue;
            }
            // `wrapping_add`: a region's pointer need not be dereferenceable when it is empty.
            let base = region.ptr.wrapping_add(skip);
            self.regions.push(libc::iovec { iov_base: base.cast(), iov_len: region.len - skip });
            skip = 0;
        }
        self.header.msg_iov = self.regions.as_mut_ptr();
        self.header.msg_iovlen = self.regions.len() as _;
        self.header.msg_flags = 0;
        let length = match peer {
            Some(peer) => self.set_address(peer),
            None if wants_sender => size_of::<libc::sockaddr_storage>() as libc::socklen_t,
            None => 0,
        };
        self.header.msg_namelen = length;
        self.header.msg_name = match length {
            0 => std::ptr::null_mut(),
            _ => (&raw mut self.address).cast(),
        };
    }

    /// The header, for the kernel.
    pub(crate) fn header(&mut self) -> *mut libc::msghdr {
        &raw mut self.header
    }

    /// The regions, for the kernel.
    pub(crate) fn regions(&self) -> (*const libc::iovec, usize) {
        (self.regions.as_ptr(), self.regions.len())
    }

    /// The address and its length, for the kernel.
    pub(crate) fn address(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        ((&raw const self.address).cast(), self.header.msg_namelen)
    }

    /// The datagram did not fit into the regions.
    pub(crate) fn is_truncated(&self) -> bool {
        self.header.msg_flags & libc::MSG_TRUNC != 0
    }

    /// The sender's address.
    pub(crate) fn sender(&self) -> Option<SocketAddr> {
        if self.header.msg_namelen == 0 {
            return None;
        }
        // SAFETY: the storage is initialised (zeroed at first, written by the kernel since), and
        // the copied type has the same layout: socket2 defines it by libc's.
        let ((), address) = unsafe {
            socket2::SockAddr::try_init(|storage, length| {
                std::ptr::copy_nonoverlapping(
                    (&raw const self.address).cast::<u8>(),
                    storage.cast::<u8>(),
                    size_of::<libc::sockaddr_storage>(),
                );
                *length = self.header.msg_namelen;
                Ok(())
            })
        }
        .ok()?;
        address.as_socket()
    }

    /// The regions, for who moves the bytes itself.
    #[cfg(feature = "sim")]
    pub(crate) fn each_region(&self) -> impl Iterator<Item = Region> + '_ {
        self.regions.iter().map(|r| Region { ptr: r.iov_base.cast(), len: r.iov_len })
    }

    /// What a system notes of a receive: the sender's address, if that is known and wanted, and
    /// whether a part was cut off.
    #[cfg(feature = "sim")]
    pub(crate) fn note_received(&mut self, sender: Option<SocketAddr>, is_truncated: bool) {
        self.header.msg_flags = if is_truncated { libc::MSG_TRUNC } else { 0 };
        self.header.msg_namelen = match sender {
            Some(sender) if self.header.msg_namelen != 0 => self.set_address(sender),
            _ => 0,
        };
    }

    fn set_address(&mut self, peer: SocketAddr) -> libc::socklen_t {
        let address = socket2::SockAddr::from(peer);
        // SAFETY: `address` holds `len()` initialised bytes, at most the size of the storage.
        unsafe {
            std::ptr::copy_nonoverlapping(
                address.as_ptr().cast::<u8>(),
                (&raw mut self.address).cast::<u8>(),
                address.len() as usize,
            );
        }
        address.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(bytes: &mut [u8]) -> Region {
        Region { ptr: bytes.as_mut_ptr(), len: bytes.len() }
    }

    #[test]
    fn what_was_sent_before_is_left_out_across_regions() {
        let (mut a, mut b) = ([0u8; 4], [0u8; 4]);
        let mut message = Message::new();
        let regions = [region(&mut a), region(&mut b)];
        message.set(regions.into_iter(), 6, None, false);
        let (list, count) = message.regions();
        assert_eq!(count, 1);
        // SAFETY: the list has one element, as just asserted.
        let only = unsafe { *list };
        assert_eq!(only.iov_base as usize, b.as_ptr() as usize + 2);
        assert_eq!(only.iov_len, 2);
    }

    #[test]
    fn an_address_comes_out_as_it_went_in() {
        for peer in ["127.0.0.1:80", "[::1]:443"] {
            let peer: SocketAddr = peer.parse().expect("an address");
            let mut message = Message::new();
            message.set(std::iter::empty(), 0, Some(peer), false);
            assert_eq!(message.sender(), Some(peer));
        }
    }
}
