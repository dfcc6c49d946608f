//! Models of who waits for a backlog, which loom runs in every order of their threads' steps:
//! `RUSTFLAGS="--cfg loom" cargo test -p anyport --lib --release loom_backlog`.
//!
//! Whoever waits sleeps until its waker is called: a call that is lost is a deadlock, which loom
//! reports.

use super::Backlog;
use crate::error::{Error, ErrorKind};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::task::{Context, Poll, Wake, Waker};

#[derive(Default)]
struct Bed {
    is_called: Mutex<bool>,
    change: Condvar,
}

/// Loom's pointer does not make wakers.
struct Call(Arc<Bed>);

impl Wake for Call {
    fn wake(self: std::sync::Arc<Self>) {
        *self.0.is_called.lock().unwrap() = true;
        self.0.change.notify_one();
    }
}

/// As a task waits: it is polled again each time that it was woken.
fn wait_below(backlog: &Backlog, below: usize) -> Result<(), Error> {
    let bed = Arc::new(Bed::default());
    let waker = Waker::from(std::sync::Arc::new(Call(Arc::clone(&bed))));
    loop {
        if let Poll::Ready(result) = backlog.poll_below(&mut Context::from_waker(&waker), below) {
            return result;
        }
        let mut is_called = bed.is_called.lock().unwrap();
        while !*is_called {
            is_called = bed.change.wait(is_called).unwrap();
        }
        *is_called = false;
    }
}

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(run);
}

#[test]
fn who_waits_learns_of_the_end_of_two_sends() {
    model(|| {
        let backlog = Arc::new(Backlog::new(5));
        backlog.add(7);
        let sends = [3, 4].map(|len| {
            let backlog = Arc::clone(&backlog);
            thread::spawn(move || assert!(!backlog.remove(len)))
        });
        wait_below(&backlog, 1).expect("none failed");
        assert_eq!(backlog.len(), 0);
        sends.map(|send| send.join().unwrap());
    });
}

#[test]
fn who_waits_learns_of_a_failure() {
    model(|| {
        let backlog = Arc::new(Backlog::new(5));
        backlog.add(7);
        let of_send = Arc::clone(&backlog);
        let send = thread::spawn(move || {
            of_send.fail(Error::new(ErrorKind::Reset, "send"));
            let _ = of_send.remove(1);
        });
        let failed = wait_below(&backlog, 1).expect_err("it has failed");
        assert_eq!(failed.kind(), ErrorKind::Reset);
        send.join().unwrap();
    });
}

#[test]
fn a_side_that_is_to_end_ends_once() {
    model(|| {
        let backlog = Arc::new(Backlog::new(5));
        backlog.add(1);
        let of_send = Arc::clone(&backlog);
        let send = thread::spawn(move || of_send.remove(1));
        let is_at_once = backlog.end_when_empty();
        assert!(is_at_once ^ send.join().unwrap());
    });
}
