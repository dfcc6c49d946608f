//! The completion side of an owned lane: what the ring has completed, without what was disowned.

use crate::buf::BufferPool;
use crate::sys::uring::provided::Groups;
use crate::sys::uring::ring::Ring;
use crate::sys::uring::sorting::{Found, sort};
use crate::sys::{Event, Outcome};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The completion side of a lane, behind its lock.
pub(super) struct Completions {
    pub(super) ring: Option<Arc<Ring>>,
    pub(super) groups: Groups,
    /// Bytes that pooled receives have brought since the owner last submitted.
    received: usize,
    /// Events that were reaped while disowned requests were settled; they come first.
    pub(super) stash: VecDeque<Event>,
    /// Requests that were taken over and whose last completion is to come, each with the count of
    /// its handle's.
    pub(super) disowned: HashMap<u64, Arc<AtomicUsize>>,
}

impl Completions {
    pub(super) fn new(provided_bytes_max: usize) -> Self {
        Completions {
            ring: None,
            groups: Groups::new(provided_bytes_max),
            received: 0,
            stash: VecDeque::new(),
            disowned: HashMap::new(),
        }
    }

    /// The next of what has completed, without that of disowned requests.
    pub(super) fn next(&mut self) -> Option<Found> {
        if let Some(event) = self.stash.pop_front() {
            return Some(Found::Event(event));
        }
        self.next_of_ring()
    }

    fn next_of_ring(&mut self) -> Option<Found> {
        let ring = self.ring.as_ref()?;
        loop {
            // SAFETY: the lock around `self` makes this thread the only one that uses the
            // completion queue.
            let completion = unsafe { ring.next_completion() }?;
            let found = sort(&completion, &mut self.groups);
            if let Found::Event(Event { outcome: Outcome::Pooled(buffer), .. }) = &found {
                self.received = self.received.saturating_add(buffer.len());
            }
            let word = completion.user_data();
            if self.disowned.is_empty() || !self.disowned.contains_key(&word) {
                return Some(found);
            }
            if let Found::Event(event) = found {
                if !event.more
                    && let Some(count) = self.disowned.remove(&word)
                {
                    count.fetch_sub(1, Ordering::AcqRel);
                }
                if has_taken_something(&event.outcome) {
                    // It was to be cancelled before the kernel ran it.
                    log::error!("a request that was taken over has received: {event:?}");
                    debug_assert!(false, "a request that was taken over has received");
                }
            }
        }
    }

    /// What pooled receives have brought since the last call, in bytes.
    pub(super) fn take_received(&mut self) -> usize {
        std::mem::take(&mut self.received)
    }

    /// Reaps all of the queue, for `next` to find later.
    pub(super) fn reap_all(&mut self, pool: &BufferPool) {
        while let Some(found) = self.next_of_ring() {
            if let Found::Event(event) = found {
                self.stash.push_back(event);
            }
        }
        self.groups.top_up(pool, 0);
    }
}

/// True when a completion took something from its socket that nobody else will get.
fn has_taken_something(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Pooled(buffer) | Outcome::PooledTruncated(buffer) => !buffer.is_empty(),
        Outcome::Accepted(_) => true,
        _ => false,
    }
}
