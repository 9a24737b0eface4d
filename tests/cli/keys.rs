//! Master keys at the command line: made once, needed always, changed by rotation.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::orders;
use crate::place::Place;

on_both!(keys_are_shown_rotated_and_wrapped_by_a_new_master_key);

const OTHER: &str = "mk-other=ff02030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

#[test]
fn an_embedded_database_makes_a_key_beside_it_once_and_never_replaces_it() {
    let place = Place::on_sqlite();
    orders::write_payable(&place, "data", 1);
    let first = place.run(&["import", "data", "--org", "acme"]).code(0);
    assert!(first.err.contains("made a master key"), "{}", first.err);
    let key = place.path("payoutd.db.master-key");
    let mode = std::fs::metadata(&key).expect("a key file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = place.run(&["doctor"]).code(0);
    assert!(!again.err.contains("made a master key"), "said once: {}", again.err);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("ours");
    assert!(place.run(&["doctor"]).code(0).out.contains("others than its owner"));
    // Lost, it is asked for; a new one would open nothing.
    let aside = place.path("aside");
    std::fs::rename(&key, &aside).expect("ours");
    place.run(&["summary"]).code(2).says(&["payoutd.db.master-key", "put it back"]);
    let doctor = place.run(&["doctor"]).code(1);
    assert!(doctor.out.contains("vault"), "{}", doctor.out);
    place.run(&["vault", "init"]).code(0);
    place.run(&["summary"]).code(2).says(&["is needed and not configured"]);
    std::fs::rename(&aside, &key).expect("ours");
    place.run(&["summary"]).code(0);
    place.run(&["vault", "init"]).code(4);
}

#[test]
fn a_new_database_of_a_server_is_given_a_key_of_this_host_and_other_hosts_have_to_bring_it() {
    let mut place = Place::on_postgres();
    place.set("VAULT__MASTER_KEYS", "");
    let run = |home: &str, arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("HOME", place.path(home));
        command.output().expect("a process that ends")
    };
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/sample");
    let first = run("here", &["import", sample, "--org", "acme"]);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let folder = place.path("here/.local/state/payoutd");
    let mut files = std::fs::read_dir(&folder).expect("a state folder");
    let key = files.next().expect("a key file").expect("a file").path();
    assert!(key.to_string_lossy().ends_with(".master-key"), "{}", key.display());
    assert_eq!(std::fs::metadata(&folder).expect("ours").permissions().mode() & 0o777, 0o700);
    assert!(run("here", &["summary"]).status.success());
    let elsewhere = run("there", &["summary"]);
    let said = String::from_utf8_lossy(&elsewhere.stderr).into_owned();
    assert_eq!(elsewhere.status.code(), Some(2), "{said}");
    assert!(said.contains("bring it from the host that made it"), "{said}");
}

#[test]
fn a_server_without_a_key_is_a_wrong_configuration_and_a_key_file_mends_it() {
    let mut place = Place::on_postgres();
    place.set("VAULT__MASTER_KEYS", "");
    for command in [&["job", "list"][..], &["run"], &["db", "migrate"], &["config", "check"]] {
        place.run(command).code(2).says(&["there is no master key", "vault init"]);
    }
    place.run(&["vault", "init"]).code(2);
    place.run(&["vault", "init", "--file", "keys"]).code(0);
    place.run(&["vault", "init", "--file", "keys"]).code(4);
    place.set("VAULT__MASTER_KEY_FILE", "nowhere");
    place.run(&["job", "list"]).code(2).says(&["nowhere is not there"]);
    place.run(&["config", "check"]).code(2).says(&["nowhere"]);
    place.set("VAULT__MASTER_KEY_FILE", "keys");
    place.run(&["job", "list"]).code(0);
    place.set("VAULT__MASTER_KEYS", OTHER);
    place.run(&["job", "list"]).code(2).says(&["vault.master_key_file", "in one place"]);
    let shown = place.run(&["--set", "vault.master_key_file=", "config", "show"]).code(0);
    assert!(shown.out.contains("vault.master_keys") && !shown.out.contains("ff0203"));
    for (keys, words) in [("nonsense", "it is not ID=KEY"), ("a=AAAA", "it is not 32 bytes")] {
        let set = format!("vault.master_keys={keys}");
        let ran = place.run(&["--set", "vault.master_key_file=", "--set", &set, "job", "list"]);
        assert!(!ran.err.contains("AAAA"), "{}", ran.err);
        ran.code(2).says(&[words]);
    }
}

fn keys(place: &Place, purpose: &str) -> Vec<Value> {
    let status = place.json(&["vault", "status"]);
    let keys = status["keys"].as_array().expect("keys").iter();
    keys.filter(|key| key["purpose"] == purpose).cloned().collect()
}

fn keys_are_shown_rotated_and_wrapped_by_a_new_master_key(mut place: Place) {
    orders::write_payable(&place, "data", 3);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    let before = keys(&place, "seal");
    assert_eq!((before.len(), &before[0]["sealed"]), (1, &3.into()));
    let rotated = place.json(&["vault", "rotate"]);
    assert_eq!(rotated[0]["rotated"]["sealed"], 3);
    let after = keys(&place, "seal");
    assert_eq!((&after[0]["sealed"], &after[1]["sealed"]), (&0.into(), &3.into()));
    assert!(after[0]["retired_at"].is_string() && after[1]["retired_at"].is_null());
    assert!(place.run(&["vault", "status"]).code(0).out.contains("the first one wraps"));

    // A new master key in front of the old one; then the old one can go.
    let old = if place.path("payoutd.db.master-key").exists() {
        let text = String::from_utf8(place.read("payoutd.db.master-key")).expect("text");
        text.lines().last().expect("a key").to_owned()
    } else {
        "mk-test=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=".to_owned()
    };
    place.set("VAULT__MASTER_KEYS", OTHER);
    place.run(&["summary"]).code(2).says(&["is needed and not configured"]);
    place.set("VAULT__MASTER_KEYS", format!("{OTHER},{old}"));
    let rewrapped = place.json(&["vault", "rotate", "--rewrap", "--org", "acme"]);
    assert_eq!(rewrapped[0]["rewrapped"], 3);
    place.set("VAULT__MASTER_KEYS", OTHER);
    for key in [keys(&place, "seal"), keys(&place, "index")].concat() {
        assert_eq!(key["master_key_id"], "mk-other");
    }
    place.run(&["doctor"]).code(0);
    place.set("VAULT__MASTER_KEYS", OTHER.replace("=ff", "=fe"));
    place.run(&["summary"]).code(2).says(&["are not those of this database"]);
}

#[test]
fn what_does_not_open_is_counted_and_named_and_a_rotation_goes_on_over_it() {
    let place = Place::on_sqlite();
    orders::write_payable(&place, "data", 3);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    let whole = "3 sealed values tried: all open";
    assert!(place.run(&["doctor"]).code(0).out.contains(whole));
    assert!(place.run(&["vault", "status"]).code(0).out.contains(whole));
    place.tamper(
        "UPDATE destinations SET sealed = 'damaged'
         WHERE destination_id = (SELECT MIN(destination_id) FROM destinations)",
    );
    for command in [&["doctor"][..], &["vault", "status"]] {
        let shown = place.run(command).code(0).out;
        assert!(shown.contains("1 do not open: destinations/de_"), "{shown}");
    }
    let rotated = place.run(&["vault", "rotate"]).code(3).out;
    let stays = "1 values do not open and stay as they are: destinations/de_";
    assert!(rotated.contains("2 values sealed anew") && rotated.contains(stays), "{rotated}");
    assert!(place.run(&["method", "list"]).code(0).out.contains("(unreadable)"));
}
