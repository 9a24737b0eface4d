//! Every difference between SQLite and PostgreSQL, and nothing else.
//!
//! A query is one text with `$1` parameters, run on both. What the two do not share is written
//! in the text as a token and spelled out in `statement.rs`: `{rows}` (rows bound in bulk),
//! `{lock:alias}` (row locks, which SQLite's one writer does not need).

mod statement;
mod value;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgPool, Postgres, Sqlite, SqlitePool};
use tracing::log::LevelFilter;

use super::StoreError;
use super::seen::{Observer, Passed};
use crate::vault::Vault;
pub(super) use statement::sql;
pub(super) use value::Value;

const SQLITE_NOW: &str = "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')";
const POSTGRES_NOW: &str = "SELECT date_trunc('milliseconds', clock_timestamp())";

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Longest time that a transaction may wait for its next statement; none calls anybody else.
const LONGEST_PAUSE: &str = "30s";
/// Longest time that the first connection may take.
const LONGEST_CONNECT: Duration = Duration::from_secs(15);

/// PostgreSQL keeps the bytes of dropped columns and deleted rows until a table is written anew.
const CLEARED: [&str; 5] = [
    "VACUUM (FULL, ANALYZE) payout_methods",
    "VACUUM (FULL, ANALYZE) payouts",
    "VACUUM (FULL, ANALYZE) notices",
    "VACUUM (FULL, ANALYZE) provider_events",
    "VACUUM (FULL, ANALYZE) unsealed",
];

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
pub struct Tx {
    session: Session,
    /// Opens and seals what goes through it.
    pub(super) vault: Vault,
    /// What the observer is told once it is durable.
    pub(super) passed: Vec<Passed>,
    pub(super) observer: Observer,
}

#[derive(Debug)]
enum Session {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Pools {
    /// Opens `sqlite://path` (made if missing and `create`) or `postgres://…`.
    pub async fn open(url: &str, max_connections: u32, create: bool) -> Result<Self, StoreError> {
        let unreachable = |source| StoreError::Unreachable { source };
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).map_err(unreachable)?;
            // Statements are ours and their parameters people's: neither belongs into the log.
            let options = options.application_name("payoutd").disable_statement_logging();
            // A process that stands still in the middle of a transaction keeps its locks no longer.
            let options = options.options([("idle_in_transaction_session_timeout", LONGEST_PAUSE)]);
            // One connection first: a pool hides why it cannot connect behind its own time-out.
            let first = tokio::time::timeout(LONGEST_CONNECT, options.connect()).await;
            let first = first.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(unreachable)?;
            first.close().await.map_err(unreachable)?;
            let pool = PgPoolOptions::new()
                .max_connections(max_connections)
                .acquire_timeout(Duration::from_secs(30))
                .connect_with(options)
                .await
                .map_err(unreachable)?;
            return Ok(Self::Postgres(pool));
        }
        if !url.starts_with("sqlite:") {
            return Err(StoreError::UnknownUrl);
        }
        let options = SqliteConnectOptions::from_str(url)
            .map_err(unreachable)?
            .create_if_missing(create)
            .journal_mode(SqliteJournalMode::Wal)
            // FULL, not NORMAL: a committed payout must survive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30))
            .foreign_keys(true)
            .pragma("cache_size", "-65536")
            // What is deleted or overwritten is gone from the file as well.
            .pragma("secure_delete", "ON")
            .disable_statement_logging();
        let folder = options.get_filename().parent().filter(|folder| *folder != Path::new(""));
        if let Some(folder) = folder.filter(|_| create) {
            std::fs::create_dir_all(folder)
                .map_err(|source| unreachable(sqlx::Error::Io(source)))?;
        }
        if create {
            make_private(options.get_filename()).map_err(|source| unreachable(source.into()))?;
        }
        let one = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(Duration::from_secs(120))
            // A heartbeat waits for the batch in hand: that is how one writer works.
            .acquire_slow_level(LevelFilter::Off);
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

    /// Writes what is left of the database anew, so that nothing deleted is in its files any
    /// more; false if somebody else's reading keeps the write-ahead log of SQLite from being cut.
    pub async fn clear_deleted(&self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite { writer, .. } => {
                let mut conn = writer.acquire().await?;
                sqlx::raw_sql("VACUUM").execute(&mut *conn).await?;
                let cut = "PRAGMA wal_checkpoint(TRUNCATE)";
                let (busy, _, _): (i64, i64, i64) =
                    sqlx::query_as(cut).fetch_one(&mut *conn).await?;
                Ok(busy == 0)
            }
            Self::Postgres(pool) => {
                for table in CLEARED {
                    sqlx::raw_sql(table).execute(pool).await?;
                }
                Ok(true)
            }
        }
    }

    /// Applies what is missing of the migrations; several processes may do so at once.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        match self {
            Self::Sqlite { writer, .. } => SQLITE_MIGRATIONS.run(writer).await,
            Self::Postgres(pool) => POSTGRES_MIGRATIONS.run(pool).await,
        }
    }

    /// The version of the latest migration that was applied; `None` before the first one.
    pub async fn applied(&self) -> Result<Option<i64>, StoreError> {
        let tables = match self {
            Self::Sqlite { .. } => {
                "SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'"
            }
            Self::Postgres(_) => {
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_name = '_sqlx_migrations'"
            }
        };
        if sql(tables).read_one::<(i64,)>(self).await? == (0,) {
            return Ok(None);
        }
        let (version,) = sql("SELECT MAX(version) FROM _sqlx_migrations").read_one(self).await?;
        Ok(version)
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
    pub async fn begin(&self, vault: Vault) -> Result<Tx, StoreError> {
        let session = match self {
            Self::Sqlite { writer, .. } => {
                Session::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?)
            }
            Self::Postgres(pool) => Session::Postgres(pool.begin().await?),
        };
        Ok(Tx { session, vault, passed: Vec::new(), observer: Observer::default() })
    }

    /// The database's own clock: leases are measured by it, whatever the replicas' clocks say.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        let text = match self {
            Self::Sqlite { .. } => SQLITE_NOW,
            Self::Postgres(_) => POSTGRES_NOW,
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
    /// The database's own clock, asked on this transaction's connection: a second one may not
    /// come free while this one is held.
    pub async fn database_now(&mut self) -> Result<DateTime<Utc>, StoreError> {
        let text = match self.session {
            Session::Sqlite(_) => SQLITE_NOW,
            Session::Postgres(_) => POSTGRES_NOW,
        };
        let row: Option<(DateTime<Utc>,)> = sql(text).maybe(self).await?;
        row.map(|(now,)| now).ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    /// Makes all of it durable, or none.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.session {
            Session::Sqlite(tx) => tx.commit().await?,
            Session::Postgres(tx) => tx.commit().await?,
        }
        self.observer.hear(&self.passed);
        Ok(())
    }
}

/// The file of an embedded database, by its URL.
pub(super) fn file_of(url: &str) -> Option<PathBuf> {
    let options = url.starts_with("sqlite:").then(|| SqliteConnectOptions::from_str(url));
    options.and_then(Result::ok).map(|options| options.get_filename().to_path_buf())
}

/// Makes the database's file, for its owner alone; what SQLite puts beside it is as private. One that
/// is there stays as it is.
fn make_private(file: &Path) -> std::io::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Whether the statement lost a race and may be tried again from the start of its transaction.
pub(super) fn is_transient(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    let Some(code) = error.code() else { return false };
    // PostgreSQL: serialization failure, deadlock. SQLite: BUSY, LOCKED and BUSY_SNAPSHOT.
    matches!(code.as_ref(), "40001" | "40P01" | "5" | "6" | "261" | "517")
}

/// Whether nobody could be asked: no connection, or none came free in time.
pub(super) fn is_out_of_reach(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        // PostgreSQL: connection lost, too many connections, shutting down.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            code.starts_with("08") || code == "53300" || code.starts_with("57P")
        }),
        _ => false,
    }
}

/// Whether the statement would have made a second row of a unique key.
pub(super) fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}
