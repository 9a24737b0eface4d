//! Somebody who is told: a real HTTP server on loopback that answers as it was told, and keeps
//! what it heard.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// `POST /hook HTTP/1.1`
    pub line: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

#[derive(Default)]
struct State {
    heard: Vec<Heard>,
    /// Answers of the next requests; then 204.
    answers: Vec<String>,
    /// How long an answer takes.
    delay: Duration,
}

/// See the module.
pub struct Receiver {
    pub url: String,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("a bound port"));
        let state = Arc::new(Mutex::new(State::default()));
        let told = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(answer(stream, Arc::clone(&told)));
            }
        });
        Self { url, state, task }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("a receiver that did not panic")
    }

    /// What the next requests are answered: `503`, or `429\r\nretry-after: 60`.
    pub fn answers(&self, answers: &[&str]) {
        self.state().answers = answers.iter().rev().map(|answer| (*answer).to_owned()).collect();
    }

    /// Everything is answered so, until told otherwise.
    pub fn always(&self, answer: &str) {
        self.state().answers = vec![answer.to_owned(); 10_000];
    }

    pub fn takes(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// What was heard since this was asked before.
    pub fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut self.state().heard)
    }

    /// The bodies that were heard since this was asked before, as JSON.
    pub fn told(&self) -> Vec<serde_json::Value> {
        let json = |heard: &Heard| serde_json::from_str(&heard.body).expect("JSON");
        self.heard().iter().map(json).collect()
    }
}

async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some(heard) = read(&mut stream).await else { return };
    let (answer, delay) = {
        let mut state = state.lock().expect("a receiver that did not panic");
        state.heard.push(heard);
        (state.answers.pop().unwrap_or_else(|| "204".to_owned()), state.delay)
    };
    tokio::time::sleep(delay).await;
    let (status, headers) = answer.split_once("\r\n").unwrap_or((&answer, "x-none: 1"));
    let text = format!(
        "HTTP/1.1 {status} X\r\n{headers}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let _ = stream.write_all(text.as_bytes()).await;
}

/// Reads one request to its end.
async fn read(stream: &mut TcpStream) -> Option<Heard> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.lines();
            let line = lines.next().unwrap_or_default().to_owned();
            let pair = |line: &str| {
                let (name, value) = line.split_once(": ").expect("a header");
                (name.to_ascii_lowercase(), value.to_owned())
            };
            let headers: HashMap<_, _> = lines.map(pair).collect();
            let length =
                headers.get("content-length").map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                return Some(Heard { line, headers, body: body.to_owned() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
