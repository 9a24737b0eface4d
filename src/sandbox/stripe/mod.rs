//! Stripe Connect's transfers, as far as payoutd meets them.

mod access;
mod accounts;
mod control;
mod form;
mod ledger;
mod listing;
mod once;
mod refusal;
mod show;
mod tell;
mod units;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;

use super::desk::Desk;
use super::{Sandbox, life};
use crate::clock::Clock;
use crate::domain::{Currency, Reference};
use access::{Caller, Post};
use form::Form;
use ledger::{Reversal, Transfer};
use once::{Done, once};

pub(super) use access::key_of;
pub(super) use accounts::Accounts;
pub(super) use control::routes as control_routes;
pub(super) use form::gives;
pub use ledger::TransferStatus;
pub(super) use ledger::{Event, Ledger};
pub(super) use refusal::Refusal;

/// What a fault does to a call that is carried out under a key: the 500 is then the key's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breakdown {
    Before,
    After,
}

type Shown = Result<Json<Value>, Refusal>;

/// The routes.
pub(super) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/v1/transfers", get(listing::list_transfers).post(create_transfer))
        .route("/v1/transfers/{id}", get(show_transfer))
        .route("/v1/transfers/{id}/reversals", get(listing::list_reversals).post(create_reversal))
        .route("/v1/transfers/{id}/reversals/{reversal}", get(show_reversal))
        .route("/v1/accounts/{id}", get(accounts::show_account))
        .route("/v1/accounts/{id}/capabilities/{name}", get(accounts::show_capability))
        .route("/v1/balance", get(accounts::show_balance))
        .route("/v1/payouts", get(listing::list_payouts))
        .route("/v1/events", get(listing::list_events))
        .route("/v1/events/{id}", get(listing::show_event))
        .method_not_allowed_fallback(not_here)
}

/// The answer to calls that Stripe does not have.
pub(super) async fn not_here(method: Method, uri: Uri) -> Response {
    Refusal::unrecognized(method.as_str(), uri.path()).into_response()
}

/// Every answer of Stripe's has a number.
pub(super) fn number(mut response: Response, clock: &Clock) -> Response {
    let number = HeaderValue::from_str(&fresh_id("req", clock));
    let number = number.expect("letters, digits and an underscore");
    response.headers_mut().insert("request-id", number);
    response
}

async fn create_transfer(State(sandbox): State<Sandbox>, post: Post) -> Result<Response, Refusal> {
    once(&sandbox, post, |desk, form| {
        let transfer = read_transfer(form, &sandbox.clock)?;
        hold_against_account(desk, &transfer.destination)?;
        if !desk.stripe_funds.cover(transfer.money()) {
            return Err(Refusal::balance_insufficient());
        }
        desk.stripe_funds.take(transfer.money());
        let body = show::transfer(&transfer);
        let told = tell::ours("transfer.created", &body, &sandbox.clock);
        let events = vec![Event::Transferred(transfer).into(), Event::Told(told).into()];
        Ok(Done { events, body })
    })
}

fn read_transfer(mut form: Form, clock: &Clock) -> Result<Transfer, Refusal> {
    let code = form.required("currency")?;
    let currency: Currency = code
        .to_ascii_uppercase()
        .parse()
        .map_err(|_| Refusal::invalid("currency", format!("Invalid currency: {code}")))?;
    let destination = form.required("destination")?;
    let amount = form.integer("amount")?.ok_or_else(|| Refusal::missing("amount"))?;
    if amount < 1 {
        return Err(Refusal::below_one("amount"));
    }
    units::money(amount, currency)?;
    let description = form.text("description");
    if description.as_ref().is_some_and(|text| text.chars().count() > 5_000) {
        return Err(Refusal::invalid("description", "Longer than 5000 characters."));
    }
    let source_type = form.text("source_type").unwrap_or_else(|| "card".to_owned());
    if !matches!(source_type.as_str(), "card" | "bank_account" | "fpx") {
        let words = "Invalid source_type: must be one of bank_account, card, or fpx";
        return Err(Refusal::invalid("source_type", words));
    }
    let transfer = Transfer {
        id: fresh_id("tr", clock),
        amount,
        currency,
        created: clock.now(),
        description,
        destination,
        destination_payment: fresh_id("py", clock),
        balance_transaction: fresh_id("txn", clock),
        metadata: form.metadata()?,
        source_transaction: form.text("source_transaction"),
        source_type,
        transfer_group: form.text("transfer_group"),
        reversals: Vec::new(),
    };
    form.end()?;
    if !transfer.destination.starts_with("acct_") {
        return Err(Refusal::no_such("destination", "destination", &transfer.destination));
    }
    Ok(transfer)
}

fn hold_against_account(desk: &Desk, id: &str) -> Result<(), Refusal> {
    let account = desk.accounts.get(id);
    if account.gone {
        return Err(Refusal::destination_invalid(id));
    }
    if account.transfers != accounts::Capability::Active {
        return Err(Refusal::insufficient_capabilities());
    }
    Ok(())
}

/// The transfer of that id, in whichever life it was made.
fn known<'a>(desk: &'a mut Desk, id: &str) -> Result<&'a Transfer, Refusal> {
    desk.recall(|life| life.stripe.transfer(id).is_some())?;
    desk.life().stripe.transfer(id).ok_or_else(|| Refusal::not_found("transfer", id))
}

async fn show_transfer(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
) -> Shown {
    caller.query()?.end()?;
    Ok(Json(show::transfer(known(&mut sandbox.desk(), &id)?)))
}

async fn create_reversal(
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    post: Post,
) -> Result<Response, Refusal> {
    once(&sandbox, post, |desk, mut form| {
        let amount = form.integer("amount")?;
        let metadata = form.metadata()?;
        form.text("description");
        form.text("refund_application_fee");
        form.end()?;
        let transfer = known(desk, &id)?.clone();
        let (reversal, mut events) = reverse(transfer, amount, &sandbox.clock)?;
        let reversal = Reversal { metadata, ..reversal };
        let body = show::reversal(&reversal);
        desk.stripe_funds.give_back(reversal.money());
        events.insert(0, Event::Reversed(reversal).into());
        Ok(Done { events, body })
    })
}

/// Takes money of a transfer back: the reversal, and what is told about it.
fn reverse(
    mut transfer: Transfer,
    amount: Option<i64>,
    clock: &Clock,
) -> Result<(Reversal, Vec<life::Event>), Refusal> {
    let rest = transfer.amount - transfer.reversed();
    let amount = amount.unwrap_or(rest);
    if rest == 0 {
        let words = format!("Transfer {} is already fully reversed.", transfer.id);
        return Err(Refusal::invalid("", words));
    }
    if amount < 1 {
        return Err(Refusal::below_one("amount"));
    }
    if amount > rest {
        let words =
            format!("Reversal amount ({amount}) is greater than unreversed amount ({rest})");
        return Err(Refusal::invalid("amount", words));
    }
    units::money(amount, transfer.currency)?;
    let reversal = Reversal {
        id: fresh_id("trr", clock),
        transfer: transfer.id.clone(),
        amount,
        currency: transfer.currency,
        created: clock.now(),
        balance_transaction: fresh_id("txn", clock),
        metadata: transfer.metadata.clone(),
    };
    transfer.reversals.insert(0, reversal.clone());
    let told = tell::ours("transfer.reversed", &show::transfer(&transfer), clock);
    Ok((reversal, vec![Event::Told(told).into()]))
}

async fn show_reversal(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    Path((id, reversal)): Path<(String, String)>,
) -> Shown {
    caller.query()?.end()?;
    let mut desk = sandbox.desk();
    let known = known(&mut desk, &id)?.reversals.iter().find(|one| one.id == reversal);
    known
        .map(|reversal| Json(show::reversal(reversal)))
        .ok_or_else(|| Refusal::not_found("transfer reversal", &reversal))
}

/// An id as Stripe writes them, unique for ever.
fn fresh_id(prefix: &str, clock: &Clock) -> String {
    format!("{prefix}_1{}", String::from(clock.mint::<Reference>()))
}
