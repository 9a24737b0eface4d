//! The rails. The only room that knows reqwest and backoff.
//!
//! A provider is stateless towards payoutd: it is handed a submission, talks to its rail and
//! says what it heard. It decides nothing about money; the engine keeps and applies.

mod http;
mod paypal;
mod retry;

use async_trait::async_trait;
use chrono::TimeDelta;
use thiserror::Error;

use crate::domain::{Currency, Destination, MethodKind, Money, Reference};

pub use paypal::{Paypal, PaypalSettings};

/// The transfers that leave in one call or one file, as they were fixed when they were planned.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Our reference of the whole; at PayPal the `sender_batch_id`.
    pub reference: Reference,
    pub currency: Currency,
    /// In their fixed order: the same submission always renders to the same bytes.
    pub items: Vec<OutgoingItem>,
    /// The provider's own id of the whole, once it is known.
    pub provider_batch_id: Option<String>,
}

/// One transfer of a submission.
#[derive(Debug, Clone)]
pub struct OutgoingItem {
    /// Our reference of the transfer; at PayPal the `sender_item_id`.
    pub reference: Reference,
    pub destination: Destination,
    pub amount: Money,
    /// The provider's own id of the transfer, once it is known.
    pub provider_id: Option<String>,
    /// Whether the answer is still wanted; a look-up may leave the others out.
    pub open: bool,
    /// Whether its money has arrived as far as we know: what comes back after that comes back by
    /// the provider's word about the item, never by its absence.
    pub settled: bool,
}

/// What a provider said is wrong: its own code and words, or ours where it said nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct Problem {
    pub code: String,
    pub message: String,
}

impl Problem {
    /// A problem by its code and a sentence about it.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// What became of a send. Whatever is not clearly one of the others is `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The provider has it; whether the money arrives is for a look-up to say.
    Accepted { provider_batch_id: Option<String> },
    /// Nothing reached the provider (refused connection, no token): send again later.
    NotSent(Problem),
    /// The provider asked to slow down: send the same later.
    Throttled { retry_after: Option<TimeDelta>, problem: Problem },
    /// The provider refused us (funds, permission), not a payee: nothing was paid, send later.
    Blocked(Problem),
    /// The provider refused the whole because of these items; with none named it did not say
    /// which. Nothing was paid.
    Refused { items: Vec<(Reference, Problem)>, problem: Problem },
    /// No clear answer: the money may have left.
    Unknown(Problem),
}

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// What the provider says of the items that were asked about.
    Items(Vec<ItemReport>),
    /// The provider does not know it; that is no proof that it never will.
    Nothing(Problem),
    /// No clear answer: ask again later.
    Unclear(Problem),
}

/// What the provider says of one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemReport {
    pub reference: Reference,
    pub provider_id: Option<String>,
    pub standing: Standing,
    /// The provider's own word for it (`SUCCESS`, `UNCLAIMED`, …).
    pub provider_status: String,
    /// What the provider says it moved; the engine holds it against what was asked.
    pub amount: Option<Money>,
    /// Why, where the provider says so.
    pub problem: Option<Problem>,
}

/// A provider's status in our terms. A word we do not know is `Open`, never `Rejected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not decided yet.
    Open,
    /// The money arrived.
    Settled,
    /// The money did not leave, or came back before it arrived.
    Rejected,
    /// The money came back after it had arrived.
    Returned,
}

/// A rail. A new one is a file in this folder, an arm where the daemon wires them, its settings
/// and its tests; if anything else must change, this trait is wrong.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The method that this rail pays.
    fn kind(&self) -> MethodKind;

    /// The most transfers that leave in one submission.
    fn batch_size(&self) -> usize;

    /// How long after the first send the provider still recognises our reference. Within it a
    /// lost answer is found by [`Provider::send`]ing the same bytes; past it, never.
    fn resend_window(&self) -> TimeDelta;

    /// The bytes that [`Provider::send`] puts on the wire: the same for the same submission, for
    /// ever. Their hash is stored before the first send.
    fn render(&self, outgoing: &Outgoing) -> String;

    /// Sends `body`, once. Never retries by itself: only the engine may send twice, because
    /// only it knows what was sent before.
    async fn send(&self, outgoing: &Outgoing, body: &str) -> Sent;

    /// Asks what became of an accepted submission's items, all pages of it.
    async fn look_up(&self, outgoing: &Outgoing) -> Found;

    /// Whether the rail answers and takes our credentials; for `doctor`.
    async fn ping(&self) -> Result<(), Problem>;
}
