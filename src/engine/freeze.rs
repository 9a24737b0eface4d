//! Freeze: a frozen wallet goes on earning and is not paid, until a person thaws it. What waits to
//! be sent from it is cancelled by the gates when its turn comes; what was sent is not called back.

use serde_json::json;

use super::{Engine, EngineError, Work};
use crate::domain::{OrgId, WalletKey};

impl Engine {
    /// Freezes a wallet, with a reason; whether it was not frozen before. The first reason stays.
    ///
    /// # Errors
    /// [`EngineError::NoWallet`].
    pub async fn freeze(
        &self,
        work: &Work,
        org: &OrgId,
        (wallet, reason): (&WalletKey, &str),
    ) -> Result<bool, EngineError> {
        if wallet.affiliate_id.is_house() {
            return Err(EngineError::no_wallet(wallet));
        }
        self.set_frozen(work, org, (wallet, reason), true).await
    }

    /// Lets a frozen wallet be paid again, with a reason; whether it was frozen before.
    ///
    /// # Errors
    /// [`EngineError::NoWallet`].
    pub async fn unfreeze(
        &self,
        work: &Work,
        org: &OrgId,
        (wallet, reason): (&WalletKey, &str),
    ) -> Result<bool, EngineError> {
        self.set_frozen(work, org, (wallet, reason), false).await
    }

    async fn set_frozen(
        &self,
        work: &Work,
        org: &OrgId,
        (wallet, reason): (&WalletKey, &str),
        frozen: bool,
    ) -> Result<bool, EngineError> {
        self.retrying(|| async {
            let mut tx = self.begin(work).await?;
            // A request of this wallet holds its lock: it is through, or sees the wallet frozen.
            if tx.wallets_lock(org, std::slice::from_ref(wallet)).await?.is_empty() {
                return Err(EngineError::no_wallet(wallet));
            }
            let why = frozen.then_some((&work.actor, reason));
            let changed = tx.wallet_freeze(org, wallet, why, self.clock.now()).await?;
            if changed {
                let action = if frozen { "wallet.frozen" } else { "wallet.unfrozen" };
                let detail = json!({"currency": wallet.currency, "reason": reason});
                let act = (action, wallet.affiliate_id.as_str());
                self.keep_act(&mut tx, org, work, act, detail).await?;
            }
            tx.commit().await?;
            Ok(changed)
        })
        .await
    }
}
