//! The rules of the house, as tests over the text of `src/`: who may import whom, which crate
//! lives in which room, and how long a file may get. The rules are the two tables below.
//!
//! A room is a module at the top of `src/`. The checker reads text, no types: it blanks comments
//! and literals out, then looks for paths. Its own tests at the end feed it what it must catch.

#[path = "house/source.rs"]
mod source;

use source::Find::{self, Crate, OutsideTests, Word};
use source::{Breach, Source, line_of, places_of};

/// Each room and the rooms that it may name; `*` is all of them. A new room gets a line here.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("telemetry", &[]),
    ("formats", &["domain"]),
    ("clock", &["domain"]),
    ("vault", &["domain", "clock"]),
    ("store", &["domain", "clock", "vault"]),
    ("providers", &["domain", "formats"]),
    ("sandbox", &["domain", "clock", "formats"]),
    ("config", &["providers", "telemetry", "vault", "access", "notify", "http"]),
    ("engine", &["domain", "clock", "vault", "store", "providers"]),
    ("access", &["domain", "clock", "vault", "store"]),
    ("notify", &["domain", "clock", "vault", "store"]),
    ("import", &["domain", "clock", "engine", "store"]),
    ("jobs", &["domain", "telemetry", "clock", "engine", "store", "notify"]),
    ("http", &["domain", "clock", "engine", "store", "jobs", "access", "notify"]),
    ("cli", &["*"]),
    ("daemon", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

/// What may stand in few rooms only, and what to do elsewhere. A place is a room, or a file.
const WALLS: &[(Find, Place, &str)] = &[
    (Crate("sqlx"), Only(&["store"]), "give the store a function that answers your question"),
    (
        Crate("reqwest"),
        Only(&["providers", "access", "notify"]),
        "talk to rails through the Provider trait",
    ),
    (Crate("backoff"), Only(&["providers/retry.rs"]), "use providers::retry"),
    (Crate("axum"), Only(&["sandbox", "http"]), "HTTP is served by sandbox and http"),
    (Crate("hyper"), Only(&["sandbox", "http"]), "HTTP is served by sandbox and http"),
    (Crate("hyper_util"), Only(&["sandbox", "http"]), "HTTP is served by sandbox and http"),
    (Crate("tower"), Only(&["sandbox", "http"]), "HTTP is served by sandbox and http"),
    (Crate("tower_http"), Only(&["http"]), "HTTP is served by http"),
    (Crate("utoipa"), Only(&["http"]), "the API is described where it is served"),
    (Crate("jsonwebtoken"), Only(&["access"]), "callers are proven by access"),
    (Crate("metrics"), Only(&["jobs", "daemon", "http", "notify"]), "count where it is done"),
    (Crate("metrics_exporter_prometheus"), Only(&["http"]), "numbers are shown by http"),
    (Crate("opentelemetry"), Only(&["telemetry"]), "traces are sent by telemetry"),
    (Crate("opentelemetry_sdk"), Only(&["telemetry"]), "traces are sent by telemetry"),
    (Crate("opentelemetry_otlp"), Only(&["telemetry"]), "traces are sent by telemetry"),
    (Crate("tracing_opentelemetry"), Only(&["telemetry"]), "traces are sent by telemetry"),
    (Crate("lettre"), Only(&["notify"]), "mail is sent by notify"),
    (Crate("sd_notify"), Only(&["daemon"]), "systemd is told by the daemon"),
    (Crate("tokio_cron_scheduler"), Only(&["daemon"]), "the metronome is the daemon's"),
    (Crate("clap"), Only(&["cli", "main"]), "take resolved options as arguments"),
    (Crate("comfy_table"), Only(&["cli"]), "return the rows; the cli prints them"),
    (Crate("indicatif"), Only(&["cli"]), "report progress to the caller; the cli shows it"),
    (Crate("anyhow"), Only(&["cli", "daemon", "main"]), "give the room a thiserror enum"),
    (Word("Utc::now"), Only(&["clock"]), "take the time as an argument, or ask the Clock"),
    (Word("Local::now"), Only(&["clock"]), "take the time as an argument, or ask the Clock"),
    (Word("SystemTime::now"), Only(&["clock"]), "take the time as an argument, or ask the Clock"),
    (Crate("getrandom"), Only(&["clock"]), "randomness comes from the Clock"),
    (Crate("rand"), Only(&["clock"]), "randomness comes from the Clock"),
    (Word("std::env"), Only(&["config"]), "make it a setting"),
    (Word("env::"), Only(&["config"]), "make it a setting"),
    (Word("f32"), NotIn(MONEY), "money is i64 minor units, or Decimal at an edge"),
    (Word("f64"), NotIn(MONEY), "money is i64 minor units, or Decimal at an edge"),
    (Word("async"), NotIn(&["domain"]), "the domain is pure: do the waiting in the engine"),
    (OutsideTests(".unwrap()"), Only(&[]), "return the error, or expect() an invariant"),
    (OutsideTests("todo!("), Only(&[]), "finish it, or leave it out"),
    (OutsideTests("dbg!("), Only(&[]), "log it, or leave it out"),
];

/// The rooms that hold amounts.
const MONEY: &[&str] = &["domain", "store", "engine", "providers", "import"];

/// Lines of a file, without its tests.
const LONGEST_FILE: usize = 500;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "service",
    "services",
];

/// Marks of unfinished work.
const UNFINISHED: &[&str] = &["TODO", "FIXME"];

/// Where it may stand.
#[derive(Clone, Copy)]
enum Place {
    Only(&'static [&'static str]),
    NotIn(&'static [&'static str]),
}

use Place::{NotIn, Only};

#[test]
fn rooms_import_only_what_the_table_allows() {
    hold(imports);
}

#[test]
fn crates_clocks_and_floats_stay_behind_their_walls() {
    hold(walls);
}

#[test]
fn files_are_short_enough_to_hold_in_mind() {
    hold(length);
}

#[test]
fn nothing_is_unfinished_or_has_an_empty_name() {
    hold(words);
}

/// Runs a rule over every file of `src/`.
fn hold(rule: fn(&Source) -> Vec<Breach>) {
    let sources = source::all();
    assert!(sources.len() > 5, "src/ was not found: only {} files", sources.len());
    let breaches: Vec<String> =
        sources.iter().flat_map(rule).map(|breach| breach.to_string()).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

fn imports(source: &Source) -> Vec<Breach> {
    let room = source.room();
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        let what = format!("the room `{room}` is not in ROOMS");
        return vec![source.breach(1, what, "give it a line in tests/house.rs")];
    };
    let mut breaches = Vec::new();
    for (line, named) in source.named_rooms() {
        if named == room || allowed.contains(&"*") || allowed.contains(&named.as_str()) {
            continue;
        }
        if ROOMS.iter().any(|(name, _)| *name == named) {
            let what = format!("{room} imports {named}");
            let instead = format!("{room} may only know: {}", allowed.join(", "));
            breaches.push(source.breach(line, what, &instead));
        } else {
            let what = format!("`{named}` of the crate's root is no room");
            breaches.push(source.breach(line, what, "name the room that it lives in"));
        }
    }
    breaches
}

fn walls(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (find, place, instead) in WALLS {
        let allowed = match place {
            Only(places) => places.iter().any(|place| source.is_in(place)),
            NotIn(places) => !places.iter().any(|place| source.is_in(place)),
        };
        if allowed {
            continue;
        }
        for (line, what) in source.found(*find) {
            breaches.push(source.breach(line, format!("`{what}` in {}", source.room()), instead));
        }
    }
    breaches
}

fn length(source: &Source) -> Vec<Breach> {
    let lines = source.in_tests.iter().filter(|in_tests| !**in_tests).count();
    let what = format!("{lines} lines without tests, more than {LONGEST_FILE}");
    match lines > LONGEST_FILE {
        true => vec![source.breach(LONGEST_FILE, what, "split it by what its parts own")],
        false => Vec::new(),
    }
}

fn words(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for word in UNFINISHED {
        for at in places_of(&source.text, word) {
            let line = line_of(&source.text, at);
            breaches.push(source.breach(line, format!("`{word}`"), "finish it, or leave it out"));
        }
    }
    for name in source.path.trim_end_matches(".rs").split('/') {
        if EMPTY_NAMES.contains(&name) {
            let what = format!("a module called `{name}`");
            breaches.push(source.breach(1, what, "name it after what it owns"));
        }
    }
    for name in EMPTY_NAMES {
        for at in places_of(&source.code, &format!("mod {name}")) {
            let what = format!("`mod {name}`");
            let line = line_of(&source.code, at);
            breaches.push(source.breach(line, what, "name it after what it owns"));
        }
    }
    breaches
}

/// The breaches of `rule` in a file, without their advice.
fn caught(rule: fn(&Source) -> Vec<Breach>, path: &str, text: &str) -> Vec<String> {
    let breaches = rule(&Source::new(path, text));
    breaches.iter().map(|breach| format!("{}: {}", breach.line, breach.what)).collect()
}

#[test]
fn a_room_that_imports_upwards_is_caught_however_it_is_written() {
    for text in [
        "use crate::engine::Engine;",
        "use crate::{domain::Money, engine::{Engine, Run}};",
        "use crate::{\n    domain::{Money, Currency},\n    engine,\n};",
        "fn f() { crate::engine::run() }",
        "use super::super::engine;",
        "pub(in crate::engine) fn f() {}",
        "use payoutd::engine::Engine;",
        "#[cfg(test)]\nmod tests {\n use super::super::super::engine; }",
    ] {
        let caught = caught(imports, "store/payouts.rs", text);
        assert_eq!(caught.len(), 1, "{text}: {caught:?}");
        assert!(caught[0].ends_with("store imports engine"), "{caught:?}");
    }
    assert_eq!(caught(imports, "clock.rs", "\n\nuse super::store;"), ["3: clock imports store"]);
}

#[test]
fn what_is_reexported_at_the_root_and_a_room_without_a_line_are_caught() {
    let root = "`Money` of the crate's root is no room";
    assert_eq!(caught(imports, "store/mod.rs", "use crate::Money;"), [format!("1: {root}")]);
    assert_eq!(caught(imports, "store/mod.rs", "use super::*;").len(), 1);
    assert_eq!(caught(imports, "cellar/mod.rs", ""), ["1: the room `cellar` is not in ROOMS"]);
}

#[test]
fn what_the_table_allows_and_what_is_no_code_passes() {
    for text in [
        "use crate::domain::Money;",
        "use super::engine;",
        "use crate::store::dialect;",
        "// use crate::engine::Engine;",
        "/* crate::engine */ const S: &str = \"crate::engine\";",
        "const S: &str = r#\"a \" crate::engine\"#; const C: char = '\"'; fn f<'a>() {}",
        "#[cfg(test)]\nmod tests { use super::super::engine; }",
        "crate::words!(A);",
    ] {
        let caught = caught(imports, "store/payouts.rs", text);
        assert!(caught.is_empty(), "{text}: {caught:?}");
    }
}

#[test]
fn a_crate_a_clock_or_a_float_in_the_wrong_room_is_caught() {
    for (path, text, what) in [
        ("engine/run.rs", "use sqlx::Row;", "1: `sqlx` in engine"),
        ("engine/run.rs", "use ::sqlx::Row;", "1: `sqlx` in engine"),
        ("engine/run.rs", "fn f(_: &sqlx::PgPool) {}", "1: `sqlx` in engine"),
        ("providers/paypal.rs", "\nuse backoff::future;", "2: `backoff` in providers"),
        ("jobs/mod.rs", "use tokio_cron_scheduler as t;", "1: `tokio_cron_scheduler` in jobs"),
        ("http/mod.rs", "use clap::Parser;", "1: `clap` in http"),
        ("engine/run.rs", "let now = chrono::Utc::now();", "1: `Utc::now` in engine"),
        ("jobs/mod.rs", "std::env::temp_dir();", "1: `std::env` in jobs|1: `env::` in jobs"),
        ("cli/mod.rs", "use std::{env, fs};\nenv::args();", "2: `env::` in cli"),
        ("import/row.rs", "let cents = 1 as f64;", "1: `f64` in import"),
        ("domain/money.rs", "pub async fn f() {}", "1: `async` in domain"),
        ("cli/mod.rs", "let x = y.unwrap();", "1: `.unwrap()` in cli"),
        ("cli/mod.rs", "#[cfg(test)]\nfn a() {}\nx.unwrap();", "3: `.unwrap()` in cli"),
    ] {
        assert_eq!(caught(walls, path, text).join("|"), what, "{text}");
    }
}

#[test]
fn a_crate_in_its_own_room_and_an_unwrap_in_a_test_pass() {
    for (path, text) in [
        ("store/payouts.rs", "use sqlx::Row;"),
        ("providers/retry.rs", "use backoff::ExponentialBackoff;"),
        ("daemon.rs", "use tokio_cron_scheduler::Job;"),
        ("daemon/metronome.rs", "use tokio_cron_scheduler::Job;"),
        (
            "engine/run.rs",
            "let backoff = 1; use crate::domain::rand::x; self.tower.send(backoff); async fn f() {}",
        ),
        ("cli/mod.rs", "#[cfg(test)]\nmod tests {\n fn f() { if a { x.unwrap() } }\n}"),
        ("config/tests.rs", "x.unwrap();"),
        ("telemetry.rs", "fn record_f64(value: f64) {}"),
    ] {
        let caught = caught(walls, path, text);
        assert!(caught.is_empty(), "{path}: {caught:?}");
    }
}

#[test]
fn a_file_that_is_too_long_is_caught_and_its_tests_do_not_count() {
    let (long, tests) = ("\n".repeat(LONGEST_FILE), "#[cfg(test)]\nmod tests {\n}\n");
    assert!(caught(length, "store/mod.rs", &format!("{long}{tests}")).is_empty());
    assert_eq!(caught(length, "store/mod.rs", &format!("{long}x\n{tests}")).len(), 1);
}

#[test]
fn unfinished_work_and_empty_names_are_caught() {
    let unfinished = format!("// {}: later", UNFINISHED[0]);
    assert_eq!(caught(words, "store/mod.rs", &unfinished).len(), 1);
    assert_eq!(caught(words, "store/utils.rs", "").len(), 1);
    assert_eq!(caught(words, "helpers/mod.rs", "").len(), 1);
    assert_eq!(caught(words, "store/mod.rs", "mod manager;").len(), 1);
    assert!(caught(words, "store/mod.rs", "mod managed; // a service to others").is_empty());
}
