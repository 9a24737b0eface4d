//! Whom a call is addressed to: all providers share one address here, and each has its own words
//! for trouble.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};

use serde::{Deserialize, Serialize};

use super::{paypal, stripe};
use crate::clock::Clock;

/// A provider that is called over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// PayPal Payouts.
    Paypal,
    /// Stripe Connect.
    Stripe,
}

impl Host {
    /// By the path of a call.
    pub(super) fn of(path: &str) -> Self {
        let paypals = ["/v1/oauth2", "/v1/payments", "/v1/notifications", "/v1/identity"];
        let is_paypals = paypals.iter().any(|start| path.starts_with(start));
        if path.starts_with("/v1/") && !is_paypals { Self::Stripe } else { Self::Paypal }
    }

    pub(super) fn internal_error(self) -> Response {
        match self {
            Self::Paypal => paypal::Refusal::internal_error().into_response(),
            Self::Stripe => stripe::Refusal::internal_error().into_response(),
        }
    }

    pub(super) fn throttle(self) -> Response {
        match self {
            Self::Paypal => paypal::Refusal::throttle().into_response(),
            Self::Stripe => stripe::Refusal::throttle().into_response(),
        }
    }

    /// What every answer of the provider's has.
    pub(super) fn sign(self, response: Response, clock: &Clock) -> Response {
        match self {
            Self::Paypal => response,
            Self::Stripe => stripe::number(response, clock),
        }
    }
}

/// The answer to a call that nobody has.
pub(super) async fn not_here(request: Request) -> Response {
    match Host::of(request.uri().path()) {
        Host::Paypal => paypal::not_here().await.into_response(),
        Host::Stripe => stripe::not_here(request.method().clone(), request.uri().clone()).await,
    }
}

/// The first half of an answer, with the rest missing.
pub(super) async fn half_of(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove("content-length");
    Response::from_parts(parts, Body::from(whole.slice(..whole.len() / 2)))
}
