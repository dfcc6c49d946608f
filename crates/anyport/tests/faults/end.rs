//! The two ends of a connection, both on the port: one says the messages of its script and checks
//! what comes back, the other sends back what comes.

use crate::message::{Checker, Script};
use anyport::net::SocketHandle;
use anyport::{ErrorKind, OperationKind, Packet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Messages of one connection that are on their way at a time.
const PIPELINED: u32 = 6;

/// One receive in so many is cancelled as soon as it is started.
const CANCELLED_EVERY: usize = 5;

/// The room of a receive that brings its own buffer.
const ROOM: usize = 100_000;

/// The context of every operation; `None` where nobody is interested.
pub(crate) type Context = Option<Arc<End>>;

/// How an end receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Receiving {
    Stream,
    /// One receive after the other, some of which are cancelled.
    Pooled,
    /// Likewise, into a buffer of its own.
    Own,
}

/// One end.
pub(crate) struct End {
    pub(crate) handle: SocketHandle<Context>,
    receiving: Receiving,
    /// A worker has its bytes in hand.
    is_busy: AtomicBool,
    received: AtomicUsize,
    /// Of the end that asks.
    asker: Option<(Script, Mutex<Checker>)>,
    run: Arc<Run>,
}

/// How a whole run stands.
#[derive(Default)]
pub(crate) struct Run {
    state: Mutex<RunState>,
    changed: Condvar,
}

#[derive(Default)]
struct RunState {
    finished: usize,
    failure: Option<String>,
}

impl Run {
    fn state(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first failure is the one that counts.
    pub(crate) fn fail(&self, failure: String) {
        self.state().failure.get_or_insert(failure);
        self.changed.notify_all();
    }

    fn finish(&self) {
        self.state().finished += 1;
        self.changed.notify_all();
    }

    /// Waits until so many connections are through.
    pub(crate) fn wait(&self, connections: usize, deadline: Duration) -> Result<(), String> {
        let until = Instant::now() + deadline;
        let mut state = self.state();
        loop {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if state.finished == connections {
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("{} of {connections} connections ended", state.finished));
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl End {
    pub(crate) fn new(
        handle: SocketHandle<Context>,
        receiving: Receiving,
        script: Option<Script>,
        run: &Arc<Run>,
    ) -> Arc<Self> {
        Arc::new(End {
            handle,
            receiving,
            is_busy: AtomicBool::new(false),
            received: AtomicUsize::new(0),
            asker: script.map(|script| (script, Mutex::new(Checker::new(script)))),
            run: Arc::clone(run),
        })
    }

    /// Says the first messages, and begins to receive.
    pub(crate) fn start(self: &Arc<Self>) {
        if let Some((script, _)) = &self.asker {
            (0..PIPELINED.min(script.messages)).for_each(|number| self.say(*script, number));
        }
        self.receive(false);
    }

    /// Where it stands, for a diagnosis.
    pub(crate) fn progress(&self) -> String {
        let role = match &self.asker {
            Some((_, checker)) => match checker.try_lock() {
                Ok(checker) => checker.progress(),
                Err(_) => "its checker is in use".to_owned(),
            },
            None => format!("{} receives", self.received.load(Ordering::SeqCst)),
        };
        format!("{:?}, busy: {}: {role}", self.receiving, self.is_busy.load(Ordering::SeqCst))
    }

    fn say(self: &Arc<Self>, script: Script, number: u32) {
        let message = script.message(number);
        let context = Some(Arc::clone(self));
        let started = match number % 3 {
            0 => self.handle.send_quiet(message, context),
            _ => self.handle.send(message, context),
        };
        if let Err(rejected) = started {
            self.run.fail(format!("message {number} is refused: {}", rejected.error));
        }
    }

    fn receive(self: &Arc<Self>, is_cancelled_at_once: bool) {
        let context = Some(Arc::clone(self));
        let started = match self.receiving {
            Receiving::Stream => self.handle.receive_stream(context),
            Receiving::Pooled => self.handle.receive_pooled(context),
            Receiving::Own => self.handle.receive(vec![0; ROOM], context),
        };
        match started {
            Ok(operation) if is_cancelled_at_once => {
                // Or it was faster, and another thread has its packet by now.
                let _ = self.handle.cancel(operation);
            }
            Ok(_) => {}
            Err(rejected) => self.run.fail(format!("a receive is refused: {}", rejected.error)),
        }
    }

    fn on_received(self: &Arc<Self>, packet: Packet<Context>) {
        if self.is_busy.swap(true, Ordering::SeqCst) {
            self.run.fail(format!("two workers at once have one connection: {}", self.progress()));
        }
        let count = self.received.fetch_add(1, Ordering::SeqCst);
        let is_over = match packet.result {
            Ok(0) => true,
            Ok(_) => {
                self.on_bytes(&packet);
                false
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => false,
            Err(error) => {
                self.run.fail(format!("a receive: {error}: {}", self.progress()));
                true
            }
        };
        if !is_over && self.asker.is_none() && !packet.buffers.is_empty() && packet.result.is_ok() {
            let context = Some(Arc::clone(self));
            let started = match count % 2 {
                0 => self.handle.send(packet.buffers, context),
                _ => self.handle.send_quiet(packet.buffers, context),
            };
            if let Err(rejected) = started {
                self.run.fail(format!("an echo is refused: {}", rejected.error));
            }
        }
        // From here on the next packet may come.
        self.is_busy.store(false, Ordering::SeqCst);
        if is_over {
            return self.on_end();
        }
        if !packet.more {
            let was_cancelled = packet.result.is_err();
            self.receive(!was_cancelled && count.is_multiple_of(CANCELLED_EVERY));
        }
    }

    fn on_bytes(self: &Arc<Self>, packet: &Packet<Context>) {
        let Some((script, checker)) = &self.asker else { return };
        let mut checker = checker.lock().unwrap_or_else(PoisonError::into_inner);
        for buffer in packet.buffers.iter() {
            let before = checker.number();
            match checker.take(buffer.as_slice()) {
                Ok(ended) => (before..before + ended)
                    .map(|number| number + PIPELINED)
                    .filter(|&number| number < script.messages)
                    .for_each(|number| self.say(*script, number)),
                Err(failure) => self.run.fail(failure),
            }
        }
        if checker.is_done()
            && let Err(rejected) = self.handle.disconnect(Some(Arc::clone(self)))
        {
            self.run.fail(format!("the end is refused: {}", rejected.error));
        }
    }

    fn on_end(self: &Arc<Self>) {
        match &self.asker {
            Some((_, checker)) => {
                let is_done = checker.lock().unwrap_or_else(PoisonError::into_inner).is_done();
                if !is_done {
                    self.run.fail(format!("an early end: {}", self.progress()));
                }
                self.run.finish();
            }
            // After all that was sent back.
            None => {
                if let Err(rejected) = self.handle.disconnect(Some(Arc::clone(self))) {
                    self.run.fail(format!("the end is refused: {}", rejected.error));
                }
            }
        }
    }
}

/// The handler of every packet.
pub(crate) fn handle(packet: Packet<Context>) {
    let Some(end) = packet.context.clone() else { return };
    match packet.kind {
        OperationKind::Send | OperationKind::Disconnect => {
            if let Err(error) = packet.result {
                end.run.fail(format!("{:?}: {error}: {}", packet.kind, end.progress()));
            }
        }
        _ => end.on_received(packet),
    }
}
