//! Rings that outlived their port because their owner was away when the port went: only the owner
//! can end what they have under way, and until then the kernel may write to the buffers that they
//! were lent. Each is kept here until its owner comes to a port, or leaves one, or ends.

use super::owned::lock;
use super::provided::Groups;
use super::ring::Ring;
use super::translate;
use io_uring::types;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Names a thread, as long as the process lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OwnerToken(u64);

impl OwnerToken {
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// The calling thread's.
    pub(super) fn of_this_thread() -> Self {
        thread_local! {
            // Without a destructor: it is asked for while the thread ends, too.
            static NUMBER: Cell<u64> = const { Cell::new(0) };
        }
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NUMBER.with(|number| {
            if number.get() == 0 {
                number.set(NEXT.fetch_add(1, Ordering::Relaxed));
                // From now on the thread looks after what is left to it when it ends.
                let _ = AT_THREAD_END.try_with(|_| {});
            }
            OwnerToken(number.get())
        })
    }
}

/// What is left to an owner.
pub(super) struct Left {
    /// The owner's token.
    pub(super) owner: u64,
    pub(super) ring: Arc<Ring>,
    pub(super) groups: Groups,
    /// The requests that are under way.
    pub(super) words: Vec<u64>,
}

static LEFT: Mutex<Vec<Left>> = Mutex::new(Vec::new());
static LEFT_LEN: AtomicUsize = AtomicUsize::new(0);

/// Leaves a ring, whose lane is gone, to its owner.
pub(super) fn leave(one: Left) {
    let mut left = lock(&LEFT);
    left.push(one);
    LEFT_LEN.store(left.len(), Ordering::Release);
}

/// Ends what was left to the calling thread.
pub(super) fn settle(token: OwnerToken) {
    if LEFT_LEN.load(Ordering::Acquire) == 0 {
        return;
    }
    let mine: Vec<Left> = {
        let mut left = lock(&LEFT);
        let (mine, others) = left.drain(..).partition(|l| l.owner == token.number());
        *left = others;
        LEFT_LEN.store(left.len(), Ordering::Release);
        mine
    };
    mine.into_iter().for_each(Left::end);
}

impl Left {
    /// Cancels all that the ring has under way and closes it; on its owner's thread.
    pub(super) fn end(self) {
        let Left { ring, groups, words, .. } = self;
        let mut to_come: HashSet<u64> = words.iter().copied().collect();
        let mut take_all = || {
            // SAFETY: this thread owns the ring, whose lane is gone: nobody else has it.
            while let Some(completion) = unsafe { ring.next_completion() } {
                if !io_uring::cqueue::more(completion.flags()) {
                    to_come.remove(&completion.user_data());
                }
            }
            to_come.len()
        };
        for word in words {
            // SAFETY: as above; a cancel names no memory.
            while unsafe { !ring.push(&translate::cancel_entry(word)) } {
                let _ = ring.submit_only();
                take_all();
            }
        }
        let time = types::Timespec::from(Duration::from_millis(100));
        let arguments = types::SubmitArgs::new().timespec(&time);
        for _ in 0..WAITS_MAX {
            if take_all() == 0 {
                break;
            }
            let _ = ring.submitter().submit_with_args(1, &arguments);
        }
        let remaining = take_all();
        drop(ring);
        if remaining > 0 {
            log::error!("a ring does not end {remaining} requests: what it was lent is kept");
            std::mem::forget(groups);
        }
    }
}

/// Waits of a tenth of a second for requests that end at once; only bounds what a bug could do.
const WAITS_MAX: u32 = 10;

struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        settle(OwnerToken::of_this_thread());
    }
}

thread_local! {
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
}
