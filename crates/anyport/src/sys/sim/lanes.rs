//! Where threads of a port wait, and where their events come.
//!
//! A request that is over is told of a little later: its memory is written by then, and a cancel
//! comes too late. That window is what an engine must live with, and rarely meets by chance.

use super::network::SocketId;
use super::random::nanoseconds;
use super::state::State;
use super::timeline::Happening;
use crate::buf::BufferPool;
use crate::sys::{Event, Outcome, Request, Token};
use std::collections::VecDeque;

/// A lane of a port of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LaneId {
    pub(super) port: u64,
    pub(super) lane: usize,
}

/// What is due in the engine's part of a world.
pub(super) enum Due {
    /// A request of this socket begins.
    Begin { socket: SocketId, token: Token },
    /// A cancel, or an interruption that nobody asked for, takes effect if it is not too late.
    End { socket: SocketId, token: Token },
    /// A transfer of a file is done: its number.
    Transfer(u64),
    /// An event comes.
    Tell { at: LaneId, told: Told },
}

/// An event on its way to its lane.
pub(super) struct Told {
    pub(super) token: Token,
    pub(super) what: What,
    pub(super) more: bool,
    pub(super) is_drained: bool,
}

/// What became of a request.
pub(super) enum What {
    Plain(Outcome),
    /// Becomes a socket when the event is taken.
    Accepted(SocketId),
}

impl Told {
    pub(super) fn last(token: Token, outcome: Outcome) -> Self {
        Told { token, what: What::Plain(outcome), more: false, is_drained: false }
    }

    /// What a thread takes; a connection becomes a socket by `open`.
    pub(super) fn into_event(self, open: impl FnOnce(SocketId) -> Outcome) -> Event {
        let outcome = match self.what {
            What::Plain(outcome) => outcome,
            What::Accepted(id) => open(id),
        };
        Event { token: self.token, outcome, more: self.more, is_drained: self.is_drained }
    }
}

/// A request that its lane keeps until it is flushed.
pub(super) struct Staged {
    pub(super) socket: SocketId,
    pub(super) request: Request,
    pub(super) token: Token,
}

/// A port of the world.
pub(super) struct Port {
    pub(super) pool: BufferPool,
    /// Its lanes keep requests until they are flushed, but for the clerk's.
    pub(super) does_stage: bool,
    pub(super) lanes: Vec<Lane>,
}

impl Port {
    /// With a lane for each seat, and the clerk's behind them.
    pub(super) fn new(pool: BufferPool, seats: usize, does_stage: bool) -> Self {
        Port { pool, does_stage, lanes: (0..=seats).map(|_| Lane::default()).collect() }
    }
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) events: VecDeque<Told>,
    pub(super) staged: VecDeque<Staged>,
    pub(super) is_woken: bool,
    /// Requests whose last event has not come.
    pub(super) under_way: usize,
    /// No thread serves it: its next event wakes the clerk.
    pub(super) is_orphan: bool,
}

impl State {
    pub(super) fn lane(&mut self, at: LaneId) -> Option<&mut Lane> {
        self.ports.get_mut(&at.port)?.lanes.get_mut(at.lane)
    }

    /// A lane is given a request: the system has it at once or when the lane is flushed.
    ///
    /// # Safety
    /// As for `Backend::issue`.
    pub(super) unsafe fn take(&mut self, at: LaneId, staged: Staged) {
        let Some(port) = self.ports.get_mut(&at.port) else { return };
        let is_clerks = at.lane + 1 == port.lanes.len();
        let lane = &mut port.lanes[at.lane];
        lane.under_way += 1;
        lane.staged.push_back(staged);
        if is_clerks || !port.does_stage {
            self.flush(at);
        }
    }

    /// The system has what a lane has kept.
    pub(super) fn flush(&mut self, at: LaneId) {
        while let Some(staged) = self.lane(at).and_then(|lane| lane.staged.pop_front()) {
            let Staged { socket, request, token } = staged;
            self.issue(at, socket, request, token);
        }
    }

    /// An event is under way to its lane, after the last one of its request, which comes at `last`;
    /// says when it comes.
    pub(super) fn tell(&mut self, at: LaneId, told: Told, last: Option<u64>) -> u64 {
        let delay = match self.time.random.below(2) {
            0 => 0,
            _ => self.time.random.within(&self.system.tell),
        };
        let now = self.time.now();
        let comes_at = (now + delay).max(last.unwrap_or(0));
        // One that is due at this very moment may not have come yet.
        if comes_at == now && last.is_none_or(|last| last < now) {
            self.told(at, told);
        } else {
            self.time.after(comes_at - now, Happening::Due(Due::Tell { at, told }));
        }
        comes_at
    }

    /// An event comes.
    pub(super) fn told(&mut self, at: LaneId, told: Told) {
        self.time.note("told", told.token.bits(), at.lane as u64);
        let Some(port) = self.ports.get_mut(&at.port) else { return };
        let clerk = port.lanes.len() - 1;
        let lane = &mut port.lanes[at.lane];
        if !told.more {
            lane.under_way -= 1;
        }
        lane.events.push_back(told);
        if std::mem::take(&mut lane.is_orphan) {
            port.lanes[clerk].is_woken = true;
        }
        self.has_changed = true;
    }

    /// A delay before a request begins; 0 for half of them.
    pub(super) fn delay_of_begin(&mut self) -> u64 {
        match self.time.random.below(2) {
            0 => 0,
            _ => self.time.random.within(&self.system.begin),
        }
    }

    /// A delay after which a cancel takes effect that is late.
    pub(super) fn delay_of_end(&mut self) -> u64 {
        let longest =
            nanoseconds(*self.system.begin.end()).max(nanoseconds(*self.system.tell.end()));
        1 + self.time.random.below(usize::try_from(longest).unwrap_or(usize::MAX)) as u64
    }
}
