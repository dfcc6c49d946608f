//! The memory of a scatter/gather or datagram call: region list and address. Its address is given
//! to the system, so it lives in a box that an operation keeps until its last event.

use crate::sys::Region;
use std::net::SocketAddr;
use windows_sys::Win32::Networking::WinSock::{SOCKADDR, SOCKADDR_STORAGE, WSABUF};

/// The most bytes for one call: lengths and their sum are 32 bits wide.
pub(super) const TRANSFER_MAX: usize = 1 << 30;

/// A list of regions with the address that goes with them.
pub(crate) struct Message {
    regions: Vec<WSABUF>,
    address: SOCKADDR_STORAGE,
    /// 0: no address.
    address_len: i32,
    is_truncated: bool,
}

// SAFETY: the raw pointers point to memory that the operation which owns the message owns as
// well; it is not bound to a thread.
unsafe impl Send for Message {}

impl Message {
    /// An empty message. The box is what keeps its address.
    pub(crate) fn new() -> Box<Self> {
        // SAFETY: all-zero bytes are a valid address storage, of no family.
        let address = unsafe { std::mem::zeroed() };
        Box::new(Message { regions: Vec::new(), address, address_len: 0, is_truncated: false })
    }

    /// Sets the regions, leaving out the first `skip` bytes (what went before), and the address to
    /// send to; without one, room for a sender's address when `wants_sender`.
    ///
    /// What is too much for one call is left out at the end; there is always one region, which may
    /// be empty.
    pub(crate) fn set(
        &mut self,
        regions: impl Iterator<Item = Region>,
        mut skip: usize,
        peer: Option<SocketAddr>,
        wants_sender: bool,
    ) {
        self.regions.clear();
        let mut room = TRANSFER_MAX;
        for region in regions {
            if skip >= region.len {
                skip -= region.len;
                continue;
            }
            let len = (region.len - skip).min(room);
            if len == 0 {
                break;
            }
            // `wrapping_add`: a region's pointer need not be dereferenceable when it is empty.
            let buf = region.ptr.wrapping_add(skip);
            self.regions.push(WSABUF { len: len as u32, buf });
            room -= len;
            skip = 0;
        }
        if self.regions.is_empty() {
            self.regions.push(WSABUF { len: 0, buf: std::ptr::dangling_mut() });
        }
        self.is_truncated = false;
        self.address_len = match peer {
            Some(peer) => self.set_address(peer),
            None if wants_sender => size_of::<SOCKADDR_STORAGE>() as i32,
            None => 0,
        };
    }

    /// The regions, for the system.
    pub(super) fn regions(&self) -> &[WSABUF] {
        &self.regions
    }

    /// The address and its length, for the system, when there is an address.
    pub(super) fn address(&mut self) -> Option<(*mut SOCKADDR, *mut i32)> {
        let is_there = self.address_len != 0;
        is_there.then(|| ((&raw mut self.address).cast(), &raw mut self.address_len))
    }

    /// Bytes that the regions hold.
    pub(super) fn capacity(&self) -> usize {
        self.regions.iter().map(|region| region.len as usize).sum()
    }

    pub(super) fn set_truncated(&mut self) {
        self.is_truncated = true;
    }

    /// The datagram did not fit into the regions.
    pub(crate) fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// The sender's address, or the one to send to.
    pub(crate) fn sender(&self) -> Option<SocketAddr> {
        if self.address_len == 0 {
            return None;
        }
        // SAFETY: the storage is initialised (zeroed at first, written by the system since), and
        // the copied type has the same layout: socket2 defines it by the same declaration.
        let ((), address) = unsafe {
            socket2::SockAddr::try_init(|storage, length| {
                std::ptr::copy_nonoverlapping(
                    (&raw const self.address).cast::<u8>(),
                    storage.cast::<u8>(),
                    size_of::<SOCKADDR_STORAGE>(),
                );
                *length = self.address_len;
                Ok(())
            })
        }
        .ok()?;
        address.as_socket()
    }

    /// The regions, for who moves the bytes itself.
    #[cfg(feature = "sim")]
    pub(crate) fn each_region(&self) -> impl Iterator<Item = Region> + '_ {
        self.regions.iter().map(|r| Region { ptr: r.buf, len: r.len as usize })
    }

    /// What a system notes of a receive: the sender's address, if that is known and wanted, and
    /// whether a part was cut off.
    #[cfg(feature = "sim")]
    pub(crate) fn note_received(&mut self, sender: Option<SocketAddr>, is_truncated: bool) {
        self.is_truncated = is_truncated;
        self.address_len = match sender {
            Some(sender) if self.address_len != 0 => self.set_address(sender),
            _ => 0,
        };
    }

    fn set_address(&mut self, peer: SocketAddr) -> i32 {
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
        let [only] = message.regions() else { panic!("one region is left") };
        assert_eq!(only.buf as usize, b.as_ptr() as usize + 2);
        assert_eq!(only.len, 2);
    }

    #[test]
    fn what_is_too_much_for_one_call_is_left_out_at_the_end() {
        let mut message = Message::new();
        let large = Region { ptr: std::ptr::dangling_mut(), len: TRANSFER_MAX - 1 };
        message.set([large; 3].into_iter(), 0, None, false);
        let lengths: Vec<usize> = message.regions().iter().map(|r| r.len as usize).collect();
        assert_eq!(lengths, [TRANSFER_MAX - 1, 1]);
        assert_eq!(message.capacity(), TRANSFER_MAX);
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
