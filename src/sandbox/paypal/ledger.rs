//! What PayPal took in one life of the sandbox: batches, their items, and what became of them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::{Currency, Money};
use crate::sandbox::BookRow;
use crate::sandbox::told::Told;

/// An item's status, in PayPal's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ItemStatus {
    Pending,
    Success,
    Failed,
    Unclaimed,
    Returned,
    Onhold,
    Blocked,
    Refunded,
    Reversed,
}

impl ItemStatus {
    /// Whether the sender's money left for this item, even if it came back since.
    pub fn took_money(self) -> bool {
        !matches!(self, Self::Failed | Self::Blocked)
    }

    /// Whether the sender's money is away, and has not come back.
    pub(super) fn holds_money(self) -> bool {
        self.took_money() && !matches!(self, Self::Returned | Self::Refunded | Self::Reversed)
    }
}

/// One payment of a batch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Item {
    pub(super) id: String,
    pub(super) transaction_id: String,
    /// The sender's reference.
    pub(super) reference: Option<String>,
    pub(super) recipient_type: String,
    pub(super) receiver: String,
    /// Major units, in the currency's own digits.
    pub(super) amount: String,
    pub(super) currency: Currency,
    pub(super) note: Option<String>,
    pub(super) status: ItemStatus,
    /// What the item becomes when its batch is processed.
    pub(super) fate: ItemStatus,
    /// The name of the error that goes with the fate.
    pub(super) error: Option<String>,
}

impl Item {
    pub(super) fn money(&self) -> Money {
        Money::parse(&self.amount, self.currency).expect("an item was taken only if it is money")
    }

    /// The error, while the status is one that has a reason.
    pub(super) fn visible_error(&self) -> Option<&str> {
        use ItemStatus::{Pending, Refunded, Reversed, Success};
        let fine = matches!(self.status, Pending | Success | Refunded | Reversed);
        self.error.as_deref().filter(|_| !fine)
    }
}

/// What was taken in one call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Batch {
    pub(super) id: String,
    pub(super) sender_batch_id: Option<String>,
    pub(super) email_subject: Option<String>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) processed_at: Option<DateTime<Utc>>,
    /// Whether the batch ends denied.
    pub(super) doomed: bool,
    pub(super) items: Vec<Item>,
}

impl Batch {
    /// What all items are together; zero dollars without any.
    pub(super) fn total(&self) -> Money {
        let usd = || "USD".parse().expect("USD is a currency");
        let currency = self.items.first().map_or_else(usd, |item| item.currency);
        let mut amounts = self.items.iter().map(Item::money);
        let sum = amounts.try_fold(Money::new(0, currency), Money::checked_add);
        sum.expect("a batch was taken only if its amounts add up")
    }

    pub(super) fn is_denied(&self) -> bool {
        self.doomed && self.processed_at.is_some()
    }

    pub(super) fn status(&self) -> &'static str {
        match self.processed_at {
            None => "PENDING",
            Some(_) if self.doomed => "DENIED",
            Some(_) => "SUCCESS",
        }
    }
}

/// A change of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Event {
    Taken { batch: Batch },
    Processed { batch_id: String, at: DateTime<Utc> },
    Changed { item_id: String, status: ItemStatus },
    Told(Told),
}

/// Batches in order of arrival, and where to find them.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Ledger {
    batches: Vec<Batch>,
    by_id: HashMap<String, usize>,
    /// The latest batch of each sender's id.
    by_sender: HashMap<String, usize>,
    by_item: HashMap<String, (usize, usize)>,
    told: Vec<Told>,
}

impl Ledger {
    pub(super) fn batch(&self, id: &str) -> Option<&Batch> {
        self.by_id.get(id).map(|at| &self.batches[*at])
    }

    pub(super) fn batch_of_sender(&self, sender_batch_id: &str) -> Option<&Batch> {
        self.by_sender.get(sender_batch_id).map(|at| &self.batches[*at])
    }

    pub(super) fn item(&self, id: &str) -> Option<(&Batch, &Item)> {
        let (batch, item) = *self.by_item.get(id)?;
        Some((&self.batches[batch], &self.batches[batch].items[item]))
    }

    /// The ids of the items that a sender calls `reference`.
    pub(in crate::sandbox) fn items_called(&self, reference: &str) -> Vec<String> {
        let items = self.batches.iter().flat_map(|batch| &batch.items);
        let called = items.filter(|item| item.reference.as_deref() == Some(reference));
        called.map(|item| item.id.clone()).collect()
    }

    pub(in crate::sandbox) fn told(&self) -> &[Told] {
        &self.told
    }

    pub(in crate::sandbox) fn book_rows(&self) -> Vec<BookRow> {
        let items = self.batches.iter().flat_map(|batch| &batch.items);
        items.filter(|item| item.status.took_money()).map(book_row).collect()
    }

    /// An event about something that is not known here changes nothing.
    pub(in crate::sandbox) fn apply(&mut self, event: Event) {
        match event {
            Event::Taken { batch } => self.take(batch),
            Event::Processed { batch_id, at } => {
                let Some(index) = self.by_id.get(&batch_id) else { return };
                let batch = &mut self.batches[*index];
                batch.processed_at = Some(at);
                let pending = |item: &&mut Item| item.status == ItemStatus::Pending;
                batch.items.iter_mut().filter(pending).for_each(|item| item.status = item.fate);
            }
            Event::Changed { item_id, status } => {
                let Some((batch, item)) = self.by_item.get(&item_id) else { return };
                self.batches[*batch].items[*item].status = status;
            }
            Event::Told(told) => self.told.push(told),
        }
    }

    /// Adds all that `later` took, behind what is here.
    pub(in crate::sandbox) fn absorb(&mut self, later: Self) {
        later.batches.into_iter().for_each(|batch| self.take(batch));
        self.told.extend(later.told);
    }

    fn take(&mut self, batch: Batch) {
        let index = self.batches.len();
        self.by_id.insert(batch.id.clone(), index);
        if let Some(sender_batch_id) = &batch.sender_batch_id {
            self.by_sender.insert(sender_batch_id.clone(), index);
        }
        let items = batch.items.iter().enumerate();
        self.by_item.extend(items.map(|(at, item)| (item.id.clone(), (index, at))));
        self.batches.push(batch);
    }
}

fn book_row(item: &Item) -> BookRow {
    BookRow {
        reference: item.reference.clone().unwrap_or_default(),
        recipient: item.receiver.clone(),
        currency: item.currency.to_string(),
        amount: item.amount.clone(),
        status: item.status,
    }
}
