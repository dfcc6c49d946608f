//! One ring: its submission queue behind one lock, its completion queue and provided buffers
//! behind another.
//!
//! Both locks are held for a few instructions only; neither is ever held across a system call
//! that waits. The kernel itself orders concurrent calls on one ring.

use super::bell::Bell;
use super::owned::RingOptions;
use super::provided::Groups;
use super::ring::{Issuers, Ring};
use super::sorting::{Found, sort};
use super::translate;
use crate::buf::{BufferPool, SizeClass};
use crate::error::Error;
use crate::sys::{Event, Token, error_from_io};
use io_uring::{cqueue, squeue, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Completions that are taken out of the queue ahead of their turn, so that what they belong to is
/// in the cache by then.
pub(super) const REAPED_MAX: usize = 16;

/// A ring and what belongs to it.
pub(super) struct Lane {
    ring: Ring,
    /// Entries that found the submission queue full; the lock guards the queue as well.
    overflow: Mutex<VecDeque<squeue::Entry>>,
    /// The lock guards the completion queue as well.
    groups: Mutex<Groups>,
    /// Events that were reaped and not taken yet.
    reaped_len: AtomicUsize,
    /// Requests that were pushed and whose last event was not reaped.
    in_flight: AtomicUsize,
    /// Something was pushed since the last flush began.
    is_dirty: AtomicBool,
    /// `wake` was called and no `wait` has returned since.
    is_notified: AtomicBool,
    /// Threads in `wait`: one, or two for the moment in which a lane changes hands.
    waiters: AtomicU32,
    /// The clerk's ring polls this one, because no thread serves it.
    is_orphan_watched: AtomicBool,
    doorbell: Option<Doorbell>,
}

impl Lane {
    /// `issuers` are `Any` or `AnyInterrupted`.
    pub(super) fn new(
        options: RingOptions,
        issuers: Issuers,
        doorbell: Option<Doorbell>,
    ) -> Result<Self, Error> {
        let RingOptions { submission_entries, completion_entries, provided_bytes_max } = options;
        let ring = Ring::new(issuers, submission_entries, completion_entries)?;
        Ok(Lane {
            ring,
            overflow: Mutex::new(VecDeque::new()),
            groups: Mutex::new(Groups::new(provided_bytes_max)),
            reaped_len: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            is_dirty: AtomicBool::new(false),
            is_notified: AtomicBool::new(false),
            waiters: AtomicU32::new(0),
            is_orphan_watched: AtomicBool::new(false),
            doorbell,
        })
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.ring.raw_fd()
    }

    pub(super) fn has_doorbell(&self) -> bool {
        self.doorbell.is_some()
    }

    /// Sets whether the clerk watches this lane; true when that is a change.
    pub(super) fn set_orphan_watched(&self, is_watched: bool) -> bool {
        self.is_orphan_watched.swap(is_watched, Ordering::AcqRel) != is_watched
    }

    /// Queues a request for the next flush. Never fails and never loses one: what the ring has no
    /// room for waits in memory, in order.
    ///
    /// # Safety
    /// What the entry names stays valid until its last completion was taken.
    pub(super) unsafe fn push(&self, entry: squeue::Entry) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        // SAFETY: the caller's promise.
        unsafe { self.push_own(entry) };
    }

    /// As `push`, for entries of the backend's own, which end in no event.
    ///
    /// # Safety
    /// As for `push`.
    pub(super) unsafe fn push_own(&self, entry: squeue::Entry) {
        {
            let mut overflow = lock(&self.overflow);
            if !overflow.is_empty() || !self.push_locked(&entry) {
                overflow.push_back(entry);
            }
        }
        self.is_dirty.store(true, Ordering::Release);
        // The clerk alone submits to its ring; others only tell it that there is something.
        if let Some(doorbell) = &self.doorbell {
            doorbell.ring();
        }
    }

    /// Requests that were pushed and whose last event was not reaped.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(super) fn has_unsubmitted(&self) -> bool {
        self.is_dirty.load(Ordering::Acquire)
    }

    /// Hands everything that was pushed to the kernel.
    pub(super) fn flush(&self) {
        while self.is_dirty.swap(false, Ordering::AcqRel) {
            let is_all_queued = self.refill_submission();
            match self.ring.submitter().submit() {
                Ok(_) if is_all_queued => return,
                // Room was made: move what waits in memory.
                Ok(_) => self.is_dirty.store(true, Ordering::Release),
                Err(e) => {
                    self.is_dirty.store(true, Ordering::Release);
                    // EINTR: at once again. EBUSY and EAGAIN: the completion queue is full or
                    // memory is short; events must be taken first, so leave it for later.
                    if e.raw_os_error() != Some(libc::EINTR) {
                        return;
                    }
                }
            }
        }
    }

    /// Fills `events` up to `ahead` with what the queue holds, and tells `upcoming` their tokens.
    /// The answers to internal entries are consumed on the way.
    ///
    /// More than one ahead may only be taken by the thread that serves the lane: another would
    /// leave it to sleep on an empty queue while its events lie in memory.
    pub(super) fn reap(
        &self,
        events: &mut VecDeque<Event>,
        ahead: usize,
        pool: &BufferPool,
        bell: &Bell,
        upcoming: impl Fn(Token),
        on_orphan: impl Fn(usize),
    ) {
        let mut groups = lock(&self.groups);
        while events.len() < ahead {
            let Some(completion) = self.next_completion() else {
                if self.ring.is_overflown() && events.is_empty() {
                    // The kernel holds completions back that found the queue full: ask for them.
                    // Failure leaves the flag set, and the next call tries again.
                    drop(groups);
                    let _ = self.ring.fetch();
                    groups = lock(&self.groups);
                    if self.ring.completions_len() > 0 {
                        continue;
                    }
                }
                break;
            };
            let event = match sort(&completion, &mut groups) {
                Found::Event(event) => event,
                // Whoever takes another thread's wake-up must not swallow it.
                Found::Wake if self.waiters.load(Ordering::SeqCst) > 0 => {
                    if !bell.strike(self.raw_fd()) {
                        self.is_notified.store(false, Ordering::SeqCst);
                    }
                    break;
                }
                Found::Wake | Found::Nothing => continue,
                Found::Doorbell => {
                    if let Some(doorbell) = &self.doorbell {
                        doorbell.is_armed.store(false, Ordering::Release);
                        doorbell.quiet();
                    }
                    continue;
                }
                Found::Orphan(lane) => {
                    on_orphan(lane);
                    continue;
                }
            };
            if !event.more {
                self.in_flight.fetch_sub(1, Ordering::AcqRel);
            }
            upcoming(event.token);
            events.push_back(event);
        }
        groups.top_up(pool, self.ring.completions_len());
    }

    /// How many events were reaped and not taken yet.
    pub(super) fn note_reaped(&self, events: usize) {
        self.reaped_len.store(events, Ordering::Release);
    }

    pub(super) fn backlog(&self) -> usize {
        self.ring.completions_len()
            + self.reaped_len.load(Ordering::Acquire)
            + usize::from(self.ring.is_overflown())
    }

    /// See [`crate::sys::Backend::wait`].
    pub(super) fn wait(&self, timeout: Option<Duration>) {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        if !self.is_notified.swap(false, Ordering::SeqCst) {
            self.arm_doorbell();
            // Cleared before the queue is filled, so that what is pushed from here on is seen by
            // whoever flushes next.
            self.is_dirty.swap(false, Ordering::SeqCst);
            while !self.refill_submission() {
                // More than the queue holds: it must all be in the kernel before this thread
                // sleeps. A full completion queue (EBUSY) ends the wait below at once, too.
                if let Err(e) = self.ring.submitter().submit()
                    && e.raw_os_error() != Some(libc::EINTR)
                {
                    break;
                }
            }
            fault_point!(PlainFilled);
            let result = match timeout {
                None => self.ring.submitter().submit_and_wait(1),
                Some(timeout) => {
                    let time = types::Timespec::from(timeout);
                    let arguments = types::SubmitArgs::new().timespec(&time);
                    self.ring.submitter().submit_with_args(1, &arguments)
                }
            };
            fault_point!(PlainBack);
            // Nothing to report: a timeout, a signal, or (EBUSY) events that must be taken first.
            // In the last case the entries are still in the queue.
            if result.is_err() {
                self.is_dirty.store(true, Ordering::Release);
            }
            if !lock(&self.overflow).is_empty() {
                self.is_dirty.store(true, Ordering::Release);
            }
        }
        if self.waiters.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.is_notified.store(false, Ordering::SeqCst);
        }
    }

    /// See [`crate::sys::Backend::wake`].
    pub(super) fn wake(&self, bell: &Bell) {
        if let Some(doorbell) = &self.doorbell {
            doorbell.ring();
        } else if !self.is_notified.swap(true, Ordering::SeqCst) && !bell.strike(self.raw_fd()) {
            // The next wake-up shall try again.
            self.is_notified.store(false, Ordering::SeqCst);
        }
    }

    /// Registers the buffer group of `class`, once; false when this lane's share of the pool is
    /// below one buffer, so that it lends none to the kernel.
    pub(super) fn prepare_group(&self, class: SizeClass, pool: &BufferPool) -> bool {
        lock(&self.groups).prepare(&self.ring, class, pool)
    }

    /// See [`crate::sys::Backend::replenish`].
    pub(super) fn replenish(&self, class: SizeClass, pool: &BufferPool) -> bool {
        lock(&self.groups).grow(class, pool)
    }

    fn arm_doorbell(&self) {
        if let Some(doorbell) = &self.doorbell
            && !doorbell.is_armed.swap(true, Ordering::AcqRel)
        {
            let entry = translate::doorbell_entry(doorbell.fd.as_raw_fd());
            let mut overflow = lock(&self.overflow);
            if !self.push_locked(&entry) {
                overflow.push_front(entry);
            }
        }
    }

    /// Moves what waits in memory into the queue; true when nothing is left behind.
    fn refill_submission(&self) -> bool {
        let mut overflow = lock(&self.overflow);
        while let Some(entry) = overflow.front() {
            if !self.push_locked(entry) {
                return false;
            }
            overflow.pop_front();
        }
        true
    }

    /// Puts an entry into the submission queue; the lock of `overflow` is held.
    fn push_locked(&self, entry: &squeue::Entry) -> bool {
        // SAFETY: the lock of `overflow`, which every caller holds, makes this thread the only
        // one that writes to the queue; what the entry names was promised to `push`.
        unsafe { self.ring.push(entry) }
    }

    /// Takes one completion; the lock of `groups` is held.
    fn next_completion(&self) -> Option<cqueue::Entry> {
        // SAFETY: the lock of `groups`, which every caller holds, makes this thread the only one
        // that reads the queue and moves its head.
        unsafe { self.ring.next_completion() }
    }
}

/// How other threads tell the clerk, which alone submits to its ring, that there is work.
pub(super) struct Doorbell {
    fd: OwnedFd,
    /// It was rung and the clerk has not answered yet: no second call is needed.
    is_rung: AtomicBool,
    /// The clerk's ring polls the descriptor.
    is_armed: AtomicBool,
}

impl Doorbell {
    pub(super) fn new() -> Result<Self, Error> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(error_from_io(&io::Error::last_os_error(), "create an eventfd"));
        }
        // SAFETY: the call above gave a new descriptor, which nobody else knows.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Doorbell { fd, is_rung: AtomicBool::new(false), is_armed: AtomicBool::new(false) })
    }

    fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            let one = 1u64;
            // SAFETY: the pointer is to eight readable bytes, the size that an eventfd takes. It
            // can fail only when the counter is full, and then the doorbell rings already.
            unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), 8) };
        }
    }

    /// Makes it ready to be rung again. The clerk looks for work after this, so a ring that comes
    /// before is not lost.
    fn quiet(&self) {
        let mut count = 0u64;
        // SAFETY: the pointer is to eight writable bytes, the size that an eventfd gives.
        unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), 8) };
        self.is_rung.store(false, Ordering::SeqCst);
    }
}

/// A lock whose holder panicked still guards consistent data here: no code between lock and unlock
/// calls out.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
