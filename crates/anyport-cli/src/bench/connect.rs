//! Connects thousands of sockets: a bounded number at once, a bounded number of attempts each.
//!
//! A server that is slow to accept, or that refuses for a moment, costs time and no connection;
//! one that does not answer at all gives an error that says so. Called by `steady`.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use polling::Events;

use super::generator::{Failure, Stop};
use super::load::Load;
use super::sockets::{Route, Sockets};
use super::system::advice;

/// Connects under way at once: below any usual backlog.
const IN_FLIGHT_MAX: usize = 128;

/// Attempts for one connection.
const ATTEMPTS_MAX: u8 = 6;

/// Wait before the second attempt; doubled for each that follows.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// The whole is given up when nothing connects for this long.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(10);

/// What came of the attempt to connect all.
pub(crate) struct Connected {
    /// Connections given up after their last attempt.
    pub(crate) failed: usize,
    /// Why the first of them was.
    pub(crate) first_error: Option<io::Error>,
}

/// Connects every place of `sockets` to the peer of `load`; the first one is connection number
/// `first` of all. `on_progress` learns how many more are connected.
///
/// Fails when nothing could be connected, when the system refuses more sockets, or when nothing
/// happens for ten seconds.
pub(crate) fn connect_all(
    sockets: &mut Sockets,
    load: &Load,
    first: usize,
    stop: &Stop,
    mut on_progress: impl FnMut(usize),
) -> Result<Connected, Failure> {
    let peer = load.peer;
    let mut round = Round {
        load,
        first,
        attempts: vec![0; sockets.len()],
        is_pending: vec![false; sockets.len()],
        retries: VecDeque::new(),
        in_flight: 0,
        connected: 0,
        failed: 0,
        first_error: None,
        last_progress: Instant::now(),
    };
    let mut next = 0;
    let mut events = Events::new();
    while round.connected + round.failed < sockets.len() {
        if stop.is_set() {
            return Err(Failure::Interrupted);
        }
        let connected_before = round.connected;
        while round.in_flight < IN_FLIGHT_MAX {
            let now = Instant::now();
            let index = match round.retries.front() {
                Some(&(at, index)) if at <= now => {
                    round.retries.pop_front();
                    index
                }
                _ if next < sockets.len() => {
                    next += 1;
                    next - 1
                }
                _ => break,
            };
            round.start(sockets, index)?;
        }
        if round.last_progress.elapsed() > PROGRESS_TIMEOUT {
            return Err(Failure::Message(format!(
                "connected {} of {} to {peer}, then nothing for {} s",
                round.connected,
                sockets.len(),
                PROGRESS_TIMEOUT.as_secs(),
            )));
        }
        sockets.wait(&mut events, RETRY_AFTER).map_err(Failure::poll)?;
        for event in events.iter() {
            round.finish(sockets, event.key)?;
        }
        on_progress(round.connected - connected_before);
    }
    if round.connected == 0 {
        let why = round
            .first_error
            .map_or_else(String::new, |error| format!(": {error}{}", advice(&error)));
        return Err(Failure::Message(format!(
            "cannot connect to {peer}{why} (after {ATTEMPTS_MAX} attempts)"
        )));
    }
    Ok(Connected { failed: round.failed, first_error: round.first_error })
}

struct Round<'a> {
    load: &'a Load,
    /// The number of the first connection among those of all threads.
    first: usize,
    /// Attempts made for each connection.
    attempts: Vec<u8>,
    /// Whether a connect of it is under way.
    is_pending: Vec<bool>,
    /// Connections to try again, and when; in the order in which they failed.
    retries: VecDeque<(Instant, usize)>,
    in_flight: usize,
    connected: usize,
    failed: usize,
    first_error: Option<io::Error>,
    last_progress: Instant,
}

impl Round<'_> {
    fn start(&mut self, sockets: &mut Sockets, index: usize) -> Result<(), Failure> {
        self.attempts[index] += 1;
        match sockets.connect(index, Route::new(self.load, self.first + index)) {
            Ok(()) => {
                self.is_pending[index] = true;
                self.in_flight += 1;
                Ok(())
            }
            Err(error) => self.on_error(sockets, index, error),
        }
    }

    fn finish(&mut self, sockets: &mut Sockets, index: usize) -> Result<(), Failure> {
        if !self.is_pending[index] {
            return Ok(());
        }
        match sockets.connect_error(index).map_err(Failure::poll)? {
            None => {
                self.is_pending[index] = false;
                self.in_flight -= 1;
                self.connected += 1;
                self.last_progress = Instant::now();
                sockets.await_next(index, false).map_err(Failure::poll)
            }
            // An event before the connect has a result: another one follows.
            Some(error) if error.kind() == io::ErrorKind::NotConnected => {
                sockets.await_next(index, true).map_err(Failure::poll)
            }
            Some(error) => {
                self.is_pending[index] = false;
                self.in_flight -= 1;
                self.on_error(sockets, index, error)
            }
        }
    }

    fn on_error(
        &mut self,
        sockets: &mut Sockets,
        index: usize,
        error: io::Error,
    ) -> Result<(), Failure> {
        sockets.close(index);
        if !may_pass(&error) {
            return Err(Failure::Message(format!(
                "connection {} of {}: {error}{}",
                index + 1,
                sockets.len(),
                advice(&error)
            )));
        }
        if self.attempts[index] < ATTEMPTS_MAX {
            let wait = RETRY_AFTER * (1 << (self.attempts[index] - 1));
            self.retries.push_back((Instant::now() + wait, index));
        } else {
            self.failed += 1;
            self.first_error.get_or_insert(error);
        }
        Ok(())
    }
}

/// Whether trying again may help.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::AddrNotAvailable
            | Kind::AddrInUse
            | Kind::TimedOut
            | Kind::WouldBlock
            | Kind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener};

    fn connect(peer: SocketAddr, count: usize, stop: &Stop) -> (Result<Connected, Failure>, usize) {
        let mut sockets = Sockets::new(count).expect("a poller");
        let mut seen = 0;
        let load = Load::closed(peer, count);
        let result = connect_all(&mut sockets, &load, 0, stop, |n| seen += n);
        (result, seen)
    }

    #[test]
    fn more_connections_than_may_be_in_flight_all_connect() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let peer = listener.local_addr().expect("address");
        let count = IN_FLIGHT_MAX * 2 + 3;
        let acceptor =
            std::thread::spawn(move || listener.incoming().take(count).collect::<Vec<_>>());
        let (connected, seen) = connect(peer, count, &Stop::default());
        let connected = connected.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(connected.failed, 0);
        assert_eq!(seen, count);
        assert_eq!(acceptor.join().expect("accepted").len(), count);
    }

    #[test]
    fn nobody_listening_is_an_error_after_a_bounded_number_of_attempts() {
        let peer = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
        let failure = connect(peer, 3, &Stop::default()).0.err().expect("nobody listens");
        assert!(failure.to_string().contains("cannot connect to"), "{failure}");
    }

    #[test]
    fn an_interrupt_ends_the_attempts() {
        let peer = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
        let stop = Stop::default();
        stop.set();
        let failure = connect(peer, 1, &stop).0.err();
        assert!(matches!(failure, Some(Failure::Interrupted)));
    }
}
