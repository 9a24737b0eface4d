//! A payout is requested: by a partner for their own money, by staff and services for anybody's.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::Desk;
use super::amount::BroughtAmount;
use super::around::Coded;
use super::brought::ExactBody;
use super::door::Who;
use super::me::partner;
use super::payouts::Payout;
use super::problem::{PROBLEM_JSON, Problem, ProblemBody};
use super::schemas::BroughtCurrency;
use crate::domain::{AffiliateId, GateCheck, MethodId, MethodKind, ProgramId};
use crate::engine::{Answered, PaidBy, Wanted};
use crate::store::{OnceKey, PayoutRow};

/// The longest note, in characters.
const LONGEST_NOTE: usize = 1_000;
/// The longest key, in characters.
const LONGEST_KEY: usize = 255;

/// A payout that is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PayoutRequest {
    /// Above 0, and not below the program's minimum.
    #[schema(exclusive_minimum = 0, example = 250)]
    amount: BroughtAmount,
    #[schema(example = "USD")]
    currency: BroughtCurrency,
    /// The rail; without it the default method's.
    method: Option<MethodKind>,
    /// What the destination on file has, as `{"email": …}`; without it the rail's method is taken.
    destination: Option<BTreeMap<String, String>>,
    /// The method on file, by its id.
    method_id: Option<MethodId>,
    source: RequestSource,
    #[serde(alias = "notes")]
    #[schema(max_length = 1000)]
    note: Option<String>,
}

/// Whose money it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RequestSource {
    /// `affiliate`: payoutd pays nobody else, and partners may name nothing else.
    #[serde(rename = "type")]
    #[schema(pattern = "^affiliate$", example = "affiliate")]
    kind: String,
    affiliate_id: AffiliateId,
    /// The program that the affiliate is in.
    program: Option<ProgramId>,
}

/// What makes a request safe to repeat.
pub(super) struct IdempotencyKey(Option<String>);

impl FromRequestParts<Desk> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Desk) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        let key = value.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > LONGEST_KEY {
            let detail =
                format!("the Idempotency-Key is to be 1 to {LONGEST_KEY} ASCII characters");
            return Err(Problem::unreadable("bad_idempotency_key", detail));
        }
        Ok(Self(Some(key.to_owned())))
    }
}

impl IdempotencyKey {
    /// The key as the caller's own, bound to the bytes of the request.
    fn of(self, who: &Who, body: &[u8]) -> Option<OnceKey> {
        let mut hash = Sha256::new();
        hash.update(b"POST /finance/payouts/request\0");
        hash.update(body);
        let request_hash = hex::encode(hash.finalize());
        self.0.map(|key| OnceKey { caller: who.caller.actor().to_string(), key, request_hash })
    }
}

/// Request a payout
///
/// Held against the available balance, the program's minimum and the method on file, in this order:
/// the first that fails is the `code` of the 409, and `errors` has all. With an `Idempotency-Key`,
/// repeating it within 30 days answers the same bytes and pays once; refusals (409) are kept too.
#[utoipa::path(post, path = "/finance/payouts/request", tag = "payouts",
    operation_id = "requestPayout", request_body = PayoutRequest,
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Yours to choose; the same key with another body is refused (422).")),
    responses(
        (status = 201, body = Payout),
        (status = 404, body = ProblemBody, content_type = "application/problem+json",
         description = "There is no such affiliate, or it is somebody else's."),
        (status = 409, body = ProblemBody, content_type = "application/problem+json",
         description = "A gate does not let it pass: what is available, the minimum, the method, or \
                        a limit of the program (`above_payout_limit`, `day_limit_reached`).")))]
pub(super) async fn request(
    State(desk): State<Desk>,
    who: Who,
    key: IdempotencyKey,
    ExactBody { brought, bytes }: ExactBody<PayoutRequest>,
) -> Result<Response, Problem> {
    let once = key.of(&who, &bytes);
    let wanted = wanted(&who, brought)?;
    let render = |outcome: Result<&PayoutRow, &[GateCheck]>| match outcome {
        Ok(row) => {
            let payout = Payout::of(row.clone(), &who);
            let body = serde_json::to_string(&payout).expect("texts and numbers are always JSON");
            Answered { status: StatusCode::CREATED.as_u16(), body }
        }
        Err(failing) => {
            let problem = Problem::refused(failing);
            Answered { status: problem.status.as_u16(), body: problem.body(Some(&who.request_id)) }
        }
    };
    let asked = (&wanted, once.as_ref());
    let answered = desk.engine.request_wanted(&who.work(), who.org(), asked, render).await?;
    Ok(answer(answered))
}

fn wanted(who: &Who, brought: PayoutRequest) -> Result<Wanted, Problem> {
    let is_partner = who.caller.is_only_partner();
    if brought.source.kind != "affiliate" {
        return Err(if is_partner {
            let detail = "partners ask for their own affiliate money, and for no other source";
            Problem::forbidden("source_not_allowed", detail)
        } else {
            let detail = "source.type is to be affiliate: payoutd pays nobody else";
            Problem::meaningless("unknown_source", detail)
        });
    }
    if brought.note.as_ref().is_some_and(|note| !is_note(note)) {
        let detail = format!("a note has at most {LONGEST_NOTE} characters, and no control ones");
        return Err(Problem::meaningless("note_unusable", detail));
    }
    let currency = brought.currency.known()?;
    let amount = brought.amount.in_currency(currency)?;
    if amount.minor <= 0 {
        let detail = format!("{amount} {currency} was asked for: an amount is above 0");
        return Err(Problem::meaningless("amount_unusable", detail));
    }
    Ok(Wanted {
        partner: is_partner.then(|| partner(who)).transpose()?,
        affiliate_id: brought.source.affiliate_id,
        program: brought.source.program,
        currency,
        amount_minor: amount.minor,
        by: PaidBy {
            method_id: brought.method_id,
            kind: brought.method,
            destination: brought.destination.unwrap_or_default(),
        },
        note: brought.note,
    })
}

fn is_note(note: &str) -> bool {
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    note.chars().count() <= LONGEST_NOTE && !note.chars().any(is_odd)
}

/// The bytes as they are kept: whoever asks again gets the same.
fn answer(answered: Answered) -> Response {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::CREATED);
    let failed = status.is_client_error();
    let kind = if failed { PROBLEM_JSON } else { "application/json" };
    let code = failed.then(|| code_of(&answered.body)).flatten();
    let mut answer = (status, [(header::CONTENT_TYPE, kind)], answered.body).into_response();
    if let Some(code) = code {
        answer.extensions_mut().insert(Coded(code));
    }
    answer
}

fn code_of(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    body["code"].as_str().map(str::to_owned)
}
