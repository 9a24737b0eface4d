//! The API of a story, over real HTTP, and the tokens of those who call it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use payoutd::access::{AuthSettings, Gatekeeper};
use payoutd::engine::Engine;
use payoutd::http::{Desk, Limits, Metrics, Proxies, serve};
use payoutd::notify::Notifier;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Harness;

/// What the tokens of a story are signed with.
pub const SECRET: &str = "a secret of a story, of more than 32 bytes";

/// Limits that no story meets by accident.
pub const LIMITS: Limits = Limits {
    body_bytes: 1 << 20,
    body_time: Duration::from_secs(10),
    answer_time: Duration::from_secs(30),
    requests_per_minute: 1_000_000,
    failed_proofs_per_minute: 1_000_000,
};

/// The server of a story, stopped when it is dropped.
pub struct Api {
    pub address: SocketAddr,
    pub http: Client,
    stop: CancellationToken,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    /// What a reader of a failed story wants to see.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, String::from_utf8_lossy(&self.bytes))
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The stable code of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body as JSON, of an answer that has to be a success.
    pub fn ok(&self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, String::from_utf8_lossy(&self.bytes));
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How callers are proven in stories.
pub fn auth(change: Value) -> AuthSettings {
    let mut settings = json!({
        "jwt_secret": SECRET, "jwks_file": "", "jwks_url": "", "issuer": "", "audience": "",
        "leeway_s": 60,
    });
    for (key, value) in change.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    serde_json::from_value(settings).expect("settings")
}

impl Api {
    /// The API over a story's own engine.
    pub async fn open(h: &Harness) -> Self {
        Self::with(h, h.engine.clone(), LIMITS).await
    }

    /// The API over another engine, with other limits.
    pub async fn with(h: &Harness, engine: Engine, limits: Limits) -> Self {
        Self::of(h.desk(engine, limits)).await
    }

    /// The API of a desk.
    pub async fn of(desk: Desk) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, desk, stop.clone()));
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(60));
        Self { address, http: http.build().expect("a client"), stop }
    }

    /// A request without anything that proves who calls.
    pub fn bare(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    /// A request of the bearer of `token`, in the org `acme`.
    pub fn request(&self, token: &str, method: &str, path: &str) -> RequestBuilder {
        self.bare(method, path).header("orgid", "acme").bearer_auth(token)
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        answer(self.request(token, "GET", path)).await
    }

    pub async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        answer(self.request(token, "POST", path).json(&body)).await
    }

    pub async fn call(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        answer(self.request(token, method, path).json(&body)).await
    }
}

/// Sends a request, and reads all of the answer.
pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.expect("a whole body").to_vec();
    Answer { status, headers, bytes }
}

/// A token as the story's issuer signs it. Its end is far off: the stories' clock stands still.
pub fn token(h: &Harness, sub: &str, roles: &[&str]) -> String {
    let exp = h.clock.now().timestamp() + 3_600;
    let claims = json!({ "sub": sub, "orgid": "acme", "roles": roles, "exp": exp });
    sign(&claims)
}

/// Any claims, signed by the story's secret.
pub fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::default(), claims, &key).expect("claims that can be signed")
}

impl Harness {
    /// What a server of this story needs.
    pub fn desk(&self, engine: Engine, limits: Limits) -> Desk {
        let gatekeeper = Gatekeeper::new(self.store.clone(), self.clock.clone(), &auth(json!({})));
        let catalog = payoutd::jobs::Catalog::load(None).expect("the shipped jobs");
        Desk {
            runner: self.runner_of(engine.clone(), catalog),
            engine,
            notifier: self.notifier(),
            gatekeeper: gatekeeper.expect("usable settings"),
            limits,
            cors_origins: Arc::from([]),
            serves_api: true,
            proxies: Proxies::default(),
            metrics: Metrics::Local,
        }
    }

    /// Who tells others of this story: loopback may be called.
    pub fn notifier(&self) -> Notifier {
        self.notifier_with(json!({}))
    }

    /// The same with some settings changed.
    pub fn notifier_with(&self, change: Value) -> Notifier {
        let mut settings =
            json!({ "timeout_ms": 5_000, "allow_private": true, "secret_overlap_hours": 24 });
        for (key, value) in change.as_object().into_iter().flatten() {
            settings[key] = value.clone();
        }
        let settings = serde_json::from_value(settings).expect("settings");
        let notifier = Notifier::new(self.store.clone(), self.clock.clone(), settings);
        notifier.expect("a notifier")
    }

    /// A staff member's token.
    pub fn staff(&self) -> String {
        token(self, "sam", &["staff"])
    }

    /// A token of the partner behind the affiliate of the same name.
    pub fn partner(&self, name: &str) -> String {
        token(self, &format!("partner-{name}"), &["partner"])
    }
}
