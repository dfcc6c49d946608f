//! Events of the console, which the system tells of on a thread that it makes for each.
//!
//! Services and programs without a console have none, but may ask: then nothing comes.

use super::code::error_from_io;
use crate::error::{Error, ErrorKind};
use crate::sys::signal::{Deliver, SignalKind};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
    SetConsoleCtrlHandler,
};
use windows_sys::core::BOOL;

/// From now on every event of this kind is delivered. The handler is there for the rest of the
/// process's life; a second watch of the same kind does nothing.
///
/// # Errors
/// `Unsupported` for a kind that Windows does not have; what the system says when it refuses the
/// handler.
pub(crate) fn watch_signal(kind: SignalKind, deliver: Deliver) -> Result<(), Error> {
    const ACTION: &str = "watch for a signal";
    if !EVENTS.iter().any(|(_, kinds)| kinds.contains(&kind)) {
        return Err(Error::new(ErrorKind::Unsupported, ACTION)
            .with_detail("Windows has no such event of the console; this signal is of Unix"));
    }
    let mut watches = lock();
    if !watches.is_installed {
        // SAFETY: the handler may be called from any thread and at any time.
        if unsafe { SetConsoleCtrlHandler(Some(handle), 1) } == 0 {
            return Err(error_from_io(&io::Error::last_os_error(), ACTION));
        }
        watches.is_installed = true;
    }
    watches.deliver[kind.index()].get_or_insert(deliver);
    Ok(())
}

/// The events, and what each is delivered as.
const EVENTS: [(u32, &[SignalKind]); 5] = [
    (CTRL_C_EVENT, &[SignalKind::Interrupt]),
    (CTRL_BREAK_EVENT, &[SignalKind::Break]),
    (CTRL_CLOSE_EVENT, &[SignalKind::Close, SignalKind::Terminate]),
    (CTRL_LOGOFF_EVENT, &[SignalKind::Logoff, SignalKind::Terminate]),
    (CTRL_SHUTDOWN_EVENT, &[SignalKind::ShutDown, SignalKind::Terminate]),
];

static WATCHES: Mutex<Watches> =
    Mutex::new(Watches { is_installed: false, deliver: [None; SignalKind::ALL.len()] });

struct Watches {
    is_installed: bool,
    /// Whom to tell, by kind.
    deliver: [Option<Deliver>; SignalKind::ALL.len()],
}

fn lock() -> MutexGuard<'static, Watches> {
    WATCHES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the system calls. Says whether the event is taken care of; else the next handler is asked,
/// of which the last ends the process.
unsafe extern "system" fn handle(event: u32) -> BOOL {
    let is_watched = deliver_event(event);
    // When the handler of one of these returns the process is ended, whatever it says. Without
    // that the process has the time that the system gives it (5 seconds for a closed console) to
    // end by itself.
    let ends_process = matches!(event, CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT);
    while is_watched && ends_process {
        thread::park();
    }
    BOOL::from(is_watched)
}

/// Tells those who watch for it of an event; false when nobody does.
fn deliver_event(event: u32) -> bool {
    let kinds = EVENTS.iter().find(|(number, _)| *number == event).map_or(&[][..], |e| e.1);
    let watched = kinds.iter().filter_map(|&kind| {
        let deliver = lock().deliver[kind.index()];
        deliver.map(|deliver| deliver(kind))
    });
    watched.count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    static TOLD: Mutex<Option<Sender<SignalKind>>> = Mutex::new(None);

    fn tell(kind: SignalKind) {
        let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref().expect("set before").send(kind).expect("received");
    }

    #[test]
    fn an_event_is_told_to_who_watches_and_else_left_to_the_system() {
        let (sender, told) = channel();
        *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        // Other tests of the process watch for other kinds, one of them for `Break` too.
        for kind in [SignalKind::Break, SignalKind::Close, SignalKind::ShutDown] {
            watch_signal(kind, tell).expect("may be watched");
            watch_signal(kind, tell).expect("may be watched twice");
        }
        assert!(deliver_event(CTRL_CLOSE_EVENT));
        assert!(deliver_event(CTRL_SHUTDOWN_EVENT));
        assert!(!deliver_event(77), "no such event");
        // SAFETY: it may be called from anywhere, and these events do not end the process.
        assert_eq!(unsafe { (handle(CTRL_BREAK_EVENT), handle(77)) }, (1, 0));
        let kinds: Vec<_> = told.try_iter().filter(|kind| *kind != SignalKind::Break).collect();
        assert_eq!(kinds, [SignalKind::Close, SignalKind::ShutDown]);
    }

    #[test]
    fn what_only_unix_has_is_refused() {
        let error = watch_signal(SignalKind::Hangup, tell).expect_err("not here");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}
