//! Signals as calls on an ordinary thread.
//!
//! A handler may do next to nothing: this one counts the signal and writes a byte to a socket. A
//! thread that is started with the first watch reads there and delivers what was counted. Handlers
//! are installed by `signal-hook-registry`, which goes on calling those that were there before, and
//! other libraries' beside this one.

use super::code::error_from_io;
use crate::error::{Error, ErrorKind};
use crate::sys::signal::{Deliver, SignalKind};
use std::io::{self, Read};
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// From now on every signal of this kind that comes to the process is delivered, several of the
/// same kind that come together perhaps as one. Those that come after this has returned are not
/// missed. The handler is there for the rest of the process's life; a second watch of the same kind
/// does nothing.
///
/// # Errors
/// `Unsupported` for a kind that Unix does not have; what the system says when it refuses the
/// handler, the socket or the thread.
pub(crate) fn watch_signal(kind: SignalKind, deliver: Deliver) -> Result<(), Error> {
    const ACTION: &str = "watch for a signal";
    let number = number_of(kind).ok_or(
        Error::new(ErrorKind::Unsupported, ACTION)
            .with_detail("Unix has no such signal; this one is of the console of Windows"),
    )?;
    let mut watches = lock();
    if watches.deliver[kind.index()].is_some() {
        return Ok(());
    }
    let bell = match watches.bell {
        Some(bell) => bell,
        None => {
            let bell = start_listener().map_err(|e| error_from_io(&e, ACTION))?;
            *watches.bell.insert(bell)
        }
    };
    // SAFETY: what runs in the handler is safe there: it increments an atomic number and calls
    // `write`, and neither allocates, locks nor panics. The registry keeps `errno` as it was.
    let registered = unsafe {
        signal_hook_registry::register(number, move || {
            COUNTED[kind.index()].fetch_add(1, Ordering::SeqCst);
            ring(bell);
        })
    };
    registered.map_err(|e| error_from_io(&e, ACTION))?;
    watches.deliver[kind.index()] = Some(deliver);
    Ok(())
}

/// Signals that the handler has seen and the listener has not, by kind.
static COUNTED: [AtomicUsize; SignalKind::ALL.len()] =
    [const { AtomicUsize::new(0) }; SignalKind::ALL.len()];

static WATCHES: Mutex<Watches> =
    Mutex::new(Watches { bell: None, deliver: [None; SignalKind::ALL.len()] });

struct Watches {
    /// Where the handler writes; open for the rest of the process's life.
    bell: Option<RawFd>,
    /// Whom to tell, by kind.
    deliver: [Option<Deliver>; SignalKind::ALL.len()],
}

/// Never locked by a handler.
fn lock() -> MutexGuard<'static, Watches> {
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the listener look. When the socket is full it has yet to read, and looks after that.
fn ring(bell: RawFd) {
    // SAFETY: one byte is readable, and the descriptor stays open. It does not block, so a refusal
    // comes back at once.
    unsafe { libc::write(bell, [0u8; 1].as_ptr().cast(), 1) };
}

/// Starts the thread that delivers; gives the descriptor that wakes it.
fn start_listener() -> io::Result<RawFd> {
    let (bell, ear) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    thread::Builder::new().name("anyport-signals".to_owned()).spawn(move || listen(ear))?;
    Ok(bell.into_raw_fd())
}

/// The life of the listener: as long as the process.
fn listen(mut ear: UnixStream) {
    let mut bytes = [0u8; 64];
    loop {
        match ear.read(&mut bytes) {
            Ok(1..) => deliver_counted(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            end => {
                // Only a descriptor that somebody else has closed by mistake can be the reason.
                return log::error!("signals are not told of any more: {end:?}");
            }
        }
    }
}

fn deliver_counted() {
    for kind in SignalKind::ALL {
        if COUNTED[kind.index()].swap(0, Ordering::SeqCst) > 0 {
            let deliver = lock().deliver[kind.index()];
            if let Some(deliver) = deliver {
                deliver(kind);
            }
        }
    }
}

fn number_of(kind: SignalKind) -> Option<libc::c_int> {
    Some(match kind {
        SignalKind::Interrupt => libc::SIGINT,
        SignalKind::Terminate => libc::SIGTERM,
        SignalKind::Hangup => libc::SIGHUP,
        SignalKind::Quit => libc::SIGQUIT,
        SignalKind::User1 => libc::SIGUSR1,
        SignalKind::User2 => libc::SIGUSR2,
        SignalKind::Child => libc::SIGCHLD,
        SignalKind::Alarm => libc::SIGALRM,
        SignalKind::Pipe => libc::SIGPIPE,
        SignalKind::WindowChange => libc::SIGWINCH,
        SignalKind::Break | SignalKind::Close | SignalKind::Logoff | SignalKind::ShutDown => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ringing_a_bell_that_nobody_hears_does_not_block() {
        let (bell, mut ear) = UnixStream::pair().expect("a pair");
        bell.set_nonblocking(true).expect("a socket has this mode");
        let bell = bell.into_raw_fd();
        // More than any socket's buffer has room for.
        (0..1 << 20).for_each(|_| ring(bell));
        assert!(ear.read(&mut [0; 64]).expect("there are bytes") > 0);
    }

    #[test]
    fn what_only_windows_has_is_refused() {
        let error = watch_signal(SignalKind::Break, |_| ()).expect_err("not here");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
