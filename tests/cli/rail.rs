//! `payoutd sandbox` as a process, and a plain HTTP client for what it answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::Place;
use crate::process::{Process, soon};

pub const POST_BATCH: &str = "POST /v1/payments/payouts";

/// A sandbox that is up.
pub struct Rail {
    pub address: String,
    process: Process,
}

impl Rail {
    /// Starts a sandbox and points the place at it.
    pub fn start(place: &mut Place) -> Self {
        Self::start_with(place, &[])
    }

    /// Starts a sandbox with more arguments.
    pub fn start_with(place: &mut Place, more: &[&str]) -> Self {
        let mut process = place.start(&[&["sandbox", "--listen", "127.0.0.1:0"], more].concat());
        process.says("; Ctrl-C");
        let err = process.err();
        let (_, rest) = err.split_once("http://").expect("an address");
        let address = rest.split(' ').next().expect("a word").to_owned();
        place.set("PROVIDERS__PAYPAL__BASE_URL", format!("http://{address}"));
        place.set("PROVIDERS__PAYPAL__CLIENT_ID", "an-id");
        place.set("PROVIDERS__PAYPAL__CLIENT_SECRET", "a-secret");
        Self { address, process }
    }

    /// Points the place at its Stripe too.
    pub fn with_stripe(self, place: &mut Place) -> Self {
        place.set("PROVIDERS__STRIPE__BASE_URL", format!("http://{}", self.address));
        place.set("PROVIDERS__STRIPE__SECRET_KEY", "sk_test_1");
        self
    }

    /// Kills it, and starts it again on its port.
    pub fn restart(self, place: &Place) -> Self {
        let Self { address, process } = self;
        process.kill();
        let mut process = place.start(&["sandbox", "--listen", &address]);
        process.says("; Ctrl-C");
        Self { address, process }
    }

    /// Arms a fault.
    pub fn fault(&self, fault: Value) {
        let (status, body) = self.call("POST", "/_sandbox/faults", &fault.to_string());
        assert_eq!(status, 204, "{body}");
    }

    /// Lets the answers to the next `times` batches take so long, after their effect.
    pub fn slow(&self, times: u32, delay_ms: u64) {
        self.fault(
            json!({"on": POST_BATCH, "fault": "slow", "times": times, "delay_ms": delay_ms}),
        );
    }

    pub fn clear(&self) {
        assert_eq!(self.call("DELETE", "/_sandbox/faults", "").0, 204);
    }

    /// The rows of its books.
    pub fn books(&self) -> Vec<Value> {
        let (status, body) = self.call("GET", "/_sandbox/books", "");
        assert_eq!(status, 200, "{body}");
        let books: Value = serde_json::from_str(&body).expect("JSON");
        books["paypal"].as_array().expect("a list").clone()
    }

    /// Who got how much, as (amount, currency); nobody may be there twice.
    pub fn paid(&self) -> BTreeMap<String, (String, String)> {
        let mut paid = BTreeMap::new();
        for row in self.books() {
            let text = |name: &str| row[name].as_str().expect("a text").to_owned();
            let before = paid.insert(text("recipient"), (text("amount"), text("currency")));
            assert_eq!(before, None, "paid twice: {row}");
        }
        paid
    }

    /// Waits until its books have as many rows.
    pub fn takes(&self, rows: usize) {
        soon("the sandbox took the money", || (self.books().len() >= rows).then_some(()));
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    pub fn ended(self) -> crate::process::Ran {
        self.process.ended()
    }

    /// Makes one call.
    pub fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        self.call_with(method, path, "", body)
    }

    /// Makes one call with more headers, each a line.
    pub fn call_with(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("the sandbox is up");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("the sandbox listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a whole answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }
}
