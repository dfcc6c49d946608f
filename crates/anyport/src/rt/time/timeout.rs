//! A future with a limit on its time.

use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::shard::SharedShard;
use super::sleep::Sleep;
use super::timers::Timers;
use super::{clock, current};

/// Gives `future` the time `duration`, from now on: what it yields, or [`Elapsed`] when the time is
/// over, and up to a millisecond later.
///
/// The future goes first: what it has ready counts, even if the time is over. One that is ready at
/// once costs no timer.
///
/// # Cancel safety
/// As that of `future`. When the time is over and this was awaited by value, `future` is dropped;
/// see [`Timeout::into_inner`] for how to get it back.
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
///     let never = std::future::pending::<()>();
///     assert!(time::timeout(Duration::from_millis(5), never).await.is_err());
///     assert_eq!(time::timeout(Duration::from_millis(5), async { 7 }).await, Ok(7));
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    let shard = current::shard();
    let deadline = clock::after(shard.now(), duration);
    Timeout::in_shard(shard, deadline, future.into_future())
}

/// As [`timeout`], until `deadline`.
///
/// # Cancel safety
/// As [`timeout`].
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
///     // Both together have five milliseconds.
///     let deadline = time::now() + Duration::from_millis(5);
///     assert_eq!(time::timeout_at(deadline, async { 7 }).await, Ok(7));
///     assert!(time::timeout_at(deadline, std::future::pending::<()>()).await.is_err());
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout::in_shard(current::shard(), deadline, future.into_future())
}

pin_project! {
    /// A future with a limit on its time: yields `Ok` with what the future yields, or [`Elapsed`].
    ///
    /// Made by [`timeout`], [`timeout_at`] and [`Timeout::new_in`].
    ///
    /// # Cancel safety
    /// As that of the future inside. It is dropped together with this, not before: after
    /// [`Elapsed`] it is still there, with what it has got so far.
    ///
    /// # Panics
    /// As [`Sleep`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// As [`timeout_at`], with timers that need not be current.
    pub fn new_in(timers: &Timers, deadline: Instant, future: F) -> Self {
        Timeout::in_shard(SharedShard::clone(timers.shard()), deadline, future)
    }

    fn in_shard(shard: SharedShard, deadline: Instant, future: F) -> Self {
        Timeout { future, sleep: Sleep::in_shard(shard, deadline) }
    }

    /// When the time is over.
    pub fn deadline(&self) -> Instant {
        self.sleep.deadline()
    }

    /// The future inside.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future inside.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// Gives the future back, with what it has got so far: after [`Elapsed`], or before.
    ///
    /// # Examples
    /// ```
    /// use anyport::rt::time::{Timeout, Timers};
    /// use std::future::Future;
    /// use std::pin::{Pin, pin};
    /// use std::task::{Context, Poll, Waker};
    /// use std::time::Duration;
    ///
    /// let (timers, mut time) = Timers::manual();
    /// let deadline = timers.now() + Duration::from_millis(5);
    /// let (answer, question) = std::sync::mpsc::channel();
    /// let receive = std::future::poll_fn(move |_| match question.try_recv() {
    ///     Ok(answer) => Poll::Ready(answer),
    ///     Err(_) => Poll::Pending,
    /// });
    ///
    /// let mut cx = Context::from_waker(Waker::noop());
    /// let mut limited = Timeout::new_in(&timers, deadline, receive);
    /// assert!(Pin::new(&mut limited).poll(&mut cx).is_pending());
    /// time.advance_to(deadline);
    /// assert!(matches!(Pin::new(&mut limited).poll(&mut cx), Poll::Ready(Err(_))));
    ///
    /// // Later, and without a limit.
    /// let receive = limited.into_inner();
    /// answer.send(42)?;
    /// assert_eq!(pin!(receive).poll(&mut cx), Poll::Ready(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed(())))
    }
}

/// The time of a [`Timeout`] was over before its future was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over before the future was ready")
    }
}

impl Error for Elapsed {}

/// As [`io::ErrorKind::TimedOut`].
impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
