//! Delivery: one POST per event and endpoint, again a few times if it is not taken.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use chrono::SecondsFormat;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sign::{Transmission, paypal_signature, stripe_signature};
use super::{Mode, Parcel, Receipt};
use crate::domain::Reference;
use crate::sandbox::Sandbox;
use crate::sandbox::host::Host;

/// Pauses between the tries, in milliseconds.
const PAUSES_MS: [u64; 4] = [0, 300, 1_000, 3_000];
/// How long an endpoint may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long events are gathered before they go out in the wrong order.
const GATHER: Duration = Duration::from_millis(500);

/// Delivers what is due until `stop`.
pub(in crate::sandbox) async fn deliver(sandbox: Sandbox, stop: CancellationToken) {
    let bell = Arc::clone(&sandbox.desk().webhooks.bell);
    let tries = TaskTracker::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = bell.notified() => {}
        }
        if must_gather(&sandbox) {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(GATHER) => sandbox.desk().webhooks.release(),
            }
        }
        let due: Vec<_> = sandbox.desk().webhooks.due.drain(..).collect();
        for parcel in due {
            // The first try of each follows the one before: the order is the one that was meant.
            let taken = stop.run_until_cancelled(try_once(&sandbox, &parcel, 1)).await;
            if taken == Some(false) {
                let (sandbox, stop) = (sandbox.clone(), stop.clone());
                tries.spawn(async move {
                    stop.run_until_cancelled(try_again(&sandbox, &parcel)).await;
                });
            }
        }
    }
    tries.close();
    tries.wait().await;
}

fn must_gather(sandbox: &Sandbox) -> bool {
    let webhooks = &sandbox.desk().webhooks;
    webhooks.mode == Mode::OutOfOrder && !webhooks.held.is_empty()
}

async fn try_again(sandbox: &Sandbox, parcel: &Parcel) {
    for (index, pause) in PAUSES_MS.iter().enumerate().skip(1) {
        tokio::time::sleep(Duration::from_millis(*pause)).await;
        if try_once(sandbox, parcel, index + 1).await {
            return;
        }
    }
}

/// Whether the endpoint took it.
async fn try_once(sandbox: &Sandbox, parcel: &Parcel, attempt: usize) -> bool {
    let headers = headers(sandbox, parcel);
    let posted = tokio::time::timeout(PATIENCE, post(parcel, headers)).await;
    let posted = posted.unwrap_or_else(|_| Err("it took too long".to_owned()));
    let taken = posted.as_ref().is_ok_and(|status| (200..300).contains(status));
    sandbox.desk().webhooks.keep(Receipt {
        event: parcel.told.id.clone(),
        kind: parcel.told.kind.clone(),
        url: parcel.endpoint.url.clone(),
        attempt,
        status: posted.as_ref().ok().copied(),
        error: posted.err(),
    });
    taken
}

/// Signed anew for every try, as both providers do.
fn headers(sandbox: &Sandbox, parcel: &Parcel) -> Vec<(&'static str, String)> {
    let (now, body) = (sandbox.clock.now(), &parcel.told.body);
    match parcel.endpoint.provider {
        Host::Stripe => {
            let secret = parcel.endpoint.secret.as_deref().unwrap_or_default();
            vec![("stripe-signature", stripe_signature(secret, now.timestamp(), body))]
        }
        Host::Paypal => {
            let transmission = Transmission {
                id: format!("t-{}", String::from(sandbox.clock.mint::<Reference>())),
                time: now.to_rfc3339_opts(SecondsFormat::Secs, true),
                webhook_id: parcel.endpoint.webhook_id.clone().unwrap_or_default(),
            };
            let sig = paypal_signature(sandbox.authority(), &transmission, body.as_bytes());
            let cert_url = format!("{}/_sandbox/paypal-cert.pem", sandbox.desk().address);
            vec![
                ("paypal-transmission-id", transmission.id),
                ("paypal-transmission-time", transmission.time),
                ("paypal-transmission-sig", sig),
                ("paypal-cert-url", cert_url),
                ("paypal-auth-algo", "SHA256withRSA".to_owned()),
            ]
        }
    }
}

/// The status that was answered, or what went wrong.
async fn post(parcel: &Parcel, headers: Vec<(&'static str, String)>) -> Result<u16, String> {
    let uri: Uri = parcel.endpoint.url.parse().map_err(in_words)?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await.map_err(in_words)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(in_words)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request =
        Request::post(path).body(Body::from(parcel.told.body.clone())).map_err(in_words)?;
    let all = request.headers_mut();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    add(all, HOST, authority)?;
    add(all, CONTENT_TYPE, "application/json")?;
    add(all, USER_AGENT, "payoutd-sandbox")?;
    for (name, value) in headers {
        add(all, HeaderName::from_static(name), &value)?;
    }
    let answered = async { sender.send_request(request).await.map_err(in_words) };
    // The connection has to be driven while the answer is waited for.
    tokio::select! {
        answer = answered => answer.map(|answer| answer.status().as_u16()),
        ended = connection => Err(ended.map_or_else(in_words, |()| "it hung up".to_owned())),
    }
}

fn add(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), String> {
    headers.insert(name, HeaderValue::from_str(value).map_err(in_words)?);
    Ok(())
}

fn in_words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
