//! Payment methods, as staff see everybody's.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::brought::{Asked, Body, Ids};
use super::door::Who;
use super::methods::{AddMethod, PaymentMethod, bring, known};
use super::page::{self, Page};
use super::problem::{Problem, ProblemBody};
use crate::domain::{AffiliateId, MethodId};
use crate::store::{MethodsOf, PaymentMethod as Row};

/// Whose methods.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct MethodsQuery {
    /// Of this affiliate alone.
    #[param(inline, value_type = Option<AffiliateId>)]
    affiliate_id: Option<String>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// What a person found, for the record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Note {
    /// What was looked at, and what was found.
    #[schema(min_length = 1, max_length = 1000)]
    note: String,
}

impl Note {
    fn text(self) -> Result<String, Problem> {
        let is_short = self.note.chars().count() <= 1_000;
        if is_short && !self.note.trim().is_empty() {
            return Ok(self.note.trim().to_owned());
        }
        Err(Problem::meaningless("note_unusable", "a note has 1 to 1000 characters"))
    }
}

/// List everybody's payment methods
#[utoipa::path(get, path = "/finance/payment-methods", tag = "payment methods",
    operation_id = "listAllPaymentMethods", params(MethodsQuery),
    responses((status = 200, body = Page<PaymentMethod>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<MethodsQuery>,
) -> Result<Json<Page<PaymentMethod>>, Problem> {
    let (limit, after) = (page::limit(query.limit)?, page::key(query.cursor.as_deref())?);
    let of = match query.affiliate_id.map(|id| id.parse::<AffiliateId>()) {
        None => MethodsOf::Org,
        Some(Ok(id)) => MethodsOf::Affiliate(id),
        Some(Err(wrong)) => return Err(Problem::unreadable("bad_id", wrong.to_string())),
    };
    let rows = desk.engine.store.methods(who.org(), &of, &after, limit + 1).await?;
    let key = |row: &Row| row.method_id.to_string();
    Ok(Json(Page::of(rows, limit, key, PaymentMethod::for_staff)))
}

/// Add a payment method on behalf of an affiliate
#[utoipa::path(post, path = "/finance/payment-methods", tag = "payment methods",
    operation_id = "addPaymentMethodFor", request_body = AddMethod,
    responses((status = 201, body = PaymentMethod), (status = 200, body = PaymentMethod),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn add(
    State(desk): State<Desk>,
    who: Who,
    Body(asked): Body<AddMethod>,
) -> Result<(StatusCode, Json<PaymentMethod>), Problem> {
    let Some(id) = asked.affiliate_id() else {
        let detail = "say for whom: affiliateId is missing";
        return Err(Problem::meaningless("affiliate_missing", detail));
    };
    let affiliate = id.parse().map_err(|wrong: crate::domain::IdError| {
        Problem::meaningless("affiliate_unusable", wrong.to_string())
    })?;
    let (is_new, row) = bring(&desk, &who, affiliate, asked).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(PaymentMethod::for_staff(row))))
}

/// Verify a payment method by a person's word
#[utoipa::path(post, path = "/finance/payment-methods/{methodId}/verify", tag = "payment methods",
    operation_id = "approvePaymentMethod", params(("methodId" = String, Path)),
    request_body = Note, responses((status = 200, body = PaymentMethod),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn verify(
    State(desk): State<Desk>,
    who: Who,
    Ids(id): Ids<MethodId>,
    Body(note): Body<Note>,
) -> Result<Json<PaymentMethod>, Problem> {
    let note = note.text()?;
    desk.engine.judge_method(&who.work(), who.org(), &id, (true, &note)).await?;
    Ok(Json(PaymentMethod::for_staff(known(&desk, &who, &id).await?)))
}

/// Reject a payment method
///
/// Nothing more is paid to it until it is verified again.
#[utoipa::path(post, path = "/finance/payment-methods/{methodId}/reject", tag = "payment methods",
    operation_id = "rejectPaymentMethod", params(("methodId" = String, Path)),
    request_body = Note, responses((status = 200, body = PaymentMethod),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn reject(
    State(desk): State<Desk>,
    who: Who,
    Ids(id): Ids<MethodId>,
    Body(note): Body<Note>,
) -> Result<Json<PaymentMethod>, Problem> {
    let note = note.text()?;
    desk.engine.judge_method(&who.work(), who.org(), &id, (false, &note)).await?;
    Ok(Json(PaymentMethod::for_staff(known(&desk, &who, &id).await?)))
}

/// Disable a payment method
///
/// For good; payouts that wait for it are cancelled, and their money is available again.
#[utoipa::path(post, path = "/finance/payment-methods/{methodId}/disable", tag = "payment methods",
    operation_id = "disablePaymentMethod", params(("methodId" = String, Path)),
    request_body = Note, responses((status = 200, body = PaymentMethod),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn disable(
    State(desk): State<Desk>,
    who: Who,
    Ids(id): Ids<MethodId>,
    Body(note): Body<Note>,
) -> Result<Json<PaymentMethod>, Problem> {
    let note = note.text()?;
    desk.engine.disable_method(&who.work(), who.org(), &id, &note).await?;
    Ok(Json(PaymentMethod::for_staff(known(&desk, &who, &id).await?)))
}
