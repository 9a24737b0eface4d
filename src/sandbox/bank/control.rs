//! Turns of fate at the bank.

use std::collections::BTreeMap;
use std::path::Path;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{NaiveDate, TimeDelta};
use serde::Deserialize;
use serde_json::{Value, json};

use super::behaviour::Behaviour;
use super::iso::{self, Booking};
use super::ledger::{Origin, Payment, PaymentStatus};
use super::post::{Letter, drop_letter};
use super::scan;
use super::scan::fresh_number;
use crate::sandbox::Sandbox;
use crate::sandbox::control::{Sorry, read};

/// The routes.
pub(in crate::sandbox) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/_sandbox/bank", get(show))
        .route("/_sandbox/bank/scan", post(scan_now))
        .route("/_sandbox/bank/behaviours", post(behave))
        .route("/_sandbox/bank/settle", post(set_settling))
        .route("/_sandbox/bank/advance", post(advance))
        .route("/_sandbox/bank/statement", post(state))
}

/// The bank's day, its folders, how it behaves, and every payment it was handed.
async fn show(State(sandbox): State<Sandbox>) -> Json<Value> {
    let desk = sandbox.desk();
    let doors: Vec<_> = desk
        .bank
        .doors
        .iter()
        .map(|door| json!({"outbox": door.outbox, "inbox": door.inbox}))
        .collect();
    Json(json!({
        "today": desk.bank.today(&sandbox.clock),
        "folders": doors,
        "settles_at_once": desk.bank.settles_at_once,
        "behaviours": desk.bank.behaviours.all(),
        "payments": desk.life().bank.payments(),
    }))
}

async fn scan_now(State(sandbox): State<Sandbox>) -> Result<StatusCode, Sorry> {
    scan(&mut sandbox.desk(), &sandbox)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn behave(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let behaviour: Behaviour = read("behaviour", &body)?;
    sandbox.desk().bank.behaviours.set(behaviour);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settling {
    at_once: bool,
}

async fn set_settling(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let asked: Settling = read("way to settle", &body)?;
    sandbox.desk().bank.settles_at_once = asked.at_once;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    days: u16,
}

/// Puts the bank's own days further ahead of the clock, and scans.
async fn advance(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let asked: Advance = read("number of days", &body)?;
    let mut desk = sandbox.desk();
    desk.bank.ahead += TimeDelta::days(i64::from(asked.days));
    scan(&mut desk, &sandbox)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    /// The first day, and the last.
    from: NaiveDate,
    to: NaiveDate,
}

/// Drops a camt.053 for every account that paid anything.
async fn state(State(sandbox): State<Sandbox>, body: String) -> Result<StatusCode, Sorry> {
    let asked: Statement = read("time of a statement", &body)?;
    let desk = sandbox.desk();
    let mut accounts: BTreeMap<(&str, &str), (&Origin, Vec<Booking<'_>>)> = BTreeMap::new();
    for payment in desk.life().bank.payments() {
        let key = (payment.origin.inbox.as_str(), payment.origin.account.as_str());
        let (_, bookings) = accounts.entry(key).or_insert_with(|| (&payment.origin, Vec::new()));
        bookings.extend(movements(payment));
    }
    for (origin, bookings) in accounts.into_values() {
        let (number, now) = (fresh_number(&sandbox.clock), desk.bank.now(&sandbox.clock));
        let text = iso::statement(origin, &bookings, (asked.from, asked.to), &number, now);
        let letter = Letter { kind: "camt.053", extension: "xml", text };
        drop_letter(&sandbox, Path::new(&origin.inbox), &number, &letter)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// How a payment moved the account: not at all, out, or out and in again.
fn movements(payment: &Payment) -> Vec<Booking<'_>> {
    let out = Booking { payment, comes_back: false };
    let back = Booking { payment, comes_back: true };
    match payment.status {
        PaymentStatus::Rejected | PaymentStatus::Accepted => Vec::new(),
        PaymentStatus::Settled => vec![out],
        PaymentStatus::Returned => vec![out, back],
    }
}
