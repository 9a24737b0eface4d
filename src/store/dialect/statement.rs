//! Statements: one text, bound and run on either database.
//!
//! A list of rows that is joined stands in a CTE that says MATERIALIZED, and a table is CROSS
//! JOINed to it: SQLite, which knows nothing of the list's length, would otherwise read the table
//! and go through the whole list for every row of it. PostgreSQL plans both as it likes.

use chrono::{DateTime, SecondsFormat, Utc};
use sqlx::database::HasStatementCache;
use sqlx::error::BoxDynError;
use sqlx::{
    Arguments, AssertSqlSafe, Database, Executor, FromRow, IntoArguments, Postgres, Sqlite,
};

use super::{Pools, Session, StoreError, Tx, Value};

/// Rows bound to one statement; more are taken in pieces.
const MOST_ROWS: usize = 10_000;

/// One statement with its parameters.
#[derive(Debug, Clone)]
pub struct Sql {
    text: &'static str,
    values: Vec<Value>,
}

/// A statement of one text, run on both databases.
pub fn sql(text: &'static str) -> Sql {
    Sql { text, values: Vec::new() }
}

/// A row that can be read from both databases.
pub trait Row:
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
        self.run_piece(tx, &[]).await
    }

    /// Every row, within a transaction.
    pub async fn all<T: Row>(self, tx: &mut Tx) -> Result<Vec<T>, StoreError> {
        self.all_piece(tx, &[]).await
    }

    /// The one row, if there is one, within a transaction.
    pub async fn maybe<T: Row>(self, tx: &mut Tx) -> Result<Option<T>, StoreError> {
        Ok(self.all(tx).await?.pop())
    }

    /// Runs a statement whose `{rows}` are `rows`, in pieces; how many rows it changed in all.
    pub async fn run_with(self, tx: &mut Tx, rows: &[Vec<Value>]) -> Result<u64, StoreError> {
        let mut changed = 0;
        for piece in rows.chunks(MOST_ROWS) {
            changed += self.clone().run_piece(tx, piece).await?;
        }
        Ok(changed)
    }

    /// The rows that a query whose `{rows}` are `rows` returns, piece by piece.
    pub async fn all_with<T: Row>(
        self,
        tx: &mut Tx,
        rows: &[Vec<Value>],
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        for piece in rows.chunks(MOST_ROWS) {
            found.extend(self.clone().all_piece(tx, piece).await?);
        }
        Ok(found)
    }

    /// Every row, outside of any transaction.
    pub async fn read_all<T: Row>(self, pools: &Pools) -> Result<Vec<T>, StoreError> {
        match pools {
            Pools::Sqlite { readers, .. } => {
                fetch::<Sqlite, T>(&mut *readers.acquire().await?, self, &[]).await
            }
            Pools::Postgres(pool) => {
                fetch::<Postgres, T>(&mut *pool.acquire().await?, self, &[]).await
            }
        }
    }

    /// The rows that a query whose `{rows}` are `rows` returns, outside of any transaction.
    pub async fn read_all_with<T: Row>(
        self,
        pools: &Pools,
        rows: &[Vec<Value>],
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        for piece in rows.chunks(MOST_ROWS) {
            let sql = self.clone();
            found.extend(match pools {
                Pools::Sqlite { readers, .. } => {
                    fetch::<Sqlite, T>(&mut *readers.acquire().await?, sql, piece).await?
                }
                Pools::Postgres(pool) => {
                    fetch::<Postgres, T>(&mut *pool.acquire().await?, sql, piece).await?
                }
            });
        }
        Ok(found)
    }

    /// The one row, if there is one, outside of any transaction.
    pub async fn read_maybe<T: Row>(self, pools: &Pools) -> Result<Option<T>, StoreError> {
        Ok(self.read_all(pools).await?.pop())
    }

    /// The one row of a query that always has one (a count, a sum).
    pub async fn read_one<T: Row>(self, pools: &Pools) -> Result<T, StoreError> {
        self.read_maybe(pools).await?.ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    async fn run_piece(self, tx: &mut Tx, rows: &[Vec<Value>]) -> Result<u64, StoreError> {
        Ok(match &mut tx.session {
            Session::Sqlite(tx) => tx.execute(query::<Sqlite>(self, rows)).await?.rows_affected(),
            Session::Postgres(tx) => {
                tx.execute(query::<Postgres>(self, rows)).await?.rows_affected()
            }
        })
    }

    async fn all_piece<T: Row>(
        self,
        tx: &mut Tx,
        rows: &[Vec<Value>],
    ) -> Result<Vec<T>, StoreError> {
        match &mut tx.session {
            Session::Sqlite(tx) => fetch::<Sqlite, T>(&mut **tx, self, rows).await,
            Session::Postgres(tx) => fetch::<Postgres, T>(&mut **tx, self, rows).await,
        }
    }
}

/// How one of the databases is spoken to.
trait Dialect: Database + HasStatementCache {
    /// The words that lock rows of `alias`; empty where one writer needs none.
    fn lock(alias: &str, skip_locked: bool) -> String;

    /// A query of the rows that [`Dialect::bind_rows`] binds from parameter `first` on, whose
    /// columns are typed as those of `row`. The same types are the same text, so it is prepared
    /// once, however many rows there are.
    fn rows(first: usize, row: &[Value]) -> String;

    fn bind(arguments: &mut Self::Arguments, value: Value) -> Result<(), BoxDynError>;

    fn bind_rows(arguments: &mut Self::Arguments, rows: &[Vec<Value>]) -> Result<(), BoxDynError>;
}

/// SQLite takes rows as one JSON array of arrays.
impl Dialect for Sqlite {
    fn lock(_alias: &str, _skip_locked: bool) -> String {
        String::new()
    }

    fn rows(first: usize, row: &[Value]) -> String {
        let columns: Vec<_> = (0..row.len()).map(|i| format!("r.value ->> {i}")).collect();
        // WHERE keeps a following ON CONFLICT from being read as a join's ON.
        format!("SELECT {} FROM json_each(${first}) AS r WHERE true", columns.join(", "))
    }

    fn bind(arguments: &mut Self::Arguments, value: Value) -> Result<(), BoxDynError> {
        match value {
            Value::Text(text) => arguments.add(text),
            Value::Int(int) => arguments.add(int),
            Value::Time(time) => arguments.add(time),
        }
    }

    fn bind_rows(arguments: &mut Self::Arguments, rows: &[Vec<Value>]) -> Result<(), BoxDynError> {
        let json = |value: &Value| match value {
            Value::Text(text) => serde_json::json!(text),
            Value::Int(int) => serde_json::json!(int),
            Value::Time(time) => serde_json::json!(time.map(sqlite_time)),
        };
        let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(json).collect()).collect();
        arguments.add(serde_json::to_string(&rows)?)
    }
}

/// A time as sqlx writes it to SQLite, so that times compare as text.
fn sqlite_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// PostgreSQL takes rows as one array per column.
impl Dialect for Postgres {
    fn lock(alias: &str, skip_locked: bool) -> String {
        format!("FOR UPDATE OF {alias}{}", if skip_locked { " SKIP LOCKED" } else { "" })
    }

    fn rows(first: usize, row: &[Value]) -> String {
        let column = |(i, value): (usize, &Value)| {
            let array = match value {
                Value::Text(_) => "text[]",
                Value::Int(_) => "bigint[]",
                Value::Time(_) => "timestamptz[]",
            };
            format!("${}::{array}", first + i)
        };
        let columns: Vec<_> = row.iter().enumerate().map(column).collect();
        format!("SELECT * FROM UNNEST({})", columns.join(", "))
    }

    fn bind(arguments: &mut Self::Arguments, value: Value) -> Result<(), BoxDynError> {
        match value {
            Value::Text(text) => arguments.add(text),
            Value::Int(int) => arguments.add(int),
            Value::Time(time) => arguments.add(time),
        }
    }

    fn bind_rows(arguments: &mut Self::Arguments, rows: &[Vec<Value>]) -> Result<(), BoxDynError> {
        let width = rows.first().map_or(0, Vec::len);
        for i in 0..width {
            let column = rows.iter().map(|row| row[i].clone());
            match rows[0][i] {
                Value::Text(_) => {
                    arguments.add(column.map(Value::into_text).collect::<Vec<_>>())?
                }
                Value::Int(_) => arguments.add(column.map(Value::into_int).collect::<Vec<_>>())?,
                Value::Time(_) => {
                    arguments.add(column.map(Value::into_time).collect::<Vec<_>>())?
                }
            }
        }
        Ok(())
    }
}

/// Spells the tokens of a text out. Only parameter numbers and fixed words are ever put in,
/// never a value.
fn spell<DB: Dialect>(text: &str, bound: usize, rows: &[Vec<Value>]) -> String {
    let mut spelled = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (token, after) = after.split_once('}').expect("a token of a query is closed");
        spelled.push_str(before);
        match token.split_once(':') {
            None if token == "rows" => {
                let row = rows.first().expect("a query with {rows} is run with rows");
                spelled.push_str(&DB::rows(bound + 1, row));
            }
            Some(("lock", alias)) => spelled.push_str(&DB::lock(alias, false)),
            Some(("lock-free", alias)) => spelled.push_str(&DB::lock(alias, true)),
            _ => unreachable!("a query holds the unknown token {{{token}}}"),
        }
        rest = after;
    }
    spelled.push_str(rest);
    spelled
}

fn query<DB: Dialect>(
    sql: Sql,
    rows: &[Vec<Value>],
) -> sqlx::query::Query<'static, DB, DB::Arguments>
where
    DB::Arguments: IntoArguments<DB>,
{
    let Sql { text, values } = sql;
    let spelled = text.contains('{').then(|| spell::<DB>(text, values.len(), rows));
    let mut arguments = DB::Arguments::default();
    for value in values {
        DB::bind(&mut arguments, value).expect("text, integers and times always encode");
    }
    if !rows.is_empty() {
        DB::bind_rows(&mut arguments, rows).expect("text, integers and times always encode");
    }
    match spelled {
        None => sqlx::query_with(text, arguments),
        Some(text) => sqlx::query_with(AssertSqlSafe(text), arguments),
    }
}

async fn fetch<DB, T>(
    conn: &mut DB::Connection,
    sql: Sql,
    rows: &[Vec<Value>],
) -> Result<Vec<T>, StoreError>
where
    DB: Dialect,
    DB::Arguments: IntoArguments<DB>,
    T: for<'r> FromRow<'r, DB::Row>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let found = conn.fetch_all(query::<DB>(sql, rows)).await?;
    Ok(found.iter().map(T::from_row).collect::<Result<_, _>>()?)
}
