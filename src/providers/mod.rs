//! The rails. The only room that knows reqwest and backoff.
//!
//! A provider is stateless towards payoutd: it is handed a submission, talks to its rail and
//! says what it heard. It decides nothing about money; the engine keeps and applies.

mod ach;
mod bank;
mod http;
mod leave;
mod pace;
mod paypal;
mod retry;
mod signature;
mod stripe;
mod wire;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;

use crate::domain::{
    Currency, Destination, MethodKind, Money, Notice, OrgId, PayoutId, Reference, Statement,
};

pub use ach::{Ach, AchSettings};
pub use leave::Leave;
pub use paypal::{Paypal, PaypalSettings, WebhookVerify};
pub use stripe::{Stripe, StripeSettings};
pub use wire::{Wire, WireSettings};

/// The transfers that leave in one call or one file, as they were fixed when they were planned.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub org: OrgId,
    /// Our reference of the whole; at PayPal the `sender_batch_id`.
    pub reference: Reference,
    pub currency: Currency,
    /// In their fixed order: the same submission always renders to the same bytes.
    pub items: Vec<OutgoingItem>,
    /// The provider's own id of the whole, once it is known.
    pub provider_batch_id: Option<String>,
    /// Counts the sends that may each carry a key of their own, from 1: it goes up only after a
    /// send that certainly paid nothing, and a question about a lost answer repeats it.
    pub attempt: i64,
    /// The submission's number on its rail, over all orgs, from 1: no two have the same.
    pub sequence: i64,
    /// When it is, or first was, sent: the instant that its bytes are dated by.
    pub sent_at: DateTime<Utc>,
    /// The instant of the send or question in hand.
    pub now: DateTime<Utc>,
    /// Asked right before bytes that move money leave, after every wait for something else.
    pub leave: Leave,
}

/// One transfer of a submission.
#[derive(Debug, Clone)]
pub struct OutgoingItem {
    /// Our reference of the transfer; at PayPal the `sender_item_id`.
    pub reference: Reference,
    pub payout_id: PayoutId,
    pub destination: Destination,
    pub amount: Money,
    /// The provider's own id of the transfer, once it is known.
    pub provider_id: Option<String>,
    /// Whether the answer is still wanted; a look-up may leave the others out.
    pub open: bool,
    /// Whether its money has arrived as far as we know: what comes back after that comes back by
    /// the provider's word about the item, never by its absence.
    pub settled: bool,
    /// What the rail told about it in its letters so far, in order of arrival.
    pub heard: Vec<Notice>,
    /// Whether it only proves an account: a few cents, and some rails have a word for that.
    pub proves_account: bool,
}

impl Outgoing {
    /// A submission that was never sent, as it would be sent at `now`.
    pub fn new(
        org: OrgId,
        reference: Reference,
        items: Vec<OutgoingItem>,
        currency: Currency,
        now: DateTime<Utc>,
    ) -> Self {
        let provider_batch_id = None;
        let (attempt, sequence, sent_at) = (1, 1, now);
        let leave = Leave::default();
        Self {
            org,
            reference,
            currency,
            items,
            provider_batch_id,
            attempt,
            sequence,
            sent_at,
            now,
            leave,
        }
    }
}

impl OutgoingItem {
    /// A transfer of which nothing is known but where it goes and how much it is.
    pub fn new(
        reference: Reference,
        payout_id: PayoutId,
        destination: Destination,
        amount: Money,
    ) -> Self {
        let (provider_id, heard) = (None, Vec::new());
        let (open, settled, proves_account) = (true, false, false);
        Self {
            reference,
            payout_id,
            destination,
            amount,
            provider_id,
            open,
            settled,
            heard,
            proves_account,
        }
    }
}

/// What a provider said is wrong: its own code and words, or ours where it said nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct Problem {
    pub code: String,
    pub message: String,
    /// Whether the destination is at fault (closed, unknown, not able to receive): then nothing
    /// more is paid to the method until it is verified again.
    pub of_method: bool,
}

impl Problem {
    /// A problem by its code and a sentence about it.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), of_method: false }
    }

    /// The same, with the destination at fault.
    #[must_use]
    pub fn of_method(self) -> Self {
        Self { of_method: true, ..self }
    }
}

/// What became of a send. Whatever is not clearly one of the others is `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The provider has it; whether the money arrives is for a look-up to say.
    Accepted { provider_batch_id: Option<String> },
    /// Nothing reached the provider (refused connection, no token): send again later. A problem
    /// that is the method's is about this payee alone, and no reason to leave the rail alone.
    NotSent(Problem),
    /// The provider asked to slow down: send the same later.
    Throttled { retry_after: Option<TimeDelta>, problem: Problem },
    /// The provider refused us (permission, a closed account), not a payee: nothing was paid,
    /// send later.
    Blocked(Problem),
    /// Our balance at the provider is too small: nothing was paid, send once there is more.
    Short(Problem),
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
    /// What a person may want to know beside it, which changes nothing (a payout of the connected
    /// account that failed).
    pub note: Option<String>,
}

/// A provider's status in our terms. A word we do not know is `Open`, never `Rejected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not decided yet.
    Open,
    /// Open, and it is the payee's turn: the money left us, nobody took it.
    Unclaimed,
    /// The money arrived.
    Settled,
    /// The money did not leave, or came back before it arrived.
    Rejected,
    /// The money came back after it had arrived.
    Returned,
}

/// What a rail promises about references, answers and returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The most transfers that leave in one submission.
    pub batch_size: usize,
    /// How long after the first send the provider still recognises our reference. Within it a
    /// lost answer is found by [`Provider::send`]ing the same bytes; past it, never.
    pub resend_window: TimeDelta,
    /// Whether [`Provider::look_up`] finds a submission by our reference alone, before the
    /// provider's own id of it is known. Then a lost answer is looked for before it is sent again.
    pub finds_by_reference: bool,
    /// How long after the send a transfer may stay open before a person is asked.
    pub horizon: TimeDelta,
    /// How long after it settled a transfer's money may still come back.
    pub watch: TimeDelta,
    /// How long after the send what nobody took is called off, if ever.
    pub call_off_after: Option<TimeDelta>,
}

/// What a rail left for us: one file of an inbox, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The file's name.
    pub name: String,
    /// SHA-256 of its bytes, in hex: the same letter under two names is one letter.
    pub hash: String,
    /// What it is: `nacha_return`, `pain.002`, `camt.054`, …; `unreadable` if nobody can tell.
    pub kind: String,
    /// The rails whose transfers it may speak of.
    pub about: Vec<MethodKind>,
    /// What it says of single transfers.
    pub notices: Vec<Notice>,
    /// The statements in it, to be held against the books.
    pub statements: Vec<Statement>,
    /// What in it could not be read: it is kept for a person to look at.
    pub problem: Option<Problem>,
}

/// Our balance at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Funds {
    Known(Money),
    /// It was asked and did not say: nothing is held back because of that.
    Unclear(Problem),
    /// This rail has no such question.
    CannotAsk,
}

/// Whether a destination can receive money, as far as the provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vetted {
    Able,
    Unable(Problem),
    Unclear(Problem),
    /// This rail has no such question.
    CannotAsk,
}

/// A webhook as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    pub org: &'a OrgId,
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
    pub received_at: DateTime<Utc>,
}

impl Delivery<'_> {
    /// The first header of that name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// What a delivery is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It is from the provider, and meant for this org.
    Genuine(ProviderEvent),
    /// It is not, or that cannot be proven: it is not kept.
    Refused(Problem),
    /// It cannot be told now (a certificate cannot be fetched): the provider delivers it again.
    Unclear(Problem),
}

/// A provider's event: a hint that something changed, and about what. It never says how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderEvent {
    pub event_id: String,
    pub event_type: String,
    /// Our references of the transfers or submissions that it is about.
    pub references: Vec<String>,
    /// The provider's own ids of them.
    pub provider_ids: Vec<String>,
}

/// A rail. A new one is a file in this folder, an arm where the daemon wires them, its settings
/// and its tests; if anything else must change, this trait is wrong. What has a default here is
/// what not every rail has.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The method that this rail pays.
    fn kind(&self) -> MethodKind;

    /// What the rail promises.
    fn terms(&self) -> Terms;

    /// The bytes that [`Provider::send`] puts on the wire: the same for the same submission, for
    /// ever. Their hash is stored before the first send.
    fn render(&self, outgoing: &Outgoing) -> String;

    /// Sends `body`, once, if [`Outgoing::leave`] lets it: what waits for something before the bytes
    /// go asks once it is over. Never retries by itself: only the engine may send twice, because
    /// only it knows what was sent before.
    async fn send(&self, outgoing: &Outgoing, body: &str) -> Sent;

    /// Asks what became of an accepted submission's items, all pages of it.
    async fn look_up(&self, outgoing: &Outgoing) -> Found;

    /// Whether the rail answers and takes our credentials; for `doctor`.
    async fn ping(&self) -> Result<(), Problem>;

    /// What the rail has left for us and we have not yet put away.
    ///
    /// # Errors
    /// [`Problem`] if the inbox cannot be read.
    async fn collect(&self) -> Result<Vec<Letter>, Problem> {
        Ok(Vec::new())
    }

    /// Puts a letter away for good, once what it says is stored.
    ///
    /// # Errors
    /// [`Problem`] if it cannot be moved: it is collected again, and known by its hash.
    async fn put_away(&self, _letter: &Letter) -> Result<(), Problem> {
        Ok(())
    }

    /// What we can spend in a currency.
    async fn funds(&self, _currency: Currency) -> Funds {
        Funds::CannotAsk
    }

    /// Whether a destination can receive money.
    async fn vet(&self, _destination: &Destination) -> Vetted {
        Vetted::CannotAsk
    }

    /// The page on which a payee consents that the rail shows us whose account it is; `state` comes
    /// back from there.
    ///
    /// # Errors
    /// [`Problem`] if the rail has no such page, or nobody could come back from it.
    fn consent_address(&self, _state: &str) -> Result<String, Problem> {
        Err(Problem::new("no_consent_page", "this rail has no page to consent on"))
    }

    /// Whether the consent behind `code` is that of the destination's own holder. A code is good
    /// for one question.
    async fn hear_consent(&self, _code: &str, _destination: &Destination) -> Vetted {
        Vetted::CannotAsk
    }

    /// Why a submission could still leave by itself, whatever is decided about it now, if it could.
    async fn may_still_leave(&self, _outgoing: &Outgoing) -> Option<Problem> {
        None
    }

    /// Calls off a transfer that nobody took. Whether it worked is for a look-up to say.
    async fn call_off(&self, _item: &OutgoingItem) -> Result<(), Problem> {
        Err(Problem::new("cannot_call_off", "this rail has no way to take a transfer back"))
    }

    /// Whether a webhook is what it says it is.
    async fn authenticate(&self, _delivery: Delivery<'_>) -> Heard {
        Heard::Refused(Problem::new("no_webhooks", "this rail sends no webhooks"))
    }

    /// Every transfer that the provider made for us from `from` to before `to`, where it keeps
    /// such a list.
    async fn statement(
        &self,
        _currency: Currency,
        _from: DateTime<Utc>,
        _to: DateTime<Utc>,
    ) -> Result<Option<Statement>, Problem> {
        Ok(None)
    }
}
