//! Taking over what the owner of a lane has staged and under way, by whoever holds its lease.

use super::OwnedLane;
use super::lease::Borrowed;
use crate::sys::uring::ring::Ring;
use crate::sys::uring::translate::{self, word_of};
use crate::sys::{Descriptor, RequestKind, Token};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The right to take over what a lane's owner has staged and under way: while it lasts the owner
/// does not enter the kernel.
pub(crate) struct TakeOver<'a> {
    pub(super) lane: &'a OwnedLane,
    pub(super) lease: Borrowed<'a, Arc<Ring>>,
}

impl TakeOver<'_> {
    /// Takes out what was staged, and gives the tokens of the requests. Cancels are dropped: what
    /// they were for is taken over too, and knows that it is to end.
    pub(crate) fn take_staged(&mut self) -> Vec<Token> {
        let staged = self.lane.staging.take_all();
        staged.iter().filter_map(|entry| translate::request_of(entry.get_user_data())).collect()
    }

    /// The request is no longer this lane's. If the kernel has it, the owner will cancel it, and its
    /// completion is swallowed; all earlier completions of the lane were taken. The caller holds
    /// the operation's lock, so that nothing is staged for it meanwhile.
    ///
    /// `count` is the number of such requests of its handle: one more from now on, one less when the
    /// kernel has let go.
    pub(crate) fn disown(&mut self, request: RequestKind, token: Token, count: &Arc<AtomicUsize>) {
        let lends = match request {
            RequestKind::ReceivePooled(class) => self.lane.lends(class),
            _ => true,
        };
        let word = word_of(request, token, lends);
        // The owner's handler may be running, and may have staged it since `take_staged`. What was
        // never submitted has no completion to wait for, and must not be submitted any more.
        if self.lane.staging.remove(|entry| entry.get_user_data() == word) {
            return;
        }
        self.lease.disown(word);
        count.fetch_add(1, Ordering::AcqRel);
        self.lane.completions.lock().disowned.insert(word, Arc::clone(count));
    }

    /// Which of these requests would find something now.
    pub(crate) fn ready_among<'d>(
        &self,
        pending: impl Iterator<Item = (&'d Descriptor, RequestKind)>,
    ) -> Vec<bool> {
        let mut entries: Vec<libc::pollfd> = pending
            .map(|(descriptor, request)| libc::pollfd {
                fd: descriptor.system().raw(),
                events: match request {
                    RequestKind::Writable => libc::POLLOUT,
                    _ => libc::POLLIN | libc::POLLRDHUP,
                },
                revents: 0,
            })
            .collect();
        // One call takes no more entries than a process may have descriptors.
        for part in entries.chunks_mut(1024) {
            // SAFETY: pointer and length are those of the part. A failure leaves it as it is:
            // nothing is ready, and the next look finds what is.
            unsafe { libc::poll(part.as_mut_ptr(), part.len() as libc::nfds_t, 0) };
        }
        entries.iter().map(|entry| entry.revents != 0).collect()
    }

    /// Nothing is left under way.
    pub(crate) fn note_emptied(&mut self) {
        self.lease.note_emptied();
    }
}
