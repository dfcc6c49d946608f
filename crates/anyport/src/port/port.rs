//! The completion port itself: post, get, close.

use super::builder::PortBuilder;
use super::clerk;
use super::contexts::Contexts;
use super::crew::Crew;
use super::handle_ref::{Associate, AssociateError};
use super::member::{Member, Membership};
use super::packet::{GetError, Packet, PostError, PostErrorKind};
use super::queue::{BoundedQueue, PushError};
use super::stats::Stats;
use super::taking::Ended;
use crate::buf::{BufferPool, Buffers};
use crate::error::Error;
use crate::op::{Core, OperationKind};
use crate::sys::{BackendChoice, hand_over, now};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// An I/O completion port: operations are started on handles that are associated with it, and any
/// thread takes any completed packet, with no more threads running than the concurrency value.
///
/// `T` is the context of each operation: whatever tells a handler what to do with the packet, such
/// as an `Arc` of the connection.
///
/// Clones are handles of the same port, cheap to make. When the last one is dropped the port is
/// closed and operations under way are aborted; memory that the kernel may still write to is kept
/// until it is done.
///
/// ```
/// use anyport::CompletionPort;
/// use std::time::Duration;
///
/// let port: CompletionPort<&str> = CompletionPort::new(0)?;
/// port.post(7, 42, "hello").expect("there is room");
/// let packet = port.get(Some(Duration::from_secs(1)))?;
/// assert_eq!((packet.key, packet.result, packet.context), (7, Ok(42), "hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CompletionPort<T: Send + 'static> {
    inner: Arc<PortInner<T>>,
}

/// What all handles of a port share.
pub(crate) struct PortInner<T: Send + 'static> {
    pub(super) core: Arc<Core>,
    pub(super) crew: Arc<Crew>,
    pub(super) contexts: Contexts<T>,
    pub(super) posted: BoundedQueue<Posted<T>>,
    choice: BackendChoice,
    pub(super) concurrency: usize,
    /// `CompletionPort`s of this port; associated handles do not count.
    ports: AtomicUsize,
}

/// A posted packet on its way.
pub(super) struct Posted<T> {
    key: usize,
    bytes: u32,
    context: T,
}

impl<T: Send + 'static> CompletionPort<T> {
    /// A port with this concurrency value (0: one for each core), and defaults for all else.
    ///
    /// # Errors
    /// As [`PortBuilder::build`].
    pub fn new(concurrency: usize) -> Result<Self, Error> {
        Self::builder().concurrency(concurrency).build()
    }

    /// Sets a port up in detail.
    pub fn builder() -> PortBuilder {
        PortBuilder::new()
    }

    /// Associates a socket or a file with this port for life, under a key that comes with each of
    /// its packets.
    ///
    /// # Errors
    /// `InvalidInput` when it is associated already or cannot overlap, `InvalidHandle` when it is
    /// not open, `Closed` when the port is. The resource comes back.
    pub fn associate<R: Associate<T>>(
        &self,
        resource: R,
        key: usize,
    ) -> Result<R::Handle, AssociateError<R>> {
        resource.associate(self, key)
    }

    /// Posts a packet. It comes out with exactly this key, these bytes and this context, as a
    /// success; packets of one thread come out in their order.
    ///
    /// # Errors
    /// `Full` at the port's limit, `Closed` after `close`; the packet comes back.
    pub fn post(&self, key: usize, bytes: u32, context: T) -> Result<(), PostError<T>> {
        hand_over();
        match self.inner.posted.push(Posted { key, bytes, context }) {
            Ok(()) => {
                self.inner.crew.wake_one();
                Ok(())
            }
            Err(error) => {
                let kind = match &error {
                    PushError::Full(_) => PostErrorKind::Full,
                    PushError::Closed(_) => PostErrorKind::Closed,
                };
                let Posted { key, bytes, context } = error.into_inner();
                Err(PostError { kind, key, bytes, context })
            }
        }
    }

    /// Takes one packet; waits for it up to `timeout`, for ever without one. The wait is never
    /// shorter than asked for; a timeout of zero only looks.
    ///
    /// The calling thread belongs to this port from now on, until it waits on another or ends:
    /// while it handles the packet it counts as running.
    ///
    /// # Errors
    /// `TimedOut`; `Closed` when the port is closed and nothing posted before is left.
    pub fn get(&self, timeout: Option<Duration>) -> Result<Packet<T>, GetError> {
        let mut packet = None;
        match self.take_many(1, timeout, None, &mut |p| packet = Some(p)) {
            Ok(_) => packet.ok_or(GetError::TimedOut),
            Err(Ended::Closed) => Err(GetError::Closed),
            Err(Ended::TimedOut | Ended::Stopped) => Err(GetError::TimedOut),
        }
    }

    /// Takes up to `max` packets, at least one, whatever their results, and adds them to
    /// `packets`; says how many. Waits as [`get`](Self::get) does, for the first only.
    ///
    /// # Errors
    /// As [`get`](Self::get). `max` of 0 is a look that takes nothing, and times out.
    pub fn get_many(
        &self,
        packets: &mut Vec<Packet<T>>,
        max: usize,
        timeout: Option<Duration>,
    ) -> Result<usize, GetError> {
        if max == 0 {
            return Err(GetError::TimedOut);
        }
        match self.take_many(max, timeout, None, &mut |p| packets.push(p)) {
            Ok(count) => Ok(count),
            Err(Ended::Closed) => Err(GetError::Closed),
            Err(Ended::TimedOut | Ended::Stopped) => Err(GetError::TimedOut),
        }
    }

    /// Runs `f`, which may block, and lets another thread of the port run meanwhile. When it
    /// returns there may be one more running for a moment. On a thread that does not run for this
    /// port it only calls `f`.
    pub fn blocking<R>(&self, f: impl FnOnce() -> R) -> R {
        let crew = &self.inner.crew;
        let _place =
            Membership::of_caller(crew).and_then(|member| GivenPlace::of(Arc::clone(crew), member));
        f()
    }

    /// The handler is done with the packets that its thread has taken, and goes on with something else:
    /// the streams that they are of need not wait until it comes back.
    pub(crate) fn release_streams(&self) {
        self.inner.release_streams();
    }

    /// Refuses starts as [`close`](Self::close) does and aborts what is under way, while threads go on
    /// taking packets: so each of those operations has its packet handed out.
    pub(crate) fn abort_all(&self) {
        self.inner.core.refuse_starts();
        self.inner.core.abort_all();
    }

    /// Closes the port: every waiter and later caller learns of it. Packets posted before are
    /// still handed out; operations under way are aborted.
    pub fn close(&self) {
        self.inner.close();
    }

    /// True after [`close`](Self::close).
    pub fn is_closed(&self) -> bool {
        self.inner.core.is_closed()
    }

    /// Counters, and what is there now.
    pub fn stats(&self) -> Stats {
        let (operations_started, operations_rejected) = self.inner.core.counts();
        let tally = self.inner.crew.tally();
        Stats {
            packets: tally.packets,
            operations_started,
            operations_rejected,
            operations_live: self.inner.core.live(),
            posted_waiting: self.inner.posted.len(),
            stolen: tally.stolen,
            blocked: self.inner.crew.blocked.load(Ordering::Relaxed),
            threads: tally.threads,
            threads_active: tally.active,
            threads_parked: tally.parked,
        }
    }

    /// The backend in use, and why it was chosen.
    pub fn backend(&self) -> &BackendChoice {
        &self.inner.choice
    }

    /// The concurrency value: how many threads of the port may run at the same time.
    pub fn concurrency(&self) -> usize {
        self.inner.concurrency
    }

    /// The pool that pooled receives take their buffers from; yours to take from as well.
    pub fn pool(&self) -> &BufferPool {
        self.inner.core.pool()
    }

    pub(super) fn start(
        core: Arc<Core>,
        concurrency: usize,
        choice: BackendChoice,
        posted_max: usize,
    ) -> Result<Self, Error> {
        let crew = Crew::new(Arc::clone(&core), concurrency);
        let inner = Arc::new(PortInner {
            core: Arc::clone(&core),
            crew: Arc::clone(&crew),
            contexts: Contexts::new(),
            posted: BoundedQueue::new(posted_max),
            choice,
            concurrency,
            ports: AtomicUsize::new(1),
        });
        let weak = Arc::downgrade(&inner);
        crew.set_has_work(Box::new(move || weak.upgrade().is_some_and(|inner| inner.has_work())));
        let weak = Arc::downgrade(&crew);
        core.set_on_ready(Box::new(move || {
            if let Some(crew) = weak.upgrade() {
                crew.wake_one();
            }
        }));
        clerk::start(crew)?;
        Ok(CompletionPort { inner })
    }

    pub(crate) fn inner(&self) -> &Arc<PortInner<T>> {
        &self.inner
    }

    pub(super) fn crew(&self) -> &Arc<Crew> {
        &self.inner.crew
    }

    /// As `get_many`, and ends when `stop` is set and the crew is woken.
    pub(super) fn take_many(
        &self,
        max: usize,
        timeout: Option<Duration>,
        stop: Option<&AtomicBool>,
        take: &mut impl FnMut(Packet<T>),
    ) -> Result<usize, Ended> {
        let deadline = timeout.and_then(|t| now().checked_add(t));
        let mut membership = Membership::take(&self.inner.crew, &self.inner.core);
        let result = self.inner.take_many(&mut membership, max, deadline, stop, take);
        membership.restore();
        result
    }
}

impl<T: Send + 'static> PortInner<T> {
    pub(super) fn has_work(&self) -> bool {
        !self.posted.is_empty() || self.core.has_ready()
    }

    fn close(&self) {
        // Posts are refused first: what was admitted is then handed out before `Closed`.
        if self.posted.close() {
            self.core.set_closed();
            self.core.abort_all();
            self.crew.wake_all();
        }
    }
}

impl<T> Posted<T> {
    pub(super) fn into_packet(self) -> Packet<T> {
        Packet {
            key: self.key,
            kind: OperationKind::Posted,
            operation: None,
            result: Ok(self.bytes as usize),
            context: self.context,
            buffers: Buffers::None,
            more: false,
            peer: None,
            accepted: None,
        }
    }
}

/// A thread that gave its place away counts as running again when this goes, also by a panic.
struct GivenPlace {
    crew: Arc<Crew>,
    member: Arc<Member>,
}

impl GivenPlace {
    /// Gives the place of the calling thread, which is this member, away; `None` when it has none.
    fn of(crew: Arc<Crew>, member: Arc<Member>) -> Option<Self> {
        let lane = member.lane()?;
        // What this thread has prepared belongs to it: nobody else should hand it over.
        crew.core().backend().flush(lane);
        let is_given = crew.give_place_away(&member, member.beat());
        is_given.then_some(GivenPlace { crew, member })
    }
}

/// As [`CompletionPort::blocking`], on whichever port the calling thread runs for.
pub(crate) fn blocking<R>(f: impl FnOnce() -> R) -> R {
    let _place = Membership::of_any_crew().and_then(|(crew, member)| GivenPlace::of(crew, member));
    f()
}

impl Drop for GivenPlace {
    fn drop(&mut self) {
        self.crew.begin_running(&self.member);
    }
}

impl<T: Send + 'static> Clone for CompletionPort<T> {
    fn clone(&self) -> Self {
        self.inner.ports.fetch_add(1, Ordering::Relaxed);
        CompletionPort { inner: Arc::clone(&self.inner) }
    }
}

impl<T: Send + 'static> Drop for CompletionPort<T> {
    fn drop(&mut self) {
        if self.inner.ports.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.close();
            // Contexts may hold handles, and these hold the port: cut the circle.
            // SAFETY: this was the last `CompletionPort`, and the port is closed.
            unsafe {
                self.inner.contexts.clear(|i, f| self.inner.core.with_operation_locked(i, f))
            };
            while self.inner.posted.pop().is_some() {}
            // What only this thread can end, it ends now. Other threads do when they end.
            Membership::end_of_caller(&self.inner.crew);
            self.inner.crew.is_abandoned.store(true, Ordering::Release);
            self.inner.crew.is_clerk_asleep.store(false, Ordering::SeqCst);
            let backend = self.inner.core.backend();
            backend.wake(backend.clerk_lane());
        }
    }
}

impl<T: Send + 'static> fmt::Debug for CompletionPort<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionPort")
            .field("backend", &self.inner.choice)
            .field("concurrency", &self.inner.concurrency)
            .field("stats", &self.stats())
            .finish()
    }
}
