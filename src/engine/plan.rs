//! Plans: what a run would do is written down, named by a hash over all that matters, and may then
//! be executed: exactly it, or not at all.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::deciding::Rules;
use super::foresee::{Foreseen, PAGE};
use super::plan_sums::{OrgPlan, PlanSummary, limits_of, summary_of};
use super::{Engine, EngineError, Work, telling};
use crate::domain::{LineDifference, OrgId, PlanLine, RunId, WalletKey};
use crate::store::{NewPlan, PlanRow};

/// A plan that is older than this is not executed: whoever read it has forgotten it.
const PLAN_LIVES: TimeDelta = TimeDelta::days(7);
/// How far from now a plan's instant may be.
const PLANS_REACH: TimeDelta = TimeDelta::days(3_660);
/// The fewest digits by which a plan is named.
const FEWEST_DIGITS: usize = 8;
/// Lines deleted per transaction.
const BATCH: i64 = 5_000;

/// What a plan is made of, or held against.
#[derive(Debug, Clone)]
pub struct PlanAsk {
    pub definition_hash: String,
    /// What decides, at the instant of its periods.
    pub rules: Rules,
    pub made_by: String,
}

/// Why there is no plan, or none that could be executed.
#[derive(Debug, Error)]
pub enum PlanError {
    #[error("there is no plan {hash}: see `payoutd plan list`")]
    Unknown { hash: String },
    #[error(
        "\"{hash}\" names no plan: expected at least {FEWEST_DIGITS} of its hexadecimal digits"
    )]
    NotAHash { hash: String },
    #[error("{hash} is the beginning of several plans: give more digits")]
    Ambiguous { hash: String },
    #[error("plan {hash} is one of job {job_id}, and of no other")]
    OtherJob { hash: String, job_id: String },
    #[error("plan {hash} was executed by {run_id}: a plan is executed once, make another one")]
    Executed { hash: String, run_id: RunId },
    #[error("plan {hash} was made at {made_at}, more than 7 days ago: make another one")]
    TooOld { hash: String, made_at: DateTime<Utc> },
    #[error("plan {hash} is stale, and nothing was done: {differences}")]
    Stale { hash: String, differences: PlanDifferences },
    #[error("plan {hash} is being executed by another run: a plan is executed once")]
    Taken { hash: String },
    #[error("nothing can be planned for {instant}: name an instant within ten years of now")]
    BadInstant { instant: DateTime<Utc> },
    #[error("the process is stopping: the plan was not finished")]
    Stopped,
}

impl PlanError {
    /// A stable code, for logs and for the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "no_plan",
            Self::NotAHash { .. } => "plan_unusable",
            Self::Ambiguous { .. } => "plan_ambiguous",
            Self::OtherJob { .. } => "plan_of_other_job",
            Self::Executed { .. } | Self::Taken { .. } => "plan_executed",
            Self::TooOld { .. } => "plan_too_old",
            Self::Stale { .. } => "stale_plan",
            Self::BadInstant { .. } => "bad_instant",
            Self::Stopped => "stopped",
        }
    }
}

/// What a plan and the world do not agree about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlanDifferences {
    /// The job's definitions, of the plan and of now, if the job was edited.
    pub definition: Option<(String, String)>,
    /// How many there are in the lines.
    pub count: u64,
    /// The first of them, in the order of the lines.
    pub lines: Vec<LineDifference>,
}

impl PlanDifferences {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.definition.is_none() && self.count == 0
    }

    fn push(&mut self, differences: Vec<LineDifference>, most: usize) {
        self.count += u64::try_from(differences.len()).unwrap_or(u64::MAX);
        let free = most.saturating_sub(self.lines.len());
        self.lines.extend(differences.into_iter().take(free));
    }
}

impl std::fmt::Display for PlanDifferences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((planned, found)) = &self.definition {
            write!(f, "the job was edited (definition {planned} of the plan, {found} now); ")?;
        }
        write!(f, "{} differences", self.count)?;
        for one in &self.lines {
            let LineDifference { org_id, affiliate_id, currency, what, planned, found } = one;
            write!(
                f,
                "; {org_id} {affiliate_id} {currency} {what}: {planned} planned, {found} now"
            )?;
        }
        Ok(())
    }
}

/// A hash over all that makes a plan this one: the job and its definition, and each line.
struct PlanHash(Sha256);

impl PlanHash {
    fn of(ask: &PlanAsk) -> Self {
        let mut hash = Self(Sha256::new());
        hash.line(&format!("plan 1 {} {}", ask.rules.job_id, ask.definition_hash));
        hash
    }

    fn line(&mut self, text: &str) {
        self.0.update(text.as_bytes());
        self.0.update(b"\n");
    }

    fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

impl Engine {
    /// Writes down what a run would do at the instant of its periods, with the wallets as they are
    /// now. The same plan made twice is one plan, made again.
    ///
    /// # Errors
    /// [`EngineError`]; nobody finds what was written before it.
    pub async fn make_plan(&self, work: &Work, ask: &PlanAsk) -> Result<PlanRow, EngineError> {
        let instant = ask.rules.periods.instant;
        if (instant - self.clock.now()).abs() > PLANS_REACH {
            return Err(PlanError::BadInstant { instant }.into());
        }
        let plan = NewPlan {
            plan_id: self.clock.mint(),
            job_id: ask.rules.job_id.clone(),
            definition_hash: ask.definition_hash.clone(),
            planned_for: ask.rules.periods.instant,
            made_by: ask.made_by.clone(),
        };
        let mut tx = self.begin(work).await?;
        tx.plan_draft(&plan, self.clock.now()).await?;
        tx.commit().await?;
        let mut hash = PlanHash::of(ask);
        let mut summary = PlanSummary::default();
        for org in self.store.orgs().await? {
            if !ask.rules.scope.has_org(&org) {
                continue;
            }
            let sums = self.plan_org(work, ask, (&plan, &org), &mut hash).await?;
            summary.orgs.insert(org, sums);
        }
        summary.funding = self.plan_funding(&summary).await?;
        let summary = serde_json::to_string(&summary).expect("words and numbers");
        self.seal_plan(work, &plan, (&hash.finish(), &summary)).await
    }

    async fn plan_org(
        &self,
        work: &Work,
        ask: &PlanAsk,
        (plan, org): (&NewPlan, &OrgId),
        hash: &mut PlanHash,
    ) -> Result<OrgPlan, EngineError> {
        hash.line(&format!("org {org}"));
        let mut sums = OrgPlan::default();
        let mut foresight = self.foresee(org, &ask.rules, ask.rules.periods.instant).await?;
        while let Some(page) = foresight.next().await? {
            if work.stop.is_cancelled() {
                return Err(PlanError::Stopped.into());
            }
            let lines: Vec<_> = page.into_iter().map(|foreseen| foreseen.line).collect();
            for line in &lines {
                sums.add(line)?;
                hash.line(&line.canonical());
            }
            let mut tx = self.begin(work).await?;
            tx.plan_lines_insert(org, &plan.plan_id, &lines).await?;
            tx.commit().await?;
        }
        for (currency, allowance) in foresight.limits() {
            for limit in limits_of(currency, &allowance) {
                if !sums.limits.contains(&limit) {
                    sums.limits.push(limit);
                }
            }
        }
        Ok(sums)
    }

    /// Names a plan by its hash; if there is one of that hash, that one is made again.
    async fn seal_plan(
        &self,
        work: &Work,
        plan: &NewPlan,
        (hash, summary): (&str, &str),
    ) -> Result<PlanRow, EngineError> {
        let mut tx = self.begin(work).await?;
        match tx.plan_seal(&plan.plan_id, (hash, summary)).await {
            Ok(()) => tx.commit().await?,
            Err(error) if error.is_duplicate() => {
                drop(tx);
                let mut tx = self.begin(work).await?;
                tx.plan_renew((hash, summary), plan, self.clock.now()).await?;
                tx.commit().await?;
                self.drop_plan(work, &plan.plan_id).await?;
            }
            Err(error) => return Err(error.into()),
        }
        let row = self.store.plan(hash).await?;
        Ok(row.ok_or_else(|| PlanError::Unknown { hash: hash.to_owned() })?)
    }

    /// Deletes a plan with its lines, batch by batch.
    pub(super) async fn drop_plan(
        &self,
        work: &Work,
        plan: &crate::domain::PlanId,
    ) -> Result<(), EngineError> {
        for org in self.store.orgs().await? {
            loop {
                let mut tx = self.begin(work).await?;
                let deleted = tx.plan_lines_delete(&org, plan, BATCH).await?;
                tx.commit().await?;
                if deleted < BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        let mut tx = self.begin(work).await?;
        tx.plan_delete(plan).await?;
        Ok(tx.commit().await?)
    }

    /// Tells every org of a plan what it says about it; returns its totals.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn announce_plan(
        &self,
        work: &Work,
        plan: &PlanRow,
    ) -> Result<PlanSummary, EngineError> {
        let summary = summary_of(plan)?;
        let mut tx = self.begin(work).await?;
        for (org, part) in &summary.orgs {
            telling::tell_plan(&mut tx, org, (plan, part), self.clock.now()).await?;
        }
        tx.commit().await?;
        Ok(summary)
    }

    /// The plan that a hash, or the beginning of one, names.
    ///
    /// # Errors
    /// [`PlanError`].
    pub async fn find_plan(&self, hash: &str) -> Result<PlanRow, EngineError> {
        let named = hash.to_ascii_lowercase();
        let hash = hash.to_owned();
        if named.len() < FEWEST_DIGITS || !named.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(PlanError::NotAHash { hash }.into());
        }
        let mut found = self.store.plans_named(&named).await?;
        match (found.pop(), found.pop()) {
            (None, _) => Err(PlanError::Unknown { hash }.into()),
            (Some(plan), None) => Ok(plan),
            (Some(_), Some(_)) => Err(PlanError::Ambiguous { hash }.into()),
        }
    }

    /// Holds a plan against the world as it is: it may be executed now if that returns.
    ///
    /// # Errors
    /// [`PlanError`]; up to `most` differences are named.
    pub async fn check_plan(
        &self,
        plan: &PlanRow,
        ask: &PlanAsk,
        most: usize,
    ) -> Result<(), EngineError> {
        let hash = short_hash(&plan.plan_hash).to_owned();
        if plan.job_id != ask.rules.job_id {
            return Err(PlanError::OtherJob { hash, job_id: plan.job_id.clone() }.into());
        }
        if self.clock.now() - plan.made_at > PLAN_LIVES {
            return Err(PlanError::TooOld { hash, made_at: plan.made_at }.into());
        }
        let differences = self.plan_differences(plan, ask, most).await?;
        if differences.is_empty() {
            return Ok(());
        }
        Err(PlanError::Stale { hash, differences }.into())
    }

    /// Whether no run has executed a plan, or is about to.
    ///
    /// # Errors
    /// [`PlanError::Executed`], with the run.
    pub async fn plan_is_free(&self, plan: &PlanRow) -> Result<(), EngineError> {
        match &plan.run_id {
            Some(run_id) if !self.store.plan_is_free(&plan.plan_hash).await? => {
                let hash = short_hash(&plan.plan_hash).to_owned();
                Err(PlanError::Executed { hash, run_id: run_id.clone() }.into())
            }
            _ => Ok(()),
        }
    }

    /// What a plan and a run of now would not agree about; up to `most` differences are named.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn plan_differences(
        &self,
        plan: &PlanRow,
        ask: &PlanAsk,
        most: usize,
    ) -> Result<PlanDifferences, EngineError> {
        let mut differences = PlanDifferences::default();
        if plan.definition_hash != ask.definition_hash {
            let both = (plan.definition_hash.clone(), ask.definition_hash.clone());
            differences.definition = Some(both);
        }
        for org in self.store.orgs().await? {
            if ask.rules.scope.has_org(&org) {
                self.compare_org(plan, ask, &org, (&mut differences, most)).await?;
            }
        }
        Ok(differences)
    }

    async fn compare_org(
        &self,
        plan: &PlanRow,
        ask: &PlanAsk,
        org: &OrgId,
        (differences, most): (&mut PlanDifferences, usize),
    ) -> Result<(), EngineError> {
        let mut foresight = self.foresee(org, &ask.rules, ask.rules.periods.instant).await?;
        let mut after: Option<WalletKey> = None;
        while let Some(page) = foresight.next().await? {
            let Some(upto) = foresight.after.clone() else { break };
            let lines =
                self.store.plan_lines_between(org, &plan.plan_id, after.as_ref(), &upto).await?;
            differences.push(compare(org, &page, lines), most);
            after = Some(upto);
        }
        loop {
            let (affiliate, currency) = after
                .as_ref()
                .map_or(("", ""), |wallet| (wallet.affiliate_id.as_str(), wallet.currency.code()));
            let bounds = (affiliate, currency);
            let beyond = self.store.plan_lines(org, &plan.plan_id, bounds, "", PAGE).await?;
            let Some(last) = beyond.last() else { return Ok(()) };
            differences.push(beyond.iter().map(|line| line.gone(org)).collect(), most);
            after = Some(last.wallet());
        }
    }
}

fn compare(org: &OrgId, page: &[Foreseen], lines: Vec<PlanLine>) -> Vec<LineDifference> {
    let mut planned: HashMap<WalletKey, PlanLine> =
        lines.into_iter().map(|line| (line.wallet(), line)).collect();
    let mut differences = Vec::new();
    for Foreseen { line, .. } in page {
        match planned.remove(&line.wallet()) {
            None => differences.push(line.unplanned(org)),
            Some(planned) => differences.extend(planned.differences(org, line)),
        }
    }
    let mut gone: Vec<_> = planned.into_values().collect();
    gone.sort_by_key(|line| (line.affiliate_id.to_string(), line.currency.to_string()));
    differences.extend(gone.iter().map(|line| line.gone(org)));
    differences
}

/// The digits of a hash that people are shown.
pub fn short_hash(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
