//! `plan`: what a run would do, written down before; and `job run --dry-run`, `--plan`.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::app::operator;
use super::exit::UsageError;
use super::job::end_of;
use super::output::{Output, money, table, time, totals};
use super::{App, Exit};
use crate::config::Config;
use crate::daemon;
use crate::domain::{LineDifference, Money, OrgId, PlanLine};
use crate::engine::{
    EngineError, OrgPlan, PlanDifferences, PlanError, PlanFunding, PlanLimit, PlanSummary, Skips,
    short_hash, summary_of,
};
use crate::store::PlanRow;

/// Differences that are named, where nobody asks for all.
const NAMED: usize = 20;
/// Lines read at once.
const PAGE: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Plans, newest first
    List {
        /// Of this job alone
        #[arg(long)]
        job: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: i64,
    },
    /// A plan: who is paid how much by which rail, who is not and why, and the totals
    Show {
        /// Its hash, or the first digits of it (at least 8)
        hash: String,
        /// Of this org alone
        #[arg(long)]
        org: Option<String>,
        /// Wallets that are listed; the totals are of all
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
}

/// Runs one `plan` command.
pub async fn run(config: &Config, output: Output, command: PlanCommand) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    match command {
        PlanCommand::List { job, limit } => list(&app, output, job.as_deref(), limit).await,
        PlanCommand::Show { hash, org, limit } => {
            let plan = app.engine.find_plan(&hash).await?;
            let orgs = match org {
                Some(org) => vec![app.org(Some(&org)).await?],
                None => app.engine.store.orgs().await?,
            };
            show(&app, output, &plan, (&orgs, limit)).await?;
            Ok(Exit::Done)
        }
    }
}

/// Writes a plan of a job, and shows it.
pub async fn make(
    app: &App,
    output: Output,
    id: &str,
    planned_for: Option<DateTime<Utc>>,
) -> anyhow::Result<Exit> {
    let job = app.runner.catalog.job(id)?;
    let plan = app.runner.make_plan(&app.work(), job, planned_for).await??;
    let orgs = app.engine.store.orgs().await?;
    show(app, output, &plan, (&orgs, 50)).await?;
    app.engine.store.close().await;
    Ok(Exit::Done)
}

/// Executes a plan, if the world is still as it says.
pub async fn execute(app: &App, output: Output, id: &str, hash: &str) -> anyhow::Result<Exit> {
    let job = app.runner.catalog.job(id)?;
    let most = if output.json { usize::MAX } else { NAMED };
    let plan = match app.runner.ready_plan(job, hash, most).await {
        Ok(plan) => plan,
        Err(EngineError::Plan(PlanError::Stale { hash, differences })) => {
            print_stale(output, &hash, &differences)?;
            return Ok(Exit::Refused);
        }
        Err(error) => return Err(error.into()),
    };
    let stop = CancellationToken::new();
    daemon::stop_on_signals(&stop)?;
    let run = app.runner.run_plan(id, &operator(), &plan, &stop).await?;
    end_of(app, output, &run).await
}

fn print_stale(output: Output, hash: &str, found: &PlanDifferences) -> anyhow::Result<()> {
    if output.json {
        return output.json(&json!({
            "refused": "stale_plan", "plan": hash, "definition": found.definition,
            "differences": found.count, "lines": found.lines,
        }));
    }
    output.text(&format!("plan {hash} is stale, and nothing was done"))?;
    if let Some((planned, now)) = &found.definition {
        output.text(&format!("the job was edited: definition {planned} then, {now} now"))?;
    }
    let row = |one: &LineDifference| {
        vec![
            one.org_id.to_string(),
            one.affiliate_id.to_string(),
            one.currency.to_string(),
            one.what.to_owned(),
            one.planned.clone(),
            one.found.clone(),
        ]
    };
    if found.count == 0 {
        return Ok(());
    }
    let headings = ["org", "affiliate", "currency", "what", "planned", "now"];
    output.text(&table(&headings, &[], found.lines.iter().map(row).collect()))?;
    let named = found.lines.len();
    output.text(&format!("{named} of {} differences; --json names all", found.count))
}

async fn list(app: &App, output: Output, job: Option<&str>, limit: i64) -> anyhow::Result<Exit> {
    if !(1..=1_000).contains(&limit) {
        return Err(UsageError(format!("--limit is {limit}: it may be 1 to 1000")).into());
    }
    let plans = app.engine.store.plans(job.unwrap_or_default(), "", limit).await?;
    if output.json {
        let values = plans.iter().map(plan_value).collect::<anyhow::Result<Vec<_>>>()?;
        output.json(&values)?;
        return Ok(Exit::Done);
    }
    let mut rows = Vec::new();
    for plan in &plans {
        let total = summary_of(plan)?.total()?;
        rows.push(vec![
            short_hash(&plan.plan_hash).to_owned(),
            plan.job_id.clone(),
            time(plan.made_at),
            time(plan.planned_for),
            format!("{} ({})", total.pays.count, totals(&total.pays.amount)),
            plan.run_id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        ]);
    }
    let headings = ["plan", "job", "made", "for", "pays", "executed by"];
    output.text(&table(&headings, &[], rows))?;
    Ok(Exit::Done)
}

/// A plan without its lines, as JSON.
fn plan_value(plan: &PlanRow) -> anyhow::Result<Value> {
    let summary = summary_of(plan)?;
    Ok(json!({
        "plan": plan.plan_hash, "short": short_hash(&plan.plan_hash), "job_id": plan.job_id,
        "definition_hash": plan.definition_hash, "planned_for": plan.planned_for,
        "made_by": plan.made_by, "made_at": plan.made_at, "run_id": plan.run_id,
        "total": summary.total()?, "orgs": summary.orgs, "funding": summary.funding,
    }))
}

fn line_value(org: &OrgId, line: &PlanLine) -> Value {
    let text = |minor| Money::new(minor, line.currency).to_string();
    let pays = line.pays.as_ref();
    json!({
        "org": org, "affiliate_id": line.affiliate_id, "program_id": line.program_id,
        "currency": line.currency, "period": line.period, "available": text(line.available_minor),
        "pays": pays.map(|pays| text(pays.amount_minor)),
        "rail": pays.map(|pays| pays.method_kind),
        "destination_id": pays.map(|pays| &pays.destination_id),
        "approval": pays.map(|pays| pays.approval.split(',').filter(|one| !one.is_empty())
            .collect::<Vec<_>>()),
        "failing_gates": line.failing,
    })
}

async fn show(
    app: &App,
    output: Output,
    plan: &PlanRow,
    (orgs, limit): (&[OrgId], i64),
) -> anyhow::Result<()> {
    if output.json {
        let mut value = plan_value(plan)?;
        let mut lines = Vec::new();
        for org in orgs {
            for line in lines_of(app, plan, org, ("", i64::MAX)).await? {
                lines.push(line_value(org, &line));
            }
        }
        value["lines"] = lines.into();
        return output.json(&value);
    }
    let summary = summary_of(plan)?;
    print_head(output, plan, &summary)?;
    for org in orgs {
        print_lines(app, output, plan, (org, limit)).await?;
    }
    Ok(())
}

/// Up to `limit` lines of a plan in an org, read page by page: paid, skipped, or all.
async fn lines_of(
    app: &App,
    plan: &PlanRow,
    org: &OrgId,
    (which, limit): (&str, i64),
) -> anyhow::Result<Vec<PlanLine>> {
    let mut lines: Vec<PlanLine> = Vec::new();
    loop {
        let left = limit.saturating_sub(i64::try_from(lines.len()).unwrap_or(i64::MAX));
        let after = lines.last().map(|line| (line.affiliate_id.to_string(), line.currency));
        let after =
            after.as_ref().map_or(("", ""), |(id, currency)| (id.as_str(), currency.code()));
        let page = PAGE.min(left);
        let mut next = app.engine.store.plan_lines(org, &plan.plan_id, after, which, page).await?;
        if next.is_empty() || page == 0 {
            return Ok(lines);
        }
        lines.append(&mut next);
    }
}

fn counted(skips: &Skips) -> String {
    format!("{} ({})", skips.count, totals(&skips.amount))
}

fn print_head(output: Output, plan: &PlanRow, summary: &PlanSummary) -> anyhow::Result<()> {
    let OrgPlan { pays, needs_approval, rails, skipped, limits: _ } = summary.total()?;
    let mut text = format!(
        "plan {}  {}  for {}\n  {}\n  made {} by {}\n  pays {}",
        short_hash(&plan.plan_hash),
        plan.job_id,
        time(plan.planned_for),
        plan.plan_hash,
        time(plan.made_at),
        plan.made_by,
        counted(&pays)
    );
    for (rail, skips) in &rails {
        text += &format!("\n    by {rail}: {}", counted(skips));
    }
    if needs_approval.count > 0 {
        text += &format!("\n    waiting for an approval: {}", counted(&needs_approval));
    }
    for (gate, skips) in &skipped {
        text += &format!("\n  passes over {gate}: {}", counted(skips));
    }
    for (org, part) in &summary.orgs {
        for PlanLimit { holder, limit, currency, most, asked } in &part.limits {
            let currency = currency.as_deref().unwrap_or("payouts");
            text += &format!("\n  {org} {holder} {limit}: {asked} of {most} {currency}");
        }
    }
    for one in &summary.funding {
        text += &format!("\n  {}", funding_words(one));
    }
    if let Some(run_id) = &plan.run_id {
        text += &format!("\n  executed by {run_id}");
    }
    output.text(&text)
}

fn funding_words(one: &PlanFunding) -> String {
    let PlanFunding { rail, currency, planned, committed, balance, short, problem } = one;
    let has = match (balance, problem) {
        (Some(balance), _) => format!("has {balance}"),
        (None, Some(problem)) => format!("does not tell its balance: {problem}"),
        (None, None) => "cannot tell its balance".to_owned(),
    };
    let short = short.as_ref().map(|short| format!(": SHORT OF {short}")).unwrap_or_default();
    format!(
        "funding {rail} {currency}: needs {planned} beside {committed} on its way, {has}{short}"
    )
}

async fn print_lines(
    app: &App,
    output: Output,
    plan: &PlanRow,
    (org, limit): (&OrgId, i64),
) -> anyhow::Result<()> {
    let paid = lines_of(app, plan, org, ("paid", limit)).await?;
    let left = limit - i64::try_from(paid.len()).unwrap_or(limit);
    let skipped = lines_of(app, plan, org, ("skipped", left)).await?;
    let row = |line: &PlanLine| {
        let gates: Vec<_> = line.failing.iter().map(|gate| gate.as_str()).collect();
        let what = match &line.pays {
            Some(pays) if pays.approval.is_empty() => format!("by {}", pays.method_kind),
            Some(pays) => format!("by {}, after an approval ({})", pays.method_kind, pays.approval),
            None => format!("not paid: {}", gates.join(", ")),
        };
        let amount = line.pays.as_ref().map_or(line.available_minor, |pays| pays.amount_minor);
        vec![
            line.affiliate_id.to_string(),
            line.program_id.to_string(),
            line.period.clone(),
            money(Money::new(amount, line.currency)),
            what,
        ]
    };
    let rows: Vec<_> = paid.iter().chain(&skipped).map(row).collect();
    if rows.is_empty() {
        return output.text(&format!("\n{org}: nobody to decide about"));
    }
    let headings = ["affiliate", "program", "period", "amount", "what"];
    output.text(&format!("\n{org}\n{}", table(&headings, &[3], rows)))
}
