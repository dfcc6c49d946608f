//! The churn of one thread: connect, one message, its echo, close; again and again.
//!
//! Each place carries one exchange at a time. With a rate, exchanges are due by the clock, and one
//! that finds no free place waits with its time running. Latency counts from the start of the
//! connect (or the due time) to the last byte. An exchange that takes too long is given up, so a
//! run always ends. Called by `generator`.

use std::io::{self, Read, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use polling::Events;

use super::generator::{Failure, Share, Shared, TICK};
use super::load::Load;
use super::pattern::{Message, Pattern, RUN_LEN};
use super::recorder::{Recorder, kind_of};
use super::schedule::Schedule;
use super::sockets::{Route, Sockets};
use super::system::advice;
use super::tally::Tally;
use crate::header::{STALLED_BIT, STALLED_BYTE};

/// The longest time for one exchange.
const EXCHANGE_TIMEOUT_NS: u64 = 10_000_000_000;

/// Rest of a place after a failure: a server that refuses is not hammered.
const REST_NS: u64 = 20_000_000;

/// One exchange under way.
struct Exchange {
    /// When it was due, and when its connect began, in nanoseconds since the load began.
    due: u64,
    began: u64,
    /// Its bytes, as a position in the pattern.
    position: u64,
    /// Which message of the pattern's order it is.
    number: u32,
    message: Message,
    is_connected: bool,
    sent: usize,
    received: usize,
    is_stalled: bool,
}

/// One thread's places.
pub(super) struct Churn<'a> {
    load: &'a Load,
    share: Share,
    shared: &'a Shared,
    pattern: Pattern,
    sockets: Sockets,
    exchanges: Vec<Option<Exchange>>,
    /// Places without an exchange, and from when on they may have one.
    free: Vec<(u64, usize)>,
    schedule: Option<Schedule>,
    /// Exchanges begun so far.
    started: u64,
    start: Instant,
    buffer: Vec<u8>,
    recorder: Recorder,
}

impl<'a> Churn<'a> {
    /// Prepares this thread's share; connects nothing yet.
    pub(super) fn new(load: &'a Load, share: Share, shared: &'a Shared) -> Result<Self, Failure> {
        let schedule =
            load.rate.map(|rate| Schedule::new(rate, load.ramp, share.thread, load.threads));
        // Without a rate, the ramp lets one place after the other begin.
        let ramp = if schedule.is_some() { 0 } else { load.ramp.as_nanos() as u64 };
        let begin = |place: usize| ramp / share.conns as u64 * place as u64;
        let pattern = Pattern::new(&load.sizes, load.is_framed);
        Ok(Self {
            sockets: Sockets::new(share.conns).map_err(Failure::poll)?,
            exchanges: std::iter::repeat_with(|| None).take(share.conns).collect(),
            free: (0..share.conns).rev().map(|place| (begin(place), place)).collect(),
            schedule,
            started: 0,
            start: Instant::now(),
            buffer: vec![0; RUN_LEN],
            recorder: Recorder::new(load, pattern.payload_share()),
            pattern,
            load,
            share,
            shared,
        })
    }

    /// Loads from `start` on, and waits for the last exchanges.
    pub(super) fn run(mut self, start: Instant) -> Result<Tally, Failure> {
        self.start = start;
        let mut events = Events::new();
        let mut next_check = 0;
        loop {
            let now = self.now();
            self.recorder.roll(now);
            if self.share.thread == 0 {
                let all = self.recorder.messages() * self.load.threads as u64;
                self.shared.messages.store(all, Relaxed);
            }
            if self.recorder.is_over() {
                self.count_unsent();
            }
            if self.recorder.is_over() && self.free.len() == self.exchanges.len() {
                return Ok(self.recorder.finish(now));
            }
            let started = self.started;
            let next = if self.recorder.is_over() { u64::MAX } else { self.begin_due(now) };
            let until = next.min(self.recorder.window().end.max(now + 1_000_000));
            if self.load.spins() {
                let found = self.turn(&mut events, Duration::ZERO)?;
                if found == 0 && next > now && self.started == started {
                    thread::yield_now();
                    self.recorder.on_idle(self.now() - now);
                }
            } else {
                self.turn(&mut events, Duration::from_nanos(until.saturating_sub(now)))?;
            }
            if now >= next_check {
                next_check = now + TICK.as_nanos() as u64;
                self.give_up_late(now);
            }
        }
    }

    /// Begins the exchanges whose time has come; returns when the next one's comes.
    fn begin_due(&mut self, now: u64) -> u64 {
        let mut waiting = Vec::new();
        let mut next = u64::MAX;
        while let Some((from, place)) = self.free.pop() {
            let due = self.schedule.map_or(now, |schedule| schedule.due(self.started));
            if due > now {
                next = next.min(due);
                waiting.push((from, place));
                break;
            }
            if from > now {
                next = next.min(from);
                waiting.push((from, place));
                continue;
            }
            self.begin(place, due);
        }
        self.free.append(&mut waiting);
        next
    }

    fn begin(&mut self, place: usize, due: u64) {
        // Numbers of different threads and times are different places in the pattern.
        let index = self.started as usize * self.load.threads + self.share.thread;
        self.started += 1;
        self.recorder.on_attempts(1);
        let at = self.pattern.place(index);
        let began = self.now();
        self.recorder.on_send_lag(began.saturating_sub(due));
        self.exchanges[place] = Some(Exchange {
            due: if self.schedule.is_some() { due } else { began },
            began,
            position: at.position,
            number: at.message,
            message: self.pattern.message(at.message),
            is_connected: false,
            sent: 0,
            received: 0,
            is_stalled: false,
        });
        if let Err(error) = self.sockets.connect(place, Route::new(self.load, index)) {
            self.fail(place, &error);
        }
    }

    /// The load is over: exchanges that were due and found no place are not begun any more, but
    /// have waited.
    fn count_unsent(&mut self) {
        let end = self.recorder.window().end;
        while let Some(due) = self.schedule.map(|schedule| schedule.due(self.started))
            && due < end
        {
            self.started += 1;
            self.recorder.on_unsent(end - due);
        }
    }

    fn turn(&mut self, events: &mut Events, timeout: Duration) -> Result<usize, Failure> {
        if self.shared.stop.is_set() {
            return Err(Failure::Interrupted);
        }
        self.sockets.wait(events, timeout.min(TICK)).map_err(Failure::poll)?;
        for event in events.iter() {
            match self.advance(event.key) {
                Ok(true) => self.end(event.key, 0),
                Ok(false) => {
                    let wants_room = self.exchanges[event.key]
                        .as_ref()
                        .is_some_and(|exchange| exchange.sent < exchange.message.len as usize);
                    self.sockets.await_next(event.key, wants_room).map_err(Failure::poll)?;
                }
                Err(error) => self.fail(event.key, &error),
            }
        }
        Ok(events.len())
    }

    /// Goes on as far as it can; whether the exchange is complete.
    fn advance(&mut self, place: usize) -> io::Result<bool> {
        let now = self.now();
        let (Some(exchange), Some(mut socket)) =
            (self.exchanges[place].as_mut(), self.sockets.get(place))
        else {
            return Ok(false);
        };
        let len = exchange.message.len as usize;
        while exchange.sent < len {
            if !exchange.is_connected
                && let Some(error) = socket.take_error()?
            {
                return Err(error);
            }
            let run = self.pattern.from(exchange.position + exchange.sent as u64);
            let run = &run[..(len - exchange.sent).min(run.len())];
            match socket.write(run) {
                Ok(sent) => exchange.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The connect goes on.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
            if !std::mem::replace(&mut exchange.is_connected, true) {
                self.recorder.on_connect(now - exchange.began);
            }
        }
        while exchange.is_connected && exchange.received < len {
            let got = match socket.read(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            let surplus = (exchange.received + got).saturating_sub(exchange.sent);
            let mut wrong = 0;
            if self.load.is_verified {
                let at = exchange.position + exchange.received as u64;
                let bytes = &self.buffer[..got];
                wrong =
                    self.pattern.count_wrong(at, bytes, exchange.number, exchange.received as u32);
            }
            if self.load.is_framed
                && let Some(mark) = STALLED_BYTE.checked_sub(exchange.received)
                && mark < got
            {
                exchange.is_stalled = self.buffer[mark] & STALLED_BIT != 0;
            }
            self.recorder.on_wrong_bytes(wrong.max(surplus as u64));
            self.recorder.on_bytes(got);
            exchange.received += got;
        }
        Ok(exchange.received >= len)
    }

    /// The exchange at `place` is complete.
    fn end(&mut self, place: usize, rest_ns: u64) {
        self.sockets.close(place);
        let now = self.now();
        self.free.push((now + rest_ns, place));
        if let Some(Exchange { due, message, is_stalled, .. }) = self.exchanges[place].take()
            && rest_ns == 0
        {
            // One that ends after the window counts as late only if the clock began it.
            if self.schedule.is_some() || !self.recorder.is_over() {
                self.recorder.on_message(now.saturating_sub(due), message.part, is_stalled);
            }
        }
    }

    fn fail(&mut self, place: usize, error: &io::Error) {
        let (kind, why) = match error.kind() {
            io::ErrorKind::UnexpectedEof => ("closed", "was closed by the server".to_owned()),
            _ => (kind_of(error), format!("failed: {error}{}", advice(error))),
        };
        let number = self.started;
        self.recorder.on_errors(1, kind, || format!("exchange {number}: {why}"));
        self.end(place, REST_NS);
    }

    fn give_up_late(&mut self, now: u64) {
        for place in 0..self.exchanges.len() {
            let is_late = self.exchanges[place]
                .as_ref()
                .is_some_and(|exchange| now.saturating_sub(exchange.began) > EXCHANGE_TIMEOUT_NS);
            if is_late {
                self.fail(place, &io::ErrorKind::TimedOut.into());
            }
        }
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}
