//! Files of tasks: read and written at an offset, on the port; opened, synchronised and asked about on
//! the threads for blocking calls.

use super::context::Context;
use super::net::complete;
use super::shared::{Shared, expect_current};
use crate::buf::{Buffer, Buffers};
use crate::error::{Error, ErrorKind};
use crate::fs::{FileHandle, OpenOptions};
use crate::sys::error_from_io;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A file of a runtime.
///
/// Operations on it run at the same time and end in any order; clones are the same open file, which
/// closes when the last one is dropped and no operation of it is under way.
///
/// ```
/// use anyport::rt::Runtime;
/// use anyport::rt::fs::File;
///
/// # let path = std::env::temp_dir().join(format!("anyport-task-{}", std::process::id()));
/// # let kept = path.clone();
/// Runtime::new()?.block_on(async move {
///     let file = File::create(&path).await?;
///     let (result, _) = file.write_at("hello, file", 0).await;
///     assert_eq!(result?, 11);
///     file.sync_all().await?;
///
///     let file = File::open(&path).await?;
///     let (result, buffer) = file.read_at(Vec::with_capacity(100), 7).await;
///     assert_eq!((result?, buffer.as_slice()), (4, &b"file"[..]));
///     Ok::<(), anyport::Error>(())
/// })?;
/// # std::fs::remove_file(kept)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct File {
    handle: FileHandle<Context>,
    /// The same open file, for calls that block.
    system: Arc<std::fs::File>,
    shared: Arc<Shared>,
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Cancel safety
    /// A file that is opened for a dropped future is closed.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `Limit`, and what else the system says.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true);
        Self::open_with(options, path).await
    }

    /// Opens a file for writing, which is made or else emptied.
    ///
    /// # Cancel safety
    /// As [`open`](Self::open); the file may have been made or emptied all the same.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        Self::open_with(options, path).await
    }

    /// Opens a file in this way.
    ///
    /// # Cancel safety
    /// As [`create`](Self::create).
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn open_with(options: OpenOptions, path: impl AsRef<Path>) -> Result<Self, Error> {
        let shared = expect_current("open a file");
        let path = path.as_ref().to_owned();
        let opened = shared.blocking.spawn(move || {
            let file = options.open(path)?;
            let system = file.try_clone()?.into_std();
            Ok((file, system))
        });
        let (file, system) = ended(opened.await, "open a file")?;
        let handle = shared.port().associate(file, 0).map_err(|refused| refused.error)?;
        Ok(File { handle, system: Arc::new(system), shared })
    }

    /// Reads from `offset` (in bytes) into `buffer`, up to its capacity, and gives it back; 0 bytes: the
    /// file ends there or before.
    ///
    /// # Cancel safety
    /// The operation runs on, and its buffer is dropped with it; the file is as it was.
    ///
    /// # Errors
    /// `InvalidInput` for a read-only buffer, and what the system says.
    #[allow(clippy::result_large_err, reason = "a refused start gives everything back")]
    pub async fn read_at(
        &self,
        buffer: impl Into<Buffer>,
        offset: u64,
    ) -> (Result<usize, Error>, Buffer) {
        let buffers = Buffers::from(buffer.into());
        let (result, buffers) =
            self.run(|context| self.handle.read_at(buffers, offset, context)).await;
        let result = match result {
            Err(error) if error.kind() == ErrorKind::EndOfFile => Ok(0),
            other => other,
        };
        (result, buffers.into_one().unwrap_or_default())
    }

    /// Writes all of `buffers`, one or several, at `offset` (in bytes), and gives them back.
    ///
    /// # Cancel safety
    /// The operation runs on with the buffers that it owns.
    ///
    /// # Errors
    /// `NoSpace` when the disk or a limit ends it, with [`Error::transferred`] bytes written, and what
    /// else the system says.
    #[allow(clippy::result_large_err, reason = "a refused start gives everything back")]
    pub async fn write_at(
        &self,
        buffers: impl Into<Buffers>,
        offset: u64,
    ) -> (Result<usize, Error>, Buffers) {
        let buffers = buffers.into();
        self.run(|context| self.handle.write_at(buffers, offset, context)).await
    }

    /// Waits until all that was written is on the disk, and what the system knows of the file too.
    ///
    /// # Cancel safety
    /// The call runs on.
    ///
    /// # Errors
    /// What the system says.
    pub async fn sync_all(&self) -> Result<(), Error> {
        self.call("synchronise a file", |file| file.sync_all()).await
    }

    /// As [`sync_all`](Self::sync_all), without what is not needed to read the bytes again.
    ///
    /// # Cancel safety
    /// The call runs on.
    ///
    /// # Errors
    /// What the system says.
    pub async fn sync_data(&self) -> Result<(), Error> {
        self.call("synchronise a file", |file| file.sync_data()).await
    }

    /// What the system knows of the file: its length, times, permissions.
    ///
    /// # Cancel safety
    /// Nothing changes.
    ///
    /// # Errors
    /// What the system says.
    pub async fn metadata(&self) -> Result<Metadata, Error> {
        self.call("ask about a file", |file| file.metadata()).await
    }

    pub(super) fn handle(&self) -> &FileHandle<Context> {
        &self.handle
    }

    async fn run(
        &self,
        start: impl FnOnce(Context) -> Result<crate::Operation, crate::Rejected<Context>>,
    ) -> (Result<usize, Error>, Buffers) {
        match complete(self.handle.clone(), start).await {
            Ok(ended) => (ended.result, ended.buffers),
            Err(rejected) => (Err(rejected.error), rejected.buffers),
        }
    }

    async fn call<R: Send + 'static>(
        &self,
        action: &'static str,
        f: impl FnOnce(&std::fs::File) -> io::Result<R> + Send + 'static,
    ) -> Result<R, Error> {
        let system = Arc::clone(&self.system);
        let called = self
            .shared
            .blocking
            .spawn(move || f(&system).map_err(|error| error_from_io(&error, action)));
        ended(called.await, action)
    }
}

/// What a blocking call came to.
fn ended<R>(
    called: Result<Result<R, Error>, super::JoinError>,
    action: &'static str,
) -> Result<R, Error> {
    called.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Cancelled, action).with_detail("the runtime was shut down"))
    })
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("system", &self.system).finish_non_exhaustive()
    }
}
