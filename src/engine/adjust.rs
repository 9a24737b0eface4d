//! Adjust: a person adds to what is available in a wallet, or takes from it, with a reason. What
//! was taken and is not there is a debt, that the next payout nets.

use serde_json::json;

use super::{Engine, EngineError, Work, ledger};
use crate::domain::{
    AdjustmentId, Bucket, EntryKind, LARGEST_COMMISSION_MINOR, Money, Movement, OrgId, WalletKey,
};
use crate::store::{AdjustmentRow, NewAdjustment, Tx};

/// What is to be added to a wallet, or taken from it.
#[derive(Debug, Clone)]
pub struct Adjustment {
    /// Brought by whoever asks, so that asking twice adjusts once.
    pub adjustment_id: AdjustmentId,
    pub wallet: WalletKey,
    /// Minor units; below 0 it takes.
    pub amount_minor: i64,
    pub reason: String,
}

impl Engine {
    /// Adds to a wallet, or takes from it; whether it did, or had done so before. A wallet that an
    /// affiliate has not got yet is opened, in a currency of its program.
    ///
    /// # Errors
    /// [`EngineError::NoWallet`]; [`EngineError::OtherContent`] if the id was used for another
    /// adjustment; [`EngineError::BadAmount`].
    pub async fn adjust(
        &self,
        work: &Work,
        org: &OrgId,
        adjustment: &Adjustment,
    ) -> Result<bool, EngineError> {
        let Adjustment { adjustment_id, wallet, amount_minor, reason } = adjustment;
        if wallet.affiliate_id.is_house() {
            return Err(EngineError::no_wallet(wallet));
        }
        let amount = Money::new(*amount_minor, wallet.currency);
        if amount.minor == 0 || amount.minor.unsigned_abs() > LARGEST_COMMISSION_MINOR as u64 {
            let largest = Money::new(LARGEST_COMMISSION_MINOR, wallet.currency);
            let wants = format!("an amount other than 0, of at most {largest} either way");
            return Err(EngineError::BadAmount { amount, wants });
        }
        self.retrying(|| async {
            let now = self.clock.now();
            let mut tx = self.begin(work).await?;
            self.lock_or_open(&mut tx, org, wallet).await?;
            if let Some(told) = tx.adjustment(org, adjustment_id).await? {
                same_content(adjustment, &told)?;
                return Ok(false);
            }
            let new = NewAdjustment { adjustment_id, wallet, amount_minor: amount.minor, reason };
            tx.adjustment_insert(org, &new, &work.actor, now).await?;
            ledger::post(&mut tx, org, vec![movement(adjustment)], &work.actor, now).await?;
            let detail = json!({
                "adjustmentId": adjustment_id, "currency": wallet.currency,
                "amount": amount.to_string(), "reason": reason,
            });
            let act = ("wallet.adjusted", wallet.affiliate_id.as_str());
            self.keep_act(&mut tx, org, work, act, detail).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Locks a wallet; one that an affiliate has not got yet is opened, in a currency of its program.
    pub(super) async fn lock_or_open(
        &self,
        tx: &mut Tx,
        org: &OrgId,
        wallet: &WalletKey,
    ) -> Result<(), EngineError> {
        let keys = std::slice::from_ref(wallet);
        if !tx.wallets_lock(org, keys).await?.is_empty() {
            return Ok(());
        }
        let enrolments = tx.enrolments(org, &[(&wallet.affiliate_id, wallet.currency)]).await?;
        let Some(enrolment) = enrolments.first().filter(|one| one.currency_enabled == 1) else {
            return Err(EngineError::no_wallet(wallet));
        };
        tx.wallets_open(org, &[(wallet, &enrolment.program_id)], self.clock.now()).await?;
        tx.wallets_lock(org, keys).await?;
        Ok(())
    }
}

fn movement(adjustment: &Adjustment) -> Movement {
    let Adjustment { adjustment_id, wallet, amount_minor, .. } = adjustment;
    let adds = *amount_minor > 0;
    let (from, to) = if adds {
        (Bucket::Earned, Bucket::Available)
    } else {
        (Bucket::Available, Bucket::Earned)
    };
    Movement {
        wallet: wallet.clone(),
        kind: EntryKind::Adjust,
        from,
        to,
        amount_minor: amount_minor.abs(),
        entry_key: format!("adjust:{adjustment_id}"),
    }
}

fn same_content(adjustment: &Adjustment, told: &AdjustmentRow) -> Result<(), EngineError> {
    let columns = [
        ("affiliate", told.affiliate_id == adjustment.wallet.affiliate_id),
        ("currency", told.currency == adjustment.wallet.currency),
        ("amount", told.amount_minor == adjustment.amount_minor),
        ("reason", told.reason == adjustment.reason),
    ];
    match columns.into_iter().find(|(_, equal)| !equal) {
        None => Ok(()),
        Some((differs, _)) => {
            let id = adjustment.adjustment_id.to_string();
            Err(EngineError::OtherContent { what: "adjustment", id, differs })
        }
    }
}
