//! Accrue: commissions come in, and what they earn is held until their hold window has passed.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Engine, EngineError, Work, ledger};
use crate::domain::{
    AffiliateId, BatchId, Bucket, CommissionId, CommissionStatus, Currency, EntryKind,
    LARGEST_COMMISSION_MINOR, Money, MoneyError, MoneyTotals, Movement, NewCommission, OrgId,
    ProgramId, WalletKey,
};
use crate::store::{Accrual, CommissionRow, EnrolmentRow, Tx};

/// What became of one row that was brought in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It went in.
    New,
    /// It was there already, with the same content: nothing changed.
    Unchanged,
    /// It did not go in.
    Refused { column: &'static str, reason: String },
    /// It did not go in: its id exists with other content.
    Differs { column: &'static str, reason: String },
}

impl Verdict {
    pub(super) fn refused(column: &'static str, reason: String) -> Self {
        Self::Refused { column, reason }
    }

    /// The verdict on a row whose id exists, by (column, whether it is equal).
    pub(super) fn compare(columns: &[(&'static str, bool)]) -> Self {
        match columns.iter().find(|(_, equal)| !equal) {
            None => Self::Unchanged,
            Some((column, _)) => {
                let reason = format!("this id exists with another {column}");
                Self::Differs { column, reason }
            }
        }
    }
}

impl Engine {
    /// Takes commissions in, in one transaction; one verdict each, in order. What earns nothing
    /// (0.00) is stored and moves nothing; without a hold window it is credited at once.
    ///
    /// # Errors
    /// [`EngineError`]; then none of them went in.
    pub async fn accrue(
        &self,
        work: &Work,
        org: &OrgId,
        commissions: &[NewCommission],
    ) -> Result<Vec<Verdict>, EngineError> {
        self.retrying(|| async {
            let now = self.clock.now();
            let batch: BatchId = self.clock.mint();
            let mut tx = self.begin(work).await?;
            let enrolments = enrolments(&mut tx, org, commissions).await?;
            let ids: Vec<_> = commissions.iter().map(|c| &c.commission_id).collect();
            let mut known: HashMap<CommissionId, CommissionRow> = tx
                .commissions_wanted(org, &ids)
                .await?
                .into_iter()
                .map(|row| (row.commission_id.clone(), row))
                .collect();
            let mut verdicts = Vec::with_capacity(commissions.len());
            let mut accruals = Vec::new();
            for commission in commissions {
                let verdict = judge(commission, &enrolments, &known);
                if verdict == Verdict::New {
                    known.insert(commission.commission_id.clone(), commission_row(commission));
                    let key = (commission.affiliate_id.clone(), commission.amount.currency);
                    accruals.push(accrual(commission, &enrolments[&key], now));
                }
                verdicts.push(verdict);
            }
            tx.commissions_insert(org, &batch, &accruals).await?;
            post_accruals(&mut tx, org, &batch, &accruals, work, now).await?;
            self.keep_accrual(&mut tx, org, work, (&batch, &accruals)).await?;
            tx.commit().await?;
            Ok(verdicts)
        })
        .await
    }

    /// One act for the batch; a commission that comes alone is found by its own id.
    async fn keep_accrual(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        work: &Work,
        (batch, accruals): (&BatchId, &[Accrual<'_>]),
    ) -> Result<(), EngineError> {
        let Some(first) = accruals.first() else { return Ok(()) };
        let mut amounts = MoneyTotals::default();
        for accrual in accruals {
            amounts.add(accrual.commission.amount)?;
        }
        let subject = match accruals {
            [_] => first.commission.commission_id.as_str(),
            _ => batch.as_str(),
        };
        let detail = json!({
            "batch": batch, "commissions": accruals.len(), "amounts": amounts.to_string(),
        });
        self.keep_act(tx, org, work, ("commission.accrued", subject), detail).await
    }
}

type Enrolments = HashMap<(AffiliateId, Currency), EnrolmentRow>;

async fn enrolments(
    tx: &mut Tx,
    org: &OrgId,
    commissions: &[NewCommission],
) -> Result<Enrolments, EngineError> {
    let mut pairs: Vec<_> =
        commissions.iter().map(|c| (&c.affiliate_id, c.amount.currency)).collect();
    pairs.sort();
    pairs.dedup();
    let rows = tx.enrolments(org, &pairs).await?;
    Ok(rows.into_iter().map(|row| ((row.affiliate_id.clone(), row.currency), row)).collect())
}

fn judge(
    commission: &NewCommission,
    enrolments: &Enrolments,
    known: &HashMap<CommissionId, CommissionRow>,
) -> Verdict {
    let currency = commission.amount.currency;
    if commission.amount.minor > LARGEST_COMMISSION_MINOR {
        let largest = Money::new(LARGEST_COMMISSION_MINOR, currency);
        let reason = format!("{} is more than a commission can be ({largest})", commission.amount);
        return Verdict::refused("amount", reason);
    }
    let Some(enrolment) = enrolments.get(&(commission.affiliate_id.clone(), currency)) else {
        let reason = format!("affiliate {} does not exist", commission.affiliate_id);
        return Verdict::refused("affiliate_id", reason);
    };
    if enrolment.currency_enabled == 0 {
        let reason = format!("{currency} is not a currency of program {}", enrolment.program_id);
        return Verdict::refused("currency", reason);
    }
    let Some(known) = known.get(&commission.commission_id) else { return Verdict::New };
    let new = commission_row(commission);
    Verdict::compare(&[
        ("affiliate_id", known.affiliate_id == new.affiliate_id),
        ("order_id", known.order_id == new.order_id),
        ("order_amount", known.order_amount_minor == new.order_amount_minor),
        ("amount", known.amount_minor == new.amount_minor),
        ("currency", known.currency == new.currency),
        ("converted_at", known.converted_at == new.converted_at),
    ])
}

fn commission_row(commission: &NewCommission) -> CommissionRow {
    CommissionRow {
        commission_id: commission.commission_id.clone(),
        affiliate_id: commission.affiliate_id.clone(),
        currency: commission.amount.currency,
        order_id: commission.order_id.clone(),
        order_amount_minor: commission.order_amount.minor,
        amount_minor: commission.amount.minor,
        converted_at: commission.converted_at,
    }
}

fn accrual<'a>(
    commission: &'a NewCommission,
    enrolment: &'a EnrolmentRow,
    now: DateTime<Utc>,
) -> Accrual<'a> {
    let held = enrolment.hold_days > 0;
    Accrual {
        commission,
        program_id: &enrolment.program_id,
        status: if held { CommissionStatus::Held } else { CommissionStatus::Qualified },
        hold_until: commission.converted_at + TimeDelta::days(enrolment.hold_days),
        credited_at: (!held).then_some(now),
    }
}

/// One entry per wallet and batch: what the batch earned it.
async fn post_accruals(
    tx: &mut Tx,
    org: &OrgId,
    batch: &BatchId,
    accruals: &[Accrual<'_>],
    work: &Work,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let mut sums: BTreeMap<(WalletKey, bool), (&ProgramId, i64)> = BTreeMap::new();
    for accrual in accruals {
        let c = accrual.commission;
        let key = WalletKey { affiliate_id: c.affiliate_id.clone(), currency: c.amount.currency };
        let held = accrual.status == CommissionStatus::Held;
        let (_, sum) = sums.entry((key, held)).or_insert((accrual.program_id, 0));
        let overflow = MoneyError::Overflow { left: *sum, right: c.amount.minor };
        *sum = sum.checked_add(c.amount.minor).ok_or(overflow)?;
    }
    let wallets: Vec<_> = sums.iter().map(|((key, _), (program, _))| (key, *program)).collect();
    tx.wallets_open(org, &wallets, now).await?;
    let movement = |((wallet, held), (_, amount_minor)): ((WalletKey, bool), (&ProgramId, i64))| {
        let to = if held { Bucket::Held } else { Bucket::Available };
        let entry_key = format!("accrue:{batch}:{}:{}", wallet.affiliate_id, wallet.currency);
        (amount_minor > 0).then_some(Movement {
            wallet,
            kind: EntryKind::Accrue,
            from: Bucket::Earned,
            to,
            amount_minor,
            entry_key,
        })
    };
    let movements = sums.into_iter().filter_map(movement).collect();
    ledger::post(tx, org, movements, &work.actor, now).await
}
