//! `futures_io::{AsyncRead, AsyncWrite}`: feature `futures-io`.
//!
//! Further streams are added to the two lists at the end; each must have a `connection`.

use crate::rt::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
use futures_io::{AsyncRead, AsyncWrite};
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

macro_rules! reads {
    ($($stream:ty),+ $(,)?) => {
        $(
            /// With the feature `futures-io`. Bytes are copied out of the pooled buffers in which they
            /// came; a future that is dropped takes none.
            impl AsyncRead for $stream {
                fn poll_read(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    out: &mut [u8],
                ) -> Poll<io::Result<usize>> {
                    self.poll_read_vectored(cx, &mut [IoSliceMut::new(out)])
                }

                fn poll_read_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    mut out: &mut [IoSliceMut<'_>],
                ) -> Poll<io::Result<usize>> {
                    let room = out.iter().map(|part| part.len()).fold(0, usize::saturating_add);
                    let read = self.connection.poll_pieces(cx, room, |mut piece| {
                        let len = piece.read_vectored(out).expect("it reads from memory");
                        IoSliceMut::advance_slices(&mut out, len);
                    });
                    read.map_err(io::Error::from)
                }
            }
        )+
    };
}

macro_rules! writes {
    ($($stream:ty),+ $(,)?) => {
        $(
            /// With the feature `futures-io`. A write copies up to 64 KiB into a pooled buffer and
            /// hands it over as `send` does, so it waits only while more than 256 KiB wait to be
            /// sent; a future that is dropped has handed over nothing. A flush waits until all has
            /// gone to the system; closing ends the sending side after that, and may be asked for
            /// again.
            impl AsyncWrite for $stream {
                fn poll_write(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    bytes: &[u8],
                ) -> Poll<io::Result<usize>> {
                    let written = self.connection.poll_write(cx, std::iter::once(bytes));
                    written.map_err(io::Error::from)
                }

                fn poll_write_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    parts: &[IoSlice<'_>],
                ) -> Poll<io::Result<usize>> {
                    let written = self.connection.poll_write(cx, parts.iter().map(Deref::deref));
                    written.map_err(io::Error::from)
                }

                fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                    self.connection.poll_flush(cx).map_err(io::Error::from)
                }

                fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                    self.connection.poll_close(cx).map_err(io::Error::from)
                }
            }
        )+
    };
}

reads!(TcpStream, OwnedReadHalf);
writes!(TcpStream, OwnedWriteHalf);
#[cfg(unix)]
reads!(crate::rt::net::UnixStream);
#[cfg(unix)]
writes!(crate::rt::net::UnixStream);
