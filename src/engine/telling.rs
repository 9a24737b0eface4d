//! Telling: what others hear of payouts. It is written beside the change, in its transaction, and
//! delivered by the room `notify`; the engine never waits for anybody who listens.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Number, Value, json};

use super::{EngineError, OrgPlan, OrgTally, Skips};
use crate::domain::{
    AffiliateId, Currency, EventKind, GateCheck, MethodId, MethodKind, MethodStatus, Money,
    MoneyTotals, OrgId, PayoutId, PayoutOrigin, RunId, SubmissionId,
};
use crate::store::{HeldMethod, NewEvent, PlanRow, StoreError, ToldPayout, Tx};

/// Tells the same of several payouts. The payouts are read for it only if somebody listens.
pub(super) async fn tell_payouts(
    tx: &mut Tx,
    org: &OrgId,
    kind: EventKind,
    payouts: &[&PayoutId],
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    if payouts.is_empty() || !tx.event_wanted(org, kind).await? {
        return Ok(());
    }
    let mut told = tx.payouts_told(org, payouts).await?;
    // Who is told the amounts of deposits that prove an account passes for its holder.
    told.retain(|payout| payout.origin != PayoutOrigin::Verification);
    let event = |payout: &ToldPayout| NewEvent {
        kind,
        subject: payout.payout_id.to_string(),
        data: payout_data(payout),
    };
    let events: Vec<_> = told.iter().map(event).collect();
    Ok(tx.event_insert(org, &events, now).await?)
}

/// Tells that a person has to find out about every payout of a submission that is still open.
pub(super) async fn tell_review(
    tx: &mut Tx,
    org: &OrgId,
    submission: &SubmissionId,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let kind = EventKind::PayoutReview;
    if !tx.event_wanted(org, kind).await? {
        return Ok(());
    }
    let payouts = tx.payouts_under_way(org, submission).await?;
    tell_payouts(tx, org, kind, &payouts.iter().collect::<Vec<_>>(), now).await
}

/// Tells an org what a run at a coming instant would do there.
pub(super) async fn tell_plan(
    tx: &mut Tx,
    org: &OrgId,
    (plan, part): (&PlanRow, &OrgPlan),
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let skips = |skips: &Skips| json!({ "count": skips.count, "amounts": sums(&skips.amount) });
    let by = |map: &BTreeMap<String, Skips>| -> serde_json::Map<String, Value> {
        map.iter().map(|(word, sums)| (word.clone(), skips(sums))).collect()
    };
    let data = json!({
        "jobId": plan.job_id,
        "scheduledFor": plan.planned_for.to_rfc3339_opts(SecondsFormat::Millis, true),
        "planHash": plan.plan_hash,
        "wouldPay": skips(&part.pays), "needsApproval": skips(&part.needs_approval),
        "byRail": by(&part.rails), "wouldSkip": by(&part.skipped),
    });
    let (kind, subject) = (EventKind::RunAnnounced, plan.job_id.clone());
    Ok(tx.event_insert(org, &[NewEvent { kind, subject, data }], now).await?)
}

/// Sums as they stand in the API.
fn sums(totals: &MoneyTotals) -> Vec<Value> {
    let sum = |money: Money| json!({ "currency": money.currency, "amount": number(money) });
    totals.iter().map(sum).collect()
}

/// What others are told of a method. Where it goes is not part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToldMethod<'a> {
    pub method_id: &'a MethodId,
    pub affiliate_id: &'a AffiliateId,
    pub kind: MethodKind,
    pub status: MethodStatus,
    /// A code and words.
    pub why: Option<(&'a str, &'a str)>,
}

impl<'a> ToldMethod<'a> {
    /// A method that has nothing to explain.
    pub fn new(
        method_id: &'a MethodId,
        affiliate_id: &'a AffiliateId,
        kind: MethodKind,
        status: MethodStatus,
    ) -> Self {
        Self { method_id, affiliate_id, kind, status, why: None }
    }

    /// A method in hand, as it will stand.
    pub fn of(held: &'a HeldMethod, status: MethodStatus, why: Option<(&'a str, &'a str)>) -> Self {
        Self { why, ..Self::new(&held.method_id, &held.affiliate_id, held.kind, status) }
    }
}

/// Tells what became of a method.
pub(super) async fn tell_method(
    tx: &mut Tx,
    org: &OrgId,
    kind: EventKind,
    told: &ToldMethod<'_>,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let reason = told.why.map(|(code, message)| json!({ "code": code, "message": message }));
    let data = json!({
        "methodId": told.method_id, "affiliateId": told.affiliate_id, "type": told.kind,
        "status": told.status, "reason": reason,
    });
    let event = NewEvent { kind, subject: told.method_id.to_string(), data };
    Ok(tx.event_insert(org, &[event], now).await?)
}

/// What is told of a run that ended.
#[derive(Debug, Clone, Copy)]
pub struct ToldRun<'a> {
    pub run_id: &'a RunId,
    pub job_id: &'a str,
    pub job_kind: &'a str,
    pub trigger: &'a str,
    pub scheduled_for: Option<DateTime<Utc>>,
    pub attempt: i64,
    pub state: &'a str,
    /// A code and words. The words may name what is another org's: they stay with the run.
    pub error: Option<(&'a str, &'a str)>,
    /// Whether it failed for good.
    pub failed: bool,
}

/// Tells an org how a run ended, with the org's own part in it.
///
/// # Errors
/// [`StoreError`].
pub async fn tell_run(
    tx: &mut Tx,
    org: &OrgId,
    told: &ToldRun<'_>,
    part: Option<&OrgTally>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let kind = if told.failed { EventKind::RunFailed } else { EventKind::RunFinished };
    let none = OrgTally::default();
    let part = part.unwrap_or(&none);
    let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let skipped: serde_json::Map<_, _> =
        part.skipped.iter().map(|(why, skips)| (why.clone(), json!(skips.count))).collect();
    let data = json!({
        "runId": told.run_id,
        "jobId": told.job_id,
        "kind": told.job_kind,
        "trigger": told.trigger,
        "scheduledFor": told.scheduled_for.map(instant),
        "attempt": told.attempt,
        "state": told.state,
        "counts": {
            "seen": part.seen, "acted": part.acted, "skipped": part.skipped_count(),
            "failed": part.failed,
        },
        "amounts": sums(&part.amounts),
        "skipped": skipped,
        "errorCode": told.error.map(|(code, _)| code),
    });
    tx.event_insert(org, &[NewEvent { kind, subject: told.run_id.to_string(), data }], now).await
}

/// What is told when a rail cannot pay all that waits for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToldShortage<'a> {
    pub kind: MethodKind,
    pub currency: Currency,
    pub message: &'a str,
    /// How many payouts wait, and for how much.
    pub waiting: Option<(i64, Money)>,
}

/// Tells an org that a rail of theirs is short of funds.
pub(super) async fn tell_shortage(
    tx: &mut Tx,
    org: &OrgId,
    told: &ToldShortage<'_>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let data = json!({
        "provider": told.kind,
        "currency": told.currency,
        "message": told.message,
        "waiting": told.waiting.map(|(payouts, amount)| json!({
            "payouts": payouts, "amount": number(amount),
        })),
    });
    let subject = format!("{} {}", told.kind, told.currency);
    tx.event_insert(org, &[NewEvent { kind: EventKind::FundingShort, subject, data }], now).await
}

fn payout_data(payout: &ToldPayout) -> Value {
    let failure = payout
        .failure_code
        .as_ref()
        .map(|code| json!({ "code": code, "message": payout.failure_message }));
    let amount = number(Money::new(payout.amount_minor, payout.currency));
    json!({
        "payoutId": payout.payout_id,
        "affiliateId": payout.affiliate_id,
        "program": payout.program_id,
        "amount": amount,
        "currency": payout.currency,
        "status": payout.status,
        "method": payout.method_kind,
        "origin": payout.origin,
        "period": payout.period,
        "retryOf": payout.retry_of,
        "approvalReasons": words(payout.approval_reasons.as_deref()),
        "requestedAt": payout.requested_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "failure": failure,
    })
}

/// Words that stand between commas.
fn words(text: Option<&str>) -> Vec<&str> {
    text.map(|text| text.split(',').collect()).unwrap_or_default()
}

/// Tells of a limit that keeps people from being paid.
pub(super) async fn tell_limit(
    tx: &mut Tx,
    org: &OrgId,
    (job_id, run_id): (&str, &RunId),
    checks: &[GateCheck],
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let event = |check: &GateCheck| NewEvent {
        kind: EventKind::LimitHit,
        subject: run_id.to_string(),
        data: json!({
            "jobId": job_id, "runId": run_id, "limit": check.gate, "wants": check.wants,
            "found": check.found,
        }),
    };
    let events: Vec<_> = checks.iter().map(event).collect();
    Ok(tx.event_insert(org, &events, now).await?)
}

/// An amount as it stands in the API: a number in major units, exact, with the currency's digits.
pub(super) fn number(amount: Money) -> Number {
    amount.to_string().parse().expect("an amount in digits is a JSON number")
}
