//! Signals that really come, each in a process of its own: a handler is for life, and a signal that
//! nobody handles ends the process.

#![cfg(unix)]

#[path = "world/child.rs"]
mod child;

use anyport::ErrorKind;
use anyport::rt::signal::{SignalKind, ctrl_c, shutdown_requested, signal, terminate};
use child::{is_child, run_in_child};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread; fails when nothing wakes it.
fn park_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no signal came in {DEADLINE:?}");
        thread::park_timeout(left);
    }
}

fn raise(number: libc::c_int) {
    // SAFETY: every test that calls it has a handler installed for this signal.
    assert_eq!(unsafe { libc::raise(number) }, 0);
}

/// Runs `body` in a child process. `test` is the name of the calling test.
fn alone(test: &str, body: impl FnOnce()) {
    if is_child() { body() } else { run_in_child(test, |_| ()) }
}

#[test]
fn ctrl_c_and_the_wish_to_end_are_waited_for_and_end_nothing() {
    alone("ctrl_c_and_the_wish_to_end_are_waited_for_and_end_nothing", || {
        // It counts from the call on, not from the first poll.
        let interrupted = ctrl_c();
        raise(libc::SIGINT);
        park_on(interrupted).expect("may be watched");
        let terminated = terminate();
        raise(libc::SIGTERM);
        park_on(terminated).expect("may be watched");
    });
}

/// Not ready before `number` is raised, ready after it for good, whoever asks.
fn asks_to_end(number: libc::c_int) {
    // An earlier Ctrl-C was for something else.
    let interrupted = ctrl_c();
    raise(libc::SIGINT);
    park_on(interrupted).expect("may be watched");
    let mut context = Context::from_waker(Waker::noop());
    drop(shutdown_requested());
    let mut waits = shutdown_requested();
    assert!(pin!(&mut waits).poll(&mut context).is_pending(), "nobody has asked");
    let waiter = thread::spawn(move || park_on(waits));
    raise(number);
    waiter.join().expect("no panic").expect("may be watched");
    for _ in 0..2 {
        assert!(matches!(pin!(shutdown_requested()).poll(&mut context), Poll::Ready(Ok(()))));
    }
}

#[test]
fn ctrl_c_asks_to_end() {
    alone("ctrl_c_asks_to_end", || asks_to_end(libc::SIGINT));
}

#[test]
fn the_wish_of_another_process_asks_to_end() {
    alone("the_wish_of_another_process_asks_to_end", || asks_to_end(libc::SIGTERM));
}

#[test]
fn who_gives_up_to_wait_still_learns_that_the_process_is_to_end() {
    alone("who_gives_up_to_wait_still_learns_that_the_process_is_to_end", || {
        drop(shutdown_requested());
        raise(libc::SIGTERM);
        park_on(shutdown_requested()).expect("may be watched");
    });
}

#[test]
fn the_handler_stays_when_the_last_listener_is_gone() {
    alone("the_handler_stays_when_the_last_listener_is_gone", || {
        drop(ctrl_c());
        raise(libc::SIGINT);
        let mut signal = signal(SignalKind::Interrupt).expect("may be watched");
        raise(libc::SIGINT);
        assert_eq!(park_on(signal.recv()), Some(()));
    });
}

#[test]
fn every_listener_sees_every_signal() {
    alone("every_listener_sees_every_signal", || {
        const LISTENERS: usize = 4;
        let mut listeners: Vec<_> =
            (0..LISTENERS).map(|_| signal(SignalKind::User1).expect("may be watched")).collect();
        for _ in 0..100 {
            raise(libc::SIGUSR1);
            for listener in &mut listeners {
                assert_eq!(park_on(listener.recv()), Some(()));
            }
        }
    });
}

#[test]
fn kinds_are_told_apart() {
    alone("kinds_are_told_apart", || {
        const KINDS: [(SignalKind, libc::c_int); 10] = [
            (SignalKind::Interrupt, libc::SIGINT),
            (SignalKind::Terminate, libc::SIGTERM),
            (SignalKind::Hangup, libc::SIGHUP),
            (SignalKind::Quit, libc::SIGQUIT),
            (SignalKind::User1, libc::SIGUSR1),
            (SignalKind::User2, libc::SIGUSR2),
            (SignalKind::Child, libc::SIGCHLD),
            (SignalKind::Alarm, libc::SIGALRM),
            (SignalKind::Pipe, libc::SIGPIPE),
            (SignalKind::WindowChange, libc::SIGWINCH),
        ];
        let mut signals = KINDS.map(|(kind, _)| signal(kind).expect("may be watched"));
        for (index, (_, number)) in KINDS.into_iter().enumerate() {
            raise(number);
            assert_eq!(park_on(signals[index].recv()), Some(()));
            for other in &mut signals {
                let mut context = Context::from_waker(Waker::noop());
                assert!(other.poll_recv(&mut context).is_pending(), "{:?}", other.kind());
            }
        }
    });
}

#[test]
fn a_listener_that_waits_on_another_thread_is_woken() {
    alone("a_listener_that_waits_on_another_thread_is_woken", || {
        let mut signal = signal(SignalKind::User2).expect("may be watched");
        let waiter = thread::spawn(move || {
            for _ in 0..100 {
                assert_eq!(park_on(signal.recv()), Some(()));
            }
        });
        // Some of them come together and are one.
        while !waiter.is_finished() {
            raise(libc::SIGUSR2);
            thread::yield_now();
        }
        waiter.join().expect("no panic");
    });
}

#[test]
fn a_signal_of_another_system_is_refused() {
    let error = signal(SignalKind::Break).expect_err("of Windows");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().starts_with("watch for a signal: not supported"), "{error}");
}
