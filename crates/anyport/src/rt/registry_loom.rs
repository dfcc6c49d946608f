//! A model of who aborts a task while it is polled and ends:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_registry`.

use super::Registry;
use crate::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Wake, Waker};

/// The task is in a queue, as after a wake-up.
struct Queued(AtomicBool);

impl Wake for Queued {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn a_poll_after_the_wake_up_of_an_abort_sees_it_and_nothing_stays_counted() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(|| {
        let registry = Arc::new(Registry::default());
        let (task, other) = (registry.enter().expect("open"), registry.enter().expect("open"));
        let queued = Arc::new(Queued(AtomicBool::new(false)));
        task.state().set_waker(Waker::from(Arc::clone(&queued)));
        let state = Arc::clone(task.state());
        let aborting = loom::thread::spawn(move || {
            state.abort();
            state.abort();
        });
        if queued.0.swap(false, Ordering::AcqRel) {
            assert!(task.is_aborted());
        }
        assert!(!other.is_aborted());
        drop(task);
        aborting.join().expect("it ends");
        assert_eq!(registry.aborted.load(Ordering::Acquire), 0);
    });
}
