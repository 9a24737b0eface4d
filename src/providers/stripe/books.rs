//! Our own side of Stripe: what we can spend, and the list of what we sent.

use chrono::{DateTime, Utc};

use super::call::{Line, Question, Unread};
use super::list::transfers;
use super::units::from_stripe;
use super::wire::{Balance, Reversal, Transfer};
use crate::domain::{Currency, Direction, Money, Statement, StatementLine};
use crate::providers::{Funds, Problem};

/// Whether Stripe answers and takes our key.
pub(super) async fn ping(line: &Line) -> Result<(), Problem> {
    balance(line).await.map(drop).map_err(Unread::problem)
}

/// What is available in a currency; below zero, Stripe takes each transfer for itself.
pub(super) async fn funds(line: &Line, currency: Currency) -> Funds {
    match balance(line).await {
        Ok(balance) => match available(&balance, currency) {
            Ok(money) => Funds::Known(money),
            Err(problem) => Funds::Unclear(problem),
        },
        Err(unread) => Funds::Unclear(unread.problem()),
    }
}

async fn balance(line: &Line) -> Result<Balance, Unread> {
    line.read(Question::of(&["v1", "balance"])).await
}

fn available(balance: &Balance, currency: Currency) -> Result<Money, Problem> {
    let is_it = |code: &str| code.eq_ignore_ascii_case(currency.code());
    let mut sum = Money::new(0, currency);
    for part in balance.available.iter().filter(|part| is_it(&part.currency)) {
        let money = from_stripe(part.amount, &part.currency);
        sum = money
            .and_then(|money| sum.checked_add(money).ok())
            .ok_or_else(|| unreadable("balance"))?;
    }
    Ok(sum)
}

/// Every transfer of a currency that was made from `from` to before `to`, and what came back of
/// them in that time.
///
/// # Errors
/// [`Problem`] if the list cannot be had whole, or an amount of it cannot be read.
pub(super) async fn statement(
    line: &Line,
    currency: Currency,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Statement, Problem> {
    let (first, end) = (whole_second(from), whole_second(to));
    let filter = [("created[gte]", first.to_string()), ("created[lt]", end.to_string())];
    let all = transfers(line, &filter).await.map_err(Unread::problem)?;
    let is_it = |transfer: &&Transfer| transfer.currency.eq_ignore_ascii_case(currency.code());
    let mut lines = Vec::new();
    // The list begins with the latest; a statement begins with the first.
    for transfer in all.iter().rev().filter(is_it) {
        lines.push(sent(transfer)?);
        for reversal in transfer.reversals.iter().flat_map(|reversals| &reversals.data) {
            if (first..end).contains(&reversal.created) {
                lines.push(came_back(transfer, reversal)?);
            }
        }
    }
    Ok(Statement {
        id: format!("stripe-{}-{first}-{end}", currency.code().to_ascii_lowercase()),
        account: "stripe".to_owned(),
        currency,
        from,
        to,
        lines,
        closing: None,
    })
}

/// Stripe dates by whole seconds: the first one at or after an instant.
fn whole_second(at: DateTime<Utc>) -> i64 {
    at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0)
}

fn sent(transfer: &Transfer) -> Result<StatementLine, Problem> {
    Ok(StatementLine {
        reference: reference(transfer),
        provider_id: Some(transfer.id.clone()),
        direction: Direction::Out,
        amount: transfer.money().ok_or_else(|| unreadable(&transfer.id))?,
        booked_on: DateTime::from_timestamp(transfer.created, 0).map(|at| at.date_naive()),
        is_return: false,
        text: format!("transfer to {}", transfer.destination.as_deref().unwrap_or("nobody")),
    })
}

fn came_back(transfer: &Transfer, reversal: &Reversal) -> Result<StatementLine, Problem> {
    let amount = from_stripe(reversal.amount, &reversal.currency);
    Ok(StatementLine {
        reference: reference(transfer),
        provider_id: Some(reversal.id.clone()),
        direction: Direction::In,
        amount: amount.ok_or_else(|| unreadable(&reversal.id))?,
        booked_on: DateTime::from_timestamp(reversal.created, 0).map(|at| at.date_naive()),
        is_return: true,
        text: format!("reversal of {}", transfer.id),
    })
}

/// Our reference, as the transfer repeats it.
fn reference(transfer: &Transfer) -> Option<String> {
    transfer.metadata.get("reference").or(transfer.transfer_group.as_ref()).cloned()
}

fn unreadable(what: &str) -> Problem {
    Problem::new("amount_unreadable", format!("{what} has an amount that cannot be read"))
}
