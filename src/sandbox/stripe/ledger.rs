//! What Stripe did in one life of the sandbox: transfers, their reversals, payouts of connected
//! accounts, events, and the answers that idempotency keys stand for.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::units;
use crate::domain::{Currency, Money};
use crate::sandbox::BookRow;
use crate::sandbox::told::Told;

/// What became of a transfer. Stripe has no word for it; these are the sandbox's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferStatus {
    Paid,
    PartlyReversed,
    Reversed,
}

/// Money moved to a connected account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Transfer {
    pub(in crate::sandbox) id: String,
    pub(super) amount: i64,
    pub(super) currency: Currency,
    pub(super) created: DateTime<Utc>,
    pub(super) description: Option<String>,
    pub(super) destination: String,
    pub(super) destination_payment: String,
    pub(super) balance_transaction: String,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) source_transaction: Option<String>,
    pub(super) source_type: String,
    pub(super) transfer_group: Option<String>,
    /// Newest first, as Stripe lists them.
    pub(super) reversals: Vec<Reversal>,
}

impl Transfer {
    /// In Stripe's unit.
    pub(super) fn reversed(&self) -> i64 {
        self.reversals.iter().map(|reversal| reversal.amount).sum()
    }

    pub(super) fn money(&self) -> Money {
        units::money(self.amount, self.currency).expect("only such amounts are taken")
    }

    fn status(&self) -> TransferStatus {
        match self.reversed() {
            0 => TransferStatus::Paid,
            reversed if reversed < self.amount => TransferStatus::PartlyReversed,
            _ => TransferStatus::Reversed,
        }
    }

    fn book_row(&self) -> BookRow<TransferStatus> {
        BookRow {
            reference: self.transfer_group.clone().unwrap_or_default(),
            recipient: self.destination.clone(),
            currency: self.currency.to_string(),
            amount: self.money().to_string(),
            status: self.status(),
        }
    }
}

/// Money taken back from a connected account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Reversal {
    pub(super) id: String,
    pub(super) transfer: String,
    /// In Stripe's unit.
    pub(super) amount: i64,
    pub(super) currency: Currency,
    pub(super) created: DateTime<Utc>,
    pub(super) balance_transaction: String,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Reversal {
    pub(super) fn money(&self) -> Money {
        units::money(self.amount, self.currency).expect("only such amounts are taken back")
    }
}

/// Money on its way from a connected account to its bank.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Payout {
    pub(super) id: String,
    pub(super) account: String,
    /// In Stripe's unit.
    pub(super) amount: i64,
    pub(super) currency: Currency,
    pub(super) created: DateTime<Utc>,
    /// `pending`, `in_transit`, `paid`, `failed` or `canceled`.
    pub(super) status: String,
    pub(super) failure_code: Option<String>,
}

/// The answer that an idempotency key stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Answered {
    pub(super) key: String,
    pub(super) at: DateTime<Utc>,
    /// Path and parameters of the first call.
    pub(super) call: String,
    pub(super) status: u16,
    pub(super) body: String,
}

/// A change of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Event {
    Transferred(Transfer),
    Reversed(Reversal),
    PaidOut(Payout),
    Told(Told),
    Answered(Answered),
    KeysPruned,
}

/// Everything in order of arrival, and where to find it.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Ledger {
    transfers: Vec<Transfer>,
    by_id: HashMap<String, usize>,
    payouts: Vec<Payout>,
    told: Vec<Told>,
    answers: HashMap<String, Answered>,
}

impl Ledger {
    pub(in crate::sandbox) fn transfer(&self, id: &str) -> Option<&Transfer> {
        self.by_id.get(id).map(|at| &self.transfers[*at])
    }

    pub(super) fn transfers(&self) -> &[Transfer] {
        &self.transfers
    }

    pub(super) fn payouts(&self) -> &[Payout] {
        &self.payouts
    }

    pub(in crate::sandbox) fn told(&self) -> &[Told] {
        &self.told
    }

    pub(super) fn answered(&self, key: &str) -> Option<&Answered> {
        self.answers.get(key)
    }

    /// The ids of the transfers that are called `name`: by their own id or their group.
    pub(super) fn transfers_called(&self, name: &str) -> Vec<String> {
        let called = |transfer: &&Transfer| {
            transfer.id == name || transfer.transfer_group.as_deref() == Some(name)
        };
        self.transfers.iter().filter(called).map(|transfer| transfer.id.clone()).collect()
    }

    pub(in crate::sandbox) fn book_rows(&self) -> Vec<BookRow<TransferStatus>> {
        self.transfers.iter().map(Transfer::book_row).collect()
    }

    /// An event about something that is not known here changes nothing.
    pub(in crate::sandbox) fn apply(&mut self, event: Event) {
        match event {
            Event::Transferred(transfer) => self.take(transfer),
            Event::Reversed(reversal) => {
                let Some(index) = self.by_id.get(&reversal.transfer) else { return };
                self.transfers[*index].reversals.insert(0, reversal);
            }
            Event::PaidOut(payout) => self.payouts.push(payout),
            Event::Told(told) => self.told.push(told),
            Event::Answered(answered) => {
                self.answers.insert(answered.key.clone(), answered);
            }
            Event::KeysPruned => self.answers.clear(),
        }
    }

    /// Adds all that `later` took, behind what is here.
    pub(in crate::sandbox) fn absorb(&mut self, later: Self) {
        later.transfers.into_iter().for_each(|transfer| self.take(transfer));
        self.payouts.extend(later.payouts);
        self.told.extend(later.told);
        self.answers.extend(later.answers);
    }

    fn take(&mut self, transfer: Transfer) {
        self.by_id.insert(transfer.id.clone(), self.transfers.len());
        self.transfers.push(transfer);
    }
}
