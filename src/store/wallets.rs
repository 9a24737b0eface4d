//! Wallets and their entries. A wallet is only ever written together with the entries that say
//! why, and only if it is still at the version that was read.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{
    Actor, AffiliateId, Balances, Bucket, Currency, Entry, EntryKind, OrgId, ProgramId, WalletKey,
    WalletStatus,
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

const WALLET_FREEZE: &str = "
    UPDATE wallets
    SET status = $4, frozen_by = $5, frozen_at = $6, frozen_reason = $7, updated_at = $8
    WHERE org_id = $1 AND affiliate_id = $2 AND currency = $3 AND status <> $4";

macro_rules! wallets {
    ($($tail:literal),+) => { concat!("
    SELECT affiliate_id, currency, program_id, status, held_minor, available_minor, in_flight_minor,
           paid_minor, version, updated_at, frozen_by, frozen_at, frozen_reason
    FROM wallets WHERE org_id = $1 AND ", $($tail),+) };
}
const WALLET: &str = wallets!("affiliate_id = $2 AND currency = $3");
// The house's own wallet is shown where it is asked for: what goes through it proves accounts.
const WALLETS: &str = wallets!(
    "program_id <> 'payoutd:house' AND (affiliate_id = $2 OR $2 = '') AND (status = $3 OR $3 = '')
      AND (available_minor < 0 OR $4 = 0) AND (affiliate_id, currency) > ($5, $6)
    ORDER BY affiliate_id, currency LIMIT $7"
);
// An adjustment's key is `adjust:` and its id.
const WALLET_ENTRIES: &str = "
    SELECT e.version, e.entry_key, e.kind, e.from_bucket, e.to_bucket, e.amount_minor, e.held_after,
           e.available_after, e.in_flight_after, e.paid_after, e.actor, e.occurred_at, a.reason
    FROM entries e
    LEFT JOIN adjustments a ON e.kind = 'adjust' AND a.org_id = e.org_id
      AND a.adjustment_id = SUBSTR(e.entry_key, 8)
    WHERE e.org_id = $1 AND e.affiliate_id = $2 AND e.currency = $3 AND e.version < $4
    ORDER BY e.version DESC LIMIT $5";

#[derive(Debug, FromRow)]
struct LockedRow {
    affiliate_id: AffiliateId,
    currency: Currency,
    held_minor: i64,
    available_minor: i64,
    in_flight_minor: i64,
    paid_minor: i64,
    version: i64,
}

/// A wallet as people see it.
#[derive(Debug, Clone, FromRow)]
pub struct WalletRow {
    pub affiliate_id: AffiliateId,
    pub currency: Currency,
    pub program_id: ProgramId,
    pub status: WalletStatus,
    pub held_minor: i64,
    pub available_minor: i64,
    pub in_flight_minor: i64,
    pub paid_minor: i64,
    pub version: i64,
    pub updated_at: DateTime<Utc>,
    /// Who froze it, when and why; `None` unless it is frozen.
    pub frozen_by: Option<String>,
    pub frozen_at: Option<DateTime<Utc>>,
    pub frozen_reason: Option<String>,
}

/// Which wallets to list; empty text means any.
#[derive(Debug, Clone, Default)]
pub struct WalletFilter {
    pub affiliate_id: String,
    pub status: String,
    /// Only those that owe.
    pub owing: bool,
    /// Only wallets after this affiliate and currency.
    pub after: (String, String),
    pub limit: i64,
}

/// An entry of a wallet as people see it.
#[derive(Debug, Clone, FromRow)]
pub struct WalletEntryRow {
    pub version: i64,
    pub entry_key: String,
    pub kind: EntryKind,
    pub from_bucket: Bucket,
    pub to_bucket: Bucket,
    pub amount_minor: i64,
    pub held_after: i64,
    pub available_after: i64,
    pub in_flight_after: i64,
    pub paid_after: i64,
    pub actor: String,
    pub occurred_at: DateTime<Utc>,
    /// Why, where a person adjusted the wallet.
    pub reason: Option<String>,
}

/// A wallet's balances before and after a batch of entries.
#[derive(Debug, Clone)]
pub struct WalletMove {
    pub wallet: WalletKey,
    pub before: Balances,
    pub after: Balances,
}

impl Store {
    /// One wallet.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn wallet(
        &self,
        org: &OrgId,
        key: &WalletKey,
    ) -> Result<Option<WalletRow>, StoreError> {
        let query = sql(WALLET).bind(org).bind(&key.affiliate_id).bind(&key.currency);
        query.read_maybe(&self.pools).await
    }

    /// A page of wallets, by affiliate and currency.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn wallets(
        &self,
        org: &OrgId,
        filter: &WalletFilter,
    ) -> Result<Vec<WalletRow>, StoreError> {
        let query = sql(WALLETS).bind(org).bind(filter.affiliate_id.as_str());
        let query = query.bind(filter.status.as_str()).bind(i64::from(filter.owing));
        let query = query.bind(filter.after.0.as_str()).bind(filter.after.1.as_str());
        query.bind(filter.limit).read_all(&self.pools).await
    }

    /// A page of a wallet's entries before version `before`, newest first.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn wallet_entries(
        &self,
        org: &OrgId,
        key: &WalletKey,
        before: i64,
        limit: i64,
    ) -> Result<Vec<WalletEntryRow>, StoreError> {
        let query = sql(WALLET_ENTRIES).bind(org).bind(&key.affiliate_id).bind(&key.currency);
        query.bind(before).bind(limit).read_all(&self.pools).await
    }
}

impl Tx {
    /// Freezes a wallet, with who did it and why, or thaws it (`None`); whether it was not so
    /// before.
    pub async fn wallet_freeze(
        &mut self,
        org: &OrgId,
        key: &WalletKey,
        why: Option<(&Actor, &str)>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let status = if why.is_some() { WalletStatus::Frozen } else { WalletStatus::Active };
        let (by, reason) = why.map(|(actor, reason)| (actor.as_str(), reason)).unzip();
        let update = sql(WALLET_FREEZE).bind(org).bind(&key.affiliate_id).bind(&key.currency);
        let update = update.bind(&status).bind(by).bind(why.map(|_| now)).bind(reason);
        Ok(update.bind(now).run(self).await? == 1)
    }

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
        let found: Vec<LockedRow> = sql(WALLETS_LOCK).bind(org).all_with(self, &rows).await?;
        let read = |row: LockedRow| {
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
