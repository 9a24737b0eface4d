//! Stripe's events.

use serde_json::{Value, json};

use super::fresh_id;
use crate::clock::Clock;
use crate::sandbox::told::Told;

/// The version of Stripe's API that the sandbox's shapes follow.
const API_VERSION: &str = "2023-08-16";

/// An event about something of our own account.
pub(super) fn ours(kind: &str, object: &Value, clock: &Clock) -> Told {
    told(kind, object, None, clock)
}

/// An event about something of a connected account.
pub(super) fn of_account(kind: &str, object: &Value, account: &str, clock: &Clock) -> Told {
    told(kind, object, Some(account), clock)
}

fn told(kind: &str, object: &Value, account: Option<&str>, clock: &Clock) -> Told {
    let (id, created) = (fresh_id("evt", clock), clock.now());
    let mut body = json!({
        "id": id,
        "object": "event",
        "api_version": API_VERSION,
        "created": created.timestamp(),
        "data": {"object": object},
        "livemode": false,
        "pending_webhooks": 0,
        "request": {"id": null, "idempotency_key": null},
        "type": kind,
    });
    if let Some(account) = account {
        body["account"] = account.into();
    }
    let account = account.map(str::to_owned);
    Told { id, kind: kind.to_owned(), created, account, body: body.to_string() }
}
