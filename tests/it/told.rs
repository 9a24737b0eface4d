//! Operators are told: how runs ended, what waits for them, what is short; by webhook, by mail, and
//! by signs of life.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::TimeDelta;
use payoutd::domain::{Actor, MethodKind, ProgramId, Wants};
use payoutd::engine::{EngineSettings, Reach};
use payoutd::jobs::{Catalog, Runner};
use payoutd::notify::{By, NewEndpoint, Notifier, NotifyError, Pings, Revealed};
use payoutd::providers::Funds;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, Paper, Postbox, Receiver, affiliate, banked, program, usd};

async fn add(
    notifier: &Notifier,
    h: &Harness,
    url: &str,
    wants: &str,
) -> Result<Revealed, NotifyError> {
    let wants: Wants = wants.parse().expect("kinds of events");
    let new = NewEndpoint { url: url.to_owned(), description: "a test".into(), wants };
    let by = By { actor: Actor::operator("ana"), request_id: None };
    notifier.add(&by, &h.org, &new).await
}

/// Events of some kinds, from now on.
async fn hear(h: &Harness, wants: &str) -> Receiver {
    let receiver = Receiver::open().await;
    add(&h.notifier(), h, &receiver.url, wants).await.expect("an endpoint");
    receiver
}

async fn told(h: &Harness, receiver: &Receiver) -> Vec<Value> {
    h.notifier().deliver_due().await.expect("a round");
    receiver.told()
}

/// A runner of one job, with signs of life to `url`.
fn watched(h: &Harness, kind: &str, url: &str) -> Runner {
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!("kind = \"{kind}\"\nenabled = true\nschedule = \"0 0 * * * *\"\n");
    std::fs::write(dir.path().join("watched.toml"), text).expect("written");
    let catalog = Catalog::load(Some(dir.path())).expect("a job");
    let pings = Pings::new([("watched".to_owned(), url.to_owned().into())].into());
    h.runner_of(h.engine.clone(), catalog).with_pings(pings.expect("a client"))
}

async fn run(runner: &Runner) -> String {
    let (actor, stop) = (Actor::operator("ana"), CancellationToken::new());
    let run = runner.run_now("watched", &actor, Reach::Due, &stop).await;
    run.expect("a run that took place").state
}

/// Lines and bodies of what a receiver heard.
fn signs(receiver: &Receiver) -> Vec<(String, String)> {
    receiver.heard().into_iter().map(|heard| (heard.line, heard.body)).collect()
}

on_both! {
    async fn a_run_is_told_to_each_org_with_its_own_numbers(h: &Harness) {
        h.enrol(program("p"), &["a", "b", "c"]).await;
        h.earn("a", "o-1", &[5_000]).await;
        h.earn("b", "o-2", &[7_000]).await;
        let other = "other".parse().expect("an id");
        let enrolled = h.engine.enrol_programs(&h.work(), &other, &[program("q")]).await;
        enrolled.expect("another org");
        let (receiver, elsewhere) = (hear(h, "run.*").await, Receiver::open().await);
        let new = NewEndpoint {
            url: elsewhere.url.clone(), description: String::new(), wants: Wants::all(),
        };
        let by = By { actor: Actor::operator("ana"), request_id: None };
        h.notifier().add(&by, &other, &new).await.expect("an endpoint of the other org");
        h.job("release-holds").await;
        h.job("auto-payout").await;
        h.job("audit-ledger").await;
        let mut told = told(h, &receiver).await;
        told.sort_by_key(|event| event["data"]["jobId"].to_string());
        let [paid] = told.as_slice() else { panic!("what did nothing is not told: {told:#?}") };
        assert_eq!(paid["type"], "run.finished");
        let data = &paid["data"];
        assert_eq!((&data["jobId"], &data["state"]), (&json!("auto-payout"), &json!("succeeded")));
        assert_eq!(data["counts"]["acted"], 2, "{data}");
        assert_eq!(data["amounts"][0]["amount"].to_string(), "120.00");
        let theirs = elsewhere.told();
        assert_eq!(theirs.len(), 1, "{theirs:#?}");
        assert_eq!(theirs[0]["data"]["counts"]["seen"], 0, "nothing of ours: {theirs:#?}");
        assert_eq!(theirs[0]["data"]["amounts"], json!([]));
        let runs: Vec<(Option<String>,)> = h.database.rows(
            "SELECT trace_id FROM job_runs WHERE job_id = 'auto-payout'").await;
        assert_eq!(runs[0].0.as_deref().map(str::len), Some(32), "a run leads to its trace");
    }

    async fn a_run_that_fails_is_told_once_and_for_good(h: &Harness) {
        h.enrol(program("p"), &["a"]).await;
        h.earn("a", "o-1", &[5_000]).await;
        let receiver = hear(h, "run.*").await;
        h.ledger_is_broken();
        let broken = "UPDATE wallets SET available_minor = available_minor + 1";
        assert_eq!(h.database.execute(broken).await.expect("a breach"), 1);
        h.job("audit-ledger").await;
        let told = told(h, &receiver).await;
        let [failed] = told.as_slice() else { panic!("one event: {told:#?}") };
        assert_eq!(failed["type"], "run.failed");
        assert_eq!(failed["data"]["state"], "failed");
    }

    async fn a_payout_that_waits_for_a_person_says_so(h: &Harness) {
        h.enrol(program("p"), &["a"]).await;
        h.earn("a", "o-1", &[5_000]).await;
        let (program, currency): (ProgramId, _) = ("p".parse().expect("an id"), usd(0).currency);
        let limit = (currency, Some(2_000));
        h.engine.approve_above(&h.work(), &h.org, &program, limit).await.expect("a limit");
        let receiver = hear(h, "payout.approval_needed").await;
        h.ask("a", 1_000).await.expect("a small payout");
        assert_eq!(told(h, &receiver).await.len(), 0);
        h.ask("a", 4_000).await.expect("a large payout");
        let told = told(h, &receiver).await;
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(told[0]["data"]["amount"].to_string(), "40.00");
    }

    async fn a_rail_without_money_is_told_once_until_it_has_some(h: &Harness) {
        h.enrol_program(program("p")).await;
        h.enrol_affiliates(&[banked(affiliate("a", "p"))]).await;
        h.earn("a", "o-1", &[5_000]).await;
        h.ask("a", 5_000).await.expect("a payout");
        let receiver = hear(h, "funding.*").await;
        let paper = Paper::new();
        let engine = h.engine_with(vec![std::sync::Arc::new(paper.clone())], EngineSettings::default());
        paper.told().funds = Funds::Known(usd(100));
        h.submit_with(&engine).await;
        h.submit_with(&engine).await;
        let told = told(h, &receiver).await;
        assert_eq!(told.len(), 1, "once, and not at each run: {told:#?}");
        assert_eq!(told[0]["data"]["provider"], MethodKind::Ach.as_str());
        assert_eq!(told[0]["data"]["waiting"]["amount"].to_string(), "50.00");
    }

    async fn each_run_shows_a_sign_of_life_when_it_begins_and_when_it_has_ended(h: &Harness) {
        let receiver = Receiver::open().await;
        assert_eq!(run(&watched(h, "audit_ledger", &receiver.url)).await, "succeeded");
        let signs_of_it = signs(&receiver);
        let lines: Vec<_> = signs_of_it.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(lines, ["POST /hook/start HTTP/1.1", "POST /hook HTTP/1.1"]);
        assert!(signs_of_it[1].1.contains("succeeded after"), "{signs_of_it:?}");

        h.ledger_is_broken();
        h.enrol(program("p"), &["a"]).await;
        h.earn("a", "o-1", &[5_000]).await;
        let broken = "UPDATE wallets SET available_minor = available_minor + 1";
        assert_eq!(h.database.execute(broken).await.expect("a breach"), 1);
        assert_eq!(run(&watched(h, "audit_ledger", &receiver.url)).await, "failed");
        let lines: Vec<_> = signs(&receiver).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, ["POST /hook/start HTTP/1.1", "POST /hook/fail HTTP/1.1"]);
    }

    async fn a_sign_that_does_not_arrive_changes_nothing(h: &Harness) {
        let receiver = Receiver::open().await;
        receiver.always("500");
        assert_eq!(run(&watched(h, "prune", &receiver.url)).await, "succeeded");
        assert_eq!(run(&watched(h, "prune", "http://127.0.0.1:9/none")).await, "succeeded");
        assert_eq!(run(&watched(h, "prune", "no address")).await, "succeeded");
    }

    async fn a_paused_job_shows_that_it_is_there(h: &Harness) {
        let receiver = Receiver::open().await;
        let runner = watched(h, "prune", &receiver.url);
        runner.tick().await.expect("a look");
        runner.pause(&h.work(), &h.org, ("watched", "holidays")).await.expect("a pause");
        h.clock.advance(TimeDelta::hours(1));
        runner.tick().await.expect("a look");
        runner.flush().await;
        let signs = signs(&receiver);
        assert_eq!(signs.len(), 1, "{signs:?}");
        assert!(signs[0].0.starts_with("POST /hook HTTP") && signs[0].1.contains("holidays"), "{signs:?}");
    }

    async fn mail_is_delivered_by_the_courier_and_tried_again(h: &Harness) {
        let postbox = Postbox::open().await;
        let smtp = json!({
            "host": "127.0.0.1", "port": postbox.port, "tls": "none", "username": "ana",
            "password": "open sesame", "from": "payoutd@example.com",
        });
        let notifier = h.notifier_with(json!({ "smtp": smtp }));
        let refused = add(&h.notifier(), h, "mailto:ops@example.com", "run.*").await;
        assert!(refused.err().is_some_and(|error| error.to_string().contains("[notify.smtp]")));
        let two = add(&notifier, h, "mailto:ops@example.com?bcc=x@example.com", "run.*").await;
        assert_eq!(two.err().map(|error| error.code()), Some("address_refused"));
        add(&notifier, h, "mailto:ops@example.com", "run.*").await.expect("an endpoint");

        h.enrol(program("p"), &["a"]).await;
        h.earn("a", "o-1", &[5_000]).await;
        h.job("auto-payout").await;
        postbox.refuses("451 come again");
        assert_eq!(notifier.deliver_due().await.expect("a round"), 1);
        assert_eq!(postbox.mails().len(), 0);
        assert_eq!(notifier.deliver_due().await.expect("a round"), 0, "not at once");
        h.clock.advance(TimeDelta::seconds(10));
        assert_eq!(notifier.deliver_due().await.expect("a round"), 1);
        let mails = postbox.mails();
        let [mail] = mails.as_slice() else { panic!("one mail: {mails:?}") };
        assert_eq!((mail.from.as_str(), mail.to.concat()), ("payoutd@example.com", "ops@example.com".into()));
        let subject = "[payoutd acme] auto-payout succeeded: 1 of 1, 50.00 USD";
        assert_eq!(mail.header("Subject"), subject);
        assert!(mail.header("Content-Type").starts_with("text/plain"), "{}", mail.text);
        assert!(mail.header("Message-ID").ends_with("@payoutd>"), "{}", mail.text);
        let signed_in = BASE64_STANDARD.encode("\0ana\0open sesame");
        assert_eq!(mail.signed_in.as_deref(), Some(signed_in.as_str()));
        h.clock.advance(TimeDelta::days(1));
        assert_eq!(notifier.deliver_due().await.expect("a round"), 0, "it has arrived");
    }
}
