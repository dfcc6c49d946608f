//! Why a task gave no result: it was cancelled, or it panicked. What a panic carried is kept, so
//! that who waited for the task can go on with it.
//!
//! Made by what runs tasks; nothing here depends on it.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Why a task gave no result.
///
/// ```
/// use anyport::rt::Runtime;
///
/// let runtime = Runtime::new()?;
/// let task = runtime.spawn(async { 7 });
/// match runtime.block_on(task) {
///     Ok(value) => assert_eq!(value, 7),
///     Err(error) => match error.into_panic() {
///         Ok(payload) => std::panic::resume_unwind(payload),
///         Err(error) => println!("{error}"),
///     },
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinError {
    reason: Reason,
}

enum Reason {
    /// Cancelled, and what for.
    Cancelled(&'static str),
    Panic {
        /// What a panic carries may be sent to another thread but not be shared; an error is
        /// shared. The lock makes up for it, and nobody but `into_panic` opens it.
        payload: Mutex<Box<dyn Any + Send>>,
        message: Option<Cow<'static, str>>,
    },
}

impl JoinError {
    /// The task was cancelled; `detail` says by what.
    pub(crate) fn cancelled(detail: &'static str) -> Self {
        JoinError { reason: Reason::Cancelled(detail) }
    }

    /// The task panicked with this, as `catch_unwind` gave it.
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let message = message_of(&*payload);
        JoinError { reason: Reason::Panic { payload: Mutex::new(payload), message } }
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.reason, Reason::Panic { .. })
    }

    /// Whether the task was cancelled: by `abort`, by the end of what ran it, or because it could
    /// not be run at all. The text of the error says which.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.reason, Reason::Cancelled(_))
    }

    /// What the panic carried, for [`std::panic::resume_unwind`].
    ///
    /// # Errors
    /// Gives the error back when the task did not panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self.reason {
            Reason::Panic { payload, .. } => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            Reason::Cancelled(_) => Err(self),
        }
    }
}

/// The text that a panic carried: of `panic!` with a message always, of `panic_any` maybe.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> Option<Cow<'static, str>> {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => Some(Cow::Borrowed(text)),
        None => payload.downcast_ref::<String>().map(|text| Cow::Owned(text.clone())),
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Cancelled(detail) => write!(f, "the task was cancelled: {detail}"),
            Reason::Panic { message: Some(message), .. } => {
                write!(f, "the task panicked: {message}")
            }
            Reason::Panic { message: None, .. } => {
                f.write_str("the task panicked, and not with a text")
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Cancelled(detail) => f.debug_tuple("Cancelled").field(detail).finish(),
            Reason::Panic { message, .. } => f.debug_tuple("Panic").field(message).finish(),
        }
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    /// An error of the kind `Other`: `Interrupted` for a cancelled task would make loops try again.
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{catch_unwind, panic_any};

    fn error_of(f: impl FnOnce() + std::panic::UnwindSafe) -> JoinError {
        JoinError::panicked(catch_unwind(f).expect_err("panics"))
    }

    #[test]
    fn a_panic_is_named_by_its_message() {
        let error = error_of(|| panic!("out of {}", "tea"));
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(error.to_string(), "the task panicked: out of tea");
        let error = error_of(|| panic!("plain"));
        assert_eq!(error.to_string(), "the task panicked: plain");
        assert_eq!(format!("{error:?}"), "Panic(Some(\"plain\"))");
    }

    #[test]
    fn what_a_panic_carried_comes_back() {
        let error = error_of(|| panic_any(7u32));
        assert_eq!(error.to_string(), "the task panicked, and not with a text");
        let payload = error.into_panic().expect("a panic");
        assert_eq!(payload.downcast_ref(), Some(&7u32));
    }

    #[test]
    fn a_cancelled_task_has_no_panic_to_give() {
        let error = JoinError::cancelled("it was aborted");
        assert!(error.is_cancelled() && !error.is_panic());
        let error = error.into_panic().expect_err("no panic");
        assert_eq!(error.to_string(), "the task was cancelled: it was aborted");
    }

    #[test]
    fn it_goes_where_errors_go() {
        let error: Box<dyn std::error::Error + Send + Sync> =
            Box::new(error_of(|| panic!("there")));
        assert_eq!(error.to_string(), "the task panicked: there");
        let error = io::Error::from(JoinError::cancelled("too late"));
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert_eq!(error.to_string(), "the task was cancelled: too late");
    }
}
