//! Quiet sends that need no operation: the system takes every byte in one call, before the start
//! returns.
//!
//! A send of which nobody is told has nothing to wait for once its bytes are the system's. So the
//! thread that starts one, and finds its line empty, makes the call itself: no slot, no context put
//! away and taken out again, no request, no completion, and the buffer is free for the next receive
//! while it is in the cache. What the system does not take goes on as an operation like any other.

use super::core::Core;
use super::handle::{HandleCore, HandleState};
use super::name::OperationKind;
use super::start::Spec;
use crate::latch::LatchGuard;
use crate::sys::Outcome;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most buffers of such a send: their places are gathered on the stack.
const BUFFERS_MAX: usize = 8;

/// The most bytes: more seldom find room at a time, and would only be looked at twice.
const BYTES_MAX: usize = 1 << 20;

/// What became of the call.
pub(super) enum AtOnce {
    /// Everything has gone.
    Whole,
    /// This has, or why nothing has; the operation is to go on from there, at the head of its line.
    Begun(Outcome),
    /// There was no call: the operation starts as usual.
    NotTried,
}

impl Core {
    /// Sends what `spec` describes, if nothing stands in line before it. The handle's state, which is
    /// locked before and afterwards, is free during the call; sends that are started meanwhile queue
    /// up and wait for this one.
    pub(super) fn send_at_once<'a>(
        &self,
        handle: &'a HandleCore,
        mut state: LatchGuard<'a, HandleState>,
        spec: &Spec,
    ) -> (LatchGuard<'a, HandleState>, AtOnce) {
        let is_first = state.sending.is_empty() && !handle.is_sending_at_once(&state);
        let may_try =
            spec.is_quiet && spec.kind == OperationKind::Send && self.backend().sends_at_once();
        if !may_try || !is_first || spec.buffers.len() > BUFFERS_MAX || self.table.is_full() {
            return (state, AtOnce::NotTried);
        }
        let total = spec.buffers.total_len();
        if total > BYTES_MAX {
            return (state, AtOnce::NotTried);
        }
        let mut slices = [IoSlice::new(&[]); BUFFERS_MAX];
        for (slice, buffer) in slices.iter_mut().zip(spec.buffers.iter()) {
            *slice = IoSlice::new(buffer.as_slice());
        }
        handle.set_sending_at_once(&mut state, true);
        drop(state);
        #[cfg(test)]
        fault::run();
        fault_point!(SendingAtOnce);
        let outcome = self.backend().send_now(handle.descriptor(), &slices[..spec.buffers.len()]);
        fault_point!(SentAtOnce);
        let mut state = handle.state();
        handle.set_sending_at_once(&mut state, false);
        let result = match outcome {
            Outcome::Bytes(bytes) if bytes >= total => AtOnce::Whole,
            outcome => AtOnce::Begun(outcome),
        };
        (state, result)
    }

    /// Lets the operation begin that is now the first to send, after the mark of a send at once was
    /// taken off; `state` is let go.
    pub(super) fn begin_head(&self, serving: usize, state: LatchGuard<'_, HandleState>) {
        let head = state.sending.head().map(|head| self.table.lock(head).token());
        drop(state);
        if let Some(head) = head {
            self.begin(serving, head);
        }
    }
}

/// How many sends were over before their start returned; a cache line each, for the threads of one
/// lane.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct SentAtOnce(AtomicU64);

impl SentAtOnce {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What tests do while a send is on its way to the system.
#[cfg(test)]
pub(crate) mod fault {
    use std::cell::RefCell;

    thread_local! {
        static NEXT: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    }

    /// Sets what this thread does in its next send at once, before the call.
    pub(crate) fn during_next_send(f: impl FnOnce() + 'static) {
        NEXT.set(Some(Box::new(f)));
    }

    pub(super) fn run() {
        if let Some(f) = NEXT.take() {
            f();
        }
    }
}
