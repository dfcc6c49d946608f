//! The steady load of one thread: connections that stay, in a closed loop or at a constant rate.
//!
//! Closed loop: each connection keeps a fixed number of messages in flight, and an answered one is
//! followed by a new one. Constant rate: messages are due by the clock, on one connection after
//! the other, and latency counts from then. A run ramps up, warms up, measures, waits until every
//! byte that was sent has come back, and says goodbye; each phase is bounded. Called by `generator`.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use polling::Events;

use super::connect::connect_all;
use super::connection::{Answered, Connection};
use super::generator::{Failure, Share, Shared, TICK};
use super::load::Load;
use super::pattern::{Pattern, RUN_LEN};
use super::recorder::{Recorder, kind_of};
use super::schedule::Schedule;
use super::sockets::Sockets;
use super::system::receive_uncopied;
use super::tally::Tally;

/// The longest time for the missing bytes to come back once the load has ended.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time for the server to close its side after that.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(10);

/// Events taken at once; more would delay the first of them for nothing.
const EVENTS_MAX: NonZeroUsize = NonZeroUsize::new(512).unwrap();

/// Due messages sent before answers are looked at again.
const DUE_MAX: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Load,
    /// Nothing new is started; what is missing comes back.
    Drain,
    /// Everything came back and our side is closed; only the end may follow.
    Goodbye,
}

/// One thread's connections.
pub(super) struct Steady<'a> {
    load: &'a Load,
    share: Share,
    shared: &'a Shared,
    pattern: Pattern,
    sockets: Sockets,
    connections: Vec<Connection>,
    /// Connections that are not closed.
    open: usize,
    /// When each message in flight was sent, `pipeline` for each active connection, in nanoseconds
    /// since `start`; with a rate, the schedule knows.
    sent_at: Vec<u64>,
    schedule: Option<Schedule>,
    /// Messages of the schedule, or connections of the closed loop, started so far.
    started: u64,
    /// When the load began.
    start: Instant,
    /// Where every receive goes: one buffer that stays in the cache.
    buffer: Vec<u8>,
    phase: Phase,
    recorder: Recorder,
}

impl<'a> Steady<'a> {
    /// Connects this thread's share.
    pub(super) fn connect(
        load: &'a Load,
        share: Share,
        shared: &'a Shared,
    ) -> Result<Self, Failure> {
        let pattern = Pattern::new(&load.sizes, load.is_framed);
        let mut sockets = Sockets::new(share.conns).map_err(Failure::poll)?;
        let connected = connect_all(&mut sockets, load, share.first, &shared.stop, |more| {
            shared.connected.fetch_add(more, Relaxed);
        })?;
        let mut recorder = Recorder::new(load, pattern.payload_share());
        recorder.on_attempts(share.conns as u64);
        if let Some(error) = connected.first_error {
            let failed = connected.failed;
            recorder.on_errors(failed as u64, kind_of(&error), || {
                format!("{failed} connections failed: {error}")
            });
        }
        let connections =
            (0..share.conns).map(|i| Connection::new(pattern.place(share.first + i))).collect();
        let slots = if load.rate.is_some() { 0 } else { share.active * load.pipeline };
        let schedule =
            load.rate.map(|rate| Schedule::new(rate, load.ramp, share.thread, load.threads));
        Ok(Self {
            open: share.conns - connected.failed,
            connections,
            sent_at: vec![0; slots],
            schedule,
            started: 0,
            start: Instant::now(),
            // Where bytes are not looked at, the kernel needs the room only.
            buffer: match load.is_verified || load.is_framed {
                true => vec![0; RUN_LEN],
                false => Vec::with_capacity(RUN_LEN),
            },
            phase: Phase::Load,
            load,
            share,
            shared,
            pattern,
            sockets,
            recorder,
        })
    }

    /// Loads from `start` on, measures, and waits until all is back.
    pub(super) fn run(mut self, start: Instant) -> Result<Tally, Failure> {
        self.start = start;
        let mut events = Events::with_capacity(EVENTS_MAX);
        // The event of an end that came while others were connecting has been and gone.
        (0..self.sockets.len()).for_each(|index| self.receive(index));
        self.load(&mut events)?;
        self.phase = Phase::Drain;
        self.take_back_unsent();
        self.drain(&mut events)?;
        self.phase = Phase::Goodbye;
        self.say_goodbye(&mut events)?;
        let now = self.now();
        Ok(self.recorder.finish(now))
    }

    fn load(&mut self, events: &mut Events) -> Result<(), Failure> {
        loop {
            let now = self.now();
            self.recorder.roll(now);
            self.shared_messages();
            if self.recorder.is_over() || self.open == 0 {
                return Ok(());
            }
            let started = self.started;
            let next = match self.schedule {
                Some(schedule) => self.send_due(schedule, now),
                None => self.start_loops(now),
            };
            if self.load.spins() {
                let found = self.turn(events, Duration::ZERO)?;
                if found == 0 && next > now && self.started == started {
                    // Whoever else wants this core is welcome to it.
                    thread::yield_now();
                    self.recorder.on_idle(self.now() - now);
                }
                continue;
            }
            let until = next.min(self.recorder.window().end);
            self.turn(events, Duration::from_nanos(until.saturating_sub(now)))?;
        }
    }

    /// Sends what is due by the clock; returns when the next one is.
    fn send_due(&mut self, schedule: Schedule, now: u64) -> u64 {
        for _ in 0..DUE_MAX {
            let due = schedule.due(self.started);
            if due > now {
                return due;
            }
            let index = (self.started % self.share.active as u64) as usize;
            self.started += 1;
            let is_blocked = self.connections[index].unsent() > 0;
            self.connections[index].queue(&self.pattern);
            self.recorder.on_send_lag(now - due);
            // One that waits for room is flushed when that comes.
            if !is_blocked {
                self.flush(index);
            }
        }
        now
    }

    /// The load is over: what was due and never sent is not sent any more, but has waited.
    fn take_back_unsent(&mut self) {
        let (Some(schedule), active) = (self.schedule, self.share.active) else {
            return;
        };
        let end = self.recorder.window().end;
        for index in 0..active {
            if self.sockets.get(index).is_none() {
                continue;
            }
            for number in self.connections[index].take_back_unsent(&self.pattern) {
                let due = schedule.due(number * active as u64 + index as u64);
                self.recorder.on_unsent(end.saturating_sub(due));
            }
        }
    }

    /// Starts the loops of connections, over the time of the ramp; returns when the next one is
    /// due.
    fn start_loops(&mut self, now: u64) -> u64 {
        let active = self.share.active as u64;
        let ramp = self.load.ramp.as_nanos() as u64;
        while self.started < active {
            let due = (u128::from(ramp) * u128::from(self.started) / u128::from(active)) as u64;
            if due > now {
                return due;
            }
            let index = self.started as usize;
            self.started += 1;
            let sent_at = self.now();
            for slot in 0..self.load.pipeline {
                self.sent_at[index * self.load.pipeline + slot] = sent_at;
                self.connections[index].queue(&self.pattern);
            }
            self.flush(index);
        }
        u64::MAX
    }

    /// Every byte that was sent must come back.
    fn drain(&mut self, events: &mut Events) -> Result<(), Failure> {
        self.finish_phase(events, DRAIN_TIMEOUT)?;
        for index in 0..self.sockets.len() {
            let missing = self.connections[index].missing();
            if missing > 0 {
                self.lose(index, "missing", &format!("{missing} bytes did not come back"));
            }
        }
        Ok(())
    }

    /// Our side ends, and the server's must end too, without a further byte.
    fn say_goodbye(&mut self, events: &mut Events) -> Result<(), Failure> {
        for index in 0..self.sockets.len() {
            if let Err(error) = self.sockets.end_sending(index) {
                let why = format!("broke after the last byte: {error}");
                self.lose(index, kind_of(&error), &why);
            }
        }
        self.finish_phase(events, GOODBYE_TIMEOUT)?;
        (0..self.sockets.len())
            .for_each(|index| self.lose(index, "not_closed", "was not closed by the server"));
        Ok(())
    }

    fn finish_phase(&mut self, events: &mut Events, timeout: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + timeout;
        while !self.is_phase_finished() && Instant::now() < deadline {
            self.turn(events, TICK)?;
        }
        Ok(())
    }

    fn is_phase_finished(&self) -> bool {
        (0..self.sockets.len()).all(|index| {
            self.sockets.get(index).is_none()
                || self.phase == Phase::Drain && self.connections[index].is_settled()
        })
    }

    /// One wait and what it brought; returns the number of events.
    fn turn(&mut self, events: &mut Events, timeout: Duration) -> Result<usize, Failure> {
        if self.shared.stop.is_set() {
            return Err(Failure::Interrupted);
        }
        self.sockets.wait(events, timeout.min(TICK)).map_err(Failure::poll)?;
        for event in events.iter() {
            if event.readable {
                self.receive(event.key);
            }
            self.flush(event.key);
            let wants_room = self.connections[event.key].unsent() > 0;
            self.sockets.await_next(event.key, wants_room).map_err(Failure::poll)?;
        }
        Ok(events.len())
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // On the edge the event of room comes by itself.
                    if let Err(error) = self.sockets.await_next(index, true) {
                        self.lose(index, "other", &format!("cannot be watched: {error}"));
                    }
                    return;
                }
                Err(error) => {
                    return self.lose(index, kind_of(&error), &format!("send failed: {error}"));
                }
            }
        }
    }

    /// Takes what is there. A short receive has emptied the socket; its next bytes make an event.
    fn receive(&mut self, index: usize) {
        while let Some(mut socket) = self.sockets.get(index) {
            let result = if self.buffer.is_empty() {
                receive_uncopied(socket, self.buffer.spare_capacity_mut())
            } else {
                socket.read(&mut self.buffer)
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
                Err(error) => {
                    return self.lose(index, kind_of(&error), &format!("receive failed: {error}"));
                }
            }
        }
    }

    fn on_received(&mut self, index: usize, len: usize) {
        let connection = &mut self.connections[index];
        let mut wrong = 0;
        if self.load.is_verified {
            wrong = connection.count_wrong(&self.pattern, &self.buffer[..len]);
        }
        let surplus = connection.on_received(len);
        // A surplus byte that happens to be what was to be sent next is wrong all the same.
        self.recorder.on_wrong_bytes(wrong.max(surplus));
        if surplus > 0 {
            let why = format!("{surplus} bytes came back that were never sent");
            return self.lose(index, "surplus", &why);
        }
        self.recorder.on_bytes(len);
        let now = self.now();
        let mut left = len;
        loop {
            let header = self.load.is_framed.then(|| &self.buffer[..len]);
            let connection = &mut self.connections[index];
            match connection.next_whole(&self.pattern, len, &mut left, header) {
                Some(answered) => self.on_answered(index, answered, now),
                None => return,
            }
        }
    }

    fn on_answered(&mut self, index: usize, answered: Answered, now: u64) {
        let Answered { number, part, is_stalled } = answered;
        let Some(schedule) = self.schedule else {
            // The message that follows uses the same slot.
            let pipeline = self.load.pipeline;
            let slot = if pipeline == 1 { 0 } else { (number % pipeline as u64) as usize };
            let sent_at = &mut self.sent_at[index * pipeline + slot];
            if self.phase == Phase::Load {
                self.recorder.on_message(now.saturating_sub(*sent_at), part, is_stalled);
                *sent_at = now;
                self.connections[index].queue(&self.pattern);
            }
            return;
        };
        let due = schedule.due(number * self.share.active as u64 + index as u64);
        self.recorder.on_message(now.saturating_sub(due), part, is_stalled);
    }

    fn on_end(&mut self, index: usize) {
        if self.phase == Phase::Goodbye {
            self.sockets.close(index);
        } else {
            self.lose(index, "closed", "was closed by the server");
        }
    }

    /// Counts an error and closes the connection, unless it is closed already.
    fn lose(&mut self, index: usize, kind: &'static str, why: &str) {
        if self.sockets.get(index).is_none() {
            return;
        }
        self.sockets.close(index);
        self.open -= 1;
        let number = self.share.first + index + 1;
        self.recorder.on_errors(1, kind, || format!("connection {number}: {why}"));
    }

    fn shared_messages(&self) {
        if self.share.thread == 0 {
            let all = self.recorder.messages() * self.load.threads as u64;
            self.shared.messages.store(all, Relaxed);
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}
