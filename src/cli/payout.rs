//! `payout`: list, show, approve, retry, cancel.

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output::{Output, money, table, time};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{Money, OrgId, PayoutId, PayoutStatus};
use crate::engine::Finding;
use crate::store::{HaltRow, LineRow, PayoutFilter, PayoutRow};

/// Rows read per page.
const PAGE: i64 = 500;

#[derive(Debug, Subcommand)]
pub enum PayoutCommand {
    /// Payouts, oldest first
    List {
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
        /// Only this status: pending, approved, processing, completed, failed, cancelled, returned
        #[arg(long)]
        status: Option<PayoutStatus>,
        /// Only this affiliate
        #[arg(long)]
        affiliate: Option<String>,
        /// Only payouts after this id: the next page
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// How many
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// One payout: what it pays, its attempts, its history
    Show {
        /// Id of the payout
        id: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// Let a payout go that waits for an approval; somebody else than its requester has to
    Approve {
        /// Id of the payout
        id: String,
        /// For its history
        #[arg(long, default_value = "")]
        note: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// Request the amount of a failed, cancelled or returned payout again, through all the gates
    Retry {
        /// Id of the payout
        id: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// Send a payout in review, and all that left with it, again: you looked at the provider, and
    /// nothing of it was paid
    Resend {
        /// Id of the payout
        id: String,
        /// Said aloud, because sending what was paid pays twice
        #[arg(long, required = true)]
        nothing_was_paid: bool,
        /// What was found at the provider, for the record
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        reason: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// End a payout in review by what you found at its provider: the payee has the money, or has
    /// not got it and will not (then it becomes available again)
    Mark {
        /// Id of the payout
        id: String,
        /// The payee has the money
        #[arg(long, conflicts_with = "not_paid", required_unless_present = "not_paid")]
        paid: bool,
        /// The payee has not got the money, and will not
        #[arg(long)]
        not_paid: bool,
        /// What was found at the provider, for the record
        #[arg(long, value_parser = NonEmptyStringValueParser::new())]
        reason: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
    /// Cancel a payout that was not sent yet; its money becomes available again
    Cancel {
        /// Id of the payout
        id: String,
        /// Why, for the record
        #[arg(long, default_value = "cancelled by an operator")]
        reason: String,
        /// Org; may be left out if there is only one
        #[arg(long)]
        org: Option<String>,
    },
}

/// Runs one `payout` command.
pub async fn run(config: &Config, output: Output, command: PayoutCommand) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    match command {
        PayoutCommand::List { org, status, affiliate, after, limit } => {
            let org = app.org(org.as_deref()).await?;
            let filter = PayoutFilter {
                status: status.map(|status| status.to_string()).unwrap_or_default(),
                affiliate_id: affiliate.unwrap_or_default(),
                after: after.unwrap_or_default(),
                limit: limit.max(1),
            };
            list(output, &app.engine.store.payouts(&org, &filter).await?)?;
        }
        PayoutCommand::Show { id, org } => {
            let org = app.org(org.as_deref()).await?;
            show(&app, output, &org, &payout_id(&id)?).await?;
        }
        PayoutCommand::Approve { id, note, org } => {
            let org = app.org(org.as_deref()).await?;
            approve(&app, output, &org, (&id, &note)).await?;
        }
        PayoutCommand::Retry { id, org } => {
            let org = app.org(org.as_deref()).await?;
            let retried = app.engine.retry(&app.work(), &org, &payout_id(&id)?).await?;
            if output.json {
                output.json(&json!({"payout_id": retried, "retry_of": id}))?;
            } else {
                output.text(&format!("requested again as {retried}"))?;
            }
        }
        PayoutCommand::Resend { id, nothing_was_paid: _, reason, org } => {
            let org = app.org(org.as_deref()).await?;
            let payouts = app.engine.resend(&app.work(), &org, &payout_id(&id)?, &reason).await?;
            if output.json {
                output.json(&json!({"payout_id": id, "sent_again": payouts}))?;
            } else {
                output.text(&format!(
                    "{payouts} payouts are sent again by the next submit-transfers"
                ))?;
            }
        }
        PayoutCommand::Mark { id, paid, not_paid: _, reason, org } => {
            let org = app.org(org.as_deref()).await?;
            let finding = if paid { Finding::Paid } else { Finding::NotPaid };
            let found = (finding, reason.as_str());
            app.engine.mark(&app.work(), &org, &payout_id(&id)?, found).await?;
            let status = if paid { "completed" } else { "failed" };
            if output.json {
                output.json(&json!({"payout_id": id, "status": status}))?;
            } else {
                output.text(&format!("{id} is {status} by what you found"))?;
            }
        }
        PayoutCommand::Cancel { id, reason, org } => {
            let org = app.org(org.as_deref()).await?;
            app.engine.cancel(&app.work(), &org, &payout_id(&id)?, &reason).await?;
            if output.json {
                output.json(&json!({"payout_id": id, "status": "cancelled"}))?;
            } else {
                output.text(&format!("cancelled {id}; its money is available again"))?;
            }
        }
    }
    app.engine.store.close().await;
    Ok(Exit::Done)
}

async fn approve(
    app: &App,
    output: Output,
    org: &OrgId,
    (id, note): (&str, &str),
) -> anyhow::Result<()> {
    app.engine.approve(&app.work(), org, &payout_id(id)?, note).await?;
    if output.json {
        return output.json(&json!({"payout_id": id, "status": "approved"}));
    }
    output.text(&format!("approved {id}; the next submit-transfers sends it"))
}

fn payout_id(id: &str) -> Result<PayoutId, UsageError> {
    id.parse().map_err(|error| UsageError(format!("{error}")))
}

fn list(output: Output, payouts: &[PayoutRow]) -> anyhow::Result<()> {
    if output.json {
        return output.json(&payouts.iter().map(value).collect::<Vec<_>>());
    }
    output.text(&payout_table(payouts))
}

/// Payouts as a table.
pub fn payout_table(payouts: &[PayoutRow]) -> String {
    let row = |payout: &PayoutRow| {
        vec![
            payout.payout_id.to_string(),
            payout.affiliate_id.to_string(),
            payout.program_id.to_string(),
            money(Money::new(payout.amount_minor, payout.currency)),
            payout.method_kind.to_string(),
            payout.status.to_string(),
            time(payout.requested_at),
            payout.failure_message.clone().or(payout.waiting_for.clone()).unwrap_or_default(),
        ]
    };
    let headings =
        ["payout", "affiliate", "program", "amount", "method", "status", "requested", "why"];
    table(&headings, &[3], payouts.iter().map(row).collect())
}

fn value(payout: &PayoutRow) -> Value {
    json!({
        "payout_id": payout.payout_id, "affiliate_id": payout.affiliate_id,
        "program": payout.program_id, "currency": payout.currency,
        "amount": Money::new(payout.amount_minor, payout.currency).to_string(),
        "method": payout.method_kind, "status": payout.status, "origin": payout.origin,
        "period": payout.period, "period_from": payout.period_from,
        "period_until": payout.period_until, "run_id": payout.run_id, "retry_of": payout.retry_of,
        "retried_as": payout.retried_as, "requested_by": payout.requested_by,
        "requested_at": payout.requested_at, "updated_at": payout.updated_at,
        "waiting_for": payout.waiting_for, "failure_code": payout.failure_code, "failure_message": payout.failure_message,
        "requires_approval": payout.requires_approval == 1,
        "approval_reasons": payout.approval_reasons(), "approved_by": payout.approved_by,
        "approved_at": payout.approved_at,
    })
}

async fn show(app: &App, output: Output, org: &OrgId, id: &PayoutId) -> anyhow::Result<()> {
    let store = &app.engine.store;
    let payout = store.payout(org, id).await?;
    let payout =
        payout.ok_or_else(|| UsageError(format!("there is no payout {id} in org {org}")))?;
    let mut lines = Vec::new();
    loop {
        let after = lines.last().map_or(0, |line: &LineRow| line.line_no);
        let page = store.lines(org, id, after, PAGE).await?;
        if page.is_empty() {
            break;
        }
        lines.extend(page);
    }
    let (attempts, events) = (store.attempts(org, id).await?, store.events(org, id).await?);
    let amount = |minor| Money::new(minor, payout.currency).to_string();
    let halts = store.halts(Some(org)).await?;
    let halt = halts.iter().find(|it| it.covers(payout.method_kind, Some(&payout.program_id)));
    let waits_for = waits_for(app, &payout, halt);
    if output.json {
        let mut value = value(&payout);
        value["lines"] = lines
            .iter()
            .map(|line| {
                json!({"commission_id": line.commission_id, "adjustment_id": line.adjustment_id,
                       "amount": amount(line.amount_minor)})
            })
            .collect();
        value["transfers"] = json!(attempts);
        value["history"] = json!(events);
        value["waits_for"] = json!(waits_for);
        return output.json(&value);
    }
    output.text(&payout_table(std::slice::from_ref(&payout)))?;
    for words in [period_of(&payout), waits_for].into_iter().flatten() {
        output.text(&format!("\n{words}"))?;
    }
    let rows = events.iter().map(|event| {
        vec![
            time(event.occurred_at),
            event.status.to_string(),
            event.actor.clone(),
            event.reason.clone(),
        ]
    });
    output.text(&format!("\n{}", table(&["when", "status", "who", "why"], &[], rows.collect())))?;
    for note in attempts.iter().filter_map(|attempt| attempt.note.as_deref()) {
        output.text(&format!("\n{note}"))?;
    }
    let rows = attempts.iter().map(|attempt| {
        let problem =
            attempt.problem_message.clone().or(attempt.submission_problem_message.clone());
        vec![
            attempt.reference.to_string(),
            attempt.state.to_string(),
            attempt.provider_status.clone().unwrap_or_default(),
            attempt.provider_id.clone().unwrap_or_default(),
            attempt.next_check_at.map(time).unwrap_or_default(),
            problem.unwrap_or_default(),
        ]
    });
    let headings =
        ["reference", "transfer", "provider says", "provider id", "next check", "problem"];
    output.text(&format!("\n{}", table(&headings, &[], rows.collect())))?;
    let rows = lines.iter().map(|line| vec![item_of(line), amount(line.amount_minor)]);
    output.text(&format!("\n{}", table(&["pays commission", "amount"], &[1], rows.collect())))
}

/// The period that an automatic payout belongs to, with its interval.
fn period_of(payout: &PayoutRow) -> Option<String> {
    let (from, until) = (payout.period_from?, payout.period_until?);
    let key = payout.period.as_ref()?;
    Some(format!("for {key}: from {} until {}", time(from), time(until)))
}

/// What a line pays, or nets.
fn item_of(line: &LineRow) -> String {
    match (&line.commission_id, &line.adjustment_id) {
        (Some(commission), _) => commission.to_string(),
        (None, Some(adjustment)) => format!("adjustment {adjustment}"),
        (None, None) => String::new(),
    }
}

/// What a payout that was not sent yet is waiting for.
fn waits_for(app: &App, payout: &PayoutRow, halt: Option<&HaltRow>) -> Option<String> {
    let waits = matches!(payout.status, PayoutStatus::Pending | PayoutStatus::Approved);
    let kind = payout.method_kind;
    let configured = app.engine.rails().any(|rail| rail.kind() == kind);
    match &payout.waiting_for {
        _ if payout.status == PayoutStatus::Pending && payout.requires_approval == 1 => {
            let reasons = payout.approval_reasons().join(", ");
            let why = if reasons.is_empty() { reasons } else { format!(" ({reasons})") };
            Some(format!(
                "it waits for somebody's approval{why}: payoutd payout approve {}",
                payout.payout_id
            ))
        }
        _ if waits && halt.is_some() => Some("it is halted, see `payoutd halt list`".to_owned()),
        _ if waits && !configured => Some(format!(
            "it waits for its rail: {kind} is not configured, see [providers.{}]",
            kind.section()
        )),
        Some(reason) => Some(format!("it waits: {reason}; see `payoutd alert list`")),
        None => None,
    }
}
