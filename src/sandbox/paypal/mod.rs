//! PayPal's Payouts API v1, as far as payoutd meets it.

mod access;
mod ask;
mod consent;
mod control;
mod ledger;
mod notifications;
mod refusal;
mod show;
mod tell;

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Sandbox;
use super::desk::Desk;
use super::host::Host;
use crate::clock::Clock;
use crate::domain::Reference;
use access::{Caller, grant_token};
use ask::{Ask, AskedItem};
use ledger::{Batch, Item};
use show::Page;

pub(super) use consent::Consent;
pub(super) use control::routes as control_routes;
pub use ledger::ItemStatus;
pub(super) use ledger::{Event, Ledger};
pub(super) use refusal::Refusal;

/// How long a sender's batch id is remembered.
const DUPLICATE_WINDOW: TimeDelta = TimeDelta::days(30);
const LARGEST_PAGE: usize = 1_000;
/// How long a batch waits to be worked off when somebody is told about it.
const UNTOLD: Duration = Duration::from_millis(200);

/// How a batch is to end, if not well: what a fault attaches to the call that makes it.
#[derive(Debug, Clone)]
pub(super) enum Ending {
    /// Its items end unclaimed; all, or those of one receiver.
    Unclaimed(Option<String>),
    Denied,
}

type Shown = Result<Json<Value>, Refusal>;

/// The routes.
pub(super) fn routes() -> Router<Sandbox> {
    let not_allowed = || async {
        let message = "The server does not implement the requested HTTP method.";
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_SUPPORTED", message)
    };
    Router::new()
        .route("/v1/oauth2/token", post(grant_token))
        .route("/signin/authorize", get(consent::page))
        .route("/v1/identity/openidconnect/userinfo", get(consent::show_person))
        .route("/v1/payments/payouts", post(create))
        .route("/v1/payments/payouts/{id}", get(show_batch))
        .route("/v1/payments/payouts-item/{id}", get(show_item))
        .route("/v1/payments/payouts-item/{id}/cancel", post(cancel_item))
        .route("/v1/notifications/verify-webhook-signature", post(notifications::verify))
        .route("/v1/notifications/webhooks-events", get(notifications::list))
        .route("/v1/notifications/webhooks-events/{id}", get(notifications::show))
        .method_not_allowed_fallback(not_allowed)
}

/// The answer to calls that PayPal does not have.
pub(super) async fn not_here() -> Refusal {
    let message = "The specified resource does not exist.";
    Refusal::new(StatusCode::NOT_FOUND, "RESOURCE_NOT_FOUND", message)
}

async fn create(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    ending: Option<Extension<Ending>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Refusal::wrong_media_type());
    }
    let ask = ask::read(&body)?;
    let batch = take(ask, ending.map(|Extension(ending)| ending), &sandbox.clock);
    let shown = show::taken(&batch, &caller.base);
    let mut desk = sandbox.desk();
    refuse_duplicate(&mut desk, &batch, &caller.base)?;
    if !desk.paypal_funds.cover(batch.total()) {
        return Err(Refusal::insufficient_funds());
    }
    desk.paypal_funds.take(batch.total());
    let batch_id = batch.id.clone();
    desk.record(Event::Taken { batch })?;
    if desk.webhooks.anybody_listens(Host::Paypal) {
        tokio::spawn(work_off_soon(sandbox.clone(), batch_id));
    }
    Ok((StatusCode::CREATED, Json(shown)))
}

/// A batch that was denied paid nothing, and lets go of its sender's id.
fn refuse_duplicate(desk: &mut Desk, batch: &Batch, base: &str) -> Result<(), Refusal> {
    let Some(id) = batch.sender_batch_id.as_deref() else { return Ok(()) };
    desk.recall(|life| life.paypal.batch_of_sender(id).is_some())?;
    match desk.life().paypal.batch_of_sender(id) {
        Some(first)
            if !first.is_denied() && batch.created_at < first.created_at + DUPLICATE_WINDOW =>
        {
            Err(Refusal::duplicate(&show::batch_href(first, base)))
        }
        _ => Ok(()),
    }
}

fn take(ask: Ask, ending: Option<Ending>, clock: &Clock) -> Batch {
    let items = ask.items.into_iter().map(|item| take_item(item, ending.as_ref(), clock)).collect();
    Batch {
        id: fresh_id(clock),
        sender_batch_id: ask.sender_batch_id,
        email_subject: ask.email_subject,
        created_at: clock.now(),
        processed_at: None,
        doomed: matches!(ending, Some(Ending::Denied)),
        items,
    }
}

fn take_item(asked: AskedItem, ending: Option<&Ending>, clock: &Clock) -> Item {
    let (fate, error) = fate(&asked.receiver, ending);
    Item {
        id: fresh_id(clock),
        transaction_id: fresh_id(clock),
        reference: asked.reference,
        recipient_type: asked.recipient_type,
        receiver: asked.receiver,
        amount: asked.amount.to_string(),
        currency: asked.amount.currency,
        note: asked.note,
        status: ItemStatus::Pending,
        fate,
        error: error.map(str::to_owned),
    }
}

/// What an item becomes: by the fault that met its batch, else by how its receiver is called.
fn fate(receiver: &str, ending: Option<&Ending>) -> (ItemStatus, Option<&'static str>) {
    let unclaimed = (ItemStatus::Unclaimed, Some("RECEIVER_UNREGISTERED"));
    match ending {
        Some(Ending::Denied) => (ItemStatus::Failed, Some("INSUFFICIENT_FUNDS")),
        Some(Ending::Unclaimed(None)) => unclaimed,
        Some(Ending::Unclaimed(Some(only))) if only == receiver => unclaimed,
        _ if receiver.starts_with("unregistered") => unclaimed,
        _ if receiver.starts_with("locked") => {
            (ItemStatus::Failed, Some("RECEIVER_ACCOUNT_LOCKED"))
        }
        _ => (ItemStatus::Success, None),
    }
}

/// An id of PayPal's: of any form, unique for ever, at most 30 characters.
fn fresh_id(clock: &Clock) -> String {
    clock.mint::<Reference>().into()
}

async fn show_batch(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Shown {
    let page = read_page(&query)?;
    if id == "ERRPYO015" {
        return Ok(Json(show::closed_market(sandbox.clock.now(), &caller.base)));
    }
    let mut desk = sandbox.desk();
    desk.recall(|life| life.paypal.batch(&id).is_some())?;
    process(&mut desk, &id, &sandbox.clock)?;
    let batch = desk.life().paypal.batch(&id).ok_or_else(Refusal::unknown_id)?;
    Ok(Json(show::page(batch, page, &caller.base)))
}

fn read_page(query: &HashMap<String, String>) -> Result<Page, Refusal> {
    let number = |name: &str, default: usize| {
        let given = query.get(name).map_or(Ok(default), |text| text.parse());
        given.ok().filter(|number| (1..=LARGEST_PAGE).contains(number)).ok_or_else(|| {
            let issue = format!("Expected a number from 1 to {LARGEST_PAGE}");
            Refusal::invalid(vec![json!({"field": name, "location": "query", "issue": issue})])
        })
    };
    let with_totals = query.get("total_required").is_some_and(|text| text == "true");
    Ok(Page { number: number("page", 1)?, size: number("page_size", LARGEST_PAGE)?, with_totals })
}

async fn show_item(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
) -> Shown {
    let mut desk = sandbox.desk();
    desk.recall(|life| life.paypal.item(&id).is_some())?;
    let batch_id = desk.life().paypal.item(&id).map(|(batch, _)| batch.id.clone());
    process(&mut desk, &batch_id.ok_or_else(Refusal::unknown_id)?, &sandbox.clock)?;
    show_known_item(&desk, &id, &caller.base)
}

async fn cancel_item(
    caller: Caller,
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
) -> Shown {
    let mut desk = sandbox.desk();
    desk.recall(|life| life.paypal.item(&id).is_some())?;
    let (batch, item) = desk.life().paypal.item(&id).ok_or_else(Refusal::unknown_id)?;
    if batch.processed_at.is_none() {
        return Err(Refusal::batch_not_finished());
    }
    if item.status != ItemStatus::Unclaimed {
        return Err(Refusal::cannot_cancel());
    }
    change(&mut desk, &id, ItemStatus::Returned, Some("CANCELED"), &sandbox.clock)?;
    show_known_item(&desk, &id, &caller.base)
}

fn show_known_item(desk: &Desk, id: &str, base: &str) -> Shown {
    let (batch, item) = desk.life().paypal.item(id).ok_or_else(Refusal::unknown_id)?;
    Ok(Json(show::item(batch, item, base)))
}

/// Lets an item's status become another, told in `word` if it has one of its own. What is not
/// paid, or came back, can be spent again.
fn change(
    desk: &mut Desk,
    item_id: &str,
    status: ItemStatus,
    word: Option<&str>,
    clock: &Clock,
) -> io::Result<()> {
    let Some((_, item)) = desk.life().paypal.item(item_id) else { return Ok(()) };
    let (before, money) = (item.status, item.money());
    desk.record(Event::Changed { item_id: item_id.to_owned(), status })?;
    desk.record_all(tell::of_item(desk, item_id, word, clock))?;
    match (before.holds_money(), status.holds_money()) {
        (true, false) => desk.paypal_funds.give_back(money),
        (false, true) => desk.paypal_funds.take(money),
        _ => {}
    }
    Ok(())
}

/// Who is told what happens does not have to look first.
async fn work_off_soon(sandbox: Sandbox, batch_id: String) {
    tokio::time::sleep(UNTOLD).await;
    // What cannot be written now happens at the first look.
    let _ = process(&mut sandbox.desk(), &batch_id, &sandbox.clock);
}

/// A batch is worked off when somebody first looks at it: nothing has to be waited for.
fn process(desk: &mut Desk, batch_id: &str, clock: &Clock) -> io::Result<()> {
    let Some(batch) = desk.life().paypal.batch(batch_id) else { return Ok(()) };
    if batch.processed_at.is_some() || desk.paypal_rests {
        return Ok(());
    }
    let lost = |item: &&Item| item.status == ItemStatus::Pending && !item.fate.holds_money();
    let unpaid: Vec<_> = batch.items.iter().filter(lost).map(Item::money).collect();
    desk.record(Event::Processed { batch_id: batch_id.to_owned(), at: clock.now() })?;
    desk.record_all(tell::of_batch(desk, batch_id, clock))?;
    unpaid.into_iter().for_each(|money| desk.paypal_funds.give_back(money));
    Ok(())
}
