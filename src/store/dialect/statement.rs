//! A query is one text with `$1` parameters, run on both databases. What the two do not share is
//! written in the text as a token and spelled out here: `{rows}` (a list of rows bound in bulk),
//! `{lock:alias}` (row locks, which SQLite's one writer does not need).

use std::slice::Chunks;

use chrono::{DateTime, Utc};
use sqlx::database::HasStatementCache;
use sqlx::{
    AssertSqlSafe, Database, Encode, Executor, FromRow, IntoArguments, Postgres, Sqlite, Type,
};

use super::{Pools, Session, Tx};
use crate::store::StoreError;

/// Parameters of one statement. SQLite takes 32,766, but `$1` is a name to it, and it looks names
/// up one by one: what a statement costs grows with the square of their number.
const MOST_IN_SQLITE: usize = 400;
/// PostgreSQL takes 65,535.
const MOST_IN_POSTGRES: usize = 30_000;

/// A parameter. NULL keeps its type, which PostgreSQL wants to know.
#[derive(Debug, Clone)]
pub(in crate::store) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Time(Option<DateTime<Utc>>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}
impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}
impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(Some(int))
    }
}
impl From<i32> for Value {
    fn from(int: i32) -> Self {
        Self::Int(Some(int.into()))
    }
}
impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(Some(i64::from(flag)))
    }
}
impl From<DateTime<Utc>> for Value {
    fn from(time: DateTime<Utc>) -> Self {
        Self::Time(Some(time))
    }
}
impl From<Option<DateTime<Utc>>> for Value {
    fn from(time: Option<DateTime<Utc>>) -> Self {
        Self::Time(time)
    }
}

/// One statement with its parameters.
#[derive(Debug)]
pub(in crate::store) struct Sql {
    text: &'static str,
    values: Vec<Value>,
}

/// A statement of one text, run on both databases.
pub(in crate::store) fn sql(text: &'static str) -> Sql {
    Sql { text, values: Vec::new() }
}

/// A row that can be read from both databases.
pub(in crate::store) trait Row:
    Send
    + Unpin
    + for<'r> FromRow<'r, sqlx::sqlite::SqliteRow>
    + for<'r> FromRow<'r, sqlx::postgres::PgRow>
{
}
impl<T> Row for T where
    T: Send
        + Unpin
        + for<'r> FromRow<'r, sqlx::sqlite::SqliteRow>
        + for<'r> FromRow<'r, sqlx::postgres::PgRow>
{
}

impl Sql {
    /// Binds the next parameter.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Runs a statement that returns no rows; how many rows it changed.
    pub async fn run(self, tx: &mut Tx) -> Result<u64, StoreError> {
        self.run_rows(tx, None).await
    }

    /// Every row, within a transaction.
    pub async fn all<T: Row>(self, tx: &mut Tx) -> Result<Vec<T>, StoreError> {
        self.all_rows(tx, None).await
    }

    /// The one row, if there is one, within a transaction.
    pub async fn maybe<T: Row>(self, tx: &mut Tx) -> Result<Option<T>, StoreError> {
        Ok(self.all(tx).await?.pop())
    }

    /// Every row, outside of any transaction.
    pub async fn read_all<T: Row>(self, pools: &Pools) -> Result<Vec<T>, StoreError> {
        match pools {
            Pools::Sqlite { readers, .. } => {
                let mut conn = readers.acquire().await?;
                let text = expand(self.text, 0, &[], false);
                fetch::<Sqlite, T>(&mut conn, text, self.values).await
            }
            Pools::Postgres(pool) => {
                let mut conn = pool.acquire().await?;
                let text = expand(self.text, 0, &[], true);
                fetch::<Postgres, T>(&mut conn, text, self.values).await
            }
        }
    }

    /// The one row, if there is one, outside of any transaction.
    pub async fn read_maybe<T: Row>(self, pools: &Pools) -> Result<Option<T>, StoreError> {
        Ok(self.read_all(pools).await?.pop())
    }

    /// The one row of a query that always has one (a count, a sum).
    pub async fn read_one<T: Row>(self, pools: &Pools) -> Result<T, StoreError> {
        self.read_maybe(pools).await?.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    /// Runs a statement whose `{rows}` is a list of rows, in as many pieces as the databases'
    /// limit on parameters asks for; how many rows it changed in all.
    pub async fn run_with(self, tx: &mut Tx, rows: &[Vec<Value>]) -> Result<u64, StoreError> {
        let mut changed = 0;
        for piece in self.pieces(rows, tx) {
            let part = Self { text: self.text, values: self.values.clone() };
            changed += part.run_rows(tx, Some(piece)).await?;
        }
        Ok(changed)
    }

    /// The rows that a query with `{rows}` returns, piece by piece as in [`Sql::run_with`].
    pub async fn all_with<T: Row>(
        self,
        tx: &mut Tx,
        rows: &[Vec<Value>],
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        for piece in self.pieces(rows, tx) {
            let part = Self { text: self.text, values: self.values.clone() };
            found.extend(part.all_rows(tx, Some(piece)).await?);
        }
        Ok(found)
    }

    fn pieces<'r>(&self, rows: &'r [Vec<Value>], tx: &Tx) -> Chunks<'r, Vec<Value>> {
        let most = match tx.0 {
            Session::Sqlite(_) => MOST_IN_SQLITE,
            Session::Postgres(_) => MOST_IN_POSTGRES,
        };
        let width = rows.first().map_or(1, Vec::len).max(1);
        rows.chunks(((most - self.values.len()) / width).max(1))
    }

    async fn run_rows(self, tx: &mut Tx, rows: Option<&[Vec<Value>]>) -> Result<u64, StoreError> {
        let (text, values) = self.with_rows(rows, matches!(tx.0, Session::Postgres(_)));
        match &mut tx.0 {
            Session::Sqlite(tx) => {
                let done = tx.execute(query::<Sqlite>(text, values)).await?;
                Ok(done.rows_affected())
            }
            Session::Postgres(tx) => {
                let done = tx.execute(query::<Postgres>(text, values)).await?;
                Ok(done.rows_affected())
            }
        }
    }

    async fn all_rows<T: Row>(
        self,
        tx: &mut Tx,
        rows: Option<&[Vec<Value>]>,
    ) -> Result<Vec<T>, StoreError> {
        let (text, values) = self.with_rows(rows, matches!(tx.0, Session::Postgres(_)));
        match &mut tx.0 {
            Session::Sqlite(tx) => fetch::<Sqlite, T>(tx, text, values).await,
            Session::Postgres(tx) => fetch::<Postgres, T>(tx, text, values).await,
        }
    }

    fn with_rows(mut self, rows: Option<&[Vec<Value>]>, postgres: bool) -> (Text, Vec<Value>) {
        let rows = rows.unwrap_or_default();
        let text = expand(self.text, self.values.len(), rows, postgres);
        self.values.extend(rows.iter().flatten().cloned());
        (text, self.values)
    }
}

/// A statement's text: fixed ones are prepared once per connection and kept.
enum Text {
    Fixed(&'static str),
    Spelled(String),
}

/// Spells the tokens of `text` out: `{rows}` as `($3, $4), ($5, $6)`, `{lock:w}` as
/// `FOR UPDATE OF w` or nothing, `{lock-free:w}` with SKIP LOCKED. Only parameter numbers and
/// these fixed words are ever put in, never a value.
fn expand(text: &'static str, bound: usize, rows: &[Vec<Value>], postgres: bool) -> Text {
    if !text.contains('{') {
        return Text::Fixed(text);
    }
    let mut spelled = String::with_capacity(text.len() + rows.len() * 16);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (token, after) = after.split_once('}').expect("a token of a query is closed");
        spelled.push_str(before);
        match token.split_once(':') {
            None if token == "rows" => push_rows(&mut spelled, bound, rows),
            Some(("lock", alias)) if postgres => {
                spelled.push_str("FOR UPDATE OF ");
                spelled.push_str(alias);
            }
            Some(("lock-free", alias)) if postgres => {
                spelled.push_str("FOR UPDATE OF ");
                spelled.push_str(alias);
                spelled.push_str(" SKIP LOCKED");
            }
            Some(("lock" | "lock-free", _)) => {}
            _ => unreachable!("a query holds the unknown token {{{token}}}"),
        }
        rest = after;
    }
    spelled.push_str(rest);
    Text::Spelled(spelled)
}

fn push_rows(text: &mut String, mut bound: usize, rows: &[Vec<Value>]) {
    for (i, row) in rows.iter().enumerate() {
        text.push_str(if i == 0 { "(" } else { ", (" });
        for j in 0..row.len() {
            bound += 1;
            if j > 0 {
                text.push_str(", ");
            }
            text.push('$');
            text.push_str(&bound.to_string());
        }
        text.push(')');
    }
}

/// What both databases can be handed as a parameter.
trait Binds: Database + HasStatementCache {
    fn bind(arguments: &mut Self::Arguments, value: Value) -> Result<(), sqlx::error::BoxDynError>;
}

impl<DB: Database + HasStatementCache> Binds for DB
where
    Option<String>: for<'q> Encode<'q, DB> + Type<DB>,
    Option<i64>: for<'q> Encode<'q, DB> + Type<DB>,
    Option<DateTime<Utc>>: for<'q> Encode<'q, DB> + Type<DB>,
{
    fn bind(arguments: &mut DB::Arguments, value: Value) -> Result<(), sqlx::error::BoxDynError> {
        use sqlx::Arguments;
        match value {
            Value::Text(text) => arguments.add(text),
            Value::Int(int) => arguments.add(int),
            Value::Time(time) => arguments.add(time),
        }
    }
}

fn arguments<DB: Binds>(values: Vec<Value>) -> DB::Arguments {
    let mut arguments = DB::Arguments::default();
    for value in values {
        DB::bind(&mut arguments, value).expect("text, integers and times always encode");
    }
    arguments
}

fn query<DB: Binds>(
    text: Text,
    values: Vec<Value>,
) -> sqlx::query::Query<'static, DB, DB::Arguments>
where
    DB::Arguments: IntoArguments<DB>,
{
    match text {
        Text::Fixed(text) => sqlx::query_with(text, arguments::<DB>(values)),
        // Spelled texts differ in length: kept, they would push the fixed ones out of the cache.
        Text::Spelled(text) => {
            sqlx::query_with(AssertSqlSafe(text), arguments::<DB>(values)).persistent(false)
        }
    }
}

async fn fetch<DB, T>(
    conn: &mut DB::Connection,
    text: Text,
    values: Vec<Value>,
) -> Result<Vec<T>, StoreError>
where
    DB: Binds,
    DB::Arguments: IntoArguments<DB>,
    T: for<'r> FromRow<'r, DB::Row>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let rows = conn.fetch_all(query::<DB>(text, values)).await?;
    Ok(rows.iter().map(T::from_row).collect::<Result<_, _>>()?)
}
