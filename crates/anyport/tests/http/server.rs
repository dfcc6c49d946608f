//! The example's server on a runtime of its own, and clients of hyper on the same one.

use super::example;
use super::world::{any_local, runtime, wait_until};
use anyport::BackendKind;
use anyport::rt::hyper::{AnyportExecutor, AnyportTimer};
use anyport::rt::net::{TcpListener, TcpStream};
use anyport::rt::{self, JoinHandle, Runtime};
use axum::body::{Body, Bytes};
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, pending};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use std::net::SocketAddr;
use std::time::Duration;

/// Beyond what anything takes: for tests in which no limit is to be met.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

pub(crate) struct Server {
    pub(crate) runtime: Runtime,
    pub(crate) address: SocketAddr,
    end: AbortHandle,
    serves: JoinHandle<Result<(), String>>,
}

impl Server {
    pub(crate) fn start(kind: BackendKind, limit: Duration) -> Self {
        let runtime = runtime(kind);
        let listener = runtime.block_on(TcpListener::bind(any_local())).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let (end, ends) = AbortHandle::new_pair();
        let ends = Abortable::new(pending::<()>(), ends).map(drop);
        let serve = example::serve(listener, limit, ends);
        let serves = runtime.spawn(serve.map(|ended| ended.map_err(|error| error.to_string())));
        Server { runtime, address, end, serves }
    }

    /// Asks it to end.
    pub(crate) fn ask_to_end(&self) {
        self.end.abort();
    }

    /// Waits until only the server is there: no connection, and nothing of one.
    pub(crate) fn wait_for_nobody(&self) {
        let metrics = || self.runtime.handle().metrics();
        wait_until("all tasks of connections end", || metrics().tasks_alive == 1);
        // The listener's stream of accepts.
        wait_until("all operations of connections end", || metrics().operations <= 1);
    }

    /// Asks it to end, and waits until it has, and nothing is left.
    pub(crate) fn end(self) {
        self.ask_to_end();
        let Server { runtime, serves, .. } = self;
        runtime.block_on(serves).expect("no panic").expect("it ends in time");
        wait_until("all tasks end", || runtime.handle().metrics().tasks_alive == 0);
        let left = runtime.shut_down(Duration::from_secs(30));
        assert_eq!((left.tasks_left, left.operations_left), (0, 0));
    }
}

/// What a client of HTTP/1 sends requests with.
pub(crate) async fn http1_client(address: SocketAddr) -> http1::SendRequest<Body> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (requests, connection) = http1::handshake(stream).await.expect("it is ready");
    rt::spawn(connection.map(drop)).detach();
    requests
}

/// What a client of HTTP/2 sends requests with. Clones share its connection, which ends with them.
pub(crate) async fn http2_client(address: SocketAddr) -> http2::SendRequest<Body> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let mut builder = http2::Builder::new(AnyportExecutor);
    builder.timer(AnyportTimer).keep_alive_interval(Duration::from_secs(20));
    let (requests, connection) = builder.handshake(stream).await.expect("it is ready");
    rt::spawn(connection.map(drop)).detach();
    requests
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Request<Body> {
    let uri = format!("http://{address}{path}");
    Request::get(uri).header("host", address.to_string()).body(Body::empty()).expect("a request")
}

pub(crate) fn post(address: SocketAddr, path: &str, body: Body) -> Request<Body> {
    let uri = format!("http://{address}{path}");
    Request::post(uri).header("host", address.to_string()).body(body).expect("a request")
}

/// The body of an answer that is to be a success.
pub(crate) async fn all_of(answer: Response<hyper::body::Incoming>) -> Bytes {
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.expect("it comes whole").to_bytes()
}

/// What the server's `/bytes/{n}` is to answer.
pub(crate) fn counted(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}
