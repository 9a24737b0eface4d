//! Payouts are requested over HTTP: the seed's body, its checks in its order, and keys that make
//! repeating safe.

use payoutd::domain::{MethodStatus, NewAffiliate};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Harness, Wallet, affiliate, answer, program, sign, token};

const PATH: &str = "/finance/payouts/request";

/// The seed's body, for an affiliate.
fn body(affiliate: &str, amount: Value) -> Value {
    json!({
        "amount": amount,
        "currency": "USD",
        "method": "paypal",
        "destination": { "email": format!("{affiliate}@example.com") },
        "source": { "type": "affiliate", "affiliateId": affiliate, "program": "creator" },
        "note": "Q1 commission",
    })
}

async fn ask(api: &Api, token: &str, body: &Value) -> Answer {
    api.post(token, PATH, body.clone()).await
}

async fn ask_once(api: &Api, token: &str, key: &str, body: &Value) -> Answer {
    answer(api.request(token, "POST", PATH).header("idempotency-key", key).json(body)).await
}

fn codes(answer: &Answer) -> Vec<String> {
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["code"].as_str().expect("a code").to_owned()).collect()
}

async fn rich(h: &Harness, minor: i64) -> Api {
    h.enrol(program("creator"), &["ana", "ben"]).await;
    h.earn("ana", "o", &[minor]).await;
    Api::open(h).await
}

on_both! {
    async fn the_seeds_request_makes_a_pending_payout_and_debits_at_once(h: &Harness) {
        let api = rich(h, 30_000).await;
        let made = ask(&api, &h.partner("ana"), &body("ana", json!(250))).await;
        assert_eq!(made.status, 201);
        let payout = made.json();
        assert_eq!((&payout["status"], &payout["currency"], &payout["method"]),
                   (&json!("pending"), &json!("USD"), &json!("paypal")));
        assert_eq!(payout["amount"].to_string(), "250.00");
        assert_eq!(payout["source"], json!({"type": "affiliate", "affiliateId": "ana", "program": "creator"}));
        assert_eq!((&payout["note"], &payout["requestedBy"]), (&json!("Q1 commission"), &json!("partner:partner-ana")));
        assert_eq!(h.wallet("ana").await, Wallet { available: 5_000, in_flight: 25_000, ..Wallet::default() });
        assert_eq!(h.count("audit_log WHERE action = 'payout.requested' AND actor = 'partner:partner-ana'").await, 1);
        h.settle_all().await;
    }

    async fn the_first_check_that_fails_names_the_refusal_and_all_are_told(h: &Harness) {
        let api = rich(h, 2_000).await;
        let poor = NewAffiliate { method: None, ..affiliate("poor", "creator") };
        let mut unproven = affiliate("unproven", "creator");
        unproven.method.as_mut().expect("one").status = MethodStatus::Pending;
        h.enrol_affiliates(&[poor, unproven]).await;
        h.earn("unproven", "u", &[2_000]).await;
        let refused = async |who: &str, body: Value| {
            let answer = ask(&api, &h.partner(who), &body).await;
            assert_eq!(answer.status, 409, "{answer:?}");
            (answer.code(), codes(&answer))
        };
        assert_eq!(refused("ana", body("ana", json!(20.01))).await, ("not_enough_available".into(), vec!["not_enough_available".into()]));
        assert_eq!(refused("ana", body("ana", json!(9.99))).await.0, "below_minimum");
        assert_eq!(refused("unproven", body("unproven", json!(15))).await.0, "method_unverified");
        // Nothing earned, below the minimum, and nothing on file: the balance is what is said.
        let (code, all) = refused("poor", body("poor", json!(5))).await;
        assert_eq!((code.as_str(), all), ("not_enough_available", vec!["not_enough_available".into(), "below_minimum".into(), "no_method".into()]));
        let mut elsewhere = body("ana", json!(15));
        elsewhere["destination"] = json!({ "email": "thief@example.com" });
        assert_eq!(refused("ana", elsewhere.clone()).await.0, "no_method");
        elsewhere["destination"] = json!({});
        elsewhere["method"] = json!("ach");
        assert_eq!(refused("ana", elsewhere).await.0, "no_method");
        let mut euros = body("ana", json!(15));
        euros["currency"] = json!("EUR");
        assert_eq!(refused("ana", euros).await, ("not_enough_available".into(), vec!["not_enough_available".into(), "currency_not_enabled".into()]));
        h.change("UPDATE affiliates SET status = 'suspended' WHERE affiliate_id = 'ana'").await;
        assert_eq!(refused("ana", body("ana", json!(15))).await.0, "not_active");
        assert_eq!(h.payouts().await.len(), 0);
    }

    async fn amounts_are_exact_and_what_means_nothing_is_refused(h: &Harness) {
        let api = rich(h, 100_000).await;
        let ana = h.partner("ana");
        for (amount, shown) in [("1e2", "100.00"), ("10.10", "10.10"), ("2.5E1", "25.00")] {
            let text = body("ana", json!(0)).to_string().replace("\"amount\":0", &format!("\"amount\":{amount}"));
            let request = api.request(&ana, "POST", PATH).header("content-type", "application/json");
            let made = answer(request.body(text)).await.ok();
            assert_eq!(made["amount"].to_string(), shown);
        }
        for amount in ["0.30000000000000004", "0", "-5", "1e400", "10.001", "92233720368547758.08"] {
            let text = body("ana", json!(0)).to_string().replace("\"amount\":0", &format!("\"amount\":{amount}"));
            let request = api.request(&ana, "POST", PATH).header("content-type", "application/json");
            let refused = answer(request.body(text)).await;
            assert_eq!((refused.status, refused.code().as_str()), (422, "amount_unusable"), "{amount}");
        }
        let big = body("ana", json!(0)).to_string().replace("\"amount\":0", "\"amount\":90071992547409.93");
        let request = api.request(&ana, "POST", PATH).header("content-type", "application/json");
        let refused = answer(request.body(big)).await;
        assert!(refused.json()["detail"].as_str().expect("words").contains("90071992547409.93"), "{refused:?}");
        for (field, value, status, code) in [
            ("currency", json!("XAU"), 422, "unknown_currency"),
            ("amount", json!("250"), 400, "body_unreadable"),
            ("method", json!("cash"), 400, "body_unreadable"),
            ("note", json!("x".repeat(1_001)), 422, "note_unusable"),
            ("odd", json!(1), 400, "body_unreadable"),
        ] {
            let mut wrong = body("ana", json!(15));
            wrong[field] = value;
            let refused = ask(&api, &ana, &wrong).await;
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{field}");
        }
        h.settle_all().await;
    }

    async fn a_partner_asks_for_their_own_and_staff_for_anybodys(h: &Harness) {
        let api = rich(h, 9_000).await;
        let own = body("ana", json!(15));
        let others = ask(&api, &h.partner("ben"), &own).await;
        assert_eq!((others.status, others.code().as_str()), (404, "no_affiliate"));
        let unknown = ask(&api, &h.partner("ben"), &body("nobody", json!(15))).await;
        let words = |answer: &Answer| answer.json()["detail"].as_str().expect("words").replace("nobody", "ana");
        assert_eq!((unknown.status, words(&unknown)), (404, words(&others)));
        let mut vendor = own.clone();
        vendor["source"]["type"] = json!("vendor");
        assert_eq!(ask(&api, &h.partner("ana"), &vendor).await.code(), "source_not_allowed");
        assert_eq!(ask(&api, &h.staff(), &vendor).await.code(), "unknown_source");
        let mut elsewhere = own.clone();
        elsewhere["source"]["program"] = json!("other");
        assert_eq!(ask(&api, &h.partner("ana"), &elsewhere).await.code(), "wrong_program");
        assert_eq!(ask(&api, &h.staff(), &own).await.status, 201);
        let service = sign(&json!({ "sub": "cron", "orgid": "acme", "roles": ["service"],
            "scope": "payouts:request", "exp": h.clock.now().timestamp() + 60 }));
        assert_eq!(ask(&api, &service, &own).await.status, 201);
        let narrow = sign(&json!({ "sub": "cron", "orgid": "acme", "roles": ["service"],
            "scope": "payouts:read", "exp": h.clock.now().timestamp() + 60 }));
        assert_eq!(ask(&api, &narrow, &own).await.status, 403);
        assert_eq!(ask(&api, &token(h, "zoe", &["approver"]), &own).await.status, 403);
        assert_eq!(h.payouts().await.len(), 2);
        h.settle_all().await;
    }

    async fn the_destination_that_is_named_is_paid_and_not_the_default(h: &Harness) {
        let api = rich(h, 9_000).await;
        h.second_method("ana", "pm_2", "second").await;
        let mut second = body("ana", json!(15));
        second["destination"] = json!({ "email": "Second@Example.com" });
        let payout = ask(&api, &h.partner("ana"), &second).await.ok();
        let by_id = json!({"amount": 15, "currency": "USD", "methodId": "pm_2", "notes": "as the older call",
            "source": {"type": "affiliate", "affiliateId": "ana"}});
        let other = ask(&api, &h.partner("ana"), &by_id).await.ok();
        assert_eq!(other["note"], "as the older call");
        for payout in [payout, other] {
            let id = payout["payoutId"].as_str().expect("an id");
            assert_eq!(h.count(&format!("payouts WHERE payout_id = '{id}' AND method_id = 'pm_2'")).await, 1);
        }
        let default = json!({"amount": 15, "currency": "USD", "source": {"type": "affiliate", "affiliateId": "ana"}});
        ask(&api, &h.partner("ana"), &default).await.ok();
        assert_eq!(h.count("payouts WHERE method_id <> 'pm_2'").await, 1);
        h.settle_all().await;
    }

    async fn a_key_answers_the_same_bytes_and_pays_once(h: &Harness) {
        let api = rich(h, 9_000).await;
        let (ana, asked) = (h.partner("ana"), body("ana", json!(15)));
        let first = ask_once(&api, &ana, "k-1", &asked).await;
        let again = ask_once(&api, &ana, "k-1", &asked).await;
        assert_eq!((first.status, again.status), (201, 201));
        assert_eq!(first.bytes, again.bytes);
        assert_eq!(again.headers["content-type"], "application/json");
        let other = ask_once(&api, &ana, "k-1", &body("ana", json!(16))).await;
        assert_eq!((other.status, other.code().as_str()), (422, "key_reused"));
        assert_eq!(h.payouts().await.len(), 1);
        // The same key of another caller is another key.
        assert_eq!(ask_once(&api, &h.staff(), "k-1", &asked).await.status, 201);
        assert_eq!(h.payouts().await.len(), 2);
        let long = "k".repeat(256);
        for bad in ["", &long] {
            assert_eq!(ask_once(&api, &ana, bad, &asked).await.code(), "bad_idempotency_key");
        }
        h.settle_all().await;
    }

    async fn a_refusal_is_kept_under_its_key_and_a_mistake_is_not(h: &Harness) {
        let api = rich(h, 1_000).await;
        let (ana, asked) = (h.partner("ana"), body("ana", json!(15)));
        let first = ask_once(&api, &ana, "k-1", &asked).await;
        assert_eq!((first.status, first.code().as_str()), (409, "not_enough_available"));
        h.earn("ana", "more", &[5_000]).await;
        let again = ask_once(&api, &ana, "k-1", &asked).await;
        assert_eq!((again.status, &again.bytes), (409, &first.bytes));
        assert_eq!(again.headers["content-type"], "application/problem+json");
        let mut wrong = asked.clone();
        wrong["amount"] = json!(-1);
        assert_eq!(ask_once(&api, &ana, "k-2", &wrong).await.status, 422);
        let mut foreign = asked.clone();
        foreign["source"]["affiliateId"] = json!("ben");
        assert_eq!(ask_once(&api, &ana, "k-2", &foreign).await.status, 404);
        assert_eq!(ask_once(&api, &ana, "k-2", &asked).await.status, 201);
        assert_eq!(h.count("idempotency_keys").await, 2);
        h.settle_all().await;
    }

    async fn twenty_at_once_with_one_key_make_one_payout_and_hear_the_same(h: &Harness) {
        let api = rich(h, 90_000).await;
        let (ana, asked) = (h.partner("ana"), body("ana", json!(15)));
        let answers = futures::future::join_all((0..20).map(|_| ask_once(&api, &ana, "k", &asked))).await;
        for answer in &answers {
            assert_eq!((answer.status, &answer.bytes), (201, &answers[0].bytes));
        }
        assert_eq!(h.payouts().await.len(), 1);
        h.settle_all().await;
    }

    async fn of_two_hundred_at_once_for_the_money_of_one_one_wins(h: &Harness) {
        let api = rich(h, 1_500).await;
        let (ana, asked) = (h.partner("ana"), body("ana", json!(15)));
        let answers = futures::future::join_all((0..200).map(|_| ask(&api, &ana, &asked))).await;
        let won = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(won, 1);
        for lost in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!((lost.status, lost.code().as_str()), (409, "not_enough_available"));
        }
        assert_eq!(h.wallet("ana").await, Wallet { in_flight: 1_500, ..Wallet::default() });
        h.settle_all().await;
    }

    async fn keys_are_kept_for_thirty_days(h: &Harness) {
        let api = rich(h, 9_000).await;
        let asked = body("ana", json!(15));
        ask_once(&api, &h.partner("ana"), "k", &asked).await.ok();
        h.clock.advance(chrono::TimeDelta::days(29));
        h.job("prune").await;
        assert_eq!(h.count("idempotency_keys").await, 1);
        h.clock.advance(chrono::TimeDelta::days(2));
        h.job("prune").await;
        assert_eq!(h.count("idempotency_keys").await, 0);
        h.settle_all().await;
    }
}
