//! How domain types stand in columns: as text, parsed on the way out. A row that does not parse
//! is corruption and an error that names the column, never a default.

use std::str::FromStr;

use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Type};

use crate::domain::{
    AdjustmentId, AffiliateId, AffiliateStatus, AlertId, ApiKeyId, AuditId, BreakId, BreakKind,
    Bucket, CommissionId, CommissionStatus, Currency, DeliveryStatus, DestinationId, EndpointId,
    EntryKind, EventId, EventKind, Gate, HaltScope, KeyId, MethodId, MethodKind, MethodStatus,
    NoticeId, NoticeWord, OrgId, PartnerId, PayoutId, PayoutOrigin, PayoutStatus, PlanId,
    ProgramId, ProgramStatus, Reference, RefundId, RunId, SubmissionId, SubmissionState,
    TransferId, TransferState, VerificationId, VerificationKind, VerificationStatus, WalletStatus,
};

use super::dialect::Value;

macro_rules! text_columns {
    ($($name:ident by $text:ident),+ $(,)?) => {$(
        impl<DB: Database> Type<DB> for $name where String: Type<DB> {
            fn type_info() -> DB::TypeInfo { <String as Type<DB>>::type_info() }
            fn compatible(ty: &DB::TypeInfo) -> bool { <String as Type<DB>>::compatible(ty) }
        }
        impl<'r, DB: Database> Decode<'r, DB> for $name where &'r str: Decode<'r, DB> {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
                Ok(Self::from_str(<&str as Decode<DB>>::decode(value)?)?)
            }
        }
        impl From<&$name> for Value {
            fn from(value: &$name) -> Self { Value::from(value.$text()) }
        }
        impl From<Option<&$name>> for Value {
            fn from(value: Option<&$name>) -> Self { Value::from(value.map(|v| v.$text())) }
        }
    )+};
}

text_columns! {
    OrgId by as_str, ProgramId by as_str, AffiliateId by as_str, CommissionId by as_str,
    PartnerId by as_str, PayoutId by as_str, TransferId by as_str, SubmissionId by as_str, MethodId by as_str, RefundId by as_str, AdjustmentId by as_str, RunId by as_str, AlertId by as_str, AuditId by as_str, BreakId by as_str, NoticeId by as_str, EndpointId by as_str, EventId by as_str, ApiKeyId by as_str, Reference by as_str, Currency by code, DestinationId by as_str, KeyId by as_str, VerificationId by as_str, PlanId by as_str,
}

macro_rules! word_columns {
    ($($name:ident),+ $(,)?) => {
        text_columns! { $($name by word),+ }
        $(impl Word for $name { fn word(&self) -> &'static str { self.as_str() } })+
    };
}

/// The stable word of an enum, by reference.
trait Word {
    fn word(&self) -> &'static str;
}

word_columns! {
    AffiliateStatus, BreakKind, Bucket, CommissionStatus, DeliveryStatus, EntryKind, EventKind,
    Gate, HaltScope, MethodKind, MethodStatus, NoticeWord, PayoutOrigin, PayoutStatus, ProgramStatus,
    SubmissionState, TransferState, VerificationKind, VerificationStatus, WalletStatus,
}
