//! In which world the calling thread is, on which host, and as whom.

use super::shared::Shared;
use super::threads::ThreadId;
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module documentation.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) shared: Arc<Shared>,
    /// Where its sockets are; `None`: wherever the other end is.
    pub(super) host: Option<IpAddr>,
    /// In a world whose threads take turns.
    pub(super) thread: Option<ThreadId>,
    /// It has begun the run.
    pub(super) is_main: bool,
}

/// False in all programs that have no world: what threads ask on their way costs a look at it.
static HAS_ANY: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Where the calling thread is.
pub(super) fn get() -> Option<Current> {
    match HAS_ANY.load(Ordering::Relaxed) {
        false => None,
        // While the thread ends it is nowhere.
        true => CURRENT.try_with(|current| current.borrow().clone()).ok().flatten(),
    }
}

/// Moves the calling thread; back when what this gives is dropped.
#[must_use]
pub(super) fn set(current: Option<Current>) -> Restore {
    HAS_ANY.store(true, Ordering::Relaxed);
    Restore(CURRENT.replace(current))
}

/// The calling thread as one of those that take turns in this world.
pub(super) fn thread_of(shared: &Shared) -> Option<ThreadId> {
    let current = get()?;
    std::ptr::eq(&*current.shared, shared).then_some(current.thread?)
}

/// True when the calling thread has begun this world's run.
pub(super) fn is_main_of(shared: &Shared) -> bool {
    get().is_some_and(|current| current.is_main && std::ptr::eq(&*current.shared, shared))
}

/// Where the thread was before.
pub(in crate::sys) struct Restore(Option<Current>);

impl Drop for Restore {
    fn drop(&mut self) {
        let before = self.0.take();
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}
