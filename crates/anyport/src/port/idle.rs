//! The sleep handshake: who sleeps, and whom to wake.
//!
//! A thread that found nothing to do announces itself, looks once more, and sleeps by its own
//! means. Whoever makes work available publishes it first and then claims a sleeper. Either the
//! sleeper's second look sees the work, or the claim sees the sleeper: no wake-up is lost. The
//! last to announce itself is the first to be claimed, since its caches are the warmest.
//!
//! The port's waiting threads and all that post to them call it. While nobody sleeps, a claim
//! costs one fence.

use std::fmt;
use std::sync::PoisonError;

use crate::atomic::{AtomicUsize, CachePadded, Mutex, MutexGuard, Ordering, fence};

/// The threads that are about to sleep or asleep, by ids of the caller's choice, newest last.
///
/// An id is listed from its `announce` until its own `withdraw` or another thread's claim takes it
/// out, which exactly one of them does. **A claim is a promise to wake that thread.** The wake-up
/// may arrive late, when the thread is already at work again; so a thread that wakes withdraws,
/// looks for work and starts over, whatever woke it.
///
/// **To be claimed is a promise too.** The claimed thread answers for the waker's work, since
/// nobody else is woken for it. So while it is listed a thread only *looks* for work; it takes
/// some after it has withdrawn. Where it must take work while listed (from a source that has no
/// look), or turns to other work first, it claims the next sleeper when `withdraw` says false and
/// work is left. Else one packet lies there while a thread sleeps.
///
/// ```text
/// sleeper                                                poster
/// loop {                                                 publish the work
///     if took work { break }                             if let Some(id) = idle.claim() {
///     idle.announce(me)                                      wake(id)
///     if there is no work { sleep until woken }          }
///     idle.withdraw(me)
/// }
/// ```
pub(crate) struct IdleStack {
    /// The length of `ids`. Written only with `ids` locked, so in the order of the lock; read
    /// without it after a fence that pairs with the one in `announce`.
    count: CachePadded<AtomicUsize>,
    /// Each id at most once, with when it went to sleep; the newest last.
    ids: Mutex<Sleepers>,
}

#[derive(Default)]
struct Sleepers {
    list: Vec<(u64, u32)>,
    /// Counts announcements: a clock for `Since`.
    clock: u64,
}

/// When a thread went to sleep, in announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since(u64);

impl IdleStack {
    pub(crate) fn new() -> Self {
        Self { count: CachePadded::new(AtomicUsize::new(0)), ids: Mutex::new(Sleepers::default()) }
    }

    /// Lists `id`, which must not be listed. The caller must look for work once more after this
    /// and before it sleeps: work published before a claim that did not see `id` is visible then.
    ///
    /// A thread that woke for nothing gives the `since` of its last announcement, and has its old
    /// place: it is not taken for warmer than those that slept on.
    pub(crate) fn announce(&self, id: u32, since: Option<Since>) -> Since {
        let mut ids = self.lock();
        debug_assert!(
            !ids.list.iter().any(|&(_, i)| i == id),
            "thread {id} announced itself twice"
        );
        ids.clock += 1;
        let since = since.unwrap_or(Since(ids.clock));
        let place = ids.list.iter().rposition(|&(s, _)| s < since.0).map_or(0, |i| i + 1);
        ids.list.insert(place, (since.0, id));
        self.publish_count(&ids);
        drop(ids);
        // Pairs with the fence in `anyone_is_listed`. Of the two, one comes first: if this one,
        // the claim sees the count; if that one, the caller's next look sees the work.
        fence(Ordering::SeqCst);
        since
    }

    /// Takes the caller's own `id` out, after it found work or woke up. True: it was still listed
    /// and nobody will wake it. False: a waker has claimed it, and a wake-up is on its way or has
    /// been delivered; that waker's work is visible now, and the caller answers for it.
    pub(crate) fn withdraw(&self, id: u32) -> bool {
        self.remove(id)
    }

    /// For a thread that has published work: takes out the newest id, which the caller must now
    /// wake. `None` when nobody is listed; whoever announces itself after that sees the work.
    pub(crate) fn claim(&self) -> Option<u32> {
        if !self.anyone_is_listed() {
            return None;
        }
        let mut ids = self.lock();
        let newest = ids.list.pop();
        self.publish_count(&ids);
        newest.map(|(_, id)| id)
    }

    /// As [`claim`](Self::claim), for news that concern everybody, such as closing: takes out all
    /// ids, newest first, and the caller must wake each.
    pub(crate) fn claim_all(&self) -> Vec<u32> {
        if !self.anyone_is_listed() {
            return Vec::new();
        }
        let mut ids = self.lock();
        let claimed = ids.list.drain(..).rev().map(|(_, id)| id).collect();
        self.publish_count(&ids);
        claimed
    }

    /// How many are listed, perhaps a moment ago: for statistics and heuristics.
    pub(crate) fn len_hint(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The waker's half of the handshake.
    #[inline]
    fn anyone_is_listed(&self) -> bool {
        // The caller's work is published before this; see `announce`.
        fence(Ordering::SeqCst);
        self.count.load(Ordering::Relaxed) != 0
    }

    fn remove(&self, id: u32) -> bool {
        let mut ids = self.lock();
        let Some(index) = ids.list.iter().rposition(|&(_, listed)| listed == id) else {
            return false;
        };
        ids.list.remove(index);
        self.publish_count(&ids);
        true
    }

    fn publish_count(&self, ids: &MutexGuard<'_, Sleepers>) {
        self.count.store(ids.list.len(), Ordering::Relaxed);
    }

    /// Nothing that runs under the lock leaves the list half changed, so a poisoned one is good.
    fn lock(&self) -> MutexGuard<'_, Sleepers> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for IdleStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleStack").field("len", &self.len_hint()).finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
#[path = "idle_loom.rs"]
mod loom_models;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::super::queue::BoundedQueue;
    use super::*;

    #[test]
    fn the_last_to_announce_itself_is_claimed_first() {
        let idle = IdleStack::new();
        for id in [3, 1, 2] {
            idle.announce(id, None);
        }
        assert_eq!(idle.len_hint(), 3);
        assert_eq!([idle.claim(), idle.claim(), idle.claim()], [Some(2), Some(1), Some(3)]);
        assert_eq!((idle.claim(), idle.len_hint()), (None, 0));
    }

    #[test]
    fn a_thread_that_was_claimed_cannot_withdraw() {
        let idle = IdleStack::new();
        idle.announce(7, None);
        assert_eq!(idle.claim(), Some(7));
        assert!(!idle.withdraw(7));
        idle.announce(7, None);
        assert!(idle.withdraw(7));
        assert!(!idle.withdraw(7));
        assert_eq!(idle.claim(), None);
    }

    #[test]
    fn a_thread_that_woke_for_nothing_has_its_old_place() {
        let idle = IdleStack::new();
        let since: Vec<Since> = (0..3).map(|id| idle.announce(id, None)).collect();
        for id in [0, 1, 0, 2] {
            assert!(idle.withdraw(id));
            assert_eq!(idle.announce(id, Some(since[id as usize])), since[id as usize]);
        }
        assert_eq!(idle.claim_all(), [2, 1, 0]);
    }

    #[test]
    fn a_thread_in_the_middle_can_withdraw() {
        let idle = IdleStack::new();
        for id in 0..5 {
            idle.announce(id, None);
        }
        assert!(idle.withdraw(2));
        assert!(!idle.withdraw(2));
        assert_eq!(idle.len_hint(), 4);
        assert_eq!(idle.claim_all(), [4, 3, 1, 0]);
        assert!(idle.claim_all().is_empty());
        assert!(!idle.withdraw(0));
    }

    #[test]
    fn no_wake_up_is_lost_between_sleepers_and_posters() {
        const ITEMS: usize = if cfg!(miri) { 20 } else { 20_000 };
        let port = Arc::new((BoundedQueue::new(ITEMS), IdleStack::new()));
        let sleepers: Vec<_> = (0..3_u32)
            .map(|me| {
                let port = Arc::clone(&port);
                thread::spawn(move || {
                    let (queue, idle) = &*port;
                    let mut taken = 0;
                    loop {
                        while queue.pop().is_some() {
                            taken += 1;
                        }
                        if queue.is_finished() {
                            return taken;
                        }
                        idle.announce(me, None);
                        if queue.is_empty() && !queue.is_closed() {
                            thread::park();
                        }
                        idle.withdraw(me);
                    }
                })
            })
            .collect();
        let wake = |id: u32| sleepers[id as usize].thread().unpark();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for item in 0..ITEMS / 2 {
                        port.0.push(item).unwrap();
                        port.1.claim().into_iter().for_each(wake);
                    }
                });
            }
        });
        port.0.close();
        port.1.claim_all().into_iter().for_each(wake);
        let taken: usize = sleepers.into_iter().map(|sleeper| sleeper.join().unwrap()).sum();
        assert_eq!(taken, ITEMS);
    }
}
