//! What can be spent at a provider: without end, until it is told how much there is.

use std::collections::BTreeMap;

use crate::domain::{Currency, Money};

/// Balances per currency, in minor units; a currency that is not there has no end.
#[derive(Debug, Default)]
pub(super) struct Funds(BTreeMap<Currency, i64>);

impl Funds {
    /// Sets what there is of a currency; `None` is without end.
    pub(super) fn set(&mut self, currency: Currency, minor: Option<i64>) {
        match minor {
            Some(minor) => self.0.insert(currency, minor),
            None => self.0.remove(&currency),
        };
    }

    /// What there is, if it has an end.
    pub(super) fn of(&self, currency: Currency) -> Option<i64> {
        self.0.get(&currency).copied()
    }

    /// The currencies whose balance has an end.
    pub(super) fn limited(&self) -> impl Iterator<Item = Currency> + '_ {
        self.0.keys().copied()
    }

    pub(super) fn cover(&self, money: Money) -> bool {
        self.of(money.currency).is_none_or(|there| there >= money.minor)
    }

    pub(super) fn take(&mut self, money: Money) {
        self.move_by(money.currency, money.minor.saturating_neg());
    }

    pub(super) fn give_back(&mut self, money: Money) {
        self.move_by(money.currency, money.minor);
    }

    fn move_by(&mut self, currency: Currency, minor: i64) {
        if let Some(there) = self.0.get_mut(&currency) {
            *there = there.saturating_add(minor);
        }
    }
}
