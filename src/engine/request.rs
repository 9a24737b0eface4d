//! Request: an affiliate's available money is asked out. One function makes payouts, for a
//! person and for a schedule alike; the gates are one function too (`domain::check_gates`).

use chrono::{DateTime, Utc};
use serde_json::json;

use super::deciding::{Ask, Decider, Rules, new_payout, pass};
use super::limits::Spent;
use super::standing::Standing;
use super::{Engine, EngineError, Tally, Work, ledger, telling};
use crate::domain::{
    ApprovalReason, Bucket, DestinationId, EntryKind, EventKind, Intent, Money, Movement, OrgId,
    PayoutId, PayoutOrigin, PlanId, RunId, WalletKey,
};
use crate::store::{Allocation, NewDecision, NewPayout, ProgramZones, Tx};

/// What an auto-payout run asks for.
#[derive(Debug, Clone)]
pub struct AutoRequest {
    pub run_id: RunId,
    pub rules: Rules,
    /// The plan that is executed: nobody is paid but as it says.
    pub plan: Option<PlanId>,
    /// Wallets per transaction.
    pub page: i64,
}

/// How far a run is through an org's wallets.
struct Walk<'r> {
    decider: Decider<'r>,
    after: Option<WalletKey>,
}

/// What a person asks for.
#[derive(Debug, Clone)]
pub struct PersonRequest {
    pub wallet: WalletKey,
    /// Minor units.
    pub amount_minor: i64,
    /// The failed payout that this one takes the place of.
    pub retry_of: Option<PayoutId>,
}

impl Engine {
    /// Decides about every wallet of an org with a balance other than 0, page by page: requests
    /// a payout of all that is available, or keeps every reason why not.
    ///
    /// # Errors
    /// [`EngineError`]; the pages before it stand.
    pub async fn request_automatic(
        &self,
        work: &Work,
        org: &OrgId,
        request: &AutoRequest,
    ) -> Result<Tally, EngineError> {
        let mut tally = self.decided_before(org, &request.run_id).await?;
        let zones = self.store.program_zones(org).await?;
        let mut walk = Walk { decider: Decider::new(&request.rules), after: None };
        walk.decider.resume(&self.store.asked_by_run(org, &request.run_id).await?);
        while !work.stop.is_cancelled() {
            let page = self.retrying(|| self.request_page(work, org, (request, &zones), &walk));
            let (page, next) = page.await?;
            work.progress.add(&page);
            tally.merge(page)?;
            let Some(next) = next else { break };
            walk = next;
        }
        Ok(tally)
    }

    /// What an attempt of the run before this one decided: the run is counted as a whole.
    async fn decided_before(&self, org: &OrgId, run: &RunId) -> Result<Tally, EngineError> {
        let mut tally = Tally::default();
        for row in self.store.decision_counts(org, run).await? {
            let amount = Money::new(row.amount_minor, row.currency);
            let count = u64::try_from(row.decisions).unwrap_or(0);
            tally.seen += count;
            if let Some(gate) = row.first_gate {
                let skips = tally.skipped.entry(gate.as_str().to_owned()).or_default();
                skips.count += count;
                skips.amount.add(amount)?;
            } else {
                tally.acted += count;
                tally.amounts.add(amount)?;
            }
        }
        Ok(tally)
    }

    /// Decides about the next page; where the walk stands then, unless it is over.
    async fn request_page<'r>(
        &self,
        work: &Work,
        org: &OrgId,
        (request, zones): (&'r AutoRequest, &ProgramZones),
        walk: &Walk<'r>,
    ) -> Result<(Tally, Option<Walk<'r>>), EngineError> {
        let now = self.clock.now();
        let mut tx = self.begin(work).await?;
        let keys = zones.keys(&request.rules.periods);
        let which = (keys.as_slice(), request.rules.reached_only);
        let page = tx.candidates_page(org, which, walk.after.as_ref(), request.page).await?;
        let mut standing = Standing::of(&mut tx, org, request, walk.after.as_ref(), &page).await?;
        // A copy: if this transaction loses a race, it never asked for anything.
        let mut decider = walk.decider.clone();
        let days = decider.days(&page, now);
        decider.learn(&days, &tx.usage_lock(org, &days).await?);
        let last = standing.last.clone();
        let mut payouts = Vec::new();
        let mut decisions = Vec::with_capacity(page.len());
        for candidate in &page {
            if standing.is_decided(candidate) {
                continue;
            }
            let before = request.plan.as_ref().map(|_| decider.clone());
            let Some(mut decided) = decider.decide(candidate, now) else { continue };
            if let Some(changed) = standing.changed(org, &decided, &request.rules) {
                (decided.ask, decided.failing) = (None, vec![changed]);
                // What is not asked for counts for no limit.
                decider = before.unwrap_or(decider);
            }
            let payout = decided.payout(&self.clock, &request.run_id);
            decisions.push(decided.on_record(payout.as_ref().map(|payout| &payout.payout_id)));
            payouts.extend(payout);
        }
        decisions.extend(standing.gone());
        let tally = count(&decisions)?;
        write_payouts(&mut tx, org, &payouts, work, now).await?;
        let told = (request.rules.job_id.as_str(), &request.run_id);
        telling::tell_limit(&mut tx, org, told, &decider.new_limits(), now).await?;
        tx.usage_set(org, &decider.changed_days()).await?;
        tx.decisions_insert(org, &request.run_id, &decisions, now).await?;
        tx.commit().await?;
        Ok((tally, last.map(|last| Walk { decider, after: Some(last) })))
    }

    /// Requests a payout for a person.
    ///
    /// # Errors
    /// [`EngineError::NoWallet`], [`EngineError::AlreadyRetried`], or [`EngineError::Refused`]
    /// with every failing gate.
    pub async fn request(
        &self,
        work: &Work,
        org: &OrgId,
        request: &PersonRequest,
    ) -> Result<PayoutId, EngineError> {
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            let payout_id = self.request_within(&mut tx, work, org, (request, None)).await?;
            tx.commit().await?;
            Ok(payout_id)
        })
        .await
    }

    /// Requests a payout within `tx`, by the affiliate's default method or by the one given. What
    /// is refused has written nothing.
    pub(super) async fn request_within(
        &self,
        tx: &mut Tx,
        work: &Work,
        org: &OrgId,
        (request, method): (&PersonRequest, Option<&str>),
    ) -> Result<PayoutId, EngineError> {
        let now = self.clock.now();
        let Some(candidate) = tx.candidate_lock(org, &request.wallet, method).await? else {
            return Err(EngineError::no_wallet(&request.wallet));
        };
        if let Some(payout_id) = &request.retry_of
            && let Some(retried_as) = tx.retried_as(org, payout_id).await?
        {
            let payout_id = payout_id.clone();
            return Err(EngineError::AlreadyRetried { payout_id, retried_as });
        }
        let intent =
            Intent { origin: PayoutOrigin::Person, amount_minor: request.amount_minor, at: now };
        let mut spent = Spent::default();
        let days = Spent::days(None, std::slice::from_ref(&candidate), now);
        spent.learn(&days, &tx.usage_lock(org, &days).await?);
        let method = match pass(&candidate, intent, &spent.allowed(None, &candidate, now)) {
            Ok(method) => method,
            Err(failing) => return Err(EngineError::Refused { failing }),
        };
        spent.take(None, &candidate, (request.amount_minor, now));
        tx.usage_set(org, &spent.changed()).await?;
        let mut approval = candidate.approval_reasons(request.amount_minor, method, None);
        if let Some(before) = &request.retry_of {
            let before = self.unapproved_reasons(org, before, &method.destination_id).await?;
            let new = before.into_iter().filter(|reason| !approval.contains(reason));
            let new: Vec<_> = new.collect();
            approval.extend(new);
        }
        let ask = Ask { method, intent, approval, period: None };
        let payout = NewPayout {
            retry_of: request.retry_of.clone(),
            ..new_payout(&candidate, &ask, &self.clock)
        };
        write_payouts(tx, org, std::slice::from_ref(&payout), work, now).await?;
        self.keep_request(tx, org, work, &payout).await?;
        Ok(payout.payout_id)
    }

    /// What the payout that is retried waited for and nobody approved, or not for this destination:
    /// its place taker waits for it too, also where a job's rule said so.
    async fn unapproved_reasons(
        &self,
        org: &OrgId,
        before: &PayoutId,
        destination: &DestinationId,
    ) -> Result<Vec<ApprovalReason>, EngineError> {
        let Some(before) = self.store.payout(org, before).await? else { return Ok(Vec::new()) };
        if before.approved_at.is_some() && before.destination_id == *destination {
            return Ok(Vec::new());
        }
        let words = before.approval_reasons();
        Ok(words.into_iter().filter_map(|word| word.parse().ok()).collect())
    }

    async fn keep_request(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        work: &Work,
        payout: &NewPayout,
    ) -> Result<(), EngineError> {
        let action = if payout.retry_of.is_some() { "payout.retried" } else { "payout.requested" };
        let amount = Money::new(payout.amount_minor, payout.currency);
        let detail = json!({
            "affiliateId": payout.affiliate_id, "amount": amount.to_string(),
            "currency": payout.currency, "retryOf": payout.retry_of,
            "requiresApproval": !payout.approval.is_empty(),
        });
        self.keep_act(tx, org, work, (action, payout.payout_id.as_str()), detail).await
    }
}

/// Counts what was decided.
fn count(decisions: &[NewDecision]) -> Result<Tally, EngineError> {
    let mut tally = Tally::default();
    for decision in decisions {
        tally.seen += 1;
        let available = Money::new(decision.available_minor, decision.currency);
        match decision.failing.first() {
            None => tally.act(available)?,
            Some(check) => tally.skip(check.gate.as_str(), available)?,
        }
    }
    Ok(tally)
}

/// Payouts, their wallets' entries, their lines and the commissions behind them, together.
pub(super) async fn write_payouts(
    tx: &mut Tx,
    org: &OrgId,
    payouts: &[NewPayout],
    work: &Work,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    let movement = |payout: &NewPayout| Movement {
        wallet: WalletKey { affiliate_id: payout.affiliate_id.clone(), currency: payout.currency },
        kind: EntryKind::Request,
        from: Bucket::Available,
        to: Bucket::InFlight,
        amount_minor: payout.amount_minor,
        entry_key: format!("request:{}", payout.payout_id),
    };
    ledger::post(tx, org, payouts.iter().map(movement).collect(), &work.actor, now).await?;
    tx.payouts_insert(org, payouts, &work.actor, now).await?;
    tx.lines_insert(org, payouts).await?;
    let ids: Vec<_> = payouts.iter().map(|payout| payout.payout_id.clone()).collect();
    tx.lines_allocate(org, &ids, Allocation::Take).await?;
    let ids: Vec<_> = ids.iter().collect();
    telling::tell_payouts(tx, org, EventKind::PayoutRequested, &ids, now).await?;
    let waiting = payouts.iter().filter(|payout| !payout.approval.is_empty());
    let ids: Vec<_> = waiting.map(|payout| &payout.payout_id).collect();
    telling::tell_payouts(tx, org, EventKind::PayoutApprovalNeeded, &ids, now).await?;
    Ok(())
}
