//! Stripe Connect, against the sandbox.

use std::sync::Arc;

use async_trait::async_trait;
use payoutd::domain::{Destination, MethodKind};
use payoutd::providers::{Provider, Stripe};
use serde_json::{Value, json};

use crate::loopback::Loopback;
use crate::stand::{Stand, settings};

pub struct AtStripe(Loopback);

pub async fn open() -> AtStripe {
    AtStripe(Loopback::open().await)
}

fn rail(base_url: &str) -> Arc<dyn Provider> {
    let config = settings(&[
        ("providers.stripe.base_url", base_url),
        ("providers.stripe.secret_key", "sk_test_hunter2"),
        ("providers.stripe.webhook_secrets", "whsec_hunter3"),
        ("providers.stripe.timeout_ms", "2000"),
    ]);
    Arc::new(Stripe::new(config.providers.stripe).expect("a rail"))
}

fn at(account: &str) -> Destination {
    let json = json!({ "account": account }).to_string();
    Destination::parse(MethodKind::StripeConnect, &json).expect("a destination")
}

#[async_trait]
impl Stand for AtStripe {
    fn rail(&self) -> Arc<dyn Provider> {
        rail(&self.0.url)
    }

    fn rail_to_nowhere(&self) -> Arc<dyn Provider> {
        rail("http://127.0.0.1:9")
    }

    fn payee(&self, number: usize) -> Destination {
        at(&format!("acct_payee{number}"))
    }

    fn refused_payee(&self) -> Destination {
        at("acct_inactive")
    }

    fn secrets(&self) -> Vec<String> {
        vec!["hunter2".to_owned(), "hunter3".to_owned()]
    }

    async fn spoil_the_next_send(&self, fault: &str, more: Value) -> bool {
        self.0.spoil("POST /v1/transfers", fault, more).await;
        true
    }

    async fn work(&self) {}

    async fn books(&self) -> Vec<(String, String)> {
        let rows = self.0.sandbox.books().stripe.into_iter();
        rows.map(|row| (row.reference, row.amount)).collect()
    }
}
