//! Plans: what a run would do, written down before; their lines, page by page.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{
    AffiliateId, Currency, DestinationId, Gate, MethodKind, OrgId, PlanId, PlanLine, Planned,
    ProgramId, RunId, WalletKey,
};

const PLAN_DRAFT: &str = "
    INSERT INTO plans (plan_id, job_id, definition_hash, planned_for, made_by, made_at, summary)
    VALUES ($1, $2, $3, $4, $5, $6, '')";
// Of two who write the same plan at once the second fails on the hash, which is unique.
const PLAN_SEAL: &str = "UPDATE plans SET plan_hash = $2, summary = $3 WHERE plan_id = $1";
const PLAN_RENEW: &str = "
    UPDATE plans SET planned_for = $2, made_by = $3, made_at = $4, summary = $5
    WHERE plan_hash = $1 AND run_id IS NULL";
// A plan is executed once. One whose run ended without having asked for anything is as it was.
macro_rules! free {
    () => {
        concat!(
            "
      (run_id IS NULL
       OR (EXISTS (SELECT 1 FROM job_runs r WHERE r.run_id = plans.run_id
                     AND r.state IN ('skipped', 'cancelled', 'failed', 'lost', 'timed_out'))
           AND NOT EXISTS (SELECT 1 FROM payouts p WHERE p.run_id = plans.run_id)))"
        )
    };
}
const PLAN_TAKE: &str = concat!("UPDATE plans SET run_id = $2 WHERE plan_hash = $1 AND ", free!());
const PLAN_FREE: &str = concat!("SELECT COUNT(*) FROM plans WHERE plan_hash = $1 AND ", free!());

macro_rules! plans {
    ($($tail:literal),+) => { concat!("
    SELECT plan_id, plan_hash, job_id, definition_hash, planned_for, made_by, made_at, summary,
           run_id
    FROM plans WHERE plan_hash IS NOT NULL ", $($tail),+) };
}
const PLAN: &str = plans!("AND plan_hash = $1");
// 'g' comes after every hexadecimal digit.
const PLANS_NAMED: &str =
    plans!("AND plan_hash >= $1 AND plan_hash < $2 ORDER BY plan_hash LIMIT 2");
const PLAN_OF_RUN: &str = plans!("AND run_id = $1");
const PLANS: &str = plans!(
    "AND (job_id = $1 OR $1 = '') AND (plan_id < $2 OR $2 = '') ORDER BY plan_id DESC LIMIT $3"
);

const PREVIEWS: &str = "
    SELECT scheduled_for FROM job_runs
    WHERE job_id = $1 AND trigger_kind = 'preview' AND scheduled_for > $2 AND scheduled_for <= $3";

const LINES_INSERT: &str = "
    INSERT INTO plan_lines (org_id, plan_id, affiliate_id, currency, program_id, period,
                            available_minor, amount_minor, method_kind, destination_id,
                            approval_reasons, failing_gates)
    {rows}";
macro_rules! lines {
    ($($tail:literal),+) => { concat!("
    SELECT affiliate_id, currency, program_id, period, available_minor, amount_minor, method_kind,
           destination_id, approval_reasons, failing_gates
    FROM plan_lines
    WHERE org_id = $1 AND plan_id = $2 AND (affiliate_id, currency) > ($3, $4) ", $($tail),+) };
}
const LINES_PAGE: &str = lines!(
    "AND ($5 = '' OR ($5 = 'paid' AND amount_minor IS NOT NULL)
                  OR ($5 = 'skipped' AND amount_minor IS NULL))
     ORDER BY affiliate_id, currency LIMIT $6"
);
const LINES_UPTO: &str = lines!("AND (affiliate_id, currency) <= ($5, $6)");
const LINES_BEYOND: &str = lines!("ORDER BY affiliate_id, currency LIMIT $5");
const LINES_DELETE: &str = "
    DELETE FROM plan_lines WHERE org_id = $1 AND (plan_id, affiliate_id, currency) IN (
        SELECT plan_id, affiliate_id, currency FROM plan_lines
        WHERE org_id = $1 AND plan_id = $2 LIMIT $3)";
const PLAN_DELETE: &str = "DELETE FROM plans WHERE plan_id = $1";
// What was never finished is in nobody's way after a day.
const PLANS_OLD: &str = "
    SELECT plan_id FROM plans
    WHERE made_at < $1 OR (plan_hash IS NULL AND made_at < $2) ORDER BY made_at LIMIT $3";

/// A plan, without its lines.
#[derive(Debug, Clone, FromRow)]
pub struct PlanRow {
    pub plan_id: PlanId,
    /// SHA-256 in hexadecimal digits.
    pub plan_hash: String,
    pub job_id: String,
    pub definition_hash: String,
    /// The instant that it was made for.
    pub planned_for: DateTime<Utc>,
    pub made_by: String,
    pub made_at: DateTime<Utc>,
    /// Its totals, as JSON.
    pub summary: String,
    /// The run that executed it, or is about to.
    pub run_id: Option<RunId>,
}

/// A plan that is being written.
#[derive(Debug, Clone)]
pub struct NewPlan {
    pub plan_id: PlanId,
    pub job_id: String,
    pub definition_hash: String,
    pub planned_for: DateTime<Utc>,
    pub made_by: String,
}

#[derive(FromRow)]
struct LineRow {
    affiliate_id: AffiliateId,
    currency: Currency,
    program_id: ProgramId,
    period: String,
    available_minor: i64,
    amount_minor: Option<i64>,
    method_kind: Option<MethodKind>,
    destination_id: Option<DestinationId>,
    approval_reasons: Option<String>,
    failing_gates: String,
}

impl LineRow {
    fn into_line(self) -> Result<PlanLine, StoreError> {
        let corrupt = |source| StoreError::Corrupt {
            id: format!("the plan for {}", self.affiliate_id),
            source,
        };
        let failing: Vec<Gate> = serde_json::from_str(&self.failing_gates).map_err(corrupt)?;
        let pays = match (self.amount_minor, self.method_kind, self.destination_id) {
            (Some(amount_minor), Some(method_kind), Some(destination_id)) => {
                let approval = self.approval_reasons.unwrap_or_default();
                Some(Planned { amount_minor, method_kind, destination_id, approval })
            }
            _ => None,
        };
        Ok(PlanLine {
            affiliate_id: self.affiliate_id,
            currency: self.currency,
            program_id: self.program_id,
            period: self.period,
            available_minor: self.available_minor,
            pays,
            failing,
        })
    }
}

fn into_lines(rows: Vec<LineRow>) -> Result<Vec<PlanLine>, StoreError> {
    rows.into_iter().map(LineRow::into_line).collect()
}

/// A wallet as the bounds of a page; before the first wallet without one.
fn bound(wallet: Option<&WalletKey>) -> (&str, &str) {
    wallet.map_or(("", ""), |key| (key.affiliate_id.as_str(), key.currency.code()))
}

impl Tx {
    /// Begins a plan, which nobody finds before it is sealed.
    pub async fn plan_draft(
        &mut self,
        plan: &NewPlan,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let insert = sql(PLAN_DRAFT).bind(&plan.plan_id).bind(plan.job_id.as_str());
        let insert = insert.bind(plan.definition_hash.as_str()).bind(plan.planned_for);
        insert.bind(plan.made_by.as_str()).bind(now).run(self).await?;
        Ok(())
    }

    /// Writes a page of a plan's lines.
    pub async fn plan_lines_insert(
        &mut self,
        org: &OrgId,
        plan: &PlanId,
        lines: &[PlanLine],
    ) -> Result<(), StoreError> {
        let row = |line: &PlanLine| {
            let failing = serde_json::to_string(&line.failing).expect("gates are words");
            let pays = line.pays.as_ref();
            vec![
                org.into(),
                plan.into(),
                (&line.affiliate_id).into(),
                (&line.currency).into(),
                (&line.program_id).into(),
                line.period.as_str().into(),
                line.available_minor.into(),
                Value::Int(pays.map(|pays| pays.amount_minor)),
                pays.map(|pays| &pays.method_kind).into(),
                pays.map(|pays| &pays.destination_id).into(),
                pays.map(|pays| pays.approval.clone()).into(),
                failing.into(),
            ]
        };
        let rows: Vec<_> = lines.iter().map(row).collect();
        sql(LINES_INSERT).run_with(self, &rows).await?;
        Ok(())
    }

    /// Names a plan by its hash, with its totals.
    ///
    /// # Errors
    /// A duplicate if there is a plan of that hash.
    pub async fn plan_seal(
        &mut self,
        plan: &PlanId,
        (hash, summary): (&str, &str),
    ) -> Result<(), StoreError> {
        sql(PLAN_SEAL).bind(plan).bind(hash).bind(summary).run(self).await?;
        Ok(())
    }

    /// Says of a plan that is not executed that it was made again now.
    pub async fn plan_renew(
        &mut self,
        (hash, summary): (&str, &str),
        new: &NewPlan,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let update = sql(PLAN_RENEW).bind(hash).bind(new.planned_for).bind(new.made_by.as_str());
        update.bind(now).bind(summary).run(self).await?;
        Ok(())
    }

    /// Takes a plan for a run; false if another run has it.
    pub async fn plan_take(&mut self, hash: &str, run: &RunId) -> Result<bool, StoreError> {
        Ok(sql(PLAN_TAKE).bind(hash).bind(run).run(self).await? == 1)
    }

    /// The lines about the wallets after `after`, up to `upto` and with it.
    pub async fn plan_lines_upto(
        &mut self,
        org: &OrgId,
        plan: &PlanId,
        after: Option<&WalletKey>,
        upto: &WalletKey,
    ) -> Result<Vec<PlanLine>, StoreError> {
        let (affiliate, currency) = bound(after);
        let query = sql(LINES_UPTO).bind(org).bind(plan).bind(affiliate).bind(currency);
        let (affiliate, currency) = bound(Some(upto));
        into_lines(query.bind(affiliate).bind(currency).all(self).await?)
    }

    /// Up to `limit` lines about the wallets after `after`.
    pub async fn plan_lines_beyond(
        &mut self,
        org: &OrgId,
        plan: &PlanId,
        after: Option<&WalletKey>,
        limit: i64,
    ) -> Result<Vec<PlanLine>, StoreError> {
        let (affiliate, currency) = bound(after);
        let query = sql(LINES_BEYOND).bind(org).bind(plan).bind(affiliate).bind(currency);
        into_lines(query.bind(limit).all(self).await?)
    }

    /// Deletes up to `limit` lines of a plan in an org; how many.
    pub async fn plan_lines_delete(
        &mut self,
        org: &OrgId,
        plan: &PlanId,
        limit: i64,
    ) -> Result<u64, StoreError> {
        sql(LINES_DELETE).bind(org).bind(plan).bind(limit).run(self).await
    }

    /// Deletes a plan whose lines are gone.
    pub async fn plan_delete(&mut self, plan: &PlanId) -> Result<(), StoreError> {
        sql(PLAN_DELETE).bind(plan).run(self).await?;
        Ok(())
    }
}

impl Store {
    /// The plan of a whole hash.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn plan(&self, hash: &str) -> Result<Option<PlanRow>, StoreError> {
        sql(PLAN).bind(hash).read_maybe(&self.pools).await
    }

    /// The plan that a run executes, if it executes one.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn plan_of_run(&self, run: &RunId) -> Result<Option<PlanRow>, StoreError> {
        sql(PLAN_OF_RUN).bind(run).read_maybe(&self.pools).await
    }

    /// Whether a run could take the plan.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn plan_is_free(&self, hash: &str) -> Result<bool, StoreError> {
        let (free,): (i64,) = sql(PLAN_FREE).bind(hash).read_one(&self.pools).await?;
        Ok(free == 1)
    }

    /// The instants in `(after, upto]` for which a job has a preview.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn previews_upto(
        &self,
        job_id: &str,
        after: DateTime<Utc>,
        upto: DateTime<Utc>,
    ) -> Result<Vec<DateTime<Utc>>, StoreError> {
        let query = sql(PREVIEWS).bind(job_id).bind(after).bind(upto);
        let rows: Vec<(DateTime<Utc>,)> = query.read_all(&self.pools).await?;
        Ok(rows.into_iter().map(|(instant,)| instant).collect())
    }

    /// Up to two plans whose hash begins with `prefix`, which is of hexadecimal digits.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn plans_named(&self, prefix: &str) -> Result<Vec<PlanRow>, StoreError> {
        sql(PLANS_NAMED).bind(prefix).bind(format!("{prefix}g")).read_all(&self.pools).await
    }

    /// Plans, newest first, of one job or of all (`""`), before the plan `before` (`""` for the
    /// newest).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn plans(
        &self,
        job_id: &str,
        before: &str,
        limit: i64,
    ) -> Result<Vec<PlanRow>, StoreError> {
        sql(PLANS).bind(job_id).bind(before).bind(limit).read_all(&self.pools).await
    }

    /// A page of a plan's lines in an org after (affiliate, currency): `paid`, `skipped` or all
    /// (`""`).
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn plan_lines(
        &self,
        org: &OrgId,
        plan: &PlanId,
        (affiliate, currency): (&str, &str),
        which: &str,
        limit: i64,
    ) -> Result<Vec<PlanLine>, StoreError> {
        let query = sql(LINES_PAGE).bind(org).bind(plan).bind(affiliate).bind(currency);
        into_lines(query.bind(which).bind(limit).read_all(&self.pools).await?)
    }

    /// The lines about the wallets after `after`, up to `upto` and with it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn plan_lines_between(
        &self,
        org: &OrgId,
        plan: &PlanId,
        after: Option<&WalletKey>,
        upto: &WalletKey,
    ) -> Result<Vec<PlanLine>, StoreError> {
        let (affiliate, currency) = bound(after);
        let query = sql(LINES_UPTO).bind(org).bind(plan).bind(affiliate).bind(currency);
        let (affiliate, currency) = bound(Some(upto));
        into_lines(query.bind(affiliate).bind(currency).read_all(&self.pools).await?)
    }

    /// Plans made before `before`, and those that were begun before `unfinished` and never ended.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn plans_old(
        &self,
        before: DateTime<Utc>,
        unfinished: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<PlanId>, StoreError> {
        let query = sql(PLANS_OLD).bind(before).bind(unfinished).bind(limit);
        let rows: Vec<(PlanId,)> = query.read_all(&self.pools).await?;
        Ok(rows.into_iter().map(|(plan_id,)| plan_id).collect())
    }
}
