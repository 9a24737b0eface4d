//! `/metrics`: numbers for Prometheus. What this process did is counted where it is done; how things
//! stand is read at each scrape, so that every replica of an installation tells the same.
//! docs/metrics.md lists them all.

mod page;

use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use thiserror::Error;

use super::serve::Peer;
use super::{Desk, no_such_path};
use crate::domain::{MethodKind, PayoutStatus};
use crate::jobs::{Definition, count_from_zero};
use crate::store::{JobStanding, OpenPayouts, StoreError};
use page::Page;

/// How long the database may take to say how things stand.
const LONGEST: Duration = Duration::from_secs(5);
/// A replica that was not seen for this long does not count as one.
const REPLICA_LIVES: TimeDelta = TimeDelta::minutes(2);
/// Due instants whose gaps say how often a job is expected.
const INSTANTS: usize = 10;
/// The bounds of run times, in seconds.
const RUN_BUCKETS: [f64; 11] =
    [0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0];
/// The bounds of delays, in seconds.
const DELAY_BUCKETS: [f64; 8] = [1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0];
/// How often old samples are put together, if nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(30);

/// The one recorder of this process.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Who may read the numbers. They name no affiliate, but tell how much is paid, so nobody may from
/// afar unless an operator says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metrics {
    /// Whoever connects from this very host, and not through a proxy.
    #[default]
    Local,
    /// Whoever reaches the listener.
    All,
    /// Nobody: nothing is counted either.
    Off,
}

/// Counts what this process does, for `/metrics`.
#[derive(Debug)]
pub struct Numbers;

/// Why nothing can be counted.
#[derive(Debug, Error)]
#[error("numbers cannot be counted")]
pub struct NumbersError(#[from] BuildError);

impl Numbers {
    /// Starts to count, from 0 for what is known of `jobs`. A second call changes nothing.
    ///
    /// # Errors
    /// [`NumbersError`]: something else counts in this process already.
    pub fn start<'a>(jobs: impl Iterator<Item = &'a Definition>) -> Result<(), NumbersError> {
        if RECORDER.get().is_some() {
            return Ok(());
        }
        let full = |name: &str| Matcher::Full(name.to_owned());
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(full("payoutd_job_run_duration_seconds"), &RUN_BUCKETS)?
            .set_buckets_for_metric(full("payoutd_job_start_delay_seconds"), &DELAY_BUCKETS)?;
        let handle = builder.install_recorder()?;
        page::describe();
        count_from_zero(jobs);
        let kept = handle.clone();
        if RECORDER.set(handle).is_ok() {
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(UPKEEP).await;
                    kept.run_upkeep();
                }
            });
        }
        Ok(())
    }
}

/// The numbers, for who may read them; for others there is nothing here.
pub(super) async fn show(State(desk): State<Desk>, uri: Uri, request: Request) -> Response {
    if !may_read(desk.metrics, &request) {
        return no_such_path(uri).await.into_response();
    }
    let mut text = RECORDER.get().map(PrometheusHandle::render).unwrap_or_default();
    page::name_the_rest(&mut text);
    let standing = tokio::time::timeout(LONGEST, standing(&desk)).await;
    text.push_str(&page_of(&desk, standing.ok().and_then(Result::ok)).text());
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text).into_response()
}

fn may_read(metrics: Metrics, request: &Request) -> bool {
    let is_here = || request.extensions().get::<Peer>().is_some_and(|peer| peer.0.is_loopback());
    // A proxy on this host connects from here too, on behalf of anybody.
    let names = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    let is_passed_on = || names.iter().any(|name| request.headers().contains_key(*name));
    match metrics {
        Metrics::Local => is_here() && !is_passed_on(),
        Metrics::All => true,
        Metrics::Off => false,
    }
}

/// How things stand, as the database has it.
struct Standing {
    jobs: Vec<JobStanding>,
    open: Vec<OpenPayouts>,
    alerts: Vec<(String, i64)>,
    breaks: Vec<(MethodKind, i64)>,
}

async fn standing(desk: &Desk) -> Result<Standing, StoreError> {
    let store = &desk.engine.store;
    let jobs: Vec<_> = desk.runner.catalog.iter().map(|job| job.job_id.as_str()).collect();
    let seen_since = store.database_now().await? - REPLICA_LIVES;
    Ok(Standing {
        jobs: store.jobs_standing(&jobs, seen_since).await?,
        open: store.payouts_open().await?,
        alerts: store.alerts_open().await?,
        breaks: store.breaks_open().await?,
    })
}

/// The gauges; without the database only what this process knows by itself.
fn page_of(desk: &Desk, standing: Option<Standing>) -> Page {
    let now = desk.engine.clock.now();
    let mut page = Page::default();
    page.set("payoutd_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.set("payoutd_database_up", &[], f64::from(u8::from(standing.is_some())));
    for job in desk.runner.catalog.iter() {
        show_definition(&mut page, job, now);
    }
    let Some(Standing { jobs, open, alerts, breaks }) = standing else { return page };
    for job in &jobs {
        show_job(&mut page, job, now);
    }
    show_payouts(&mut page, &open, now);
    for (kind, count) in &alerts {
        page.set("payoutd_alerts_open", &[("reason", kind)], count_of(*count));
    }
    for kind in MethodKind::ALL {
        let found = breaks.iter().find(|(of, _)| of == kind).map_or(0, |(_, count)| *count);
        let labels = [("provider", kind.as_str())];
        page.set("payoutd_reconcile_breaks_open", &labels, count_of(found));
    }
    page
}

/// What a job's file says.
fn show_definition(page: &mut Page, job: &Definition, now: DateTime<Utc>) {
    let labels = [("job_id", job.job_id.as_str())];
    page.set("payoutd_job_enabled", &labels, f64::from(u8::from(job.enabled)));
    page.set("payoutd_job_timeout_seconds", &labels, job.timeout.0.as_seconds_f64());
    if !job.enabled {
        return;
    }
    if let Some(every) = expected_every(job, now) {
        page.set("payoutd_job_expected_interval_seconds", &labels, every.as_seconds_f64());
    }
    if let Some(next) = job.schedule.next(now) {
        page.set("payoutd_job_next_run_timestamp_seconds", &labels, seconds(next));
    }
}

/// How often a run is expected: as its file says, or the longest gap of the instants to come.
fn expected_every(job: &Definition, now: DateTime<Utc>) -> Option<TimeDelta> {
    if let Some(every) = job.expected_every {
        return Some(every.0);
    }
    let next = |at: &DateTime<Utc>| job.schedule.next(*at);
    let instants: Vec<_> =
        std::iter::successors(job.schedule.next(now), next).take(INSTANTS).collect();
    instants.windows(2).map(|pair| pair[1] - pair[0]).max()
}

/// What a job's runs came to.
fn show_job(page: &mut Page, job: &JobStanding, now: DateTime<Utc>) {
    let labels = [("job_id", job.job_id.as_str())];
    let whether = |is: bool| f64::from(u8::from(is));
    page.set("payoutd_job_paused", &labels, whether(job.paused_at.is_some()));
    page.set("payoutd_job_running", &labels, whether(job.running_since.is_some()));
    page.set("payoutd_job_definition_drift", &labels, whether(job.definitions > 1));
    let running = job.running_since.map_or(0.0, |since| age(since, now));
    page.set("payoutd_job_running_seconds", &labels, running);
    if let Some(at) = job.started_at {
        page.set("payoutd_job_last_run_timestamp_seconds", &labels, seconds(at));
    }
    if let Some(at) = job.succeeded_at {
        page.set("payoutd_job_last_success_timestamp_seconds", &labels, seconds(at));
    }
}

/// Payouts that are not over.
fn show_payouts(page: &mut Page, open: &[OpenPayouts], now: DateTime<Utc>) {
    let waiting = [PayoutStatus::Pending, PayoutStatus::Approved];
    for kind in MethodKind::ALL {
        for status in [PayoutStatus::Pending, PayoutStatus::Approved, PayoutStatus::Processing] {
            let found = open.iter().find(|row| row.method_kind == *kind && row.status == status);
            let labels = [("provider", kind.as_str()), ("state", status.as_str())];
            let count = found.map_or(0, |row| row.payouts);
            page.set("payoutd_payouts_pending", &labels, count_of(count));
        }
        let waits = |row: &&OpenPayouts| row.method_kind == *kind && waiting.contains(&row.status);
        let oldest = open.iter().filter(waits).map(|row| row.oldest_at).min();
        let labels = [("provider", kind.as_str())];
        let oldest = oldest.map_or(0.0, |at| age(at, now));
        page.set("payoutd_payout_oldest_pending_age_seconds", &labels, oldest);
    }
}

fn age(since: DateTime<Utc>, now: DateTime<Utc>) -> f64 {
    (now - since).as_seconds_f64().max(0.0)
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_millis() as f64 / 1000.0
}

fn count_of(count: i64) -> f64 {
    count as f64
}
