//! A file that is associated with a port.

use super::open::File;
use crate::buf::Buffers;
use crate::error::{Error, ErrorKind};
use crate::op::{HandleCore, Operation, OperationKind, Spec};
use crate::port::{Associate, AssociateError, CompletionPort, HandleRef, Rejected};
use crate::sys::{Association, Descriptor};
use std::fmt;
use std::sync::Arc;

/// A file of a completion port. Operations on it run at the same time and finish in any order.
///
/// Clones are duplicates; when the last one is dropped the file closes, and operations under way
/// come out as `Aborted` or, when the system could not stop them, as what they did.
///
/// ```
/// use anyport::{CompletionPort, fs::OpenOptions};
///
/// # let path = std::env::temp_dir().join(format!("anyport-read-{}", std::process::id()));
/// std::fs::write(&path, "hello, file")?;
/// let port: CompletionPort<()> = CompletionPort::new(0)?;
/// let file = port.associate(OpenOptions::new().read(true).open(&path)?, 1)?;
/// file.read_at(Vec::<u8>::with_capacity(100), 7, ())?;
/// let packet = port.get(None)?;
/// assert_eq!(packet.result, Ok(4));
/// assert_eq!(packet.buffers.as_slice()[0].as_slice(), b"file");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileHandle<T: Send + 'static>(HandleRef<T>);

impl<T: Send + 'static> FileHandle<T> {
    /// Reads from `offset` (in bytes) into `buffers`, filled in order. A read that crosses the end
    /// of the file gives what was there.
    ///
    /// # Errors
    /// At once: `InvalidInput` without buffers or with read-only ones. The packet's: `EndOfFile`
    /// when the file ends at or before `offset`, and what the system says.
    pub fn read_at(
        &self,
        buffers: impl Into<Buffers>,
        offset: u64,
        context: T,
    ) -> Result<Operation, Rejected<T>> {
        let spec = Spec::with_buffers(OperationKind::ReadAt, buffers.into());
        self.0.start(Spec { offset, ..spec }, context)
    }

    /// Writes all of `buffers`, in order, at `offset` (in bytes).
    ///
    /// # Errors
    /// At once: `InvalidInput` without buffers. The packet's: `NoSpace` when the disk or a limit
    /// ends it, with [`Error::transferred`] bytes written, and what else the system says.
    pub fn write_at(
        &self,
        buffers: impl Into<Buffers>,
        offset: u64,
        context: T,
    ) -> Result<Operation, Rejected<T>> {
        let spec = Spec::with_buffers(OperationKind::WriteAt, buffers.into());
        self.0.start(Spec { offset, ..spec }, context)
    }

    /// As [`SocketHandle::cancel`](crate::net::SocketHandle::cancel). The system may be unable to
    /// stop what has begun: then the packet tells what it did.
    ///
    /// # Errors
    /// `NotFound` when it is over, was cancelled before, or is not of this file.
    pub fn cancel(&self, operation: Operation) -> Result<(), Error> {
        self.0.cancel(operation)
    }

    /// As [`SocketHandle::cancel_all`](crate::net::SocketHandle::cancel_all).
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn cancel_all(&self) -> Result<usize, Error> {
        self.0.cancel_all()
    }

    /// Drops this duplicate; with the last one the file closes.
    pub fn close(self) {}

    /// The key given at association.
    pub fn key(&self) -> usize {
        self.core().key()
    }

    /// A duplicate: the same open file, the same key.
    ///
    /// # Errors
    /// None today; a system may refuse.
    pub fn try_clone(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }

    pub(crate) fn core(&self) -> &Arc<HandleCore> {
        self.0.core()
    }
}

impl<T: Send + 'static> Clone for FileHandle<T> {
    fn clone(&self) -> Self {
        FileHandle(self.0.clone())
    }
}

impl<T: Send + 'static> fmt::Debug for FileHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileHandle").field("key", &self.key()).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Associate<T> for File {
    type Handle = FileHandle<T>;

    fn associate(
        self,
        port: &CompletionPort<T>,
        key: usize,
    ) -> Result<FileHandle<T>, AssociateError<Self>> {
        let File { inner, is_associated } = self;
        let back = |error, inner| AssociateError {
            error,
            resource: File { inner, is_associated: Arc::clone(&is_associated) },
        };
        let descriptor = match Descriptor::from_file(inner) {
            Ok(descriptor) => descriptor,
            Err((error, inner)) => return Err(back(error, inner)),
        };
        let Some(association) = Association::of_flag(Arc::clone(&is_associated)) else {
            let error = Error::new(ErrorKind::InvalidInput, "associate a file")
                .with_detail("it is associated with a port already, and has one port for life");
            return Err(back(error, descriptor.into_file()));
        };
        match HandleRef::new(port, descriptor, key, Some(association)) {
            Ok(handle) => Ok(FileHandle(handle)),
            Err((error, descriptor)) => Err(back(error, descriptor.into_file())),
        }
    }
}
