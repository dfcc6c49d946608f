//! Every task that lives, so that a shutdown finds them all.

use crate::atomic::{AtomicBool, AtomicUsize, CachePadded, Ordering};
use crate::latch::Latch;
use crate::sys::{Condvar, now};
use slab::Slab;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

/// What others may know and do of one task.
pub(super) struct TaskState {
    /// Of the registry, which need not outlive whoever keeps a handle of a task.
    aborted: Arc<Aborted>,
    is_aborted: AtomicBool,
    calling: Latch<Calling>,
}

/// How the task is called.
#[derive(Default)]
struct Calling {
    waker: Option<Waker>,
    /// It is over, and there is nothing to abort.
    is_over: bool,
}

impl TaskState {
    /// The task is polled once more, and ends there.
    pub(super) fn abort(&self) {
        let calling = self.calling.lock();
        if !calling.is_over && !self.is_aborted.swap(true, Ordering::AcqRel) {
            self.aborted.fetch_add(1, Ordering::AcqRel);
        }
        let waker = calling.waker.clone();
        drop(calling);
        turn_point!();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How the task is woken, from its making on. It refers to the task, which owns this: `forget`
    /// breaks the circle.
    pub(super) fn set_waker(&self, waker: Waker) {
        self.calling.lock().waker = Some(waker);
    }

    fn forget(&self) {
        let mut calling = self.calling.lock();
        calling.is_over = true;
        if self.is_aborted.load(Ordering::Acquire) {
            self.aborted.fetch_sub(1, Ordering::AcqRel);
        }
        let waker = calling.waker.take();
        drop(calling);
        drop(waker);
    }
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Registry {
    tasks: Mutex<Tasks>,
    emptied: Condvar,
    aborted: Arc<Aborted>,
}

/// Tasks that are aborted and live. Every poll of every task asks whether there are any, before it looks
/// at what is known of its own, which lies elsewhere in memory.
type Aborted = CachePadded<AtomicUsize>;

#[derive(Default)]
struct Tasks {
    alive: Slab<Arc<TaskState>>,
    spawned: u64,
    is_closed: bool,
}

/// A task's place in the registry, free again when this is dropped.
pub(super) struct Entry {
    registry: Arc<Registry>,
    key: usize,
    state: Arc<TaskState>,
}

impl Entry {
    pub(super) fn state(&self) -> &Arc<TaskState> {
        &self.state
    }

    /// True from the wake-up on with which the task was aborted.
    pub(super) fn is_aborted(&self) -> bool {
        self.registry.aborted.load(Ordering::Acquire) > 0
            && self.state.is_aborted.load(Ordering::Acquire)
    }
}

impl Registry {
    /// A place for a new task; `None` after `close`.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Entry> {
        let state = Arc::new(TaskState {
            aborted: Arc::clone(&self.aborted),
            is_aborted: AtomicBool::new(false),
            calling: Latch::new(Calling::default()),
        });
        let mut tasks = self.lock();
        if tasks.is_closed {
            return None;
        }
        tasks.spawned += 1;
        let key = tasks.alive.insert(Arc::clone(&state));
        drop(tasks);
        turn_point!();
        Some(Entry { registry: Arc::clone(self), key, state })
    }

    /// No task enters any more; all that live are aborted.
    pub(super) fn close(&self) {
        let alive: Vec<Arc<TaskState>> = {
            let mut tasks = self.lock();
            tasks.is_closed = true;
            tasks.alive.iter().map(|(_, state)| Arc::clone(state)).collect()
        };
        for state in alive {
            turn_point!();
            state.abort();
        }
    }

    /// Waits until no task lives or the deadline has passed; says how many live.
    pub(super) fn wait_empty(&self, deadline: Instant) -> usize {
        let mut tasks = self.lock();
        while !tasks.alive.is_empty() {
            if now() >= deadline {
                break;
            }
            tasks = self.emptied.wait(&self.tasks, tasks, Some(deadline));
        }
        tasks.alive.len()
    }

    /// Tasks that live, and how many there have been.
    pub(super) fn counts(&self) -> (usize, u64) {
        let tasks = self.lock();
        (tasks.alive.len(), tasks.spawned)
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.state.forget();
        turn_point!();
        let mut tasks = self.registry.lock();
        let state = tasks.alive.remove(self.key);
        if tasks.alive.is_empty() {
            self.registry.emptied.notify_all();
        }
        drop(tasks);
        drop(state);
    }
}

#[cfg(all(test, loom))]
#[path = "registry_loom.rs"]
mod loom_registry;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn aborted(registry: &Registry) -> usize {
        registry.aborted.load(Ordering::Acquire)
    }

    #[test]
    fn an_aborted_task_counts_once_until_it_is_over() {
        let registry = Arc::new(Registry::default());
        let (task, other) = (registry.enter().expect("open"), registry.enter().expect("open"));
        let state = Arc::clone(task.state());
        assert!(!task.is_aborted());
        state.abort();
        state.abort();
        assert_eq!((aborted(&registry), task.is_aborted(), other.is_aborted()), (1, true, false));
        drop(task);
        assert_eq!(aborted(&registry), 0);
        // Nobody is left who would take it back.
        state.abort();
        assert_eq!(aborted(&registry), 0);
    }

    #[test]
    fn a_closed_registry_has_aborted_all() {
        let registry = Arc::new(Registry::default());
        let tasks: Vec<Entry> = (0..3).map(|_| registry.enter().expect("open")).collect();
        registry.close();
        assert!(registry.enter().is_none() && tasks.iter().all(Entry::is_aborted));
        assert_eq!(aborted(&registry), 3);
        drop(tasks);
        assert_eq!((aborted(&registry), registry.counts()), (0, (0, 3)));
    }
}
