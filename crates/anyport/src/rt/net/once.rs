//! One operation, and the future that waits for it.

use crate::latch::Latch;
use crate::op::Operation;
use crate::port::Rejected;
use crate::rt::context::{Context, Ended, Source};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

/// Where the packet of one operation is put.
struct Once<K> {
    state: Latch<State>,
    /// What must not end before the operation does.
    _kept: K,
}

#[derive(Default)]
struct State {
    ended: Option<Ended>,
    waker: Option<Waker>,
}

impl<K: Send + Sync> Source for Once<K> {
    fn on_packet(&self, packet: Ended) {
        let mut state = self.state.lock();
        state.ended = Some(packet);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Somebody waits for the packet. Given up, his waker goes at once: it refers to the runtime, which
/// refers to what is under way.
struct Waits<'a, K>(&'a Once<K>);

impl<K> Drop for Waits<'_, K> {
    fn drop(&mut self) {
        let waker = self.0.state.lock().waker.take();
        drop(waker);
    }
}

/// Starts an operation and waits for its packet. When the future is dropped the operation runs on,
/// and what it owned is dropped with its packet, as is `kept`.
#[allow(clippy::result_large_err, reason = "a refused start gives everything back")]
pub(crate) async fn complete<K: Send + Sync + 'static>(
    kept: K,
    start: impl FnOnce(Context) -> Result<Operation, Rejected<Context>>,
) -> Result<Ended, Rejected<()>> {
    let once = Arc::new(Once { state: Latch::new(State::default()), _kept: kept });
    if let Err(Rejected { error, buffers, .. }) = start(Context::Source(Arc::clone(&once) as _)) {
        return Err(Rejected { error, context: (), buffers });
    }
    let _waits = Waits(&once);
    let ended = poll_fn(|cx| {
        let waker = cx.waker().clone();
        let mut state = once.state.lock();
        if let Some(ended) = state.ended.take() {
            return Poll::Ready(ended);
        }
        let before = state.waker.replace(waker);
        drop(state);
        drop(before);
        Poll::Pending
    })
    .await;
    Ok(ended)
}
