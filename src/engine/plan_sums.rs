//! What a plan sums up to: in each org, by rail and by gate, against limits, and against what the
//! rails can spend.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Engine, EngineError, Skips};
use crate::domain::{Allowance, Currency, MethodKind, Money, MoneyError, OrgId, PlanLine, Used};
use crate::providers::Funds;
use crate::store::{PlanRow, StoreError};

/// A plan's totals.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PlanSummary {
    pub orgs: BTreeMap<OrgId, OrgPlan>,
    /// What the rails would need and have; as they told it when the plan was made.
    pub funding: Vec<PlanFunding>,
}

/// A plan's totals in one org.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OrgPlan {
    pub pays: Skips,
    /// Of them those that would wait for a person.
    pub needs_approval: Skips,
    /// By rail.
    pub rails: BTreeMap<String, Skips>,
    /// By the first gate that fails.
    pub skipped: BTreeMap<String, Skips>,
    /// What the job and the programs may spend, and what would be asked for of it.
    #[serde(default)]
    pub limits: Vec<PlanLimit>,
}

/// A limit, and what would have been asked for of it once the plan is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanLimit {
    /// `job:auto-payout` or `program:creator`.
    pub holder: String,
    /// `payouts_per_run`, `amount_per_day` and so on, as in the job's file.
    pub limit: String,
    /// `None` where payouts in all currencies count.
    pub currency: Option<String>,
    /// Payouts, or an amount in major units.
    pub most: String,
    /// Of a day, with what was asked for before.
    pub asked: String,
}

/// What a rail would need for a plan, and has. Amounts in major units.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlanFunding {
    pub rail: String,
    pub currency: String,
    pub planned: String,
    /// What waits for the rail already, or is on its way.
    pub committed: String,
    /// `None`: the rail cannot say.
    pub balance: Option<String>,
    /// By how much the balance falls short; `None` if it does not, or nobody knows.
    pub short: Option<String>,
    /// Why it did not say.
    pub problem: Option<String>,
}

impl PlanSummary {
    /// The sums over all orgs.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn total(&self) -> Result<OrgPlan, MoneyError> {
        let mut total = OrgPlan::default();
        for org in self.orgs.values() {
            merge(&mut total.pays, &org.pays)?;
            merge(&mut total.needs_approval, &org.needs_approval)?;
            for (rail, skips) in &org.rails {
                merge(total.rails.entry(rail.clone()).or_default(), skips)?;
            }
            for (gate, skips) in &org.skipped {
                merge(total.skipped.entry(gate.clone()).or_default(), skips)?;
            }
        }
        Ok(total)
    }
}

fn merge(sum: &mut Skips, other: &Skips) -> Result<(), MoneyError> {
    sum.count += other.count;
    sum.amount.merge(&other.amount)
}

impl OrgPlan {
    /// Counts a line.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub(super) fn add(&mut self, line: &PlanLine) -> Result<(), MoneyError> {
        let Some(pays) = &line.pays else {
            let gate = line.failing.first().map_or("none", |gate| gate.as_str());
            return self.skipped.entry(gate.to_owned()).or_default().add(line.available());
        };
        let amount = Money::new(pays.amount_minor, line.currency);
        self.pays.add(amount)?;
        if !pays.approval.is_empty() {
            self.needs_approval.add(amount)?;
        }
        self.rails.entry(pays.method_kind.to_string()).or_default().add(amount)
    }
}

impl Engine {
    /// Asks the rails what they can spend, and holds it against what the plan would have them send.
    pub(super) async fn plan_funding(
        &self,
        summary: &PlanSummary,
    ) -> Result<Vec<PlanFunding>, EngineError> {
        let mut planned: BTreeMap<_, Money> = BTreeMap::new();
        for (rail, skips) in summary.orgs.values().flat_map(|org| &org.rails) {
            for amount in skips.amount.iter() {
                let sum = planned
                    .entry((rail.clone(), amount.currency))
                    .or_insert(Money::new(0, amount.currency));
                sum.minor = sum.minor.saturating_add(amount.minor);
            }
        }
        let queues = self.store.queues().await?;
        let mut funding = Vec::new();
        for ((rail, currency), planned) in planned {
            let Ok(kind) = rail.parse::<MethodKind>() else { continue };
            let waiting = queues
                .iter()
                .filter(|queue| (queue.method_kind, queue.currency) == (kind, currency))
                .fold(0_i64, |sum, queue| sum.saturating_add(queue.amount_minor));
            let under_way = self.store.unheard(kind, currency).await?;
            let committed = waiting.saturating_add(under_way.minor);
            let (balance, problem) = match self.provider(kind) {
                None => (None, Some("the rail is not configured".to_owned())),
                Some(provider) => match provider.funds(currency).await {
                    Funds::CannotAsk => (None, None),
                    Funds::Known(balance) => (Some(balance), None),
                    Funds::Unclear(problem) => (None, Some(problem.to_string())),
                },
            };
            let lacks = balance.map(|balance| {
                planned.minor.saturating_add(committed).saturating_sub(balance.minor)
            });
            let text = |minor| Money::new(minor, currency).to_string();
            funding.push(PlanFunding {
                rail,
                currency: currency.to_string(),
                planned: planned.to_string(),
                committed: text(committed),
                balance: balance.map(|balance| balance.to_string()),
                short: lacks.filter(|minor| *minor > 0).map(text),
                problem,
            });
        }
        Ok(funding)
    }
}

/// The limits of a holder, with what would be asked for of them.
pub(super) fn limits_of(currency: Currency, allowance: &Allowance) -> Vec<PlanLimit> {
    let Allowance { holder, bounds, run, day } = allowance;
    let count = |limit: &str, most: Option<i64>, used: &Used| {
        most.map(|most| (limit.to_owned(), None, most.to_string(), used.payouts.to_string()))
    };
    let text = |minor| Money::new(minor, currency).to_string();
    let amount = |limit: &str, most: Option<i64>, used: &Used| {
        let currency = Some(currency.to_string());
        most.map(|most| (limit.to_owned(), currency, text(most), text(used.minor)))
    };
    let found = [
        count("payouts_per_run", bounds.run_payouts, run),
        amount("amount_per_run", bounds.run_minor, run),
        count("payouts_per_day", bounds.day_payouts, day),
        amount("amount_per_day", bounds.day_minor, day),
    ];
    let holder = holder.as_str();
    let limit = |(limit, currency, most, asked)| {
        let holder = holder.to_owned();
        PlanLimit { holder, limit, currency, most, asked }
    };
    found.into_iter().flatten().map(limit).collect()
}

/// A plan's totals.
///
/// # Errors
/// [`StoreError::Corrupt`] if what was stored does not read back.
pub fn summary_of(plan: &PlanRow) -> Result<PlanSummary, StoreError> {
    let corrupt = |source| StoreError::Corrupt { id: format!("plan {}", plan.plan_hash), source };
    serde_json::from_str(&plan.summary).map_err(corrupt)
}
