//! Payment methods over the API: brought in, proven in the way of their rails, changed, cooled
//! off, paid; and who may not.

use std::fs;
use std::sync::Arc;

use chrono::TimeDelta;
use payoutd::domain::{MethodKind, NewAffiliate, PayoutOrigin, PayoutStatus, Scope};
use payoutd::engine::{Engine, EngineError, EngineSettings, Reach};
use payoutd::providers::{Ach, AchSettings, Provider, Stripe, StripeSettings};
use payoutd::store::PayoutRow;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use url::Url;

use crate::harness::{Answer, Api, Harness, LIMITS, affiliate, answer, program, token};

const METHODS: &str = "/client/finance/payment-methods";
const STAFF_METHODS: &str = "/finance/payment-methods";

/// A portal whose partners bring their methods, over every rail.
struct Portal<'a> {
    h: &'a Harness,
    api: Api,
    engine: Engine,
    /// The bank's folders.
    folder: tempfile::TempDir,
}

/// An affiliate that has no method yet.
fn bare(name: &str) -> NewAffiliate {
    NewAffiliate { method: None, ..affiliate(name, "creator") }
}

fn account(number: &str) -> Value {
    json!({
        "routingNumber": "021000021", "accountNumber": number, "accountType": "checking",
        "accountHolderName": "Ana Example",
    })
}

fn ach(folder: &std::path::Path) -> AchSettings {
    let path = |name: &str| folder.join(name).display().to_string();
    for name in ["outbox", "inbox", "archive"] {
        fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    serde_json::from_value(json!({
        "outbox": path("outbox"), "inbox": path("inbox"), "archive": path("archive"),
        "batch_size": 500, "immediate_destination": "999999992",
        "immediate_destination_name": "MOCK BANK", "immediate_origin": "0000000001",
        "immediate_origin_name": "ACME AFFILIATES", "company_name": "ACME AFFILIATES",
        "company_id": "0000000001", "odfi": "99999999", "entry_description": "COMMISSION",
        "same_day": false, "same_day_margin_min": 45, "offset_routing": "", "offset_account": "",
        "offset_account_type": "checking", "settle_after_banking_days": 2,
    }))
    .expect("settings")
}

fn stripe(base_url: &str) -> StripeSettings {
    serde_json::from_value(json!({
        "base_url": base_url, "secret_key": "sk_test_1", "timeout_ms": 30_000,
        "key_life_hours": 23, "webhook_secrets": "", "webhook_tolerance_s": 300,
        "calls_per_second": 1_000,
    }))
    .expect("settings")
}

impl<'a> Portal<'a> {
    /// A portal of some partners, each enrolled once and without a method.
    async fn of(h: &'a Harness, names: &[&str]) -> Self {
        h.enrol_program(program("creator")).await;
        let affiliates: Vec<_> = names.iter().map(|name| bare(name)).collect();
        h.enrol_affiliates(&affiliates).await;
        Self::with(h, EngineSettings::default()).await
    }

    async fn with(h: &'a Harness, settings: EngineSettings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bank = Ach::new(ach(folder.path())).expect("usable settings");
        let (outbox, inbox) = (folder.path().join("outbox"), folder.path().join("inbox"));
        h.at.sandbox.open_bank(outbox, inbox);
        h.at.sandbox.settle_at_once(true);
        let paypal = h.rail(json!({
            "authorize_url": format!("{}/signin/authorize", h.at.url),
            "return_url": "https://pay.example/back",
        }));
        let stripe = Stripe::new(stripe(&h.at.url)).expect("usable settings");
        let rails: Vec<Arc<dyn Provider>> = vec![paypal, Arc::new(bank), Arc::new(stripe)];
        let engine = h.engine_with(rails, settings);
        let api = Api::with(h, engine.clone(), LIMITS).await;
        Self { h, api, engine, folder }
    }

    async fn add(&self, name: &str, body: Value) -> Answer {
        self.api.post(&self.h.partner(name), METHODS, body).await
    }

    /// Adds a method that has to be taken; its id.
    async fn added(&self, name: &str, kind: &str, destination: Value) -> String {
        let answer = self.add(name, json!({ "type": kind, "destination": destination })).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    async fn paypal(&self, name: &str) -> String {
        let email = format!("{name}@example.com");
        self.added(name, "paypal", json!({ "email": email })).await
    }

    async fn show(&self, name: &str, id: &str) -> Value {
        self.api.get(&self.h.partner(name), &format!("{METHODS}/{id}")).await.ok()
    }

    async fn status(&self, name: &str, id: &str) -> String {
        self.show(name, id).await["status"].as_str().expect("a status").to_owned()
    }

    async fn verify(&self, name: &str, id: &str) -> Answer {
        let path = format!("{METHODS}/{id}/verify");
        answer(self.api.request(&self.h.partner(name), "POST", &path)).await
    }

    async fn change(&self, name: &str, id: &str, body: Value) -> Answer {
        let path = format!("{METHODS}/{id}");
        self.api.call(&self.h.partner(name), "PATCH", &path, body).await
    }

    async fn judge(&self, id: &str, verb: &str) -> Answer {
        let path = format!("{STAFF_METHODS}/{id}/{verb}");
        self.api.post(&self.h.staff(), &path, json!({ "note": "seen a bank statement" })).await
    }

    /// Starts a consent, signs in as `login`, and says what PayPal sends the browser back with.
    async fn consent(&self, name: &str, id: &str, login: &str, said: &str) -> String {
        let started = self.verify(name, id).await.ok();
        let address = started["authorizeUrl"].as_str().expect("an address");
        self.sign_in(address, login, said).await
    }

    async fn sign_in(&self, address: &str, login: &str, said: &str) -> String {
        let mut page = Url::parse(address).expect("an address");
        page.query_pairs_mut().append_pair("login", login).append_pair("answer", said);
        let http = Client::builder().no_proxy().redirect(Policy::none()).build();
        let sent = http.expect("a client").get(page).send().await.expect("an answer");
        let back = sent.headers()["location"].to_str().expect("text").to_owned();
        Url::parse(&back).expect("an address").query().expect("what came back").to_owned()
    }

    /// The browser comes back, without any token.
    async fn come_back(&self, query: &str) -> Answer {
        answer(self.api.bare("GET", &format!("{METHODS}/paypal/callback?{query}"))).await
    }

    /// Proves a PayPal method as its holder does.
    async fn prove(&self, name: &str, id: &str) {
        let login = format!("{name}@example.com");
        let back = self.consent(name, id, &login, "agree").await;
        self.come_back(&back).await.ok();
    }

    async fn submit(&self) {
        self.h.submit_with(&self.engine).await;
    }

    /// What waits is sent, the bank works, and reconcile hears of it.
    async fn work(&self) {
        self.submit().await;
        self.h.at.sandbox.scan_bank().expect("folders");
        self.reconcile().await;
    }

    async fn reconcile(&self) {
        let (work, scope) = (self.h.work(), Scope::default());
        self.engine.reconcile(&work, Reach::All, &scope).await.expect("a reconcile");
    }

    async fn bank_treats(&self, account: &str, how: &str, code: &str) {
        let body = json!({ "for": account, "behaviour": how, "code": code });
        self.h.at.control("POST", "bank/behaviours", body).await;
    }

    /// The deposits that were sent, oldest first.
    async fn deposits(&self) -> Vec<PayoutRow> {
        let mut rows = self.h.payouts().await;
        rows.retain(|row| row.origin == PayoutOrigin::Verification);
        rows.sort_by(|a, b| a.payout_id.cmp(&b.payout_id));
        rows
    }

    async fn amounts(&self) -> Vec<i64> {
        let deposits = self.deposits().await;
        deposits[deposits.len() - 2..].iter().map(|row| row.amount_minor).collect()
    }

    async fn confirm(&self, name: &str, id: &str, cents: &[i64]) -> Answer {
        let amounts: Vec<Value> = cents
            .iter()
            .map(|cents| serde_json::from_str(&format!("0.{cents:02}")).expect("a number"))
            .collect();
        let path = format!("{METHODS}/{id}/confirm");
        self.api.post(&self.h.partner(name), &path, json!({ "amounts": amounts })).await
    }

    async fn kept(&self, action: &str) -> i64 {
        self.h.count(&format!("audit_log WHERE action = '{action}'")).await
    }

    async fn alerts(&self) -> Vec<String> {
        let rows = self.h.store.alerts(&self.h.org, false, "", 100).await.expect("alerts");
        rows.into_iter().map(|row| row.kind).collect()
    }

    /// The gates that hold a request of `name` back.
    async fn gates(&self, name: &str) -> Vec<String> {
        match self.h.ask(name, 1_000).await {
            Err(EngineError::Refused { failing }) => {
                failing.iter().map(|check| check.gate.to_string()).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn is_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
}

on_both! {
    async fn paypal_from_add_to_paid_without_a_word_of_staff(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        h.earn("ana", "o", &[2_500]).await;
        assert_eq!(portal.gates("ana").await, ["no_method"]);
        let id = portal.paypal("ana").await;
        let shown = portal.show("ana", &id).await;
        assert_eq!((&shown["isDefault"], &shown["status"]), (&json!(true), &json!("pending")));
        assert_eq!(shown["destination"], json!({ "masked": "a***@example.com" }));
        assert_eq!(portal.gates("ana").await, ["method_unverified"]);
        portal.prove("ana", &id).await;
        let shown = portal.show("ana", &id).await;
        assert_eq!((&shown["status"], &shown["verificationMethod"]), (&json!("verified"), &json!("consent")));
        assert_eq!(shown["usableFrom"], Value::Null, "the first one need not cool off");
        h.ask("ana", 2_500).await.expect("a payout");
        portal.work().await;
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "completed")]);
        let actors = "audit_log WHERE actor = 'partner:partner-ana' AND request_id IS NOT NULL
                      AND action IN ('method.created', 'method.verification_started', 'method.verified')";
        assert_eq!(h.count(actors).await, 3);
    }

    async fn stripe_is_proven_at_once_or_says_why_not(h: &Harness) {
        let portal = Portal::of(h, &["ana", "ben"]).await;
        h.earn("ana", "o", &[2_500]).await;
        let id = portal.added("ana", "stripe-connect", json!({ "account": "acct_1good" })).await;
        let shown = portal.show("ana", &id).await;
        assert_eq!((&shown["status"], &shown["verificationMethod"]), (&json!("verified"), &json!("capability")));
        h.ask("ana", 2_500).await.expect("a payout");
        portal.work().await;
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "completed")]);
        let id = portal.added("ben", "stripe-connect", json!({ "account": "acct_1inactive" })).await;
        let shown = portal.show("ben", &id).await;
        assert_eq!((&shown["status"], &shown["statusCode"]), (&json!("failed"), &json!("transfers_not_active")));
        let again = portal.verify("ben", &id).await.ok();
        assert_eq!(again["status"], "failed");
    }

    async fn a_bank_account_is_proven_by_deposits_that_payoutd_itself_sends(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        h.earn("ana", "o", &[2_500]).await;
        let id = portal.added("ana", "ach", account("123456789")).await;
        assert_eq!(portal.show("ana", &id).await["destination"], json!({ "masked": "****6789", "last4": "6789" }));
        let started = portal.verify("ana", &id).await.ok();
        assert_eq!(started["expiresAt"], "2026-03-16T09:00:00Z");
        let amounts = portal.amounts().await;
        assert!(amounts[0] != amounts[1] && amounts.iter().all(|a| (1..=49).contains(a)), "{amounts:?}");
        is_problem(&portal.confirm("ana", &id, &amounts).await, 409, "deposits_not_sent");
        portal.submit().await;
        // The bank may have taken it out of the outbox by now.
        let sent = fs::read_dir(portal.folder.path().join("archive/sent")).expect("a folder");
        let texts = sent.map(|file| fs::read_to_string(file.expect("a file").path()).expect("text"));
        // Beside it lies the lock, which is empty.
        let text: String = texts.collect();
        assert!(text.contains("ACCTVERIFY") && !text.contains("COMMISSION"), "{text}");
        h.at.sandbox.scan_bank().expect("folders");
        portal.reconcile().await;
        let statuses: Vec<_> = portal.deposits().await.iter().map(|row| row.status).collect();
        assert_eq!(statuses, [PayoutStatus::Completed; 2]);
        portal.confirm("ana", &id, &[amounts[1], amounts[0]]).await.ok();
        let shown = portal.show("ana", &id).await;
        assert_eq!((&shown["status"], &shown["verificationMethod"]), (&json!("verified"), &json!("micro_deposits")));
        assert_eq!(shown["verification"], Value::Null);
        h.ask("ana", 2_500).await.expect("a payout");
        portal.work().await;
        assert_eq!(h.payouts().await.iter().filter(|row| row.status == PayoutStatus::Completed).count(), 3);
        let hashes: Vec<(String,)> = h.database.rows("SELECT secret_hash FROM method_verifications").await;
        assert_eq!(hashes[0].0.len(), 64);
    }

    async fn a_wire_is_proven_by_staff_with_a_note(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let mut destination = account("555666777");
        destination["city"] = json!("Boise");
        destination["country"] = json!("US");
        let id = portal.added("ana", "wire", destination).await;
        is_problem(&portal.verify("ana", &id).await, 409, "not_provable");
        let path = format!("{STAFF_METHODS}/{id}/verify");
        let no_note = portal.api.post(&h.staff(), &path, json!({ "note": "  " })).await;
        is_problem(&no_note, 422, "note_unusable");
        is_problem(&portal.api.post(&h.partner("ana"), &path, json!({ "note": "x" })).await, 403, "not_allowed");
        let shown = portal.judge(&id, "verify").await.ok();
        assert_eq!((&shown["status"], &shown["verificationMethod"]), (&json!("verified"), &json!("manual")));
        is_problem(&portal.judge(&id, "verify").await, 409, "wrong_method_status");
        assert_eq!(portal.judge(&id, "reject").await.ok()["status"], "failed");
        let kept = "audit_log WHERE actor = 'staff:sam' AND action IN ('method.verified', 'method.failed')
                    AND detail LIKE '%seen a bank statement%'";
        assert_eq!(h.count(kept).await, 2);
    }

    async fn a_changed_destination_is_proven_anew_and_cools_off_while_a_pinned_payout_keeps_its_own(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        h.earn("ana", "o", &[2_000, 3_000]).await;
        let id = portal.paypal("ana").await;
        portal.prove("ana", &id).await;
        h.ask("ana", 2_000).await.expect("a payout");
        let changed = portal.change("ana", &id, json!({ "destination": { "email": "new@example.com" } })).await.ok();
        assert_eq!((&changed["status"], &changed["verifiedAt"]), (&json!("pending"), &Value::Null));
        assert_eq!(portal.gates("ana").await, ["method_unverified"]);
        let back = portal.consent("ana", &id, "new@example.com", "agree").await;
        portal.come_back(&back).await.ok();
        let shown = portal.show("ana", &id).await;
        assert_eq!((&shown["status"], &shown["usableFrom"]), (&json!("verified"), &json!("2026-03-04T09:00:00Z")));
        assert_eq!(portal.gates("ana").await, ["method_cooling"]);
        portal.work().await;
        let books = h.at.sandbox.books().paypal;
        assert_eq!(books.iter().map(|row| row.recipient.as_str()).collect::<Vec<_>>(), ["ana@example.com"]);
        h.clock.advance(TimeDelta::hours(48) - TimeDelta::milliseconds(1));
        assert_eq!(portal.gates("ana").await, ["method_cooling"]);
        h.clock.advance(TimeDelta::milliseconds(1));
        h.ask("ana", 3_000).await.expect("it has cooled off");
        portal.work().await;
        let books = h.at.sandbox.books().paypal;
        assert_eq!(books[1].recipient, "new@example.com");
        assert_eq!(portal.kept("method.changed").await, 1);
    }

    async fn a_payout_that_waits_for_a_destination_that_was_no_good_is_not_sent_there(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        h.earn("ana", "o", &[2_000]).await;
        let id = portal.paypal("ana").await;
        portal.prove("ana", &id).await;
        h.ask("ana", 2_000).await.expect("a payout");
        portal.judge(&id, "reject").await.ok();
        portal.change("ana", &id, json!({ "destination": { "email": "new@example.com" } })).await.ok();
        portal.work().await;
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "cancelled")]);
        assert_eq!((h.wallet("ana").await.available, h.at.sandbox.books().paypal.len()), (2_000, 0));
    }

    async fn another_method_beside_the_first_cools_off_and_takes_the_default_only_if_it_is_asked(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let first = portal.paypal("ana").await;
        h.clock.advance(TimeDelta::seconds(1));
        let second = portal.added("ana", "stripe-connect", json!({ "account": "acct_2" })).await;
        h.clock.advance(TimeDelta::seconds(1));
        let shown = portal.show("ana", &second).await;
        assert_eq!((&shown["isDefault"], &shown["usableFrom"]), (&json!(false), &json!("2026-03-04T09:00:01Z")));
        let third = json!({ "method": "paypal", "isDefault": true, "label": "mine", "destination": { "email": "x@example.com" } });
        let third = portal.add("ana", third).await.ok();
        let list = portal.api.get(&h.partner("ana"), METHODS).await.ok();
        let defaults: Vec<_> = list["data"].as_array().expect("rows").iter().map(|row| row["isDefault"].clone()).collect();
        assert_eq!(defaults, [json!(false), json!(false), json!(true)]);
        assert_eq!((&list["data"][2]["label"], &list["data"][2]["id"]), (&json!("mine"), &third["id"]));
        portal.change("ana", &first, json!({ "isDefault": true, "label": "old" })).await.ok();
        let shown = portal.show("ana", &first).await;
        assert_eq!((&shown["isDefault"], &shown["label"]), (&json!(true), &json!("old")));
        is_problem(&portal.change("ana", &first, json!({ "isDefault": false })).await, 422, "default_needed");
        assert_eq!(h.count("payout_methods WHERE is_default = 1").await, 1);
    }

    async fn the_same_destination_again_is_the_same_method(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let body = json!({ "type": "paypal", "destination": { "email": "ana@example.com" } });
        let first = portal.add("ana", body.clone()).await;
        let again = portal.add("ana", body).await;
        assert_eq!((first.status, again.status), (201, 200));
        assert_eq!(first.json()["id"], again.json()["id"]);
        let id = portal.added("ana", "paypal", json!({ "email": "b@example.com" })).await;
        let taken = portal.change("ana", &id, json!({ "destination": { "email": "ana@example.com" } })).await;
        is_problem(&taken, 409, "same_destination");
        portal.prove("ana", first.json()["id"].as_str().expect("an id")).await;
        let same = portal.change("ana", first.json()["id"].as_str().expect("an id"), json!({ "destination": { "email": "ana@example.com" } })).await;
        assert_eq!(same.ok()["status"], "verified", "nothing has changed");
    }

    async fn a_disabled_method_is_paid_nothing_more_and_stays_disabled(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        h.earn("ana", "o", &[2_000]).await;
        let id = portal.paypal("ana").await;
        portal.prove("ana", &id).await;
        h.ask("ana", 2_000).await.expect("a payout");
        let path = format!("{METHODS}/{id}");
        assert_eq!(answer(portal.api.request(&h.partner("ana"), "DELETE", &path)).await.status, 204);
        assert_eq!(answer(portal.api.request(&h.partner("ana"), "DELETE", &path)).await.status, 204);
        assert_eq!(h.outcomes().await, [("ana".to_owned(), "cancelled")]);
        assert_eq!(portal.gates("ana").await, ["no_method"]);
        for refused in [portal.verify("ana", &id).await, portal.judge(&id, "verify").await,
                        portal.change("ana", &id, json!({ "label": "x" })).await] {
            is_problem(&refused, 409, "wrong_method_status");
        }
        let again = portal.paypal("ana").await;
        assert_ne!(again, id, "a new one, that cools off");
        portal.prove("ana", &again).await;
        assert_eq!(portal.gates("ana").await, ["method_cooling"]);
        assert_eq!(portal.kept("method.disabled").await, 1);
    }

    async fn a_consent_that_is_wrong_expired_used_or_foreign_proves_nothing(h: &Harness) {
        let portal = Portal::of(h, &["ana", "eve"]).await;
        let id = portal.paypal("ana").await;
        for state in ["", "x", "YWNtZQ.00000000000000000000000000000000", "b3RoZXI.1", "!!.1"] {
            is_problem(&portal.come_back(&format!("state={state}&code=c")).await, 404, "unknown_state");
        }
        for (query, status) in [("code=c", 400), ("state=x", 422), ("state=x&code=c&code=d", 400)] {
            assert_eq!(portal.come_back(query).await.status, status, "{query}");
        }
        let late = portal.consent("ana", &id, "ana@example.com", "agree").await;
        h.clock.advance(TimeDelta::minutes(15));
        is_problem(&portal.come_back(&late).await, 409, "verification_expired");
        is_problem(&portal.come_back(&late).await, 409, "state_used");
        let first = portal.consent("ana", &id, "ana@example.com", "agree").await;
        let second = portal.consent("ana", &id, "ana@example.com", "agree").await;
        is_problem(&portal.come_back(&first).await, 409, "state_used");
        assert_eq!(portal.status("ana", &id).await, "pending");
        portal.come_back(&second).await.ok();
        is_problem(&portal.come_back(&second).await, 409, "state_used");
        assert_eq!(portal.status("ana", &id).await, "verified");
        // Somebody else's state leads to somebody else's method, and to nothing of one's own.
        let eves = portal.paypal("eve").await;
        let code = portal.consent("eve", &eves, "eve@example.com", "agree").await;
        let swapped = second.split('&').find(|p| p.starts_with("state")).expect("a state").to_owned()
            + "&" + code.split('&').find(|p| p.starts_with("code")).expect("a code");
        is_problem(&portal.come_back(&swapped).await, 409, "state_used");
        assert_eq!(portal.status("eve", &eves).await, "pending");
    }

    async fn only_a_confirmed_address_that_is_the_methods_own_proves_it(h: &Harness) {
        let portal = Portal::of(h, &["ana", "unconfirmed"]).await;
        let id = portal.paypal("ana").await;
        let back = portal.consent("ana", &id, "eve@example.com", "agree").await;
        let refused = portal.come_back(&back).await;
        is_problem(&refused, 409, "not_proven");
        assert_eq!(refused.json()["errors"][0]["code"], "email_differs");
        let shown = portal.show("ana", &id).await;
        assert_eq!((&shown["status"], &shown["statusCode"]), (&json!("failed"), &json!("email_differs")));
        let back = portal.consent("ana", &id, "ana@example.com", "decline").await;
        assert_eq!(portal.come_back(&back).await.json()["errors"][0]["code"], "not_consented");
        let back = portal.consent("ana", &id, "ana@example.com", "agree").await;
        portal.come_back(&back).await.ok();
        assert_eq!(portal.status("ana", &id).await, "verified");
        let other = portal.paypal("unconfirmed").await;
        let back = portal.consent("unconfirmed", &other, "unconfirmed@example.com", "agree").await;
        assert_eq!(portal.come_back(&back).await.json()["errors"][0]["code"], "email_not_confirmed");
    }

    async fn while_paypal_is_down_the_same_consent_may_come_back_once_more(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.paypal("ana").await;
        let back = portal.consent("ana", &id, "ana@example.com", "agree").await;
        let fault = json!({ "on": "POST /v1/oauth2/token", "fault": "error_before", "times": 1 });
        h.at.control("POST", "faults", fault).await;
        let down = portal.come_back(&back).await;
        is_problem(&down, 503, "not_vetted");
        assert!(down.headers.contains_key("retry-after"));
        assert_eq!(portal.status("ana", &id).await, "pending");
        portal.come_back(&back).await.ok();
        assert_eq!(portal.status("ana", &id).await, "verified");
    }

    async fn of_many_that_come_back_with_one_consent_one_is_heard(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.paypal("ana").await;
        let back = portal.consent("ana", &id, "ana@example.com", "agree").await;
        // While PayPal takes its time, nobody else asks with the same code.
        let slow = json!({ "on": "POST /v1/oauth2/token", "fault": "slow", "delay_ms": 300 });
        h.at.control("POST", "faults", slow).await;
        let all = futures::future::join_all((0..8).map(|_| portal.come_back(&back))).await;
        assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1);
        assert_eq!(all.iter().filter(|answer| answer.status == 409).count(), 7);
        assert_eq!(portal.kept("method.verified").await, 1);
    }

    async fn a_change_meanwhile_makes_a_consent_worthless(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.paypal("ana").await;
        let back = portal.consent("ana", &id, "ana@example.com", "agree").await;
        portal.change("ana", &id, json!({ "destination": { "email": "new@example.com" } })).await.ok();
        is_problem(&portal.come_back(&back).await, 409, "state_used");
        assert_eq!(portal.status("ana", &id).await, "pending");
    }

    async fn three_wrong_words_about_the_deposits_and_it_has_failed(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.added("ana", "ach", account("123456789")).await;
        is_problem(&portal.confirm("ana", &id, &[1, 2]).await, 409, "verification_not_started");
        portal.verify("ana", &id).await.ok();
        portal.work().await;
        let right = portal.amounts().await;
        for bad in [json!([]), json!([0.12]), json!([0.12, 0.13, 0.14]), json!([0.121, 0.13])] {
            let path = format!("{METHODS}/{id}/confirm");
            let refused = portal.api.post(&h.partner("ana"), &path, json!({ "amounts": bad })).await;
            assert_eq!(refused.status, 422, "{refused:?}");
        }
        for tries_left in [2, 1, 0] {
            let refused = portal.confirm("ana", &id, &[right[0], right[0]]).await;
            is_problem(&refused, 409, "wrong_amounts");
            assert!(refused.json()["detail"].as_str().expect("words").contains(&format!("{tries_left} tries left")));
        }
        is_problem(&portal.confirm("ana", &id, &right).await, 409, "verification_not_started");
        let shown = portal.show("ana", &id).await;
        assert_eq!((&shown["status"], &shown["statusCode"]), (&json!("failed"), &json!("wrong_amounts")));
        assert_eq!(portal.kept("method.wrong_amounts").await, 3);
        assert_eq!(portal.kept("method.verified").await, 0);
        let told = h.count(&format!("audit_log WHERE detail LIKE '%0.{:02}%'", right[1])).await;
        assert_eq!(told, 0, "the audit log does not tell the amounts");
    }

    async fn the_amounts_are_told_within_fourteen_days_by_whoever_owns_the_account(h: &Harness) {
        let portal = Portal::of(h, &["ana", "eve"]).await;
        let id = portal.added("ana", "ach", account("123456789")).await;
        portal.verify("ana", &id).await.ok();
        portal.work().await;
        let right = portal.amounts().await;
        is_problem(&portal.confirm("eve", &id, &right).await, 404, "no_method");
        h.clock.advance(TimeDelta::days(14));
        is_problem(&portal.confirm("ana", &id, &right).await, 409, "verification_expired");
        assert_eq!(portal.show("ana", &id).await["statusCode"], "verification_expired");
        portal.verify("ana", &id).await.ok();
        portal.work().await;
        let right = portal.amounts().await;
        portal.confirm("ana", &id, &right).await.ok();
        assert_eq!(portal.status("ana", &id).await, "verified");
    }

    async fn a_deposit_that_comes_back_fails_the_verification_with_the_banks_reason(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.added("ana", "ach", account("404404")).await;
        portal.bank_treats("404404", "return", "R03").await;
        portal.verify("ana", &id).await.ok();
        portal.work().await;
        let right = portal.amounts().await;
        for _ in 0..3 {
            h.at.control("POST", "bank/advance", json!({ "days": 1 })).await;
            portal.reconcile().await;
        }
        let statuses: Vec<_> = portal.deposits().await.iter().map(|row| row.status.as_str()).collect();
        assert!(statuses.iter().all(|status| ["returned", "failed"].contains(status)), "{statuses:?}");
        let shown = portal.show("ana", &id).await;
        // The bank says it twice, in the words of both its letters; the first one read stands.
        let code = shown["statusCode"].as_str().unwrap_or_default();
        assert_eq!((&shown["status"], ["R03", "AC01"].contains(&code)), (&json!("failed"), true));
        is_problem(&portal.confirm("ana", &id, &right).await, 409, "verification_not_started");
        // What came back is the house's, and is spent on the next try.
        h.clock.advance(TimeDelta::seconds(1));
        portal.bank_treats("404404", "accept", "R03").await;
        let before = h.count("adjustments").await;
        portal.verify("ana", &id).await.ok();
        assert!(h.count("adjustments").await <= before + 1);
        portal.work().await;
        let right = portal.amounts().await;
        portal.confirm("ana", &id, &right).await.ok();
        assert_eq!(portal.status("ana", &id).await, "verified");
    }

    async fn deposits_that_have_not_left_stay_when_the_method_changes(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.added("ana", "ach", account("123456789")).await;
        portal.verify("ana", &id).await.ok();
        portal.change("ana", &id, json!({ "destination": account("987654321") })).await.ok();
        let statuses: Vec<_> = portal.deposits().await.iter().map(|row| row.status).collect();
        assert_eq!(statuses, [PayoutStatus::Cancelled; 2]);
        assert_eq!(portal.status("ana", &id).await, "pending");
        portal.work().await;
        let none = h.count("transfers").await;
        assert_eq!(none, 0, "nothing left");
    }

    async fn verifications_are_not_started_without_end(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.added("ana", "ach", account("123456789")).await;
        for _ in 0..3 {
            portal.verify("ana", &id).await.ok();
            h.clock.advance(TimeDelta::hours(1));
        }
        let refused = portal.verify("ana", &id).await;
        is_problem(&refused, 429, "started_too_often");
        assert_eq!(refused.headers["retry-after"], "75600");
        for number in 1..=2 {
            let id = portal.added("ana", "ach", account(&format!("55566677{number}"))).await;
            for _ in 0..3 {
                portal.verify("ana", &id).await.ok();
            }
        }
        let last = portal.added("ana", "ach", account("44455566")).await;
        is_problem(&portal.verify("ana", &last).await, 429, "started_too_often");
        h.clock.advance(TimeDelta::days(1));
        portal.verify("ana", &last).await.ok();
    }

    async fn two_people_with_one_account_are_flagged_to_staff_and_not_to_them(h: &Harness) {
        let portal = Portal::of(h, &["ana", "ben"]).await;
        let anas = portal.added("ana", "ach", account("12-3456789")).await;
        h.clock.advance(TimeDelta::seconds(1));
        let mut same = account("0123456789");
        same["accountHolderName"] = json!("Ben Other");
        let bens = portal.added("ben", "ach", same).await;
        assert_eq!(portal.alerts().await, ["duplicate_account"]);
        let list = portal.api.get(&h.staff(), &format!("{STAFF_METHODS}?affiliateId=ben")).await.ok();
        assert_eq!((&list["data"][0]["id"], &list["data"][0]["duplicateOf"]), (&json!(bens), &json!(anas)));
        assert_eq!(portal.show("ben", &bens).await.get("duplicateOf"), None);
        portal.change("ben", &bens, json!({ "destination": account("777888999") })).await.ok();
        assert_eq!(portal.alerts().await, [] as [&str; 0], "it passed");
        let list = portal.api.get(&h.staff(), STAFF_METHODS).await.ok();
        assert_eq!(list["data"].as_array().map(Vec::len), Some(2));
        assert_eq!(list["data"][1].get("duplicateOf"), None);
        // One person's enrolments may share an account.
        h.enrol_program(program("other")).await;
        let twin = NewAffiliate { partner_id: "partner-ana".parse().expect("an id"), ..affiliate("ana2", "other") };
        h.enrol_affiliates(&[NewAffiliate { method: None, ..twin }]).await;
        let body = json!({ "affiliateId": "ana2", "type": "ach", "destination": account("123456789") });
        assert_eq!(portal.add("ana", body).await.status, 201);
        assert_eq!(portal.alerts().await, [] as [&str; 0]);
    }

    async fn partners_see_and_touch_their_own_methods_alone(h: &Harness) {
        let portal = Portal::of(h, &["ana", "eve"]).await;
        let id = portal.paypal("ana").await;
        let eve = h.partner("eve");
        for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/verify")] {
            let path = format!("{METHODS}/{id}{path}");
            is_problem(&answer(portal.api.request(&eve, method, &path)).await, 404, "no_method");
            let unknown = path.replace(&id, "pm_00000000000000000000000000");
            is_problem(&answer(portal.api.request(&eve, method, &unknown)).await, 404, "no_method");
        }
        is_problem(&portal.change("eve", &id, json!({ "label": "x" })).await, 404, "no_method");
        assert_eq!(portal.api.get(&eve, METHODS).await.ok()["data"], json!([]));
        let body = json!({ "affiliateId": "ana", "type": "paypal", "destination": { "email": "e@example.com" } });
        is_problem(&portal.add("eve", body.clone()).await, 404, "no_affiliate");
        is_problem(&portal.api.post(&h.staff(), METHODS, body.clone()).await, 403, "not_allowed");
        is_problem(&portal.api.post(&eve, STAFF_METHODS, body).await, 403, "not_allowed");
        is_problem(&portal.api.get(&eve, STAFF_METHODS).await, 403, "not_allowed");
        let nobody = token(h, "stranger", &["partner"]);
        let body = json!({ "type": "paypal", "destination": { "email": "e@example.com" } });
        is_problem(&portal.api.post(&nobody, METHODS, body).await, 404, "no_affiliate");
    }

    async fn a_partner_who_is_enrolled_twice_says_for_which(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        h.enrol_program(program("other")).await;
        let twin = NewAffiliate { partner_id: "partner-ana".parse().expect("an id"), ..affiliate("ana2", "other") };
        h.enrol_affiliates(&[NewAffiliate { method: None, ..twin }]).await;
        let body = json!({ "type": "paypal", "destination": { "email": "ana@example.com" } });
        is_problem(&portal.add("ana", body).await, 422, "affiliate_missing");
        let body = json!({ "affiliateId": "ana2", "type": "paypal", "destination": { "email": "ana@example.com" } });
        assert_eq!(portal.add("ana", body).await.ok()["affiliateId"], "ana2");
    }

    async fn what_a_rail_cannot_pay_to_is_refused_by_field_and_without_its_number(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        for (kind, destination, code) in [
            ("paypal", json!({}), "destination_unusable"),
            ("paypal", json!({ "email": "nobody" }), "destination_unusable"),
            ("ach", json!({ "routingNumber": "021000022", "accountNumber": "4111222233", "accountType": "checking",
                "accountHolderName": "A" }), "destination_unusable"),
            ("check", json!({ "email": "a@b.c" }), "type_unknown"),
        ] {
            let refused = portal.add("ana", json!({ "type": kind, "destination": destination })).await;
            is_problem(&refused, 422, code);
            assert!(!String::from_utf8_lossy(&refused.bytes).contains("4111222233"));
        }
        let typed = json!({ "type": "ach", "destination": { "accountNumber": 4111222233_i64 } });
        let refused = portal.add("ana", typed).await;
        is_problem(&refused, 400, "body_unreadable");
        assert!(!String::from_utf8_lossy(&refused.bytes).contains("4111222233"));
        let long = json!({ "type": "paypal", "label": "x".repeat(101), "destination": { "email": "a@b.c" } });
        is_problem(&portal.add("ana", long).await, 422, "label_unusable");
    }

    async fn staff_add_on_behalf_and_the_log_says_who(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let body = json!({ "affiliateId": "ana", "type": "paypal", "destination": { "email": "ana@example.com" } });
        let added = portal.api.post(&h.staff(), STAFF_METHODS, body).await;
        assert_eq!(added.status, 201);
        let id = added.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(portal.status("ana", &id).await, "pending");
        assert_eq!(h.count("audit_log WHERE actor = 'staff:sam' AND action = 'method.created'").await, 1);
        let unknown = json!({ "affiliateId": "nobody", "type": "paypal", "destination": { "email": "a@b.c" } });
        is_problem(&portal.api.post(&h.staff(), STAFF_METHODS, unknown).await, 404, "no_affiliate");
        let missing = json!({ "type": "paypal", "destination": { "email": "a@b.c" } });
        is_problem(&portal.api.post(&h.staff(), STAFF_METHODS, missing).await, 422, "affiliate_missing");
        assert_eq!(portal.judge(&id, "disable").await.ok()["status"], "disabled");
    }

    async fn the_houses_wallet_is_nobodys_candidate_and_nobody_enrols_under_its_name(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.added("ana", "ach", account("404404")).await;
        portal.bank_treats("404404", "reject", "R03").await;
        portal.verify("ana", &id).await.ok();
        portal.work().await;
        let house = h.wallet("payoutd:house").await;
        assert!(house.available > 0, "the deposits came back: {house:?}");
        let tally = h.tally("auto-payout").await;
        assert_eq!((tally.seen, tally.acted), (0, 0), "{tally:?}");
        let asked = h.ask("payoutd:house", 1).await;
        assert!(matches!(asked, Err(EngineError::NoWallet { .. })), "{asked:?}");
        let verdicts = h.engine.enrol_affiliates(&h.work(), &h.org, &[affiliate("payoutd:house", "creator")]).await;
        assert!(format!("{verdicts:?}").contains("payoutd keeps this id"), "{verdicts:?}");
        assert_eq!(h.broken().await, []);
    }

    async fn who_is_suspended_gets_no_deposits(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.added("ana", "ach", account("123456789")).await;
        portal.verify("ana", &id).await.ok();
        h.change("UPDATE affiliates SET status = 'suspended' WHERE affiliate_id = 'ana'").await;
        portal.work().await;
        let statuses: Vec<_> = portal.deposits().await.iter().map(|row| row.status).collect();
        assert_eq!(statuses, [PayoutStatus::Cancelled; 2]);
        assert_eq!(portal.status("ana", &id).await, "pending", "it says nothing about the account");
        is_problem(&portal.confirm("ana", &id, &[1, 2]).await, 409, "verification_not_started");
    }

    async fn a_browser_is_sent_on_to_the_portal_where_there_is_one(h: &Harness) {
        Portal::of(h, &["ana"]).await;
        let mut settings = EngineSettings::default();
        settings.methods.landing_url = "https://portal.example/methods?tab=1".to_owned();
        let portal = Portal::with(h, settings).await;
        let id = portal.paypal("ana").await;
        let back = portal.consent("ana", &id, "ana@example.com", "agree").await;
        let http = Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client");
        let url = format!("http://{}{METHODS}/paypal/callback?{back}", portal.api.address);
        for (location, status) in [
            (format!("https://portal.example/methods?tab=1&paymentMethod={id}&status=verified"), 303),
            ("https://portal.example/methods?tab=1&error=state_used".to_owned(), 303),
        ] {
            let sent = http.get(&url).send().await.expect("an answer");
            assert_eq!((sent.status().as_u16(), sent.headers()["location"].to_str().expect("text")), (status, location.as_str()));
        }
    }

    async fn nobody_reads_the_amounts_of_deposits_over_http(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let id = portal.added("ana", "ach", account("123456789")).await;
        portal.verify("ana", &id).await.ok();
        for caller in [h.partner("ana"), h.staff()] {
            for path in ["/finance/payouts", "/finance/payouts?source.affiliateId=payoutd:house"] {
                let shown = portal.api.get(&caller, path).await;
                assert!(!String::from_utf8_lossy(&shown.bytes).contains("verification"), "{shown:?}");
            }
            for deposit in portal.deposits().await {
                for path in ["", "/lines"] {
                    let path = format!("/finance/payouts/{}{path}", deposit.payout_id);
                    assert_eq!(portal.api.get(&caller, &path).await.status, 404, "{path}");
                }
            }
        }
        let (house, staff) = ("/wallets/payoutd:house/USD", h.staff());
        for path in [house.to_owned(), format!("{house}/entries")] {
            assert_eq!(portal.api.get(&staff, &path).await.status, 404, "{path}");
        }
        let listed = portal.api.get(&staff, "/wallets").await;
        assert!(!String::from_utf8_lossy(&listed.bytes).contains("house"), "{listed:?}");
        let adjust = json!({ "adjustmentId": "a", "amount": 5, "reason": "none" });
        let adjusted = portal.api.post(&staff, &format!("{house}/adjustments"), adjust).await;
        let why = json!({ "reason": "x" });
        let frozen = portal.api.post(&staff, &format!("{house}/freeze"), why).await;
        assert_eq!((adjusted.status, frozen.status), (404, 404));
    }

    async fn others_hear_what_becomes_of_methods_and_never_the_amounts_of_deposits(h: &Harness) {
        let portal = Portal::of(h, &["ana"]).await;
        let hook = json!({ "url": "http://127.0.0.1:9443/hook" });
        portal.api.post(&h.staff(), "/webhook-endpoints", hook).await.ok();
        let id = portal.added("ana", "ach", account("123456789")).await;
        portal.verify("ana", &id).await.ok();
        portal.work().await;
        let right = portal.amounts().await;
        portal.confirm("ana", &id, &right).await.ok();
        portal.change("ana", &id, json!({ "destination": account("404404") })).await.ok();
        portal.bank_treats("404404", "reject", "R03").await;
        portal.verify("ana", &id).await.ok();
        portal.work().await;
        portal.judge(&id, "disable").await.ok();
        let events: Vec<(String, String)> =
            h.database.rows("SELECT kind, body FROM webhook_events ORDER BY event_id").await;
        let mut kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
        kinds.sort_unstable();
        let told = ["method.changed", "method.created", "method.disabled", "method.failed", "method.verified"];
        assert_eq!(kinds, told, "no payout is told of");
        assert!(events.iter().all(|(_, body)| !body.contains("123456789") && !body.contains("404404")));
    }

    async fn without_its_rail_a_method_waits_and_says_so(h: &Harness) {
        h.enrol_program(program("creator")).await;
        h.enrol_affiliates(&[bare("ana")]).await;
        let api = Api::with(h, h.engine_with(Vec::new(), EngineSettings::default()), LIMITS).await;
        let ana = h.partner("ana");
        for (kind, destination) in [
            ("paypal", json!({ "email": "a@b.c" })),
            ("stripe-connect", json!({ "account": "acct_1" })),
            ("ach", account("123456789")),
        ] {
            let added = api.post(&ana, METHODS, json!({ "type": kind, "destination": destination })).await.ok();
            assert_eq!((&added["type"], &added["status"]), (&json!(kind), &json!("pending")));
            let path = format!("{METHODS}/{}/verify", added["id"].as_str().expect("an id"));
            let refused = answer(api.request(&ana, "POST", &path)).await;
            is_problem(&refused, 409, "not_vetted");
            assert!(refused.json()["detail"].as_str().expect("words").contains(MethodKind::section(kind.parse().expect("a kind"))));
        }
        assert_eq!(h.count("payouts").await, 0);
    }
}
