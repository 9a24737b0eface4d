//! The engine: the only room that moves money. Every change of a wallet, whether a person or a
//! schedule asked for it, goes through a function of this room, and through [`ledger`] below it.
//!
//! Transactions are bounded, and nothing external is called inside one.

mod accrue;
mod adjust;
mod alert;
mod approve;
mod asking;
mod audit;
mod breaker;
mod breaks;
mod cancel;
mod deciding;
mod deposits;
mod enrol;
mod explain;
mod foresee;
mod freeze;
mod funding;
mod halt;
mod ledger;
mod limits;
mod mail;
mod methods;
mod outcome;
mod plan;
mod plan_sums;
mod preview;
mod program_limits;
mod programs;
mod proving;
mod prune;
mod reconcile;
mod release;
mod request;
mod reverse;
mod review;
mod sending;
mod sorted;
mod standing;
mod statement;
mod submission;
mod submit;
mod tally;
mod telling;
mod unreadable;
mod vault;
mod wanted;
mod webhook;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::{
    Actor, AffiliateId, AlertId, AuditId, BreakId, Caller, CommissionId, GateCheck, MethodKind,
    Money, MoneyError, OrgId, PayoutId, PayoutStatus, ProgramId, WalletError, WalletKey,
};
use crate::providers::{Problem, Provider};
use crate::store::{NewAudit, RunLease, Store, StoreError, Tx};

pub use accrue::Verdict;
pub use adjust::Adjustment;
pub use audit::{AuditLine, INVARIANTS};
pub use breaks::{Against, Compared};
pub use deciding::Rules;
pub use explain::{Explanation, WalletExplanation};
pub use methods::{BroughtMethod, MethodEdit, MethodError};
pub use plan::{PlanAsk, PlanDifferences, PlanError, short_hash};
pub use plan_sums::{OrgPlan, PlanFunding, PlanLimit, PlanSummary, summary_of};
pub use preview::Preview;
pub use programs::{AffiliateChange, ProgramChange};
pub use proving::{ConsentSaid, Consented, Started};
pub use prune::Keep;
pub use reconcile::Reach;
pub use request::{AutoRequest, PersonRequest};
pub use reverse::{Reversal, Reversed};
pub use review::Finding;
pub use submit::Planned;
pub use tally::{Counts, OrgTally, Progress, Skips, Tally};
pub use telling::{ToldRun, tell_run};
pub use vault::Rotated;
pub use wanted::{Answered, PaidBy, Wanted};
pub use webhook::{Received, WebhookDoor};

/// Tries of a transaction that lost a race, before the error is passed on.
const MOST_TRIES: u32 = 6;

/// Timing and width of the engine's work.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// How long a send, or a run, is trusted without a sign of life.
    pub lease: TimeDelta,
    /// How often a sign of life is given.
    pub heartbeat: TimeDelta,
    /// Provider calls under way at once, per job.
    pub calls_in_flight: usize,
    /// Who asked for a payout may not approve it.
    pub four_eyes: bool,
    /// What payout methods are held to.
    pub methods: MethodRules,
}

/// How payout methods are proven, and when they may be paid.
#[derive(Debug, Clone)]
pub struct MethodRules {
    /// How long a changed destination is left alone after it was verified.
    pub cooling: TimeDelta,
    /// How often the verification of one method may be started in 24 hours.
    pub starts_per_day: i64,
    /// Where a browser is sent on to after a consent; empty for nowhere.
    pub landing_url: String,
}

impl Default for MethodRules {
    fn default() -> Self {
        let landing_url = String::new();
        Self { cooling: TimeDelta::hours(48), starts_per_day: 3, landing_url }
    }
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            lease: TimeDelta::seconds(20),
            heartbeat: TimeDelta::seconds(5),
            calls_in_flight: 4,
            four_eyes: true,
            methods: MethodRules::default(),
        }
    }
}

/// The shared payout engine. Cloning shares it.
#[derive(Clone)]
pub struct Engine {
    pub store: Store,
    pub clock: Clock,
    providers: Arc<HashMap<MethodKind, Arc<dyn Provider>>>,
    pub settings: EngineSettings,
}

/// On whose behalf the engine works, and until when.
#[derive(Debug, Clone)]
pub struct Work {
    pub actor: Actor,
    /// The run whose lease every transaction re-checks; `None` for a person's single act.
    pub run: Option<RunLease>,
    /// The HTTP request that asked for it, for the audit log.
    pub request_id: Option<String>,
    /// Asked between batches; once cancelled, what is in hand is finished and no more begun.
    pub stop: CancellationToken,
    /// How far it is.
    pub progress: Progress,
}

impl Work {
    /// A person's single act at the command line.
    pub fn by_person(actor: Actor) -> Self {
        let (stop, progress) = (CancellationToken::new(), Progress::default());
        Self { actor, run: None, request_id: None, stop, progress }
    }

    /// A run's work, fenced by its lease.
    pub fn by_run(actor: Actor, lease: RunLease, stop: CancellationToken) -> Self {
        let progress = Progress::default();
        Self { actor, run: Some(lease), request_id: None, stop, progress }
    }

    /// A caller's single act over HTTP.
    pub fn by_caller(caller: &Caller, request_id: &str) -> Self {
        Self { request_id: Some(request_id.to_owned()), ..Self::by_person(caller.actor()) }
    }
}

/// What the engine refuses or cannot do. Display names the ids and what to do.
#[derive(Debug, Error)]
pub enum EngineError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("a wallet refused a movement")]
    Wallet(#[from] WalletError),
    #[error("a sum cannot be made")]
    Money(#[from] MoneyError),
    #[error("run {run_id} lost its lease to another worker: its work goes on there")]
    LeaseLost { run_id: String },
    #[error("wallet {affiliate_id} in {currency} does not exist: import a commission of it first")]
    NoWallet { affiliate_id: String, currency: String },
    #[error("alert {alert_id} is not open in this org: run `payoutd alert list`")]
    NoAlert { alert_id: AlertId },
    #[error("break {break_id} is not open in this org: run `payoutd reconcile breaks`")]
    NoBreak { break_id: BreakId },
    #[error("program {program_id} does not exist in this org, or has no {currency}")]
    NoProgram { program_id: String, currency: String },
    #[error("program {program_id} does not exist in this org")]
    UnknownProgram { program_id: ProgramId },
    #[error("affiliate {affiliate_id} does not exist in this org")]
    NoAffiliate { affiliate_id: AffiliateId },
    #[error("affiliate {affiliate_id} is in program {program_id}, and not in the one named")]
    WrongProgram { affiliate_id: AffiliateId, program_id: ProgramId },
    #[error("the Idempotency-Key {key} was used for another request: take a new key")]
    KeyReused { key: String },
    #[error("commission {commission_id} does not exist in this org")]
    NoCommission { commission_id: CommissionId },
    #[error(
        "of commission {commission_id} {left} {} is left to reverse, and no more", left.currency
    )]
    NothingLeft { commission_id: CommissionId, left: Money },
    #[error("{what} {id} is known with another {differs}: a new one needs a new id")]
    OtherContent { what: &'static str, id: String, differs: &'static str },
    #[error("{amount} {} cannot be: expected {wants}", amount.currency)]
    BadAmount { amount: Money, wants: String },
    #[error(
        "payout {payout_id} was requested by {person}, by a key of theirs, or pays them: somebody \
         else has to approve it"
    )]
    FourEyes { payout_id: PayoutId, person: String },
    #[error("payout {payout_id} does not exist in this org")]
    NoPayout { payout_id: PayoutId },
    #[error("payout {payout_id} is {status}, so it cannot be {verb}{hint}")]
    WrongStatus {
        payout_id: PayoutId,
        status: PayoutStatus,
        verb: &'static str,
        hint: &'static str,
    },
    #[error("payout {payout_id} was retried already, as {retried_as}: look at that one")]
    AlreadyRetried { payout_id: PayoutId, retried_as: PayoutId },
    #[error(
        "payout {payout_id} is not in review: a person decides only about one whose end nobody could \
         clear up"
    )]
    NotInReview { payout_id: PayoutId },
    #[error(
        "the provider is being asked about payout {payout_id} at this moment: try again once that is \
         over, at the latest at {until}"
    )]
    BeingAsked { payout_id: PayoutId, until: DateTime<Utc> },
    #[error("payout {payout_id} may still leave: {problem}")]
    MayStillLeave { payout_id: PayoutId, problem: Problem },
    #[error("affiliate {affiliate_id} has no payout method that could be verified")]
    NoMethod { affiliate_id: String },
    #[error("the {kind} method of affiliate {affiliate_id} keeps its status: {problem}")]
    NotVetted { affiliate_id: String, kind: MethodKind, problem: Problem },
    #[error(transparent)]
    Method(#[from] MethodError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(
        "job {job_id} would ask for unusually much, so nothing was asked for: {findings}. Look at what \
         it would do (`payoutd job run {job_id} --dry-run`), and run that plan by its hash (`payoutd \
         job run {job_id} --plan HASH`) if it is right"
    )]
    Anomaly { job_id: String, findings: String },
    #[error("{what} is not halted: see `payoutd halt list`")]
    NotHalted { what: String },
    #[error("the request is refused: {}", describe(failing))]
    Refused { failing: Vec<GateCheck> },
}

fn describe(failing: &[GateCheck]) -> String {
    let one = |check: &GateCheck| {
        format!("{} (wants {}, found {})", check.gate, check.wants, check.found)
    };
    failing.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl EngineError {
    /// A stable code, for logs and for the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => "store_failed",
            Self::Wallet(_) => "wallet_refused",
            Self::Money(_) => "amount_overflow",
            Self::LeaseLost { .. } => "lease_lost",
            Self::NoWallet { .. } => "no_wallet",
            Self::NoAlert { .. } => "no_alert",
            Self::NoBreak { .. } => "no_break",
            Self::NoProgram { .. } | Self::UnknownProgram { .. } => "no_program",
            Self::NoAffiliate { .. } => "no_affiliate",
            Self::WrongProgram { .. } => "wrong_program",
            Self::KeyReused { .. } => "key_reused",
            Self::NoCommission { .. } => "no_commission",
            Self::NothingLeft { .. } => "nothing_left",
            Self::OtherContent { .. } => "other_content",
            Self::BadAmount { .. } => "bad_amount",
            Self::FourEyes { .. } => "four_eyes",
            Self::NoPayout { .. } => "no_payout",
            Self::WrongStatus { .. } => "wrong_status",
            Self::AlreadyRetried { .. } => "already_retried",
            Self::NotInReview { .. } => "not_in_review",
            Self::BeingAsked { .. } => "being_asked",
            Self::MayStillLeave { .. } => "may_still_leave",
            Self::NoMethod { .. } => "no_method",
            Self::NotVetted { .. } => "not_vetted",
            Self::Method(error) => error.code(),
            Self::Plan(error) => error.code(),
            Self::NotHalted { .. } => "not_halted",
            Self::Anomaly { .. } => "anomaly",
            Self::Refused { .. } => "refused",
        }
    }

    /// Whether it is a refusal of what was asked, rather than a failure.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NoWallet { .. }
                | Self::NoAlert { .. }
                | Self::NoBreak { .. }
                | Self::NoProgram { .. }
                | Self::UnknownProgram { .. }
                | Self::NoAffiliate { .. }
                | Self::WrongProgram { .. }
                | Self::KeyReused { .. }
                | Self::NoCommission { .. }
                | Self::NothingLeft { .. }
                | Self::OtherContent { .. }
                | Self::BadAmount { .. }
                | Self::FourEyes { .. }
                | Self::NoPayout { .. }
                | Self::WrongStatus { .. }
                | Self::AlreadyRetried { .. }
                | Self::NotInReview { .. }
                | Self::BeingAsked { .. }
                | Self::MayStillLeave { .. }
                | Self::NoMethod { .. }
                | Self::Method(_)
                | Self::Plan(_)
                | Self::NotHalted { .. }
                | Self::Refused { .. }
        )
    }

    /// Whether another try cannot end otherwise: a person has to look first.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Anomaly { .. })
    }

    /// There is no such wallet.
    pub fn no_wallet(wallet: &WalletKey) -> Self {
        Self::NoWallet {
            affiliate_id: wallet.affiliate_id.to_string(),
            currency: wallet.currency.to_string(),
        }
    }

    fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient() || error.is_duplicate())
    }
}

impl Engine {
    /// An engine over a store and the rails that are configured.
    pub fn new(
        store: Store,
        clock: Clock,
        providers: Vec<Arc<dyn Provider>>,
        settings: EngineSettings,
    ) -> Self {
        let providers = providers.into_iter().map(|provider| (provider.kind(), provider)).collect();
        Self { store, clock, providers: Arc::new(providers), settings }
    }

    /// The rails that are configured.
    pub fn rails(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.providers.values()
    }

    /// Has this process's clock agree with the database's: one installation has one time. An embedded
    /// database has no clock of its own.
    ///
    /// # Errors
    /// [`StoreError`]; the clock goes on as it was.
    pub async fn keep_time(&self) -> Result<DateTime<Utc>, StoreError> {
        let before = self.clock.now();
        let there = self.store.database_now().await?;
        if self.store.database() == "postgres" {
            self.clock.agree(there, (before, self.clock.now()));
        }
        Ok(there)
    }

    /// Keeps an act of `work`'s actor in the audit log, within the transaction of the act.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn keep_act(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        work: &Work,
        (action, subject): (&'static str, &str),
        detail: serde_json::Value,
    ) -> Result<(), EngineError> {
        let audit_id = self.clock.mint::<AuditId>();
        let (actor, request_id) = (work.actor.clone(), work.request_id.clone());
        let subject = subject.to_owned();
        let audit = NewAudit { audit_id, actor, action, subject, detail, request_id };
        Ok(tx.audit_insert(org, &audit, self.clock.now()).await?)
    }

    fn provider(&self, kind: MethodKind) -> Option<&Arc<dyn Provider>> {
        self.providers.get(&kind)
    }

    /// Begins a transaction on behalf of `work`; a run that lost its lease gets none.
    async fn begin(&self, work: &Work) -> Result<Tx, EngineError> {
        let mut tx = self.store.begin().await?;
        if let Some(lease) = &work.run
            && !tx.run_fence(lease).await?
        {
            return Err(EngineError::LeaseLost { run_id: lease.run_id.to_string() });
        }
        Ok(tx)
    }

    /// Runs a transaction again, from its start, when it lost a race; what it writes carries
    /// unique keys, so a try that did commit cannot be repeated.
    async fn retrying<T, F>(&self, transaction: impl Fn() -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let mut tries = 1;
        loop {
            match transaction().await {
                Err(error) if error.is_transient() && tries < MOST_TRIES => {
                    let wait = self.clock.jittered(TimeDelta::milliseconds(10 << tries));
                    tokio::time::sleep(wait.to_std().unwrap_or_default()).await;
                    tries += 1;
                }
                done => return done,
            }
        }
    }
}
