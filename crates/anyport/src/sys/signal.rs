//! The signals of all systems under one name each. Which of them a system has, and how it tells of
//! one, is below.

/// A signal that a process may be sent: of Unix, or an event of the console of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalKind {
    /// Ctrl-C on the terminal. Unix: `SIGINT`; Windows: `CTRL_C_EVENT`.
    Interrupt,
    /// Somebody asks the process to end. Unix: `SIGTERM`; Windows: any of [`Close`](Self::Close),
    /// [`Logoff`](Self::Logoff) and [`ShutDown`](Self::ShutDown).
    Terminate,
    /// The terminal is gone; for services, by custom: read the configuration again. Unix: `SIGHUP`.
    Hangup,
    /// Ctrl-\ on the terminal. Unix: `SIGQUIT`.
    Quit,
    /// For the program to give a meaning to. Unix: `SIGUSR1`.
    User1,
    /// For the program to give a meaning to. Unix: `SIGUSR2`.
    User2,
    /// A child process has ended, stopped or gone on. Unix: `SIGCHLD`.
    Child,
    /// A timer of the system has run out. Unix: `SIGALRM`.
    Alarm,
    /// A write to a pipe that nobody reads. Unix: `SIGPIPE`.
    Pipe,
    /// The terminal has another size. Unix: `SIGWINCH`.
    WindowChange,
    /// Ctrl-Break on the console. Windows: `CTRL_BREAK_EVENT`.
    Break,
    /// The window of the console was closed. Windows: `CTRL_CLOSE_EVENT`.
    Close,
    /// The user logs off; told to services only. Windows: `CTRL_LOGOFF_EVENT`.
    Logoff,
    /// The system shuts down; told to services only. Windows: `CTRL_SHUTDOWN_EVENT`.
    ShutDown,
}

impl SignalKind {
    /// Every kind, at its `index`.
    pub(crate) const ALL: [SignalKind; 14] = [
        SignalKind::Interrupt,
        SignalKind::Terminate,
        SignalKind::Hangup,
        SignalKind::Quit,
        SignalKind::User1,
        SignalKind::User2,
        SignalKind::Child,
        SignalKind::Alarm,
        SignalKind::Pipe,
        SignalKind::WindowChange,
        SignalKind::Break,
        SignalKind::Close,
        SignalKind::Logoff,
        SignalKind::ShutDown,
    ];

    /// Its place in a table of `ALL.len()`.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// Told of signals. Called on a thread that may block, but shall not for long; it does not panic.
pub(crate) type Deliver = fn(SignalKind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_place_in_a_table() {
        for (index, kind) in SignalKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }
}
