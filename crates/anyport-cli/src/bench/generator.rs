//! The closed loop: each connection keeps a fixed number of messages in flight, and an answered
//! message is followed by a new one.
//!
//! One thread, edge-triggered readiness. A run warms up, measures, waits until every byte that was
//! sent has come back, and says goodbye; each phase is bounded. Called by `bench` and `demo`.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use polling::Events;

use super::connect::connect_all;
use super::connection::Connection;
use super::pattern::{Pattern, RUN_LEN};
use super::sockets::{Sockets, receive_uncopied};
use crate::interrupt::Interrupt;

/// The longest time for the missing bytes to come back once the load has ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time for the server to close its side after that.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the watcher hears of a run, and an interrupt is seen.
const TICK: Duration = Duration::from_millis(100);

/// Events taken at once; more would delay the first of them for nothing.
const EVENTS_MAX: NonZeroUsize = NonZeroUsize::new(512).unwrap();

/// Lines kept about what went wrong; the counts are complete.
const NOTES_MAX: usize = 5;

/// What to do to whom.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) peer: SocketAddr,
    pub(crate) conns: usize,
    /// How many of them carry traffic.
    pub(crate) active: usize,
    /// Payload bytes of a message.
    pub(crate) size: usize,
    /// Messages in flight on each active connection.
    pub(crate) pipeline: usize,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    pub(crate) is_verified: bool,
    pub(crate) is_framed: bool,
    pub(crate) congestion: Option<String>,
}

/// What came of it.
pub(crate) struct Outcome {
    /// Nanoseconds from queueing a message to its last byte back; measured window only.
    pub(crate) latency: Histogram<u64>,
    /// Messages and payload bytes that came back in the measured window.
    pub(crate) messages: u64,
    pub(crate) payload_bytes: u64,
    /// The measured window as it really was.
    pub(crate) measured: Duration,
    /// Connections that failed, broke, or lacked bytes at the end.
    pub(crate) errors: u64,
    /// Bytes that differed from what was sent, or were never sent.
    pub(crate) wrong_bytes: u64,
    /// The first few things that went wrong, in words.
    pub(crate) notes: Vec<String>,
}

/// Moments of a run that somebody else may want to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Connecting { connected: usize },
    MeasureBegins,
    Tick,
    MeasureEnds,
}

/// Why there is no outcome.
#[derive(Debug)]
pub(crate) enum Failure {
    Interrupted,
    Message(String),
}

impl Failure {
    pub(crate) fn poll(error: io::Error) -> Self {
        Self::Message(format!("cannot wait for the connections: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Message(message) => f.write_str(message),
        }
    }
}

/// Connects, loads, measures, and waits until all is back. `watch` is called between events, so it
/// should be quick.
pub(crate) fn run(
    load: &Load,
    interrupt: &Interrupt,
    watch: &mut dyn FnMut(Moment),
) -> Result<Outcome, Failure> {
    let mut generator = Generator::connect(load, interrupt, watch)?;
    generator.load(watch)?;
    generator.drain()?;
    generator.say_goodbye()?;
    Ok(generator.outcome)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measure,
    /// Nothing new is started; what is missing comes back.
    Drain,
    /// Everything came back and our side is closed; only the end may follow.
    Goodbye,
}

struct Generator<'a> {
    load: &'a Load,
    interrupt: &'a Interrupt,
    pattern: Pattern,
    sockets: Sockets,
    connections: Vec<Connection>,
    /// `pipeline` send times for each active connection, in nanoseconds since `epoch`.
    sent_at: Vec<u64>,
    epoch: Instant,
    /// Where every receive goes: one buffer that stays in the cache.
    buffer: Vec<u8>,
    phase: Phase,
    outcome: Outcome,
}

impl<'a> Generator<'a> {
    fn connect(
        load: &'a Load,
        interrupt: &'a Interrupt,
        watch: &mut dyn FnMut(Moment),
    ) -> Result<Self, Failure> {
        let pattern = Pattern::new(load.size, load.is_framed);
        let mut sockets = Sockets::new(load.conns).map_err(Failure::poll)?;
        let connected =
            connect_all(&mut sockets, load.peer, load.congestion.as_deref(), interrupt, |n| {
                watch(Moment::Connecting { connected: n });
            })?;
        let latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)
            .map_err(|error| Failure::Message(format!("no histogram: {error}")))?;
        let mut outcome = Outcome {
            latency,
            messages: 0,
            payload_bytes: 0,
            measured: Duration::ZERO,
            errors: 0,
            wrong_bytes: 0,
            notes: Vec::new(),
        };
        if let Some(error) = connected.first_error {
            outcome.errors += connected.failed as u64;
            outcome.notes.push(format!("{} connections failed: {error}", connected.failed));
        }
        let active = load.active.min(load.conns);
        Ok(Self {
            connections: (0..load.conns).map(|i| Connection::new(pattern.base(i))).collect(),
            sent_at: vec![0; active * load.pipeline],
            epoch: Instant::now(),
            // Without verification the kernel needs the room, not the bytes.
            buffer: if load.is_verified { vec![0; RUN_LEN] } else { Vec::with_capacity(RUN_LEN) },
            phase: Phase::WarmUp,
            load,
            interrupt,
            pattern,
            sockets,
            outcome,
        })
    }

    /// Warm-up and the measured window.
    fn load(&mut self, watch: &mut dyn FnMut(Moment)) -> Result<(), Failure> {
        let active = self.load.active.min(self.load.conns);
        let in_flight = self.load.pipeline as u64 * self.pattern.message_len() as u64;
        for index in 0..self.sockets.len() {
            if index < active && self.sockets.get(index).is_some() {
                let now = self.now();
                let at = index * self.load.pipeline;
                self.sent_at[at..at + self.load.pipeline].fill(now);
                self.connections[index].queue(in_flight);
                self.flush(index);
            }
            // The event of an end that came while others were connecting has been and gone.
            self.receive(index);
        }
        let mut events = Events::with_capacity(EVENTS_MAX);
        let begin = Instant::now() + self.load.warmup;
        self.turn_until(begin, &mut events, watch)?;
        self.phase = Phase::Measure;
        self.outcome.latency.reset();
        let begun = Instant::now();
        watch(Moment::MeasureBegins);
        self.turn_until(begun + self.load.measured, &mut events, watch)?;
        self.phase = Phase::Drain;
        self.outcome.measured = begun.elapsed();
        // So far headers were counted too.
        self.outcome.payload_bytes =
            self.outcome.payload_bytes * self.load.size as u64 / self.pattern.message_len() as u64;
        watch(Moment::MeasureEnds);
        Ok(())
    }

    fn turn_until(
        &mut self,
        end: Instant,
        events: &mut Events,
        watch: &mut dyn FnMut(Moment),
    ) -> Result<(), Failure> {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            if now >= next_tick {
                next_tick = now + TICK;
                watch(Moment::Tick);
            }
            self.turn(events, next_tick.min(end))?;
        }
    }

    /// Every byte that was sent must come back.
    fn drain(&mut self) -> Result<(), Failure> {
        self.finish_phase(DRAIN_TIMEOUT)?;
        for index in 0..self.sockets.len() {
            let missing = self.connections[index].missing();
            if missing > 0 && self.sockets.get(index).is_some() {
                self.lose(index, &format!("{missing} bytes did not come back"));
            }
        }
        Ok(())
    }

    /// Our side ends, and the server's must end too, without a further byte.
    fn say_goodbye(&mut self) -> Result<(), Failure> {
        self.phase = Phase::Goodbye;
        for index in 0..self.sockets.len() {
            if let Err(error) = self.sockets.end_sending(index) {
                self.lose(index, &format!("broke after the last byte: {error}"));
            }
        }
        self.finish_phase(GOODBYE_TIMEOUT)?;
        for index in 0..self.sockets.len() {
            if self.sockets.get(index).is_some() {
                self.lose(index, "was not closed by the server");
            }
        }
        Ok(())
    }

    fn finish_phase(&mut self, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.is_phase_finished() && Instant::now() < deadline {
            self.turn(&mut events, Instant::now() + TICK)?;
        }
        Ok(())
    }

    fn is_phase_finished(&self) -> bool {
        (0..self.sockets.len()).all(|index| {
            self.sockets.get(index).is_none()
                || self.phase == Phase::Drain && self.connections[index].is_settled()
        })
    }

    /// One wait and what it brought.
    fn turn(&mut self, events: &mut Events, until: Instant) -> Result<(), Failure> {
        if self.interrupt.is_set() {
            return Err(Failure::Interrupted);
        }
        let timeout = until.saturating_duration_since(Instant::now()).min(TICK);
        self.sockets.wait(events, timeout).map_err(Failure::poll)?;
        for event in events.iter() {
            if event.readable {
                self.receive(event.key);
            }
            self.flush(event.key);
        }
        Ok(())
    }

    /// Hands what the connection owes to the system, as far as it takes it.
    fn flush(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some(mut socket) = self.sockets.get(index) else {
            return;
        };
        while connection.unsent() > 0 {
            let run = self.pattern.from(connection.send_position());
            let len = usize::try_from(connection.unsent()).map_or(run.len(), |n| n.min(run.len()));
            match socket.write(&run[..len]) {
                Ok(sent) => connection.on_sent(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The event of room again comes by itself.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.lose(index, &format!("send failed: {error}")),
            }
        }
    }

    /// Takes what is there. A short receive has emptied the socket; its next bytes make an event.
    fn receive(&mut self, index: usize) {
        while let Some(mut socket) = self.sockets.get(index) {
            let result = if self.load.is_verified {
                socket.read(&mut self.buffer)
            } else {
                receive_uncopied(socket, self.buffer.spare_capacity_mut())
            };
            match result {
                Ok(0) => return self.on_end(index),
                Ok(len) => {
                    self.on_received(index, len);
                    if len < RUN_LEN {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.lose(index, &format!("receive failed: {error}")),
            }
        }
    }

    fn on_received(&mut self, index: usize, len: usize) {
        let connection = &mut self.connections[index];
        let mut wrong = 0;
        if self.load.is_verified {
            let position = connection.receive_position();
            wrong = self.pattern.count_wrong(position, &self.buffer[..len]);
        }
        let surplus = connection.on_received(len);
        // A surplus byte that happens to be what was to be sent next is wrong all the same.
        self.outcome.wrong_bytes += wrong.max(surplus);
        if surplus > 0 {
            return self.lose(index, &format!("{surplus} bytes came back that were never sent"));
        }
        let is_measured = self.phase == Phase::Measure;
        if is_measured {
            self.outcome.payload_bytes += len as u64;
        }
        let message_len = self.pattern.message_len() as u64;
        let slots = self.load.pipeline as u32;
        let mut now = 0;
        while let Some(slot) = connection.next_whole(message_len, slots) {
            if now == 0 {
                now = self.epoch.elapsed().as_nanos() as u64;
            }
            let sent_at = &mut self.sent_at[index * self.load.pipeline + slot];
            if is_measured {
                self.outcome.latency.saturating_record(now.saturating_sub(*sent_at));
                self.outcome.messages += 1;
            }
            *sent_at = now;
            if matches!(self.phase, Phase::WarmUp | Phase::Measure) {
                connection.queue(message_len);
            }
        }
    }

    fn on_end(&mut self, index: usize) {
        if self.phase == Phase::Goodbye {
            self.sockets.close(index);
        } else {
            self.lose(index, "was closed by the server");
        }
    }

    /// Counts an error and closes the connection.
    fn lose(&mut self, index: usize, why: &str) {
        if self.sockets.get(index).is_none() {
            return;
        }
        self.sockets.close(index);
        self.outcome.errors += 1;
        if self.outcome.notes.len() < NOTES_MAX {
            self.outcome.notes.push(format!("connection {}: {why}", index + 1));
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}
