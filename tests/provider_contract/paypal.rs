//! PayPal, against the sandbox.

use std::sync::Arc;

use async_trait::async_trait;
use payoutd::domain::{Destination, MethodKind};
use payoutd::providers::{Paypal, Provider};
use serde_json::{Value, json};

use crate::loopback::Loopback;
use crate::stand::{Stand, settings};

pub struct AtPaypal(Loopback);

pub async fn open() -> AtPaypal {
    AtPaypal(Loopback::open().await)
}

fn rail(base_url: &str) -> Arc<dyn Provider> {
    let config = settings(&[
        ("providers.paypal.base_url", base_url),
        ("providers.paypal.client_id", "id"),
        ("providers.paypal.client_secret", "hunter2"),
        ("providers.paypal.timeout_ms", "2000"),
        ("providers.paypal.page_size", "2"),
    ]);
    Arc::new(Paypal::new(config.providers.paypal).expect("a rail"))
}

fn at(email: &str) -> Destination {
    let json = json!({ "email": email }).to_string();
    Destination::parse(MethodKind::Paypal, &json).expect("a destination")
}

#[async_trait]
impl Stand for AtPaypal {
    fn rail(&self) -> Arc<dyn Provider> {
        rail(&self.0.url)
    }

    fn rail_to_nowhere(&self) -> Arc<dyn Provider> {
        rail("http://127.0.0.1:9")
    }

    fn payee(&self, number: usize) -> Destination {
        at(&format!("payee-{number}@example.com"))
    }

    fn refused_payee(&self) -> Destination {
        at("refused-payee@example.com")
    }

    fn secrets(&self) -> Vec<String> {
        vec!["hunter2".to_owned()]
    }

    async fn spoil_the_next_send(&self, fault: &str, more: Value) -> bool {
        self.0.spoil("POST /v1/payments/payouts", fault, more).await;
        true
    }

    async fn work(&self) {}

    async fn books(&self) -> Vec<(String, String)> {
        let rows = self.0.sandbox.books().paypal.into_iter();
        rows.map(|row| (row.reference, row.amount)).collect()
    }
}
