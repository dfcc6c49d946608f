//! An example as a running program: found, started on a backend, read from and ended.

use crate::world::{DEADLINE, wait_until};
use anyport::BackendKind;
use std::env::{self, consts::EXE_SUFFIX};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Once;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};

/// A running example; killed when it is dropped.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    lines: Receiver<String>,
    /// What it writes to its other output.
    errors: Option<JoinHandle<String>>,
}

/// A server that has said where it listens.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) address: SocketAddr,
}

impl Program {
    /// Starts an example on a backend; `None`, and says so, where it was not built.
    pub(crate) fn start(name: &'static str, kind: BackendKind, arguments: &[&str]) -> Option<Self> {
        let path = path_of(name)?;
        let mut child = Command::new(&path)
            .args(arguments)
            .env("ANYPORT_BACKEND", kind.name())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", path.display()));
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut stderr = child.stderr.take().expect("a pipe");
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Some(Program { name, child, lines, errors: Some(errors) })
    }

    /// The next line that it writes; `None`: it has ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} says nothing", self.name),
        }
    }

    /// Waits until it has ended by itself: how, and what it wrote to its other output.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let mut status = None;
        wait_until("the end of the program", || {
            status = self.child.try_wait().expect("it is a child");
            status.is_some()
        });
        let errors = self.errors.take().expect("asked once").join().expect("no panic");
        (status.expect("it has ended"), errors)
    }

    /// Sends it a signal of this name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "{} has ended", self.name);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(errors) = self.errors.take().filter(|_| thread::panicking()) {
            println!("{} said:\n{}", self.name, errors.join().unwrap_or_default());
        }
    }
}

impl Server {
    /// Starts an example on a free port of this machine, with more arguments behind the address.
    pub(crate) fn start(name: &'static str, kind: BackendKind, more: &[&str]) -> Option<Self> {
        let mut program = Program::start(name, kind, &[&["127.0.0.1:0"], more].concat())?;
        let line = program.line().unwrap_or_default();
        let address = line.strip_prefix("listening on ").and_then(|rest| rest.split(',').next());
        match address.and_then(|address| address.parse().ok()) {
            Some(address) => Some(Server { program, address }),
            None => panic!("{name} does not say where it listens, but {line:?}"),
        }
    }

    /// Asks it to end, where a program can be asked, and sees that it ends well.
    pub(crate) fn ends_well_at(self, signal: &str) -> String {
        #[cfg(unix)]
        {
            self.program.signal(signal);
            let (status, errors) = self.program.ended();
            assert_eq!(status.code(), Some(0), "{status}: {errors}");
            errors
        }
        #[cfg(not(unix))]
        {
            println!("not run: nobody can send {signal} to a program here");
            String::new()
        }
    }
}

static SAID: Once = Once::new();

/// Where cargo puts an example: beside the folder of this test. `None`, and says so, when it is not
/// there, as when only tests were built, or is older than what it is made of: then what it does
/// would prove nothing.
fn path_of(name: &str) -> Option<PathBuf> {
    let test = env::current_exe().expect("this program has a path");
    let profile = test.parent().and_then(Path::parent).expect("it is in PROFILE/deps");
    let path = profile.join("examples").join(format!("{name}{EXE_SUFFIX}"));
    let lacks = match changed(&path) {
        None => "is not built".to_owned(),
        Some(built) => {
            match sources_of(&path).into_iter().find(|source| changed(source) > Some(built)) {
                Some(source) => format!("is older than {}", source.display()),
                None => return Some(path),
            }
        }
    };
    let why = format!("{} {lacks}: cargo build -p anyport --examples", path.display());
    println!("not run: {why}");
    // Once beside what the tests are captured with, or nobody would see it of tests that pass.
    SAID.call_once(|| {
        let _ = writeln!(io::stderr(), "not run: tests of examples: {why}");
    });
    None
}

/// What cargo has noted beside a program that it has built: `PROGRAM: SOURCE SOURCE...`, a space
/// within a name being behind a backslash.
fn sources_of(program: &Path) -> Vec<PathBuf> {
    let noted = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let Some((_, sources)) = noted.split_once(": ") else { return Vec::new() };
    let sources = sources.trim_end().replace("\\ ", "\0");
    sources.split(' ').map(|source| PathBuf::from(source.replace('\0', " "))).collect()
}

fn changed(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}
