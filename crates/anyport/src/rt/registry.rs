//! Every task that lives, so that a shutdown finds them all.

use crate::latch::Latch;
use crate::sys::{Condvar, now};
use slab::Slab;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

/// What others may know and do of one task.
pub(super) struct TaskState {
    is_aborted: AtomicBool,
    waker: Latch<Option<Waker>>,
}

impl TaskState {
    pub(super) fn is_aborted(&self) -> bool {
        self.is_aborted.load(Ordering::Acquire)
    }

    /// The task is polled once more, and ends there.
    pub(super) fn abort(&self) {
        self.is_aborted.store(true, Ordering::Release);
        turn_point!();
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How the task is woken, from its making on. It refers to the task, which owns this: `forget`
    /// breaks the circle.
    pub(super) fn set_waker(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }

    fn forget(&self) {
        let waker = self.waker.lock().take();
        drop(waker);
    }
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Registry {
    tasks: Mutex<Tasks>,
    emptied: Condvar,
}

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
    pub(super) state: Arc<TaskState>,
}

impl Registry {
    /// A place for a new task; `None` after `close`.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Entry> {
        let state =
            Arc::new(TaskState { is_aborted: AtomicBool::new(false), waker: Latch::new(None) });
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
