//! Opening a file for overlapped operations.

use crate::error::Error;
use crate::sys::{error_from_io, open_file};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How to open a file; as the standard library's, for files that a port serves.
///
/// ```
/// # let path = std::env::temp_dir().join(format!("anyport-doc-{}", std::process::id()));
/// let file = anyport::fs::OpenOptions::new().write(true).create(true).open(&path)?;
/// # drop(file);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions(std::fs::OpenOptions);

impl OpenOptions {
    /// Nothing is set: at least one of read, write and append must be.
    pub fn new() -> Self {
        OpenOptions(std::fs::OpenOptions::new())
    }

    /// For reading.
    pub fn read(&mut self, on: bool) -> &mut Self {
        self.0.read(on);
        self
    }

    /// For writing.
    pub fn write(&mut self, on: bool) -> &mut Self {
        self.0.write(on);
        self
    }

    /// Empties an existing file.
    pub fn truncate(&mut self, on: bool) -> &mut Self {
        self.0.truncate(on);
        self
    }

    /// Makes the file if it is not there.
    pub fn create(&mut self, on: bool) -> &mut Self {
        self.0.create(on);
        self
    }

    /// Makes the file, and fails if it is there.
    pub fn create_new(&mut self, on: bool) -> &mut Self {
        self.0.create_new(on);
        self
    }

    /// Opens the file.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `Limit`, and what else the system says.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<File, Error> {
        match open_file(&self.0, path.as_ref()) {
            Ok(inner) => Ok(File { inner, is_associated: Arc::default() }),
            Err(e) => Err(error_from_io(&e, "open a file")),
        }
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// An open file that no port knows yet.
#[derive(Debug)]
pub struct File {
    pub(super) inner: std::fs::File,
    pub(super) is_associated: Arc<AtomicBool>,
}

impl File {
    /// Another handle of the same open file.
    ///
    /// # Errors
    /// `Limit` when the process has no descriptor left.
    pub fn try_clone(&self) -> Result<Self, Error> {
        match self.inner.try_clone() {
            Ok(inner) => Ok(File { inner, is_associated: Arc::clone(&self.is_associated) }),
            Err(e) => Err(error_from_io(&e, "duplicate a file")),
        }
    }

    /// As a standard library file.
    pub fn into_std(self) -> std::fs::File {
        self.inner
    }
}
