//! The two queues of one ring, each usable by one thread at a time.
//!
//! The kernel lets different threads use the two queues at once; which thread may use which, and
//! when, is the business of `lane` and `owned`, whose locks these methods rely on.

use crate::error::{Error, ErrorKind};
use crate::sys::error_from_io;
use io_uring::{IoUring, Submitter, cqueue, squeue};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};

/// What to do about a ring that the system has no memory for.
const MEMORY_ADVICE: &str = "its queues count as locked memory: raise that limit (ulimit -l, \
                             LimitMEMLOCK=, --ulimit memlock=), give fewer submission_entries and \
                             completion_entries, or take readiness";

/// Which threads may use a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Issuers {
    /// Any thread submits, and completions run in whichever thread submitted.
    Any,
    /// As `Any`, and each completion interrupts that thread: for kernels without `COOP_TASKRUN`.
    AnyInterrupted,
    /// Only the thread that makes the ring submits, and completions run when it enters the kernel:
    /// about a fifth less CPU for each message.
    OneThread,
}

/// A ring.
pub(super) struct Ring {
    ring: IoUring,
}

impl Ring {
    pub(super) fn new(
        issuers: Issuers,
        submission_entries: u32,
        completion_entries: u32,
    ) -> Result<Self, Error> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completion_entries).setup_clamp();
        // An entry that the kernel refuses must not keep those behind it from being seen.
        builder.setup_submit_all();
        match issuers {
            // Completions run when the thread next enters the kernel, without interrupting it: a
            // fifth less CPU. One that sleeps in the kernel is still woken to run them.
            Issuers::Any => builder.setup_coop_taskrun(),
            Issuers::AnyInterrupted => &mut builder,
            // The flag tells other threads that completions wait for their owner.
            Issuers::OneThread => {
                builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag()
            }
        };
        let ring = builder.build(submission_entries);
        ring.map(|ring| Ring { ring }).map_err(|e| {
            let error = error_from_io(&e, "create an io_uring");
            match error.kind() {
                ErrorKind::NoMemory => error.with_detail(MEMORY_ADVICE),
                _ => error,
            }
        })
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Enters the kernel; for rings of one thread only that thread may.
    pub(super) fn submitter(&self) -> Submitter<'_> {
        self.ring.submitter()
    }

    /// Puts an entry into the submission queue; false when it is full.
    ///
    /// # Safety
    /// No other thread uses the submission queue meanwhile, and what the entry names stays valid
    /// until its last completion was taken.
    pub(super) unsafe fn push(&self, entry: &squeue::Entry) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.ring.submission_shared().push(entry).is_ok() }
    }

    /// Takes one completion.
    ///
    /// # Safety
    /// No other thread uses the completion queue meanwhile.
    pub(super) unsafe fn next_completion(&self) -> Option<cqueue::Entry> {
        // SAFETY: the caller's promise.
        unsafe { self.ring.completion_shared() }.next()
    }

    /// Completions in the queue, perhaps a moment ago.
    pub(super) fn completions_len(&self) -> usize {
        // SAFETY: the queue is only looked at: the head is written by whoever may take completions,
        // an aligned word that is read whole, perhaps a moment old. The view must not be dropped:
        // its drop writes the head.
        ManuallyDrop::new(unsafe { self.ring.completion_shared() }).len()
    }

    /// Entries in the submission queue that the kernel has not taken.
    pub(super) fn unsubmitted_len(&self) -> usize {
        // SAFETY: as in `completions_len`; the tail belongs to whoever may submit.
        ManuallyDrop::new(unsafe { self.ring.submission_shared() }).len()
    }

    /// The kernel holds completions back that found the queue full.
    pub(super) fn is_overflown(&self) -> bool {
        // SAFETY: as in `unsubmitted_len`; of what is read only the flag is used.
        ManuallyDrop::new(unsafe { self.ring.submission_shared() }).cq_overflow()
    }

    /// Something has happened that becomes completions when the ring's owner enters the kernel.
    pub(super) fn has_deferred_work(&self) -> bool {
        // SAFETY: as in `is_overflown`.
        ManuallyDrop::new(unsafe { self.ring.submission_shared() }).taskrun()
    }

    /// Submits what is in the queue and runs nothing else: what is deferred stays so.
    pub(super) fn submit_only(&self) -> io::Result<usize> {
        let entries = self.unsubmitted_len() as u32;
        // SAFETY: no argument is passed.
        unsafe { self.submitter().enter::<libc::sigset_t>(entries, 0, 0, None) }
    }

    /// Asks for what the kernel holds back, without submitting or waiting.
    pub(super) fn fetch(&self) -> io::Result<()> {
        const GETEVENTS: u32 = 1;
        // SAFETY: nothing is submitted and no argument is passed.
        let result = unsafe { self.submitter().enter::<libc::sigset_t>(0, 0, GETEVENTS, None) };
        result.map(drop)
    }
}
