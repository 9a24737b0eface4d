//! Wallets: what each affiliate's money stands at, frozen and thawed, adjusted.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::amount::{Amount, BroughtAmount};
use super::brought::{Asked, Body, Ids};
use super::door::Who;
use super::page::{self, Page, PageQuery};
use super::problem::{Problem, ProblemBody};
use super::words;
use crate::domain::{
    AdjustmentId, AffiliateId, Bucket, Currency, EntryKind, WalletKey, WalletStatus,
};
use crate::engine::{Adjustment, EngineError};
use crate::store::{WalletEntryRow, WalletFilter, WalletRow};

/// Which wallets.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct WalletsQuery {
    /// Only this affiliate's.
    #[param(value_type = Option<String>, min_length = 1, max_length = 128,
            pattern = r"^[^\s\x00-\x1f\x7f-\x9f]+$")]
    affiliate_id: Option<AffiliateId>,
    #[param(value_type = Option<String>, pattern = "^(active|frozen)$")]
    status: Option<WalletStatus>,
    /// Only those that owe.
    owing: Option<bool>,
    /// Rows on the page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<i64>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// One affiliate's money in one currency.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wallet {
    #[schema(value_type = String)]
    affiliate_id: AffiliateId,
    program: String,
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// `active`, or `frozen`: then it goes on earning and is not paid.
    #[schema(value_type = String)]
    status: WalletStatus,
    /// Earned, and waiting for its hold to end.
    held: Amount,
    /// What can be asked out; below 0 it is a debt, that the next payout nets.
    available: Amount,
    /// Asked out, and not known to have arrived.
    in_flight: Amount,
    /// Arrived.
    paid: Amount,
    updated_at: DateTime<Utc>,
    frozen: Option<Frozen>,
}

/// Who froze a wallet, when and why.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Frozen {
    by: String,
    at: Option<DateTime<Utc>>,
    reason: String,
}

impl From<WalletRow> for Wallet {
    fn from(row: WalletRow) -> Self {
        let amount = |minor| Amount::new(minor, row.currency);
        let frozen = row.frozen_by.map(|by| Frozen {
            by,
            at: row.frozen_at,
            reason: row.frozen_reason.unwrap_or_default(),
        });
        Self {
            held: amount(row.held_minor),
            available: amount(row.available_minor),
            in_flight: amount(row.in_flight_minor),
            paid: amount(row.paid_minor),
            affiliate_id: row.affiliate_id,
            program: row.program_id.to_string(),
            currency: row.currency,
            status: row.status,
            updated_at: row.updated_at,
            frozen,
        }
    }
}

/// One movement of money in a wallet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WalletEntry {
    /// Its number in the wallet, from 1.
    version: i64,
    /// `accrue`, `release`, `request`, `settle`, `restore`, `return`, `reverse` or `adjust`.
    #[schema(value_type = String)]
    kind: EntryKind,
    #[schema(value_type = String)]
    from: Bucket,
    #[schema(value_type = String)]
    to: Bucket,
    amount: Amount,
    /// What caused it, by its ids.
    cause: String,
    /// Why, where a person adjusted the wallet.
    reason: Option<String>,
    actor: String,
    occurred_at: DateTime<Utc>,
    held_after: Amount,
    available_after: Amount,
    in_flight_after: Amount,
    paid_after: Amount,
}

impl WalletEntry {
    fn of(row: WalletEntryRow, currency: Currency) -> Self {
        let amount = |minor| Amount::new(minor, currency);
        Self {
            amount: amount(row.amount_minor),
            held_after: amount(row.held_after),
            available_after: amount(row.available_after),
            in_flight_after: amount(row.in_flight_after),
            paid_after: amount(row.paid_after),
            version: row.version,
            kind: row.kind,
            from: row.from_bucket,
            to: row.to_bucket,
            cause: row.entry_key,
            reason: row.reason,
            actor: row.actor,
            occurred_at: row.occurred_at,
        }
    }
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Why {
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// What is to be added to a wallet, or taken from it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AdjustmentBody {
    /// Yours, and new for each adjustment: the same one again adjusts nothing.
    #[schema(value_type = String, min_length = 1, max_length = 128,
             pattern = r"^[^\s\x00-\x1f\x7f-\x9f]+$")]
    adjustment_id: AdjustmentId,
    /// Below 0 it takes.
    amount: BroughtAmount,
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

/// An adjustment, with the wallet as it is now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Adjusted {
    #[schema(value_type = String)]
    adjustment_id: AdjustmentId,
    amount: Amount,
    wallet: Wallet,
}

/// List wallets
///
/// By affiliate and currency.
#[utoipa::path(get, path = "/wallets", tag = "wallets", operation_id = "listWallets",
    params(WalletsQuery), responses((status = 200, body = Page<Wallet>)))]
pub(super) async fn list(
    State(desk): State<Desk>,
    who: Who,
    Asked(query): Asked<WalletsQuery>,
) -> Result<Json<Page<Wallet>>, Problem> {
    let limit = page::limit(query.limit)?;
    let after = page::key(query.cursor.as_deref())?;
    // An id holds no space.
    let (affiliate, currency) = after.rsplit_once(' ').unwrap_or((&after, ""));
    let filter = WalletFilter {
        affiliate_id: query.affiliate_id.map(String::from).unwrap_or_default(),
        status: query.status.map(|status| status.to_string()).unwrap_or_default(),
        owing: query.owing.unwrap_or(false),
        after: (affiliate.to_owned(), currency.to_owned()),
        limit: limit + 1,
    };
    let rows = desk.engine.store.wallets(who.org(), &filter).await?;
    let key = |row: &WalletRow| format!("{} {}", row.affiliate_id, row.currency);
    Ok(Json(Page::of(rows, limit, key, Wallet::from)))
}

/// Show a wallet
#[utoipa::path(get, path = "/wallets/{affiliateId}/{currency}", tag = "wallets",
    operation_id = "showWallet",
    params(("affiliateId" = String, Path), ("currency" = String, Path)),
    responses((status = 200, body = Wallet),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(desk): State<Desk>,
    who: Who,
    Ids(ids): Ids<(AffiliateId, Currency)>,
) -> Result<Json<Wallet>, Problem> {
    Ok(Json(wallet(&desk, &who, &key(ids)).await?))
}

/// List the entries of a wallet
///
/// Every movement of its money, newest first.
#[utoipa::path(get, path = "/wallets/{affiliateId}/{currency}/entries", tag = "wallets",
    operation_id = "listWalletEntries",
    params(("affiliateId" = String, Path), ("currency" = String, Path), PageQuery),
    responses((status = 200, body = Page<WalletEntry>),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn entries(
    State(desk): State<Desk>,
    who: Who,
    Ids(ids): Ids<(AffiliateId, Currency)>,
    Asked(query): Asked<PageQuery>,
) -> Result<Json<Page<WalletEntry>>, Problem> {
    let (limit, key) = (page::limit(query.limit)?, key(ids));
    let before = match page::key(query.cursor.as_deref())?.as_str() {
        "" => i64::MAX,
        version => version.parse().map_err(|_| {
            Problem::unreadable("bad_cursor", "the cursor is none that a list gave out")
        })?,
    };
    wallet(&desk, &who, &key).await?;
    let rows = desk.engine.store.wallet_entries(who.org(), &key, before, limit + 1).await?;
    let show = |row| WalletEntry::of(row, key.currency);
    Ok(Json(Page::of(rows, limit, |row| row.version.to_string(), show)))
}

/// Freeze a wallet
///
/// It goes on earning and is not paid. What waits to be sent from it is cancelled when its turn
/// comes; what was sent is not called back. A frozen wallet stays as it is.
#[utoipa::path(post, path = "/wallets/{affiliateId}/{currency}/freeze", tag = "wallets",
    operation_id = "freezeWallet",
    params(("affiliateId" = String, Path), ("currency" = String, Path)), request_body = Why,
    responses((status = 200, body = Wallet),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn freeze(
    State(desk): State<Desk>,
    who: Who,
    Ids(ids): Ids<(AffiliateId, Currency)>,
    Body(why): Body<Why>,
) -> Result<Json<Wallet>, Problem> {
    let (key, reason) = (key(ids), words::reason(&why.reason)?);
    desk.engine.freeze(&who.work(), who.org(), (&key, reason)).await?;
    Ok(Json(wallet(&desk, &who, &key).await?))
}

/// Let a frozen wallet be paid again
#[utoipa::path(post, path = "/wallets/{affiliateId}/{currency}/unfreeze", tag = "wallets",
    operation_id = "unfreezeWallet",
    params(("affiliateId" = String, Path), ("currency" = String, Path)), request_body = Why,
    responses((status = 200, body = Wallet),
              (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn unfreeze(
    State(desk): State<Desk>,
    who: Who,
    Ids(ids): Ids<(AffiliateId, Currency)>,
    Body(why): Body<Why>,
) -> Result<Json<Wallet>, Problem> {
    let (key, reason) = (key(ids), words::reason(&why.reason)?);
    desk.engine.unfreeze(&who.work(), who.org(), (&key, reason)).await?;
    Ok(Json(wallet(&desk, &who, &key).await?))
}

/// Adjust a wallet
///
/// Adds to what is available, or takes from it: a bonus, a fee, a debt written off. What is taken
/// and not there is owed. Asked again with the same id and content, it changes nothing.
#[utoipa::path(post, path = "/wallets/{affiliateId}/{currency}/adjustments", tag = "wallets",
    operation_id = "adjustWallet",
    params(("affiliateId" = String, Path), ("currency" = String, Path)),
    request_body = AdjustmentBody,
    responses((status = 200, description = "It was known.", body = Adjusted),
              (status = 201, description = "It was made.", body = Adjusted),
              (status = 404, body = ProblemBody, content_type = "application/problem+json"),
              (status = 409, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn adjust(
    State(desk): State<Desk>,
    who: Who,
    Ids(ids): Ids<(AffiliateId, Currency)>,
    Body(body): Body<AdjustmentBody>,
) -> Result<(StatusCode, Json<Adjusted>), Problem> {
    let key = key(ids);
    let amount = body.amount.in_currency(key.currency)?;
    let adjustment = Adjustment {
        adjustment_id: body.adjustment_id,
        wallet: key.clone(),
        amount_minor: amount.minor,
        reason: words::reason(&body.reason)?.to_owned(),
    };
    let new = desk.engine.adjust(&who.work(), who.org(), &adjustment).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let adjusted = Adjusted {
        adjustment_id: adjustment.adjustment_id,
        amount: Amount(amount),
        wallet: wallet(&desk, &who, &key).await?,
    };
    Ok((status, Json(adjusted)))
}

fn key((affiliate_id, currency): (AffiliateId, Currency)) -> WalletKey {
    WalletKey { affiliate_id, currency }
}

/// A wallet as it is now.
pub(super) async fn wallet(desk: &Desk, who: &Who, key: &WalletKey) -> Result<Wallet, Problem> {
    let row = desk.engine.store.wallet(who.org(), key).await?;
    let row = row.filter(|row| !row.affiliate_id.is_house());
    row.map(Wallet::from).ok_or_else(|| EngineError::no_wallet(key).into())
}
