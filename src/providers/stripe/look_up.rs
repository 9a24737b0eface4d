//! What became of a transfer: by Stripe's id of it where that is known, else by its group.

use super::call::{Line, Question};
use super::list::transfers;
use super::units::from_stripe;
use super::wire::{Page, Payout, Transfer, account};
use crate::providers::{Found, ItemReport, OutgoingItem, Problem, Standing};

/// Failed payouts of a connected account that are told of.
const PAYOUTS_SHOWN: usize = 3;

/// Asks what became of `item`, whose transfer Stripe calls `id` if it has told.
pub(super) async fn look_up(line: &Line, item: &OutgoingItem, id: Option<&str>) -> Found {
    let known = match id {
        Some(id) => line.read(Question::of(&["v1", "transfers", id])).await.map(|one| vec![one]),
        None => transfers(line, &[("transfer_group", item.reference.to_string())]).await,
    };
    match known {
        Ok(transfers) => found(line, item, &transfers).await,
        // An id that Stripe gave us and does not know proves nothing: another key, maybe.
        Err(unread) => Found::Unclear(unread.problem()),
    }
}

async fn found(line: &Line, item: &OutgoingItem, transfers: &[Transfer]) -> Found {
    let [first, others @ ..] = transfers else {
        let words = format!("Stripe has no transfer of the group {}", item.reference);
        return Found::Nothing(Problem::new("no_transfer_of_group", words));
    };
    // What a person sent back by hand after a double is no double any more.
    let standing: Vec<_> = transfers.iter().filter(|transfer| !transfer.reversed).collect();
    let mut report = match standing.as_slice() {
        [] => told(line, item, first).await,
        [only] => told(line, item, only).await,
        several => doubled(item, several),
    };
    if !others.is_empty() {
        let ids: Vec<_> = transfers.iter().map(|transfer| transfer.id.as_str()).collect();
        let words = format!("Stripe made several transfers of this reference: {}", ids.join(", "));
        report.note = joined(Some(words), report.note);
    }
    Found::Items(vec![report])
}

/// The report of one transfer, with what a person may want to know of the payee's account.
async fn told(line: &Line, item: &OutgoingItem, transfer: &Transfer) -> ItemReport {
    let report = report(item, transfer);
    if !(item.settled && report.standing == Standing::Settled) {
        return report;
    }
    let note = failed_payouts(line, item, transfer).await;
    ItemReport { note: joined(report.note, note), ..report }
}

fn report(item: &OutgoingItem, transfer: &Transfer) -> ItemReport {
    let (standing, status, problem) = match strange(item, transfer) {
        Some(problem) => (Standing::Open, "unclear", Some(problem)),
        None => standing(transfer),
    };
    let partly = problem.as_ref().filter(|problem| problem.code == "partly_reversed");
    ItemReport {
        reference: item.reference.clone(),
        provider_id: Some(transfer.id.clone()),
        standing,
        provider_status: status.to_owned(),
        amount: transfer.money(),
        note: partly.map(|problem| problem.message.clone()),
        problem,
    }
}

/// Why a transfer is not taken for ours, or not read at all. Its amount is for the engine to hold
/// against what was asked.
fn strange(item: &OutgoingItem, transfer: &Transfer) -> Option<Problem> {
    let problem = |code, words: String| Some(Problem::new(code, words));
    let id = &transfer.id;
    if transfer.transfer_group.as_deref() != Some(item.reference.as_str()) {
        return problem("another_transfer", format!("{id} is not of the group of this reference"));
    }
    // Of a destination that cannot be read any more nothing is known to compare with.
    let asked = account(item);
    if !asked.is_empty() && transfer.destination.as_deref() != Some(asked) {
        return problem("destination_differs", format!("{id} went to another account than asked"));
    }
    if transfer.money().is_none() || transfer.money_back().is_none() {
        return problem("amount_unreadable", format!("{id} has an amount that cannot be read"));
    }
    None
}

/// A transfer is made at once and has no status: what can still happen to it is a reversal.
fn standing(transfer: &Transfer) -> (Standing, &'static str, Option<Problem>) {
    let (Some(sent), Some(back)) = (transfer.money(), transfer.money_back()) else {
        return unclear(transfer);
    };
    match (transfer.reversed, back.minor) {
        (false, 0) => (Standing::Settled, "created", None),
        (true, _) if back == sent => (Standing::Returned, "reversed", None),
        (false, 1..) if back.minor < sent.minor => {
            let words = format!("{back} of {sent} {} came back", sent.currency);
            let problem = Problem::new("partly_reversed", words);
            (Standing::Settled, "partly_reversed", Some(problem))
        }
        _ => unclear(transfer),
    }
}

fn unclear(transfer: &Transfer) -> (Standing, &'static str, Option<Problem>) {
    let words = format!("what Stripe says came back of {} does not fit together", transfer.id);
    (Standing::Open, "unclear", Some(Problem::new("reversal_unclear", words)))
}

/// Several transfers stand for one reference: a person has to send all but one back.
fn doubled(item: &OutgoingItem, standing: &[&Transfer]) -> ItemReport {
    let words =
        format!("{} transfers of this reference stand: send all but one back", standing.len());
    ItemReport {
        reference: item.reference.clone(),
        provider_id: item.provider_id.clone(),
        standing: Standing::Open,
        provider_status: "doubled".to_owned(),
        amount: None,
        problem: Some(Problem::new("doubled_transfer", words)),
        note: None,
    }
}

/// The connected account's payouts to its own bank that failed after the transfer. Good to know,
/// and no more: without an answer there is nothing to tell.
async fn failed_payouts(line: &Line, item: &OutgoingItem, transfer: &Transfer) -> Option<String> {
    let query = [
        ("status", "failed".to_owned()),
        ("created[gte]", transfer.created.to_string()),
        ("limit", PAYOUTS_SHOWN.to_string()),
    ];
    let account = Some(account(item));
    let question = Question { query: &query, account, ..Question::of(&["v1", "payouts"]) };
    let page: Page<Payout> = line.read_once(question).await.ok()?;
    let ours = |payout: &&Payout| {
        payout.status == "failed" && payout.currency.eq_ignore_ascii_case(&transfer.currency)
    };
    let failed: Vec<String> = page.data.iter().filter(ours).map(describe).collect();
    let more = if page.has_more { ", and more" } else { "" };
    (!failed.is_empty()).then(|| {
        format!("payouts of the connected account to its bank failed: {}{more}", failed.join("; "))
    })
}

fn describe(payout: &Payout) -> String {
    let amount = from_stripe(payout.amount, &payout.currency);
    let amount = amount.map(|money| format!(" of {money} {}", money.currency));
    let why = payout.failure_code.as_deref().or(payout.failure_message.as_deref());
    let why = why.map(|why| format!(" ({why})"));
    format!("{}{}{}", payout.id, amount.unwrap_or_default(), why.unwrap_or_default())
}

fn joined(one: Option<String>, other: Option<String>) -> Option<String> {
    let notes: Vec<String> = [one, other].into_iter().flatten().collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}
