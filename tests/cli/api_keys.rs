//! API keys, by the operator and against the daemon; and how callers are proven, as a setting.

use serde_json::{Value, json};

use crate::orders;
use crate::place::Place;
use crate::webhooks::Daemon;

on_both!(
    a_key_opens_the_api_until_it_is_revoked_and_is_printed_once,
    settings_that_would_prove_nobody_end_with_2,
);

fn prepared(place: &Place) {
    orders::write_payable(place, "data", 1);
    place.run(&["import", "data", "--org", "acme"]).code(0);
}

fn a_key_opens_the_api_until_it_is_revoked_and_is_printed_once(mut place: Place) {
    prepared(&place);
    let words = ["key", "create", "--name", "cron", "--permission", "audit:read,keys:read"];
    let ran = place.run(&words).code(0);
    let key = ran.out.trim();
    assert!(key.starts_with("ak_live_") && !key.contains(char::is_whitespace), "{key}");

    let daemon = Daemon::start(&mut place);
    let get = |path: &str| {
        let headers = format!("orgid: acme\r\nx-api-key: {key}\r\n");
        let (status, body) = daemon.call("GET", path, &headers, "");
        (status, serde_json::from_str::<Value>(&body).expect("JSON"))
    };
    let (status, listed) = get("/keys");
    assert_eq!((status, &listed["data"][0]["createdBy"]), (200, &json!("cli:tester")));
    assert_eq!(get("/alerts").0, 403);
    assert_eq!(get("/audit").1["data"][0]["action"], "key.created");

    let rows = place.json(&["key", "list"]);
    let id = rows[0]["key_id"].as_str().expect("an id").to_owned();
    assert!(rows[0]["last_used_at"].is_string(), "{rows}");
    for _ in 0..2 {
        let ran = place.run(&["key", "revoke", &id]).code(0);
        assert_eq!(ran.out.trim(), format!("revoked {id}"));
    }
    let (status, refused) = get("/keys");
    assert_eq!((status, &refused["code"]), (401, &json!("key_revoked")));
    let table = place.run(&["key", "list"]).code(0);
    for word in ["revoked", "cron", "audit:read keys:read"] {
        assert!(table.out.contains(word), "{}", table.out);
    }

    let secret = key.rsplit('_').next().expect("a secret");
    daemon.process.signal("TERM");
    let log = daemon.process.ended().code(0).err;
    assert!(!log.contains(secret) && !table.out.contains(secret), "the key is printed twice");
    for file in std::fs::read_dir(place.path("")).expect("a folder").flatten() {
        if file.path().extension().is_some_and(|end| end == "out") {
            continue; // what the commands above printed
        }
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        let holds = bytes.windows(secret.len()).any(|piece| piece == secret.as_bytes());
        assert!(!holds, "{} holds the key", file.path().display());
    }
    place.run(&["key", "revoke", "key_9"]).code(2).says(&["key_9 does not exist"]);
    place.run(&["key", "create", "--name", " ", "--permission", "keys:read"]).code(2);
    let unknown = ["key", "create", "--name", "a", "--permission", "keys:all"];
    place.run(&unknown).code(2).says(&["expected one of"]);
}

fn settings_that_would_prove_nobody_end_with_2(mut place: Place) {
    prepared(&place);
    place.write("none.json", "{\"keys\": []}");
    for (setting, words) in [
        ("auth.jwt_secret=short-and-secret", "expected text in quotes, of at least 32 bytes"),
        ("auth.jwks_file=missing.json", "cannot read auth.jwks_file missing.json"),
        ("auth.jwks_file=none.json", "is no JWK set with a key for RS256, ES256 or EdDSA"),
        ("auth.jwks_url=http://id.example/keys", "plain http is for loopback alone"),
        ("auth.jwks_url=id.example", "begins with https://"),
        ("http.trusted_proxies=localhost", "neither an address nor a network"),
    ] {
        let all = ["run", "--set", "http.listen=127.0.0.1:0", "--set", setting];
        let ran = place.run(&all).code(2).says(&[words]);
        assert!(!ran.err.contains("short-and-secret"), "{}", ran.err);
    }
    place.set("HTTP__LISTEN", "127.0.0.1:0");
    let ran = place.run(&["doctor"]);
    assert!(ran.out.contains("no token is taken, only API keys"), "{}", ran.out);
    place.set("AUTH__JWT_SECRET", "a secret of a test, of more than 32 bytes");
    let ran = place.run(&["doctor"]);
    assert!(ran.out.contains("tokens by secret, and API keys"), "{}", ran.out);
    let shown = place.run(&["config", "show"]).code(0);
    assert!(shown.out.contains("auth.jwt_secret") && !shown.out.contains("a secret of a test"));
}
