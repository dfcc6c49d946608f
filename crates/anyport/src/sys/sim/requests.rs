//! Requests on sockets: the lines in which they wait, and each attempt.
//!
//! The two sides of a socket are served by themselves, each in the order of its requests. An
//! attempt is made when a request begins and whenever its socket has changed.

use super::code;
use super::lanes::{Due, LaneId, Told, What};
use super::network::{Fault, Protocol, SocketId};
use super::state::State;
use super::timeline::Happening;
use crate::buf::SizeClass;
use crate::sys::{Message, Outcome, Region, Request, Token};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Poll;

/// A request that the system has.
struct Pending {
    at: LaneId,
    request: Request,
    token: Token,
    has_begun: bool,
    /// A connect that the network knows of.
    has_asked: bool,
    /// When the last of its events comes that it has had so far.
    told_at: Option<u64>,
}

/// The requests of a socket.
#[derive(Default)]
pub(super) struct Lines {
    reading: VecDeque<Pending>,
    writing: VecDeque<Pending>,
}

/// What an attempt came to, when it did not have to wait.
struct Attempted {
    what: What,
    is_drained: bool,
    /// A stream that could go on.
    goes_on: bool,
}

impl Attempted {
    fn plain(outcome: Outcome) -> Poll<Self> {
        Poll::Ready(Attempted { what: What::Plain(outcome), is_drained: false, goes_on: false })
    }
}

fn is_write_side(request: &Request) -> bool {
    matches!(
        request,
        Request::Send(_) | Request::SendMessage(_) | Request::Connect(_) | Request::Writable
    )
}

impl State {
    /// The system takes a request. What it names is good until its last event was taken: whoever
    /// gave it to its lane has promised so.
    pub(super) fn issue(&mut self, at: LaneId, socket: SocketId, request: Request, token: Token) {
        self.time.note("issue", token.bits(), socket);
        let delay = self.delay_of_begin();
        let has_begun = delay == 0;
        let pending = Pending { at, request, token, has_begun, has_asked: false, told_at: None };
        let lines = self.lines.entry(socket).or_default();
        match is_write_side(&request) {
            true => lines.writing.push_back(pending),
            false => lines.reading.push_back(pending),
        }
        if self.time.random.chance(self.system.interruption) {
            let after = delay + self.delay_of_end();
            self.time.after(after, Happening::Due(Due::End { socket, token }));
        }
        match has_begun {
            true => self.serve(socket),
            false => self.time.after(delay, Happening::Due(Due::Begin { socket, token })),
        }
    }

    /// The time of a request has come.
    pub(super) fn begin(&mut self, socket: SocketId, token: Token) {
        let Some(lines) = self.lines.get_mut(&socket) else { return };
        let mut all = lines.reading.iter_mut().chain(&mut lines.writing);
        if let Some(pending) = all.find(|pending| pending.token == token) {
            pending.has_begun = true;
            self.serve(socket);
        }
    }

    /// A cancel: it takes effect now or, being late, perhaps never.
    pub(super) fn cancel(&mut self, socket: SocketId, token: Token) {
        self.time.note("cancel", token.bits(), socket);
        if self.time.random.chance(self.system.late_cancel) {
            let delay = self.delay_of_end();
            self.time.after(delay, Happening::Due(Due::End { socket, token }));
        } else {
            self.end(socket, token);
        }
    }

    /// Ends a request that is not over.
    pub(super) fn end(&mut self, socket: SocketId, token: Token) {
        let Some(lines) = self.lines.get_mut(&socket) else { return };
        let found = [&mut lines.reading, &mut lines.writing].into_iter().find_map(|line| {
            let place = line.iter().position(|pending| pending.token == token)?;
            line.remove(place)
        });
        let Some(pending) = found else { return };
        self.tell(pending.at, Told::last(token, Outcome::Interrupted), pending.told_at);
        self.serve(socket);
    }

    /// True when no request of the socket is there.
    pub(super) fn is_idle(&self, socket: SocketId) -> bool {
        let lines = self.lines.get(&socket);
        lines.is_none_or(|lines| lines.reading.is_empty() && lines.writing.is_empty())
    }

    /// Lets the requests of a socket go on as far as they can.
    pub(super) fn serve(&mut self, socket: SocketId) {
        self.has_changed = true;
        // Taken out, so that attempts may change the rest of the world.
        let Some(mut lines) = self.lines.remove(&socket) else { return };
        for line in [&mut lines.reading, &mut lines.writing] {
            while let Some(pending) = line.front_mut()
                && pending.has_begun
                && let Poll::Ready(attempted) = self.attempt(socket, pending)
            {
                // A stream ends by itself now and then, as real ones do.
                let more = attempted.goes_on && self.time.random.below(8) > 0;
                let Attempted { what, is_drained, .. } = attempted;
                let told = Told { token: pending.token, what, more, is_drained };
                pending.told_at = Some(self.tell(pending.at, told, pending.told_at));
                if !more {
                    line.pop_front();
                }
            }
        }
        self.lines.insert(socket, lines);
    }

    fn attempt(&mut self, socket: SocketId, pending: &mut Pending) -> Poll<Attempted> {
        match pending.request {
            Request::Receive(region) => self.receive(socket, &[region], None),
            Request::ReceiveMessage(message) => {
                // SAFETY: the message is valid until the last event was taken, by the promise given
                // when the request was issued, and nobody else accesses it meanwhile.
                let message = unsafe { &mut *message };
                let regions: Vec<Region> = message.each_region().collect();
                self.receive(socket, &regions, Some(message))
            }
            Request::ReceivePooled(class) => self.receive_pooled(socket, pending.at, class),
            Request::ReceiveStream(class) => {
                let attempted = self.receive_pooled(socket, pending.at, class);
                attempted.map(|attempted| {
                    let has_bytes = matches!(
                        attempted.what,
                        What::Plain(Outcome::Pooled(_) | Outcome::PooledTruncated(_))
                    );
                    Attempted { goes_on: has_bytes, ..attempted }
                })
            }
            Request::Readable => match self.network.is_readable(socket) {
                true => Attempted::plain(Outcome::Bytes(0)),
                false => Poll::Pending,
            },
            Request::Writable => match self.network.is_writable(socket) {
                true => Attempted::plain(Outcome::Bytes(0)),
                false => Poll::Pending,
            },
            Request::Send(region) => self.send(socket, &[region], None),
            Request::SendMessage(message) => {
                // SAFETY: as above.
                let message = unsafe { &*message };
                let regions: Vec<Region> = message.each_region().collect();
                self.send(socket, &regions, message.sender())
            }
            Request::Accept | Request::AcceptStream => self.network.accept(socket).map(|result| {
                let goes_on = result.is_ok() && matches!(pending.request, Request::AcceptStream);
                let what = match result {
                    Ok(connection) => What::Accepted(connection),
                    Err(fault) => What::Plain(Outcome::Failed(code::of(fault))),
                };
                Attempted { what, is_drained: false, goes_on }
            }),
            Request::Connect(message) => {
                if !std::mem::replace(&mut pending.has_asked, true) {
                    // SAFETY: as above.
                    let Some(peer) = (unsafe { &*message }).sender() else {
                        return Attempted::plain(Outcome::Failed(code::of(Fault::Invalid)));
                    };
                    match self.network.connect(&mut self.time, socket, peer) {
                        // Begun before by a request that was interrupted: its end is this one's.
                        Ok(()) | Err(Fault::InProgress) => {}
                        Err(fault) => return Attempted::plain(Outcome::Failed(code::of(fault))),
                    }
                }
                match self.network.connected(socket) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(())) => Attempted::plain(Outcome::Bytes(0)),
                    Poll::Ready(Err(fault)) => Attempted::plain(Outcome::Failed(code::of(fault))),
                }
            }
            Request::ReadAt(..)
            | Request::ReadMessageAt(..)
            | Request::WriteAt(..)
            | Request::WriteMessageAt(..) => {
                Attempted::plain(Outcome::Failed(code::of(Fault::Invalid)))
            }
        }
    }

    fn receive(
        &mut self,
        socket: SocketId,
        regions: &[Region],
        message: Option<&mut Message>,
    ) -> Poll<Attempted> {
        if self.network.protocol(socket) == Some(Protocol::Datagram) {
            return self.network.receive_datagram(&mut self.time, socket).map(|received| {
                let outcome = match received {
                    Ok((from, bytes)) => {
                        let taken = scatter(regions, &bytes);
                        if let Some(message) = message {
                            message.note_received(Some(from), taken < bytes.len());
                        }
                        Outcome::Bytes(taken)
                    }
                    Err(fault) => Outcome::Failed(code::of(fault)),
                };
                Attempted { what: What::Plain(outcome), is_drained: false, goes_on: false }
            });
        }
        let room = regions.iter().map(|region| region.len).sum();
        let mut taken = Scatter { regions, region: 0, place: 0 };
        let mut take = |bytes: &[u8]| {
            taken.put(bytes);
        };
        self.network.receive(&mut self.time, socket, room, &mut take).map(|received| {
            if let Some(message) = message {
                message.note_received(None, false);
            }
            match received {
                Ok(received) => Attempted {
                    what: What::Plain(Outcome::Bytes(received.bytes)),
                    is_drained: received.is_drained,
                    goes_on: false,
                },
                Err(fault) => Attempted {
                    what: What::Plain(Outcome::Failed(code::of(fault))),
                    is_drained: false,
                    goes_on: false,
                },
            }
        })
    }

    fn receive_pooled(
        &mut self,
        socket: SocketId,
        at: LaneId,
        class: SizeClass,
    ) -> Poll<Attempted> {
        if !self.network.is_readable(socket) {
            return Poll::Pending;
        }
        let is_datagram = self.network.protocol(socket) == Some(Protocol::Datagram);
        if !is_datagram && !self.network.has_bytes(socket) {
            // An end or a failure needs no buffer.
            return self.receive(socket, &[], None);
        }
        let buffer = self.ports.get(&at.port).and_then(|port| port.pool.take(class));
        let Some(mut buffer) = buffer else { return Attempted::plain(Outcome::NoBuffers) };
        if is_datagram {
            return self.network.receive_datagram(&mut self.time, socket).map(|received| {
                let outcome = match received {
                    Ok((_, bytes)) => {
                        let room = buffer.capacity().min(bytes.len());
                        buffer.extend_from_slice(&bytes[..room]);
                        match room < bytes.len() {
                            true => Outcome::PooledTruncated(buffer),
                            false => Outcome::Pooled(buffer),
                        }
                    }
                    Err(fault) => Outcome::Failed(code::of(fault)),
                };
                Attempted { what: What::Plain(outcome), is_drained: false, goes_on: false }
            });
        }
        let room = buffer.capacity();
        let mut take = |bytes: &[u8]| buffer.extend_from_slice(bytes);
        self.network.receive(&mut self.time, socket, room, &mut take).map(|received| match received
        {
            Ok(received) => Attempted {
                what: What::Plain(Outcome::Pooled(buffer)),
                is_drained: received.is_drained,
                goes_on: false,
            },
            Err(fault) => Attempted {
                what: What::Plain(Outcome::Failed(code::of(fault))),
                is_drained: false,
                goes_on: false,
            },
        })
    }

    fn send(
        &mut self,
        socket: SocketId,
        regions: &[Region],
        to: Option<SocketAddr>,
    ) -> Poll<Attempted> {
        let total: usize = regions.iter().map(|region| region.len).sum();
        if self.network.protocol(socket) == Some(Protocol::Datagram) {
            let bytes = gather(regions, total);
            let sent = self.network.send_datagram(&mut self.time, socket, to, bytes);
            return Attempted::plain(match sent {
                Ok(bytes) => Outcome::Bytes(bytes),
                Err(fault) => Outcome::Failed(code::of(fault)),
            });
        }
        match self.network.room(socket) {
            // The seam allows both: to wait, and to say that it would.
            Poll::Pending => match self.time.random.below(2) {
                0 => Poll::Pending,
                _ => Attempted::plain(Outcome::WouldBlock),
            },
            Poll::Ready(Err(fault)) => Attempted::plain(Outcome::Failed(code::of(fault))),
            Poll::Ready(Ok(room)) => {
                let bytes = room.min(total);
                let bytes = self.network.perhaps_fewer(&mut self.time, socket, bytes);
                self.network.send(&mut self.time, socket, &gather(regions, bytes));
                Attempted::plain(Outcome::Bytes(bytes))
            }
        }
    }
}

/// The first `count` bytes of the regions.
fn gather(regions: &[Region], count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    for region in regions {
        let left = count - bytes.len();
        let len = region.len.min(left);
        if len > 0 {
            // SAFETY: a region of a request that is under way is valid for reads of its length, and
            // nobody writes to it meanwhile.
            bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(region.ptr, len) });
        }
    }
    bytes
}

/// Puts what fits into the regions, in order; says how much.
fn scatter(regions: &[Region], bytes: &[u8]) -> usize {
    Scatter { regions, region: 0, place: 0 }.put(bytes)
}

struct Scatter<'a> {
    regions: &'a [Region],
    region: usize,
    place: usize,
}

impl Scatter<'_> {
    fn put(&mut self, mut bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(region) = self.regions.get(self.region)
            && !bytes.is_empty()
        {
            let len = (region.len - self.place).min(bytes.len());
            let (now, later) = bytes.split_at(len);
            // SAFETY: a region of a request that is under way is valid for writes of its length,
            // nobody else accesses it, and `place` and `len` stay within it.
            unsafe {
                std::ptr::copy_nonoverlapping(now.as_ptr(), region.ptr.add(self.place), len);
            }
            bytes = later;
            taken += len;
            self.place += len;
            if self.place == region.len {
                self.region += 1;
                self.place = 0;
            }
        }
        taken
    }
}
