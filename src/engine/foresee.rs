//! Foreseeing: what a run would decide, wallet by wallet, by the walk by which it decides. Nothing
//! is locked, and nothing written.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::deciding::{Decided, Decider, Rules};
use super::{Engine, EngineError};
use crate::domain::{
    Allowance, ApprovalReason, Candidate, Currency, GateCheck, OrgId, PlanLine, Planned, ProgramId,
    WalletKey,
};
use crate::store::{AskedByRun, ZonePeriod};

/// Wallets that are read at once.
pub(super) const PAGE: i64 = 1_000;

/// What a run would decide about one wallet.
pub(super) struct Foreseen {
    pub line: PlanLine,
    /// Every gate that fails, with its numbers.
    pub failing: Vec<GateCheck>,
}

/// A look at an org's wallets, page by page.
pub(super) struct Foresight<'a> {
    engine: &'a Engine,
    org: &'a OrgId,
    rules: &'a Rules,
    decider: Decider<'a>,
    keys: Vec<ZonePeriod>,
    at: DateTime<Utc>,
    /// One wallet of each program and currency, to know their limits by.
    samples: BTreeMap<(ProgramId, Currency), Candidate>,
    /// The last wallet that was looked at.
    pub after: Option<WalletKey>,
}

impl Engine {
    /// Begins a look at what a run by `rules` would decide in an org at `at`.
    pub(super) async fn foresee<'a>(
        &'a self,
        org: &'a OrgId,
        rules: &'a Rules,
        at: DateTime<Utc>,
    ) -> Result<Foresight<'a>, EngineError> {
        let keys = self.store.program_zones(org).await?.keys(&rules.periods);
        let decider = Decider::new(rules);
        let samples = BTreeMap::new();
        Ok(Foresight { engine: self, org, rules, decider, keys, at, samples, after: None })
    }
}

impl Foresight<'_> {
    /// Takes up what the run that is looked at asked for before.
    pub fn resume(&mut self, asked: &[AskedByRun]) {
        self.decider.resume(asked);
    }

    /// The next page; `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Foreseen>>, EngineError> {
        let Self { engine, org, rules, decider, keys, at, samples, after } = self;
        let which = (keys.as_slice(), rules.reached_only);
        let page = engine.store.candidates_after(org, which, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        *after = Some(wallet_of(last));
        let days = decider.unknown_days(&page, *at);
        decider.learn(&days, &engine.store.usage(org, &days).await?);
        let mut foreseen = Vec::with_capacity(page.len());
        for candidate in &page {
            if let Some(decided) = decider.decide(candidate, *at) {
                let key = (candidate.program_id.clone(), candidate.currency);
                samples.entry(key).or_insert_with(|| candidate.clone());
                let line = line_of(&decided, rules);
                foreseen.push(Foreseen { line, failing: decided.failing });
            }
        }
        Ok(Some(foreseen))
    }

    /// The limits over what was looked at so far, with what would have been asked for.
    pub fn limits(&self) -> Vec<(Currency, Allowance)> {
        let of = |candidate: &Candidate| {
            let allowed = self.decider.allowed(candidate, self.at).into_iter();
            allowed.map(|allowance| (candidate.currency, allowance)).collect::<Vec<_>>()
        };
        self.samples.values().flat_map(of).collect()
    }
}

/// The wallet of a candidate.
pub(super) fn wallet_of(candidate: &Candidate) -> WalletKey {
    WalletKey { affiliate_id: candidate.affiliate_id.clone(), currency: candidate.currency }
}

/// What was decided about a wallet, as a line of a plan.
pub(super) fn line_of(decided: &Decided<'_>, rules: &Rules) -> PlanLine {
    let candidate = decided.candidate;
    let reasons = |reasons: &[ApprovalReason]| {
        reasons.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(",")
    };
    let pays = decided.ask.as_ref().map(|ask| Planned {
        amount_minor: ask.intent.amount_minor,
        method_kind: ask.method.kind,
        destination_id: ask.method.destination_id.clone(),
        approval: reasons(&ask.approval),
    });
    PlanLine {
        affiliate_id: candidate.affiliate_id.clone(),
        currency: candidate.currency,
        program_id: candidate.program_id.clone(),
        period: rules.periods.of(candidate.timezone.as_deref()).key,
        available_minor: candidate.available_minor,
        pays,
        failing: decided.failing.iter().map(|check| check.gate).collect(),
    }
}
