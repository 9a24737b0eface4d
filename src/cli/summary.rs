//! `summary`: where an org's money stands.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::output::{Output, money, table, totals};
use super::{App, Exit};
use crate::config::Config;
use crate::domain::{CommissionStatus, Currency, Money, MoneyTotals, OrgId, RunId};
use crate::store::{DecisionCount, PayoutSum, Store, WalletSum};

/// How many, and how much.
#[derive(Debug, Default, Serialize)]
struct Sum {
    count: i64,
    amount: MoneyTotals,
}

impl Sum {
    fn add(&mut self, count: i64, amount: Money) -> anyhow::Result<()> {
        self.count += count;
        Ok(self.amount.add(amount)?)
    }

    /// A sum that shows a zero in each currency rather than nothing.
    fn zero(currencies: &BTreeSet<Currency>) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for currency in currencies {
            sum.amount.add(Money::new(0, *currency))?;
        }
        Ok(sum)
    }
}

/// The last auto-payout run's decisions.
#[derive(Debug, Default)]
struct LastAutoPayout {
    run_id: Option<RunId>,
    paid: Sum,
    skipped: BTreeMap<String, Sum>,
}

struct Summary {
    org: OrgId,
    commissions: BTreeMap<CommissionStatus, Sum>,
    wallets: Vec<WalletSum>,
    payouts: Vec<PayoutSum>,
    last: LastAutoPayout,
}

/// Prints the summary of an org.
pub async fn run(config: &Config, output: Output, org: Option<&str>) -> anyhow::Result<Exit> {
    let app = App::open(config).await?;
    let org = app.org(org).await?;
    let summary = read(&app.engine.store, org).await?;
    if output.json {
        output.json(&value(&summary)?)?;
    } else {
        print(output, &summary)?;
    }
    Ok(Exit::Done)
}

async fn read(store: &Store, org: OrgId) -> anyhow::Result<Summary> {
    let wallets = store.wallet_sums(&org).await?;
    let currencies: BTreeSet<_> = wallets.iter().map(|wallet| wallet.currency).collect();
    let mut commissions = BTreeMap::new();
    for status in [CommissionStatus::Held, CommissionStatus::Qualified, CommissionStatus::Paid] {
        commissions.insert(status, Sum::zero(&currencies)?);
    }
    for sum in store.commission_sums(&org).await? {
        let amount = Money::new(sum.amount_minor, sum.currency);
        commissions.entry(sum.status).or_default().add(sum.commissions, amount)?;
    }
    let mut last = LastAutoPayout { paid: Sum::zero(&currencies)?, ..LastAutoPayout::default() };
    if let Some(run_id) = store.last_deciding_run(&org).await? {
        for DecisionCount { first_gate, currency, decisions, amount_minor } in
            store.decision_counts(&org, &run_id).await?
        {
            let sum = match first_gate {
                None => &mut last.paid,
                Some(gate) => last.skipped.entry(gate.to_string()).or_default(),
            };
            sum.add(decisions, Money::new(amount_minor, currency))?;
        }
        last.run_id = Some(run_id);
    }
    let payouts = store.payout_sums(&org).await?;
    Ok(Summary { org, commissions, wallets, payouts, last })
}

fn value(summary: &Summary) -> anyhow::Result<Value> {
    let commissions: Map<String, Value> =
        summary.commissions.iter().map(|(status, sum)| (status.to_string(), json!(sum))).collect();
    let wallet = |sum: &WalletSum| {
        let amount = |minor| Money::new(minor, sum.currency).to_string();
        let buckets = json!({
            "held": amount(sum.held_minor), "available": amount(sum.available_minor),
            "in_flight": amount(sum.in_flight_minor), "paid": amount(sum.paid_minor),
        });
        (sum.currency.to_string(), buckets)
    };
    let by_program: Vec<_> = summary
        .payouts
        .iter()
        .map(|sum| {
            json!({
                "program": sum.program_id, "method": sum.method_kind, "status": sum.status,
                "currency": sum.currency, "count": sum.payouts,
                "amount": Money::new(sum.amount_minor, sum.currency).to_string(),
            })
        })
        .collect();
    Ok(json!({
        "org": summary.org,
        "commissions": commissions,
        "wallets": summary.wallets.iter().map(wallet).collect::<Map<_, _>>(),
        "payouts": payouts(summary)?,
        "payouts_by_program": by_program,
        "last_auto_payout": {
            "run_id": summary.last.run_id,
            "paid": summary.last.paid,
            "skipped": summary.last.skipped,
        },
    }))
}

/// Payouts by method, status and currency, over all programs.
fn payouts(summary: &Summary) -> anyhow::Result<Vec<Value>> {
    let mut sums: BTreeMap<_, (i64, Money)> = BTreeMap::new();
    for sum in &summary.payouts {
        let key = (sum.method_kind, sum.status, sum.currency);
        let (count, amount) = sums.entry(key).or_insert((0, Money::new(0, sum.currency)));
        *count += sum.payouts;
        *amount = amount.checked_add(Money::new(sum.amount_minor, sum.currency))?;
    }
    let value = |((method, status, currency), (count, amount)): (_, (i64, Money))| {
        let (method, status, currency): (
            crate::domain::MethodKind,
            crate::domain::PayoutStatus,
            Currency,
        ) = (method, status, currency);
        json!({
            "method": method, "status": status, "currency": currency, "count": count,
            "amount": amount.to_string(),
        })
    };
    Ok(sums.into_iter().map(value).collect())
}

fn print(output: Output, summary: &Summary) -> anyhow::Result<()> {
    output.text(&format!("org {}\n", summary.org))?;
    let row = |(status, sum): (&CommissionStatus, &Sum)| {
        vec![status.to_string(), sum.count.to_string(), totals(&sum.amount)]
    };
    let rows = summary.commissions.iter().map(row).collect();
    output.text(&table(&["commissions", "count", "amount"], &[1, 2], rows))?;
    let row = |sum: &WalletSum| {
        let amount = |minor| Money::new(minor, sum.currency).to_string();
        vec![
            sum.currency.to_string(),
            amount(sum.held_minor),
            amount(sum.available_minor),
            amount(sum.in_flight_minor),
            amount(sum.paid_minor),
        ]
    };
    let rows = summary.wallets.iter().map(row).collect();
    let headings = ["wallets", "held", "available", "in flight", "paid"];
    output.text(&format!("\n{}", table(&headings, &[1, 2, 3, 4], rows)))?;
    let row = |sum: &PayoutSum| {
        vec![
            sum.program_id.to_string(),
            sum.method_kind.to_string(),
            sum.status.to_string(),
            sum.payouts.to_string(),
            money(Money::new(sum.amount_minor, sum.currency)),
        ]
    };
    let rows = summary.payouts.iter().map(row).collect();
    let headings = ["payouts of", "method", "status", "count", "amount"];
    output.text(&format!("\n{}", table(&headings, &[3, 4], rows)))?;
    let Some(run_id) = &summary.last.run_id else {
        return output.text("\nno auto-payout has run yet");
    };
    let row =
        |(reason, sum): (String, &Sum)| vec![reason, sum.count.to_string(), totals(&sum.amount)];
    let skipped = summary.last.skipped.iter().map(|(gate, sum)| (format!("skipped: {gate}"), sum));
    let rows =
        [("paid".to_owned(), &summary.last.paid)].into_iter().chain(skipped).map(row).collect();
    output.text(&format!("\nlast auto-payout: {run_id}"))?;
    output.text(&table(&["decision", "count", "amount"], &[1, 2], rows))
}
