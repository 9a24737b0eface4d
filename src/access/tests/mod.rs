//! Tokens, signed by a secret and by keys.

mod keys;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::access::token::Tokens;
use crate::access::{AuthSettings, Refusal};
use crate::clock::Clock;
use crate::domain::{Caller, Permission, Role};

const SECRET: &str = "thirty-two bytes are the least!!";

fn now() -> DateTime<Utc> {
    "2026-03-02T10:00:00Z".parse().expect("a time")
}

fn settings() -> AuthSettings {
    AuthSettings {
        jwt_secret: SECRET.into(),
        jwks_file: String::new(),
        jwks_url: String::new(),
        issuer: String::new(),
        audience: String::new(),
        leeway_s: 60,
    }
}

fn tokens(settings: &AuthSettings) -> Tokens {
    Tokens::new(settings, Clock::fixed(now())).expect("the settings are of use")
}

fn claims() -> Value {
    let exp = (now() + TimeDelta::minutes(5)).timestamp();
    json!({"sub": "alex", "orgid": "acme", "roles": ["partner"], "exp": exp})
}

/// The claims with some of them changed; null takes one away.
fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("an object") {
        let all = claims.as_object_mut().expect("an object");
        match value {
            Value::Null => all.remove(name),
            value => all.insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn signed_by(secret: &str, algorithm: Algorithm, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(algorithm), claims, &key).expect("claims can be signed")
}

async fn prove(settings: &AuthSettings, token: &str) -> Result<Caller, Refusal> {
    tokens(settings).prove(&format!("Bearer {token}")).await
}

/// What becomes of these claims, well signed.
async fn claimed(settings: &AuthSettings, changes: Value) -> Result<Caller, Refusal> {
    prove(settings, &signed_by(SECRET, Algorithm::HS256, &claims_with(changes))).await
}

#[tokio::test]
async fn a_token_signed_with_the_secret_says_who_calls() {
    let caller = claimed(&settings(), json!({})).await.expect("it is proven");
    assert_eq!((caller.org.as_str(), caller.id.as_str()), ("acme", "alex"));
    assert_eq!(caller.roles, [Role::Partner]);
    assert_eq!(caller.permissions, []);
}

#[tokio::test]
async fn a_role_that_is_said_twice_is_one_role_and_unknown_ones_are_none() {
    let roles = json!({"roles": ["partner", "admin", "partner"]});
    let caller = claimed(&settings(), roles).await.expect("it is proven");
    assert!(caller.is_only_partner());
    for roles in [json!([]), json!(["admin"]), json!(["Staff"]), json!([""])] {
        let refused = claimed(&settings(), json!({"roles": roles})).await;
        assert_eq!(refused, Err(Refusal::NO_ROLE));
    }
}

#[tokio::test]
async fn a_scope_narrows_a_service_and_widens_nobody() {
    let service = json!({"roles": ["service"]});
    let caller = claimed(&settings(), service).await.expect("it is proven");
    assert_eq!(caller.permissions, Permission::ALL);
    let scope = "openid commissions:write payouts:read";
    let narrow = json!({"roles": ["service"], "scope": scope});
    let caller = claimed(&settings(), narrow).await.expect("it is proven");
    assert_eq!(caller.permissions, [Permission::CommissionsWrite, Permission::PayoutsRead]);
    for scope in ["", "openid"] {
        let nothing = json!({"roles": ["service"], "scope": scope});
        let caller = claimed(&settings(), nothing).await.expect("it is proven");
        assert_eq!(caller.permissions, []);
    }
    let partner = claimed(&settings(), json!({"scope": scope})).await.expect("it is proven");
    assert_eq!(partner.permissions, []);
}

#[tokio::test]
async fn a_token_is_taken_until_it_expires_and_the_leeway_has_passed() {
    let exp = |seconds: i64| json!({"exp": now().timestamp() + seconds});
    assert!(claimed(&settings(), exp(-59)).await.is_ok());
    assert_eq!(claimed(&settings(), exp(-60)).await, Err(Refusal::TOKEN_EXPIRED));
    let nbf = |seconds: i64| json!({"nbf": now().timestamp() + seconds});
    assert!(claimed(&settings(), nbf(60)).await.is_ok());
    assert_eq!(claimed(&settings(), nbf(61)).await, Err(Refusal::TOKEN_TOO_EARLY));
}

#[tokio::test]
async fn a_time_may_have_a_fraction_and_has_to_be_a_number() {
    let at = now().timestamp();
    let fraction: Value = serde_json::from_str(&format!("{at}.75")).expect("a number");
    assert!(claimed(&settings(), json!({"exp": fraction})).await.is_ok());
    let number = |text: &str| serde_json::from_str::<Value>(text).expect("a number");
    let (huge, power) = (number("9223372036854775808"), number("2.5e9"));
    for exp in [json!("2999"), json!(true), json!([]), huge, power] {
        assert_eq!(claimed(&settings(), json!({"exp": exp})).await, Err(Refusal::INVALID_TOKEN));
    }
}

#[tokio::test]
async fn a_claim_that_is_missing_or_no_text_makes_the_token_invalid() {
    for changes in [
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "a b"}),
        json!({"sub": 7}),
        json!({"orgid": null}),
        json!({"orgid": "a\u{0}b"}),
        json!({"orgid": ["acme"]}),
        json!({"roles": null}),
        json!({"roles": "staff"}),
        json!({"exp": null}),
        json!({"scope": ["payouts:read"]}),
    ] {
        let refused = claimed(&settings(), changes.clone()).await;
        assert_eq!(refused, Err(Refusal::INVALID_TOKEN), "{changes}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_checked_where_they_are_configured() {
    let mut settings = settings();
    settings.issuer = "https://id.example".into();
    settings.audience = "payoutd".into();
    let right = json!({"iss": "https://id.example", "aud": ["shop", "payoutd"]});
    assert!(claimed(&settings, right).await.is_ok());
    assert!(
        claimed(&settings, json!({"iss": "https://id.example", "aud": "payoutd"})).await.is_ok()
    );
    for wrong in [
        json!({}),
        json!({"iss": "https://id.example"}),
        json!({"iss": "https://id.example", "aud": "shop"}),
        json!({"iss": "https://id.example", "aud": []}),
        json!({"iss": "https://id.example.evil", "aud": "payoutd"}),
        json!({"aud": "payoutd"}),
    ] {
        let refused = claimed(&settings, wrong.clone()).await;
        assert_eq!(refused, Err(Refusal::INVALID_TOKEN), "{wrong}");
    }
}

#[tokio::test]
async fn another_secret_and_another_algorithm_are_refused() {
    let settings = settings();
    for (secret, algorithm) in [
        ("another secret of thirty-two byte", Algorithm::HS256),
        (SECRET, Algorithm::HS384),
        (SECRET, Algorithm::HS512),
    ] {
        let refused = prove(&settings, &signed_by(secret, algorithm, &claims())).await;
        assert_eq!(refused, Err(Refusal::INVALID_TOKEN), "{algorithm:?}");
    }
}

#[tokio::test]
async fn without_a_secret_no_token_is_taken_not_even_one_of_the_empty_secret() {
    let mut settings = settings();
    settings.jwt_secret = "".into();
    let refused = prove(&settings, &signed_by("", Algorithm::HS256, &claims())).await;
    assert_eq!(refused, Err(Refusal::INVALID_TOKEN));
}

#[tokio::test]
async fn what_is_no_bearer_token_is_refused() {
    let tokens = tokens(&settings());
    let token = signed_by(SECRET, Algorithm::HS256, &claims());
    assert!(tokens.prove(&format!("bearer {token}")).await.is_ok());
    let (long, basic) = ("x".repeat(20_000), format!("Basic {token}"));
    for authorization in ["", "Bearer", "Bearer ", &token, &basic, &format!("Bearer {long}")] {
        assert_eq!(tokens.prove(authorization).await, Err(Refusal::INVALID_TOKEN));
    }
}

#[tokio::test]
async fn a_token_with_an_extension_that_has_to_be_understood_is_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".to_owned()]);
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&header, &claims(), &key).expect("claims can be signed");
    assert_eq!(prove(&settings(), &token).await, Err(Refusal::INVALID_TOKEN));
}
