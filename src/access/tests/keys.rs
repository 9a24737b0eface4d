//! Tokens signed by keys: the pairs are made here, and sign by hand, so that what checks them is
//! not what made them.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use aws_lc_rs::{encoding, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use encoding::AsDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{SECRET, claims, claims_with, now, settings};
use crate::access::token::Tokens;
use crate::access::{AccessError, AuthSettings, Refusal};
use crate::clock::Clock;
use crate::domain::Caller;

/// A pair of keys.
enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Pair {
    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a pair"))
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a pair"))
    }

    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().expect("a pair"))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    /// The public half as a key of a set.
    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                // SEQUENCE, INTEGER of 257 bytes with a leading zero, INTEGER of 3 bytes.
                let der = pair.public_key().as_ref();
                let (modulus, exponent) =
                    (&der[der.len() - 261..der.len() - 5], &der[der.len() - 3..]);
                json!({"kty": "RSA", "kid": id, "use": "sig", "n": text(modulus), "e": text(exponent)})
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (text(&point[1..33]), text(&point[33..]));
                json!({"kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "x": x, "y": y})
            }
            Self::Ed(pair) => {
                let x = text(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "key_ops": ["verify"], "x": x})
            }
        }
    }

    /// Every form that the public half is published in, as bytes that a forger may have.
    fn published(&self) -> Vec<Vec<u8>> {
        let jwk = self.jwk("one");
        let (raw, der) = match self {
            Self::Rsa(pair) => (pair.public_key().as_ref().to_vec(), spki(pair.public_key())),
            Self::Ec(pair) => (pair.public_key().as_ref().to_vec(), spki(pair.public_key())),
            Self::Ed(pair) => (pair.public_key().as_ref().to_vec(), spki(pair.public_key())),
        };
        let pem = |label: &str, der: &[u8]| {
            let text = STANDARD.encode(der);
            let lines: Vec<_> =
                text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
        };
        let pems = [pem("PUBLIC KEY", &der), pem("RSA PUBLIC KEY", &raw)];
        let mut forms =
            vec![jwk.to_string().into_bytes(), set(std::slice::from_ref(&jwk)).into_bytes()];
        for pem in pems {
            forms.push(pem.trim_end().as_bytes().to_vec());
            forms.push(pem.into_bytes());
        }
        for part in ["n", "x", "y"] {
            let Some(part) = jwk[part].as_str() else { continue };
            forms.push(part.as_bytes().to_vec());
            forms.push(URL_SAFE_NO_PAD.decode(part).expect("it was written so"));
        }
        forms.extend([raw, der]);
        forms
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.expect("it is signed");
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message).expect("it is signed").as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token that names the key `id`.
    fn token(&self, id: &str, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": self.algorithm(), "kid": id});
        token_of(&header, claims, |message| self.sign(message))
    }
}

fn spki(key: &impl AsDer<encoding::PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().expect("it can be written").as_ref().to_vec()
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn set(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

fn token_of(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let (header, claims) =
        (text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()));
    let message = format!("{header}.{claims}");
    let signature = text(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn signed_by_secret(header: &Value, secret: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    token_of(header, &claims(), |message| hmac::sign(&key, message).as_ref().to_vec())
}

/// Settings with a file of keys, and no secret. The file lives as long as what is returned.
fn by_file(keys: &str) -> (AuthSettings, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), keys).expect("it is written");
    let mut settings = settings();
    settings.jwt_secret = "".into();
    settings.jwks_file = file.path().display().to_string();
    (settings, file)
}

fn tokens(settings: &AuthSettings, clock: &Clock) -> Tokens {
    Tokens::new(settings, clock.clone()).expect("the settings are of use")
}

async fn prove(tokens: &Tokens, token: &str) -> Result<Caller, Refusal> {
    tokens.prove(&format!("Bearer {token}")).await
}

#[tokio::test]
async fn each_kind_of_key_proves_who_calls() {
    let pairs = [Pair::rsa(), Pair::ec(), Pair::ed()];
    let ids = ["one", "two", "three"];
    let keys: Vec<_> = pairs.iter().zip(ids).map(|(pair, id)| pair.jwk(id)).collect();
    let (settings, _file) = by_file(&set(&keys));
    let tokens = tokens(&settings, &Clock::fixed(now()));
    for (pair, id) in pairs.iter().zip(ids) {
        let caller = prove(&tokens, &pair.token(id, &claims())).await;
        let caller = caller.unwrap_or_else(|_| panic!("{}", pair.algorithm()));
        assert_eq!(caller.id, "alex");
        let late = claims_with(json!({"exp": now().timestamp() - 60}));
        assert_eq!(prove(&tokens, &pair.token(id, &late)).await, Err(Refusal::TOKEN_EXPIRED));
        let other = match pair {
            Pair::Rsa(_) => Pair::rsa(),
            Pair::Ec(_) => Pair::ec(),
            Pair::Ed(_) => Pair::ed(),
        };
        let forged = prove(&tokens, &other.token(id, &claims())).await;
        assert_eq!(forged, Err(Refusal::INVALID_TOKEN), "{}", pair.algorithm());
    }
}

#[tokio::test]
async fn a_token_that_names_no_key_is_tried_with_every_key_of_its_algorithm() {
    let (one, two) = (Pair::ed(), Pair::ed());
    let (settings, _file) = by_file(&set(&[one.jwk("one"), two.jwk("two")]));
    let tokens = tokens(&settings, &Clock::fixed(now()));
    let unnamed =
        |pair: &Pair| token_of(&json!({"alg": "EdDSA"}), &claims(), |message| pair.sign(message));
    assert!(prove(&tokens, &unnamed(&two)).await.is_ok());
    assert!(prove(&tokens, &unnamed(&Pair::ed())).await.is_err());
    // A name is binding.
    assert!(prove(&tokens, &two.token("one", &claims())).await.is_err());
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_however_it_says_so() {
    let pair = Pair::rsa();
    let (mut settings, _file) = by_file(&set(&[pair.jwk("one")]));
    for secret in ["", SECRET] {
        settings.jwt_secret = secret.into();
        let tokens = tokens(&settings, &Clock::fixed(now()));
        for word in ["none", "None", "NONE", "nOnE", "", " none", "RS256", "ES256", "HS256"] {
            let token = token_of(&json!({"alg": word, "kid": "one"}), &claims(), |_| Vec::new());
            assert_eq!(prove(&tokens, &token).await, Err(Refusal::INVALID_TOKEN), "{word}");
            let bare = token.trim_end_matches('.');
            assert_eq!(prove(&tokens, bare).await, Err(Refusal::INVALID_TOKEN), "{word}");
        }
        for header in [json!({}), json!({"alg": null}), json!({"alg": ["none"]}), json!(1)] {
            let token = token_of(&header, &claims(), |_| Vec::new());
            assert_eq!(prove(&tokens, &token).await, Err(Refusal::INVALID_TOKEN), "{header}");
        }
    }
}

#[tokio::test]
async fn a_token_signed_with_the_public_key_as_a_secret_is_refused() {
    for pair in [Pair::rsa(), Pair::ec(), Pair::ed()] {
        let (mut settings, _file) = by_file(&set(&[pair.jwk("one")]));
        for secret in ["", SECRET] {
            settings.jwt_secret = secret.into();
            let tokens = tokens(&settings, &Clock::fixed(now()));
            for published in pair.published() {
                for word in ["HS256", pair.algorithm()] {
                    let token = signed_by_secret(&json!({"alg": word, "kid": "one"}), &published);
                    let refused = prove(&tokens, &token).await;
                    assert_eq!(refused, Err(Refusal::INVALID_TOKEN), "{word}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_the_token_itself_brings_is_not_looked_at() {
    let (ours, theirs) = (Pair::ed(), Pair::ed());
    let (settings, _file) = by_file(&set(&[ours.jwk("one")]));
    let tokens = tokens(&settings, &Clock::fixed(now()));
    let jwk = theirs.jwk("one");
    let address = "https://evil.example/keys";
    for header in [
        json!({"alg": "EdDSA", "kid": "one", "jwk": jwk}),
        json!({"alg": "EdDSA", "jwk": jwk}),
        json!({"alg": "EdDSA", "kid": "one", "jku": address, "x5u": address}),
    ] {
        let token = token_of(&header, &claims(), |message| theirs.sign(message));
        assert_eq!(prove(&tokens, &token).await, Err(Refusal::INVALID_TOKEN), "{header}");
    }
}

#[tokio::test]
async fn a_key_checks_its_own_algorithm_alone() {
    let (rsa, ec) = (Pair::rsa(), Pair::ec());
    let (settings, _file) = by_file(&set(&[rsa.jwk("one"), ec.jwk("two")]));
    let tokens = tokens(&settings, &Clock::fixed(now()));
    for (pair, word, id) in [
        (&rsa, "ES256", "one"),
        (&rsa, "PS256", "one"),
        (&rsa, "RS512", "one"),
        (&rsa, "RS256", "two"),
        (&ec, "RS256", "two"),
        (&ec, "ES384", "two"),
        (&ec, "EdDSA", "two"),
    ] {
        let header = json!({"alg": word, "kid": id});
        let token = token_of(&header, &claims(), |message| pair.sign(message));
        assert_eq!(prove(&tokens, &token).await, Err(Refusal::INVALID_TOKEN), "{header}");
    }
}

#[tokio::test]
async fn a_shared_secret_in_a_set_and_keys_for_something_else_are_left_out() {
    let (good, other) = (Pair::ed(), Pair::rsa());
    let changed = |name: &str, value: Value| {
        let mut jwk = other.jwk(name);
        jwk["use"] = value;
        jwk
    };
    let mut of_another_algorithm = other.jwk("alg");
    of_another_algorithm["alg"] = json!("PS256");
    let shared = json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": text(SECRET.as_bytes())});
    let keys =
        [shared, changed("enc", json!("enc")), of_another_algorithm, json!(7), good.jwk("good")];
    let (settings, _file) = by_file(&set(&keys));
    let tokens = tokens(&settings, &Clock::fixed(now()));
    assert!(prove(&tokens, &good.token("good", &claims())).await.is_ok());
    for id in ["enc", "alg"] {
        let refused = prove(&tokens, &other.token(id, &claims())).await;
        assert_eq!(refused, Err(Refusal::INVALID_TOKEN), "{id}");
    }
    let header = json!({"alg": "HS256", "kid": "oct"});
    let refused = prove(&tokens, &signed_by_secret(&header, SECRET.as_bytes())).await;
    assert_eq!(refused, Err(Refusal::INVALID_TOKEN));
}

#[test]
fn a_file_without_a_key_of_use_is_a_wrong_setting() {
    let shared = set(&[json!({"kty": "oct", "kid": "oct", "k": "AAAA"})]);
    for keys in ["", "{}", "{\"keys\": []}", "no JSON", &shared] {
        let (settings, _file) = by_file(keys);
        let error = Tokens::new(&settings, Clock::fixed(now())).err().expect("it is refused");
        assert!(matches!(error, AccessError::NoKeys(_)), "{keys}: {error}");
    }
    let mut missing = settings();
    missing.jwks_file = "/nowhere/keys.json".into();
    let error = Tokens::new(&missing, Clock::fixed(now())).err().expect("it is refused");
    assert_eq!(error.to_string(), "cannot read auth.jwks_file /nowhere/keys.json");
}

#[test]
fn keys_come_over_https_or_from_this_host() {
    for (address, is_allowed) in [
        ("https://id.example/keys", true),
        ("http://127.0.0.1:9/keys", true),
        ("http://id.example/keys", false),
        ("http://127.0.0.1.evil.example/keys", false),
        ("http://127.0.0.1@evil.example/keys", false),
        ("file:///etc/keys", false),
        ("keys", false),
    ] {
        let mut settings = settings();
        settings.jwks_url = address.into();
        let tokens = Tokens::new(&settings, Clock::fixed(now()));
        assert_eq!(tokens.is_ok(), is_allowed, "{address}");
    }
}

/// An issuer on loopback: what it answers, and how often it was asked.
struct Issuer {
    address: String,
    status: Arc<AtomicU16>,
    body: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Issuer {
    async fn open(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}/keys", listener.local_addr().expect("a bound port"));
        let (status, asked) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicUsize::new(0)));
        let body = Arc::new(Mutex::new(body.to_owned()));
        let (of_status, of_body, count) = (status.clone(), body.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                count.fetch_add(1, Ordering::SeqCst);
                let body = of_body.lock().expect("nobody panicked").clone();
                let status = of_status.load(Ordering::SeqCst);
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\
                     location: /keys\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(body.as_bytes()).await;
            }
        });
        Self { address, status, body, asked, task }
    }

    fn tokens(&self, clock: &Clock) -> Tokens {
        let mut settings = settings();
        settings.jwt_secret = "".into();
        settings.jwks_url = self.address.clone();
        tokens(&settings, clock)
    }

    fn publish(&self, keys: &[Value]) {
        *self.body.lock().expect("nobody panicked") = set(keys);
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn keys_are_fetched_once_and_then_kept() {
    let pair = Pair::ed();
    let issuer = Issuer::open(&set(&[pair.jwk("one")])).await;
    let tokens = issuer.tokens(&Clock::fixed(now()));
    assert_eq!(issuer.asked(), 0, "nothing is fetched before it is needed");
    let token = pair.token("one", &claims());
    let many = futures::future::join_all((0..20).map(|_| prove(&tokens, &token))).await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_key_that_is_not_known_is_looked_for_at_most_once_a_minute() {
    let (old, new) = (Pair::ed(), Pair::ed());
    let issuer = Issuer::open(&set(&[old.jwk("old")])).await;
    let clock = Clock::fixed(now());
    let tokens = issuer.tokens(&clock);
    assert!(prove(&tokens, &old.token("old", &claims())).await.is_ok());
    issuer.publish(&[old.jwk("old"), new.jwk("new")]);
    for _ in 0..5 {
        let early = prove(&tokens, &new.token("new", &claims())).await;
        assert_eq!(early, Err(Refusal::INVALID_TOKEN));
    }
    assert_eq!(issuer.asked(), 1);
    clock.advance(TimeDelta::seconds(60));
    assert!(prove(&tokens, &new.token("new", &claims())).await.is_ok());
    for id in ["made", "up", "ids"] {
        assert!(prove(&tokens, &new.token(id, &claims())).await.is_err());
    }
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn what_is_known_stays_good_while_the_issuer_fails() {
    let pair = Pair::ed();
    let issuer = Issuer::open(&set(&[pair.jwk("one")])).await;
    let clock = Clock::fixed(now());
    let tokens = issuer.tokens(&clock);
    let token = || pair.token("one", &claims_with(json!({"exp": i32::MAX})));
    assert!(prove(&tokens, &token()).await.is_ok());
    for status in [500, 302, 404] {
        issuer.answer(status);
        clock.advance(TimeDelta::hours(1));
        assert!(prove(&tokens, &pair.token("new", &claims())).await.is_err());
        assert!(prove(&tokens, &token()).await.is_ok(), "{status}");
    }
    issuer.answer(200);
    let too_long = format!("{}{}", set(&[pair.jwk("new")]), " ".repeat(300_000));
    for body in ["<html>", "{\"keys\": []}", &too_long] {
        *issuer.body.lock().expect("nobody panicked") = body.to_owned();
        clock.advance(TimeDelta::hours(1));
        assert!(prove(&tokens, &pair.token("new", &claims())).await.is_err());
        assert!(prove(&tokens, &token()).await.is_ok());
    }
    assert_eq!(issuer.asked(), 7, "a redirect is not followed");
}

#[tokio::test]
async fn a_key_that_its_issuer_took_back_is_gone_once_the_set_is_read_again() {
    let (old, new) = (Pair::ed(), Pair::ed());
    let issuer = Issuer::open(&set(&[old.jwk("old")])).await;
    let clock = Clock::fixed(now());
    let tokens = issuer.tokens(&clock);
    let token = || old.token("old", &claims_with(json!({"exp": i32::MAX})));
    assert!(prove(&tokens, &token()).await.is_ok());
    issuer.publish(&[new.jwk("new")]);
    clock.advance(TimeDelta::minutes(10));
    // The set is old now: this call still passes by it, and has it read again beside.
    assert!(prove(&tokens, &token()).await.is_ok());
    let gone = async {
        while prove(&tokens, &token()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), gone).await.expect("it is read again");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn while_no_key_was_ever_read_nobody_can_tell_whether_a_token_is_good() {
    let pair = Pair::ed();
    let issuer = Issuer::open(&set(&[pair.jwk("one")])).await;
    issuer.answer(503);
    let clock = Clock::fixed(now());
    let tokens = issuer.tokens(&clock);
    for _ in 0..3 {
        let unclear = prove(&tokens, &pair.token("one", &claims())).await;
        assert_eq!(unclear, Err(Refusal::NO_KEYS));
    }
    assert_eq!(issuer.asked(), 1);
    issuer.answer(200);
    clock.advance(TimeDelta::seconds(5));
    assert!(prove(&tokens, &pair.token("one", &claims())).await.is_ok());
}

#[tokio::test]
async fn a_file_is_read_again_for_a_key_that_is_not_known() {
    let (old, new) = (Pair::ed(), Pair::ed());
    let (settings, file) = by_file(&set(&[old.jwk("old")]));
    let clock = Clock::fixed(now());
    let tokens = tokens(&settings, &clock);
    std::fs::write(file.path(), set(&[new.jwk("new")])).expect("it is written");
    assert!(prove(&tokens, &new.token("new", &claims())).await.is_ok());
    assert!(prove(&tokens, &old.token("old", &claims())).await.is_err());
}
