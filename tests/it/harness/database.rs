//! A database of its own for each story: a file, or a database copied from a migrated one.

use payoutd::clock::Clock;
use payoutd::domain::BatchId;
use payoutd::store::Store;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::sqlite::{SqlitePoolOptions, SqliteRow};
use sqlx::{AssertSqlSafe, FromRow, PgPool, SqlitePool};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// The migrated database that every other one on the server is a copy of.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Where a story's database is, and a door to it beside the store.
pub struct Database {
    pub url: String,
    raw: Raw,
    /// Removed with everything in it when the story ends.
    _folder: Option<TempDir>,
}

enum Raw {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A row that can be read from both databases.
pub trait Row: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {}
impl<T> Row for T where T: Send + Unpin + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>
{}

impl Database {
    pub async fn create(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::create_file().await,
            Kind::Postgres => Self::copy_template().await,
        }
    }

    async fn create_file() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("payoutd.db").display());
        migrate(&url).await;
        let pool = SqlitePoolOptions::new().max_connections(1).connect(&url).await;
        let raw = Raw::Sqlite(pool.expect("the file that was just made"));
        Self { url, raw, _folder: Some(folder) }
    }

    async fn copy_template() -> Self {
        let template = TEMPLATE.get_or_init(make_template).await;
        let name = fresh_name();
        on_server(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        let url = url_of(&name);
        let pool = PgPoolOptions::new().max_connections(2).connect(&url).await;
        Self { url, raw: Raw::Postgres(pool.expect("the copy")), _folder: None }
    }

    /// A database whose tables are as they were before the migration `before`.
    pub async fn before(kind: Kind, before: i64) -> Self {
        let database = match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                let url = format!("sqlite://{}", folder.path().join("payoutd.db").display());
                let made = format!("{url}?mode=rwc");
                let pool = SqlitePoolOptions::new().max_connections(1).connect(&made).await;
                let raw = Raw::Sqlite(pool.expect("a new file"));
                Self { url, raw, _folder: Some(folder) }
            }
            Kind::Postgres => {
                let name = fresh_name();
                on_server(&format!("CREATE DATABASE {name}")).await;
                let url = url_of(&name);
                let pool = PgPoolOptions::new().max_connections(2).connect(&url).await;
                Self { url, raw: Raw::Postgres(pool.expect("a new database")), _folder: None }
            }
        };
        database.migrate_before(before).await;
        database
    }

    async fn migrate_before(&self, before: i64) {
        let dialect = match &self.raw {
            Raw::Sqlite(_) => "sqlite",
            Raw::Postgres(_) => "postgres",
        };
        let all = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
        let some = tempfile::tempdir().expect("a folder");
        for file in std::fs::read_dir(format!("{all}/{dialect}")).expect("migrations") {
            let file = file.expect("a migration");
            let name = file.file_name().into_string().expect("a name");
            let version: i64 =
                name.split('_').next().expect("a version").parse().expect("a number");
            if version < before {
                std::fs::copy(file.path(), some.path().join(name)).expect("a copy");
            }
        }
        let migrator = Migrator::new(some.path()).await.expect("migrations");
        let applied = match &self.raw {
            Raw::Sqlite(pool) => migrator.run(pool).await,
            Raw::Postgres(pool) => migrator.run(pool).await,
        };
        applied.expect("migrations that apply");
    }

    /// The folder of a file, with all that belongs to it.
    pub fn folder(&self) -> Option<&std::path::Path> {
        self._folder.as_ref().map(TempDir::path)
    }

    /// Removes what is left on a server; a file goes with its folder.
    pub async fn remove(&self) {
        if let Raw::Postgres(pool) = &self.raw {
            pool.close().await;
            let name = self.url.rsplit('/').next().expect("a database's name");
            on_server(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }

    /// Runs a statement behind the store's back; how many rows it changed.
    pub async fn execute(&self, text: &str) -> Result<u64, sqlx::Error> {
        let query = AssertSqlSafe(text);
        Ok(match &self.raw {
            Raw::Sqlite(pool) => sqlx::raw_sql(query).execute(pool).await?.rows_affected(),
            Raw::Postgres(pool) => sqlx::raw_sql(query).execute(pool).await?.rows_affected(),
        })
    }

    /// Reads rows behind the store's back.
    pub async fn rows<T: Row>(&self, text: &str) -> Vec<T> {
        let query = AssertSqlSafe(text);
        let rows = match &self.raw {
            Raw::Sqlite(pool) => sqlx::query_as(query).fetch_all(pool).await,
            Raw::Postgres(pool) => sqlx::query_as(query).fetch_all(pool).await,
        };
        rows.unwrap_or_else(|error| panic!("{text}: {error}"))
    }
}

async fn migrate(url: &str) {
    let store = Store::open(url, 1).await.expect("a database that opens");
    store.migrate().await.expect("migrations that apply");
    store.close().await;
}

async fn make_template() -> String {
    let name = fresh_name();
    on_server(&format!("CREATE DATABASE {name}")).await;
    migrate(&url_of(&name)).await;
    name
}

async fn on_server(statement: &str) {
    let pool = PgPoolOptions::new().max_connections(1).connect(&server_url()).await;
    let pool = pool.expect("a PostgreSQL server that answers");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await.expect("a database");
    pool.close().await;
}

fn fresh_name() -> String {
    format!("payoutd_{}", Clock::System.mint::<BatchId>()).to_lowercase()
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where to run")]
fn server_url() -> String {
    std::env::var("PAYOUTD_TEST_POSTGRES_URL")
        .expect("run scripts/test: PAYOUTD_TEST_POSTGRES_URL says where PostgreSQL is")
}

fn url_of(database: &str) -> String {
    let url = server_url();
    let (server, _) = url.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{database}")
}
