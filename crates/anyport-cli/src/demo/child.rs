//! A server in a process of its own, so that its CPU time and memory are its alone.
//!
//! The process never outlives its owner: it is killed by handle when the owner drops it, and ends
//! by itself when its standard input ends, which happens however the owner dies. Called by `demo`.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;

/// The longest time from start to the line with the address.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time from the request to end to the end.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Lines kept of what the server said on standard error.
const LINES_MAX: usize = 20;

/// A server that runs.
pub(super) struct ServerProcess {
    child: Child,
    /// Its end asks the server to end.
    stdin: Option<ChildStdin>,
    addr: SocketAddr,
    stdout: Receiver<String>,
    said: Said,
}

/// The last lines from standard error; shared with the thread that reads them.
type Said = Arc<Mutex<VecDeque<String>>>;

impl ServerProcess {
    /// Starts this program as a server with `arguments` and waits until it listens.
    pub(super) fn start(arguments: &[String], interrupt: &Interrupt) -> Result<Self, String> {
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot find the program itself: {error}"))?;
        let mut child = Command::new(program)
            .args(arguments)
            // The row says what was measured, so nothing else may choose.
            .env_remove("ANYPORT_BACKEND")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a server process: {error}"))?;
        let said = Said::default();
        let (sender, stdout) = channel();
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            thread::spawn(move || keep_last_lines(BufReader::new(stderr), &said));
        }
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || forward_lines(BufReader::new(stdout), &sender));
        }
        // From here on, an error drops the process, which kills it.
        let mut server = Self {
            stdin: child.stdin.take(),
            child,
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
            stdout,
            said,
        };
        server.addr = server.wait_for_address(interrupt)?;
        Ok(server)
    }

    /// Where it listens.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits until it has. An end with an error, or none in time, is an error.
    pub(super) fn finish(mut self) -> Result<(), String> {
        drop(self.stdin.take());
        let deadline = Instant::now() + END_TIMEOUT;
        // Its standard output ends when the process does.
        loop {
            match self.stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    return Err(format!("did not end within {} s", END_TIMEOUT.as_secs()));
                }
            }
        }
        let status = self.child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
        if status.success() { Ok(()) } else { Err(self.describe_end(status)) }
    }

    fn wait_for_address(&mut self, interrupt: &Interrupt) -> Result<SocketAddr, String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match self.stdout.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => {
                    let addr = line.strip_prefix("listening on ").and_then(|a| a.parse().ok());
                    return addr.ok_or_else(|| format!("said `{line}` in place of its address"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().map_err(|error| error.to_string())?;
                    return Err(self.describe_end(status));
                }
                Err(RecvTimeoutError::Timeout) if interrupt.is_set() => {
                    return Err("interrupted".into());
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    return Err(format!("did not listen within {} s", START_TIMEOUT.as_secs()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn describe_end(&self, status: ExitStatus) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let words: Vec<&str> =
            said.iter().map(|line| line.trim_start_matches("anyport: ")).collect();
        if words.is_empty() {
            format!("ended with {status}")
        } else {
            format!("ended with {status}: {}", words.join("; "))
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward_lines(from: impl BufRead, to: &Sender<String>) {
    for line in from.lines().map_while(Result::ok) {
        if to.send(line).is_err() {
            return;
        }
    }
}

fn keep_last_lines(from: impl BufRead, said: &Said) {
    for line in from.lines().map_while(Result::ok) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == LINES_MAX {
            said.pop_front();
        }
        said.push_back(line);
    }
}
