//! API keys over real HTTP: made once, proven by their hash, taken back at once, and counted.

use chrono::TimeDelta;
use payoutd::http::{Limits, Proxies};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Harness, LIMITS, answer, auth, sign, token};

fn by_key(api: &Api, key: &str, method: &str, path: &str) -> RequestBuilder {
    api.bare(method, path).header("orgid", "acme").header("x-api-key", key)
}

async fn get_by_key(api: &Api, key: &str, path: &str) -> Answer {
    answer(by_key(api, key, "GET", path)).await
}

/// Makes a key; its answer.
async fn made(api: &Api, by: &str, body: Value) -> Value {
    let answered = api.post(by, "/keys", body).await;
    assert_eq!(answered.status, 201, "{answered:?}");
    answered.json()
}

fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
}

on_both! {
    async fn a_key_opens_what_it_names_and_is_stored_nowhere(h: &Harness) {
        let api = Api::open(h).await;
        let permissions = json!(["reconcile:read", "audit:read", "reconcile:read"]);
        let body = json!({ "name": "cron", "permissions": permissions });
        let made = made(&api, &h.staff(), body).await;
        assert_eq!(made["permissions"], json!(["reconcile:read", "audit:read"]));
        assert_eq!(made["createdBy"], "staff:sam");
        let key = made["key"].as_str().expect("a key");
        assert!(key.starts_with("ak_live_"), "{key}");

        assert_eq!(get_by_key(&api, key, "/alerts").await.status, 200);
        is_refused(&get_by_key(&api, key, "/keys").await, 403, "not_allowed");
        let acts = get_by_key(&api, key, "/audit").await.ok();
        let act = &acts["data"][0];
        assert_eq!((&act["action"], &act["actor"]), (&json!("key.created"), &json!("staff:sam")));
        assert_eq!((&act["subject"], &act["detail"]["name"]), (&made["keyId"], &json!("cron")));

        let secret = key.rsplit('_').next().expect("a secret");
        for rows in [
            "key_id || name || hash || permissions || created_by FROM api_keys",
            "actor || action || subject || detail FROM audit_log",
        ] {
            let rows: Vec<(String,)> = h.database.rows(&format!("SELECT {rows}")).await;
            assert!(rows[0].0.contains(made["keyId"].as_str().expect("an id")), "{rows:?}");
            assert!(!rows[0].0.contains(secret), "{rows:?}");
        }
        let listed = api.get(&h.staff(), "/keys").await;
        assert!(!String::from_utf8_lossy(&listed.bytes).contains(secret));
    }

    async fn a_key_that_was_revoked_or_has_expired_opens_nothing(h: &Harness) {
        let api = Api::open(h).await;
        let staff = h.staff();
        let until = (h.clock.now() + TimeDelta::minutes(10)).to_rfc3339();
        let body = json!({ "name": "cron", "permissions": ["reconcile:read"] });
        let ends = json!({ "name": "ends", "permissions": ["reconcile:read"], "expiresAt": until });
        let one = made(&api, &staff, body).await;
        h.clock.advance(TimeDelta::seconds(1));
        let two = made(&api, &staff, ends).await;
        let key = |made: &Value| made["key"].as_str().expect("a key").to_owned();
        let revoke = format!("/keys/{}", one["keyId"].as_str().expect("an id"));
        for _ in 0..2 {
            assert_eq!(answer(api.request(&staff, "DELETE", &revoke)).await.status, 204);
        }
        assert_eq!(h.count("audit_log WHERE action = 'key.revoked'").await, 1);
        let refused = get_by_key(&api, &key(&one), "/alerts").await;
        is_refused(&refused, 401, "key_revoked");
        assert_eq!(refused.headers["www-authenticate"], "Bearer");

        assert_eq!(get_by_key(&api, &key(&two), "/alerts").await.status, 200);
        h.clock.advance(TimeDelta::seconds(599));
        is_refused(&get_by_key(&api, &key(&two), "/alerts").await, 401, "key_expired");
        // Whoever has only a part of the key learns nothing of its state.
        let guess = key(&one).replace(&key(&one)[90..], "000000000");
        is_refused(&get_by_key(&api, &guess, "/alerts").await, 401, "invalid_key");

        let listed = api.get(&staff, "/keys?limit=1").await.ok();
        assert_eq!(listed["data"][0]["revokedBy"], "staff:sam");
        let next = format!("/keys?cursor={}", listed["nextCursor"].as_str().expect("a page more"));
        let rest = api.get(&staff, &next).await.ok();
        assert_eq!((&rest["data"][0]["keyId"], &rest["nextCursor"]), (&two["keyId"], &Value::Null));
    }

    async fn a_key_of_another_org_and_an_unknown_one_are_refused(h: &Harness) {
        let api = Api::open(h).await;
        let claims = json!({ "sub": "sam", "orgid": "other", "roles": ["staff"], "exp": i32::MAX });
        let elsewhere = sign(&claims);
        let made = answer(
            api.bare("POST", "/keys").header("orgid", "other").bearer_auth(&elsewhere)
                .json(&json!({ "name": "cron", "permissions": ["reconcile:read"] })),
        )
        .await
        .ok();
        let key = made["key"].as_str().expect("a key");
        is_refused(&get_by_key(&api, key, "/alerts").await, 403, "wrong_org");
        let no_org = api.bare("GET", "/alerts").header("x-api-key", key);
        is_refused(&answer(no_org).await, 400, "missing_orgid");
        let path = format!("/keys/{}", made["keyId"].as_str().expect("an id"));
        is_refused(&answer(api.request(&h.staff(), "DELETE", &path)).await, 404, "no_key");
        assert_eq!(api.get(&h.staff(), "/keys").await.ok()["data"], json!([]));
        for unknown in ["", "ak_live_", "ak_live_01HF7YAT000000000000000007_", key.trim_end_matches(char::is_alphanumeric)] {
            is_refused(&get_by_key(&api, unknown, "/alerts").await, 401, "invalid_key");
        }
        let both = by_key(&api, key, "GET", "/alerts").bearer_auth(h.staff());
        is_refused(&answer(both).await, 400, "two_proofs");
    }

    async fn a_key_makes_no_keys_and_takes_none_back(h: &Harness) {
        let api = Api::open(h).await;
        let made = made(&api, &h.staff(), json!({ "name": "a", "permissions": ["keys:read"] })).await;
        let key = made["key"].as_str().expect("a key");
        let body = json!({ "name": "b", "permissions": ["keys:read"] });
        let another = by_key(&api, key, "POST", "/keys").json(&body);
        is_refused(&answer(another).await, 403, "not_allowed");
        let path = format!("/keys/{}", made["keyId"].as_str().expect("an id"));
        is_refused(&answer(by_key(&api, key, "DELETE", &path)).await, 403, "not_allowed");
        assert_eq!(h.count("api_keys WHERE revoked_at IS NULL").await, 1);
    }

    async fn a_key_that_could_not_be_used_is_not_made(h: &Harness) {
        let api = Api::open(h).await;
        let now = h.clock.now();
        let far = (now + TimeDelta::days(4_000)).to_rfc3339();
        for (status, body) in [
            (422, json!({ "name": " ", "permissions": ["keys:read"] })),
            (422, json!({ "name": "a\u{0}b", "permissions": ["keys:read"] })),
            (422, json!({ "name": "x".repeat(101), "permissions": ["keys:read"] })),
            (422, json!({ "name": "a", "permissions": [] })),
            (422, json!({ "name": "a", "permissions": ["keys:read"], "expiresAt": now.to_rfc3339() })),
            (422, json!({ "name": "a", "permissions": ["keys:read"], "expiresAt": far })),
            (400, json!({ "name": "a", "permissions": ["keys:everything"] })),
            (400, json!({ "name": "a" })),
            (400, json!({ "name": "a", "permissions": ["keys:read"], "roles": ["staff"] })),
        ] {
            let refused = api.post(&h.staff(), "/keys", body.clone()).await;
            assert_eq!(refused.status, status, "{body}: {refused:?}");
        }
        assert_eq!(h.count("api_keys").await, 0);
        assert_eq!(h.count("audit_log").await, 0);
    }

    async fn that_a_key_is_in_use_is_kept_once_an_hour(h: &Harness) {
        let api = Api::open(h).await;
        let body = json!({ "name": "cron", "permissions": ["keys:read"] });
        let made = made(&api, &h.staff(), body).await;
        let key = made["key"].as_str().expect("a key");
        let used = async || {
            assert_eq!(get_by_key(&api, key, "/keys").await.status, 200);
            let keys = api.get(&h.staff(), "/keys").await.ok();
            keys["data"][0]["lastUsedAt"].as_str().expect("a time").to_owned()
        };
        let first = used().await;
        h.clock.advance(TimeDelta::minutes(59));
        assert_eq!(used().await, first);
        h.clock.advance(TimeDelta::minutes(1));
        assert_ne!(used().await, first);
    }

    async fn the_audit_log_is_read_by_who_and_by_what_in_pages(h: &Harness) {
        let api = Api::open(h).await;
        let staff = h.staff();
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            h.clock.advance(TimeDelta::seconds(1));
            let body = json!({ "name": name, "permissions": ["keys:read"] });
            let made = made(&api, &token(h, name, &["staff"]), body).await;
            ids.push(made["keyId"].as_str().expect("an id").to_owned());
        }
        let subjects = |page: &Value| -> Vec<String> {
            let acts = page["data"].as_array().expect("a page");
            acts.iter().map(|act| act["subject"].as_str().expect("an id").to_owned()).collect()
        };
        let page = api.get(&staff, "/audit?limit=2").await.ok();
        assert_eq!(subjects(&page), [ids[2].clone(), ids[1].clone()]);
        let next = format!("/audit?limit=2&cursor={}", page["nextCursor"].as_str().expect("more"));
        let rest = api.get(&staff, &next).await.ok();
        assert_eq!((subjects(&rest), &rest["nextCursor"]), (vec![ids[0].clone()], &Value::Null));
        let by_one = api.get(&staff, "/audit?actor=staff:b").await.ok();
        assert_eq!(subjects(&by_one), [ids[1].clone()]);
        let about = api.get(&staff, &format!("/audit?subject={}", ids[0])).await.ok();
        assert_eq!(subjects(&about), [ids[0].clone()]);
        is_refused(&api.get(&staff, "/audit?actor=a%00b").await, 400, "query_unreadable");
        is_refused(&api.get(&h.partner("ana"), "/audit").await, 403, "not_allowed");
    }

    async fn an_address_whose_proofs_keep_failing_has_to_wait_a_minute(h: &Harness) {
        let limits = Limits { failed_proofs_per_minute: 3, ..LIMITS };
        let mut desk = h.desk(h.engine.clone(), limits);
        desk.proxies = Proxies::parse("127.0.0.1").expect("an address");
        let api = Api::of(desk).await;
        let from = |address: &str, token: &str| {
            api.request(token, "GET", "/alerts").header("x-forwarded-for", address.to_owned())
        };
        for _ in 0..3 {
            is_refused(&answer(from("192.0.2.1", "x.y.z")).await, 401, "invalid_token");
        }
        // Also with a good token: what is tried is not looked at.
        let refused = answer(from("192.0.2.1", &h.staff())).await;
        is_refused(&refused, 429, "too_many_failures");
        let wait: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((1..=61).contains(&wait), "{wait}");
        assert_eq!(answer(from("192.0.2.2", &h.staff())).await.status, 200);
        assert_eq!(answer(from("192.0.2.9, 192.0.2.2", &h.staff())).await.status, 200);
        h.clock.advance(TimeDelta::seconds(60));
        assert_eq!(answer(from("192.0.2.1", &h.staff())).await.status, 200);
        // What is proven and not allowed is no failed proof.
        for _ in 0..5 {
            is_refused(&answer(from("192.0.2.1", &h.partner("ana"))).await, 403, "not_allowed");
        }
        // A proxy that does not say for whom it asks shuts nobody out.
        for _ in 0..5 {
            is_refused(&api.get("x.y.z", "/alerts").await, 401, "invalid_token");
        }
    }

    async fn a_caller_that_asks_too_often_hears_when_to_come_back(h: &Harness) {
        let limits = Limits { requests_per_minute: 2, ..LIMITS };
        let api = Api::with(h, h.engine.clone(), limits).await;
        for _ in 0..2 {
            assert_eq!(api.get(&h.staff(), "/alerts").await.status, 200);
        }
        let refused = api.get(&h.staff(), "/audit").await;
        is_refused(&refused, 429, "too_many_requests");
        let wait: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(api.get(&token(h, "zoe", &["staff"]), "/alerts").await.status, 200);
    }

    async fn while_the_keys_of_tokens_are_out_of_reach_nobody_is_called_a_forger(h: &Harness) {
        let mut desk = h.desk(h.engine.clone(), LIMITS);
        let settings = auth(json!({ "jwt_secret": "", "jwks_url": "http://127.0.0.1:1/keys" }));
        let gatekeeper = payoutd::access::Gatekeeper::new(h.store.clone(), h.clock.clone(), &settings);
        desk.gatekeeper = gatekeeper.expect("usable settings");
        let api = Api::of(desk).await;
        // {"alg":"RS256","kid":"one"}.{}
        let unclear = api.get("eyJhbGciOiJSUzI1NiIsImtpZCI6Im9uZSJ9.e30.AA", "/alerts").await;
        is_refused(&unclear, 503, "keys_unavailable");
        assert!(unclear.headers.contains_key("retry-after"));
        is_refused(&api.get(&h.staff(), "/alerts").await, 401, "invalid_token");
    }
}
