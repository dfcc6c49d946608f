//! The halves of a stream, for two tasks.

use super::connection::Connection;
use crate::buf::{Buffer, Buffers};
use crate::error::Error;
use crate::rt::fs::File;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

/// The receiving half of a stream; see [`TcpStream::into_split`](super::TcpStream::into_split).
///
/// Its methods are those of the stream.
pub struct OwnedReadHalf {
    connection: Arc<Connection>,
}

impl OwnedReadHalf {
    pub(super) fn of(connection: Arc<Connection>) -> Self {
        OwnedReadHalf { connection }
    }

    /// See [`TcpStream::recv`](super::TcpStream::recv).
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn recv(&mut self) -> Result<Buffer, Error> {
        poll_fn(|cx| self.connection.poll_recv(cx)).await
    }

    /// See [`TcpStream::read`](super::TcpStream::read).
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn read(&mut self, buffer: impl Into<Buffer>) -> (Result<usize, Error>, Buffer) {
        self.connection.read(buffer.into()).await
    }

    /// See [`TcpStream::peek`](super::TcpStream::peek).
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn peek(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.connection.poll_copy(cx, out, true)).await
    }
}

impl Drop for OwnedReadHalf {
    fn drop(&mut self) {
        self.connection.close_reading();
    }
}

impl fmt::Debug for OwnedReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedReadHalf").finish_non_exhaustive()
    }
}

/// The sending half of a stream; see [`TcpStream::into_split`](super::TcpStream::into_split).
///
/// Its methods are those of the stream.
pub struct OwnedWriteHalf {
    connection: Arc<Connection>,
}

impl OwnedWriteHalf {
    pub(super) fn of(connection: Arc<Connection>) -> Self {
        OwnedWriteHalf { connection }
    }

    /// See [`TcpStream::send`](super::TcpStream::send).
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn send(&mut self, buffers: impl Into<Buffers>) -> Result<(), Error> {
        let mut buffers = Some(buffers.into());
        poll_fn(|cx| self.connection.poll_send(cx, &mut buffers)).await
    }

    /// See [`TcpStream::write`](super::TcpStream::write).
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn write(&mut self, buffers: impl Into<Buffers>) -> (Result<usize, Error>, Buffers) {
        self.connection.write(buffers.into()).await
    }

    /// See [`TcpStream::send_file`](super::TcpStream::send_file).
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn send_file(
        &mut self,
        file: &File,
        offset: u64,
        length: Option<u64>,
    ) -> Result<usize, Error> {
        self.connection.send_file(file, offset, length).await
    }

    /// See [`TcpStream::flush`](super::TcpStream::flush).
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.connection.flush().await
    }

    /// See [`TcpStream::shutdown`](super::TcpStream::shutdown).
    ///
    /// # Cancel safety
    /// See there.
    ///
    /// # Errors
    /// See there.
    pub async fn shutdown(&mut self) -> Result<(), Error> {
        self.connection.shut_down().await
    }

    /// See [`TcpStream::bytes_sent`](super::TcpStream::bytes_sent).
    pub fn bytes_sent(&self) -> u64 {
        self.connection.writing.bytes_sent()
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.connection.close_writing();
    }
}

impl fmt::Debug for OwnedWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedWriteHalf").finish_non_exhaustive()
    }
}
