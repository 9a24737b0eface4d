//! Every difference between SQLite and PostgreSQL, and nothing else.
//!
//! A query is one text with `$1` parameters, run on both. What the two do not share is written
//! in the text as a token and spelled out here: `{rows}` (a list of rows bound in bulk),
//! `{lock:alias}` (row locks, which SQLite's one writer does not need).

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::database::HasStatementCache;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    AssertSqlSafe, Database, Encode, Executor, FromRow, IntoArguments, PgPool, Postgres, Sqlite,
    SqlitePool, Type,
};

use super::StoreError;

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Parameters of one statement: below SQLite's 32,766 and PostgreSQL's 65,535.
const MOST_PARAMETERS: usize = 30_000;

/// The two databases. Cloning shares the pools.
#[derive(Debug, Clone)]
pub(super) enum Pools {
    /// One connection writes, several read (WAL lets them see the last commit meanwhile).
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

/// A transaction that may write. Dropped without a commit, it rolls back.
#[derive(Debug)]
pub struct Tx(Session);

#[derive(Debug)]
enum Session {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Pools {
    /// Opens `sqlite://path` (created if missing) or `postgres://…`.
    pub async fn open(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let unreachable = |source| StoreError::Unreachable { url: without_password(url), source };
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).map_err(unreachable)?;
            let options = options.application_name("payoutd");
            let pool = PgPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(Duration::from_secs(30))
                .connect_with(options)
                .await
                .map_err(unreachable)?;
            return Ok(Self::Postgres(pool));
        }
        if !url.starts_with("sqlite:") {
            return Err(StoreError::UnknownUrl { url: without_password(url) });
        }
        let options = SqliteConnectOptions::from_str(url)
            .map_err(unreachable)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL, not NORMAL: a committed payout must survive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30))
            .foreign_keys(true)
            .pragma("cache_size", "-65536");
        if let Some(folder) = options.get_filename().parent().filter(|f| *f != Path::new("")) {
            std::fs::create_dir_all(folder)
                .map_err(|source| unreachable(sqlx::Error::Io(source)))?;
        }
        let one =
            SqlitePoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(120));
        let writer = one.connect_with(options.clone()).await.map_err(unreachable)?;
        let many = SqlitePoolOptions::new().max_connections(max_connections);
        let readers = many.connect_with(options).await.map_err(unreachable)?;
        Ok(Self::Sqlite { writer, readers })
    }

    /// The word for the database, as in its URL.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Applies what is missing of the migrations; several processes may do so at once.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        match self {
            Self::Sqlite { writer, .. } => SQLITE_MIGRATIONS.run(writer).await,
            Self::Postgres(pool) => POSTGRES_MIGRATIONS.run(pool).await,
        }
    }

    /// How many migrations this program carries, and its latest version.
    pub fn migrations(&self) -> (usize, i64) {
        let migrator = match self {
            Self::Sqlite { .. } => &SQLITE_MIGRATIONS,
            Self::Postgres(_) => &POSTGRES_MIGRATIONS,
        };
        let versions = migrator.iter().map(|migration| migration.version);
        (migrator.iter().count(), versions.max().unwrap_or(0))
    }

    /// Begins a transaction that may write. On SQLite it takes the write lock at once
    /// (IMMEDIATE), so that it cannot fail half-way for want of it.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx(match self {
            Self::Sqlite { writer, .. } => {
                Session::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?)
            }
            Self::Postgres(pool) => Session::Postgres(pool.begin().await?),
        }))
    }

    /// The database's own clock: leases are measured by it, whatever the replicas' clocks say.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        let text = match self {
            Self::Sqlite { .. } => "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')",
            Self::Postgres(_) => "SELECT date_trunc('milliseconds', clock_timestamp())",
        };
        let (now,): (DateTime<Utc>,) = sql(text).read_one(self).await?;
        Ok(now)
    }

    /// Every column of the schema: (table, column, may be null), sorted; for the twin test.
    pub async fn columns(&self) -> Result<Vec<(String, String, bool)>, StoreError> {
        let text = match self {
            Self::Sqlite { .. } => {
                "SELECT m.name, c.name, c.\"notnull\" = 0 FROM sqlite_master m, pragma_table_info(m.name) c
                 WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> '_sqlx_migrations'
                 ORDER BY 1, 2"
            }
            Self::Postgres(_) => {
                "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT), is_nullable = 'YES'
                 FROM information_schema.columns
                 WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations' ORDER BY 1, 2"
            }
        };
        sql(text).read_all(self).await
    }

    /// Closes every connection; on SQLite the write-ahead log is folded into the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes all of it durable, or none.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.0 {
            Session::Sqlite(tx) => tx.commit().await?,
            Session::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

/// A parameter. NULL keeps its type, which PostgreSQL wants to know.
#[derive(Debug, Clone)]
pub(super) enum Value {
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
pub(super) struct Sql {
    text: &'static str,
    values: Vec<Value>,
}

/// A statement of one text, run on both databases.
pub(super) fn sql(text: &'static str) -> Sql {
    Sql { text, values: Vec::new() }
}

/// A row that can be read from both databases.
pub(super) trait Row:
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
        for piece in self.pieces(rows) {
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
        for piece in self.pieces(rows) {
            let part = Self { text: self.text, values: self.values.clone() };
            found.extend(part.all_rows(tx, Some(piece)).await?);
        }
        Ok(found)
    }

    fn pieces<'r>(&self, rows: &'r [Vec<Value>]) -> std::slice::Chunks<'r, Vec<Value>> {
        let width = rows.first().map_or(1, Vec::len).max(1);
        rows.chunks(((MOST_PARAMETERS - self.values.len()) / width).max(1))
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

/// The URL without its password, fit for messages.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((user, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    let user = user.split_once(':').map_or(user, |(name, _)| name);
    format!("{scheme}://{user}@{host}")
}

/// Whether the statement lost a race and may be tried again from the start of its transaction.
pub(super) fn is_transient(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let Some(code) = error.code() else { return false };
    // PostgreSQL: serialization failure, deadlock. SQLite: BUSY, LOCKED and BUSY_SNAPSHOT.
    matches!(code.as_ref(), "40001" | "40P01" | "5" | "6" | "261" | "517")
}

/// Whether the statement would have made a second row of a unique key.
pub(super) fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}
