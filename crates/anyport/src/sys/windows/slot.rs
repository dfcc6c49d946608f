//! The overlapped structures: one for each operation's number, in chunks that never move and stay
//! as long as the backend.
//!
//! The system holds the address of a structure from the call until its packet was dequeued. A
//! pointer that comes out of the port is compared with the chunks' addresses before anything is
//! read through it: packets of operations that somebody else has started on a duplicate of a
//! handle, or that carry no pointer, name no slot. Called by `Windows`.

use super::lane::locked;
use crate::sys::{Outcome, Request, Token};
use socket2::Socket;
use std::cell::UnsafeCell;
use std::sync::{Mutex, MutexGuard, OnceLock};
use windows_sys::Win32::Foundation::{HANDLE, STATUS_PENDING};
use windows_sys::Win32::Networking::WinSock::SOCKADDR_STORAGE;
use windows_sys::Win32::System::IO::OVERLAPPED;

/// Slots in the first chunk; each further chunk is twice as long.
const FIRST_CHUNK: usize = 64;

/// Enough chunks for 2^32 slots.
const CHUNKS: usize = 27;

/// All slots.
pub(super) struct Slots {
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
}

impl Slots {
    pub(super) fn new() -> Self {
        Slots { chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    /// The slot of this number, made when it is first needed.
    pub(super) fn get(&self, index: u32) -> &Slot {
        let n = index as usize / FIRST_CHUNK + 1;
        let chunk = n.ilog2() as usize;
        let start = ((1 << chunk) - 1) * FIRST_CHUNK;
        let slots = self.chunks[chunk]
            .get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| Slot::new()).collect());
        &slots[index as usize - start]
    }

    /// The slot whose structure is at this address; `None` when none is.
    pub(super) fn find(&self, overlapped: *const OVERLAPPED) -> Option<&Slot> {
        self.chunks.iter().filter_map(OnceLock::get).find_map(|slots| {
            let offset = (overlapped as usize).checked_sub(slots.as_ptr() as usize)?;
            let slot = slots.get(offset / size_of::<Slot>())?;
            std::ptr::eq(slot.overlapped(), overlapped).then_some(slot)
        })
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for chunk in &mut self.chunks {
            let Some(slots) = chunk.take() else { continue };
            if slots.iter().any(|slot| slot.lock().token.is_some()) {
                // The system still owns one of the structures: rather lost than written to.
                log::error!("a port goes with a request under way; its memory is kept");
                std::mem::forget(slots);
            }
        }
    }
}

/// A structure of the system, and what its request is.
pub(super) struct Slot {
    overlapped: UnsafeCell<OVERLAPPED>,
    state: Mutex<State>,
}

// SAFETY: the structure is only handed to the system and accessed under the lock of `state`; what
// it points to is not bound to a thread.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    fn new() -> Self {
        let state = State {
            token: None,
            request: Request::Readable,
            handle: std::ptr::null_mut(),
            skips_packets: false,
            early: None,
            transferred: 0,
            is_cancelled: false,
            accepting: None,
        };
        Slot { overlapped: UnsafeCell::default(), state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The structure, for the system.
    pub(super) fn overlapped(&self) -> *mut OVERLAPPED {
        self.overlapped.get()
    }

    /// Makes the structure ready for a call, with the offset of a file.
    ///
    /// # Safety
    /// The slot is locked and no call that was given the structure is under way.
    pub(super) unsafe fn prepare(&self, offset: u64) {
        let mut overlapped = OVERLAPPED::default();
        overlapped.Anonymous.Anonymous.Offset = offset as u32;
        overlapped.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
        // SAFETY: nobody else accesses the structure, by the caller's promise.
        unsafe { self.overlapped.get().write(overlapped) };
    }

    /// The status of the call; `None` while it is under way.
    pub(super) fn status(&self) -> Option<i32> {
        // SAFETY: the pointer is to the live structure; the system may write the word, so it is
        // read as volatile.
        let status = unsafe { (&raw const (*self.overlapped.get()).Internal).read_volatile() };
        let status = status as i32;
        (status != STATUS_PENDING).then_some(status)
    }
}

/// What is known of the request in a slot.
pub(super) struct State {
    /// Names the request under way.
    pub(super) token: Option<Token>,
    pub(super) request: Request,
    /// Open while the request is under way.
    pub(super) handle: HANDLE,
    /// What succeeds at once on this handle queues no packet.
    pub(super) skips_packets: bool,
    /// What came of a request that was over at once and whose packet was posted.
    pub(super) early: Option<Outcome>,
    /// What the finished parts of a scatter read gave.
    pub(super) transferred: usize,
    /// Further parts are not begun.
    pub(super) is_cancelled: bool,
    /// Kept for the next accept in this slot.
    pub(super) accepting: Option<Box<Accepting>>,
}

// SAFETY: the handle and the pointers in the request mean the same in every thread; see `Request`.
unsafe impl Send for State {}

/// Room for one address in the output of an accept.
pub(super) const ADDRESS_ROOM: usize = size_of::<SOCKADDR_STORAGE>() + 16;

/// What an accept under way needs.
pub(super) struct Accepting {
    /// The socket that becomes the connection.
    pub(super) socket: Option<Socket>,
    /// The system writes both addresses here.
    pub(super) output: [u8; 2 * ADDRESS_ROOM],
}

impl Accepting {
    pub(super) fn new() -> Box<Self> {
        Box::new(Accepting { socket: None, output: [0; 2 * ADDRESS_ROOM] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_found_by_the_address_of_its_structure_and_by_no_other() {
        let slots = Slots::new();
        for index in [0, 1, 63, 64, 1000, 5000] {
            let slot = slots.get(index);
            let overlapped = slot.overlapped();
            assert!(slots.find(overlapped).is_some_and(|found| std::ptr::eq(found, slot)));
            assert!(slots.find(overlapped.wrapping_byte_add(8)).is_none());
        }
        assert!(slots.find(std::ptr::null()).is_none());
        assert!(slots.find(&OVERLAPPED::default()).is_none());
        assert!(slots.find(usize::MAX as *const OVERLAPPED).is_none());
    }

    #[test]
    fn a_slot_never_moves() {
        let slots = Slots::new();
        let first = slots.get(7).overlapped();
        for index in 0..10_000 {
            slots.get(index);
        }
        assert_eq!(slots.get(7).overlapped(), first);
    }
}
