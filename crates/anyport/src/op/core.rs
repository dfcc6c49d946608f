//! The engine below the contexts: backend, table of operations, and the events that pass between
//! them. It knows no threads; whoever calls says which lane it serves.

use super::at_once::SentAtOnce;
use super::body::{Body, Completion, NONE, Phase};
use super::handle::{HandleCore, HandleState};
use super::name::Side;
use super::quiet::QuietEnds;
use super::receive_class::{self, ReceiveClass};
use super::table::OpTable;
use crate::buf::{BufferPool, SizeClass};
use crate::error::{Error, ErrorKind};
use crate::latch::{Latch, LatchGuard};
use crate::sys::{
    Backend, Event, Outcome, Reaped, Request, RequestKind, Token, receive_pooled_now,
};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// Limits and defaults of the operations of a port.
pub(crate) struct CoreOptions {
    pub(crate) operations_max: usize,
    /// Packets of one stream that may wait before its receiving pauses.
    pub(crate) stream_backlog_max: usize,
    /// What the pooled receives of a new handle use.
    pub(crate) receive_class: SizeClass,
    /// They use it whatever comes.
    pub(crate) is_receive_class_fixed: bool,
}

/// See the module documentation.
pub(crate) struct Core {
    backend: Backend,
    pub(super) table: OpTable,
    pub(super) options: CoreOptions,
    /// What receives may grow to.
    pub(super) receive_class_max: SizeClass,
    pool: BufferPool,
    /// One lock a lane: events of a lane become completions in their order, one thread at a time.
    pub(super) reaping: Box<[Latch<Reaped>]>,
    /// Completions that no lane's event brings: of cancelled, aborted and released operations.
    pub(super) ready: Mutex<VecDeque<Completion>>,
    pub(super) ready_len: AtomicUsize,
    /// Operations that wait for a pooled buffer.
    pub(super) starved: Mutex<Vec<Token>>,
    /// A pooled buffer came back while somebody waited for one.
    pub(super) has_returned_buffer: AtomicBool,
    /// Set before `is_closed`, or long before.
    refuses_starts: AtomicBool,
    is_closed: AtomicBool,
    /// Tells the layer above that `ready` or `starved` wants a thread.
    on_ready: OnceLock<Box<dyn Fn() + Send + Sync>>,
    pub(super) rejected: AtomicU64,
    /// Sends that were over before their start returned, by the lane of the thread.
    pub(super) sent_at_once: Box<[SentAtOnce]>,
}

impl Core {
    pub(crate) fn new(backend: Backend, pool: BufferPool, options: CoreOptions) -> Arc<Self> {
        let lanes = backend.lanes();
        let core = Arc::new(Core {
            backend,
            table: OpTable::new(options.operations_max),
            options,
            receive_class_max: receive_class::class_max(pool.stats().bytes_max),
            pool: pool.clone(),
            reaping: (0..lanes).map(|_| Latch::default()).collect(),
            ready: Mutex::new(VecDeque::new()),
            ready_len: AtomicUsize::new(0),
            starved: Mutex::new(Vec::new()),
            has_returned_buffer: AtomicBool::new(false),
            refuses_starts: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            on_ready: OnceLock::new(),
            rejected: AtomicU64::new(0),
            sent_at_once: (0..lanes).map(|_| SentAtOnce::default()).collect(),
        });
        // Weak: a pooled buffer that outlives the port must not keep the engine alive.
        let weak = Arc::downgrade(&core);
        pool.set_on_return(Box::new(move || {
            if let Some(core) = weak.upgrade() {
                core.has_returned_buffer.store(true, Ordering::Release);
                core.call_on_ready();
            }
        }));
        core
    }

    /// Sets what to call when a thread is wanted; once.
    pub(crate) fn set_on_ready(&self, f: Box<dyn Fn() + Send + Sync>) {
        let _ = self.on_ready.set(f);
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(crate) fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// For a new handle.
    pub(super) fn receive_class(&self) -> ReceiveClass {
        ReceiveClass::new(self.options.receive_class, self.options.is_receive_class_fixed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// True after `refuse_starts`, and after `set_closed`.
    pub(crate) fn refuses_starts(&self) -> bool {
        self.refuses_starts.load(Ordering::Acquire)
    }

    /// From now on every start is refused. Operations under way are not touched, and what they bring
    /// is handed out.
    pub(crate) fn refuse_starts(&self) {
        self.refuses_starts.store(true, Ordering::Release);
    }

    /// As `refuse_starts`; and nobody waits for packets any more.
    pub(crate) fn set_closed(&self) {
        self.refuse_starts();
        self.is_closed.store(true, Ordering::Release);
    }

    /// Operations under way, and packets of operations not taken yet.
    pub(crate) fn live(&self) -> usize {
        self.table.live()
    }

    /// Operations started, and starts refused, since the port was made.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let at_once: u64 = self.sent_at_once.iter().map(SentAtOnce::get).sum();
        (self.table.reserved() + at_once, self.rejected.load(Ordering::Relaxed))
    }

    /// Calls `f` with the lock of this operation held; it must not call the engine.
    pub(crate) fn with_operation_locked(&self, index: u32, f: &mut dyn FnMut()) {
        let _body = self.table.lock(index);
        f();
    }

    /// Gives back the slot of an operation that is over, after its context was taken.
    pub(crate) fn release(&self, index: u32) {
        self.table.release(index);
    }

    /// Takes the operation out of its line, now that its completion is where no other overtakes it,
    /// and starts the one that waited for it.
    pub(crate) fn begin_next(&self, serving: usize, completion: &mut Completion) {
        if let Some(handle) = completion.in_line.take() {
            let (side, index) = (completion.kind.side(), completion.index());
            let next = self.unlink(&handle, &mut handle.state(), side, index);
            drop(handle);
            if let Some(next) = next {
                self.begin(serving, next);
            }
        }
        if let Some(last) = completion.last.take() {
            self.push_ready(serving, *last);
        }
    }

    /// The context of one packet of an accept stream was copied.
    pub(crate) fn claimed(&self, index: u32) {
        self.table.lock(index).unclaimed -= 1;
    }

    /// Some thread is about to copy the context of an earlier packet of this operation.
    pub(crate) fn has_unclaimed(&self, index: u32) -> bool {
        self.table.lock(index).unclaimed > 0
    }

    /// An event met its operation, or passed by because the operation is over.
    pub(super) fn on_event(
        &self,
        serving: usize,
        mut event: Event,
        quiet: Option<&mut QuietEnds>,
    ) -> Option<Completion> {
        let body = self.table.lock(event.token.index());
        if !body.is_current(event.token) {
            return None;
        }
        if let Some(quiet) = quiet
            && body.ends_quietly_with(&event.outcome)
        {
            quiet.push(body.index);
            self.end_quietly(serving, body);
            return None;
        }
        if matches!(event.outcome, Outcome::ReadyForPooled)
            && let Some(handle) = &body.handle
        {
            let class = handle.receive_class();
            event.outcome = receive_pooled_now(handle.descriptor(), &self.pool, class);
        }
        self.advance(serving, body, event)
    }

    /// Ends the operation. It stays in its line until its completion has found its place: were it
    /// the only one there, another could start, and be over, before.
    pub(super) fn conclude(
        &self,
        mut body: LatchGuard<'_, Body>,
        result: Result<usize, Error>,
    ) -> Completion {
        let is_reset = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Reset);
        let handle = body.handle.take();
        let mut completion = body.finish(handle.as_deref(), result);
        drop(body);
        if let Some(handle) = &handle
            && is_reset
        {
            handle.is_reset.store(true, Ordering::Release);
        }
        completion.in_line = handle;
        completion
    }

    /// Ends an operation that was asked to end, after this many bytes.
    pub(super) fn end_as_asked(
        &self,
        kind: ErrorKind,
        transferred: usize,
        body: LatchGuard<'_, Body>,
    ) -> Completion {
        let error = Error::new(kind, body.kind.action()).with_transferred(transferred);
        self.conclude(body, Err(error))
    }

    /// Takes an operation out of its handle's line; gives the one that is now first and has not
    /// begun.
    pub(super) fn unlink(
        &self,
        handle: &HandleCore,
        state: &mut HandleState,
        side: Side,
        index: u32,
    ) -> Option<Token> {
        let queue = match side {
            Side::Receiving => &mut state.receiving,
            Side::Sending => &mut state.sending,
            Side::Unordered => {
                if let Some(unordered) = &mut state.unordered {
                    unordered.retain(|&i| i != index);
                }
                return None;
            }
        };
        let was_first = queue.remove(&self.table, index);
        if !was_first {
            return None;
        }
        let next = queue.head()?;
        if side == Side::Sending && handle.is_sending_at_once(state) {
            return None;
        }
        Some(self.table.lock(next).token())
    }

    /// Starts the operation that has come to the head of its line, unless somebody was faster.
    pub(super) fn begin(&self, serving: usize, token: Token) {
        let body = self.table.lock(token.index());
        // The generation: its slot may be another operation's by now.
        if body.is_current(token) && body.phase == Phase::Queued {
            self.begin_locked(serving, body);
        }
    }

    /// See `begin`. What ends at once goes to the ready queue.
    pub(super) fn begin_locked(&self, serving: usize, mut body: LatchGuard<'_, Body>) {
        body.phase = Phase::AtWork;
        if let Some(completion) = self.first_attempt(serving, body) {
            self.push_ready(serving, completion);
        }
    }

    /// As `begin_locked`, for an operation whose first attempt was made already.
    pub(super) fn go_on_locked(
        &self,
        serving: usize,
        mut body: LatchGuard<'_, Body>,
        outcome: Outcome,
    ) {
        body.phase = Phase::AtWork;
        body.request = RequestKind::Transfer;
        let event = Event::last(body.token(), outcome);
        if let Some(completion) = self.advance(serving, body, event) {
            self.push_ready(serving, completion);
        }
    }

    /// Calls a thread for what was queued.
    pub(super) fn call_on_ready(&self) {
        if let Some(f) = self.on_ready.get() {
            f();
        }
    }

    /// Hands a request of this operation, on its own handle, to the backend.
    pub(super) fn issue(&self, serving: usize, body: &mut Body, request: Request) {
        // Out and in again is cheaper than to count one more owner.
        if let Some(handle) = body.handle.take() {
            self.issue_on(serving, body, &handle, request);
            body.handle = Some(handle);
        }
    }

    /// Hands a request of this operation, on whichever handle, to the backend.
    pub(super) fn issue_on(
        &self,
        serving: usize,
        body: &mut Body,
        handle: &HandleCore,
        request: Request,
    ) {
        let serving = self.backend.lane_for(&request, serving);
        body.request = request.kind();
        body.lane = serving as u16;
        // What is taken over before its last event names no memory: see `rescue`.
        // SAFETY: the regions belong to the operation's buffers or message, which stay in its slot
        // until `finish`, after the request's last event; the operation holds `handle` and with it
        // the descriptor, and the generation in the token makes it unique.
        unsafe { self.backend.issue(serving, handle.descriptor(), request, body.token()) };
    }

    /// The handles of everything under way, each once, for closing.
    pub(super) fn all_at_work(&self) -> Vec<Arc<HandleCore>> {
        let (mut all, mut known) = (Vec::new(), HashSet::new());
        for slot in self.table.iter() {
            let body = slot.lock();
            if let Some(handle) = &body.handle
                && known.insert(Arc::as_ptr(handle))
            {
                all.push(Arc::clone(handle));
            }
        }
        all
    }
}

const _: () = assert!(NONE == u32::MAX, "the end mark must not be a slot's number");
