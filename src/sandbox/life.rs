//! All that the providers took in one life of the sandbox.
//!
//! A life changes by [`Event`]s alone, live and when it is read back from the journal.

use serde::{Deserialize, Serialize};

use super::host::Host;
use super::told::Told;
use super::{Books, bank, paypal, stripe};

/// A change of a life.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    Paypal(paypal::Event),
    Stripe(stripe::Event),
    Bank(bank::Event),
}

impl Event {
    /// What the event tells the world, if anything, and who tells it.
    pub(super) fn told(&self) -> Option<(Host, &Told)> {
        match self {
            Self::Paypal(paypal::Event::Told(told)) => Some((Host::Paypal, told)),
            Self::Stripe(stripe::Event::Told(told)) => Some((Host::Stripe, told)),
            _ => None,
        }
    }
}

impl From<paypal::Event> for Event {
    fn from(event: paypal::Event) -> Self {
        Self::Paypal(event)
    }
}

impl From<stripe::Event> for Event {
    fn from(event: stripe::Event) -> Self {
        Self::Stripe(event)
    }
}

impl From<bank::Event> for Event {
    fn from(event: bank::Event) -> Self {
        Self::Bank(event)
    }
}

/// One ledger per provider.
#[derive(Debug, Default)]
pub(super) struct Life {
    pub(super) paypal: paypal::Ledger,
    pub(super) stripe: stripe::Ledger,
    pub(super) bank: bank::Ledger,
}

impl Life {
    /// An event about something that this life does not know changes nothing.
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Paypal(event) => self.paypal.apply(event),
            Event::Stripe(event) => self.stripe.apply(event),
            Event::Bank(event) => self.bank.apply(event),
        }
    }

    /// Adds all that `later` took, behind what is here.
    pub(super) fn absorb(&mut self, later: Self) {
        self.paypal.absorb(later.paypal);
        self.stripe.absorb(later.stripe);
        self.bank.absorb(later.bank);
    }

    pub(super) fn books(&self) -> Books {
        Books {
            paypal: self.paypal.book_rows(),
            stripe: self.stripe.book_rows(),
            bank: self.bank.book_rows(),
        }
    }
}
