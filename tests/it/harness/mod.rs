//! The harness: one story's database, clock, engine, rail and sandbox.
//!
//! Only [`tell`] makes one, and it checks the ledger when the story ends: every invariant holds,
//! nothing is left in `sending`, and our completed payouts are the sandbox's books, one to one.
//! A story that leaves something undone says so first.

mod api;
mod database;
mod ledger;
mod paper;
mod postbox;
mod receiver;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;
use payoutd::clock::Clock;
use payoutd::domain::{Actor, OrgId, Scope};
use payoutd::engine::{Engine, EngineSettings, Reach, Tally, Work};
use payoutd::jobs::{Catalog, Runner, RunnerSettings};
use payoutd::providers::{Paypal, PaypalSettings, Provider};
use payoutd::sandbox::Sandbox;
use payoutd::store::{RunRow, Store};
use payoutd::vault::{MasterKeys, Vault};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub use api::{Answer, Api, LIMITS, answer, auth, sign, token};
pub use database::{Database, Kind};
pub use paper::{Paper, said};
pub use postbox::Postbox;
pub use receiver::{Heard, Receiver};
pub use world::{Wallet, affiliate, banked, commission, program, usd, week_of};

use crate::loopback::Loopback;

/// The call that sends a batch.
pub const POST: &str = "POST /v1/payments/payouts";

/// Tells each story on SQLite and on PostgreSQL, as `name::sqlite` and `name::postgres`.
macro_rules! on_both {
    ($(async fn $name:ident($h:ident: &Harness) $body:block)+) => {$(
        mod $name {
            use super::*;
            use $crate::harness::{Kind, tell};

            async fn story($h: &Harness) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                tell(Kind::Sqlite, story).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                tell(Kind::Postgres, story).await;
            }
        }
    )+};
}

pub struct Harness {
    pub database: Database,
    pub store: Store,
    pub clock: Clock,
    pub engine: Engine,
    pub at: Loopback,
    pub org: OrgId,
    expects: Expectations,
    checked: bool,
}

/// What a story said it leaves undone.
#[derive(Default)]
struct Expectations {
    broken_ledger: AtomicBool,
    open_sends: AtomicBool,
    money_under_way: AtomicBool,
}

/// Tells one story, and checks the ledger when it ends.
pub async fn tell(kind: Kind, story: impl AsyncFn(&Harness)) {
    let harness = Harness::open(kind).await;
    story(&harness).await;
    harness.finish().await;
}

impl Harness {
    async fn open(kind: Kind) -> Self {
        let database = Database::create(kind).await;
        let store = Store::open(&database.url, 6).await.expect("a database that opens");
        let clock = Clock::fixed("2026-03-02T09:00:00Z".parse().expect("a Monday"));
        let store = store.with_vault(vault(&clock));
        let at = Loopback::of(Sandbox::new(clock.clone())).await;
        let rails = vec![rail(&at.url, json!({}))];
        let engine = Engine::new(store.clone(), clock.clone(), rails, EngineSettings::default());
        let org = "acme".parse().expect("an id");
        let expects = Expectations::default();
        Self { database, store, clock, engine, at, org, expects, checked: false }
    }

    /// The story breaks the ledger on purpose.
    pub fn ledger_is_broken(&self) {
        self.expects.broken_ledger.store(true, Ordering::SeqCst);
    }

    /// The story stops while something is being sent.
    pub fn leaves_sends_open(&self) {
        self.expects.open_sends.store(true, Ordering::SeqCst);
        self.leaves_money_under_way();
    }

    /// The story stops before every payment in the books has been heard of.
    pub fn leaves_money_under_way(&self) {
        self.expects.money_under_way.store(true, Ordering::SeqCst);
    }

    async fn finish(mut self) {
        self.checked = true;
        self.check_ledger(&self.expects).await;
        self.store.close().await;
        self.database.remove().await;
    }

    /// The vault of the story's store.
    pub fn vault(&self) -> Vault {
        vault(&self.clock)
    }

    /// The real PayPal rail, pointed at the sandbox, with some settings changed.
    pub fn rail(&self, change: Value) -> Arc<dyn Provider> {
        rail(&self.at.url, change)
    }

    /// Another engine over the same store and clock.
    pub fn engine_with(&self, rails: Vec<Arc<dyn Provider>>, settings: EngineSettings) -> Engine {
        Engine::new(self.store.clone(), self.clock.clone(), rails, settings)
    }

    /// An engine whose leases have run out as soon as they are taken.
    pub fn hasty_engine(&self) -> Engine {
        let settings =
            EngineSettings { lease: TimeDelta::seconds(-1), ..EngineSettings::default() };
        self.engine_with(vec![self.rail(json!({}))], settings)
    }

    pub fn work(&self) -> Work {
        Work::by_person(Actor::operator("ana"))
    }

    pub fn runner(&self) -> Runner {
        self.runner_of(self.engine.clone(), Catalog::load(None).expect("the shipped jobs"))
    }

    pub fn runner_of(&self, engine: Engine, catalog: Catalog) -> Runner {
        let worker_id = Clock::System.mint::<payoutd::domain::BatchId>().to_string();
        Runner::new(engine, catalog, RunnerSettings { worker_id })
    }

    /// Runs a job now, as a person would.
    pub async fn job(&self, job_id: &str) -> RunRow {
        let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
        let run = self.runner().run_now(job_id, &actor, Reach::Due, &stop).await;
        run.expect("a run that took place")
    }

    /// What a job's latest run saw and did.
    pub async fn tally(&self, job_id: &str) -> Tally {
        let run = self.job(job_id).await;
        assert!(run.error_code.is_none(), "{run:?}");
        serde_json::from_str(&run.report.expect("a report")).expect("a tally")
    }

    pub async fn submit(&self) -> Tally {
        self.submit_with(&self.engine).await
    }

    pub async fn submit_with(&self, engine: &Engine) -> Tally {
        let tally = engine.submit_all(&self.work(), Reach::Due, &Scope::default()).await;
        tally.expect("a submit that ends")
    }

    pub async fn reconcile(&self) -> Tally {
        self.reconcile_with(&self.engine).await
    }

    pub async fn reconcile_with(&self, engine: &Engine) -> Tally {
        let tally = engine.reconcile(&self.work(), Reach::Due, &Scope::default()).await;
        tally.expect("a reconcile that ends")
    }

    /// Submits and reconciles, time going on, until no payout is open.
    pub async fn settle_all(&self) {
        for _ in 0..40 {
            self.submit().await;
            self.reconcile().await;
            if self.store.open_payouts().await.expect("a count") == 0 {
                return;
            }
            self.clock.advance(TimeDelta::minutes(20));
        }
        panic!("payouts are still open: {:?}", self.payouts().await);
    }

    /// Arms a fault of the sandbox.
    pub async fn arm(&self, fault: &str, more: Value) {
        self.at.spoil(POST, fault, more).await;
    }

    /// Changes what became of a payment at the sandbox.
    pub async fn fate(&self, reference: &str, status: &str) {
        self.at.control("POST", &format!("items/{reference}"), json!({ "status": status })).await;
    }
}

/// The master key of every story.
pub const MASTER_KEY: &str = "mk-test=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

fn vault(clock: &Clock) -> Vault {
    let masters = MasterKeys::parse(&MASTER_KEY.to_owned().into()).expect("a master key");
    Vault::new(masters, clock.clone())
}

impl Drop for Harness {
    fn drop(&mut self) {
        assert!(self.checked || std::thread::panicking(), "a story ended without its check");
    }
}

fn rail(base_url: &str, change: Value) -> Arc<dyn Provider> {
    let mut settings = json!({
        "base_url": base_url, "client_id": "id", "client_secret": "secret",
        "batch_size": 500, "timeout_ms": 30_000, "page_size": 1_000,
        "note": "Your commission", "email_subject": "You have been paid",
        "posts_per_minute": 10_000, "call_off_unclaimed_days": 0, "webhook_ids": "",
        "authorize_url": "http://localhost/signin/authorize", "return_url": "https://pay.example/back",
        "webhook_verify": "certificate", "webhook_cert_hosts": "", "webhook_ca_file": "",
    });
    for (key, value) in change.as_object().expect("settings") {
        settings[key] = value.clone();
    }
    let settings: PaypalSettings = serde_json::from_value(settings).expect("settings");
    Arc::new(Paypal::new(settings).expect("a rail"))
}
