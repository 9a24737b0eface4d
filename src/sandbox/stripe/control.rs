//! Turns of fate at Stripe.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, post};
use serde::Deserialize;

use super::accounts::Capability;
use super::ledger::{Event, Payout};
use super::{fresh_id, reverse, show, tell, units};
use crate::domain::{Currency, Money};
use crate::sandbox::Sandbox;
use crate::sandbox::control::{Sorry, read};

/// The routes.
pub(in crate::sandbox) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/_sandbox/stripe/keys", delete(prune_keys))
        .route("/_sandbox/stripe/accounts/{id}", post(change_account))
        .route("/_sandbox/stripe/transfers/{name}/reverse", post(reverse_transfer))
        .route("/_sandbox/stripe/payouts", post(pay_out))
}

/// Forgets every idempotency key, as Stripe may after 24 hours.
async fn prune_keys(State(sandbox): State<Sandbox>) -> Result<StatusCode, Sorry> {
    sandbox.desk().record(Event::KeysPruned)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    transfers: Option<Capability>,
    payouts_enabled: Option<bool>,
    gone: Option<bool>,
}

async fn change_account(
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    body: String,
) -> Result<StatusCode, Sorry> {
    let change: Change = read("a change of an account", &body)?;
    let mut desk = sandbox.desk();
    let before = desk.accounts.get(&id);
    let mut account = before;
    account.transfers = change.transfers.unwrap_or(before.transfers);
    account.payouts_enabled = change.payouts_enabled.unwrap_or(before.payouts_enabled);
    account.gone = change.gone.unwrap_or(before.gone);
    desk.accounts.set(&id, account);
    let told = |kind: &str, object| tell::of_account(kind, &object, &id, &sandbox.clock);
    let mut events = Vec::new();
    if account.transfers != before.transfers {
        events.push(told("capability.updated", show::capability(&id, &account)));
    }
    if account != before {
        events.push(told("account.updated", show::account(&id, &account)));
    }
    desk.record_all(events.into_iter().map(|told| Event::Told(told).into()).collect())?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reverse {
    /// Major units; the rest if there is none.
    amount: Option<String>,
}

/// Reverses every transfer of that id or group.
async fn reverse_transfer(
    State(sandbox): State<Sandbox>,
    Path(name): Path<String>,
    body: String,
) -> Result<StatusCode, Sorry> {
    let asked: Reverse = read("a reversal", if body.is_empty() { "{}" } else { &body })?;
    let mut desk = sandbox.desk();
    desk.recall(|life| !life.stripe.transfers_called(&name).is_empty())?;
    let called = desk.life().stripe.transfers_called(&name);
    if called.is_empty() {
        return Err(Sorry::not_found(format!("no transfer is called \"{name}\"")));
    }
    for id in called {
        let Some(transfer) = desk.life().stripe.transfer(&id).cloned() else { continue };
        let amount = asked.amount.as_deref().map(|text| Money::parse(text, transfer.currency));
        let amount = amount.transpose().map_err(|error| Sorry::bad(error.to_string()))?;
        let amount = amount.map(in_unit).transpose()?;
        let (reversal, mut events) = reverse(transfer, amount, &sandbox.clock)
            .map_err(|refusal| Sorry::bad(refusal.body().to_string()))?;
        desk.stripe_funds.give_back(reversal.money());
        events.insert(0, Event::Reversed(reversal).into());
        desk.record_all(events)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// An amount as Stripe counts it.
fn in_unit(money: Money) -> Result<i64, Sorry> {
    let none = || Sorry::bad(format!("Stripe has no {money} {}", money.currency));
    units::amount(money).ok_or_else(none)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayOut {
    account: String,
    /// Major units.
    amount: String,
    currency: Currency,
    /// `paid` or `failed`, or another of Stripe's words.
    status: String,
    failure_code: Option<String>,
}

/// Lets a connected account pay out to its bank.
async fn pay_out(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let asked: PayOut = read("a payout", &body)?;
    let money = Money::parse(&asked.amount, asked.currency);
    let money = money.map_err(|error| Sorry::bad(error.to_string()))?;
    let failed = (asked.status == "failed").then(|| "account_closed".to_owned());
    let payout = Payout {
        id: fresh_id("po", &sandbox.clock),
        account: asked.account,
        amount: in_unit(money)?,
        currency: money.currency,
        created: sandbox.clock.now(),
        status: asked.status,
        failure_code: asked.failure_code.or(failed),
    };
    let kind = match payout.status.as_str() {
        "paid" => "payout.paid",
        "failed" => "payout.failed",
        "canceled" => "payout.canceled",
        _ => "payout.updated",
    };
    let told = tell::of_account(kind, &show::payout(&payout), &payout.account, &sandbox.clock);
    let events = vec![Event::PaidOut(payout).into(), Event::Told(told).into()];
    sandbox.desk().record_all(events)?;
    Ok(StatusCode::NO_CONTENT)
}
