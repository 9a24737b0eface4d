//! All that the sandbox remembers, behind one lock: its books, former lives, tokens, and how it
//! was told to behave.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::bank::Bank;
use super::funds::Funds;
use super::journal::{FormerLives, Journal, come_back};
use super::life::{Event, Life};
use super::paypal::Consent;
use super::stripe::Accounts;
use super::webhooks::Webhooks;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Desk {
    life: Life,
    former: FormerLives,
    journal: Option<Journal>,
    /// Tokens and when they end.
    tokens: HashMap<String, DateTime<Utc>>,
    /// Stripe's idempotency keys whose call is not answered yet.
    pub(super) keys_in_use: HashSet<String>,
    /// Connected accounts that were told to be other than any account is.
    pub(super) accounts: Accounts,
    /// Whether PayPal leaves its batches lying.
    pub(super) paypal_rests: bool,
    /// Codes that people's consents at PayPal gave, and that nobody has used yet.
    pub(super) consents: HashMap<String, Consent>,
    /// Tokens of people at PayPal, and whose they are.
    pub(super) people: HashMap<String, Consent>,
    /// What we can spend at PayPal.
    pub(super) paypal_funds: Funds,
    /// What we can spend at Stripe.
    pub(super) stripe_funds: Funds,
    /// The bank, but for what it was handed.
    pub(super) bank: Bank,
    /// Who wants to be told what happens.
    pub(super) webhooks: Webhooks,
    /// Where the sandbox is reached, once it is served: `http://127.0.0.1:8321`.
    pub(super) address: String,
}

impl Desk {
    /// A desk with a journal.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let (journal, former) = Journal::open(path)?;
        Ok(Self { former, journal: Some(journal), ..Self::default() })
    }

    /// What this life took, and what came back.
    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    /// Brings back every former life that `knows` what is asked about.
    pub(super) fn recall(&mut self, knows: impl Fn(&Life) -> bool) -> io::Result<()> {
        for number in 0..self.former.len() {
            if !self.former[number].as_ref().is_some_and(&knows) {
                continue;
            }
            if let Some(journal) = &mut self.journal {
                journal.append_recall(number)?;
            }
            if let Some(life) = self.former[number].take() {
                come_back(life, &mut self.life);
            }
        }
        Ok(())
    }

    /// Writes an event down, then lets it happen: what could not be written did not happen.
    pub(super) fn record(&mut self, event: impl Into<Event>) -> io::Result<()> {
        self.record_all(vec![event.into()])
    }

    /// The same for events that happen together, or not at all.
    pub(super) fn record_all(&mut self, events: Vec<Event>) -> io::Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.append(&events)?;
        }
        for event in events {
            if let Some((host, told)) = event.told() {
                self.webhooks.hear(host, told);
            }
            self.life.apply(event);
        }
        Ok(())
    }

    /// Removes the journal, if there is one.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        self.journal.take().map_or(Ok(()), Journal::remove)
    }

    pub(super) fn grant(&mut self, token: String, ends_at: DateTime<Utc>) {
        self.tokens.insert(token, ends_at);
    }

    pub(super) fn knows_token(&self, token: &str, now: DateTime<Utc>) -> bool {
        self.tokens.get(token).is_some_and(|ends_at| now < *ends_at)
    }

    pub(super) fn revoke_tokens(&mut self) {
        self.tokens.clear();
        self.people.clear();
    }
}
