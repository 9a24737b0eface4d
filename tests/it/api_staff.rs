//! Staff over HTTP: programs, affiliates, commissions, jobs, runs and breaks.

use chrono::TimeDelta;
use payoutd::jobs::Catalog;
use payoutd::store::RunRow;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Answer, Api, Harness, answer, program};

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
}

fn shop() -> Value {
    json!({
        "program": "shop", "title": "The shop", "holdDays": 3, "autoPayout": true,
        "currencies": [{ "currency": "EUR", "minPayout": 5.50 },
                       { "currency": "JPY", "minPayout": 500, "approvalAbove": 100_000 }],
    })
}

fn zoe() -> Value {
    json!({
        "affiliateId": "zoe-1", "program": "shop", "partnerId": "partner-zoe", "name": "Zoë",
        "email": "zoe@example.com", "code": "ZOE",
    })
}

fn sale(id: &str, amount: &str) -> Value {
    let amount: serde_json::Number = amount.parse().expect("a number");
    json!({
        "commissionId": id, "affiliateId": "zoe-1", "orderId": format!("order {id}"),
        "orderAmount": 99.90, "amount": amount, "currency": "EUR",
        "convertedAt": "2026-03-01T10:00:00+02:00",
    })
}

async fn audited(h: &Harness, action: &str) -> i64 {
    h.count(&format!("audit_log WHERE actor = 'staff:sam' AND action = '{action}'")).await
}

async fn act(api: &Api, token: &str, path: &str) -> Answer {
    answer(api.request(token, "POST", path)).await
}

async fn runs_of(h: &Harness, job: &str) -> Vec<RunRow> {
    h.store.runs_history(job, "", 100).await.expect("runs")
}

on_both! {
    async fn a_program_is_made_once_and_its_first_currency_comes_first(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        let made = api.post(&staff, "/affiliate/programs", shop()).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(made.json()["currencies"][0]["minPayout"].to_string(), "5.50");
        assert_eq!(made.json()["currencies"][1]["approvalAbove"].to_string(), "100000");
        assert_eq!((&made.json()["status"], &made.json()["autoCredit"]), (&json!("active"), &json!(true)));
        assert_eq!(api.post(&staff, "/affiliate/programs", shop()).await.status, 200);
        let mut other = shop();
        other["holdDays"] = json!(4);
        refused(&api.post(&staff, "/affiliate/programs", other).await, 409, "other_content");
        assert_eq!(audited(h, "program.created").await, 1);
        for (field, value, code) in [
            ("holdDays", json!(-1), "days_unusable"),
            ("title", json!(""), "text_unusable"),
            ("currencies", json!([]), "bad_count"),
            ("currencies", json!([{ "currency": "JPY", "minPayout": 0.5 }]), "amount_unusable"),
            ("currencies", json!([{ "currency": "USD", "minPayout": 1 }, { "currency": "USD", "minPayout": 2 }]), "currency_twice"),
        ] {
            let mut wrong = shop();
            wrong["program"] = json!("wrong");
            wrong[field] = value;
            refused(&api.post(&staff, "/affiliate/programs", wrong).await, 422, code);
        }
        let list = api.get(&staff, "/affiliate/programs").await.ok();
        assert_eq!((list["data"].as_array().expect("rows").len(), &list["data"][0]["program"]), (1, &json!("shop")));
        refused(&api.get(&staff, "/affiliate/programs/none").await, 404, "no_program");
    }

    async fn a_paused_program_pays_nobody_and_says_so(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        h.enrol(program("creator"), &["ana"]).await;
        h.earn("ana", "o", &[2_000]).await;
        let path = "/affiliate/programs/creator";
        let paused = api.call(&staff, "PATCH", path, json!({ "status": "paused" })).await.ok();
        assert_eq!(paused["status"], "paused");
        let body = json!({"amount": 15, "currency": "USD", "source": {"type": "affiliate", "affiliateId": "ana"}});
        refused(&api.post(&h.partner("ana"), "/finance/payouts/request", body.clone()).await, 409, "program_not_active");
        let terms = json!({ "status": "active", "currencies": [{ "currency": "USD", "minPayout": 12 }, { "currency": "EUR", "minPayout": 7 }] });
        let back = api.call(&staff, "PATCH", path, terms).await.ok();
        assert_eq!(back["currencies"][0]["minPayout"].to_string(), "12.00");
        assert_eq!(back["currencies"][1]["currency"], "EUR");
        assert_eq!(api.call(&staff, "PATCH", path, json!({})).await.status, 200);
        assert_eq!(audited(h, "program.changed").await, 2);
        assert_eq!(api.post(&h.partner("ana"), "/finance/payouts/request", body).await.status, 201);
        // An import of what it was made from finds its own currency among the two.
        let mut as_made = program("creator");
        as_made.min_payout = crate::harness::usd(1_200);
        let verdicts = h.engine.enrol_programs(&h.work(), &h.org, &[as_made]).await.expect("verdicts");
        assert_eq!(verdicts, [payoutd::engine::Verdict::Unchanged]);
        h.settle_all().await;
    }

    async fn affiliates_are_enrolled_once_listed_and_suspended(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        refused(&api.post(&staff, "/affiliate/affiliates", zoe()).await, 422, "no_program");
        api.post(&staff, "/affiliate/programs", shop()).await.ok();
        assert_eq!(api.post(&staff, "/affiliate/affiliates", zoe()).await.status, 201);
        assert_eq!(api.post(&staff, "/affiliate/affiliates", zoe()).await.status, 200);
        let mut thief = zoe();
        thief["partnerId"] = json!("partner-thief");
        refused(&api.post(&staff, "/affiliate/affiliates", thief).await, 409, "other_content");
        let mut house = zoe();
        house["affiliateId"] = json!("payoutd:house");
        refused(&api.post(&staff, "/affiliate/affiliates", house).await, 409, "other_content");
        let path = "/affiliate/affiliates/zoe-1";
        let body = json!({ "partnerId": "partner-thief" });
        refused(&api.call(&staff, "PATCH", path, body).await, 400, "body_unreadable");
        let changed = api.call(&staff, "PATCH", path, json!({ "status": "suspended", "name": "Zoe" })).await.ok();
        assert_eq!((&changed["status"], &changed["name"]), (&json!("suspended"), &json!("Zoe")));
        let list = async |query: &str| api.get(&staff, &format!("/affiliate/affiliates?{query}")).await.ok()["data"].as_array().expect("rows").len();
        assert_eq!((list("status=suspended").await, list("status=active").await), (1, 0));
        assert_eq!((list("program=shop&partnerId=partner-zoe").await, list("program=creator").await), (1, 0));
        refused(&api.call(&staff, "PATCH", "/affiliate/affiliates/none", json!({})).await, 404, "no_affiliate");
        assert_eq!((audited(h, "affiliate.created").await, audited(h, "affiliate.changed").await), (1, 1));
        let rows: Vec<(String,)> = h.database.rows("SELECT detail FROM audit_log").await;
        assert!(rows.iter().all(|(detail,)| !detail.contains("zoe@example.com")), "{rows:?}");
    }

    async fn commissions_come_in_once_each_with_its_own_verdict(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        api.post(&staff, "/affiliate/programs", shop()).await.ok();
        api.post(&staff, "/affiliate/affiliates", zoe()).await.ok();
        let one = api.post(&staff, "/affiliate/commissions", sale("c1", "12.30")).await;
        assert_eq!(one.status, 201, "{one:?}");
        assert_eq!((&one.json()["status"], &one.json()["holdUntil"]), (&json!("commission_held"), &json!("2026-03-04T08:00:00Z")));
        assert_eq!(api.post(&staff, "/affiliate/commissions", sale("c1", "12.3")).await.status, 200);
        refused(&api.post(&staff, "/affiliate/commissions", sale("c1", "12.31")).await, 409, "other_content");
        refused(&api.post(&staff, "/affiliate/commissions", sale("c0", "0.001")).await, 422, "commission_refused");
        let mut rows = vec![sale("c1", "12.30"), sale("c2", "0.1"), sale("c3", "0.2"), sale("c4", "0.30000000000000004"), sale("c5", "-1"), sale("c2", "0.1"), sale("c6", "1")];
        rows[6]["affiliateId"] = json!("nobody");
        let body = json!({ "commissions": rows });
        let taken = api.post(&staff, "/affiliate/commissions/bulk", body.clone()).await.ok();
        assert_eq!((&taken["created"], &taken["unchanged"], &taken["refused"]), (&json!(2), &json!(2), &json!(3)));
        let results: Vec<_> = taken["results"].as_array().expect("rows").iter().map(|r| (r["result"].as_str().expect("a word"), r["field"].as_str())).collect();
        assert_eq!(results, [("unchanged", None), ("created", None), ("created", None), ("refused", Some("amount")),
            ("refused", Some("amount")), ("unchanged", None), ("refused", Some("affiliateId"))]);
        let again = api.post(&staff, "/affiliate/commissions/bulk", body).await.ok();
        assert_eq!((&again["created"], &again["unchanged"]), (&json!(0), &json!(4)));
        let held: Vec<(i64,)> = h.database.rows("SELECT held_minor FROM wallets").await;
        assert_eq!(held, [(1_260,)], "12.30 and 0.1 + 0.2");
        let all = api.get(&staff, "/affiliate/commissions?limit=2").await.ok();
        assert_eq!(all["data"][1]["commissionId"], "c2");
        let cursor = all["nextCursor"].as_str().expect("a cursor");
        let rest = api.get(&staff, &format!("/affiliate/commissions?cursor={cursor}")).await.ok();
        assert_eq!((rest["data"][0]["commissionId"].clone(), rest["nextCursor"].is_null()), (json!("c3"), true));
        let of = api.get(&staff, "/affiliate/commissions?affiliateId=zoe-1").await.ok();
        assert_eq!(of["data"].as_array().expect("rows").len(), 3);
        let many: Vec<_> = (0..1_001).map(|i| sale(&format!("m{i}"), "1")).collect();
        refused(&api.post(&staff, "/affiliate/commissions/bulk", json!({ "commissions": many })).await, 422, "bad_count");
        let thousand: Vec<_> = (0..1_000).map(|i| sale(&format!("m{i}"), "1")).collect();
        let taken = api.post(&staff, "/affiliate/commissions/bulk", json!({ "commissions": thousand })).await.ok();
        assert_eq!(taken["created"], 1_000);
        assert_eq!(audited(h, "commission.accrued").await, 3);
    }

    async fn a_dry_run_says_who_would_be_paid_and_writes_nothing(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        h.enrol(program("creator"), &["ana", "ben", "cem"]).await;
        for (name, amount) in [("ana", 1_500), ("ben", 999), ("cem", 2_000)] {
            h.earn(name, name, &[amount]).await;
        }
        let path = "/jobs/auto-payout/dry-run";
        let run = act(&api, &staff, path).await.ok();
        assert_eq!(run["period"], "2026-W10");
        assert_eq!((&run["wouldPay"]["count"], run["wouldPay"]["amounts"][0]["amount"].to_string()), (&json!(2), "35.00".into()));
        assert_eq!((&run["wouldSkip"][0]["reason"], &run["wouldSkip"][0]["count"]), (&json!("below_minimum"), &json!(1)));
        assert_eq!(run["data"][1]["failing"][0]["gate"], "below_minimum");
        let first = act(&api, &staff, &format!("{path}?limit=2")).await.ok();
        let cursor = first["nextCursor"].as_str().expect("a cursor");
        let rest = act(&api, &staff, &format!("{path}?limit=2&cursor={cursor}")).await.ok();
        assert_eq!((&rest["data"][0]["affiliateId"], &rest["wouldPay"]["count"]), (&json!("cem"), &json!(2)));
        for table in ["payouts", "decisions", "job_runs"] {
            assert_eq!(h.count(table).await, 0, "{table}");
        }
        refused(&act(&api, &staff, "/jobs/prune/dry-run").await, 409, "no_dry_run");
        // What it said is what the run does.
        assert_eq!(h.tally("auto-payout").await.acted, 2);
        h.settle_all().await;
    }

    async fn a_job_that_is_asked_for_waits_for_a_worker_and_its_decisions_are_read_in_pages(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        h.enrol(program("creator"), &["ana", "ben"]).await;
        h.earn("ana", "a", &[1_500]).await;
        h.earn("ben", "b", &[10]).await;
        let queued = act(&api, &staff, "/jobs/auto-payout/run").await;
        assert_eq!((queued.status, queued.json()["state"].clone()), (202, json!("queued")));
        let run = queued.json()["runId"].as_str().expect("an id").to_owned();
        refused(&act(&api, &staff, "/jobs/auto-payout/run").await, 409, "under_way");
        let (runner, stop) = (h.runner(), CancellationToken::new());
        for queued in runner.queued().await.expect("runs") {
            runner.run_queued(&queued, &stop).await.expect("a run");
        }
        let shown = api.get(&staff, &format!("/runs/{run}")).await.ok();
        assert_eq!((&shown["state"], &shown["requestedBy"], &shown["trigger"]), (&json!("succeeded"), &json!("staff:sam"), &json!("manual")));
        assert_eq!((&shown["outcome"]["acted"], shown["outcome"]["amounts"][0]["amount"].to_string()), (&json!(1), "15.00".into()));
        assert_eq!(shown["outcome"]["skippedByReason"][0]["reason"], "below_minimum");
        let page = api.get(&staff, &format!("/runs/{run}/decisions?limit=1")).await.ok();
        assert_eq!(page["data"][0]["affiliateId"], "ana");
        assert!(page["data"][0]["payoutId"].is_string());
        let cursor = page["nextCursor"].as_str().expect("a cursor");
        let rest = api.get(&staff, &format!("/runs/{run}/decisions?cursor={cursor}")).await.ok();
        assert_eq!((&rest["data"][0]["affiliateId"], &rest["data"][0]["failing"][0]["wants"]), (&json!("ben"), &json!("at least 10.00 USD")));
        let skipped = api.get(&staff, &format!("/runs/{run}/decisions?gate=below_minimum")).await.ok();
        assert_eq!(skipped["data"].as_array().expect("rows").len(), 1);
        let log = api.get(&staff, &format!("/runs/{run}/log")).await.ok();
        let text = log.to_string();
        assert!(text.contains("queued by staff:sam") && text.contains("skipped: below_minimum: 1"), "{text}");
        let list = api.get(&staff, "/runs?jobId=auto-payout").await.ok();
        assert_eq!(list["data"][0]["runId"], json!(run));
        refused(&api.get(&staff, "/runs/run_none").await, 404, "no_run");
        let explained = api.get(&staff, "/affiliate/ben/explain").await.ok();
        assert_eq!((&explained["wallets"][0]["wouldBePaid"], &explained["job"]["jobId"]), (&json!(false), &json!("auto-payout")));
        assert_eq!(explained["decisions"][0]["runId"], json!(run));
        refused(&api.get(&staff, "/affiliate/nobody/explain").await, 404, "no_affiliate");
        h.settle_all().await;
    }

    async fn a_paused_job_is_skipped_by_every_replica_with_its_reason_until_it_is_resumed(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        h.enrol(program("creator"), &["ana"]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let job = "kind = \"audit_ledger\"\nenabled = true\nschedule = \"0 * * * * *\"\n";
        std::fs::write(folder.path().join("audit-ledger.toml"), job).expect("written");
        let catalog = Catalog::load(Some(folder.path())).expect("a catalog");
        let (one, other) = (h.runner_of(h.engine.clone(), catalog.clone()), h.runner_of(h.engine.clone(), catalog));
        one.tick().await.expect("a look");
        h.clock.advance(TimeDelta::minutes(1));
        one.tick().await.expect("a look");
        let queued = one.queued().await.expect("runs");
        let pause = json!({ "reason": "the bank is closed" });
        assert_eq!(api.post(&staff, "/jobs/audit-ledger/pause", pause.clone()).await.status, 204);
        refused(&api.post(&staff, "/jobs/audit-ledger/pause", pause).await, 409, "already_paused");
        // It was queued before the pause.
        other.run_queued(&queued[0], &CancellationToken::new()).await.expect("a look");
        h.clock.advance(TimeDelta::minutes(1));
        other.tick().await.expect("a look");
        let runs = runs_of(h, "audit-ledger").await;
        assert_eq!(runs.len(), 2);
        for run in &runs {
            let reason = run.reason.as_deref().unwrap_or_default();
            assert_eq!((run.state.as_str(), reason), ("skipped", "paused by staff:sam: the bank is closed"));
        }
        let shown = api.get(&staff, "/jobs/audit-ledger").await.ok();
        assert_eq!((&shown["paused"]["reason"], shown["nextRunAt"].is_null()), (&json!("the bank is closed"), true));
        // A person may still run it.
        assert_eq!(h.job("audit-ledger").await.state, "succeeded");
        assert_eq!(act(&api, &staff, "/jobs/audit-ledger/resume").await.status, 204);
        refused(&act(&api, &staff, "/jobs/audit-ledger/resume").await, 409, "not_paused");
        h.clock.advance(TimeDelta::minutes(1));
        one.tick().await.expect("a look");
        assert_eq!(runs_of(h, "audit-ledger").await[0].state, "queued");
        assert_eq!((audited(h, "job.paused").await, audited(h, "job.resumed").await), (1, 1));
    }

    async fn the_staff_of_one_of_several_orgs_look_at_jobs_and_do_not_touch_them(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        h.enrol(program("creator"), &["ana"]).await;
        let run = h.job("auto-payout").await.run_id;
        let other = "other".parse().expect("an id");
        h.engine.enrol_programs(&h.work(), &other, &[program("creator")]).await.expect("enrolled");
        for path in ["/jobs/auto-payout/run", "/jobs/auto-payout/resume"] {
            refused(&act(&api, &staff, path).await, 403, "shared_job");
        }
        refused(&api.post(&staff, "/jobs/auto-payout/pause", json!({ "reason": "x" })).await, 403, "shared_job");
        assert_eq!(h.count("job_pauses").await, 0);
        let shown = api.get(&staff, &format!("/runs/{run}")).await.ok();
        assert!(shown["outcome"].is_null(), "{shown}");
        assert_eq!(api.get(&staff, "/jobs").await.ok()["data"].as_array().expect("jobs").len(), 6);
    }

    async fn instants_are_listed_in_utc_and_in_the_jobs_own_zone(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        let instants = api.get(&staff, "/jobs/auto-payout/next?n=3").await.ok();
        assert_eq!(instants.as_array().expect("instants").len(), 3);
        assert!(instants[0]["utc"].as_str().expect("an instant") > "2026-03-02T09:00:00Z");
        refused(&api.get(&staff, "/jobs/auto-payout/next?n=0").await, 400, "bad_limit");
        refused(&api.get(&staff, "/jobs/none/next").await, 404, "no_job");
    }

    async fn breaks_are_listed_and_closed_with_a_note(h: &Harness) {
        let (api, staff) = (Api::open(h).await, h.staff());
        h.enrol(program("creator"), &["ana"]).await;
        h.change(
            "INSERT INTO breaks (org_id, break_id, kind, method_kind, subject, currency, ours_minor,
                                 source, reason, found_at)
             SELECT 'acme', 'br_1', 'unknown_here', 'paypal', 'REF', 'USD', 1250, 'sheet', 'look', created_at
             FROM orgs",
        ).await;
        let list = api.get(&staff, "/reconcile/breaks").await.ok();
        assert_eq!(list["data"][0]["ours"].to_string(), "12.50");
        let close = async || api.post(&staff, "/reconcile/breaks/br_1/close", json!({ "note": "paid by hand" })).await;
        assert_eq!(close().await.status, 204);
        refused(&close().await, 404, "no_break");
        assert_eq!(api.get(&staff, "/reconcile/breaks").await.ok()["data"], json!([]));
        assert_eq!(api.get(&staff, "/reconcile/breaks?all=true").await.ok()["data"][0]["closedBy"], "staff:sam");
        assert_eq!(audited(h, "break.closed").await, 1);
    }

    async fn a_process_is_ready_while_its_database_answers_and_may_serve_no_api(h: &Harness) {
        let api = Api::open(h).await;
        assert_eq!(answer(api.bare("GET", "/readyz")).await.status, 200);
        let mut desk = h.desk(h.engine.clone(), crate::harness::LIMITS);
        desk.serves_api = false;
        let jobs_only = Api::of(desk).await;
        assert_eq!(answer(jobs_only.bare("GET", "/readyz")).await.status, 200);
        for path in ["/jobs", "/openapi.json", "/docs/"] {
            refused(&jobs_only.get(&h.staff(), path).await, 404, "no_such_path");
        }
        let webhook = answer(jobs_only.bare("POST", "/webhooks/paypal/acme").body("{}")).await;
        assert_ne!(webhook.code(), "no_such_path");
        let gone = payoutd::store::Store::open(&h.database.url, 1).await.expect("a database");
        let engine = payoutd::engine::Engine::new(gone.clone(), h.clock.clone(), Vec::new(), Default::default());
        let closed = Api::with(h, engine, crate::harness::LIMITS).await;
        gone.close().await;
        refused(&answer(closed.bare("GET", "/readyz")).await, 503, "not_ready");
        assert_eq!(answer(closed.bare("GET", "/livez")).await.status, 200);
    }
}
