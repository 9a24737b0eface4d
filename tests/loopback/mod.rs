//! A sandbox on a loopback port, ended when it is dropped, and a plain client to call it with.

use std::time::Duration;

use payoutd::clock::Clock;
use payoutd::sandbox::{Sandbox, serve};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub struct Loopback {
    pub sandbox: Sandbox,
    pub url: String,
    http: Client,
    stop: CancellationToken,
}

/// What was answered: the status, and the body as JSON (`null` if there is none).
pub type Answer = (u16, Value);

impl Loopback {
    /// A sandbox that starts empty and forgets.
    pub async fn open() -> Self {
        Self::of(Sandbox::new(Clock::System)).await
    }

    pub async fn of(sandbox: Sandbox) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound port"));
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, sandbox.clone(), stop.clone()));
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(30));
        Self { sandbox, url, http: http.build().expect("a client"), stop }
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// A call to the sandbox itself, which must be taken.
    pub async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self.request(method, &format!("/_sandbox/{path}")).body(body.to_string());
        let (status, answer) = answer(request).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}
