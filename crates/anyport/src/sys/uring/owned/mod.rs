//! A lane whose ring belongs to one thread, its *owner*: only the owner submits, and completions
//! exist only after it has entered the kernel. That is the cheapest way to use a ring. What keeps
//! it from holding other threads up:
//!
//! * **Staging.** What a handler starts waits in a list, which enters the submission queue only
//!   when the owner is about to enter the kernel. What is in the list can be taken over.
//! * **The lease.** The owner holds it from the moment it fills the submission queue until it is
//!   back from the kernel. Who takes over what a stuck owner has under way holds it meanwhile, so
//!   no completion comes into being behind its back.
//! * **Disowned requests.** A request that was taken over stays armed in a ring that nobody else
//!   can submit to. The owner cancels it before it lets the kernel run anything else, and its
//!   completion is swallowed.
//! * **Waking.** The owner sleeps in the kernel, and is woken by a message to its ring.
//!
//! Each has a file: `staging`; `lease`; `take_over` and `completions`; `parker`. What the threads
//! of a lane do to each other by the first two and the last is run by loom.
//!
//! Locks, from left to right: `lease` -> `completions` -> `staging`. Only the lease is held across a
//! system call, and only it comes before the locks of the layer above: who holds one of those may
//! stage, reap and wake, and not flush.

mod completions;
mod lease;
mod parker;
mod staging;
mod take_over;

use super::bell::Bell;
use super::left::{self, Left, OwnerToken};
use super::provided::Groups;
use super::ring::{Issuers, Ring};
use super::sorting::Found;
use super::translate;
use crate::buf::{BufferPool, SizeClass};
use crate::error::Error;
use crate::latch::Latch;
use crate::sys::{Event, Token};
use completions::Completions;
use io_uring::{squeue, types};
use lease::{Lease, OwnersLease};
use parker::Parker;
use staging::Staging;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::vec::Drain;

pub(crate) use take_over::TakeOver;

/// How long the owner waits for the completions of cancelled requests before it gives the wait up
/// and looks for them later. They come at once; this only bounds what a bug could do.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// How long the first wait for them is; each that brings nothing makes the next twice as
/// long, up to a tenth of the whole.
const SETTLE_PAUSE_MIN: Duration = Duration::from_micros(50);

/// How often the owner fetches what the kernel keeps for it before it lets others wait for the next
/// time.
const FETCHES_MAX: u32 = 64;

/// Bytes of pooled receives between two submissions, above which the answers are submitted by a call
/// of their own.
///
/// Linux from 6.13 on runs what is deferred up to twice in a call that submits and waits, once for
/// each, and at most 20 requests a time (io_uring/io_uring.c, `IO_LOCAL_TW_DEFAULT_MAX`): fewer
/// calls, but twice as much data is touched before any of it is sent. With 40 messages of 16 KiB that
/// is more than the cache of a core holds beside the sockets: with a call of its own 0.94 of the CPU
/// time (1,000 connections, 95 % 0.92 to 0.96); with 4 KiB 1.00, with 64 bytes 1.02.
const CACHED_MAX: usize = 256 * 1024;

/// See the module documentation.
pub(super) struct OwnedLane {
    options: RingOptions,
    /// The thread that the ring belongs to; 0 when there is no ring.
    owner: AtomicU64,
    staging: Staging<squeue::Entry>,
    /// Size classes whose buffer group the owner is to register before it submits: a bit each.
    wanted_groups: AtomicU8,
    /// Those that the kernel has refused: their receives wait first, without a buffer.
    refused_groups: AtomicU8,
    /// The ring, for wake-ups: behind a lock of its own, since a wake-up may be called for by a
    /// buffer that comes back under any other.
    bell_target: Mutex<Option<Arc<Ring>>>,
    lease: Lease<Arc<Ring>>,
    /// The kernel may be about to try a receive once more. Under the lease; see `after_kernel`.
    is_trying: AtomicBool,
    completions: Latch<Completions>,
    /// Events that were reaped into the lane's queue above and not taken yet.
    reaped_len: AtomicUsize,
    parker: Parker,
}

/// What the owner's ring is made with.
#[derive(Clone, Copy)]
pub(super) struct RingOptions {
    pub(super) submission_entries: u32,
    pub(super) completion_entries: u32,
    /// The lane's share of the pool that it may lend to the kernel.
    pub(super) provided_bytes_max: usize,
}

impl OwnedLane {
    pub(super) fn new(options: RingOptions) -> Self {
        OwnedLane {
            options,
            owner: AtomicU64::new(0),
            staging: Staging::new(),
            wanted_groups: AtomicU8::new(0),
            refused_groups: AtomicU8::new(0),
            bell_target: Mutex::default(),
            lease: Lease::new(),
            is_trying: AtomicBool::new(false),
            completions: Latch::new(Completions::new(options.provided_bytes_max)),
            reaped_len: AtomicUsize::new(0),
            parker: Parker::new(),
        }
    }

    /// Makes the calling thread the owner, with a ring of its own; false while the lane has another
    /// owner, who has not retired it yet.
    pub(super) fn adopt(&self) -> Result<bool, Error> {
        let token = OwnerToken::of_this_thread();
        if self.is_owner(token) {
            return Ok(true);
        }
        left::settle(token);
        let mut lease = self.lease.hold();
        if lease.has_ring() {
            return Ok(false);
        }
        let RingOptions { submission_entries, completion_entries, .. } = self.options;
        let ring = Ring::new(Issuers::OneThread, submission_entries, completion_entries)?;
        let ring = Arc::new(ring);
        lease.put_ring(Arc::clone(&ring));
        *lock(&self.bell_target) = Some(Arc::clone(&ring));
        self.completions.lock().ring = Some(ring);
        fault_point!(RingMade);
        self.owner.store(token.number(), Ordering::Release);
        Ok(true)
    }

    /// True for the thread that the ring belongs to.
    pub(super) fn is_owned_here(&self) -> bool {
        self.is_owner(OwnerToken::of_this_thread())
    }

    /// False when there is no ring.
    pub(super) fn has_owner(&self) -> bool {
        self.owner.load(Ordering::Acquire) != 0
    }

    fn is_owner(&self, token: OwnerToken) -> bool {
        self.owner.load(Ordering::Acquire) == token.number()
    }

    /// Gives the ring up; on its owner's thread, after everything under way was taken over. What
    /// the ring has completed meanwhile comes out of `reap` all the same.
    pub(super) fn retire(&self, pool: &BufferPool) {
        let mut lease = self.lease.hold();
        if !self.is_owned_here() {
            return;
        }
        lease.settle(|ring, words| self.cancel(ring, words, pool));
        let Some(ring) = lease.take_ring() else { return };
        while ring.unsubmitted_len() > 0 || ring.is_overflown() {
            // Everything that moves bytes completes when it is submitted; no completion is lost.
            self.completions.lock().reap_all(pool);
            if ring.submitter().submit().is_err() {
                std::thread::yield_now();
            }
        }
        *lock(&self.bell_target) = None;
        let owner = self.owner.swap(0, Ordering::AcqRel);
        let (groups, disowned) = {
            let mut completions = self.completions.lock();
            completions.reap_all(pool);
            completions.ring = None;
            let fresh = Groups::new(self.options.provided_bytes_max);
            let groups = std::mem::replace(&mut completions.groups, fresh);
            (groups, std::mem::take(&mut completions.disowned))
        };
        if disowned.is_empty() {
            // The ring closes before the buffers that it was lent come back.
            drop(ring);
            drop(groups);
        } else {
            let words = disowned.into_keys().collect();
            left::leave(Left { owner, ring, groups, words });
        }
    }

    /// Cancels what was taken over, so that the kernel lets go of it while the owner waits without
    /// its ring. Only on the owner's thread.
    pub(super) fn settle_here(&self, pool: &BufferPool) {
        let mut lease = self.lease.hold();
        if self.is_owned_here() {
            lease.settle(|ring, words| self.cancel(ring, words, pool));
        }
    }

    /// Stages an entry. On another thread than the owner's, `wake` must follow.
    ///
    /// # Safety
    /// What the entry names stays valid until its last completion was taken, or until it was taken
    /// out again by a `TakeOver`. An entry that may stay under way names no memory of its operation,
    /// so that it can be disowned.
    pub(super) unsafe fn push(&self, entry: squeue::Entry) {
        self.staging.push(entry);
        fault_point!(Staged);
    }

    pub(super) fn has_unsubmitted(&self) -> bool {
        self.staging.has_any()
    }

    /// True when this lane lends the kernel buffers of `class`; the owner registers them.
    pub(super) fn lends(&self, class: SizeClass) -> bool {
        let bit = 1 << translate::group_id(class);
        if self.options.provided_bytes_max < class.bytes()
            || self.refused_groups.load(Ordering::Relaxed) & bit != 0
        {
            return false;
        }
        if self.wanted_groups.load(Ordering::Relaxed) & bit == 0 {
            self.wanted_groups.fetch_or(bit, Ordering::AcqRel);
        }
        true
    }

    /// Hands what is staged to the kernel and fetches what has completed. Only on the owner's
    /// thread.
    pub(super) fn flush(&self, pool: &BufferPool) {
        fault_point!(BeforeLease);
        let mut lease = self.lease.hold();
        fault_point!(LeaseTaken);
        let Some(ring) = self.fill(&mut lease, pool) else { return };
        fault_point!(Filled);
        self.completions.lock().take_received();
        // The kernel is asked for completions only when it says that there are some.
        let _ = ring.submitter().submit();
        fault_point!(BackFromKernel);
        self.after_kernel(&ring, pool);
    }

    /// See [`crate::sys::Backend::wait`]. Only on the owner's thread.
    pub(super) fn wait(&self, timeout: Option<Duration>, pool: &BufferPool) {
        let prepare = || {
            fault_point!(BeforeLease);
            let mut lease = self.lease.hold();
            fault_point!(LeaseTaken);
            let had_disowned = lease.has_uncancelled();
            let ring = self.fill(&mut lease, pool)?;
            fault_point!(Filled);
            let is_large = self.completions.lock().take_received() > CACHED_MAX;
            if is_large && ring.unsubmitted_len() > 0 {
                // What does not go now goes with the call below.
                let _ = ring.submit_only();
            }
            Some((lease, ring, had_disowned))
        };
        self.parker.park(prepare, |(_lease, ring, had_disowned), is_woken| {
            // What was settled may have brought events; what is still staged must not wait for any.
            let has_more = had_disowned || is_woken || self.has_unsubmitted();
            // Neither a timeout nor a signal matters, nor a kernel that has no room for completions:
            // what is not done yet is seen below.
            let _ = match timeout {
                _ if has_more => ring.submitter().submit(),
                None => ring.submitter().submit_and_wait(1),
                Some(timeout) => {
                    let time = types::Timespec::from(timeout);
                    let arguments = types::SubmitArgs::new().timespec(&time);
                    ring.submitter().submit_with_args(1, &arguments)
                }
            };
            fault_point!(BackFromKernel);
            self.after_kernel(&ring, pool);
        });
    }

    /// See [`crate::sys::Backend::wake`].
    pub(super) fn wake(&self, bell: &Bell) {
        self.parker.wake(|| self.strike(bell));
    }

    /// Sends the owner a message; false when none can be sent.
    fn strike(&self, bell: &Bell) -> bool {
        let ring = lock(&self.bell_target).clone();
        ring.is_some_and(|ring| bell.strike(ring.raw_fd()))
    }

    /// Fills `events` up to `ahead`, and tells `upcoming` their tokens; see `Lane::reap`.
    pub(super) fn reap(
        &self,
        events: &mut VecDeque<Event>,
        ahead: usize,
        pool: &BufferPool,
        bell: &Bell,
        upcoming: impl Fn(Token),
    ) {
        let mut completions = self.completions.lock();
        let mut took_wake_up = false;
        while events.len() < ahead {
            let event = match completions.next() {
                Some(Found::Event(event)) => event,
                // Never a reason to stop: who takes over must see every completion.
                Some(Found::Wake) => {
                    took_wake_up = true;
                    continue;
                }
                Some(Found::Nothing | Found::Doorbell | Found::Orphan(_)) => continue,
                None => break,
            };
            upcoming(event.token);
            events.push_back(event);
        }
        let waiting = completions.ring.as_ref().map_or(0, |ring| ring.completions_len());
        completions.groups.top_up(pool, waiting);
        drop(completions);
        // Whoever takes another thread's wake-up must not swallow it.
        if took_wake_up {
            self.parker.pass_on(|| self.strike(bell));
        }
    }

    pub(super) fn note_reaped(&self, events: usize) {
        self.reaped_len.store(events, Ordering::Release);
    }

    pub(super) fn backlog(&self) -> usize {
        let reaped = self.reaped_len.load(Ordering::Acquire);
        // Somebody is at it: there may be something.
        let Some(completions) = self.completions.try_lock() else { return reaped + 1 };
        let Some(ring) = &completions.ring else { return reaped + completions.stash.len() };
        reaped + completions.stash.len() + ring.completions_len()
    }

    /// True when something waits that only the owner, or who takes over, brings forward.
    pub(super) fn has_unattended_work(&self) -> bool {
        if self.has_unsubmitted() {
            return true;
        }
        if self.lease.is_emptied() {
            return false;
        }
        let Some(completions) = self.completions.try_lock() else { return false };
        completions.ring.as_ref().is_some_and(|ring| ring.has_deferred_work())
    }

    /// False when everything was taken over and the owner has not been back, or there is none.
    pub(super) fn has_requests(&self) -> bool {
        self.has_unsubmitted()
            || !self.lease.is_emptied() && self.owner.load(Ordering::Acquire) != 0
    }

    pub(super) fn replenish(&self, class: SizeClass, pool: &BufferPool) -> bool {
        self.completions.lock().groups.grow(class, pool)
    }

    /// Takes the lease for another thread than the owner; `None` while the owner is in the kernel,
    /// or somebody else takes over, or the kernel keeps something back that only the owner can
    /// fetch. Without a ring only what is staged can be taken over.
    pub(super) fn take_over(&self) -> Option<TakeOver<'_>> {
        let is_clear = |ring: &Arc<Ring>| {
            !ring.is_overflown()
                && ring.unsubmitted_len() == 0
                && !self.is_trying.load(Ordering::Relaxed)
        };
        Some(TakeOver { lane: self, lease: self.lease.try_borrow(is_clear)? })
    }

    /// Makes the submission queue hold all that is staged, after disowned requests are gone.
    fn fill(&self, lease: &mut OwnersLease<'_, Arc<Ring>>, pool: &BufferPool) -> Option<Arc<Ring>> {
        debug_assert!(self.is_owned_here(), "only the owner enters the kernel with its ring");
        let ring = lease.enter(|ring, words| self.cancel(ring, words, pool))?;
        let wanted = self.wanted_groups.swap(0, Ordering::AcqRel);
        if wanted != 0 {
            let mut completions = self.completions.lock();
            for class in SizeClass::ALL {
                let bit = 1 << translate::group_id(class);
                if wanted & bit != 0 && !completions.groups.prepare(ring, class, pool) {
                    self.refused_groups.fetch_or(bit, Ordering::AcqRel);
                }
            }
        }
        let hand_over = |entry: &squeue::Entry| {
            if translate::may_be_tried_again(entry) {
                self.is_trying.store(true, Ordering::Relaxed);
            }
            // SAFETY: the lease makes this thread the only one that uses the submission queue; what
            // the entry names was promised to `push`.
            unsafe { ring.push(entry) }
        };
        while !self.staging.drain(hand_over) {
            // Room for what completes at once.
            self.completions.lock().reap_all(pool);
            let _ = ring.submitter().submit();
            self.after_kernel(ring, pool);
            if ring.unsubmitted_len() > 0 {
                // What is left stays staged until events were taken, or there is memory again.
                break;
            }
        }
        Some(Arc::clone(ring))
    }

    /// Sees to it that the owner leaves the kernel with nothing that only it could bring forward:
    /// no completion that found the queue full, no entry that was not taken, and no receive that the
    /// kernel is about to try once more.
    ///
    /// The last is one that has found nothing when it was submitted, while the look at the socket that
    /// followed found it ready (io_uring/poll.c, `io_arm_poll_handler`): it is deferred, and waits for
    /// nothing. A cancel does not find it, so if it were disowned it would receive all the same. Once
    /// nothing is deferred there is none, and whatever came since waits for its socket: one that waits
    /// is woken by its bytes, which nobody else takes.
    fn after_kernel(&self, ring: &Ring, pool: &BufferPool) {
        let is_trying = self.is_trying.load(Ordering::Relaxed);
        let mut fetches = 0;
        while (ring.is_overflown() || is_trying && ring.has_deferred_work())
            && fetches < FETCHES_MAX
        {
            fetches += 1;
            if ring.is_overflown() {
                self.completions.lock().reap_all(pool);
            }
            // Failure leaves the flags set.
            let _ = ring.fetch();
        }
        if is_trying && !ring.has_deferred_work() {
            self.is_trying.store(false, Ordering::Relaxed);
        }
        if ring.unsubmitted_len() > 0 {
            self.staging.note_left();
        }
    }

    /// Cancels what was taken over, and waits until the kernel has said that it is gone.
    fn cancel(&self, ring: &Ring, words: Drain<'_, u64>, pool: &BufferPool) {
        for word in words {
            // SAFETY: the lease makes this thread the only one that uses the submission queue; a
            // cancel names no memory.
            while unsafe { !ring.push(&translate::cancel_entry(word)) } {
                // Only submitted: nothing that is deferred may run before all are cancelled.
                let _ = ring.submit_only();
                // A kernel that has no room for completions submits nothing.
                self.completions.lock().reap_all(pool);
            }
        }
        fault_point!(Cancelled);
        let start = Instant::now();
        let mut pause = SETTLE_PAUSE_MIN;
        let mut to_come = usize::MAX;
        loop {
            // Short at first: a thread that steals may take the very completion that this waits for.
            let time = types::Timespec::from(pause);
            pause = (pause * 2).min(SETTLE_MAX / 10);
            let arguments = types::SubmitArgs::new().timespec(&time);
            // Submitted before the kernel runs what is deferred: so a request that has something
            // to receive by now is cancelled first, and receives nothing.
            let _ = ring.submitter().submit_with_args(1, &arguments);
            let mut completions = self.completions.lock();
            completions.reap_all(pool);
            match completions.disowned.len() {
                0 => return,
                left if left < to_come => {
                    to_come = left;
                    pause = SETTLE_PAUSE_MIN;
                }
                _ => {}
            }
            if start.elapsed() > SETTLE_MAX {
                log::error!(
                    "{} requests that were taken over do not end",
                    completions.disowned.len()
                );
                return;
            }
        }
    }
}

impl Drop for OwnedLane {
    fn drop(&mut self) {
        let completions = self.completions.get_mut();
        let Some(ring) = self.lease.take_ring() else { return };
        completions.ring = None;
        if completions.disowned.is_empty() {
            return;
        }
        // The kernel may still write to what the ring was lent. Only the owner can end that.
        let groups = std::mem::replace(&mut completions.groups, Groups::new(0));
        let owner = self.owner.load(Ordering::Acquire);
        let words = std::mem::take(&mut completions.disowned).into_keys().collect();
        let left = Left { owner, ring, groups, words };
        if owner == OwnerToken::of_this_thread().number() {
            left.end();
        } else {
            left::leave(left);
        }
    }
}

/// A lock whose holder panicked still guards consistent data here: no code between lock and unlock
/// calls out.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
