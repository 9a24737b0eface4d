//! The one way a wallet changes: movements in, entries and balances written together.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::EngineError;
use crate::domain::{Actor, Balances, Entry, Movement, OrgId, WalletKey};
use crate::store::{Tx, WalletMove};

/// Posts `movements` within `tx`: locks their wallets in one global order, applies the rules of
/// the domain to each movement in turn, and writes entries and balances.
///
/// # Errors
/// [`EngineError::Wallet`] if a wallet refuses a movement: then nothing of the transaction may
/// be committed. [`EngineError::NoWallet`] for a wallet that was never opened.
pub(super) async fn post(
    tx: &mut Tx,
    org: &OrgId,
    movements: Vec<Movement>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<(), EngineError> {
    if movements.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<WalletKey> = movements.iter().map(|m| m.wallet.clone()).collect();
    keys.sort();
    keys.dedup();
    let before: BTreeMap<WalletKey, Balances> =
        tx.wallets_lock(org, &keys).await?.into_iter().collect();
    let mut after = before.clone();
    let mut entries = Vec::with_capacity(movements.len());
    for movement in movements {
        let Some(balances) = after.get_mut(&movement.wallet) else {
            return Err(EngineError::no_wallet(&movement.wallet));
        };
        *balances = balances.after(&movement)?;
        entries.push(Entry { after: *balances, movement, occurred_at: now });
    }
    let moves: Vec<WalletMove> = before
        .into_iter()
        .zip(after.into_values())
        .map(|((wallet, before), after)| WalletMove { wallet, before, after })
        .collect();
    tx.wallets_move(org, &entries, &moves, actor, now).await?;
    Ok(())
}
