//! Faults, armed at a sandbox on loopback.

use serde_json::{Value, json};

use crate::loopback::Loopback;

impl Loopback {
    /// Arms a fault for the next call of `on`, with more members of it.
    pub async fn spoil(&self, on: &str, fault: &str, more: Value) {
        let mut body = json!({"on": on, "fault": fault});
        for (key, value) in more.as_object().expect("members") {
            body[key] = value.clone();
        }
        self.control("POST", "faults", body).await;
    }
}
