//! What a provider tells about: one event, for its list of events and for webhooks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One event.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) created: DateTime<Utc>,
    /// At Stripe, the connected account that it is about; `None` for our own.
    pub(super) account: Option<String>,
    /// The event as JSON, byte by byte as it is delivered.
    pub(super) body: String,
}

impl Told {
    /// The event as JSON.
    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.body).expect("an event is written as JSON")
    }
}
