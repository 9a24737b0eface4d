//! What is seen from outside: readiness, and how things stand for monitoring.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use payoutd::http::{Desk, Metrics};

use crate::harness::{Api, Harness, LIMITS, answer, program};

/// What `/metrics` says: samples and their values.
async fn numbers(api: &Api) -> BTreeMap<String, String> {
    let answer = answer(api.bare("GET", "/metrics")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = String::from_utf8(answer.bytes).expect("text");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.filter_map(|line| line.rsplit_once(' '));
    samples.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Whether `/readyz` says yes, and what it says.
async fn ready(api: &Api) -> (u16, String) {
    let answer = answer(api.bare("GET", "/readyz")).await;
    (answer.status, String::from_utf8_lossy(&answer.bytes).into_owned())
}

on_both! {
    async fn a_process_is_ready_while_it_looks_at_its_schedules_and_not_on_its_way_out(h: &Harness) {
        let desk = h.desk(h.engine.clone(), LIMITS);
        let pulse = desk.runner.pulse.clone();
        let runner = desk.runner.clone();
        let api = Api::of(desk).await;
        assert_eq!(ready(&api).await.0, 200, "one that only serves the API has no schedules");
        pulse.expect();
        assert_eq!(ready(&api).await.0, 503, "before the first look");
        runner.tick().await.expect("a look");
        assert_eq!(ready(&api).await, (200, "ok\n".to_owned()));
        h.clock.advance(TimeDelta::seconds(30));
        assert_eq!(ready(&api).await.0, 200);
        h.clock.advance(TimeDelta::seconds(1));
        let (status, words) = ready(&api).await;
        assert!(status == 503 && words.contains("30 seconds"), "{status} {words}");
        runner.tick().await.expect("a look");
        assert_eq!(ready(&api).await.0, 200);
        pulse.drain();
        let (status, words) = ready(&api).await;
        assert!(status == 503 && words.contains("on its way out"), "{status} {words}");
        assert_eq!(answer(api.bare("GET", "/livez")).await.status, 200, "it lives until it is gone");
    }

    async fn a_database_with_other_tables_is_not_ready(h: &Harness) {
        let api = Api::open(h).await;
        let gone = "DELETE FROM _sqlx_migrations WHERE version = 12";
        assert_eq!(h.database.execute(gone).await.expect("a migration less"), 1);
        let (status, words) = ready(&api).await;
        assert!(status == 503 && words.contains("db migrate"), "{status} {words}");
    }

    async fn every_replica_tells_the_same_of_jobs_and_payouts(h: &Harness) {
        h.enrol(program("p"), &["a", "b"]).await;
        h.earn("a", "o-1", &[5_000]).await;
        h.earn("b", "o-2", &[7_000]).await;
        h.job("release-holds").await;
        h.ask("a", 5_000).await.expect("a payout");
        h.clock.advance(TimeDelta::seconds(90));
        let (one, other) = (Api::open(h).await, Api::open(h).await);
        let numbers = numbers(&one).await;
        assert_eq!(numbers, self::numbers(&other).await);
        for (name, value) in [
            ("payoutd_database_up", "1"),
            ("payoutd_payouts_pending{provider=\"paypal\",state=\"pending\"}", "1"),
            ("payoutd_payout_oldest_pending_age_seconds{provider=\"paypal\"}", "90"),
            ("payoutd_payout_oldest_pending_age_seconds{provider=\"ach\"}", "0"),
            ("payoutd_job_paused{job_id=\"release-holds\"}", "0"),
            ("payoutd_job_enabled{job_id=\"auto-payout\"}", "0"),
            ("payoutd_job_last_success_timestamp_seconds{job_id=\"release-holds\"}", "1772442000"),
            ("payoutd_job_definition_drift{job_id=\"release-holds\"}", "0"),
        ] {
            assert_eq!(numbers.get(name).map(String::as_str), Some(value), "{name} in {numbers:#?}");
        }
        let never = "payoutd_job_last_success_timestamp_seconds{job_id=\"prune\"}";
        assert!(!numbers.contains_key(never), "a job that never ran has no last success");
    }

    async fn numbers_are_for_this_host_alone_unless_an_operator_says_otherwise(h: &Harness) {
        let api = Api::open(h).await;
        assert_eq!(answer(api.bare("GET", "/metrics")).await.status, 200);
        let passed_on = api.bare("GET", "/metrics").header("x-forwarded-for", "203.0.113.7");
        assert_eq!(answer(passed_on).await.status, 404, "through a proxy on this host");
        let with = |metrics| Desk { metrics, ..h.desk(h.engine.clone(), LIMITS) };
        let open = Api::of(with(Metrics::All)).await;
        let passed_on = open.bare("GET", "/metrics").header("x-forwarded-for", "203.0.113.7");
        assert_eq!(answer(passed_on).await.status, 200);
        let closed = Api::of(with(Metrics::Off)).await;
        assert_eq!(answer(closed.bare("GET", "/metrics")).await.status, 404);
    }
}
