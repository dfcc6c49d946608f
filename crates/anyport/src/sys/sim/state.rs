//! All that a world is, behind one lock: network, disk, ports, threads, and the timeline that moves
//! them.

use super::disk::Job;
use super::lanes::{Due, Port};
use super::network::{Network, SocketId};
use super::requests::Lines;
use super::system::{Disk, System};
use super::threads::Threads;
use super::timeline::{Happening, Timeline};
use std::collections::BTreeMap;

/// See the module documentation.
pub(super) struct State {
    pub(super) time: Timeline,
    pub(super) network: Network,
    pub(super) system: System,
    pub(super) disk: Disk,
    pub(super) ports: BTreeMap<u64, Port>,
    /// Requests on sockets.
    pub(super) lines: BTreeMap<SocketId, Lines>,
    /// Requests on files.
    pub(super) jobs: BTreeMap<u64, Job>,
    pub(super) threads: Threads,
    /// Something has changed for which a thread may wait.
    pub(super) has_changed: bool,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        State {
            time: Timeline::new(seed),
            network: Network::new(),
            system: System::new(),
            disk: Disk::new(),
            ports: BTreeMap::new(),
            lines: BTreeMap::new(),
            jobs: BTreeMap::new(),
            threads: Threads::default(),
            has_changed: false,
        }
    }

    /// Lets everything happen that is due up to this time, to which the clock then moves.
    pub(super) fn run_until(&mut self, until: u64) {
        while let Some(happening) = self.time.next_until(until) {
            self.happen(happening);
        }
        self.time.move_to(until);
    }

    /// After calls that may have changed sockets: their requests go on.
    pub(super) fn settle(&mut self) {
        loop {
            let changed = self.network.take_changed();
            if changed.is_empty() {
                return;
            }
            self.has_changed = true;
            for socket in changed {
                self.serve(socket);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Parcel(parcel) => self.network.arrive(&mut self.time, parcel),
            Happening::GivesUp(number) => self.network.give_up(&mut self.time, number),
            Happening::Due(Due::Begin { socket, token }) => self.begin(socket, token),
            Happening::Due(Due::End { socket, token }) => self.end(socket, token),
            Happening::Due(Due::Transfer(number)) => self.transfer(number),
            Happening::Due(Due::Tell { at, told }) => self.told(at, told),
        }
        self.settle();
    }
}
