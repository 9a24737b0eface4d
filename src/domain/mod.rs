//! What the words mean: money, wallets, commissions, payouts, transfers, methods, gates.
//!
//! Pure: no I/O, no async, no clock. Time and randomness are arguments. Nothing here imports
//! another room, so every rule about money can be read and tested on its own.

mod api_key;
pub mod banking;
mod breaks;
mod caller;
mod commission;
mod event;
mod gate;
mod halt;
mod ids;
mod limits;
mod method;
mod money;
mod notice;
mod payout;
mod period;
mod plan;
mod program;
mod scope;
mod transfer;
mod verification;
mod wallet;
mod words;

pub use api_key::ApiKey;
pub use breaks::BreakKind;
pub use caller::{Access, Caller, Permission, Role};
pub use commission::{CommissionStatus, LARGEST_COMMISSION_MINOR, NewCommission};
pub use event::{DeliveryStatus, EventKind, Wants, WantsError};
pub use gate::{Candidate, CandidateMethod, Gate, GateCheck, Intent, check_gates, failing_at_send};
pub use halt::{Halt, HaltScope};
pub use ids::{
    Actor, AdjustmentId, AffiliateId, AlertId, ApiKeyId, AuditId, BatchId, BreakId, CommissionId,
    DestinationId, EndpointId, EventId, IdError, KeyId, MethodId, Minted, NoticeId, OrgId,
    PartnerId, PayoutId, PlanId, ProgramId, Reference, RefundId, RequestId, RunId, SubmissionId,
    TransferId, VerificationId,
};
pub use limits::{
    Allowance, ApprovalReason, ApprovalRules, Bounds, Breaker, Caps, Holder, Limits, ProgramLimits,
    Used,
};
pub use method::{Destination, DestinationError, MethodKind, MethodStatus};
pub use money::{Currency, Money, MoneyError, MoneyTotals};
pub use notice::{Direction, Notice, NoticeWord, Statement, StatementLine};
pub use payout::{PayoutOrigin, PayoutStatus};
pub use period::{NoZone, Period, PeriodLength, Periods, start_of, zone_named};
pub use plan::{LineDifference, PlanLine, Planned};
pub use program::{AffiliateStatus, NewAffiliate, NewMethod, NewProgram, ProgramStatus};
pub use scope::Scope;
pub use transfer::{SubmissionState, TransferState};
pub use verification::{
    CONSENT_LIVES, Challenge, DEPOSITS_LIVE, Judgement, MicroDeposits, Nonce, TRIES,
    VerificationKind, VerificationStatus, house_program, house_wallet,
};
pub use wallet::{
    Balances, Bucket, Entry, EntryKind, Movement, WalletError, WalletKey, WalletStatus,
};
pub use words::UnknownWord;
