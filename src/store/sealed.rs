//! Every column that holds something sealed, so that a rotation finds it.
//!
//! What is sealed names its key (`KEY:…`). Whoever adds such a column adds a line to `SEALED`; the
//! row of its cell is the row's key without the org, two columns joined by a slash.

use serde::Serialize;
use sqlx::FromRow;

use super::dialect::{Value, sql};
use super::{Store, StoreError, Tx};
use crate::domain::{KeyId, OrgId};
use crate::vault::{Cell, OrgVault, key_of};

/// A column of sealed text.
#[derive(Debug)]
pub struct SealedColumn {
    pub table: &'static str,
    pub column: &'static str,
    page: &'static str,
    update: &'static str,
    count: &'static str,
}

// `$also` is set with it: what else says which key a row is sealed under.
macro_rules! sealed {
    ($table:literal . $column:literal by $first:literal, $second:literal $(also $also:literal)?) => {
        SealedColumn {
            table: $table,
            column: $column,
            page: concat!(
                "SELECT ", $first, " AS k1, ", $second, " AS k2, ", $column, " AS sealed FROM ",
                $table, " WHERE org_id = $1 AND ", $column, " <> '' AND ", $column, " NOT LIKE $2 AND (", $first, ", ",
                $second, ") > ($3, $4) ORDER BY ", $first, ", ", $second, " LIMIT $5"),
            update: concat!(
                "WITH anew(k1, k2, was, sealed, key_id) AS MATERIALIZED ({rows}) UPDATE ", $table,
                " SET ", $column, " = anew.sealed", $(", ", $also,)? " FROM anew WHERE ", $table,
                ".org_id = $1 AND ", $table, ".", $first, " = anew.k1 AND ", $table, ".", $second,
                " = anew.k2 AND ", $table, ".", $column, " = anew.was"),
            count: sealed!(count $table, $column),
        }
    };
    ($table:literal . $column:literal by $first:literal $(also $also:literal)?) => {
        SealedColumn {
            table: $table,
            column: $column,
            page: concat!(
                "SELECT ", $first, " AS k1, CAST('' AS TEXT) AS k2, ", $column, " AS sealed FROM ",
                $table, " WHERE org_id = $1 AND ", $column, " <> '' AND ", $column, " NOT LIKE $2 AND ", $first,
                " > $3 AND $4 = '' ORDER BY ", $first, " LIMIT $5"),
            update: concat!(
                "WITH anew(k1, k2, was, sealed, key_id) AS MATERIALIZED ({rows}) UPDATE ", $table,
                " SET ", $column, " = anew.sealed", $(", ", $also,)? " FROM anew WHERE ", $table,
                ".org_id = $1 AND ", $table, ".", $first, " = anew.k1 AND ", $table, ".", $column,
                " = anew.was"),
            count: sealed!(count $table, $column),
        }
    };
    (count $table:literal, $column:literal) => {
        concat!("SELECT COUNT(*) FROM ", $table, " WHERE org_id = $1 AND ", $column, " LIKE $2")
    };
}

/// Every column of sealed text.
pub const SEALED: &[SealedColumn] = &[
    sealed!("destinations"."sealed" by "destination_id" also "key_id = anew.key_id"),
    sealed!("notices"."sealed_account" by "notice_id"),
    sealed!("notices"."sealed_correction" by "notice_id"),
    sealed!("provider_events"."sealed_body" by "method_kind", "event_id"),
    sealed!("webhook_endpoints"."sealed_secret" by "endpoint_id"),
    sealed!("webhook_endpoints"."sealed_old_secret" by "endpoint_id"),
];

// A damaged text names no key any more, but its row still does.
const DESTINATIONS_NAMING: &str = "
    SELECT COUNT(*) FROM destinations
    WHERE org_id = $1 AND key_id = $2 AND sealed NOT LIKE $3";

/// Values of a column that are tried at the most, in one look at an org.
const MOST_TRIED: u64 = 10_000;
/// Values that are read at a time.
const PAGE: i64 = 500;

/// A batch of values that were sealed anew.
#[derive(Debug)]
pub struct SealedAnew {
    /// The last row that was looked at.
    pub last: (String, String),
    pub changed: u64,
    /// What did not open and stays as it is, such as `destinations/de_…`.
    pub unreadable: Vec<String>,
}

/// What a look at the sealed values of an org found.
#[derive(Debug, Default, Serialize)]
pub struct Tried {
    pub values: u64,
    /// Whether there are more than were tried.
    pub cut: bool,
    /// What does not open, such as `destinations/de_…`.
    pub unreadable: Vec<String>,
}

#[derive(Debug, FromRow)]
struct SealedRow {
    k1: String,
    k2: String,
    sealed: String,
}

impl SealedRow {
    fn row(&self) -> String {
        match self.k2.as_str() {
            "" => self.k1.clone(),
            second => format!("{}/{second}", self.k1),
        }
    }

    /// Where it stands, for people.
    fn name(&self, column: &SealedColumn) -> String {
        format!("{}/{}", column.table, self.row())
    }

    fn open(&self, column: &SealedColumn, keys: &OrgVault) -> Option<String> {
        keys.open(Cell::new(column.table, column.column, &self.row()), &self.sealed).ok()
    }

    /// Sealed under the current key; `None` if it does not open.
    fn anew(
        &self,
        column: &SealedColumn,
        keys: &OrgVault,
    ) -> Result<Option<Vec<Value>>, StoreError> {
        let Some(text) = self.open(column, keys) else { return Ok(None) };
        let sealed = keys.seal(Cell::new(column.table, column.column, &self.row()), &text)?;
        let key_id = key_of(&sealed).unwrap_or_default().to_owned();
        Ok(Some(vec![
            self.k1.as_str().into(),
            self.k2.as_str().into(),
            self.sealed.as_str().into(),
            sealed.into(),
            key_id.into(),
        ]))
    }
}

/// What is sealed under a key, whatever it is.
fn under(key_id: &KeyId) -> String {
    format!("{key_id}:%")
}

impl Store {
    /// How many values of an org are sealed under one of its keys.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn sealed_under(&self, org: &OrgId, key_id: &KeyId) -> Result<u64, StoreError> {
        let mut found = 0;
        for column in SEALED {
            let query = sql(column.count).bind(org).bind(under(key_id));
            let (count,): (i64,) = query.read_one(&self.pools).await?;
            found += count.unsigned_abs();
        }
        let query = sql(DESTINATIONS_NAMING).bind(org).bind(key_id).bind(under(key_id));
        let (naming,): (i64,) = query.read_one(&self.pools).await?;
        Ok(found + naming.unsigned_abs())
    }

    /// Tries to open what is sealed of an org, the first values of each column.
    ///
    /// # Errors
    /// [`StoreError::Vault`] if its keys cannot be used at all; [`StoreError::Database`].
    pub async fn try_sealed(&self, org: &OrgId) -> Result<Tried, StoreError> {
        let keys = self.vault_of(org).await?;
        let mut tried = Tried::default();
        for column in SEALED {
            let (mut after, mut seen) = ((String::new(), String::new()), 0);
            loop {
                // Under no key at all: whichever it is under.
                let query = sql(column.page).bind(org).bind("");
                let query = query.bind(after.0.as_str()).bind(after.1.as_str()).bind(PAGE);
                let rows: Vec<SealedRow> = query.read_all(&self.pools).await?;
                let Some(last) = rows.last() else { break };
                if seen >= MOST_TRIED {
                    tried.cut = true;
                    break;
                }
                after = (last.k1.clone(), last.k2.clone());
                seen += rows.len() as u64;
                let broken = rows.iter().filter(|row| row.open(column, &keys).is_none());
                tried.unreadable.extend(broken.map(|row| row.name(column)));
            }
            tried.values += seen;
        }
        Ok(tried)
    }
}

impl Tx {
    /// Seals the next values of a column under the org's current key, those after the row `after`
    /// that are under another. What does not open stays as it is, and is named.
    pub async fn seal_anew(
        &mut self,
        org: &OrgId,
        column: &SealedColumn,
        after: &(String, String),
        limit: i64,
    ) -> Result<Option<SealedAnew>, StoreError> {
        let keys = self.vault_of(org).await?;
        let Some(current) = keys.current() else { return Ok(None) };
        let query = sql(column.page).bind(org).bind(under(current));
        let query = query.bind(after.0.as_str()).bind(after.1.as_str()).bind(limit);
        let rows: Vec<SealedRow> = query.all(self).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        let last = (last.k1.clone(), last.k2.clone());
        let (mut anew, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match row.anew(column, &keys)? {
                Some(values) => anew.push(values),
                None => unreadable.push(row.name(column)),
            }
        }
        let changed = sql(column.update).bind(org).run_with(self, &anew).await?;
        Ok(Some(SealedAnew { last, changed, unreadable }))
    }
}
