//! Reverse: an order was refunded, so what it earned is taken back, in whole or in part.
//!
//! What is still held never becomes available. What was credited is taken from what is available,
//! which may fall below 0: a debt, that the next payout nets. Nothing is taken back outside, and a
//! payout that is under way goes on.

use serde_json::json;

use super::{Engine, EngineError, Work, ledger, telling};
use crate::domain::{
    Bucket, CommissionId, CommissionStatus, EntryKind, EventKind, Money, Movement, OrgId, RefundId,
    WalletKey,
};
use crate::store::{CommissionStanding, NewEvent, NewReversal, ReversalRow, Tx};

/// What is to be taken back of a commission.
#[derive(Debug, Clone)]
pub struct Reversal {
    pub commission_id: CommissionId,
    /// The refund as the shop names it: a refund takes back once, however often it is told.
    pub refund_id: RefundId,
    /// `None`: all that is left.
    pub amount: Option<Money>,
    pub reason: String,
}

/// What a reversal did, now or when it was told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversed {
    pub wallet: WalletKey,
    pub amount: Money,
    /// `held` or `available`.
    pub from: Bucket,
    /// Where the commission stands now.
    pub status: CommissionStatus,
    /// Whether it was told before, and nothing changed.
    pub repeated: bool,
}

impl Engine {
    /// Takes back what a commission earned, or a part of it, for a refund.
    ///
    /// # Errors
    /// [`EngineError::NoCommission`]; [`EngineError::OtherContent`] if the refund was told before
    /// with another amount or reason; [`EngineError::NothingLeft`] for more than is left;
    /// [`EngineError::BadAmount`].
    pub async fn reverse(
        &self,
        work: &Work,
        org: &OrgId,
        reversal: &Reversal,
    ) -> Result<Reversed, EngineError> {
        let Reversal { commission_id, .. } = reversal;
        let no_commission = || EngineError::NoCommission { commission_id: commission_id.clone() };
        let wallet = self.store.commission_wallet(org, commission_id).await?;
        let wallet = wallet.ok_or_else(no_commission)?;
        if let Some(amount) = reversal.amount
            && (amount.minor <= 0 || amount.currency != wallet.currency)
        {
            let wants = format!("more than 0 {}", wallet.currency);
            return Err(EngineError::BadAmount { amount, wants });
        }
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            // The wallet first, then the commission, as everywhere: release and request wait.
            tx.wallets_lock(org, std::slice::from_ref(&wallet)).await?;
            let standing = tx.commission_lock(org, commission_id).await?;
            let standing = standing.ok_or_else(no_commission)?;
            let told = tx.reversal(org, commission_id, &reversal.refund_id).await?;
            if let Some(told) = told {
                same_content(reversal, &told)?;
                let status = tx.commission_status(org, commission_id).await?;
                let amount = Money::new(told.amount_minor, wallet.currency);
                let wallet = wallet.clone();
                let from = told.from_bucket;
                return Ok(Reversed { wallet, amount, from, status, repeated: true });
            }
            let reversed = self.take_back(&mut tx, work, org, (reversal, &wallet, &standing));
            let reversed = reversed.await?;
            tx.commit().await?;
            Ok(reversed)
        })
        .await
    }

    async fn take_back(
        &self,
        tx: &mut Tx,
        work: &Work,
        org: &OrgId,
        (reversal, wallet, standing): (&Reversal, &WalletKey, &CommissionStanding),
    ) -> Result<Reversed, EngineError> {
        let now = self.clock.now();
        let Reversal { commission_id, refund_id, .. } = reversal;
        let left = Money::new(standing.amount_minor - standing.reversed_minor, wallet.currency);
        let amount = reversal.amount.unwrap_or(left);
        if amount.minor > left.minor || left.minor == 0 {
            let commission_id = commission_id.clone();
            return Err(EngineError::NothingLeft { commission_id, left });
        }
        let credited = standing.credited_at.is_some();
        let from = if credited { Bucket::Available } else { Bucket::Held };
        let new = NewReversal {
            commission_id,
            refund_id,
            amount_minor: amount.minor,
            is_whole: reversal.amount.is_none(),
            from,
            reason: &reversal.reason,
        };
        let status = tx.commission_reverse(org, &new, &work.actor, now).await?;
        let movement = Movement {
            wallet: wallet.clone(),
            kind: EntryKind::Reverse,
            from,
            to: Bucket::Earned,
            amount_minor: amount.minor,
            entry_key: entry_key(commission_id, refund_id),
        };
        ledger::post(tx, org, vec![movement], &work.actor, now).await?;
        let detail = json!({
            "refundId": refund_id, "affiliateId": wallet.affiliate_id,
            "currency": wallet.currency, "amount": amount.to_string(), "from": from,
            "status": status, "reason": reversal.reason,
        });
        let act = ("commission.reversed", commission_id.as_str());
        self.keep_act(tx, org, work, act, detail).await?;
        let event = NewEvent {
            kind: EventKind::CommissionReversed,
            subject: commission_id.to_string(),
            data: json!({
                "commissionId": commission_id, "refundId": refund_id,
                "affiliateId": wallet.affiliate_id, "currency": wallet.currency,
                "amount": telling::number(amount), "status": status,
            }),
        };
        tx.event_insert(org, &[event], now).await?;
        Ok(Reversed { wallet: wallet.clone(), amount, from, status, repeated: false })
    }
}

/// Both ids are brought by others and may hold a colon: the length keeps two pairs of them from
/// ever making one key.
fn entry_key(commission: &CommissionId, refund: &RefundId) -> String {
    format!("reverse:{}:{commission}:{refund}", commission.as_str().chars().count())
}

/// A repetition says what was said first: the same amount (or again none) and the same reason.
fn same_content(reversal: &Reversal, told: &ReversalRow) -> Result<(), EngineError> {
    let same_amount = match reversal.amount {
        None => told.is_whole == 1,
        Some(amount) => amount.minor == told.amount_minor,
    };
    let differs = match (same_amount, reversal.reason == told.reason) {
        (true, true) => return Ok(()),
        (false, _) => "amount",
        (true, false) => "reason",
    };
    let id = reversal.refund_id.to_string();
    Err(EngineError::OtherContent { what: "refund", id, differs })
}
