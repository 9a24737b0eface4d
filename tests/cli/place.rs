//! Where a test takes place: a working directory and a database, both gone afterwards.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::process::{Process, Ran};

const SERVER: &str = "PAYOUTD_TEST_POSTGRES_URL";
/// Good enough where nothing is secret.
const MASTER_KEY: &str = "mk-test=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

/// See the module.
pub struct Place {
    folder: TempDir,
    database: Option<PgDatabase>,
    environment: Vec<(String, String)>,
}

impl Place {
    /// A place with a SQLite file.
    pub fn on_sqlite() -> Self {
        let mut place = Self::bare();
        let url = format!("sqlite://{}", place.path("payoutd.db").display());
        place.set("DATABASE__URL", url);
        place
    }

    /// A place with a fresh database of the PostgreSQL server that `scripts/test` starts.
    pub fn on_postgres() -> Self {
        let mut place = Self::bare();
        let database = PgDatabase::create();
        place.set("DATABASE__URL", database.url());
        // An embedded database makes a master key of its own; a server is told one.
        place.set("VAULT__MASTER_KEYS", MASTER_KEY);
        place.database = Some(database);
        place
    }

    /// A place where no database is set.
    pub fn bare() -> Self {
        let folder = tempfile::Builder::new().prefix("payoutd-cli-").tempdir();
        let folder = folder.expect("a temporary folder");
        Self { folder, database: None, environment: Vec::new() }
    }

    pub fn path(&self, name: impl AsRef<std::path::Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        let folder = path.parent().expect("a file is in a folder");
        std::fs::create_dir_all(folder).expect("a folder of ours");
        std::fs::write(path, content).expect("a file of ours");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Sets `PAYOUTD__<key>` for whatever starts from now on.
    pub fn set(&mut self, key: &str, value: impl ToString) {
        self.environment.push((format!("PAYOUTD__{key}"), value.to_string()));
    }

    /// `payoutd` in this place, with nothing of the test's own environment.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payoutd"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("USER", "tester").env("TMPDIR", self.folder.path());
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Starts `payoutd`.
    pub fn start(&self, arguments: &[&str]) -> Process {
        Process::start(self.command(arguments), self.folder.path())
    }

    /// Runs `payoutd` to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).ended()
    }

    /// Changes the books behind the program's back.
    pub fn tamper(&self, statement: &'static str) {
        let file = format!("sqlite://{}", self.path("payoutd.db").display());
        match &self.database {
            Some(database) => execute::<PgConnection>(&database.url(), statement.to_owned()),
            None => execute::<SqliteConnection>(&file, statement.to_owned()),
        }
    }

    /// Every row of every table as text; of a SQLite file, nothing: its bytes can be read.
    pub fn rows(&self) -> Vec<String> {
        let Some(database) = &self.database else { return Vec::new() };
        const TABLES: &str = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables
             WHERE table_schema = 'public' ORDER BY 1";
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut connection = PgConnection::connect(&database.url()).await.expect("it is up");
            let tables: Vec<(String,)> =
                sqlx::query_as(TABLES).fetch_all(&mut connection).await.expect("tables");
            let mut rows = Vec::new();
            for (table,) in tables {
                let all =
                    AssertSqlSafe(format!("SELECT '{table}: ' || CAST(t AS TEXT) FROM {table} t"));
                let found: Vec<(String,)> =
                    sqlx::query_as(all).fetch_all(&mut connection).await.expect("rows");
                rows.extend(found.into_iter().map(|(row,)| row));
            }
            rows
        })
    }

    /// Every file of the place, by its path in it.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut folders = vec![self.folder.path().to_path_buf()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder of ours") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(bytes) = std::fs::read(&path) {
                    let within = path.strip_prefix(self.folder.path()).expect("in the place");
                    files.push((within.to_path_buf(), bytes));
                }
            }
        }
        files
    }

    /// Runs `payoutd`, which must end with 0, and reads its answer.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        self.run(&[arguments, &["--json"]].concat()).code(0).json()
    }
}

/// A database of its own, dropped with this.
struct PgDatabase {
    server: String,
    name: String,
}

impl PgDatabase {
    fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var_os(SERVER).and_then(|url| url.into_string().ok());
        let server = server.unwrap_or_else(|| panic!("{SERVER} is not set: run scripts/test"));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cli_{}_{count}", std::process::id());
        let database = Self { server, name };
        database.on_server(format!("CREATE DATABASE {} TEMPLATE template0", database.name));
        database
    }

    fn url(&self) -> String {
        let (server, _) = self.server.rsplit_once('/').expect("the server's URL names a database");
        format!("{server}/{}", self.name)
    }

    fn on_server(&self, statement: String) {
        execute::<PgConnection>(&self.server, statement);
    }
}

/// Executes one statement on a connection of its own.
fn execute<C: Connection>(url: &str, statement: String)
where
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut connection = C::connect(url).await.expect("the database is up");
        let run = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
        run.expect("a database of ours");
    });
}

impl Drop for PgDatabase {
    fn drop(&mut self) {
        self.on_server(format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}
