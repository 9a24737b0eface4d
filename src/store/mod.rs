//! The store: the only room that knows SQL. One file per aggregate; each query one text for both
//! databases; what differs between them is in `dialect/`.

mod adjustments;
mod alerts;
mod answers;
mod api_keys;
mod attempts;
mod audit_log;
mod breaks;
mod candidates;
mod circuits;
mod columns;
mod commissions;
mod decisions;
mod deliveries;
mod destinations;
mod dialect;
mod endpoints;
mod enrolment;
mod events;
mod halts;
mod invariants;
mod keys;
mod letters;
mod limits;
mod methods;
mod partners;
mod pauses;
mod payment_methods;
mod payouts;
mod plans;
mod programs;
mod provider_events;
mod reads;
mod replicas;
mod reversals;
mod runs;
mod sealed;
mod seen;
mod submissions;
mod transfers;
mod unsealed;
mod usage;
mod verifications;
mod wallets;

use chrono::{DateTime, Utc};
use thiserror::Error;

pub use adjustments::{AdjustmentRow, NewAdjustment};
pub use alerts::{AlertRow, NewAlert};
pub use answers::{KeptAnswer, OnceKey};
pub use api_keys::{ApiKeyRow, NewApiKey};
pub use attempts::{AttemptedRow, LostRun, Reopening};
pub use audit_log::{AuditFilter, AuditRow, NewAudit};
pub use breaks::{BreakRow, NewBreak, SettledRow, StatedSubmission, StatedTransfer};
pub use candidates::{ProgramZones, Queue, QueuedPayout, ZonePeriod};
pub use circuits::CircuitRow;
pub use commissions::{Accrual, Allocation, CommissionRow, Released};
pub use decisions::{DecisionCount, DecisionRow, NewDecision};
pub use deliveries::{Attempted, DeliveryFilter, DeliveryRow, DueDelivery, KeptEvent, Replayed};
pub use destinations::NewDestination;
use dialect::Pools;
pub use dialect::Tx;
pub use endpoints::EndpointRow;
pub use enrolment::{AffiliateRow, EnrolmentRow, ProgramRow};
pub use events::{NewEvent, ToldPayout};
pub use halts::HaltRow;
pub use invariants::{Breach, INVARIANTS, Invariant};
pub use keys::OrgKey;
pub use letters::{HeardNotice, NamedTransfer, NewLetter, NewNotice};
pub use methods::{Blame, FiledMethod, MethodChange, PaidMethod};
pub use partners::{BalanceRow, EarningKey, EarningRow, PartnerEnrolment, ReferralCount, TermsRow};
pub use pauses::PauseRow;
pub use payment_methods::{
    HeldMethod, MethodOwner, MethodsHeld, MethodsOf, NewPaymentMethod, PaymentMethod, Proving,
};
pub use payouts::{MovedPayout, NewPayout, PayoutMove};
pub use plans::{NewPlan, PlanRow};
pub use programs::{AffiliateFilter, AffiliateStand, CurrencyTerms, ProgramStand};
pub use provider_events::NewProviderEvent;
pub use reads::{
    AttemptRow, CommissionSum, EventRow, LineRow, PayoutFilter, PayoutQuery, PayoutRow, PayoutSum,
    WalletSum,
};
pub use replicas::{DefinitionRow, ReplicaRow};
pub use reversals::{CommissionStanding, NewReversal, ReversalRow};
pub use runs::{NewRun, RunEnd, RunLease, RunRow};
pub use sealed::{SEALED, SealedAnew, SealedColumn, Tried};
pub use seen::{JobStanding, Observer, OpenPayouts, Passed};
pub use submissions::{CheckRecord, InReview, NewSubmission, SendRecord, SubmissionRow};
pub use transfers::{MovedTransfer, NewTransfer, Transfer, TransferNews};
pub use usage::{AskedByRun, PaidByRun, UsageDay, UsageRow};
pub use verifications::{FailedMethod, NewVerification, Starts, VerificationRow};
pub use wallets::{WalletEntryRow, WalletFilter, WalletMove, WalletRow};

use crate::vault::{Vault, VaultError};

/// The database: pools of connections, shared by clones, and the vault that seals for it.
#[derive(Debug, Clone)]
pub struct Store {
    pools: Pools,
    vault: Vault,
    observer: Observer,
}

/// What can go wrong at the database. Display says what was tried; the source says why.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("the database cannot be opened: check that it is there, and its credentials")]
    Unreachable { source: sqlx::Error },
    #[error("it is no database URL: expected sqlite:///path or postgres://user@host/name")]
    UnknownUrl,
    #[error("the database's tables could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("the database refused a statement")]
    Database(#[from] sqlx::Error),
    #[error("the wallet of {affiliate_id} in {currency} changed while it was written")]
    WalletChanged { affiliate_id: String, currency: String },
    #[error(
        "what is open in the wallet behind payout {payout_id} does not sum up to its amount: run check"
    )]
    LinesUnequal { payout_id: String },
    #[error("the database took longer than {seconds} s over {what}")]
    TooSlow { what: &'static str, seconds: u64 },
    #[error("{what} {id} is gone from the database")]
    Gone { what: &'static str, id: String },
    #[error("the JSON stored with {id} cannot be read")]
    Corrupt { id: String, source: serde_json::Error },
    #[error("the destination stored with {id} cannot be read")]
    CorruptDestination { id: String, source: crate::domain::DestinationError },
    #[error("the vault refused")]
    Vault(#[from] VaultError),
    #[error("{what} changed while it was written: {wanted} rows were to change, {changed} did")]
    Changed { what: &'static str, wanted: u64, changed: u64 },
}

impl StoreError {
    /// Whether another try of the whole transaction may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(error) => dialect::is_transient(error),
            Self::WalletChanged { .. } => true,
            _ => false,
        }
    }

    /// Whether the database cannot be reached, or has no connection free, now.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Database(error) => dialect::is_out_of_reach(error),
            _ => false,
        }
    }

    /// Whether a unique key was already taken.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database(error) if dialect::is_duplicate(error))
    }
}

impl Store {
    /// Opens the database at `url`: `sqlite://path` (created if missing) or `postgres://…`.
    ///
    /// # Errors
    /// [`StoreError::UnknownUrl`] or [`StoreError::Unreachable`].
    pub async fn open(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let pools = Pools::open(url, max_connections, true).await?;
        Ok(Self { pools, vault: Vault::locked(), observer: Observer::default() })
    }

    /// Opens the database at `url` as [`Store::open`] does, but makes nothing that is not there.
    ///
    /// # Errors
    /// As [`Store::open`], also for a file that does not exist.
    pub async fn open_existing(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let pools = Pools::open(url, max_connections, false).await?;
        Ok(Self { pools, vault: Vault::locked(), observer: Observer::default() })
    }

    /// The same store with a vault: what is sealed opens, and new things can be sealed.
    pub fn with_vault(self, vault: Vault) -> Self {
        Self { vault, ..self }
    }

    /// The same store, whose observer hears of every payout that came to a status, once that is
    /// durable.
    pub fn with_observer(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    /// Whether the tables are what this program expects.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn is_up_to_date(&self) -> Result<bool, StoreError> {
        Ok(self.pools.applied().await? == Some(self.pools.migrations().1))
    }

    /// Which database it is: `sqlite` or `postgres`.
    pub fn database(&self) -> &'static str {
        self.pools.name()
    }

    /// The file of an embedded database, by its URL.
    pub fn file_of(url: &str) -> Option<std::path::PathBuf> {
        dialect::file_of(url)
    }

    /// Brings the tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Migrate`], also when the database is newer than this program.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.pools.migrate().await.map_err(StoreError::Migrate)
    }

    /// How many migrations this program carries, and the latest one's version.
    pub fn migrations(&self) -> (usize, i64) {
        self.pools.migrations()
    }

    /// Begins a transaction that may write.
    ///
    /// # Errors
    /// [`StoreError::Database`] if no connection comes free or the database is gone.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let mut tx = self.pools.begin(self.vault.clone()).await?;
        tx.observer = self.observer.clone();
        Ok(tx)
    }

    /// The database's own clock, for leases.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn database_now(&self) -> Result<DateTime<Utc>, StoreError> {
        self.pools.now().await
    }

    /// Every column as (table, column, may be null); the twin test compares the two databases.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn columns(&self) -> Result<Vec<(String, String, bool)>, StoreError> {
        self.pools.columns().await
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pools.close().await;
    }
}
