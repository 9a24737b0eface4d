//! PayPal's calls about webhooks: whether a delivery is genuine, and what was told.

use std::collections::HashMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::access::Caller;
use super::{Refusal, Shown};
use crate::sandbox::Sandbox;
use crate::sandbox::told::Told;
use crate::sandbox::webhooks::{Transmission, paypal_text};

/// How long an event can be listed.
const EVENT_LIFE: TimeDelta = TimeDelta::days(30);
/// The most events on a page, and how many there are without a word about it.
const LARGEST_PAGE: usize = 300;
const PAGE: usize = 10;

#[derive(Deserialize)]
struct Question {
    auth_algo: String,
    cert_url: String,
    transmission_id: String,
    transmission_sig: String,
    transmission_time: String,
    webhook_id: String,
    /// The very bytes: PayPal's checksum is of them.
    webhook_event: Box<RawValue>,
}

/// `POST /v1/notifications/verify-webhook-signature`.
pub(super) async fn verify(_: Caller, State(sandbox): State<Sandbox>, body: Bytes) -> Shown {
    let asked: Question = serde_json::from_slice(&body).map_err(|error| {
        let issue = error.to_string();
        Refusal::invalid(vec![json!({"field": "body", "location": "body", "issue": issue})])
    })?;
    let ours = format!("{}/_sandbox/paypal-cert.pem", sandbox.desk().address);
    let transmission = Transmission {
        id: asked.transmission_id,
        time: asked.transmission_time,
        webhook_id: asked.webhook_id,
    };
    let text = paypal_text(&transmission, asked.webhook_event.get().as_bytes());
    let sig = BASE64_STANDARD.decode(&asked.transmission_sig).unwrap_or_default();
    let genuine = asked.auth_algo == "SHA256withRSA"
        && asked.cert_url == ours
        && sandbox.authority().signed(text.as_bytes(), &sig);
    let status = if genuine { "SUCCESS" } else { "FAILURE" };
    Ok(Json(json!({"verification_status": status})))
}

/// `GET /v1/notifications/webhooks-events`, newest first.
pub(super) async fn list(
    _: Caller,
    State(sandbox): State<Sandbox>,
    Query(query): Query<HashMap<String, String>>,
) -> Shown {
    let wrong = |field: &str, issue: &str| {
        Refusal::invalid(vec![json!({"field": field, "location": "query", "issue": issue})])
    };
    let instant = |name: &str| -> Result<Option<DateTime<Utc>>, Refusal> {
        let given = query.get(name).map(|text| DateTime::parse_from_rfc3339(text));
        let given = given.transpose().map_err(|_| wrong(name, "Expected a date-time"))?;
        Ok(given.map(|at| at.to_utc()))
    };
    let since = sandbox.clock.now() - EVENT_LIFE;
    let from = instant("start_time")?.map_or(since, |from| from.max(since));
    let to = instant("end_time")?;
    let size = query.get("page_size").map_or(Some(PAGE), |text| text.parse().ok());
    let size = size.filter(|size| (1..=LARGEST_PAGE).contains(size));
    let size = size.ok_or_else(|| wrong("page_size", "Expected a number from 1 to 300"))?;
    let wanted = |told: &&Told| {
        told.created >= from
            && to.is_none_or(|to| told.created <= to)
            && query.get("event_type").is_none_or(|kind| *kind == told.kind)
            && query
                .get("transaction_id")
                .is_none_or(|id| told.value()["resource"]["transaction_id"] == id.as_str())
    };
    let desk = sandbox.desk();
    let newest = desk.life().paypal.told().iter().rev().filter(wanted);
    let events: Vec<_> = newest.take(size).map(Told::value).collect();
    Ok(Json(json!({"count": events.len(), "events": events, "links": []})))
}

/// `GET /v1/notifications/webhooks-events/{id}`.
pub(super) async fn show(
    _: Caller,
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
) -> Shown {
    let desk = sandbox.desk();
    let told = desk.life().paypal.told().iter().find(|told| told.id == id);
    told.map(|told| Json(told.value())).ok_or_else(Refusal::unknown_id)
}
