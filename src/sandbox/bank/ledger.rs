//! What the bank was handed in one life of the sandbox, and what became of each payment.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::domain::{Currency, Money};
use crate::sandbox::BookRow;

/// How far a payment came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// It is not paid.
    Rejected,
    /// It is paid on its day.
    Accepted,
    /// It is paid.
    Settled,
    /// It was paid, and came back.
    Returned,
}

/// How a payment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Rail {
    Ach,
    Wire,
}

/// The file that brought a payment, as far as answers to it name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(in crate::sandbox) struct Origin {
    pub(super) rail: Rail,
    /// Where answers go.
    pub(super) inbox: String,
    /// What the bank tells files apart by: a NACHA file's identity, or a `MsgId`.
    pub(super) message_id: String,
    /// The account that pays, or the company's id for it.
    pub(super) account: String,
    pub(super) name: String,
    /// Of NACHA: the routing number of the bank, and who sent the file.
    pub(super) bank: String,
    pub(super) sender: String,
}

/// One payment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::sandbox) struct Payment {
    pub(super) id: String,
    pub(super) origin: Origin,
    /// The sender's reference.
    pub(super) reference: String,
    pub(super) name: String,
    pub(super) routing: String,
    pub(super) account: String,
    /// Minor units.
    pub(super) amount: i64,
    pub(super) currency: Currency,
    /// Of NACHA: the transaction code, the kind of batch and its number, and the trace number.
    pub(super) code: String,
    pub(super) sec: String,
    pub(super) batch: u32,
    pub(super) trace: String,
    pub(super) settle_on: NaiveDate,
    pub(super) status: PaymentStatus,
    /// Why it was rejected or came back.
    pub(super) reason: Option<String>,
    pub(super) returned_on: Option<NaiveDate>,
    /// What of it was told already.
    pub(super) told: HashSet<News>,
}

/// What is told of a payment after it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum News {
    Booked,
    CameBack,
    Corrected,
}

impl Payment {
    pub(super) fn money(&self) -> Money {
        Money::new(self.amount, self.currency)
    }

    fn book_row(&self) -> BookRow<PaymentStatus> {
        BookRow {
            reference: self.reference.clone(),
            recipient: self.account.clone(),
            currency: self.currency.to_string(),
            amount: self.money().to_string(),
            status: self.status,
        }
    }
}

/// A change of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Event {
    /// A file was taken away, by what it is told apart by.
    Received {
        outbox: String,
        identity: String,
    },
    Taken(Box<Payment>),
    Settled {
        id: String,
    },
    CameBack {
        id: String,
        code: String,
        on: NaiveDate,
    },
    Told {
        id: String,
        news: News,
    },
}

/// Payments in order of arrival, and the files that brought them.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Ledger {
    received: HashSet<String>,
    outboxes: HashSet<String>,
    payments: Vec<Payment>,
    by_id: HashMap<String, usize>,
}

impl Ledger {
    /// Whether such a file came before.
    pub(super) fn had(&self, identity: &str) -> bool {
        self.received.contains(identity)
    }

    /// Whether anything came out of that folder.
    pub(super) fn took_from(&self, outbox: &str) -> bool {
        self.outboxes.contains(outbox)
    }

    pub(super) fn payments(&self) -> &[Payment] {
        &self.payments
    }

    /// Every payment that was taken to be paid.
    pub(in crate::sandbox) fn book_rows(&self) -> Vec<BookRow<PaymentStatus>> {
        let paid = self.payments.iter().filter(|one| one.status != PaymentStatus::Rejected);
        paid.map(Payment::book_row).collect()
    }

    /// An event about something that is not known here changes nothing.
    pub(in crate::sandbox) fn apply(&mut self, event: Event) {
        match event {
            Event::Received { outbox, identity } => {
                self.outboxes.insert(outbox);
                self.received.insert(identity);
            }
            Event::Taken(payment) => self.take(*payment),
            Event::Settled { id } => self.change(&id, |one| one.status = PaymentStatus::Settled),
            Event::CameBack { id, code, on } => self.change(&id, |one| {
                one.status = PaymentStatus::Returned;
                one.reason = Some(code);
                one.returned_on = Some(on);
            }),
            Event::Told { id, news } => self.change(&id, |one| {
                one.told.insert(news);
            }),
        }
    }

    /// Adds all that `later` took, behind what is here.
    pub(in crate::sandbox) fn absorb(&mut self, later: Self) {
        self.received.extend(later.received);
        self.outboxes.extend(later.outboxes);
        later.payments.into_iter().for_each(|payment| self.take(payment));
    }

    fn take(&mut self, payment: Payment) {
        self.by_id.insert(payment.id.clone(), self.payments.len());
        self.payments.push(payment);
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Payment)) {
        if let Some(index) = self.by_id.get(id) {
            change(&mut self.payments[*index]);
        }
    }
}
