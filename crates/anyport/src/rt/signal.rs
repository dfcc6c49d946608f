//! Signals that come to the process, as something that a task waits for: Ctrl-C, the wish that it
//! end, and the others.
//!
//! Signals are the process's, and come to no simulated world.
//!
//! The system's side is `sys`; here is who waits for which kind. Each listener remembers how many
//! signals it has seen, so each sees every one.

pub use crate::sys::SignalKind;

use crate::error::Error;
use crate::sys::watch_signal;
use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

/// Waits for the next Ctrl-C: [`SignalKind::Interrupt`].
///
/// It is watched for from this call on, not from the first poll. Ctrl-C does not end the process by
/// itself any more, for good: see [`signal`].
///
/// ```no_run
/// # anyport::rt::Runtime::new()?.block_on(async {
/// anyport::rt::signal::ctrl_c().await?;
/// println!("Ending.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As for [`signal`].
///
/// # Cancel safety
/// When it is dropped a Ctrl-C that came meanwhile is lost. To wait again and again, keep a
/// [`Signal`].
#[must_use = "nothing waits until this is awaited"]
pub fn ctrl_c() -> impl Future<Output = Result<(), Error>> + Send + Unpin + use<> {
    next_of(SignalKind::Interrupt)
}

/// Waits until somebody asks the process to end: [`SignalKind::Terminate`].
///
/// It is watched for from this call on, not from the first poll, and from then on does not end the
/// process by itself: see [`signal`]. On Windows the system ends the process all the same, about 5
/// seconds after a console was closed.
///
/// # Errors
/// As for [`signal`].
///
/// # Cancel safety
/// As for [`ctrl_c`].
#[must_use = "nothing waits until this is awaited"]
pub fn terminate() -> impl Future<Output = Result<(), Error>> + Send + Unpin + use<> {
    next_of(SignalKind::Terminate)
}

/// Waits until the process is to end: for the first Ctrl-C ([`SignalKind::Interrupt`]) or wish of
/// somebody that it end ([`SignalKind::Terminate`]: SIGTERM, or the end of the console, the session or
/// the system on Windows) since this was first called.
///
/// Both are watched for from that call on, not from the first poll, and do not end the process by
/// themselves any more, for good: see [`signal`]. So call it before the server says that it is ready.
/// Who is once asked to end stays asked: every later call is ready at once. To tell a second Ctrl-C
/// from the first, use [`ctrl_c`]. On Windows the system ends the process about 5 seconds after a
/// console was closed.
///
/// ```no_run
/// use anyport::rt::{Runtime, signal};
/// use std::time::Duration;
///
/// let runtime = Runtime::new()?;
/// runtime.block_on(async {
///     let end = signal::shutdown_requested();
///     // Listen, say that the server is ready, and serve in tasks.
///     end.await
/// })?;
/// println!("{:?}", runtime.shut_down(Duration::from_secs(10)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As for [`signal`].
///
/// # Cancel safety
/// Nothing is lost when it is dropped: the next call tells of what came meanwhile.
#[must_use = "nothing waits until this is awaited"]
pub fn shutdown_requested() -> impl Future<Output = Result<(), Error>> + Send + Unpin + use<> {
    let mut listeners = shutdown_listeners();
    poll_fn(move |cx| match &mut listeners {
        Ok(listeners) => {
            // Both are asked, so that either wakes.
            let polls = listeners.each_mut().map(|listener| listener.poll_recv(cx).is_ready());
            if polls.contains(&true) { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
        Err(error) => Poll::Ready(Err(*error)),
    })
}

/// Listeners to what asks the process to end, with all that came since there were first such.
fn shutdown_listeners() -> Result<[Signal; 2], Error> {
    const KINDS: [SignalKind; 2] = [SignalKind::Interrupt, SignalKind::Terminate];
    /// How many of each had come before.
    static BEFORE: OnceLock<[u64; 2]> = OnceLock::new();
    listeners_since(&BEFORE, KINDS, |kind| watch_signal(kind, deliver))
}

/// Listeners to all of these kinds that came since this was first called with `before`. `watch` sees
/// to it that they are delivered.
fn listeners_since<const N: usize>(
    before: &OnceLock<[u64; N]>,
    kinds: [SignalKind; N],
    watch: impl Fn(SignalKind) -> Result<(), Error>,
) -> Result<[Signal; N], Error> {
    // First: one may come as soon as it is watched for.
    let before = before.get_or_init(|| kinds.map(|kind| lock(kind).arrived));
    for kind in kinds {
        watch(kind)?;
    }
    let mut listeners = kinds.map(Signal::new);
    for (listener, before) in listeners.iter_mut().zip(before) {
        listener.seen = *before;
    }
    Ok(listeners)
}

/// A listener to all signals of one kind that come from now on.
///
/// The first listener to a kind installs a handler for it, and the process **keeps that handler**
/// until it ends, also when there is no listener any more: what the signal did by itself, such as
/// ending the process, it does not do again. A handler that was there before is called as well.
///
/// ```no_run
/// use anyport::rt::signal::{SignalKind, signal};
///
/// # fn read_configuration() {}
/// # anyport::rt::Runtime::new()?.block_on(async {
/// let mut hangups = signal(SignalKind::Hangup)?;
/// while hangups.recv().await.is_some() {
///     read_configuration();
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// `Unsupported` for a kind that this system does not have; what the system says when it refuses a
/// handler, or descriptors or a thread for it.
pub fn signal(kind: SignalKind) -> Result<Signal, Error> {
    watch_signal(kind, deliver)?;
    Ok(Signal::new(kind))
}

/// A listener to signals of one kind. Made by [`signal`].
///
/// Every listener sees every signal, but signals have no number: some that come before the listener
/// is asked again are one. A signal that came just before the listener was made may still be seen.
pub struct Signal {
    kind: SignalKind,
    /// How many of this kind this listener has seen, of those since the process began.
    seen: u64,
    /// Its place in `Listeners::places`.
    place: usize,
}

impl Signal {
    fn new(kind: SignalKind) -> Self {
        let mut listeners = lock(kind);
        let free = listeners.places.iter().position(|place| matches!(place, Place::Free));
        let place = free.unwrap_or(listeners.places.len());
        match listeners.places.get_mut(place) {
            Some(free) => *free = Place::Taken(None),
            None => listeners.places.push(Place::Taken(None)),
        }
        Signal { kind, seen: listeners.arrived, place }
    }

    /// The kind of signal.
    pub fn kind(&self) -> SignalKind {
        self.kind
    }

    /// Waits until at least one signal has come since the last one seen. Never `None` so far: the
    /// handler stays. `None` would mean that no signal can come any more.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped: a signal that came meanwhile is seen by the next call.
    pub async fn recv(&mut self) -> Option<()> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), for futures written by hand. Wakes the waker of the last call only.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let mut listeners = lock(self.kind);
        if listeners.arrived != self.seen {
            self.seen = listeners.arrived;
            return Poll::Ready(Some(()));
        }
        let Place::Taken(waker) = &mut listeners.places[self.place] else {
            unreachable!("the place is this listener's until it is dropped");
        };
        let is_known = waker.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        let former = if is_known { None } else { waker.replace(cx.waker().clone()) };
        // A waker may do anything when it is dropped.
        drop(listeners);
        drop(former);
        Poll::Pending
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        let waker = mem::replace(&mut lock(self.kind).places[self.place], Place::Free);
        drop(waker);
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("kind", &self.kind).finish_non_exhaustive()
    }
}

fn next_of(kind: SignalKind) -> impl Future<Output = Result<(), Error>> + Send + Unpin + use<> {
    let mut listener = signal(kind);
    poll_fn(move |cx| match &mut listener {
        Ok(signal) => signal.poll_recv(cx).map(|_| Ok(())),
        Err(error) => Poll::Ready(Err(*error)),
    })
}

/// Who listens to the signals of one kind.
struct Listeners {
    /// Signals delivered since the process began.
    arrived: u64,
    places: Vec<Place>,
}

enum Place {
    Free,
    /// A listener's, with its waker while it waits.
    Taken(Option<Waker>),
}

static LISTENERS: [Mutex<Listeners>; SignalKind::ALL.len()] =
    [const { Mutex::new(Listeners { arrived: 0, places: Vec::new() }) }; SignalKind::ALL.len()];

fn lock(kind: SignalKind) -> MutexGuard<'static, Listeners> {
    LISTENERS[kind.index()].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Called by the system's side, on a thread of its own, after a signal has come.
fn deliver(kind: SignalKind) {
    let mut listeners = lock(kind);
    listeners.arrived += 1;
    let wakers: Vec<_> = listeners
        .places
        .iter_mut()
        .filter_map(|place| match place {
            Place::Taken(waker) => waker.take(),
            Place::Free => None,
        })
        .collect();
    drop(listeners);
    for waker in wakers {
        // The others, and all later signals, shall not suffer from one.
        if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
            log::error!("the waker of a listener to {kind:?} panicked");
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::rt::park_on::park_on;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_pending(signal: &mut Signal) -> bool {
        signal.poll_recv(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    // No handler is installed in these tests; each has a kind of its own.

    #[test]
    fn every_listener_sees_a_signal_once() {
        let kind = SignalKind::Interrupt;
        let (mut first, mut second) = (Signal::new(kind), Signal::new(kind));
        assert!(is_pending(&mut first) && is_pending(&mut second));
        deliver(kind);
        let mut late = Signal::new(kind);
        assert_eq!(park_on(first.recv()), Some(()));
        assert_eq!(park_on(second.recv()), Some(()));
        assert!(is_pending(&mut first) && is_pending(&mut second));
        assert!(is_pending(&mut late), "it came before");
    }

    #[test]
    fn signals_that_come_together_are_one() {
        let kind = SignalKind::Terminate;
        let mut signal = Signal::new(kind);
        (0..3).for_each(|_| deliver(kind));
        assert_eq!(park_on(signal.recv()), Some(()));
        assert!(is_pending(&mut signal));
        deliver(kind);
        assert_eq!(park_on(signal.recv()), Some(()));
    }

    #[test]
    fn what_comes_as_soon_as_it_is_watched_for_is_seen_by_all_from_then_on() {
        let (kind, before) = (SignalKind::User1, OnceLock::new());
        deliver(kind);
        let watch = |kind| {
            deliver(kind);
            Ok(())
        };
        for _ in 0..2 {
            let [mut first] = listeners_since(&before, [kind], watch).expect("it is watched for");
            assert!(!is_pending(&mut first));
            let [mut later] = listeners_since(&before, [kind], |_| Ok(())).expect("as before");
            assert!(!is_pending(&mut later));
            assert!(is_pending(&mut later), "what came before is none of them");
        }
    }

    #[test]
    fn giving_up_to_wait_loses_no_signal() {
        let kind = SignalKind::Hangup;
        let mut signal = Signal::new(kind);
        {
            let mut given_up = pin!(signal.recv());
            assert!(given_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            deliver(kind);
        }
        assert_eq!(park_on(signal.recv()), Some(()));
    }

    #[test]
    fn a_signal_wakes_who_waits_and_nobody_else() {
        let kind = SignalKind::Quit;
        let (here, gone) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        let mut waits = Signal::new(kind);
        let mut dropped = Signal::new(kind);
        for (signal, wakes) in [(&mut waits, &here), (&mut dropped, &gone)] {
            let waker = Waker::from(Arc::clone(wakes));
            assert!(signal.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(dropped);
        deliver(kind);
        deliver(kind);
        assert_eq!(here.0.load(Ordering::Relaxed), 1);
        assert_eq!(gone.0.load(Ordering::Relaxed), 0);
        // The place that became free is used again.
        let _next = Signal::new(kind);
        assert_eq!(lock(kind).places.len(), 2);
    }

    #[test]
    fn a_waker_that_panics_keeps_no_signal_from_others() {
        struct Bomb;
        impl Wake for Bomb {
            fn wake(self: Arc<Self>) {
                panic!("by design");
            }
        }
        let kind = SignalKind::Alarm;
        let (mut bad, mut good) = (Signal::new(kind), Signal::new(kind));
        let bomb = Waker::from(Arc::new(Bomb));
        assert!(bad.poll_recv(&mut Context::from_waker(&bomb)).is_pending());
        let waiter = thread::spawn(move || park_on(good.recv()));
        deliver(kind);
        assert_eq!(waiter.join().expect("no panic"), Some(()));
    }

    #[test]
    fn what_the_system_does_not_have_is_an_error() {
        let errors = SignalKind::ALL.into_iter().filter(|&kind| {
            // Those that end no process and no test when they are watched for.
            matches!(kind, SignalKind::WindowChange | SignalKind::Break) && signal(kind).is_err()
        });
        assert_eq!(errors.count(), 1, "one of them is of Unix, one of Windows");
    }
}
