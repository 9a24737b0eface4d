//! A stand-in for the payout providers, over real HTTP, with its own books and scripted faults.
//!
//! The demo and the tests pay into it. It knows nothing of payoutd's engine or store: what its
//! books say is what a provider would say.

mod bank;
mod control;
mod desk;
mod fault;
mod funds;
mod host;
mod journal;
mod life;
mod paypal;
mod serve;
mod stripe;
mod told;
mod webhooks;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;

use crate::clock::Clock;
use desk::Desk;
use fault::Faults;
use webhooks::Authority;

pub use bank::PaymentStatus;
pub use fault::{BadFault, Fault, FaultKind};
pub use host::Host;
pub use paypal::ItemStatus;
pub use serve::serve;
pub use stripe::TransferStatus;
pub use webhooks::{BadEndpoint, Mode, WebhookEndpoint};

/// The sandbox. Cloning shares the same books, tokens and faults.
#[derive(Clone)]
pub struct Sandbox {
    clock: Clock,
    desk: Arc<Mutex<Desk>>,
    faults: Arc<Mutex<Faults>>,
    /// Made when it is first needed: its keys take time.
    authority: Arc<OnceLock<Authority>>,
}

/// Every payment that took money, per provider, in order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Books {
    /// What PayPal took.
    pub paypal: Vec<BookRow>,
    /// What Stripe took.
    pub stripe: Vec<BookRow<TransferStatus>>,
    /// What the bank took, by ACH and by wire.
    pub bank: Vec<BookRow<PaymentStatus>>,
}

/// One payment that took money; its status is in words of its provider's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BookRow<S = ItemStatus> {
    /// The sender's own reference of the payment; empty if it gave none.
    pub reference: String,
    /// Where the money goes, as the sender wrote it.
    pub recipient: String,
    /// ISO 4217 code.
    pub currency: String,
    /// Major units, in the currency's own digits.
    pub amount: String,
    /// What became of it so far.
    pub status: S,
}

impl Sandbox {
    /// A sandbox that forgets everything when it ends.
    pub fn new(clock: Clock) -> Self {
        Self::of(clock, Desk::default())
    }

    /// A sandbox that remembers what it took even if it is killed: in a journal at `path`.
    ///
    /// Its books start empty all the same. What former lives took is set aside, and a life comes
    /// back as a whole once a caller asks about something in it.
    ///
    /// # Errors
    /// Any error of reading or writing the journal.
    pub fn with_journal(clock: Clock, path: Option<PathBuf>) -> io::Result<Self> {
        let desk = path.map(Desk::open).transpose()?.unwrap_or_default();
        Ok(Self::of(clock, desk))
    }

    fn of(clock: Clock, desk: Desk) -> Self {
        let desk = Arc::new(Mutex::new(desk));
        Self { clock, desk, faults: Arc::default(), authority: Arc::default() }
    }

    /// Every payment that took money so far.
    pub fn books(&self) -> Books {
        self.desk().life().books()
    }

    /// Arms a fault, behind those that are armed already.
    ///
    /// # Errors
    /// [`BadFault`] says what is wrong with it.
    pub fn arm(&self, fault: Fault) -> Result<(), BadFault> {
        self.faults().arm(fault)
    }

    /// Lets the bank take files from one folder and drop its answers into another.
    pub fn open_bank(&self, outbox: PathBuf, inbox: PathBuf) {
        self.desk().bank.open(outbox, inbox);
    }

    /// Whether everything at the bank settles on the day that it is taken, instead of on the next
    /// banking day.
    pub fn settle_at_once(&self, at_once: bool) {
        self.desk().bank.settles_at_once = at_once;
    }

    /// Lets the bank look into its folders now; while the sandbox serves, it does every second.
    ///
    /// # Errors
    /// Any error of reading or writing files.
    pub fn scan_bank(&self) -> io::Result<()> {
        bank::scan(&mut self.desk(), self)
    }

    /// Tells an endpoint from now on what happens at its provider.
    ///
    /// # Errors
    /// [`BadEndpoint`] says what is wrong with it.
    pub fn register(&self, endpoint: WebhookEndpoint) -> Result<(), BadEndpoint> {
        self.desk().webhooks.register(endpoint)
    }

    /// Whom the webhooks of PayPal's stand-in are signed by.
    fn authority(&self) -> &Authority {
        self.authority.get_or_init(Authority::new)
    }

    /// Removes the journal: for an orderly end, after which nobody has anything to ask.
    ///
    /// # Errors
    /// Any error of removing the file.
    pub fn forget(&self) -> io::Result<()> {
        self.desk().forget()
    }

    // A handler that panicked has answered nothing; what it left behind is still the truth.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
