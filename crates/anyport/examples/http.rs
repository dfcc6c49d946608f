//! Serves an axum router over HTTP/1 and HTTP/2 (by prior knowledge). No other runtime is there.
//!
//! `cargo run --release -p anyport --features hyper --example http -- 127.0.0.1:7000`

use anyport::rt::hyper::{AnyportExecutor, AnyportTimer};
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, Runtime, signal, time::sleep, time::timeout};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::routing::{get, post};
use axum::{Router, body::Body, body::Bytes, extract::Path, response::IntoResponse};
use futures_util::future::{Either, FutureExt, select};
use futures_util::stream::{StreamExt, iter, try_unfold};
use hyper_util::server::{conn::auto::Builder, graceful::GracefulShutdown};
use hyper_util::service::TowerToHyperService;
use std::pin::{Pin, pin};
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on {}, {}", listener.local_addr()?, runtime.handle().backend());
        let end = signal::shutdown_requested().map(drop);
        serve(listener, Duration::from_secs(10), end).await
    })
}

/// Serves until `end`, and then until what is under way was answered. `limit` is for that, and for
/// a peer: for its first byte, the headers of each request and each piece of a body.
pub(crate) async fn serve(
    listener: TcpListener,
    limit: Duration,
    end: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let mut http = Builder::new(AnyportExecutor);
    http.http1().timer(AnyportTimer).header_read_timeout(limit).max_buf_size(64 * 1024);
    http.http2().timer(AnyportTimer).keep_alive_interval(limit).keep_alive_timeout(limit);
    let (service, end) = (TowerToHyperService::new(router(limit)), end.boxed().shared());
    let graceful = GracefulShutdown::new();
    while let Either::Left((accepted, _)) = select(pin!(listener.accept()), end.clone()).await {
        let Ok((mut stream, peer)) = accepted else {
            // No descriptor is left: rest until some connections have closed.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (http, service, end) = (http.clone(), service.clone(), end.clone());
        let watcher = graceful.watcher();
        let connection = async move {
            if begins(&mut stream, limit, end).await? {
                watcher.watch(http.serve_connection(stream, service).into_owned()).await?;
            }
            Result::Ok(())
        };
        rt::spawn(connection.map(move |end| end.map_err(|e| eprintln!("{peer}: {e}")))).detach();
    }
    drop(listener);
    Ok(timeout(limit, graceful.shutdown()).await?)
}

/// Waits for the first byte, for which the builder has no limit; false: there is none.
async fn begins<E: Future + Unpin>(s: &mut TcpStream, limit: Duration, end: E) -> Result<bool> {
    s.set_nodelay(true)?;
    match select(pin!(timeout(limit, s.peek(&mut [0]))), end).await {
        Either::Left((first, _)) => Ok(first?? > 0),
        Either::Right(_) => Ok(false),
    }
}

fn router(limit: Duration) -> Router {
    Router::new()
        .route("/", get("hello\n"))
        .route("/json", get(([(CONTENT_TYPE, "application/json")], "{\"message\":\"hello\"}\n")))
        .route("/echo", post(move |body| echo(body, limit)))
        .route("/bytes/{n}", get(bytes))
        .route("/sleep/{ms}", get(|Path(ms)| sleep(Duration::from_millis(ms)).map(|()| "slept\n")))
}

/// Answers with the body, from its first piece on; none may take longer than `limit`.
async fn echo(body: Body, limit: Duration) -> Body {
    let pieces = try_unfold(body.into_data_stream(), move |mut data| async move {
        let piece = timeout(limit, data.next()).await?.transpose()?;
        Result::Ok(piece.map(|piece| (piece, data)))
    });
    let mut pieces = pieces.boxed().peekable();
    Pin::new(&mut pieces).peek().await;
    Body::from_stream(pieces)
}

/// So many bytes: 0 to 250, again and again.
async fn bytes(Path(n): Path<u64>) -> impl IntoResponse {
    const PIECE: usize = 251 * 256;
    let all = Bytes::from_iter((0..PIECE).map(|i| (i % 251) as u8));
    let piece = move |at| all.slice(..usize::try_from(n - at).unwrap_or(PIECE).min(PIECE));
    let pieces = iter((0..n).step_by(PIECE).map(move |at| Result::Ok(piece(at))));
    ([(CONTENT_LENGTH, n)], Body::from_stream(pieces))
}
