//! Rings that outlived their port because their owner was away when the port went: only the owner
//! can end what they have under way, and until then the kernel may write to the buffers that they
//! were lent. Each is kept here until its owner comes to another port, or ends.

use super::owned::lock;
use super::provided::Groups;
use super::ring::Ring;
use super::translate;
use io_uring::types;
use std::cell::Cell;
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

/// What is left to an owner. The ring is closed before its buffers go back.
struct Left {
    owner: u64,
    ring: Arc<Ring>,
    groups: Groups,
    uncancelled: Vec<u64>,
}

static LEFT: Mutex<Vec<Left>> = Mutex::new(Vec::new());
static LEFT_LEN: AtomicUsize = AtomicUsize::new(0);

/// Leaves a ring, whose lane is gone, to its owner.
pub(super) fn leave(owner: u64, ring: Arc<Ring>, groups: Groups, uncancelled: Vec<u64>) {
    let mut left = lock(&LEFT);
    left.push(Left { owner, ring, groups, uncancelled });
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
    mine.into_iter().for_each(end);
}

/// Cancels all that the ring has under way and closes it.
fn end(left: Left) {
    let Left { ring, groups, uncancelled, .. } = left;
    let mut to_come = uncancelled.len();
    for word in uncancelled {
        // SAFETY: this thread owns the ring, whose lane is gone; a cancel names no memory.
        while unsafe { !ring.push(&translate::cancel_entry(word)) } {
            let _ = ring.submitter().submit();
        }
    }
    let time = types::Timespec::from(Duration::from_millis(100));
    let arguments = types::SubmitArgs::new().timespec(&time);
    for _ in 0..100 {
        if to_come == 0 {
            break;
        }
        let _ = ring.submitter().submit_with_args(1, &arguments);
        // SAFETY: as above: nobody else has the ring.
        while let Some(completion) = unsafe { ring.next_completion() } {
            let is_last = !io_uring::cqueue::more(completion.flags());
            let is_request = translate::request_of(completion.user_data()).is_some();
            to_come -= usize::from(is_last && is_request && to_come > 0);
        }
    }
    drop(ring);
    if to_come == 0 {
        drop(groups);
    } else {
        log::error!("a ring does not end {to_come} requests; the buffers it was lent are kept");
        std::mem::forget(groups);
    }
}

struct AtThreadEnd;

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        settle(OwnerToken::of_this_thread());
    }
}

thread_local! {
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
}
