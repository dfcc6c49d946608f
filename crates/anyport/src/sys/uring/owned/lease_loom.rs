//! Models of the lease, with the staged list, that loom runs in every order of their threads' steps:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_`.
//!
//! The ring and the kernel behind it are a cell: loom reports two threads at it that the lease has
//! not put in order, as an owner that enters the kernel during a take-over.

use super::super::staging::Staging;
use super::Lease;
use crate::atomic::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

fn model(preemptions_max: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions_max));
    builder.check(run);
}

/// All requests of a model; each is staged once.
const WORDS: [u64; 2] = [1, 2];

#[derive(Default)]
struct Requests {
    /// In the submission queue.
    unsubmitted: Vec<u64>,
    /// The kernel has no memory for so many submissions.
    refusals: u32,
    under_way: Vec<u64>,
    /// All that ever was under way.
    submitted: Vec<u64>,
    /// Of those under way, which complete when the owner is in the kernel.
    deferred: Vec<u64>,
    completed: Vec<u64>,
}

/// The ring, which has room for one entry at a time.
struct Ring(UnsafeCell<Requests>);

// SAFETY: that the lease puts all who are at it in order is what the models check.
unsafe impl Sync for Ring {}

impl Ring {
    fn with<T>(&self, f: impl FnOnce(&mut Requests) -> T) -> T {
        // SAFETY: loom ends the model if anybody else is at the cell.
        self.0.with_mut(|requests| f(unsafe { &mut *requests }))
    }

    fn push(&self, entry: u64) -> bool {
        self.with(|r| {
            let has_room = r.unsubmitted.is_empty();
            if has_room {
                r.unsubmitted.push(entry);
            }
            has_room
        })
    }

    /// Submits, and then lets the kernel run what is deferred; true when nothing was refused.
    fn submit(&self) -> bool {
        self.with(|r| {
            if r.refusals > 0 && !r.unsubmitted.is_empty() {
                r.refusals -= 1;
                return false;
            }
            r.submitted.extend(&r.unsubmitted);
            r.under_way.append(&mut r.unsubmitted);
            let deferred = std::mem::take(&mut r.deferred);
            let runs = deferred.into_iter().filter(|word| r.under_way.contains(word));
            r.completed.extend(runs);
            r.under_way.retain(|word| !r.completed.contains(word));
            true
        })
    }

    fn cancel(&self, words: impl Iterator<Item = u64>) {
        let words: Vec<u64> = words.collect();
        self.with(|r| r.under_way.retain(|word| !words.contains(word)));
    }
}

struct Lane {
    lease: Lease<Arc<Ring>>,
    staging: Staging<u64>,
    ring: Arc<Ring>,
}

impl Lane {
    fn new(requests: Requests) -> Arc<Self> {
        let ring = Arc::new(Ring(UnsafeCell::new(requests)));
        let lane = Lane { lease: Lease::new(), staging: Staging::new(), ring };
        lane.lease.hold().put_ring(Arc::clone(&lane.ring));
        Arc::new(lane)
    }

    /// What the owner does when it is back from its handler.
    fn flush(&self) {
        let mut lease = self.lease.hold();
        let ring = lease.enter(|ring, words| ring.cancel(words)).expect("it is there");
        while !self.staging.drain(|&entry| ring.push(entry)) {
            if !ring.submit() {
                return;
            }
        }
        if !ring.submit() {
            self.staging.note_left();
        }
    }

    /// Takes over all that is staged and under way, if nobody is at it; the words of it.
    fn rescue(&self) -> Vec<u64> {
        let is_clear = |ring: &Arc<Ring>| ring.with(|r| r.unsubmitted.is_empty());
        let Some(mut lease) = self.lease.try_borrow(is_clear) else { return Vec::new() };
        let mut taken = Vec::from(self.staging.take_all());
        assert!(taken.is_sorted(), "out of order: {taken:?}");
        for word in WORDS {
            // Staged since then by the owner's handler; or under way, and the lane's still.
            let is_pending = !taken.contains(&word)
                && !lease.submission.uncancelled.contains(&word)
                && self.ring.with(|r| r.under_way.contains(&word));
            if self.staging.remove(|&entry| entry == word) {
                taken.push(word);
            } else if is_pending {
                lease.disown(word);
                taken.push(word);
            }
        }
        lease.note_emptied();
        taken
    }

    fn has_requests(&self) -> bool {
        self.staging.has_any() || !self.lease.is_emptied()
    }
}

/// Does `f` on another thread.
fn elsewhere<R: 'static>(
    lane: &Arc<Lane>,
    f: impl FnOnce(&Lane) -> R + 'static,
) -> thread::JoinHandle<R> {
    let lane = Arc::clone(lane);
    thread::spawn(move || f(&lane))
}

/// Every one of `words` was taken over, or is the owner's, and is not both.
fn assert_each_once(lane: &Lane, taken: &[u64], words: &[u64]) {
    let is_marked = lane.staging.has_any();
    let staged = lane.staging.take_all();
    let mut all = taken.to_vec();
    lane.ring.with(|r| {
        assert!(r.submitted.is_sorted(), "out of order: {:?}", r.submitted);
        let is_all_done = staged.is_empty() && r.unsubmitted.is_empty();
        assert!(is_marked || is_all_done, "nobody would come for {staged:?} {:?}", r.unsubmitted);
        for word in [&r.unsubmitted, &r.under_way, &r.completed].into_iter().flatten() {
            assert!(!taken.contains(word), "taken over, and the owner's too: {word}");
            all.push(*word);
        }
    });
    all.extend(staged);
    all.sort_unstable();
    assert_eq!(all, words);
}

#[test]
fn loom_an_entry_is_submitted_or_taken_over() {
    model(3, || {
        let lane = Lane::new(Requests::default());
        let owner = elsewhere(&lane, Lane::flush);
        let rescuer = elsewhere(&lane, Lane::rescue);
        lane.staging.push(1);
        lane.staging.push(2);
        owner.join().unwrap();
        let taken = rescuer.join().unwrap();
        // What is taken over and still in the ring goes when the owner is back.
        lane.flush();
        assert_each_once(&lane, &taken, &WORDS);
    });
}

#[test]
fn loom_an_entry_that_the_kernel_has_refused_is_not_taken_over() {
    model(3, || {
        let lane = Lane::new(Requests { refusals: 1, ..Requests::default() });
        lane.staging.push(1);
        let owner = elsewhere(&lane, Lane::flush);
        let rescuer = elsewhere(&lane, Lane::rescue);
        lane.staging.push(2);
        owner.join().unwrap();
        let taken = rescuer.join().unwrap();
        lane.lease.hold().settle(|ring, words| ring.cancel(words));
        assert_each_once(&lane, &taken, &WORDS);
    });
}

#[test]
fn loom_a_request_that_is_taken_over_does_not_run_when_the_owner_is_back() {
    model(4, || {
        // Both have something to receive; the first is the owner's, who is in its handler.
        let requests =
            Requests { under_way: WORDS.into(), deferred: WORDS.into(), ..Requests::default() };
        let lane = Lane::new(requests);
        let rescuers = [elsewhere(&lane, Lane::rescue), elsewhere(&lane, Lane::rescue)];
        lane.flush();
        let taken: Vec<u64> = rescuers.into_iter().flat_map(|t| t.join().unwrap()).collect();
        lane.flush();
        assert_each_once(&lane, &taken, &WORDS);
    });
}

#[test]
fn loom_who_looks_finds_a_request_staged_or_under_way() {
    loom::model(|| {
        let lane = Lane::new(Requests::default());
        assert!(lane.rescue().is_empty() && !lane.has_requests());
        lane.staging.push(1);
        let owner = elsewhere(&lane, Lane::flush);
        assert!(lane.has_requests());
        owner.join().unwrap();
    });
}

#[test]
fn loom_a_lane_that_looks_emptied_has_nothing_under_way() {
    model(4, || {
        let lane = Lane::new(Requests::default());
        let owner = elsewhere(&lane, |lane| {
            lane.staging.push(1);
            lane.flush();
        });
        let taken = lane.rescue();
        owner.join().unwrap();
        let has_requests = lane.has_requests();
        lane.lease.hold().settle(|ring, words| ring.cancel(words));
        assert!(has_requests || lane.ring.with(|r| r.under_way.is_empty()));
        assert_each_once(&lane, &taken, &[1]);
    });
}
