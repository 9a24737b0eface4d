//! Wallets and their entries. A wallet is only ever written together with the entries that say
//! why, and only if it is still at the version that was read.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{StoreError, Tx};
use crate::domain::{
    Actor, AffiliateId, Balances, Currency, Entry, OrgId, ProgramId, WalletKey, WalletStatus,
};

const WALLET_INSERT: &str = "
    INSERT INTO wallets (org_id, affiliate_id, currency, program_id, status, held_minor,
                         available_minor, in_flight_minor, paid_minor, version, updated_at)
    {rows} ON CONFLICT (org_id, affiliate_id, currency) DO NOTHING";

// In one global order, so that two batches that share wallets wait for one another and never
// deadlock.
const WALLETS_LOCK: &str = "
    WITH wanted(affiliate_id, currency) AS MATERIALIZED ({rows})
    SELECT w.affiliate_id, w.currency, w.held_minor, w.available_minor, w.in_flight_minor,
           w.paid_minor, w.version
    FROM wanted CROSS JOIN wallets w
    WHERE w.org_id = $1 AND w.affiliate_id = wanted.affiliate_id AND w.currency = wanted.currency
    ORDER BY w.affiliate_id, w.currency {lock:w}";

const ENTRY_INSERT: &str = "
    INSERT INTO entries (org_id, affiliate_id, currency, version, entry_key, kind, from_bucket,
                         to_bucket, amount_minor, held_after, available_after, in_flight_after,
                         paid_after, actor, occurred_at) {rows}";

// Fenced by the version that was read: a wallet that has moved since is left alone, and noticed.
const WALLETS_MOVE: &str = "
    WITH moved(affiliate_id, currency, held, available, in_flight, paid, version, was)
      AS MATERIALIZED ({rows})
    UPDATE wallets
    SET held_minor = moved.held, available_minor = moved.available,
        in_flight_minor = moved.in_flight, paid_minor = moved.paid, version = moved.version,
        updated_at = $2
    FROM moved
    WHERE wallets.org_id = $1 AND wallets.affiliate_id = moved.affiliate_id
      AND wallets.currency = moved.currency AND wallets.version = moved.was";

#[derive(Debug, FromRow)]
struct WalletRow {
    affiliate_id: AffiliateId,
    currency: Currency,
    held_minor: i64,
    available_minor: i64,
    in_flight_minor: i64,
    paid_minor: i64,
    version: i64,
}

/// A wallet's balances before and after a batch of entries.
#[derive(Debug, Clone)]
pub struct WalletMove {
    pub wallet: WalletKey,
    pub before: Balances,
    pub after: Balances,
}

impl Tx {
    /// Makes sure that the wallets exist, empty and active.
    pub async fn wallets_open(
        &mut self,
        org: &OrgId,
        wallets: &[(&WalletKey, &ProgramId)],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let row = |(wallet, program): &(&WalletKey, &ProgramId)| {
            let mut row = vec![
                org.into(),
                (&wallet.affiliate_id).into(),
                (&wallet.currency).into(),
                (*program).into(),
                (&WalletStatus::Active).into(),
            ];
            row.extend([0_i64; 5].map(Value::from));
            row.push(now.into());
            row
        };
        sql(WALLET_INSERT).run_with(self, &wallets.iter().map(row).collect::<Vec<_>>()).await?;
        Ok(())
    }

    /// Locks the wallets, in one global order, and reads their balances.
    pub async fn wallets_lock(
        &mut self,
        org: &OrgId,
        wallets: &[WalletKey],
    ) -> Result<Vec<(WalletKey, Balances)>, StoreError> {
        let row = |w: &WalletKey| vec![(&w.affiliate_id).into(), (&w.currency).into()];
        let rows: Vec<_> = wallets.iter().map(row).collect();
        let found: Vec<WalletRow> = sql(WALLETS_LOCK).bind(org).all_with(self, &rows).await?;
        let read = |row: WalletRow| {
            let balances = Balances {
                held: row.held_minor,
                available: row.available_minor,
                in_flight: row.in_flight_minor,
                paid: row.paid_minor,
                version: row.version,
            };
            let key = WalletKey { affiliate_id: row.affiliate_id, currency: row.currency };
            (key, balances)
        };
        Ok(found.into_iter().map(read).collect())
    }

    /// Writes entries and the balances they leave behind, together.
    ///
    /// # Errors
    /// [`StoreError::WalletChanged`] (try the transaction again) if a wallet is no longer at the
    /// version that was read; a duplicate if an entry's key was used before.
    pub async fn wallets_move(
        &mut self,
        org: &OrgId,
        entries: &[Entry],
        moves: &[WalletMove],
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let row = |entry: &Entry| {
            let (m, after) = (&entry.movement, &entry.after);
            vec![
                org.into(),
                (&m.wallet.affiliate_id).into(),
                (&m.wallet.currency).into(),
                after.version.into(),
                m.entry_key.as_str().into(),
                (&m.kind).into(),
                (&m.from).into(),
                (&m.to).into(),
                m.amount_minor.into(),
                after.held.into(),
                after.available.into(),
                after.in_flight.into(),
                after.paid.into(),
                actor.as_str().into(),
                entry.occurred_at.into(),
            ]
        };
        sql(ENTRY_INSERT).run_with(self, &entries.iter().map(row).collect::<Vec<_>>()).await?;
        let row = |m: &WalletMove| {
            vec![
                (&m.wallet.affiliate_id).into(),
                (&m.wallet.currency).into(),
                m.after.held.into(),
                m.after.available.into(),
                m.after.in_flight.into(),
                m.after.paid.into(),
                m.after.version.into(),
                m.before.version.into(),
            ]
        };
        let rows: Vec<_> = moves.iter().map(row).collect();
        let moved = sql(WALLETS_MOVE).bind(org).bind(now).run_with(self, &rows).await?;
        match moves.first() {
            Some(first) if moved != moves.len() as u64 => Err(StoreError::WalletChanged {
                affiliate_id: first.wallet.affiliate_id.to_string(),
                currency: first.wallet.currency.to_string(),
            }),
            _ => Ok(()),
        }
    }
}
