//! What hyper 1 asks of a runtime: `hyper::rt::{Read, Write}` for the streams, [`AnyportExecutor`] for
//! its tasks, [`AnyportTimer`] for its limits. Feature `hyper`.
//!
//! A [`TcpStream`] goes into hyper as it is, without a wrapper. No other runtime is needed, also not
//! beneath axum: `examples/http.rs` serves a router of axum over HTTP/1 and HTTP/2.
//!
//! | hyper asks to | and the stream |
//! |---|---|
//! | read | copies once, out of the pooled buffers in which the bytes came |
//! | write | copies once, up to 64 KiB of all parts together, into a pooled buffer that is handed over to be sent; waits while more than 256 KiB wait to be sent |
//! | flush | says what a send has failed with, and does not wait: what was written is on its way already, and goes out even if the stream is dropped |
//! | shut down | ends the sending side and waits until all that was written has gone |
//!
//! ```
//! use anyport::rt::hyper::AnyportTimer;
//! use anyport::rt::net::{TcpListener, TcpStream};
//! use anyport::rt::{self, Runtime};
//! use http_body_util::BodyExt;
//! use hyper::body::Incoming;
//! use hyper::service::service_fn;
//! use hyper::{Request, Response, client, server};
//! use std::time::Duration;
//!
//! # type Failure = Box<dyn std::error::Error + Send + Sync>;
//! async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, hyper::Error> {
//!     Ok(Response::new(request.into_body()))
//! }
//!
//! Runtime::new()?.block_on(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let address = listener.local_addr()?;
//!     rt::spawn(async move {
//!         let (stream, _) = listener.accept().await?;
//!         let mut http = server::conn::http1::Builder::new();
//!         http.timer(AnyportTimer).header_read_timeout(Duration::from_secs(10));
//!         http.serve_connection(stream, service_fn(echo)).await?;
//!         Ok::<(), Failure>(())
//!     })
//!     .detach();
//!
//!     let stream = TcpStream::connect(address).await?;
//!     let (mut requests, connection) = client::conn::http1::handshake(stream).await?;
//!     rt::spawn(connection).detach();
//!     let request = Request::post("/").body("hello".to_owned())?;
//!     let answer = requests.send_request(request).await?.into_body().collect().await?;
//!     assert_eq!(&answer.to_bytes()[..], b"hello");
//!     Ok::<(), Failure>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

use crate::rt;
use crate::rt::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
use crate::rt::time;
use ::hyper::rt::{Executor, Read, ReadBufCursor, Sleep, Timer, Write};
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Spawns hyper's tasks on the current runtime, such as those of HTTP/2 streams. After a shutdown
/// they are dropped.
///
/// # Panics
/// [`execute`](Executor::execute) panics outside of a runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyportExecutor;

impl<F> Executor<F> for AnyportExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        rt::spawn(future).detach();
    }
}

/// Gives hyper the timers of the current runtime: sleeps of [`rt::time`](crate::rt::time), which it
/// puts off at little cost.
///
/// # Panics
/// Its methods panic outside of a runtime, but for `reset`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyportTimer;

impl Timer for AnyportTimer {
    #[track_caller]
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(time::sleep(duration))
    }

    #[track_caller]
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(time::sleep_until(deadline))
    }

    #[track_caller]
    fn now(&self) -> Instant {
        time::now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<time::Sleep>() {
            Some(own) => own.get_mut().reset(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

impl Sleep for time::Sleep {}

macro_rules! reads {
    ($($stream:ty),+ $(,)?) => {
        $(
            /// With the feature `hyper`; see [`rt::hyper`](crate::rt::hyper).
            impl Read for $stream {
                fn poll_read(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    mut out: ReadBufCursor<'_>,
                ) -> Poll<io::Result<()>> {
                    let room = out.remaining();
                    let read = self.connection.poll_pieces(cx, room, |piece| out.put_slice(piece));
                    read.map_ok(drop).map_err(io::Error::from)
                }
            }
        )+
    };
}

macro_rules! writes {
    ($($stream:ty),+ $(,)?) => {
        $(
            /// With the feature `hyper`; see [`rt::hyper`](crate::rt::hyper).
            impl Write for $stream {
                fn poll_write(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    bytes: &[u8],
                ) -> Poll<io::Result<usize>> {
                    let written = self.connection.poll_write(cx, std::iter::once(bytes));
                    written.map_err(io::Error::from)
                }

                fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                    // hyper reads the next request only after the flush: to wait here would cost each
                    // answer a wake-up, and nothing is left behind.
                    Poll::Ready(self.connection.check_sends().map_err(io::Error::from))
                }

                fn poll_shutdown(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                ) -> Poll<io::Result<()>> {
                    self.connection.poll_close(cx).map_err(io::Error::from)
                }

                fn is_write_vectored(&self) -> bool {
                    true
                }

                fn poll_write_vectored(
                    self: Pin<&mut Self>,
                    cx: &mut Context<'_>,
                    parts: &[IoSlice<'_>],
                ) -> Poll<io::Result<usize>> {
                    let written = self.connection.poll_write(cx, parts.iter().map(Deref::deref));
                    written.map_err(io::Error::from)
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
