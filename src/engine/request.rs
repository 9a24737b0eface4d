//! Request: an affiliate's available money is asked out. One function makes payouts, for a
//! person and for a schedule alike; the gates are one function too (`domain::check_gates`).

use chrono::{DateTime, Utc};
use serde_json::json;

use super::deciding::{Decided, decide, in_scope, new_payout, pass};
use super::{Engine, EngineError, Tally, Work, ledger, telling};
use crate::domain::{
    Bucket, EntryKind, EventKind, Intent, Money, Movement, OrgId, PayoutId, PayoutOrigin, Periods,
    RunId, Scope, WalletKey,
};
use crate::store::{Allocation, NewPayout, ProgramZones, Tx};

/// What an auto-payout run asks for.
#[derive(Debug, Clone)]
pub struct AutoRequest {
    pub run_id: RunId,
    /// The periods that its payouts belong to: one per wallet and period.
    pub periods: Periods,
    pub scope: Scope,
    /// Wallets per transaction.
    pub page: i64,
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
        let mut tally = Tally::default();
        let zones = self.store.program_zones(org).await?;
        let mut after: Option<WalletKey> = None;
        while !work.stop.is_cancelled() {
            let page =
                self.retrying(|| self.request_page(work, org, (request, &zones), after.as_ref()));
            let (page, last) = page.await?;
            work.progress.add(&page);
            tally.merge(page)?;
            let Some(last) = last else { break };
            after = Some(last);
        }
        Ok(tally)
    }

    async fn request_page(
        &self,
        work: &Work,
        org: &OrgId,
        (request, zones): (&AutoRequest, &ProgramZones),
        after: Option<&WalletKey>,
    ) -> Result<(Tally, Option<WalletKey>), EngineError> {
        let now = self.clock.now();
        let mut tx = self.begin(work).await?;
        let candidates =
            tx.candidates_page(org, &zones.keys(&request.periods), after, request.page).await?;
        let last = candidates.last().map(|candidate| WalletKey {
            affiliate_id: candidate.affiliate_id.clone(),
            currency: candidate.currency,
        });
        let mut tally = Tally::default();
        let mut payouts = Vec::new();
        let mut decisions = Vec::with_capacity(candidates.len());
        for candidate in candidates.iter().filter(|candidate| in_scope(&request.scope, candidate)) {
            let Decided { decision, payout } = decide(candidate, request, &self.clock, now);
            tally.seen += 1;
            let available = Money::new(candidate.available_minor, candidate.currency);
            match decision.failing.first() {
                None => tally.act(available)?,
                Some(check) => tally.skip(check.gate.as_str(), available)?,
            }
            decisions.push(decision);
            payouts.extend(payout);
        }
        write_payouts(&mut tx, org, &payouts, work, now).await?;
        tx.decisions_insert(org, &request.run_id, &decisions, now).await?;
        tx.commit().await?;
        Ok((tally, last))
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
        let method = match pass(&candidate, intent) {
            Ok(method) => method,
            Err(failing) => return Err(EngineError::Refused { failing }),
        };
        let payout = NewPayout {
            retry_of: request.retry_of.clone(),
            ..new_payout(&candidate, method, intent, &self.clock)
        };
        write_payouts(tx, org, std::slice::from_ref(&payout), work, now).await?;
        self.keep_request(tx, org, work, &payout).await?;
        Ok(payout.payout_id)
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
            "requiresApproval": payout.requires_approval,
        });
        self.keep_act(tx, org, work, (action, payout.payout_id.as_str()), detail).await
    }
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
    Ok(())
}
