//! Where a rail pays into, as the contract sees it.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use payoutd::clock::Clock;
use payoutd::config::Config;
use payoutd::domain::{Destination, Money};
use payoutd::providers::{Outgoing, OutgoingItem, Provider};
use serde_json::Value;

/// A stand-in for a provider, with books of its own.
#[async_trait]
pub trait Stand: Sync {
    /// The rail, pointed at the stand-in.
    fn rail(&self) -> Arc<dyn Provider>;

    /// The same rail, pointed at where nobody is.
    fn rail_to_nowhere(&self) -> Arc<dyn Provider>;

    /// Somebody who can be paid; others for other numbers.
    fn payee(&self, number: usize) -> Destination;

    /// Somebody whom the provider, or the rail itself, refuses.
    fn refused_payee(&self) -> Destination;

    /// What must not be told in any error.
    fn secrets(&self) -> Vec<String>;

    /// Spoils the next send in the way of a fault, with more members of it; false if this stand
    /// has no such fault.
    async fn spoil_the_next_send(&self, fault: &str, more: Value) -> bool;

    /// Lets the provider do what it does by itself.
    async fn work(&self);

    /// Hands the submission what the provider has told since, as the engine would.
    async fn deliver(&self, _outgoing: &mut Outgoing) {}

    /// Every payment that took money: our reference, and the amount in major units.
    async fn books(&self) -> Vec<(String, String)>;

    /// The instant of the story.
    fn now(&self) -> DateTime<Utc> {
        Clock::System.now()
    }

    /// A new submission of so many transfers, of 10.01, 10.02, … USD.
    fn outgoing(&self, items: usize) -> Outgoing {
        let currency = "USD".parse().expect("a currency");
        let item = |number: usize| {
            let minor = 1_001 + i64::try_from(number).expect("a small number");
            OutgoingItem::new(
                Clock::System.mint(),
                Clock::System.mint(),
                self.payee(number),
                Money::new(minor, currency),
            )
        };
        let org = "acme".parse().expect("an id");
        let items = (0..items).map(item).collect();
        Outgoing::new(org, Clock::System.mint(), items, currency, self.now())
    }
}

/// The shipped settings, with some changed.
pub fn settings(changed: &[(&str, &str)]) -> Config {
    let changed: Vec<_> =
        changed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Config::load(None, [], &changed).expect("a configuration")
}

/// Several transfers, or one where a rail takes no more.
pub fn few(stand: &dyn Stand) -> usize {
    stand.rail().terms().batch_size.min(3)
}
