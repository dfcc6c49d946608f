//! A future that is over when its deadline has passed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::shard::SharedShard;
use super::slab::Key;
use super::timers::Timers;
use super::wheel::Reset;
use super::{clock, current};

/// Waits until `duration` has passed, and up to a millisecond longer.
///
/// The time begins now, not with the first poll. It ends only while the runtime lives: a thread outside
/// of it that waits in `block_on` goes on waiting after a shutdown.
///
/// # Cancel safety
/// Dropping the future cancels it, and nothing is lost.
///
/// # Panics
/// Outside of a runtime.
///
/// # Examples
/// ```
/// use anyport::rt::{Runtime, time};
/// use std::time::{Duration, Instant};
///
/// Runtime::builder().build()?.block_on(async {
///     let began = Instant::now();
///     time::sleep(Duration::from_millis(5)).await;
///     assert!(began.elapsed() >= Duration::from_millis(5));
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let shard = current::shard();
    let deadline = clock::after(shard.now(), duration);
    Sleep::in_shard(shard, deadline)
}

/// Waits until `deadline` has passed, and up to a millisecond longer; not at all if it has.
///
/// # Cancel safety
/// Dropping the future cancels it, and nothing is lost.
///
/// # Panics
/// Outside of a runtime.
///
/// # Examples
/// ```
/// use anyport::rt::{Runtime, time};
/// use std::time::Duration;
///
/// Runtime::builder().build()?.block_on(async {
///     let deadline = time::now() + Duration::from_millis(5);
///     time::sleep_until(deadline).await;
///     assert!(time::now() >= deadline);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::in_shard(current::shard(), deadline)
}

/// A future that is over when its deadline has passed: never before, and up to a millisecond later,
/// the resolution of the timers, plus what the system takes to wake a thread.
///
/// Made by [`sleep`], [`sleep_until`] and [`Sleep::new_in`]. The first poll registers it with its
/// timers; then it may be polled and dropped on any thread, inside of the runtime or not. It
/// allocates nothing, needs not stay where it is, and once over stays over until it is
/// [reset](Self::reset).
///
/// # Cancel safety
/// `(&mut sleep).await` may be given up and begun again at any time: the deadline stands.
///
/// # Panics
/// The first poll of the first timer of a runtime panics if the thread that serves the timers cannot
/// be started.
///
/// # Examples
/// One sleep for many rounds of a loop that gives up after a second of silence:
/// ```
/// use anyport::rt::{Runtime, time};
/// use std::future::{Future, poll_fn};
/// use std::pin::Pin;
/// use std::task::Poll;
/// use std::time::Duration;
///
/// Runtime::builder().build()?.block_on(async {
///     const SILENCE: Duration = Duration::from_millis(10);
///     let mut silence = time::sleep(SILENCE);
///     let mut messages = time::interval(Duration::from_millis(2));
///     for _ in 0..3 {
///         let message = poll_fn(|cx| match messages.poll_tick(cx) {
///             Poll::Ready(_) => Poll::Ready(true),
///             Poll::Pending => Pin::new(&mut silence).poll(cx).map(|()| false),
///         });
///         if !message.await {
///             break;
///         }
///         silence.reset(time::now() + SILENCE);
///     }
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    shard: SharedShard,
    deadline: Instant,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Not polled since it was made, or reset after it had fired.
    Idle,
    /// In the wheel, or fired since.
    Waiting(Key),
    Elapsed,
}

impl Sleep {
    /// As [`sleep_until`], with timers that need not be current.
    pub fn new_in(timers: &Timers, deadline: Instant) -> Self {
        Sleep::in_shard(SharedShard::clone(timers.shard()), deadline)
    }

    pub(super) fn in_shard(shard: SharedShard, deadline: Instant) -> Self {
        Sleep { shard, deadline, state: State::Idle }
    }

    /// When it is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the next poll will find it over.
    pub fn is_elapsed(&self) -> bool {
        match self.state {
            State::Idle => self.now() >= self.deadline,
            State::Waiting(key) => !self.shard.is_pending(key),
            State::Elapsed => true,
        }
    }

    /// Sets another deadline, whether or not it was over. A task that waits is woken at the new one.
    ///
    /// A later deadline, as of a timeout that is put off with every message, is only noted: this is
    /// much cheaper than a new sleep.
    ///
    /// A sleep that had fired, even if nobody has polled it since, must be polled once to wait
    /// again, as a new one.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        match self.state {
            State::Idle => {}
            State::Elapsed => self.state = State::Idle,
            State::Waiting(key) => match self.shard.reset(key, deadline) {
                Reset::Gone => self.state = State::Idle,
                Reset::Earlier => self.shard.expect(deadline),
                Reset::Later => {}
            },
        }
    }

    /// The present, by the clock of its timers.
    pub(super) fn now(&self) -> Instant {
        self.shard.now()
    }

    fn begin(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.now() >= self.deadline {
            self.state = State::Elapsed;
            return Poll::Ready(());
        }
        let key = self.shard.insert(self.deadline, cx.waker().clone());
        // Before what may panic, so that the drop takes it out.
        self.state = State::Waiting(key);
        self.shard.expect(self.deadline);
        Poll::Pending
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.state {
            State::Idle => self.begin(cx),
            State::Elapsed => Poll::Ready(()),
            State::Waiting(key) if self.shard.wait(key, cx.waker()) => Poll::Pending,
            State::Waiting(_) => {
                self.state = State::Elapsed;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let State::Waiting(key) = self.state {
            self.shard.cancel(key);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("is_elapsed", &self.is_elapsed())
            .finish_non_exhaustive()
    }
}
