//! Idempotency: the first answer under a key is the answer to every later call under it, for as
//! long as the key lives.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use serde_json::Value;

use super::access::Post;
use super::form::Form;
use super::ledger::{Answered, Event};
use super::{Breakdown, Refusal};
use crate::sandbox::desk::Desk;
use crate::sandbox::{Sandbox, life};

/// How long a key lives; Stripe may forget it after that, and the sandbox does.
const KEY_LIFE: TimeDelta = TimeDelta::hours(24);

/// What a call did: what is to be written down, and what is answered.
pub(super) struct Done {
    pub(super) events: Vec<life::Event>,
    pub(super) body: Value,
}

/// Carries a POST out once per key.
pub(super) fn once(
    sandbox: &Sandbox,
    post: Post,
    act: impl FnOnce(&mut Desk, Form) -> Result<Done, Refusal>,
) -> Result<Response, Refusal> {
    let Post { path, form, key, breakdown } = post;
    let call = format!("{path} {}", form.canonical());
    let mut desk = sandbox.desk();
    if let Some(key) = &key {
        desk.recall(|life| life.stripe.answered(key).is_some())?;
        let now = sandbox.clock.now();
        let first = desk.life().stripe.answered(key).filter(|first| now < first.at + KEY_LIFE);
        if let Some(first) = first {
            return if first.call == call {
                Ok(replay(first))
            } else {
                Err(Refusal::key_reused(key))
            };
        }
    }
    let done = match breakdown {
        Some(Breakdown::Before) => Err(Refusal::internal_error()),
        _ => act(&mut desk, form),
    };
    let (mut events, answer) = match (done, breakdown) {
        (Ok(done), None) => (done.events, Ok(done.body)),
        (Ok(done), Some(_)) => (done.events, Err(Refusal::internal_error())),
        (Err(refusal), _) => (Vec::new(), Err(refusal)),
    };
    if let Some(key) = key.filter(|_| answer.as_ref().err().is_none_or(|no| no.is_result)) {
        let (status, body) = match &answer {
            Ok(body) => (StatusCode::OK, body.clone()),
            Err(refusal) => (refusal.status, refusal.body()),
        };
        let (at, status, body) = (sandbox.clock.now(), status.as_u16(), body.to_string());
        events.push(Event::Answered(Answered { key, at, call, status, body }).into());
    }
    desk.record_all(events)?;
    answer.map(|body| Json(body).into_response())
}

fn replay(first: &Answered) -> Response {
    let status = StatusCode::from_u16(first.status).expect("a status that was answered before");
    let headers = [(CONTENT_TYPE.as_str(), "application/json"), ("idempotent-replayed", "true")];
    (status, headers, first.body.clone()).into_response()
}
