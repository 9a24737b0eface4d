//! Stripe's objects as Stripe shows them.

use serde_json::{Value, json};

use super::accounts::Account;
use super::ledger::{Payout, Reversal, Transfer};
use crate::domain::Currency;

/// When every connected account was opened, in seconds since 1970.
const ACCOUNT_CREATED: i64 = 1_700_000_000;
/// How long a payout is on its way.
const ARRIVAL_SECONDS: i64 = 2 * 86_400;

/// A code as Stripe writes it.
pub(super) fn code(currency: Currency) -> String {
    currency.code().to_ascii_lowercase()
}

pub(super) fn transfer(transfer: &Transfer) -> Value {
    let reversed = transfer.reversed();
    let reversals: Vec<_> = transfer.reversals.iter().take(10).map(reversal).collect();
    json!({
        "id": transfer.id,
        "object": "transfer",
        "amount": transfer.amount,
        "amount_reversed": reversed,
        "balance_transaction": transfer.balance_transaction,
        "created": transfer.created.timestamp(),
        "currency": code(transfer.currency),
        "description": transfer.description,
        "destination": transfer.destination,
        "destination_payment": transfer.destination_payment,
        "livemode": false,
        "metadata": transfer.metadata,
        "reversals": {
            "object": "list",
            "data": reversals,
            "has_more": transfer.reversals.len() > 10,
            "url": format!("/v1/transfers/{}/reversals", transfer.id),
        },
        "reversed": reversed >= transfer.amount,
        "source_transaction": transfer.source_transaction,
        "source_type": transfer.source_type,
        "transfer_group": transfer.transfer_group,
    })
}

pub(super) fn reversal(reversal: &Reversal) -> Value {
    json!({
        "id": reversal.id,
        "object": "transfer_reversal",
        "amount": reversal.amount,
        "balance_transaction": reversal.balance_transaction,
        "created": reversal.created.timestamp(),
        "currency": code(reversal.currency),
        "destination_payment_refund": null,
        "metadata": reversal.metadata,
        "source_refund": null,
        "transfer": reversal.transfer,
    })
}

pub(super) fn payout(payout: &Payout) -> Value {
    let failed = payout.failure_code.is_some();
    json!({
        "id": payout.id,
        "object": "payout",
        "amount": payout.amount,
        "arrival_date": payout.created.timestamp() + ARRIVAL_SECONDS,
        "automatic": true,
        "balance_transaction": null,
        "created": payout.created.timestamp(),
        "currency": code(payout.currency),
        "description": "STRIPE PAYOUT",
        "destination": format!("ba_{}", payout.account.trim_start_matches("acct_")),
        "failure_balance_transaction": null,
        "failure_code": payout.failure_code,
        "failure_message": failed.then_some("The bank did not take the payout."),
        "livemode": false,
        "metadata": {},
        "method": "standard",
        "original_payout": null,
        "reconciliation_status": "in_progress",
        "reversed_by": null,
        "source_type": "card",
        "statement_descriptor": null,
        "status": payout.status,
        "type": "bank_account",
    })
}

pub(super) fn account(id: &str, account: &Account) -> Value {
    json!({
        "id": id,
        "object": "account",
        "business_type": null,
        "capabilities": {"transfers": account.transfers.in_summary()},
        "charges_enabled": false,
        "country": "US",
        "created": ACCOUNT_CREATED,
        "default_currency": "usd",
        "details_submitted": true,
        "email": null,
        "external_accounts": {
            "object": "list",
            "data": [],
            "has_more": false,
            "url": format!("/v1/accounts/{id}/external_accounts"),
        },
        "future_requirements": requirements(),
        "metadata": {},
        "payouts_enabled": account.payouts_enabled,
        "requirements": requirements(),
        "type": "express",
    })
}

pub(super) fn capability(id: &str, account: &Account) -> Value {
    json!({
        "id": "transfers",
        "object": "capability",
        "account": id,
        "future_requirements": requirements(),
        "requested": true,
        "requested_at": ACCOUNT_CREATED,
        "requirements": requirements(),
        "status": account.transfers,
    })
}

fn requirements() -> Value {
    json!({
        "alternatives": [],
        "current_deadline": null,
        "currently_due": [],
        "disabled_reason": null,
        "errors": [],
        "eventually_due": [],
        "past_due": [],
        "pending_verification": [],
    })
}
