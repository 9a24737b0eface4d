//! Breaker: a run that would ask for unusually much is stopped before it asks for anything. It looks
//! ahead with the same walk that the run takes, and holds the sums against those of the runs before.

use std::collections::{BTreeMap, HashMap};

use super::{AutoRequest, Engine, EngineError};
use crate::domain::{Breaker, Currency, Money, OrgId, PlanLine, RunId};
use crate::store::{AskedByRun, PaidByRun};

/// What a run asks for within one org.
#[derive(Debug, Default)]
struct Sum {
    payouts: i64,
    minors: BTreeMap<Currency, i64>,
}

impl Engine {
    /// Stops a run that would ask for unusually much in one of `orgs`.
    ///
    /// # Errors
    /// [`EngineError::Anomaly`], which names every org and sum beyond the factor; nothing was asked.
    pub async fn hold_back_unusual(
        &self,
        orgs: &[OrgId],
        request: &AutoRequest,
    ) -> Result<(), EngineError> {
        let rules = &request.rules;
        let Some(breaker) = &rules.breaker else { return Ok(()) };
        let mut findings = Vec::new();
        for org in orgs {
            let earlier = self.store.paid_by_runs(
                org,
                (&rules.job_id, &request.run_id),
                i64::try_from(breaker.runs).unwrap_or(i64::MAX),
            );
            let earlier = earlier.await?;
            let asked = self.store.asked_by_run(org, &request.run_id).await?;
            let mut sum = Sum::default();
            asked.iter().for_each(|row| sum.resume(row));
            let mut foresight = self.foresee(org, rules, self.clock.now()).await?;
            foresight.resume(&asked);
            while let Some(page) = foresight.next().await? {
                page.iter().for_each(|foreseen| sum.add(&foreseen.line));
            }
            findings.extend(unusual(breaker, &sum, &earlier).map(|why| format!("org {org} {why}")));
        }
        if findings.is_empty() {
            return Ok(());
        }
        Err(EngineError::Anomaly { job_id: rules.job_id.clone(), findings: findings.join("; ") })
    }
}

impl Sum {
    /// An attempt before this one asked for it: the run is judged as a whole.
    fn resume(&mut self, row: &AskedByRun) {
        self.payouts += row.payouts;
        let minor = self.minors.entry(row.currency).or_default();
        *minor = minor.saturating_add(row.amount_minor);
    }

    fn add(&mut self, line: &PlanLine) {
        if let Some(pays) = &line.pays {
            self.payouts += 1;
            let minor = self.minors.entry(line.currency).or_default();
            // What no number holds is beyond every factor.
            *minor = minor.saturating_add(pays.amount_minor);
        }
    }
}

/// What is beyond the factor, in words.
fn unusual(breaker: &Breaker, sum: &Sum, earlier: &[PaidByRun]) -> impl Iterator<Item = String> {
    let mut runs = HashMap::<&RunId, i64>::new();
    let mut amounts = HashMap::<Currency, Vec<i64>>::new();
    for row in earlier {
        *runs.entry(&row.run_id).or_default() += row.payouts;
        amounts.entry(row.currency).or_default().push(row.amount_minor);
    }
    let counts: Vec<_> = runs.into_values().collect();
    let (factor, looked_at) = (breaker.factor, counts.len());
    let mut found = Vec::new();
    if let Some(median) = breaker.trips(&counts, sum.payouts) {
        found.push(format!(
            "would be asked for {} payouts, the median of {looked_at} runs is {}, the factor {factor}",
            sum.payouts,
            median.normalize()
        ));
    }
    for (currency, minor) in &sum.minors {
        let before = amounts.get(currency).map_or(&[][..], Vec::as_slice);
        if let Some(median) = breaker.trips(before, *minor) {
            // Half a minor unit at most is left out of the words.
            let median = i64::try_from(median.trunc()).unwrap_or(i64::MAX);
            found.push(format!(
                "would be asked for {} {currency}, the median of {} runs is {} {currency}, the \
                 factor {factor}",
                Money::new(*minor, *currency),
                before.len(),
                Money::new(median, *currency)
            ));
        }
    }
    found.into_iter()
}
