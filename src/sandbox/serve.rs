//! The HTTP server: plain connections, so that a fault can hang up without an answer.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::fault::{Fault, FaultKind};
use super::paypal::{Ending, Refusal};
use super::{Sandbox, control, paypal};

/// The most of a request that is read: 15,000 items with their longest notes.
const LARGEST_BODY: usize = 128 * 1024 * 1024;
/// How long a stop waits for answers that are being written.
const GRACE: Duration = Duration::from_secs(1);

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
enum HangUp {
    #[error("a fault closes the connection")]
    Fault,
    #[error("the request could not be read")]
    Unreadable,
}

/// Serves the sandbox until `stop`, then ends its connections.
///
/// # Errors
/// Any error of accepting connections.
pub async fn serve(
    listener: TcpListener,
    sandbox: Sandbox,
    stop: CancellationToken,
) -> io::Result<()> {
    // What is read of a body is bounded here once, and larger than axum's own bound.
    let routes = control::routes().merge(paypal::routes()).layer(DefaultBodyLimit::disable());
    let routes = routes.with_state(sandbox.clone());
    let connections = TaskTracker::new();
    let end = loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (sandbox, routes, stop) = (sandbox.clone(), routes.clone(), stop.clone());
                connections.spawn(converse(stream, sandbox, routes, stop));
            }
            Err(error) if is_one_callers(&error) => {}
            Err(error) => break Err(error),
        }
    };
    stop.cancel();
    connections.close();
    connections.wait().await;
    end
}

/// Whether accepting failed because a caller went away, which is no trouble of ours.
fn is_one_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn converse(stream: TcpStream, sandbox: Sandbox, routes: Router, stop: CancellationToken) {
    let service =
        service_fn(|request| answer(sandbox.clone(), routes.clone(), stop.clone(), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A connection that ends badly is the caller's news: here it is what a fault looks like.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, connection).await;
}

/// Answers one call, or hangs up: in the way of the fault that meets it, if one does.
async fn answer(
    sandbox: Sandbox,
    routes: Router,
    stop: CancellationToken,
    request: Request<Incoming>,
) -> Result<Response, HangUp> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(Body::new(body), LARGEST_BODY).await.map_err(|_| HangUp::Unreadable)?;
    let fault = match parts.uri.path() {
        path if path.starts_with("/_sandbox/") => None,
        path => sandbox.faults().strike(&format!("{} {path}", parts.method), &body),
    };
    let mut request = Request::from_parts(parts, Body::from(body));
    let Some(fault) = fault else { return Ok(take_effect(routes, request).await) };
    match fault.fault {
        FaultKind::LostRequest => return Err(HangUp::Fault),
        FaultKind::ErrorBefore => return Ok(Refusal::internal_error().into_response()),
        FaultKind::Throttle => return Ok(Refusal::throttle().into_response()),
        FaultKind::Unclaimed => {
            request.extensions_mut().insert(Ending::Unclaimed(fault.recipient.clone()));
        }
        FaultKind::Denied => {
            request.extensions_mut().insert(Ending::Denied);
        }
        _ => {}
    }
    let response = take_effect(routes, request).await;
    after_the_effect(&fault, response, stop).await
}

/// Runs the call to its end, even if the caller hangs up meanwhile and is dropped.
async fn take_effect(routes: Router, request: Request) -> Response {
    let call = tokio::spawn(async move {
        let answered: Result<Response, Infallible> = routes.oneshot(request).await;
        answered.into_response()
    });
    call.await.unwrap_or_else(|_| Refusal::internal_error().into_response())
}

async fn after_the_effect(
    fault: &Fault,
    response: Response,
    stop: CancellationToken,
) -> Result<Response, HangUp> {
    match fault.fault {
        FaultKind::LostResponse => Err(HangUp::Fault),
        FaultKind::ErrorAfter => Ok(Refusal::internal_error().into_response()),
        FaultKind::Garbled => {
            let half = Bytes::from_static(b"{\"batch_header\":{\"payout_ba");
            Ok((StatusCode::CREATED, half).into_response())
        }
        FaultKind::Slow => {
            let delay = Duration::from_millis(fault.delay_ms);
            // Stopping does not wait for somebody who is slow on purpose.
            tokio::select! {
                () = tokio::time::sleep(delay) => Ok(response),
                () = stop.cancelled() => Err(HangUp::Fault),
            }
        }
        _ => Ok(response),
    }
}
