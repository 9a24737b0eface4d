//! Connections: how many, how long they may take, and how they end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{info, warn};

use super::{Desk, routes};

/// Connections open at once; more of them wait to be accepted.
const MOST_CONNECTIONS: usize = 256;
/// How long a request's head may take, and how long a connection may say nothing.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest head, in bytes.
const HEAD_BYTES: usize = 64 * 1024;
/// How long a stop waits for answers that are being written.
const GRACE: Duration = Duration::from_secs(5);
/// The pause after a connection could not be accepted, as when the host is out of files.
const PAUSE: Duration = Duration::from_millis(200);

/// The other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub IpAddr);

/// Serves the engine's HTTP door until `stop`, then finishes what is in hand.
pub async fn serve(listener: TcpListener, desk: Desk, stop: CancellationToken) {
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    // First, since the document takes its time: who is told that somebody listens is listened to.
    let routes = routes(desk);
    info!(event = "http.listening", address);
    let connections = TaskTracker::new();
    let seats = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let (stream, peer, seat) = tokio::select! {
            () = stop.cancelled() => break,
            caller = next_caller(&listener, &seats) => caller,
        };
        connections.spawn(converse((stream, peer), seat, routes.clone(), stop.clone()));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        warn!(event = "http.stop.timed_out", "whoever is cut off delivers again");
    }
}

/// The next connection, once there is room for it.
async fn next_caller(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, OwnedSemaphorePermit) {
    let seat = Arc::clone(seats).acquire_owned().await.expect("the seats are never taken away");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer.ip(), seat),
            Err(cause) => {
                warn!(event = "http.accept.failed", %cause);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(
    (stream, peer): (TcpStream, IpAddr),
    _seat: OwnedSemaphorePermit,
    routes: Router,
    stop: CancellationToken,
) {
    let routes = routes.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(connection);
    // A connection that ends badly is the caller's news: it hears no 200, and delivers again.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
