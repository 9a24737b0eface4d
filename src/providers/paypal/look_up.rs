//! What became of a batch: all of its pages, or its last few open items one by one.

use std::collections::HashMap;

use super::call::Line;
use super::wire::{BatchPage, ItemState, problem_of};
use crate::providers::{Found, ItemReport, Outgoing, OutgoingItem, Problem, Standing};

/// Up to this many open items are asked for one by one: fewer bytes than a large batch's pages.
const FEW: usize = 5;
/// PayPal's own highest page number.
const MAX_PAGES: usize = 1_000;

/// Why there is no answer to apply: an end of the look-up, in [`Found`]'s terms.
type Ended<T> = Result<T, Found>;

/// Asks what became of `outgoing`.
pub(super) async fn look_up(line: &Line, page_size: usize, outgoing: &Outgoing) -> Found {
    let Some(batch_id) = outgoing.provider_batch_id.as_deref() else {
        let words = "PayPal has not told its own id of this batch";
        return Found::Nothing(Problem::new("no_provider_batch_id", words));
    };
    if let Some(ids) = few_open_ids(outgoing) {
        match read_items(line, &ids).await {
            Ok(states) => return Found::Items(reports(outgoing, &states, false)),
            // An item that PayPal does not know under its id is looked for in its batch.
            Err(Found::Nothing(_)) => {}
            Err(end) => return end,
        }
    }
    match read_batch(line, batch_id, page_size).await {
        Ok((states, dead)) => Found::Items(reports(outgoing, &states, dead)),
        Err(end) => end,
    }
}

/// The ids of the open items, if asking one by one is worth it.
fn few_open_ids(outgoing: &Outgoing) -> Option<Vec<&str>> {
    let open: Vec<&OutgoingItem> = outgoing.items.iter().filter(|item| item.open).collect();
    if open.is_empty() || open.len() > FEW || open.len() == outgoing.items.len() {
        return None;
    }
    open.into_iter().map(|item| item.provider_id.as_deref()).collect()
}

async fn read_items(line: &Line, ids: &[&str]) -> Ended<Vec<ItemState>> {
    let mut states = Vec::with_capacity(ids.len());
    for id in ids {
        states.push(read(line, &["v1", "payments", "payouts-item", id], &[]).await?);
    }
    Ok(states)
}

/// All items of the batch, and whether the batch as a whole is dead.
async fn read_batch(line: &Line, id: &str, page_size: usize) -> Ended<(Vec<ItemState>, bool)> {
    let path = ["v1", "payments", "payouts", id];
    let mut states = Vec::new();
    for number in 1..=MAX_PAGES {
        let query = [
            ("page", number.to_string()),
            ("page_size", page_size.to_string()),
            ("total_required", "true".to_owned()),
        ];
        let page: BatchPage = read(line, &path, &query).await?;
        let last = page.items.is_empty() || page.total_pages.is_some_and(|total| number >= total);
        states.extend(page.items);
        if last {
            let dead = matches!(page.batch_header.batch_status.as_str(), "DENIED" | "CANCELED");
            return Ok((states, dead));
        }
    }
    let words = format!("the batch goes on after {MAX_PAGES} pages of {page_size} items");
    Err(Found::Unclear(Problem::new("too_many_pages", words)))
}

async fn read<T: serde::de::DeserializeOwned>(
    line: &Line,
    path: &[&str],
    query: &[(&str, String)],
) -> Ended<T> {
    let answer = line.get(path, query).await.map_err(Found::Unclear)?;
    if !answer.is_ok() {
        let problem = problem_of(&answer);
        let unknown = answer.status == 404 && problem.code == "INVALID_RESOURCE_ID";
        return Err(if unknown { Found::Nothing(problem) } else { Found::Unclear(problem) });
    }
    serde_json::from_str(&answer.text).map_err(|error| {
        let words = format!("PayPal's answer cannot be read: {error}");
        Found::Unclear(Problem::new("unreadable_answer", words))
    })
}

/// What PayPal says of our items, in our order. In a dead batch an item that it leaves out was
/// not paid either; else it is left out here too, and stays open.
fn reports(outgoing: &Outgoing, states: &[ItemState], dead: bool) -> Vec<ItemReport> {
    let mut by_reference = HashMap::new();
    let mut by_id = HashMap::new();
    for state in states {
        // An item that carries a reference is matched by it alone: its id proves less.
        match (&state.payout_item.sender_item_id, &state.payout_item_id) {
            (Some(reference), _) => by_reference.entry(reference.as_str()).or_insert(state),
            (None, Some(id)) => by_id.entry(id.as_str()).or_insert(state),
            (None, None) => continue,
        };
    }
    let report_of = |item: &OutgoingItem| {
        let by_id = || by_id.get(item.provider_id.as_deref()?);
        match by_reference.get(item.reference.as_str()).or_else(by_id) {
            Some(state) => Some(report(item, state, dead)),
            // What was settled is undone by the item's own word alone, not by its absence.
            None => (dead && !item.settled).then(|| left_out(item)),
        }
    };
    outgoing.items.iter().filter_map(report_of).collect()
}

fn report(item: &OutgoingItem, state: &ItemState, dead: bool) -> ItemReport {
    let amount = state.payout_item.amount.as_ref().and_then(super::wire::Amount::money);
    let (standing, problem) = match standing(&state.transaction_status, dead && !item.settled) {
        // Nothing settles on less than the amount that PayPal says it paid.
        Standing::Settled if amount.is_none() => (Standing::Open, Some(unreadable_amount())),
        standing => (standing, state.problem()),
    };
    ItemReport {
        reference: item.reference.clone(),
        provider_id: state.payout_item_id.clone().or_else(|| item.provider_id.clone()),
        standing,
        provider_status: state.transaction_status.clone(),
        amount,
        problem,
        note: None,
    }
}

fn unreadable_amount() -> Problem {
    let words =
        "PayPal says SUCCESS of an amount that is missing or cannot be read: look it up by hand";
    Problem::new("amount_unreadable", words)
}

fn left_out(item: &OutgoingItem) -> ItemReport {
    let words = "PayPal denied the batch and does not list the item";
    ItemReport {
        reference: item.reference.clone(),
        provider_id: item.provider_id.clone(),
        standing: Standing::Rejected,
        provider_status: "DENIED".to_owned(),
        amount: None,
        problem: Some(Problem::new("BATCH_DENIED", words)),
        note: None,
    }
}

/// PayPal's word in our terms; in a dead batch only money that moved counts as moved.
///
/// `RETURNED` is PayPal's word for money that was never claimed, so it is `Rejected`. Should it
/// come after `SUCCESS`, it is the engine that knows what was settled before.
fn standing(word: &str, dead: bool) -> Standing {
    match word {
        "SUCCESS" => Standing::Settled,
        "REFUNDED" | "REVERSED" => Standing::Returned,
        "FAILED" | "BLOCKED" | "DENIED" | "RETURNED" => Standing::Rejected,
        _ if dead => Standing::Rejected,
        _ => Standing::Open,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{Destination, MethodKind, Money};
    use chrono::DateTime;

    fn outgoing(items: usize) -> Outgoing {
        let currency = "USD".parse().expect("a currency");
        let destination = Destination::parse(MethodKind::Paypal, r#"{"email":"a@b.c"}"#);
        let destination = destination.expect("a destination");
        let item = |index: usize| OutgoingItem {
            provider_id: Some(format!("P{index}")),
            ..OutgoingItem::new(
                format!("ITEM0000000000{index}").parse().expect("a reference"),
                "po_01JMAGWPW0000000000000000A".parse().expect("an id"),
                destination.clone(),
                Money::new(1_234, currency),
            )
        };
        let (org, reference) = ("acme".parse(), "BATCH0000000001".parse());
        let (org, reference) = (org.expect("an id"), reference.expect("a reference"));
        let items = (0..items).map(item).collect();
        let outgoing = Outgoing::new(org, reference, items, currency, DateTime::UNIX_EPOCH);
        Outgoing { provider_batch_id: Some("B1".to_owned()), ..outgoing }
    }

    fn states(items: Value) -> Vec<ItemState> {
        serde_json::from_value(items).expect("items")
    }

    #[test]
    fn every_word_has_its_standing_and_an_unknown_one_stays_open() {
        for (word, alive, dead) in [
            ("SUCCESS", Standing::Settled, Standing::Settled),
            ("PENDING", Standing::Open, Standing::Rejected),
            ("ONHOLD", Standing::Open, Standing::Rejected),
            ("UNCLAIMED", Standing::Open, Standing::Rejected),
            ("NEW", Standing::Open, Standing::Rejected),
            ("ACKNOWLEDGED", Standing::Open, Standing::Rejected),
            ("", Standing::Open, Standing::Rejected),
            ("SOMETHING_NEW", Standing::Open, Standing::Rejected),
            ("FAILED", Standing::Rejected, Standing::Rejected),
            ("BLOCKED", Standing::Rejected, Standing::Rejected),
            ("DENIED", Standing::Rejected, Standing::Rejected),
            ("RETURNED", Standing::Rejected, Standing::Rejected),
            ("REFUNDED", Standing::Returned, Standing::Returned),
            ("REVERSED", Standing::Returned, Standing::Returned),
        ] {
            assert_eq!((standing(word, false), standing(word, true)), (alive, dead), "{word}");
        }
    }

    #[test]
    fn items_are_matched_by_our_reference_and_only_without_one_by_paypals_id() {
        let states = states(json!([
            {"payout_item_id": "P0", "transaction_status": "SUCCESS",
             "payout_item": {"sender_item_id": "ITEM00000000001"}},
            {"payout_item_id": "P2", "transaction_status": "SUCCESS", "payout_item": {}},
            {"payout_item_id": "P3", "transaction_status": "SUCCESS",
             "payout_item": {"sender_item_id": "SOMEBODY-ELSE"}},
        ]));
        let reports = reports(&outgoing(4), &states, false);
        let matched: Vec<_> = reports.iter().map(|report| report.reference.as_str()).collect();
        assert_eq!(matched, ["ITEM00000000001", "ITEM00000000002"]);
        assert_eq!(reports[0].provider_id.as_deref(), Some("P0"));
    }

    #[test]
    fn a_denied_batch_rejects_even_the_items_that_it_leaves_out() {
        let states = states(json!([
            {"payout_item_id": "P0", "transaction_status": "SUCCESS",
             "payout_item": {"sender_item_id": "ITEM00000000000",
                             "amount": {"value": "12.34", "currency": "USD"}}},
        ]));
        let reports = reports(&outgoing(2), &states, true);
        let standings: Vec<_> = reports.iter().map(|report| report.standing).collect();
        assert_eq!(standings, [Standing::Settled, Standing::Rejected]);
    }

    #[test]
    fn what_was_settled_is_not_undone_by_its_absence_from_a_denied_batch() {
        let mut outgoing = outgoing(2);
        // Still asked about, as late checks are.
        outgoing.items.iter_mut().for_each(|item| item.settled = true);
        let nameless = states(json!([
            {"transaction_status": "", "payout_item": {"sender_item_id": "ITEM00000000000"}},
        ]));
        let reports = reports(&outgoing, &nameless, true);
        let standings: Vec<_> = reports.iter().map(|report| report.standing).collect();
        assert_eq!(standings, [Standing::Open]);
    }

    #[test]
    fn success_of_an_amount_that_cannot_be_read_settles_nothing() {
        for amount in [
            json!(null),
            json!({"value": "1,000.00", "currency": "USD"}),
            json!({"value": "12.345", "currency": "USD"}),
            json!({"value": "12.34", "currency": "XXX"}),
        ] {
            let mut item = json!({"sender_item_id": "ITEM00000000000"});
            item["amount"] = amount.clone();
            let states = states(json!([{"transaction_status": "SUCCESS", "payout_item": item}]));
            let report = &reports(&outgoing(1), &states, false)[0];
            assert_eq!(report.standing, Standing::Open, "{amount}");
            let problem = report.problem.as_ref().map(|problem| problem.code.as_str());
            assert_eq!(problem, Some("amount_unreadable"), "{amount}");
        }
    }

    #[test]
    fn a_report_carries_the_amount_and_the_reason() {
        let states = states(json!([{
            "payout_item_id": "P0", "transaction_status": "UNCLAIMED",
            "payout_item": {"sender_item_id": "ITEM00000000000",
                            "amount": {"value": "12.34", "currency": "USD"}},
            "errors": {"name": "RECEIVER_UNREGISTERED", "message": "nobody there"},
        }]));
        let outgoing = outgoing(1);
        let report = &reports(&outgoing, &states, false)[0];
        assert_eq!(report.amount, Some(outgoing.items[0].amount));
        let problem = report.problem.as_ref().expect("a reason");
        assert_eq!(problem.to_string(), "RECEIVER_UNREGISTERED: nobody there");
    }

    #[test]
    fn the_last_few_open_items_are_asked_for_one_by_one() {
        let mut outgoing = outgoing(8);
        assert_eq!(few_open_ids(&outgoing), None);
        outgoing.items.iter_mut().skip(2).for_each(|item| item.open = false);
        assert_eq!(few_open_ids(&outgoing), Some(vec!["P0", "P1"]));
        outgoing.items[1].provider_id = None;
        assert_eq!(few_open_ids(&outgoing), None);
    }
}
