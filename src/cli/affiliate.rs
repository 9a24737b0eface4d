//! `affiliate`: why was one paid, or not.

use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{Output, money, table, time};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{AffiliateId, GateCheck, MethodStatus, Money, OrgId};
use crate::engine::{Explanation, WalletExplanation};
use crate::jobs::{Definition, Task};
use crate::store::DecisionRow;

#[derive(Debug, Subcommand)]
pub enum AffiliateCommand {
    /// Why was this affiliate paid or not: each gate with its numbers, next due date, last decisions
    Explain {
        /// Id of the affiliate
        id: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// Ask the rail of an affiliate's payout method whether it can receive money, and keep the
    /// answer as the method's status (Stripe Connect: are transfers active)
    VerifyMethod {
        /// Id of the affiliate
        id: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
}

/// Runs one `affiliate` command.
pub async fn run(
    config: &Config,
    output: Output,
    command: AffiliateCommand,
) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    match command {
        AffiliateCommand::Explain { id, org } => {
            let (org, id) = known_affiliate(&app, org.as_deref(), &id).await?;
            explain(&app, output, &org, &id).await
        }
        AffiliateCommand::VerifyMethod { id, org } => {
            let (org, id) = known_affiliate(&app, org.as_deref(), &id).await?;
            verify_method(&app, output, &org, &id).await
        }
    }
}

async fn known_affiliate(
    app: &App,
    org: Option<&str>,
    id: &str,
) -> anyhow::Result<(OrgId, AffiliateId)> {
    let org = app.org(org).await?;
    let id: AffiliateId = id.parse().map_err(|error| UsageError(format!("{error}")))?;
    if !app.engine.store.affiliate_exists(&org, &id).await? {
        return Err(UsageError(format!("there is no affiliate {id} in org {org}")).into());
    }
    Ok((org, id))
}

/// Exit 1 if the rail says that the method cannot receive money.
async fn verify_method(
    app: &App,
    output: Output,
    org: &OrgId,
    id: &AffiliateId,
) -> anyhow::Result<Exit> {
    let (status, problem) = app.engine.verify_method(&app.work(), org, id).await?;
    let reason = problem.map(|problem| problem.to_string());
    if output.json {
        output.json(&json!({"affiliate_id": id, "status": status, "reason": reason}))?;
    } else {
        let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        output.text(&format!("the payout method of {id} is {status}{why}"))?;
    }
    Ok(if status == MethodStatus::Verified { Exit::Done } else { Exit::Failed })
}

async fn explain(app: &App, output: Output, org: &OrgId, id: &AffiliateId) -> anyhow::Result<Exit> {
    let payer = payer(app, org);
    let now = app.engine.clock.now();
    let period =
        payer.map(|(job, period)| period.key(now, job.schedule.zone())).unwrap_or_default();
    let explanation = app.engine.explain(org, id, &period).await?;
    if output.json {
        output.json(&value(app, &explanation, payer.map(|(job, _)| job))?)?;
    } else {
        print(app, output, &explanation, payer.map(|(job, _)| job))?;
    }
    Ok(Exit::Done)
}

/// The job that pays the org's affiliates automatically.
fn payer<'a>(app: &'a App, org: &OrgId) -> Option<(&'a Definition, crate::jobs::Period)> {
    app.runner.catalog.iter().find_map(|job| match job.task {
        Task::RequestPayouts { period, .. } if job.scope.has_org(org) => Some((job, period)),
        _ => None,
    })
}

fn value(app: &App, explanation: &Explanation, job: Option<&Definition>) -> anyhow::Result<Value> {
    let now = app.engine.clock.now();
    let wallet = |wallet: &WalletExplanation| {
        json!({
            "currency": wallet.available.currency, "available": wallet.available.to_string(),
            "would_be_paid": wallet.would_be_paid(), "gates": wallet.gates,
        })
    };
    let decision = |decision: &DecisionRow| -> anyhow::Result<Value> {
        Ok(json!({
            "run_id": decision.run_id, "decided_at": decision.decided_at,
            "currency": decision.currency, "paid": decision.payout_id.is_some(),
            "available": Money::new(decision.available_minor, decision.currency).to_string(),
            "payout_id": decision.payout_id, "failing_gates": decision.failing()?,
        }))
    };
    let decisions = explanation.decisions.iter().map(decision).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "affiliate_id": explanation.affiliate_id,
        "job": job.map(|job| json!({
            "job_id": job.job_id, "enabled": job.enabled,
            "next_due": job.schedule.next(now),
        })),
        "wallets": explanation.wallets.iter().map(wallet).collect::<Vec<_>>(),
        "decisions": decisions,
    }))
}

fn print(
    app: &App,
    output: Output,
    explanation: &Explanation,
    job: Option<&Definition>,
) -> anyhow::Result<()> {
    let next = job.and_then(|job| job.schedule.next(app.engine.clock.now()));
    match (job, next) {
        (Some(job), Some(next)) if job.enabled => {
            output.text(&format!("next due: {} ({})", time(next), job.job_id))?;
        }
        (Some(job), Some(next)) => output.text(&format!(
            "next due: {} if {} were enabled; it is off",
            time(next),
            job.job_id
        ))?,
        _ => output.text("no job pays automatically")?,
    }
    if explanation.wallets.is_empty() {
        output.text("\nit has earned nothing yet: no wallet")?;
    }
    for wallet in &explanation.wallets {
        let verdict = match (wallet.available.minor, wallet.would_be_paid()) {
            (0, _) => "nothing to pay",
            (_, true) => "would be paid now",
            (_, false) => "would not be paid now",
        };
        output.text(&format!("\navailable {}: {verdict}", money(wallet.available)))?;
        let row = |check: &GateCheck| {
            let mark = if check.passed { "pass" } else { "FAIL" };
            vec![
                format!("  {mark}"),
                check.gate.to_string(),
                check.wants.clone(),
                check.found.clone(),
            ]
        };
        let rows = wallet.gates.iter().map(row).collect();
        output.text(&table(&["  ", "gate", "wants", "found"], &[], rows))?;
    }
    let row = |decision: &DecisionRow| -> anyhow::Result<Vec<String>> {
        let failing = decision.failing()?;
        let failing: Vec<_> = failing.iter().map(|check| check.gate.as_str()).collect();
        let paid = decision.payout_id.as_ref().map(|id| format!("paid as {id}"));
        Ok(vec![
            time(decision.decided_at),
            money(Money::new(decision.available_minor, decision.currency)),
            paid.unwrap_or_else(|| format!("skipped: {}", failing.join(", "))),
        ])
    };
    let rows: Vec<_> = explanation.decisions.iter().map(row).collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return output.text("\nno run has decided about it yet");
    }
    output.text(&format!("\n{}", table(&["decided", "available", "decision"], &[1], rows)))
}
