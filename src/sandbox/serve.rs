//! The HTTP server: plain connections, so that a fault can hang up without an answer.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
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
use super::host::{self, Host};
use super::paypal::Ending;
use super::stripe::Breakdown;
use super::{Sandbox, bank, control, paypal, stripe, webhooks};

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
    let routes = control::routes().merge(paypal::routes()).merge(stripe::routes());
    let routes = routes.fallback(host::not_here).layer(DefaultBodyLimit::disable());
    let routes = routes.with_state(sandbox.clone());
    sandbox.desk().address = format!("http://{}", listener.local_addr()?);
    let connections = TaskTracker::new();
    connections.spawn(webhooks::deliver(sandbox.clone(), stop.clone()));
    connections.spawn(bank::keep_scanning(sandbox.clone(), stop.clone()));
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
    let path = parts.uri.path();
    if path.starts_with("/_sandbox/") {
        return Ok(Call { parts, body, host: Host::Paypal }.take_effect(&routes).await);
    }
    let (host, clock) = (Host::of(path), sandbox.clock.clone());
    let fault = sandbox.faults().strike(&format!("{} {path}", parts.method), &body);
    let call = Call { parts, body, host };
    let answered = call.answer(&sandbox, &routes, stop, fault).await;
    answered.map(|response| host.sign(response, &clock))
}

/// One call to a provider.
struct Call {
    parts: Parts,
    body: Bytes,
    host: Host,
}

impl Call {
    async fn answer(
        mut self,
        sandbox: &Sandbox,
        routes: &Router,
        stop: CancellationToken,
        fault: Option<Fault>,
    ) -> Result<Response, HangUp> {
        // Held until the answer is out, so that a slow one is still in progress.
        let _held = match self.hold_key(sandbox) {
            Ok(held) => held,
            Err(refusal) => return Ok(refusal.into_response()),
        };
        let Some(fault) = fault else { return Ok(self.take_effect(routes).await) };
        match fault.fault {
            FaultKind::LostRequest => return Err(HangUp::Fault),
            FaultKind::Throttle => return Ok(self.host.throttle()),
            FaultKind::ErrorBefore if self.has_key() => self.tell(Breakdown::Before),
            FaultKind::ErrorBefore => return Ok(self.host.internal_error()),
            FaultKind::ErrorAfter if self.has_key() => self.tell(Breakdown::After),
            FaultKind::Unclaimed => self.tell(Ending::Unclaimed(fault.recipient.clone())),
            FaultKind::Denied => self.tell(Ending::Denied),
            FaultKind::Doubled => drop(self.take_effect(routes).await),
            _ => {}
        }
        let response = self.take_effect(routes).await;
        self.after_the_effect(&fault, response, stop).await
    }

    fn tell(&mut self, how: impl Clone + Send + Sync + 'static) {
        self.parts.extensions.insert(how);
    }

    fn key(&self) -> Option<String> {
        stripe::key_of(&self.parts).filter(|_| self.host == Host::Stripe)
    }

    fn has_key(&self) -> bool {
        self.key().is_some()
    }

    /// Two calls under one key do not run at a time.
    fn hold_key(&self, sandbox: &Sandbox) -> Result<Option<HeldKey>, stripe::Refusal> {
        let Some(key) = self.key() else { return Ok(None) };
        if !sandbox.desk().keys_in_use.insert(key.clone()) {
            return Err(stripe::Refusal::key_in_use(&key));
        }
        Ok(Some(HeldKey { sandbox: sandbox.clone(), key }))
    }

    /// Runs the call to its end, even if the caller hangs up meanwhile and is dropped.
    async fn take_effect(&self, routes: &Router) -> Response {
        let request = Request::from_parts(self.parts.clone(), Body::from(self.body.clone()));
        let routes = routes.clone();
        let call = tokio::spawn(async move {
            let answered: Result<Response, Infallible> = routes.oneshot(request).await;
            answered.into_response()
        });
        call.await.unwrap_or_else(|_| self.host.internal_error())
    }

    async fn after_the_effect(
        &self,
        fault: &Fault,
        mut response: Response,
        stop: CancellationToken,
    ) -> Result<Response, HangUp> {
        match fault.fault {
            FaultKind::LostResponse => return Err(HangUp::Fault),
            FaultKind::ErrorAfter => return Ok(self.host.internal_error()),
            FaultKind::Garbled => return Ok(host::half_of(response).await),
            FaultKind::WrongStatus => {
                let status = StatusCode::from_u16(fault.status.unwrap_or(404));
                *response.status_mut() = status.expect("a fault is armed only with a status");
            }
            FaultKind::Slow => {
                let delay = Duration::from_millis(fault.delay_ms);
                // Stopping does not wait for somebody who is slow on purpose.
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = stop.cancelled() => return Err(HangUp::Fault),
                }
            }
            _ => {}
        }
        Ok(response)
    }
}

/// An idempotency key whose call is not answered yet.
struct HeldKey {
    sandbox: Sandbox,
    key: String,
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        self.sandbox.desk().keys_in_use.remove(&self.key);
    }
}
