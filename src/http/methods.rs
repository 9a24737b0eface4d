//! Payment methods, as partners see their own.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::amount::BroughtAmount;
use super::around::RequestId;
use super::brought::{Asked, Body, Ids};
use super::door::Who;
use super::page::{self, Page, PageQuery};
use super::problem::{Problem, ProblemBody};
use crate::domain::{
    AffiliateId, Currency, Destination, MethodId, MethodKind, MethodStatus, MicroDeposits,
};
use crate::engine::{BroughtMethod, ConsentSaid, MethodEdit, Started};
use crate::store::{MethodsOf, PaymentMethod as Row, Proving as ProvingRow};

/// Characters of a label.
const LONGEST_LABEL: usize = 100;

/// Where money goes, as its owner may see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownDestination {
    /// Enough to tell it from others: `****6789`, `a***@example.com`.
    masked: Option<String>,
    /// The end of its account number, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last4: Option<String>,
    /// Whether it cannot be read any more, by nobody: it has to be told anew.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unreadable: bool,
}

/// The verification under way.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Proving {
    /// `consent` or `micro_deposits`.
    kind: String,
    expires_at: DateTime<Utc>,
    /// How often the amounts may still be told.
    tries_left: i64,
}

/// Where an affiliate's money may go.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PaymentMethod {
    id: String,
    affiliate_id: String,
    /// `paypal`, `stripe-connect`, `ach` or `wire`.
    #[serde(rename = "type")]
    kind: String,
    label: String,
    /// Whether payouts go here if nobody says otherwise.
    is_default: bool,
    /// `pending`, `verified`, `failed` or `disabled`. Only a verified one is paid.
    status: String,
    /// Why it has this status, where somebody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    destination: ShownDestination,
    /// How it was proven: `consent`, `micro_deposits`, `capability` or `manual`.
    verification_method: Option<String>,
    verified_at: Option<DateTime<Utc>>,
    /// It cools off until then: a changed destination is not paid at once.
    usable_from: Option<DateTime<Utc>>,
    added_at: DateTime<Utc>,
    verification: Option<Proving>,
    /// For staff: the method of somebody else that goes to the same account.
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_of: Option<String>,
}

impl From<Row> for PaymentMethod {
    fn from(row: Row) -> Self {
        let proving = |proving: ProvingRow| Proving {
            kind: proving.kind.to_string(),
            expires_at: proving.until,
            tries_left: proving.tries_left,
        };
        Self {
            id: row.method_id.to_string(),
            affiliate_id: row.affiliate_id.to_string(),
            kind: row.kind.to_string(),
            label: row.label,
            is_default: row.is_default,
            status: row.status.to_string(),
            status_code: row.status_code,
            status_reason: row.status_reason,
            destination: ShownDestination {
                masked: row.destination.as_ref().map(Destination::masked),
                last4: row.destination.as_ref().and_then(Destination::last4),
                unreadable: row.destination.is_none(),
            },
            verification_method: row.verified_by.map(|by| by.to_string()),
            verified_at: row.verified_at,
            usable_from: row.usable_from,
            added_at: row.created_at,
            verification: row.proving.map(proving),
            duplicate_of: None,
        }
    }
}

impl PaymentMethod {
    /// The same for staff, who see whose account it may be.
    pub(super) fn for_staff(row: Row) -> Self {
        let duplicate_of = row.duplicate_of.as_ref().map(ToString::to_string);
        Self { duplicate_of, ..Self::from(row) }
    }
}

/// A method to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AddMethod {
    /// May be left out by a partner who is enrolled once.
    #[schema(min_length = 1, max_length = 128)]
    affiliate_id: Option<String>,
    /// `paypal`, `stripe-connect`, `ach` or `wire`; `method` is another name for it.
    #[serde(rename = "type", alias = "method")]
    #[schema(pattern = "^(paypal|stripe-connect|ach|wire)$")]
    kind: String,
    #[schema(max_length = 100)]
    label: Option<String>,
    /// Whether payouts go here from now on. The first method is the default anyhow.
    is_default: Option<bool>,
    /// By type: `email`; `account`; `routingNumber`, `accountNumber`, `accountType`,
    /// `accountHolderName`; a wire also wants `city` and `country`.
    destination: BTreeMap<String, String>,
}

impl AddMethod {
    /// For whom it is, if somebody says so.
    pub(super) fn affiliate_id(&self) -> Option<&str> {
        self.affiliate_id.as_deref()
    }
}

/// What is to become of a method. What is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ChangeMethod {
    #[schema(max_length = 100)]
    label: Option<String>,
    /// `true` makes it the default; another one has to take its place.
    is_default: Option<bool>,
    /// All of the new destination. It has to be verified anew, and cools off after that.
    destination: Option<BTreeMap<String, String>>,
}

/// How a verification goes on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verification {
    /// As it stands now.
    status: String,
    /// Where the holder signs in and consents (PayPal).
    #[serde(skip_serializing_if = "Option::is_none")]
    authorize_url: Option<String>,
    /// Until when it can be finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    /// Why the rail does not pay there, if it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What the holder found in the account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Confirm {
    /// The two deposits in dollars, in any order: `[0.12, 0.34]`.
    #[schema(min_items = 2, max_items = 2)]
    amounts: Vec<BroughtAmount>,
}

/// What a provider's page sends a browser back with.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Back {
    /// The word that the verification was started with.
    #[param(max_length = 500, pattern = r"^[^\x00]*$")]
    state: String,
    /// What the holder's consent is heard by.
    #[param(max_length = 2000, pattern = r"^[^\x00]*$")]
    code: Option<String>,
    /// Why there is no code.
    #[param(max_length = 200, pattern = r"^[^\x00]*$")]
    error: Option<String>,
}

/// What came of a consent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Landed {
    payment_method: String,
    status: String,
}

/// Add a payment method
///
/// It is `pending` until it is verified. The same destination again is the same method.
#[utoipa::path(post, path = "/client/finance/payment-methods", tag = "payment methods",
    operation_id = "addPaymentMethod", request_body = AddMethod,
    responses((status = 201, body = PaymentMethod), (status = 200, body = PaymentMethod),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn add(
    State(desk): State<Desk>,
    who: Who,
    Body(asked): Body<AddMethod>,
) -> Result<(StatusCode, Json<PaymentMethod>), Problem> {
    let affiliate = match &asked.affiliate_id {
        Some(id) => {
            let none = || no_affiliate(id);
            let id: AffiliateId = id.parse().map_err(|_| none())?;
            let owner = desk.engine.store.method_owner(who.org(), &id).await?;
            owner.filter(|owner| owner.partner_id == who.caller.id).ok_or_else(none)?;
            id
        }
        None => only_enrolment(&desk, &who).await?,
    };
    let (is_new, row) = bring(&desk, &who, affiliate, asked).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(PaymentMethod::from(row))))
}

fn no_affiliate(id: &str) -> Problem {
    let detail = format!("affiliate {} does not exist in this org", id.escape_debug());
    Problem::not_found("no_affiliate", detail)
}

async fn only_enrolment(desk: &Desk, who: &Who) -> Result<AffiliateId, Problem> {
    let mut own = desk.engine.store.affiliates_of_partner(who.org(), &who.caller.id).await?;
    match (own.pop(), own.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Problem::not_found("no_affiliate", "the caller is enrolled nowhere")),
        (Some(_), false) => {
            let detail = "the caller is enrolled more than once: say which affiliateId";
            Err(Problem::meaningless("affiliate_missing", detail))
        }
    }
}

/// Takes a method in for an affiliate that the caller may act for.
pub(super) async fn bring(
    desk: &Desk,
    who: &Who,
    affiliate_id: AffiliateId,
    asked: AddMethod,
) -> Result<(bool, Row), Problem> {
    let kind: MethodKind = asked.kind.parse().map_err(|wrong: crate::domain::UnknownWord| {
        Problem::meaningless("type_unknown", wrong.to_string().escape_debug().to_string())
    })?;
    let brought = BroughtMethod {
        affiliate_id,
        destination: destination(kind, &asked.destination)?,
        label: label(asked.label)?.unwrap_or_default(),
        is_default: asked.is_default.unwrap_or(false),
    };
    let (id, is_new) = desk.engine.add_method(&who.work(), who.org(), &brought).await?;
    Ok((is_new, known(desk, who, &id).await?))
}

fn destination(
    kind: MethodKind,
    fields: &BTreeMap<String, String>,
) -> Result<Destination, Problem> {
    let json = serde_json::to_string(fields).expect("a map of text is always JSON");
    Destination::parse(kind, &json)
        .map_err(|wrong| Problem::meaningless("destination_unusable", wrong.to_string()))
}

fn label(label: Option<String>) -> Result<Option<String>, Problem> {
    let is_fit = |label: &String| {
        label.chars().count() <= LONGEST_LABEL && !label.chars().any(char::is_control)
    };
    match label {
        Some(label) if !is_fit(&label) => {
            let detail = "a label has at most 100 characters, and none that controls";
            Err(Problem::meaningless("label_unusable", detail))
        }
        label => Ok(label),
    }
}

fn no_method(id: &MethodId) -> Problem {
    Problem::not_found("no_method", format!("payment method {id} does not exist in this org"))
}

/// A method of the org.
pub(super) async fn known(desk: &Desk, who: &Who, id: &MethodId) -> Result<Row, Problem> {
    let row = desk.engine.store.method(who.org(), id).await?;
    row.ok_or_else(|| no_method(id))
}

/// A method of the caller's own; somebody else's is as unknown as none.
async fn own(desk: &Desk, who: &Who, id: &MethodId) -> Result<Row, Problem> {
    let row = known(desk, who, id).await?;
    if row.partner_id == who.caller.id { Ok(row) } else { Err(no_method(id)) }
}

/// List payment methods
///
/// All of the caller's own, oldest first.
#[utoipa::path(get, path = "/client/finance/payment-methods", tag = "payment methods",
    operation_id = "listPaymentMethods", params(PageQuery),
    responses((status = 200, body = Page<PaymentMethod>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<PaymentMethod>>, Problem> {
    let (limit, after) = (page::limit(query.limit)?, page::key(query.cursor.as_deref())?);
    let of = MethodsOf::Partner(who.caller.id.clone());
    let rows = desk.engine.store.methods(who.org(), &of, &after, limit + 1).await?;
    let key = |row: &Row| row.method_id.to_string();
    Ok(Json(Page::of(rows, limit, key, PaymentMethod::from)))
}

/// Show a payment method
#[utoipa::path(get, path = "/client/finance/payment-methods/{methodId}", tag = "payment methods",
    operation_id = "showPaymentMethod", params(("methodId" = String, Path)),
    responses((status = 200, body = PaymentMethod),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(id): Ids<MethodId>,
) -> Result<Json<PaymentMethod>, Problem> {
    Ok(Json(own(&desk, &who, &id).await?.into()))
}

/// Change a payment method
///
/// A changed destination is not verified any more, and cools off once it is.
#[utoipa::path(patch, path = "/client/finance/payment-methods/{methodId}", tag = "payment methods",
    operation_id = "changePaymentMethod", params(("methodId" = String, Path)),
    request_body = ChangeMethod, responses((status = 200, body = PaymentMethod),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(desk): State<Desk>,
    who: Who,
    Ids(id): Ids<MethodId>,
    Body(asked): Body<ChangeMethod>,
) -> Result<Json<PaymentMethod>, Problem> {
    let row = own(&desk, &who, &id).await?;
    if asked.is_default == Some(false) && row.is_default {
        let detail = "it is the default: make another one the default instead";
        return Err(Problem::meaningless("default_needed", detail));
    }
    let kind = row.kind;
    let edit = MethodEdit {
        label: label(asked.label)?,
        destination: asked.destination.map(|fields| destination(kind, &fields)).transpose()?,
        make_default: asked.is_default == Some(true),
    };
    desk.engine.change_method(&who.work(), who.org(), &id, &edit).await?;
    Ok(Json(own(&desk, &who, &id).await?.into()))
}

/// Disable a payment method
///
/// For good; payouts that wait for it are cancelled, and their money is available again.
#[utoipa::path(delete, path = "/client/finance/payment-methods/{methodId}", tag = "payment methods",
    operation_id = "disableOwnPaymentMethod", params(("methodId" = String, Path)),
    responses((status = 204),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn disable(
    State(desk): State<Desk>,
    who: Who,
    Ids(id): Ids<MethodId>,
) -> Result<StatusCode, Problem> {
    own(&desk, &who, &id).await?;
    let note = "its owner removed it";
    desk.engine.disable_method(&who.work(), who.org(), &id, note).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Start to verify a payment method
///
/// PayPal: `authorizeUrl` is where its holder signs in. Stripe Connect: the answer is there at
/// once. ACH: two small deposits leave, whose amounts the holder confirms. A wire is verified by
/// staff.
#[utoipa::path(post, path = "/client/finance/payment-methods/{methodId}/verify",
    tag = "payment methods", operation_id = "verifyPaymentMethod",
    params(("methodId" = String, Path)), responses((status = 200, body = Verification),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn verify(
    State(desk): State<Desk>,
    who: Who,
    Ids(id): Ids<MethodId>,
) -> Result<Json<Verification>, Problem> {
    own(&desk, &who, &id).await?;
    let started = desk.engine.start_verification(&who.work(), who.org(), &id).await?;
    let status = MethodStatus::Pending.to_string();
    let nothing = Verification { status, authorize_url: None, expires_at: None, reason: None };
    Ok(Json(match started {
        Started::Consent { address, until } => {
            Verification { authorize_url: Some(address), expires_at: Some(until), ..nothing }
        }
        Started::Deposits { until } => Verification { expires_at: Some(until), ..nothing },
        Started::Told { status, problem } => Verification {
            status: status.to_string(),
            reason: problem.map(|problem| problem.to_string()),
            ..nothing
        },
    }))
}

/// Confirm the deposits of a payment method
///
/// Three tries, within 14 days.
#[utoipa::path(post, path = "/client/finance/payment-methods/{methodId}/confirm",
    tag = "payment methods", operation_id = "confirmPaymentMethod",
    params(("methodId" = String, Path)), request_body = Confirm,
    responses((status = 200, body = PaymentMethod),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn confirm(
    State(desk): State<Desk>,
    who: Who,
    Ids(id): Ids<MethodId>,
    Body(asked): Body<Confirm>,
) -> Result<Json<PaymentMethod>, Problem> {
    own(&desk, &who, &id).await?;
    let currency: Currency = "USD".parse().expect("a currency");
    let minor = |amount: &BroughtAmount| amount.in_currency(currency).map(|money| money.minor);
    let minors = asked.amounts.iter().map(minor).collect::<Result<Vec<_>, _>>()?;
    let told = MicroDeposits::told(&minors).ok_or_else(|| {
        Problem::meaningless("amounts_unusable", "there are two deposits: tell both amounts")
    })?;
    desk.engine.confirm_deposits(&who.work(), who.org(), &id, told).await?;
    Ok(Json(own(&desk, &who, &id).await?.into()))
}

/// Come back from PayPal
///
/// Where PayPal sends the holder's browser. `state` is the proof: it was told to one person, is
/// good once, and for 15 minutes.
#[utoipa::path(get, path = "/client/finance/payment-methods/paypal/callback",
    tag = "payment methods", operation_id = "paypalCallback", params(Back),
    responses((status = 200, body = Landed),
        (status = 303, description = "On to the partners' portal, if there is one."),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json",
         description = "Neither a code nor an error came back."),
        (status = 500, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn paypal_callback(
    State(desk): State<Desk>,
    axum::Extension(RequestId(request_id)): axum::Extension<RequestId>,
    Asked(back): Asked<Back>,
) -> Response {
    let landing = Url::parse(&desk.engine.settings.methods.landing_url).ok();
    let answered = come_back(&desk, &request_id, &back).await;
    let Some(mut landing) = landing else {
        return answered.map(Json).into_response();
    };
    match &answered {
        Ok(landed) => landing
            .query_pairs_mut()
            .append_pair("paymentMethod", &landed.payment_method)
            .append_pair("status", &landed.status),
        Err(problem) => landing.query_pairs_mut().append_pair("error", problem.code),
    };
    (StatusCode::SEE_OTHER, [(header::LOCATION, landing.as_str().to_owned())]).into_response()
}

async fn come_back(desk: &Desk, request_id: &str, back: &Back) -> Result<Landed, Problem> {
    let said = match (&back.code, &back.error) {
        (_, Some(word)) => ConsentSaid::Declined(word),
        (Some(code), None) => ConsentSaid::Code(code),
        (None, None) => {
            let detail = "neither a code nor an error came back: nothing can be heard";
            return Err(Problem::meaningless("query_unclear", detail));
        }
    };
    let (_, consented) = desk.engine.hear_consent(&back.state, said, request_id).await?;
    let (id, status) = (consented.method_id.to_string(), consented.status.to_string());
    Ok(Landed { payment_method: id, status })
}
