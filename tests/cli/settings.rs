//! Settings, schedules and the doctor: what is wrong is named before anything is done.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::place::Place;
use crate::rail::Rail;

on_both!(
    the_doctor_says_what_to_mend_and_ends_with_1_if_something_fails,
    tables_are_made_only_when_asked_if_the_settings_say_so,
);

#[test]
fn an_unknown_setting_is_named_with_the_nearest_one_wherever_it_stands() {
    let mut place = Place::bare();
    place.write("mine.toml", "[providers.paypal]\nbatch_sise = 3\n");
    place.run(&["--config", "mine.toml", "check"]).code(2).says(&[
        "unknown setting providers.paypal.batch_sise in mine.toml",
        "did you mean providers.paypal.batch_size?",
    ]);
    place.run(&["--set", "engine.leese_ms=1", "check"]).code(2).says(&["engine.lease_ms"]);
    place.run(&["--set", "engine.lease_ms", "check"]).code(2).says(&["section.key=value"]);
    place.run(&["--config", "nowhere.toml", "check"]).code(2).says(&["nowhere.toml"]);
    place.set("JOBS__DRAIN", 1);
    place.run(&["check"]).code(2).says(&[
        "jobs.drain in",
        "PAYOUTD__JOBS__DRAIN",
        "jobs.drain_ms?",
    ]);
    assert!(!place.path("payoutd.db").exists(), "nothing was to be touched");
}

#[test]
fn a_rail_of_files_that_no_bank_would_take_is_a_wrong_configuration() {
    let mut place = Place::on_sqlite();
    for folder in ["OUTBOX", "INBOX", "ARCHIVE"] {
        place.set(&format!("PROVIDERS__WIRE__{folder}"), folder.to_lowercase());
    }
    place.run(&["job", "list"]).code(2).says(&["[providers.wire] cannot be used", "debtor"]);
    for (key, value) in
        [("NAME", "Acme"), ("ACCOUNT", "1"), ("ROUTING", "999999992"), ("CITY", "X")]
    {
        place.set(&format!("PROVIDERS__WIRE__DEBTOR_{key}"), value);
    }
    place.run(&["job", "list"]).code(0);
    place.set("PROVIDERS__WIRE__INBOX", "outbox");
    place.run(&["job", "list"]).code(2).says(&["providers.wire.inbox", "same folder"]);
}

#[test]
fn a_value_that_does_not_fit_is_named_with_what_would() {
    let place = Place::bare();
    for (set, words) in [
        ("engine.calls_in_flight=0", "a whole number from 1 to 64"),
        ("engine.lease_ms=200", "at least three times engine.heartbeat_ms"),
        ("database.url=mysql://db/pay", "begins with sqlite: or postgres://"),
        ("log.format=yaml", "one of text, json"),
        ("providers.paypal.client_id=x", "since providers.paypal.client_id is set"),
    ] {
        place.run(&["--set", set, "config", "check"]).code(2).says(&[words]);
    }
    place.run(&["--database-url", "payoutd.db", "check"]).code(2).says(&["database.url"]);
    place.run(&["--log-level", "loud", "check"]).code(2).says(&["log.level"]);
    place.run(&["frobnicate"]).code(2);
    place.run(&[]).code(2);
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_defaults() {
    let mut place = Place::bare();
    place.write(
        "mine.toml",
        "[engine]\ncalls_in_flight = 5\nheartbeat_ms = 60\n[jobs]\ndrain_ms = 7",
    );
    place.set("ENGINE__CALLS_IN_FLIGHT", 6);
    place.set("ENGINE__HEARTBEAT_MS", 61);
    let flags = ["--config", "mine.toml", "--set", "engine.calls_in_flight=7", "config", "show"];
    let shown = place.json(&flags);
    let of = |key: &str| {
        let rows = shown.as_array().expect("a list");
        let row = rows.iter().find(|row| row["key"] == key).expect("a setting");
        format!(
            "{} {}",
            row["value"].as_str().expect("text"),
            row["origin"].as_str().expect("text")
        )
    };
    assert_eq!(of("engine.calls_in_flight"), "7 on the command line");
    assert_eq!(of("engine.heartbeat_ms"), "61 in the environment (PAYOUTD__ENGINE__HEARTBEAT_MS)");
    assert_eq!(of("jobs.drain_ms"), "7 in mine.toml");
    assert_eq!(of("engine.lease_ms"), "20000 in the defaults");
}

#[test]
fn secrets_are_printed_by_no_command_and_in_no_error() {
    let mut place = Place::bare();
    place.set("PROVIDERS__PAYPAL__CLIENT_ID", "an-id");
    place.set("PROVIDERS__PAYPAL__CLIENT_SECRET", "hunter2");
    place.set("PROVIDERS__PAYPAL__BASE_URL", "http://key:hunter2@127.0.0.1:1");
    let postgres = "postgres://pay:hunter2@127.0.0.1:1/pay";
    let parameter = "postgres://127.0.0.1:1/pay?user=pay&password=hunter2&connect_timeout=1";
    for arguments in [
        vec!["config", "show"],
        vec!["config", "show", "--json"],
        vec!["--database-url", postgres, "config", "show"],
        vec!["--database-url", parameter, "config", "show"],
        vec!["--database-url", "postgers://pay:hunter2@db/pay", "check"],
        vec!["--database-url", "postgres:pay:hunter2@db/pay", "check"],
        vec!["--set", "providers.paypal.client_secret:hunter2", "check"],
        vec!["--set", "providers.paypal.client_secrets=hunter2", "check"],
        vec!["--log-level", "trace", "doctor"],
    ] {
        let ran = place.run(&arguments);
        assert!(!ran.out.contains("hunter2"), "{arguments:?}: {}", ran.out);
        assert!(!ran.err.contains("hunter2"), "{arguments:?}: {}", ran.err);
    }
    place.write("secret.toml", "[providers.paypal]\nclient_secret = hunter2\n");
    let ran = place.run(&["--config", "secret.toml", "check"]).code(2);
    assert!(ran.err.contains("secret.toml is not valid TOML (line 2)"), "{}", ran.err);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let mut place = Place::bare();
    place.set("VAULT__MASTER_KEYS", "mk-test=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=");
    let url = "postgres://pay:hunter2@127.0.0.1:1/pay";
    let begun = Instant::now();
    let ran = place.run(&["--database-url", url, "check"]).code(1);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let ran = ran.says(&["postgres://pay:********@127.0.0.1:1/pay", "cannot be opened"]);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    place.write("folder/file", "");
    let url = format!("sqlite://{}", place.path("folder").display());
    place.run(&["--database-url", &url, "check"]).code(1).says(&["cannot be opened", "folder"]);
    place.write("not-a-database", "just words, and more than a header of them: ".repeat(50));
    let url = format!("sqlite://{}", place.path("not-a-database").display());
    place.run(&["--database-url", &url, "check"]).code(1).says(&["not a database"]);
}

#[test]
fn the_next_instants_of_a_job_are_told_in_utc_and_in_its_zone() {
    let place = Place::bare();
    let job = "kind = \"request_payouts\"\nenabled = true\nschedule = \"0 0 9 * * MON\"\n\
               timezone = \"America/New_York\"\n";
    place.write("jobs/auto-payout.toml", job);
    let from = ["--from", "2026-10-27T00:00:00Z"];
    let next = ["--set", "jobs.dir=jobs", "job", "next", "auto-payout", "-n", "3"];
    let next = place.json(&[&next[..], &from[..]].concat());
    let expected = serde_json::json!([
        {"utc": "2026-11-02T14:00:00Z", "local": "2026-11-02T09:00:00-05:00"},
        {"utc": "2026-11-09T14:00:00Z", "local": "2026-11-09T09:00:00-05:00"},
        {"utc": "2026-11-16T14:00:00Z", "local": "2026-11-16T09:00:00-05:00"},
    ]);
    assert_eq!(next, expected);
    // 02:30 does not exist on that Sunday: it runs when the gap is over.
    place.write("jobs/night.toml", job.replace("0 0 9 * * MON", "0 30 2 * * SUN"));
    let next = ["--set", "jobs.dir=jobs", "job", "next", "night", "-n", "1"];
    let next = place.json(&[&next[..], &["--from", "2026-03-07T00:00:00Z"]].concat());
    let gap = serde_json::json!([
        {"utc": "2026-03-08T07:00:00Z", "local": "2026-03-08T03:00:00-04:00"},
    ]);
    assert_eq!(next, gap);
    let shipped = place.json(&["job", "next", "auto-payout"]);
    assert_eq!(shipped.as_array().map(Vec::len), Some(5));
    place.run(&["job", "next", "auto-payuot"]).code(2).says(&["auto-payuot", "auto-payout"]);
    assert!(!place.path("payoutd.db").exists(), "a schedule needs no database");
}

#[test]
fn a_job_is_checked_before_it_is_deployed() {
    let place = Place::bare();
    let head = "kind = \"request_payouts\"\nenabled = false\ntimezone = \"America/New_York\"\n";
    let job = |keys: &str| place.write("new/payday.toml", format!("{head}{keys}"));
    job("schedule = \"30 2 * * *\"\n[calendar]\nday_of_month = 25\nholidays = [\"2099-12-25\"]");
    let validate = ["job", "validate", "new/payday.toml"];
    place.run(&validate).code(0);
    let checked = place.json(&validate);
    assert_eq!((&checked["ok"], &checked["job_id"]), (&true.into(), &"payday".into()));
    assert_eq!(checked["next"].as_array().map(Vec::len), Some(5));
    let words = checked["in_words"].as_str().expect("words");
    assert!(words.contains("day 25 of the month or the next business day"), "{words}");
    let warning = checked["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("02:30 in America/New_York"), "{warning}");
    let checked = place.json(&["--set", "jobs.dir=new", "config", "check"]);
    assert_eq!(checked["jobs"][0]["warnings"][0].as_str(), Some(warning));
    assert_eq!(checked["jobs"][0]["next"].as_array().map(Vec::len), Some(5));
    for (keys, words) in [
        (
            "schedule = \"15,45 2 * * *\"",
            "loses 02:15, 02:45 when the clocks of America/New_York go forward",
        ),
        ("schedule = \"@daily\"\ndst = \"run\"", "dst"),
        ("schedule = \"@daily\"\n[calendar]\nholiday = []", "holiday"),
        (
            "schedule = \"@weekly\"\n[calendar]\nnet_days = 30",
            "[calendar] net_days chooses the day",
        ),
        ("schedule = \"@daily\"\ntimeout_ms = 1800000", "timeout = \"30m\""),
    ] {
        job(keys);
        place.run(&validate).code(2).says(&["payday.toml", words]);
    }
    job("schedule = \"15,45 2 * * *\"\ndst = \"skip\"");
    place.run(&validate).code(0);
    place.run(&["job", "validate", "auto-payout"]).code(0);
    place.run(&["job", "validate", "auto-payuot"]).code(2).says(&["auto-payuot"]);
    place.run(&["job", "validate", "none.toml"]).code(2).says(&["none.toml cannot be read"]);
}

#[test]
fn the_check_of_the_settings_names_a_job_that_cannot_be_used() {
    let place = Place::bare();
    let checked = place.json(&["config", "check"]);
    assert_eq!(checked["ok"], true);
    assert_eq!(checked["jobs"].as_array().map(Vec::len), Some(6));
    assert!(!place.path("payoutd.db").exists(), "settings need no database");
    place.run(&["db", "migrate"]).code(0);
    let check = ["--set", "jobs.dir=jobs", "config", "check"];
    place.run(&check).code(2).says(&["jobs cannot be read"]);
    place.write("jobs/note.txt", "no job");
    place.run(&check).code(2).says(&["holds no .toml file"]);
    for (job, words) in [
        ("kind = \"prune\"\nenabled = true\nschedule = \"0 0 9 1 * MON\"", "both the day"),
        ("kind = \"prune\"\nenabled = true\nschedule = \"@daily\"\ntimezone = \"X/Y\"", "X/Y"),
        ("kind = \"prune\"\nenabled = true\nschedule = \"@daily\"\nsheduled = 1", "sheduled"),
        ("kind = \"sweep\"\nenabled = true\nschedule = \"@daily\"", "sweep"),
        ("this is no TOML", "prune.toml"),
    ] {
        place.write("jobs/prune.toml", job);
        place.run(&check).code(2).says(&["prune.toml", words]);
        let doctor = ["--set", "jobs.dir=jobs", "doctor", "--json"];
        let findings = place.run(&doctor).code(1).json();
        assert_eq!(finding(&findings, "jobs")["state"], "fail", "{findings}");
    }
}

fn the_doctor_says_what_to_mend_and_ends_with_1_if_something_fails(mut place: Place) {
    let findings = place.run(&["doctor", "--json"]).code(1).json();
    assert_eq!(findings["ok"], false, "it looks, and makes nothing: {findings}");
    place.run(&["db", "migrate"]).code(0);
    place.run(&["doctor", "--quick"]).code(0);
    let findings = place.json(&["doctor"]);
    assert_eq!(findings["ok"], true);
    assert_eq!(finding(&findings, "rails")["state"], "warn");
    assert_eq!(finding(&findings, "tables")["state"], "ok");
    let rail = Rail::start(&mut place);
    let findings = place.json(&["doctor"]);
    assert_eq!(finding(&findings, "paypal")["state"], "ok");
    rail.signal("TERM");
    rail.ended().code(0);
    let findings = place.run(&["doctor", "--json"]).code(1).json();
    assert_eq!(finding(&findings, "paypal")["state"], "fail");
    place.run(&["doctor", "--quick"]).code(0);
    place.write("folder/file", "");
    let url = format!("sqlite://{}", place.path("folder").display());
    for quick in [&["doctor"][..], &["doctor", "--quick"]] {
        let arguments = [&["--json", "--database-url", &url][..], quick].concat();
        let findings = place.run(&arguments).code(1).json();
        assert_eq!(finding(&findings, "database")["state"], "fail");
    }
}

fn tables_are_made_only_when_asked_if_the_settings_say_so(mut place: Place) {
    place.set("DATABASE__AUTO_MIGRATE", false);
    place.run(&["check"]).code(1);
    let migrated = place.json(&["db", "migrate"]);
    let carried = std::fs::read_dir("migrations/sqlite").expect("the migrations").count();
    assert_eq!(migrated["migrations"], carried);
    assert_eq!(place.json(&["db", "migrate"]), migrated, "again changes nothing");
    assert_eq!(finding(&place.json(&["doctor"]), "tables")["state"], "ok");
    place.run(&["check"]).code(0);
}

fn finding<'a>(findings: &'a Value, what: &str) -> &'a Value {
    let all = findings["findings"].as_array().expect("a list");
    all.iter().find(|f| f["what"] == what).unwrap_or_else(|| panic!("no {what}: {findings}"))
}
