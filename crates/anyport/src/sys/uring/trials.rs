//! Trials of what no flag tells: each does what the backend will do, on a ring and sockets of its
//! own, and leaves nothing under way.
//!
//! A failure of a trial's own means is an error; what the kernel refuses, or does otherwise than
//! it should, is a feature that is not there.

use super::bell::Bell;
use super::features::{Feature, Features};
use super::provided::Groups;
use super::ring::{Issuers, Ring};
use super::sorting::{Found, sort};
use super::translate::{self, word_of};
use crate::buf::{BufferPool, PoolOptions, SizeClass};
use crate::error::Error;
use crate::sys::{Event, Outcome, RequestKind, Token};
use io_uring::{cqueue, opcode, squeue, types};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What a trial waits for comes at once; this bounds what a defect could do.
const TRIAL_MAX: Duration = Duration::from_secs(1);

/// Room for completions in a trial's ring.
const COMPLETIONS: u32 = 8;

const CLASS: SizeClass = SizeClass::Small4K;

/// Adds to `features` what the kernel turns out to have.
pub(super) fn run(mut features: Features) -> io::Result<Features> {
    let Some(ring) = build(Issuers::AnyInterrupted)? else { return Ok(features) };
    features = features.with(Feature::SubmitAll, true);
    let cooperative = build(Issuers::Any)?;
    features = features.with(Feature::CoopTaskrun, cooperative.is_some());
    let mut trial = Trial::new(cooperative.unwrap_or(ring));
    let bell = Bell::new().map_err(io_from)?;
    features = features
        .with(Feature::MsgRing, trial.is_woken_by(&bell))
        .with(Feature::CancelAny, trial.cancels_all()?)
        .with(Feature::MultishotAccept, trial.accepts_again()?)
        .with(Feature::BufferRings, trial.lends())
        .with(Feature::MultishotReceive, trial.lends() && trial.receives_again()?);
    trial.end();
    if let Some(ring) = build(Issuers::OneThread)? {
        // One that no message wakes is of no use.
        let mut trial = Trial::new(ring);
        features = features.with(Feature::OwnerRings, trial.is_woken_by(&bell));
        trial.end();
    }
    Ok(features)
}

/// A ring as the backend makes them; `None` when the kernel does not know one of the flags.
fn build(issuers: Issuers) -> io::Result<Option<Ring>> {
    match Ring::new(issuers, 4, COMPLETIONS) {
        Ok(ring) => Ok(Some(ring)),
        Err(e) if e.code() == Some(libc::EINVAL) => Ok(None),
        Err(e) => Err(io_from(e)),
    }
}

/// The address that a socket has, if this number is a socket's.
fn local_addr(fd: RawFd) -> io::Result<SockAddr> {
    // SAFETY: the pointers are to an address and its length; a number that is no socket's is an
    // error.
    let result = unsafe {
        SockAddr::try_init(|address, length| match libc::getsockname(fd, address.cast(), length) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
    };
    result.map(|((), address)| address)
}

fn io_from(error: Error) -> io::Error {
    error.code().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}

/// A ring, what it is lent, and the one request that is under way.
struct Trial {
    ring: Ring,
    groups: Groups,
    pool: BufferPool,
    /// Names the request.
    token: Token,
    is_under_way: bool,
}

impl Trial {
    fn new(ring: Ring) -> Self {
        // One buffer is enough to see whether the kernel picks it.
        let groups = Groups::new(CLASS.bytes());
        let pool = BufferPool::new(PoolOptions::new());
        Trial { ring, groups, pool, token: Token::new(0, 1), is_under_way: false }
    }

    /// Closes the ring; buffers that the kernel may still write to are left to it.
    fn end(self) {
        let Trial { ring, groups, is_under_way, .. } = self;
        drop(ring);
        if is_under_way {
            log::error!("io_uring did not end a request that was cancelled");
            std::mem::forget(groups);
        }
    }

    /// A message puts a wake-up into this ring.
    fn is_woken_by(&mut self, bell: &Bell) -> bool {
        bell.strike(self.ring.raw_fd()) && self.wait(|found| matches!(found, Found::Wake))
    }

    /// One cancel ends whatever is under way.
    fn cancels_all(&mut self) -> io::Result<bool> {
        let (near, _far) = UnixStream::pair()?;
        let poll = opcode::PollAdd::new(types::Fd(near.as_raw_fd()), libc::POLLIN as u32);
        let word = self.start(poll.build(), RequestKind::Readable);
        self.submit(&translate::cancel_all_entry());
        let is_over = self.comes(|event| matches!(event.outcome, Outcome::Interrupted));
        Ok(self.is_ended(word) && is_over)
    }

    /// An accept goes on after it has accepted, and a connection that finds the completion queue
    /// full is not lost.
    fn accepts_again(&mut self) -> io::Result<bool> {
        let unnamed = || Socket::new(Domain::UNIX, Type::STREAM, None);
        let (listener, clients, late) = (unnamed()?, [unnamed()?, unnamed()?], unnamed()?);
        // Without a name the system finds one, which is no file.
        listener.bind(&SockAddr::unix("")?)?;
        listener.listen(2)?;
        let address = listener.local_addr()?;
        let accept = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()));
        let entry = accept.flags(libc::SOCK_CLOEXEC).build();
        let word = self.start(entry, RequestKind::Accept);
        let is_so = clients.iter().all(|client| {
            client.connect(&address).is_ok()
                && self.comes(|e| e.more && matches!(e.outcome, Outcome::Accepted(_)))
        });
        let is_so = is_so && {
            self.fill_up();
            // The thread enters the kernel for it, where the accept runs.
            late.connect(&address).is_ok()
                && self.ring.fetch().is_ok()
                && self.accepts_late(&address)
        };
        Ok(self.is_ended(word) && is_so)
    }

    /// Fills the completion queue, with answers of no interest.
    fn fill_up(&mut self) {
        for _ in 0..COMPLETIONS {
            self.submit(&translate::cancel_entry(u64::MAX >> 8));
        }
    }

    /// An accept that found the completion queue full gives the connection, with this listener's
    /// address. Some kernels give the events that it had waited for as if they were a descriptor
    /// (195), which is another's or nobody's: so it is not owned before it was looked at.
    fn accepts_late(&mut self, address: &SockAddr) -> bool {
        let end = Instant::now() + TRIAL_MAX;
        while Instant::now() < end {
            // SAFETY: nobody else has the ring.
            while let Some(completion) = unsafe { self.ring.next_completion() } {
                if translate::request_of(completion.user_data()) != Some(self.token) {
                    continue;
                }
                self.is_under_way &= cqueue::more(completion.flags());
                let fd = completion.result();
                let is_ours = fd >= 0 && local_addr(fd).is_ok_and(|found| found == *address);
                if is_ours {
                    // SAFETY: only the kernel can have opened a socket with this address, which the
                    // system has chosen, besides the listener: the accept's, which nobody else
                    // knows.
                    drop(unsafe { OwnedFd::from_raw_fd(fd) });
                }
                return is_ours;
            }
            // Now that there is room.
            let _ = self.ring.fetch();
        }
        false
    }

    /// The kernel takes buffers to pick from.
    fn lends(&mut self) -> bool {
        self.groups.prepare(&self.ring, CLASS, &self.pool)
    }

    /// A receive goes on after it has received.
    fn receives_again(&mut self) -> io::Result<bool> {
        let (near, mut far) = UnixStream::pair()?;
        let fd = types::Fd(near.as_raw_fd());
        let entry = opcode::RecvMulti::new(fd, translate::group_id(CLASS)).build();
        let word = self.start(entry, RequestKind::ReceivePooled(CLASS));
        let is_so = [b"one", b"two"].into_iter().all(|bytes| {
            let goes_on = |event: &Event| match &event.outcome {
                Outcome::Pooled(buffer) => event.more && buffer[..] == bytes[..],
                _ => false,
            };
            let has_come = far.write_all(bytes).is_ok() && self.comes(goes_on);
            // In place of the buffer that was picked.
            self.groups.top_up(&self.pool, 0);
            has_come
        });
        // Cancelled, since some kernels do not tell such a receive of its peer's end.
        Ok(self.is_ended(word) && is_so)
    }

    /// Hands a request, which names no memory, to the kernel; gives the word that cancels it.
    fn start(&mut self, entry: squeue::Entry, request: RequestKind) -> u64 {
        // What an earlier one might still yield is not taken for this one's.
        self.token = Token::new(0, self.token.generation() + 1);
        let word = word_of(request, self.token, true);
        self.is_under_way = true;
        self.submit(&entry.user_data(word));
        word
    }

    /// Hands an entry, which names no memory, to the kernel.
    fn submit(&mut self, entry: &squeue::Entry) {
        // SAFETY: nobody else has the ring, and the entry names no memory. There is room: each is
        // submitted before the next.
        let _is_queued = unsafe { self.ring.push(entry) };
        // What does not go now goes with the wait that follows.
        let _ = self.ring.submit_only();
    }

    /// Cancels the request unless it is over; true when it is over then.
    fn is_ended(&mut self, word: u64) -> bool {
        if self.is_under_way {
            self.submit(&translate::cancel_entry(word));
        }
        while self.is_under_way {
            if !self.wait(|found| matches!(found, Found::Event(_))) {
                return false;
            }
        }
        true
    }

    /// Waits for the request's next event; true when it `is_so`.
    fn comes(&mut self, is_so: impl Fn(&Event) -> bool) -> bool {
        let mut is_right = false;
        self.wait(|found| match found {
            Found::Event(event) => {
                is_right = is_so(event);
                true
            }
            _ => false,
        });
        is_right
    }

    /// Waits until something is found that `is_it`; false when it does not come.
    fn wait(&mut self, mut is_it: impl FnMut(&Found) -> bool) -> bool {
        let end = Instant::now() + TRIAL_MAX;
        loop {
            // SAFETY: nobody else has the ring.
            while let Some(completion) = unsafe { self.ring.next_completion() } {
                let found = sort(&completion, &mut self.groups);
                if let Found::Event(event) = &found {
                    if event.token != self.token {
                        continue;
                    }
                    self.is_under_way &= event.more;
                }
                if is_it(&found) {
                    return true;
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let time = types::Timespec::from(left);
            let arguments = types::SubmitArgs::new().timespec(&time);
            // A timeout or a signal: the clock decides.
            let _ = self.ring.submitter().submit_with_args(1, &arguments);
        }
    }
}
