//! What became of a batch: all of its pages, or its last few open items one by one.

use std::collections::{HashMap, HashSet};

use super::call::Line;
use super::wire::{Amount, BatchPage, ItemState, problem_of, receiver};
use crate::domain::Money;
use crate::providers::{Found, ItemReport, Outgoing, OutgoingItem, Problem, Standing};

/// Up to this many open items are asked for one by one: fewer bytes than a large batch's pages.
const FEW: usize = 5;
/// PayPal's own highest page number.
const MAX_PAGES: usize = 1_000;

/// Item errors that are about the receiver and stay until the payee names another, or mends their
/// account. One that nobody registered was open for 30 days before its money came back.
const OF_THE_RECEIVER: [&str; 6] = [
    "RECEIVER_ACCOUNT_INVALID",
    "RECEIVER_ACCOUNT_LOCKED",
    "RECEIVER_COUNTRY_NOT_ALLOWED",
    "RECEIVER_UNCONFIRMED",
    "RECEIVER_UNREGISTERED",
    "SELF_PAY_NOT_ALLOWED",
];

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
        Ok(batch) => batch.told(outgoing),
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

/// All pages of a batch.
struct Batch {
    states: Vec<ItemState>,
    /// Denied or cancelled as a whole.
    dead: bool,
    /// As many items as PayPal says it has. A list that changes between two pages may show an
    /// item twice and another never.
    whole: bool,
}

impl Batch {
    /// What a dead batch leaves out was not paid, so nothing may be missing of it; in a living one
    /// what is missing stays open, and is asked about again.
    fn told(&self, outgoing: &Outgoing) -> Found {
        if self.dead && !self.whole {
            let words = "PayPal denied the batch, and its list of items is not whole";
            return Found::Unclear(Problem::new("list_not_whole", words));
        }
        Found::Items(reports(outgoing, &self.states, self.dead))
    }
}

async fn read_batch(line: &Line, id: &str, page_size: usize) -> Ended<Batch> {
    let path = ["v1", "payments", "payouts", id];
    let mut states = Vec::new();
    for number in 1..=MAX_PAGES {
        let query = [
            ("page", number.to_string()),
            ("page_size", page_size.to_string()),
            ("total_required", "true".to_owned()),
        ];
        let page: BatchPage = read(line, &path, &query).await?;
        let last = page.total_pages.is_some_and(|total| number >= total);
        let end = last || page.items.is_empty();
        states.extend(page.items);
        if end {
            let dead = matches!(page.batch_header.batch_status.as_str(), "DENIED" | "CANCELED");
            let cut_short = !last && page.total_pages.is_some();
            let whole = page.total_items.is_none_or(|total| distinct(&states) >= total);
            return Ok(Batch { states, dead, whole: whole && !cut_short });
        }
    }
    let words = format!("the batch goes on after {MAX_PAGES} pages of {page_size} items");
    Err(Found::Unclear(Problem::new("too_many_pages", words)))
}

/// How many items there are, whichever page they were seen on.
fn distinct(states: &[ItemState]) -> usize {
    let name = |state: &ItemState| {
        let reference = state.payout_item.sender_item_id.as_ref();
        reference.or(state.payout_item_id.as_ref()).cloned()
    };
    states.iter().map(name).collect::<HashSet<_>>().len()
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
    let (mut by_reference, mut by_id) = (HashMap::new(), HashMap::new());
    for state in states {
        // An item that carries a reference is matched by it alone: its id proves less.
        match (&state.payout_item.sender_item_id, &state.payout_item_id) {
            (Some(reference), _) => by_reference.entry(reference.as_str()),
            (None, Some(id)) => by_id.entry(id.as_str()),
            (None, None) => continue,
        }
        .or_insert_with(Vec::new)
        .push(state);
    }
    let report_of = |item: &OutgoingItem| {
        let by_id = || by_id.get(item.provider_id.as_deref()?);
        match by_reference.get(item.reference.as_str()).or_else(by_id) {
            Some(states) => Some(report(item, states, dead)),
            // What was settled is undone by the item's own word alone, not by its absence.
            None => (dead && !item.settled).then(|| left_out(item)),
        }
    };
    outgoing.items.iter().filter_map(report_of).collect()
}

/// The report of an item that PayPal shows at least once; what it showed last is the latest.
fn report(item: &OutgoingItem, states: &[&ItemState], dead: bool) -> ItemReport {
    let state = states.last().expect("an item is listed with what was seen of it");
    let standing = standing(&state.transaction_status, dead && !item.settled);
    let (standing, problem) = match strange(item, states, standing) {
        Some(problem) => (Standing::Open, Some(problem)),
        None => (standing, reason(state, standing)),
    };
    ItemReport {
        reference: item.reference.clone(),
        provider_id: state.payout_item_id.clone().or_else(|| item.provider_id.clone()),
        standing,
        provider_status: state.transaction_status.clone(),
        amount: amount(state),
        problem,
        note: None,
    }
}

fn amount(state: &ItemState) -> Option<Money> {
    state.payout_item.amount.as_ref().and_then(Amount::money)
}

/// Why what PayPal shows is not taken for our item: then nothing moves, and a person has to look.
fn strange(item: &OutgoingItem, states: &[&ItemState], standing: Standing) -> Option<Problem> {
    let state = states.last()?;
    // Of a destination that cannot be read any more nothing is known to compare with.
    let asked = receiver(item).trim();
    let differs = |theirs: &String| !asked.is_empty() && !theirs.trim().eq_ignore_ascii_case(asked);
    let ids: HashSet<_> = states.iter().filter_map(|s| s.payout_item_id.as_ref()).collect();
    if ids.len() > 1 {
        let words = "PayPal has several items of this reference: look them up by hand";
        return Some(Problem::new("doubled_item", words));
    }
    if state.payout_item.receiver.as_ref().is_some_and(differs) {
        let words = "PayPal shows another receiver than was asked for: look it up by hand";
        return Some(Problem::new("receiver_differs", words));
    }
    // Nothing settles on less than the amount that PayPal says it paid.
    (standing == Standing::Settled && amount(state).is_none()).then(unreadable_amount)
}

/// Why an item stands as it does. What was not paid because of its receiver is the method's fault.
fn reason(state: &ItemState, standing: Standing) -> Option<Problem> {
    let held = || {
        let words = "PayPal holds the payment for a review";
        (state.transaction_status == "ONHOLD").then(|| Problem::new("ONHOLD", words))
    };
    let problem = state.problem().or_else(held)?;
    let blamed = standing == Standing::Rejected && OF_THE_RECEIVER.contains(&&*problem.code);
    Some(if blamed { problem.of_method() } else { problem })
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
        "UNCLAIMED" => Standing::Unclaimed,
        _ => Standing::Open,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{Destination, MethodKind};
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
            ("UNCLAIMED", Standing::Unclaimed, Standing::Rejected),
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

    /// One item as PayPal shows it, with changes to it and to what it repeats of ours.
    fn shown(change: Value, ours: Value) -> Value {
        let mut state = json!({
            "payout_item_id": "P0", "transaction_status": "SUCCESS",
            "payout_item": {"sender_item_id": "ITEM00000000000", "receiver": "a@b.c",
                            "amount": {"value": "12.34", "currency": "USD"}},
        });
        for (key, value) in change.as_object().expect("members") {
            state[key] = value.clone();
        }
        for (key, value) in ours.as_object().expect("members") {
            state["payout_item"][key] = value.clone();
        }
        state
    }

    fn report_of(shown: Vec<Value>) -> ItemReport {
        reports(&outgoing(1), &states(Value::Array(shown)), false).remove(0)
    }

    fn code(report: &ItemReport) -> Option<&str> {
        report.problem.as_ref().map(|problem| problem.code.as_str())
    }

    #[test]
    fn another_receiver_than_ours_moves_nothing_whatever_the_status() {
        for status in ["SUCCESS", "FAILED", "RETURNED", "REFUNDED", "UNCLAIMED"] {
            let shown = shown(json!({"transaction_status": status}), json!({"receiver": "x@b.c"}));
            let report = report_of(vec![shown]);
            let expected = (Standing::Open, Some("receiver_differs"));
            assert_eq!((report.standing, code(&report)), expected, "{status}");
        }
        for receiver in [json!("A@B.C "), json!(null)] {
            let report = report_of(vec![shown(json!({}), json!({"receiver": receiver}))]);
            assert_eq!((report.standing, report.problem), (Standing::Settled, None));
        }
    }

    #[test]
    fn two_items_of_one_reference_settle_nothing() {
        let twice =
            vec![shown(json!({}), json!({})), shown(json!({"payout_item_id": "P1"}), json!({}))];
        let report = report_of(twice);
        assert_eq!((report.standing, code(&report)), (Standing::Open, Some("doubled_item")));
    }

    #[test]
    fn an_item_that_moved_to_a_later_page_counts_as_it_was_seen_last() {
        let pending = shown(json!({"transaction_status": "PENDING"}), json!({}));
        let report = report_of(vec![pending, shown(json!({}), json!({}))]);
        assert_eq!((report.standing, report.problem), (Standing::Settled, None));
    }

    #[test]
    fn a_payment_on_hold_is_open_and_says_why() {
        let held = |errors: Value| {
            report_of(vec![shown(
                json!({"transaction_status": "ONHOLD", "errors": errors}),
                json!({}),
            )])
        };
        let silent = held(json!(null));
        assert_eq!((silent.standing, code(&silent)), (Standing::Open, Some("ONHOLD")));
        let told = held(json!({"name": "RECEIVER_ACCOUNT_LIMITATION", "message": "m"}));
        assert_eq!(code(&told), Some("RECEIVER_ACCOUNT_LIMITATION"));
    }

    #[test]
    fn what_was_not_paid_because_of_its_receiver_is_the_methods_fault_and_nothing_else_is() {
        for (status, name, of_method) in [
            ("FAILED", "RECEIVER_ACCOUNT_INVALID", true),
            ("FAILED", "SELF_PAY_NOT_ALLOWED", true),
            ("RETURNED", "RECEIVER_UNREGISTERED", true),
            ("UNCLAIMED", "RECEIVER_UNREGISTERED", false),
            ("FAILED", "SPENDING_LIMIT_EXCEEDED", false),
            ("BLOCKED", "REGULATORY_BLOCKED", false),
            ("FAILED", "SENDER_LOCKED", false),
        ] {
            let errors = json!({"name": name, "message": "m"});
            let change = json!({"transaction_status": status, "errors": errors});
            let problem = report_of(vec![shown(change, json!({}))]).problem.expect("a reason");
            assert_eq!(problem.of_method, of_method, "{status} {name}");
        }
    }

    #[test]
    fn a_denied_batch_whose_list_is_not_whole_rejects_nothing() {
        let batch = |whole| Batch { states: states(json!([])), dead: true, whole };
        assert!(matches!(batch(false).told(&outgoing(2)), Found::Unclear(_)));
        let Found::Items(reports) = batch(true).told(&outgoing(2)) else { panic!("it is whole") };
        assert!(reports.iter().all(|report| report.standing == Standing::Rejected));
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
