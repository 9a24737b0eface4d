//! The API's frame over real HTTP: who is let in, how it refuses, what stands around every answer.

use serde_json::json;

use crate::harness::{Answer, Api, Harness, answer, program, token};

async fn raise(h: &Harness, api: &Api) -> (String, String) {
    let staff = h.staff();
    h.enrol(program("creator"), &["ana"]).await;
    h.database
        .execute(
            "INSERT INTO alerts (org_id, alert_id, kind, subject, message, times, opened_at, last_at)
             SELECT 'acme', 'al_1', 'review', 'sub_1', 'look', 1, created_at, created_at FROM orgs",
        )
        .await
        .expect("an alert");
    let list = api.get(&staff, "/alerts").await.ok();
    (staff, list["data"][0]["alertId"].as_str().expect("an alert").to_owned())
}

fn is_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.json()["status"], status);
    assert_eq!(answer.json()["requestId"], answer.headers["x-request-id"].to_str().expect("text"));
}

on_both! {
    async fn what_staff_close_is_closed_once_and_stands_in_the_audit_log(h: &Harness) {
        let api = Api::open(h).await;
        let (staff, alert) = raise(h, &api).await;
        let path = format!("/alerts/{alert}/close");
        assert_eq!(api.post(&staff, &path, json!({ "note": "seen" })).await.status, 204);
        let again = api.post(&staff, &path, json!({ "note": "seen" })).await;
        is_problem(&again, 404, "no_alert");
        let kept = h.count("audit_log WHERE actor = 'staff:sam' AND action = 'alert.closed'").await;
        assert_eq!(kept, 1);
        assert_eq!(api.get(&staff, "/alerts").await.ok()["data"], json!([]));
        assert_eq!(api.get(&staff, "/alerts?all=true").await.ok()["data"][0]["closedBy"], "staff:sam");
    }

    async fn nobody_passes_without_proof_org_and_role(h: &Harness) {
        let api = Api::open(h).await;
        h.enrol(program("creator"), &["ana"]).await;
        let nobody = answer(api.bare("GET", "/alerts").header("orgid", "acme")).await;
        assert_eq!(nobody.status, 401);
        let no_org = answer(api.bare("GET", "/alerts").bearer_auth(h.staff())).await;
        is_problem(&no_org, 400, "missing_orgid");
        let other = api.bare("GET", "/alerts").bearer_auth(h.staff()).header("orgid", "other");
        is_problem(&answer(other).await, 403, "wrong_org");
        is_problem(&api.get(&h.partner("ana"), "/alerts").await, 403, "not_allowed");
        let approver = token(h, "zoe", &["approver"]);
        assert_eq!(api.get(&approver, "/alerts").await.status, 200);
        let closing = api.post(&approver, "/alerts/al_1/close", json!({ "note": "x" })).await;
        is_problem(&closing, 403, "not_allowed");
    }

    async fn what_cannot_be_read_is_refused_with_its_place_and_without_its_content(h: &Harness) {
        let api = Api::open(h).await;
        let (staff, alert) = raise(h, &api).await;
        let path = format!("/alerts/{alert}/close");
        for body in ["{\"note\": ", "[1]", "[\"seen\"]", "{\"note\": 4111111111111111}", "{}", "{\"note\":\"a\",\"not\":1}"] {
            let request = api.request(&staff, "POST", &path).header("content-type", "application/json");
            let refused = answer(request.body(body)).await;
            is_problem(&refused, 400, "body_unreadable");
            assert!(!String::from_utf8_lossy(&refused.bytes).contains("4111"), "{refused:?}");
        }
        let nul = api.post(&staff, &path, json!({ "note": "a\u{0}b" })).await;
        is_problem(&nul, 422, "text_unusable");
        let form = api.request(&staff, "POST", &path).body("note=seen");
        is_problem(&answer(form).await, 415, "not_json");
        for (name, value) in [
            ("content-type", "application/json; charset=utf-16"),
            ("content-encoding", "gzip"),
        ] {
            let request = api.request(&staff, "POST", &path).header(name, value);
            let request = request.header("content-type", "application/json");
            let refused = answer(request.body("{\"note\":\"a\"}")).await;
            is_problem(&refused, 415, "not_json");
        }
        is_problem(&api.get(&staff, "/alerts?limt=3").await, 400, "query_unreadable");
        is_problem(&api.get(&staff, "/alerts?limit=0").await, 400, "bad_limit");
        is_problem(&api.get(&staff, "/alerts?cursor=!").await, 400, "bad_cursor");
        is_problem(&api.get(&staff, "/nothing").await, 404, "no_such_path");
        let wrong = answer(api.request(&staff, "DELETE", "/alerts")).await;
        is_problem(&wrong, 405, "method_not_allowed");
        assert_eq!(wrong.headers["allow"], "GET,HEAD");
        assert_eq!(h.count("alerts WHERE closed_at IS NULL").await, 1);
    }

    async fn every_answer_carries_an_id_and_headers_that_keep_browsers_from_guessing(h: &Harness) {
        let api = Api::open(h).await;
        let request = api.request(&h.staff(), "GET", "/alerts").header("x-request-id", "abc-1");
        let answered = answer(request).await;
        assert_eq!(answered.headers["x-request-id"], "abc-1");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answered.headers[name], value);
        }
        assert!(answered.headers.get("access-control-allow-origin").is_none());
        let forged = api.request(&h.staff(), "GET", "/alerts").header("x-request-id", "a b\tc");
        let id = answer(forged).await.headers["x-request-id"].to_str().expect("text").to_owned();
        assert!(id.starts_with("rq_"), "{id}");
    }

    async fn the_document_says_who_may_and_how_it_refuses(h: &Harness) {
        let api = Api::open(h).await;
        let document = answer(api.bare("GET", "/openapi.json")).await.ok();
        assert_eq!(document["openapi"], "3.1.0");
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                let place = format!("{method} {path}");
                assert!(operation["operationId"].is_string(), "{place}");
                if operation["security"].is_null() {
                    continue;
                }
                assert!(operation["x-access"]["roles"].is_array(), "{place}");
                for status in ["400", "401", "403", "429", "500", "503"] {
                    assert!(operation["responses"][status].is_object(), "{place} {status}");
                }
            }
        }
        let page = answer(api.bare("GET", "/docs/")).await;
        assert_eq!(page.status, 200);
        let policy = page.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.contains("default-src 'self'"), "{policy}");
    }
}

/// Shapes of one name would stand in the document as one, whichever came first.
#[test]
fn no_two_shapes_of_the_api_share_a_name() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http");
    let mut names = Vec::new();
    let files =
        std::fs::read_dir(folder).expect("the room").map(|file| file.expect("a file").path());
    for file in files.filter(|file| file.extension().is_some_and(|ending| ending == "rs")) {
        let text = std::fs::read_to_string(file).expect("its text");
        let shapes = text.split("#[derive(").skip(1).filter_map(|rest| {
            let (derived, rest) = rest.split_once(")]")?;
            let item =
                rest.lines().find(|line| line.contains("struct ") || line.contains("enum "))?;
            let (_, name) = item.split_once("struct ").or_else(|| item.split_once("enum "))?;
            let name = name.split(|c: char| !c.is_alphanumeric()).next()?;
            derived.contains("ToSchema").then(|| name.to_owned())
        });
        names.extend(shapes);
    }
    assert!(names.len() > 50, "the shapes were not found: {names:?}");
    names.sort();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}
