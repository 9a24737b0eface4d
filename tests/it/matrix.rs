//! Every operation of the served document, called by everybody who may not: each is refused as
//! documented, and changes nothing. The rows are in `matrix/rows.rs`.

mod rows;

use std::collections::BTreeSet;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use payoutd::access::{Asker, Gatekeeper, KeyRequest, Keys};
use payoutd::domain::{Actor, ApiKey, OrgId, Permission};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::harness::{Answer, Api, Harness, LIMITS, answer, auth, program, sign};
use rows::{Other, Row, Rule, rows};

/// The methods that the document may use.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// What the calls are about: all of it is the partner `ana`'s, or the org's.
pub struct World {
    /// A run of a job.
    pub run: String,
    /// Another key than those that call.
    pub key: String,
    /// An endpoint of webhooks.
    pub endpoint: String,
    /// A method of `ana`'s that nobody has proven.
    pub method: String,
    /// A payout that was not sent yet.
    pub payout: String,
    /// One that waits for an approver.
    pub large: String,
    /// The hash of a plan.
    pub plan: String,
}

/// Who calls: the headers that they send.
type Headers = Vec<(&'static str, String)>;

/// Somebody who is not let in, and how they are told.
struct Wrong {
    who: String,
    headers: Headers,
    status: u16,
    code: &'static str,
}

/// Everybody's proofs.
struct Proofs {
    /// Signs what the key set of the story proves.
    issuer: RsaKeyPair,
    now: i64,
    keys: Keys,
    org: OrgId,
    unknown: String,
    revoked: String,
    expired: String,
    elsewhere: String,
}

async fn world(h: &Harness, api: &Api) -> World {
    h.leaves_money_under_way();
    h.enrol(program("creator"), &["ana", "ben"]).await;
    let (creator, usd) = ("creator".parse().expect("an id"), h.wallet_key("ana").currency);
    let limit = h.engine.approve_above(&h.work(), &h.org, &creator, (usd, Some(2_000))).await;
    limit.expect("a limit");
    h.earn("ana", "order", &[20_000]).await;
    let payout = h.ask("ana", 1_000).await.expect("a payout").to_string();
    let large = h.ask("ana", 2_001).await.expect("a payout").to_string();
    h.change(
        "INSERT INTO alerts (org_id, alert_id, kind, subject, message, times, opened_at, last_at)
         SELECT 'acme', 'al_1', 'review', 'sub_1', 'look', 1, created_at, created_at FROM orgs",
    )
    .await;
    h.change(
        "INSERT INTO breaks (org_id, break_id, kind, method_kind, subject, currency, source, reason,
                             found_at)
         SELECT 'acme', 'br_1', 'unknown_here', 'paypal', 'REF', 'USD', 'sheet', 'look', created_at
         FROM orgs",
    )
    .await;
    let keys = Keys::new(h.store.clone(), h.clock.clone());
    let key = made(&keys, &h.org, Permission::ALL.to_vec(), None).await.id().to_string();
    let url = json!({ "url": "http://127.0.0.1:9443/hook" });
    let endpoint = api.post(&h.staff(), "/webhook-endpoints", url).await.ok();
    let run = h.job("prune").await.run_id.to_string();
    let method =
        json!({ "affiliateId": "ana", "type": "paypal", "destination": { "email": "a@b.c" } });
    let method = api.post(&h.staff(), "/finance/payment-methods", method).await.ok();
    let (method, endpoint) = (id_in(&method, "id"), id_in(&endpoint, "endpointId"));
    let runner = h.runner();
    let job = runner.catalog.job("auto-payout").expect("a job");
    let plan = runner.make_plan(&h.work(), job, None).await.expect("a plan").expect("a plan");
    World { key, endpoint, method, payout, large, plan: plan.plan_hash, run }
}

/// The id that an answer gives.
fn id_in(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("{name} in {answer}")).to_owned()
}

async fn made(
    keys: &Keys,
    org: &OrgId,
    permissions: Vec<Permission>,
    expires_at: Option<chrono::DateTime<chrono::Utc>>,
) -> ApiKey {
    let asker = Asker { actor: Actor::operator("ana"), request_id: None };
    let request = KeyRequest { name: "a program".to_owned(), permissions, expires_at };
    keys.create(org, &asker, request).await.expect("a key").0
}

/// A server that takes tokens of the secret, tokens of a key set, and keys.
async fn open(h: &Harness) -> (Api, Proofs, NamedTempFile) {
    let issuer = RsaKeyPair::generate(KeySize::Rsa2048).expect("a pair");
    let file = NamedTempFile::new().expect("a file");
    let set = json!({ "keys": [jwk(&issuer)] });
    std::fs::write(file.path(), set.to_string()).expect("it is written");
    let settings = auth(json!({ "jwks_file": file.path() }));
    let mut desk = h.desk(h.engine.clone(), LIMITS);
    let gatekeeper = Gatekeeper::new(h.store.clone(), h.clock.clone(), &settings);
    desk.gatekeeper = gatekeeper.expect("usable settings");

    let keys = Keys::new(h.store.clone(), h.clock.clone());
    let all = || Permission::ALL.to_vec();
    let other: OrgId = "other".parse().expect("an id");
    let asker = Asker { actor: Actor::operator("ana"), request_id: None };
    let revoked = made(&keys, &h.org, all(), None).await;
    keys.revoke(&h.org, &asker, revoked.id()).await.expect("a key to take back");
    let end = h.clock.now() + TimeDelta::seconds(1);
    let expired = made(&keys, &h.org, all(), Some(end)).await;
    let elsewhere = made(&keys, &other, all(), None).await;
    h.clock.advance(TimeDelta::seconds(1));
    let proofs = Proofs {
        issuer,
        now: h.clock.now().timestamp(),
        org: h.org.clone(),
        unknown: ApiKey::new(h.clock.mint(), [7; 32]).reveal(),
        revoked: revoked.reveal(),
        expired: expired.reveal(),
        elsewhere: elsewhere.reveal(),
        keys,
    };
    (Api::of(desk).await, proofs, file)
}

impl Proofs {
    fn claims(&self, sub: &str, roles: &[&str]) -> Value {
        let exp = self.now + 3_600;
        json!({ "sub": sub, "orgid": "acme", "roles": roles, "exp": exp })
    }

    /// A genuine token of somebody with these roles.
    fn token(&self, sub: &str, roles: &[&str]) -> Headers {
        bearer(&sign(&self.claims(sub, roles)))
    }

    fn service(&self, permissions: &[&str]) -> Headers {
        let mut claims = self.claims("cron", &["service"]);
        claims["scope"] = json!(permissions.join(" "));
        bearer(&sign(&claims))
    }

    /// Whoever of the people may use the row.
    fn allowed(&self, rule: Rule) -> Headers {
        match rule {
            Rule::Partner => self.token("partner-ana", &["partner"]),
            Rule::Staff => self.token("sam", &["staff"]),
            Rule::Approver => self.token("zoe", &["approver"]),
            _ => self.token("sam", &["staff"]),
        }
    }

    /// Tokens that nobody issued, whatever they say of themselves.
    fn forged(&self) -> Vec<(String, String)> {
        let claims = self.claims("sam", &["staff"]);
        let stranger = RsaKeyPair::generate(KeySize::Rsa2048).expect("a pair");
        let header = |alg: &str| json!({ "typ": "JWT", "alg": alg, "kid": "one" });
        let mut forged = vec![
            ("no token".to_owned(), "x".to_owned()),
            (
                "a key of a stranger".to_owned(),
                token_of(&header("RS256"), &claims, |m| rs256(&stranger, m)),
            ),
            (
                "another secret".to_owned(),
                token_of(&header("HS256"), &claims, |m| hs256(&[1; 32], m)),
            ),
        ];
        for alg in ["none", "None", "NONE", "HS256", "RS256"] {
            let token = token_of(&header(alg), &claims, |_| Vec::new());
            forged.push((format!("alg {alg} without a signature"), token));
        }
        for (form, published) in published(&self.issuer) {
            let token = token_of(&header("HS256"), &claims, |m| hs256(&published, m));
            forged.push((format!("HS256 signed with the public key ({form})"), token));
        }
        let token = sign(&claims);
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let other = self.claims("sam", &["staff", "approver"]).to_string();
        let head = signed.split_once('.').expect("two parts").0;
        let swapped = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(other));
        forged.push(("other claims under a genuine signature".to_owned(), swapped));
        forged
    }

    /// Everybody who is not let in to the row.
    async fn wrong(&self, rule: Rule, without: &ApiKey) -> Vec<Wrong> {
        let mut wrong = self.unproven();
        wrong.extend(self.misplaced(rule));
        let (roles, permission) = access(rule);
        for role in ["partner", "staff", "approver"].iter().filter(|role| !roles.contains(role)) {
            let headers = self.token("partner-ana", &[role]);
            wrong.push(refused(format!("a {role}"), headers, 403, "not_allowed"));
        }
        let others: Vec<_> = Permission::ALL.iter().map(|it| it.as_str()).collect();
        let others: Vec<_> = others.into_iter().filter(|it| Some(*it) != permission).collect();
        let service = self.service(&others);
        wrong.push(refused("a service without the scope".into(), service, 403, "not_allowed"));
        let key = by_key(&without.reveal());
        wrong.push(refused("a key without the permission".into(), key, 403, "not_allowed"));
        wrong
    }

    /// Whoever proves nothing.
    fn unproven(&self) -> Vec<Wrong> {
        let with = |changes: Value| {
            let mut claims = self.claims("sam", &["staff", "approver", "partner", "service"]);
            for (name, value) in changes.as_object().expect("claims") {
                claims[name] = value.clone();
            }
            bearer(&sign(&claims))
        };
        let org = ("orgid", "acme".to_owned());
        let basic = vec![org.clone(), ("authorization", "Basic c2FtOnNhbQ==".to_owned())];
        let mut wrong = vec![
            refused("nobody".into(), vec![org], 401, "missing_authorization_header"),
            refused("a password".into(), basic, 401, "invalid_token"),
            refused(
                "an expired token".into(),
                with(json!({ "exp": self.now - 60 })),
                401,
                "token_expired",
            ),
            refused(
                "a token of later".into(),
                with(json!({ "nbf": self.now + 61 })),
                401,
                "token_too_early",
            ),
            refused(
                "a token without an end".into(),
                with(json!({ "exp": null })),
                401,
                "invalid_token",
            ),
            refused("an unknown key".into(), by_key(&self.unknown), 401, "invalid_key"),
            refused("no key".into(), by_key("ak_live_x"), 401, "invalid_key"),
            refused("a revoked key".into(), by_key(&self.revoked), 401, "key_revoked"),
            refused("an expired key".into(), by_key(&self.expired), 401, "key_expired"),
        ];
        for (who, token) in self.forged() {
            wrong.push(refused(who, bearer(&token), 401, "invalid_token"));
        }
        wrong
    }

    /// Whoever is proven, and calls about another org, or about none, or as nothing.
    fn misplaced(&self, rule: Rule) -> Vec<Wrong> {
        let allowed = self.allowed(rule);
        let no_org: Headers =
            allowed.iter().filter(|(name, _)| *name != "orgid").cloned().collect();
        let mut other_org = no_org.clone();
        other_org.push(("orgid", "other".to_owned()));
        let mut elsewhere = self.claims("sam", &["staff", "approver", "partner", "service"]);
        elsewhere["orgid"] = json!("other");
        let mut both = allowed;
        both.push(("x-api-key", self.unknown.clone()));
        vec![
            refused("somebody of no org".into(), no_org, 400, "missing_orgid"),
            refused("somebody about another org".into(), other_org, 403, "wrong_org"),
            refused("somebody of another org".into(), bearer(&sign(&elsewhere)), 403, "wrong_org"),
            refused("a key of another org".into(), by_key(&self.elsewhere), 403, "wrong_org"),
            refused("no role".into(), self.token("sam", &[]), 403, "no_role"),
            refused("a made-up role".into(), self.token("sam", &["admin"]), 403, "no_role"),
            refused("a token and a key".into(), both, 400, "two_proofs"),
        ]
    }
}

fn refused(who: String, headers: Headers, status: u16, code: &'static str) -> Wrong {
    Wrong { who, headers, status, code }
}

fn bearer(token: &str) -> Headers {
    vec![("orgid", "acme".to_owned()), ("authorization", format!("Bearer {token}"))]
}

fn by_key(key: &str) -> Headers {
    vec![("orgid", "acme".to_owned()), ("x-api-key", key.to_owned())]
}

/// The roles and the permission of a rule.
fn access(rule: Rule) -> (&'static [&'static str], Option<&'static str>) {
    match rule {
        Rule::Read(permission) => (&["approver", "staff"], Some(permission)),
        Rule::Write(permission) => (&["staff"], Some(permission)),
        Rule::ReadOwn(permission) => (&["approver", "partner", "staff"], Some(permission)),
        Rule::WriteOwn(permission) => (&["partner", "staff"], Some(permission)),
        Rule::Partner => (&["partner"], None),
        Rule::Staff => (&["staff"], None),
        Rule::Approver => (&["approver"], None),
        Rule::Open => (&[], None),
    }
}

fn token_of(header: &Value, claims: &Value, signed: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed(message.as_bytes())))
}

fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

fn rs256(pair: &RsaKeyPair, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    let signed = pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
    signed.expect("it is signed");
    signature
}

fn jwk(pair: &RsaKeyPair) -> Value {
    // SEQUENCE, INTEGER of 257 bytes with a leading zero, INTEGER of 3 bytes.
    let der = pair.public_key().as_ref();
    let (modulus, exponent) = (&der[der.len() - 261..der.len() - 5], &der[der.len() - 3..]);
    let (n, e) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(exponent));
    json!({ "kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": n, "e": e })
}

/// The forms that the public key is published in.
fn published(pair: &RsaKeyPair) -> Vec<(&'static str, Vec<u8>)> {
    let der: PublicKeyX509Der = pair.public_key().as_der().expect("it can be written");
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    vec![
        ("PEM", pem.clone().into_bytes()),
        ("PEM without its last line break", pem.trim_end().as_bytes().to_vec()),
        ("DER", der.as_ref().to_vec()),
        ("PKCS 1", pair.public_key().as_ref().to_vec()),
        ("JWK", jwk(pair).to_string().into_bytes()),
        ("modulus", jwk(pair)["n"].as_str().expect("text").as_bytes().to_vec()),
    ]
}

/// The call of a row, with other ids where `instead` says so.
async fn call(api: &Api, row: &Row, headers: &Headers, instead: Option<&str>) -> Answer {
    let mut path = row.path.to_owned();
    for (name, id) in &row.ids {
        path = path.replace(&format!("{{{name}}}"), instead.unwrap_or(id));
    }
    assert!(!path.contains('{'), "the row of {} {} lacks an id", row.method, row.path);
    if !row.query.is_empty() {
        path = format!("{path}?{}", row.query);
    }
    let mut body = row.body.as_ref().map(Value::to_string);
    if let (Some(about), Some(instead)) = (row.about, instead) {
        path = path.replace(about, instead);
        body = body.map(|body| body.replace(about, instead));
    }
    let mut request = api.bare(&row.method.to_uppercase(), &path);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    answer(match body {
        Some(body) => request.header("content-type", "application/json").body(body),
        None => request,
    })
    .await
}

/// The operation of a row in the document.
fn operation<'a>(document: &'a Value, row: &Row) -> &'a Value {
    &document["paths"][row.path][row.method]
}

/// Rows and operations are the same, and agree on who may.
fn hold_rows(document: &Value, rows: &[Row]) {
    let mut served = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            assert!(METHODS.contains(&method.as_str()), "{method} {path}: a method of its own");
            served.insert(format!("{method} {path}"));
        }
    }
    let rowed: BTreeSet<_> =
        rows.iter().map(|row| format!("{} {}", row.method, row.path)).collect();
    assert_eq!(rowed.len(), rows.len(), "an operation has two rows");
    let missing: Vec<_> = served.difference(&rowed).collect();
    assert!(missing.is_empty(), "give these a row in tests/it/matrix/rows.rs: {missing:#?}");
    let gone: Vec<_> = rowed.difference(&served).collect();
    assert!(gone.is_empty(), "these rows have no operation: {gone:#?}");
    for row in rows {
        let place = format!("{} {}", row.method, row.path);
        let said = &operation(document, row)["x-access"];
        if row.rule == Rule::Open {
            assert!(said.is_null(), "{place} is not open: {said}");
            continue;
        }
        let (roles, permission) = access(row.rule);
        let mut said_roles: Vec<_> =
            said["roles"].as_array().expect("roles").iter().filter_map(Value::as_str).collect();
        said_roles.sort_unstable();
        assert_eq!(
            (said_roles.as_slice(), said["permission"].as_str()),
            (roles, permission),
            "{place}"
        );
    }
}

/// An answer that the document promises, and that is no failure of ours.
fn hold_answer(document: &Value, row: &Row, who: &str, answered: &Answer) {
    let status = answered.status.to_string();
    let place = format!("{} {} by {who}: {answered:?}", row.method, row.path);
    assert!(answered.status < 500, "{place}");
    let promised = &operation(document, row)["responses"][&status];
    assert!(!promised.is_null(), "not documented: {place}");
}

/// What every mutation leaves behind, and the ledger.
async fn traces(h: &Harness) -> [i64; 4] {
    [
        h.count("audit_log").await,
        h.count("entries").await,
        h.count("payouts").await,
        h.count("alerts WHERE closed_at IS NULL").await,
    ]
}

/// Everybody who may is let in.
async fn hold_allowed(api: &Api, proofs: &Proofs, document: &Value, row: &Row) {
    let first = call(api, row, &proofs.allowed(row.rule), None).await;
    let place = format!("{} {}: {first:?}", row.method, row.path);
    assert_eq!(first.status, row.status, "{place}");
    hold_answer(document, row, "who may", &first);
    let (roles, permission) = access(row.rule);
    let mut others: Vec<(String, Headers)> = Vec::new();
    for role in roles {
        let sub = if *role == "partner" { "partner-ana" } else { "kim" };
        others.push((format!("a {role}"), proofs.token(sub, &[role])));
    }
    if let Some(permission) = permission {
        others.push(("a service with the scope".to_owned(), proofs.service(&[permission])));
        let permission: Permission = permission.parse().expect("a permission");
        let key = made(&proofs.keys, &proofs.org, vec![permission], None).await;
        others.push(("a key with the permission".to_owned(), by_key(&key.reveal())));
    }
    for (who, headers) in others {
        let answered = call(api, row, &headers, None).await;
        let is_in = !matches!(answered.status, 401 | 403);
        assert!(is_in, "{who} is not let in: {} {} {answered:?}", row.method, row.path);
        hold_answer(document, row, &who, &answered);
    }
}

/// What is somebody else's is as good as nothing to a partner.
async fn hold_other_partner(api: &Api, proofs: &Proofs, document: &Value, row: &Row) {
    if !access(row.rule).0.contains(&"partner") {
        return;
    }
    let place = format!("{} {}", row.method, row.path);
    let other = row.other.unwrap_or_else(|| panic!("{place}: say what another partner gets"));
    let ben = proofs.token("partner-ben", &["partner"]);
    let answered = call(api, row, &ben, None).await;
    hold_answer(document, row, "another partner", &answered);
    match other {
        Other::Gone => {
            let nothing = call(api, row, &ben, Some("nobody")).await;
            let said = (answered.status, answered.code());
            assert_eq!(said, (nothing.status, nothing.code()), "{place}");
            assert_eq!(said.0, 404, "{place}: {answered:?}");
        }
        Other::OwnAlone => {
            assert!(answered.status < 300, "{place}: {answered:?}");
            let text = String::from_utf8_lossy(&answered.bytes);
            assert!(!text.contains("ana"), "{place} shows what is ana's: {text}");
        }
    }
}

on_both! {
    async fn nobody_is_let_in_who_may_not(h: &Harness) {
        let (api, proofs, _file) = open(h).await;
        let world = world(h, &api).await;
        let document = answer(api.bare("GET", "/openapi.json")).await.ok();
        let rows = rows(&world);
        hold_rows(&document, &rows);
        let guarded: Vec<_> = rows.iter().filter(|row| row.rule != Rule::Open).collect();
        let mut keys = Vec::new();
        for row in &guarded {
            let named = access(row.rule).1;
            let others = Permission::ALL.iter().copied().filter(|it| Some(it.as_str()) != named);
            keys.push(made(&proofs.keys, &h.org, others.collect(), None).await);
        }
        let before = traces(h).await;
        for (row, key) in guarded.iter().zip(&keys) {
            for wrong in proofs.wrong(row.rule, key).await {
                let answered = call(&api, row, &wrong.headers, None).await;
                let place = format!("{} {} by {}: {answered:?}", row.method, row.path, wrong.who);
                assert_eq!((answered.status, answered.code().as_str()), (wrong.status, wrong.code), "{place}");
                assert_eq!(answered.headers["content-type"], "application/problem+json", "{place}");
                hold_answer(&document, row, &wrong.who, &answered);
            }
            hold_other_partner(&api, &proofs, &document, row).await;
        }
        assert_eq!(traces(h).await, before, "somebody who was refused changed something");
        for row in &rows {
            if row.rule == Rule::Open {
                let answered = call(&api, row, &Vec::new(), None).await;
                assert_eq!(answered.status, row.status, "{} {}: {answered:?}", row.method, row.path);
                hold_answer(&document, row, "anybody", &answered);
            } else {
                hold_allowed(&api, &proofs, &document, row).await;
            }
        }
    }

    async fn a_token_of_the_key_set_is_let_in_beside_those_of_the_secret(h: &Harness) {
        let (api, proofs, _file) = open(h).await;
        let header = json!({ "alg": "RS256", "kid": "one" });
        let claims = proofs.claims("sam", &["staff"]);
        let token = token_of(&header, &claims, |message| rs256(&proofs.issuer, message));
        assert_eq!(api.get(&token, "/keys").await.status, 200);
    }
}
