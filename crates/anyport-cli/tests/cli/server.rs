//! A server of the program under test, killed when dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

/// Flags that choose a model and a backend.
pub(crate) type Kind = Vec<String>;

/// Every model and backend that this machine allows.
pub(crate) fn kinds() -> Vec<Kind> {
    let mut kinds = vec![vec!["--model".to_owned(), "threads".to_owned()]];
    for (backend, availability) in anyport::available_backends() {
        if availability.is_ok() {
            for model in ["port", "tasks"] {
                kinds.push(["--model", model, "--backend", backend.name()].map(Into::into).into());
            }
        }
    }
    kinds
}

/// Sends the signal called `name` to one process.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// `anyport serve echo` on a free port.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    /// Where it listens.
    pub(crate) addr: String,
}

/// How a server ended.
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    /// What followed the line with the address.
    pub(crate) more_stdout: String,
    pub(crate) stderr: String,
}

impl Server {
    pub(crate) fn start(kind: &[String], more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_anyport"))
            .args(["serve", "echo", "--listen", "127.0.0.1:0"])
            .args(kind)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut stderr = child.stderr.take().expect("a pipe");
        let stderr = Some(std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("readable");
            text
        }));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let mut server = Self { child, stdout, stderr, addr: String::new() };
        match line.trim_end().strip_prefix("listening on ") {
            Some(addr) => server.addr = addr.to_owned(),
            None => panic!("{kind:?} {more:?} said `{line}`: {}", server.wait().stderr),
        }
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn close_stdin_and_wait(mut self) -> Ended {
        drop(self.child.stdin.take());
        self.wait()
    }

    pub(crate) fn wait(mut self) -> Ended {
        let mut more_stdout = String::new();
        self.stdout.read_to_string(&mut more_stdout).expect("readable");
        let status = self.child.wait().expect("ended").code();
        let stderr = self.stderr.take().expect("one reader").join().expect("read");
        Ended { status, more_stdout, stderr }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
