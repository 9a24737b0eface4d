//! `affiliate`: why was one paid, or not.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{Output, money, table, time};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{AffiliateId, GateCheck, MethodId, MethodStatus, Money, OrgId};
use crate::engine::{EngineError, Explanation, Started, WalletExplanation};
use crate::jobs::Outlook;
use crate::store::{DecisionRow, PaymentMethod};

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
    /// Verify a payment method of an affiliate: its default one in the way of its rail (Stripe
    /// Connect: are transfers active; PayPal: where its holder consents; ACH: two deposits leave),
    /// or by your own word
    VerifyMethod {
        /// Id of the affiliate
        id: String,
        /// Another method than the default one
        #[arg(long)]
        method: Option<String>,
        /// You have looked: take your word for it, with what you saw
        #[arg(long, value_name = "NOTE")]
        vouch: Option<String>,
        /// You have looked, and it is not the holder's: it fails, with what you saw
        #[arg(long, value_name = "NOTE", conflicts_with = "vouch")]
        reject: Option<String>,
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
        AffiliateCommand::VerifyMethod { id, method, vouch, reject, org } => {
            let (org, id) = known_affiliate(&app, org.as_deref(), &id).await?;
            let method = named_method(&app, &org, &id, method.as_deref()).await?;
            let word = vouch.map(|note| (true, note)).or(reject.map(|note| (false, note)));
            verify_method(&app, output, &org, (&id, &method), word).await
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

/// The method that was named, or the default one.
async fn named_method(
    app: &App,
    org: &OrgId,
    affiliate: &AffiliateId,
    named: Option<&str>,
) -> anyhow::Result<PaymentMethod> {
    let store = &app.engine.store;
    let method = match named {
        None => store.method_of(org, affiliate).await?,
        Some(id) => {
            let id: MethodId = id.parse().map_err(|error| UsageError(format!("{error}")))?;
            let method = store.method(org, &id).await?;
            method.filter(|method| method.affiliate_id == *affiliate)
        }
    };
    let affiliate_id = affiliate.to_string();
    Ok(method.ok_or(EngineError::NoMethod { affiliate_id })?)
}

/// Exit 1 if the method is known to be unable to receive money.
async fn verify_method(
    app: &App,
    output: Output,
    org: &OrgId,
    (id, method): (&AffiliateId, &PaymentMethod),
    word: Option<(bool, String)>,
) -> anyhow::Result<Exit> {
    let (work, method_id) = (app.work(), &method.method_id);
    let (mut status, mut reason, mut address, mut until) = (method.status, None, None, None);
    match word {
        Some((is_good, note)) => {
            app.engine.judge_method(&work, org, method_id, (is_good, &note)).await?;
            status = if is_good { MethodStatus::Verified } else { MethodStatus::Failed };
        }
        None => match app.engine.start_verification(&work, org, method_id).await? {
            Started::Told { status: told, problem } => {
                (status, reason) = (told, problem.map(|problem| problem.to_string()));
            }
            Started::Consent { address: page, until: end } => {
                (address, until) = (Some(page), Some(end));
            }
            Started::Deposits { until: end } => until = Some(end),
        },
    }
    if output.json {
        output.json(&json!({
            "affiliate_id": id, "method_id": method_id, "status": status, "reason": reason,
            "authorize_url": address, "expires_at": until,
        }))?;
    } else {
        let how = match (&address, until) {
            (Some(page), _) => format!("; its holder signs in at {page}"),
            (None, Some(end)) => {
                format!("; two deposits leave, and its holder tells the amounts by {}", time(end))
            }
            (None, None) => reason.map(|reason| format!(": {reason}")).unwrap_or_default(),
        };
        output.text(&format!("the payment method {method_id} of {id} is {status}{how}"))?;
    }
    let is_bad = until.is_none() && status != MethodStatus::Verified;
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}

async fn explain(app: &App, output: Output, org: &OrgId, id: &AffiliateId) -> anyhow::Result<Exit> {
    let (outlook, explanation) = app.runner.explain(org, id).await?;
    if output.json {
        output.json(&value(&explanation, outlook.as_ref())?)?;
    } else {
        print(output, &explanation, outlook.as_ref())?;
    }
    Ok(Exit::Done)
}

fn value(explanation: &Explanation, job: Option<&Outlook>) -> anyhow::Result<Value> {
    let wallet = |wallet: &WalletExplanation| {
        json!({
            "currency": wallet.available.currency, "program_id": wallet.program_id,
            "available": wallet.available.to_string(),
            "released_by_then": wallet.released_by_then.to_string(),
            "expected": wallet.expected.to_string(), "period": wallet.period,
            "in_scope": wallet.in_scope, "would_be_paid": wallet.would_be_paid(),
            "approval": wallet.approval, "gates": wallet.gates,
        })
    };
    let decision = |decision: &DecisionRow| -> anyhow::Result<Value> {
        Ok(json!({
            "run_id": decision.run_id, "decided_at": decision.decided_at,
            "scheduled_for": decision.scheduled_for,
            "currency": decision.currency, "paid": decision.payout_id.is_some(),
            "available": Money::new(decision.available_minor, decision.currency).to_string(),
            "payout_id": decision.payout_id, "failing_gates": decision.failing()?,
        }))
    };
    let decisions = explanation.decisions.iter().map(decision).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "affiliate_id": explanation.affiliate_id,
        "job": job.map(|job| json!({
            "job_id": job.job_id, "enabled": job.enabled, "next_due": job.next_due,
            "next_instant": job.next_instant, "why_none": job.why_none, "timezone": job.timezone,
        })),
        "as_of": explanation.as_of,
        "assumptions": explanation.assumptions,
        "wallets": explanation.wallets.iter().map(wallet).collect::<Vec<_>>(),
        "decisions": decisions,
    }))
}

fn print(output: Output, explanation: &Explanation, job: Option<&Outlook>) -> anyhow::Result<()> {
    let head = match job {
        None => "no job pays automatically".to_owned(),
        Some(Outlook { job_id, next_due: Some(due), .. }) => {
            format!("next due: {} ({job_id})", time(*due))
        }
        Some(Outlook { job_id, next_instant, why_none, .. }) => {
            let why = why_none.as_deref().unwrap_or_default();
            let would = next_instant.map(|at| format!("; it would be {}", time(at)));
            format!("next due: never ({job_id}): {why}{}", would.unwrap_or_default())
        }
    };
    output.text(&head)?;
    if explanation.wallets.is_empty() {
        output.text("\nit has earned nothing yet: no wallet")?;
    }
    for wallet in &explanation.wallets {
        print_wallet(output, wallet, explanation.as_of)?;
    }
    if !explanation.wallets.is_empty() {
        output.text(&format!("\nassuming that {}", explanation.assumptions.join("; ")))?;
    }
    print_decisions(output, explanation)
}

fn print_wallet(
    output: Output,
    wallet: &WalletExplanation,
    as_of: DateTime<Utc>,
) -> anyhow::Result<()> {
    let verdict = match (wallet.expected.minor, wallet.would_be_paid()) {
        _ if !wallet.in_scope => "not in the job's scope".to_owned(),
        (0, _) => "nothing to pay".to_owned(),
        (_, true) if wallet.approval.is_empty() => "would be paid".to_owned(),
        (_, true) => {
            let reasons: Vec<_> = wallet.approval.iter().map(|reason| reason.as_str()).collect();
            format!("would wait for an approval ({})", reasons.join(", "))
        }
        (_, false) => "would not be paid".to_owned(),
    };
    let period = wallet.period.as_ref().map(|key| format!(", for {key}")).unwrap_or_default();
    output.text(&format!(
        "\navailable {}, {} more released by then; at {}: {} expected{period}, {verdict}",
        money(wallet.available),
        wallet.released_by_then,
        time(as_of),
        money(wallet.expected),
    ))?;
    let row = |check: &GateCheck| {
        let mark = if check.passed { "pass" } else { "FAIL" };
        vec![format!("  {mark}"), check.gate.to_string(), check.wants.clone(), check.found.clone()]
    };
    let rows = wallet.gates.iter().map(row).collect();
    output.text(&table(&["  ", "gate", "wants", "found"], &[], rows))
}

fn print_decisions(output: Output, explanation: &Explanation) -> anyhow::Result<()> {
    let row = |decision: &DecisionRow| -> anyhow::Result<Vec<String>> {
        let failing = decision.failing()?;
        let word = |check: &GateCheck| {
            format!("{} (wants {}, found {})", check.gate, check.wants, check.found)
        };
        let failing: Vec<_> = failing.iter().map(word).collect();
        let paid = decision.payout_id.as_ref().map(|id| format!("paid as {id}"));
        Ok(vec![
            time(decision.decided_at),
            decision.run_id.to_string(),
            decision.scheduled_for.map_or_else(|| "-".to_owned(), time),
            money(Money::new(decision.available_minor, decision.currency)),
            paid.unwrap_or_else(|| format!("skipped: {}", failing.join(", "))),
        ])
    };
    let rows: Vec<_> = explanation.decisions.iter().map(row).collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return output.text("\nno run has decided about it yet");
    }
    output.text(&format!(
        "\n{}",
        table(&["decided", "run", "due", "available", "decision"], &[3], rows)
    ))
}
