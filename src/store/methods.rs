//! Payout methods after they are on file: what verifies them, and what a rail finds wrong.

use sqlx::FromRow;

use super::destinations::SealedDestination;
use super::dialect::{Value, sql};
use super::{FailedMethod, StoreError, Tx};
use crate::domain::{
    AffiliateId, Destination, DestinationId, MethodId, MethodKind, MethodStatus, OrgId, PayoutId,
};

// Only as it was when it was paid to: a destination that was changed since is another one.
const METHODS_BLAME: &str = "
    WITH blamed(payout_id, code, reason) AS MATERIALIZED ({rows})
    UPDATE payout_methods
    SET status = 'failed', status_code = blamed.code, status_reason = blamed.reason
    FROM blamed CROSS JOIN payouts p
    WHERE p.org_id = $1 AND p.payout_id = blamed.payout_id
      AND payout_methods.org_id = $1 AND payout_methods.method_id = p.method_id
      AND payout_methods.destination_id = p.destination_id AND payout_methods.status = 'verified'
    RETURNING payout_methods.method_id, payout_methods.affiliate_id, payout_methods.kind,
              payout_methods.status_code, payout_methods.status_reason";
const METHODS_OF_PAYOUTS: &str = "
    WITH wanted(payout_id) AS MATERIALIZED ({rows})
    SELECT p.payout_id, m.method_id, m.destination_id, d.kind, d.sealed, d.key_id
    FROM wanted CROSS JOIN payouts p
    JOIN payout_methods m ON m.org_id = p.org_id AND m.method_id = p.method_id
    LEFT JOIN destinations d ON d.org_id = m.org_id AND d.destination_id = m.destination_id
    WHERE p.org_id = $1 AND p.payout_id = wanted.payout_id
      AND m.destination_id = p.destination_id AND m.status = 'verified'";
const METHODS_CHANGE: &str = "
    WITH changed(method_id, destination_id, status, code, reason) AS MATERIALIZED ({rows})
    UPDATE payout_methods
    SET destination_id = changed.destination_id, status = changed.status, status_code = changed.code,
        status_reason = changed.reason
    FROM changed
    WHERE payout_methods.org_id = $1 AND payout_methods.method_id = changed.method_id";
const METHODS_FILED: &str = "
    SELECT m.method_id, m.status, m.is_default, m.kind AS rail, m.destination_id, d.kind, d.sealed, d.key_id
    FROM payout_methods m
    LEFT JOIN destinations d ON d.org_id = m.org_id AND d.destination_id = m.destination_id
    WHERE m.org_id = $1 AND m.affiliate_id = $2 ORDER BY m.method_id";

/// A method that an affiliate has on file.
#[derive(Debug, Clone)]
pub struct FiledMethod {
    pub method_id: MethodId,
    pub status: MethodStatus,
    pub is_default: bool,
    pub kind: MethodKind,
    /// Where it goes, if that can be read.
    pub destination: Option<Destination>,
}

#[derive(Debug, FromRow)]
struct FiledRow {
    method_id: MethodId,
    status: MethodStatus,
    is_default: i64,
    rail: MethodKind,
    #[sqlx(flatten)]
    destination: SealedDestination,
}

/// A destination that a payout showed to be at fault.
#[derive(Debug, Clone)]
pub struct Blame {
    pub payout_id: PayoutId,
    pub code: Option<String>,
    pub reason: Option<String>,
}

/// A method that a payout went to, while it still is what it was.
#[derive(Debug, Clone)]
pub struct PaidMethod {
    pub payout_id: PayoutId,
    pub method_id: MethodId,
    pub destination_id: DestinationId,
    /// What is there, if it can be read.
    pub destination: Option<Destination>,
}

/// What becomes of a method.
#[derive(Debug, Clone)]
pub struct MethodChange {
    pub method_id: MethodId,
    /// Where it pays to from now on; the one that it has, or a new one.
    pub destination_id: DestinationId,
    pub status: MethodStatus,
    pub code: Option<String>,
    pub reason: Option<String>,
}

#[derive(Debug, FromRow)]
struct PaidMethodRow {
    payout_id: PayoutId,
    method_id: MethodId,
    #[sqlx(flatten)]
    destination: SealedDestination,
}

impl Tx {
    /// Every method that an affiliate has on file, oldest first.
    pub async fn methods_filed(
        &mut self,
        org: &OrgId,
        affiliate: &AffiliateId,
    ) -> Result<Vec<FiledMethod>, StoreError> {
        let rows: Vec<FiledRow> = sql(METHODS_FILED).bind(org).bind(affiliate).all(self).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.vault_of(org).await?;
        let read = |row: FiledRow| {
            let destination = row.destination.read(&keys)?;
            let FiledRow { method_id, status, is_default, rail: kind, .. } = row;
            Ok(FiledMethod { method_id, status, is_default: is_default == 1, kind, destination })
        };
        rows.into_iter().map(read).collect()
    }

    /// Un-verifies the methods that payouts showed to be at fault, as far as they are still what
    /// was paid to: those.
    pub async fn methods_blame(
        &mut self,
        org: &OrgId,
        blames: &[Blame],
    ) -> Result<Vec<FailedMethod>, StoreError> {
        let row = |blame: &Blame| {
            vec![(&blame.payout_id).into(), blame.code.clone().into(), blame.reason.clone().into()]
        };
        let rows: Vec<Vec<Value>> = blames.iter().map(row).collect();
        sql(METHODS_BLAME).bind(org).all_with(self, &rows).await
    }

    /// The verified methods that payouts went to, where they are still what they were.
    pub async fn methods_of_payouts(
        &mut self,
        org: &OrgId,
        payouts: &[&PayoutId],
    ) -> Result<Vec<PaidMethod>, StoreError> {
        let rows: Vec<_> = payouts.iter().map(|id| vec![Value::from(*id)]).collect();
        let query = sql(METHODS_OF_PAYOUTS).bind(org);
        let rows: Vec<PaidMethodRow> = query.all_with(self, &rows).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let keys = self.vault_of(org).await?;
        let read = |row: PaidMethodRow| {
            let opened = row.destination.read(&keys)?;
            let PaidMethodRow { payout_id, method_id, destination } = row;
            let (destination_id, destination) = (destination.destination_id, opened);
            Ok(PaidMethod { payout_id, method_id, destination_id, destination })
        };
        rows.into_iter().map(read).collect()
    }

    /// Writes what became of methods.
    pub async fn methods_change(
        &mut self,
        org: &OrgId,
        changes: &[MethodChange],
    ) -> Result<u64, StoreError> {
        let row = |change: &MethodChange| {
            vec![
                (&change.method_id).into(),
                (&change.destination_id).into(),
                (&change.status).into(),
                change.code.clone().into(),
                change.reason.clone().into(),
            ]
        };
        let rows: Vec<Vec<Value>> = changes.iter().map(row).collect();
        sql(METHODS_CHANGE).bind(org).run_with(self, &rows).await
    }
}
