//! The daemon's HTTP server: it listens where it is told, says so, and stops with the daemon.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use aws_lc_rs::hmac;
use payoutd::clock::Clock;
use serde_json::{Value, json};

use crate::daemon::write_jobs;
use crate::orders;
use crate::place::Place;
use crate::process::{Process, soon};
use crate::rail::Rail;

on_both!(
    the_daemon_listens_where_it_is_told_and_stops_listening_with_it,
    a_stop_waits_for_the_request_in_hand,
    only_what_stripe_signed_now_and_for_this_org_is_kept,
    money_that_comes_back_is_noticed_at_once_because_stripe_says_so,
    money_that_comes_back_is_noticed_at_once_because_paypal_says_so,
);

/// A daemon with a server on a free port.
pub struct Daemon {
    pub process: Process,
    pub address: String,
}

impl Daemon {
    pub fn start(place: &mut Place) -> Self {
        place.set("HTTP__LISTEN", "127.0.0.1:0");
        let mut process = place.start(&["run", "--log-format", "json"]);
        process.says("http.listening");
        let line = soon("a whole line", || {
            let err = process.err();
            err.split_inclusive('\n')
                .find(|line| line.contains("http.listening") && line.ends_with('\n'))
                .map(str::to_owned)
        });
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let address = line["address"].as_str().expect("an address").to_owned();
        Self { process, address }
    }

    /// Makes one call; its status and its body.
    pub fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("the daemon listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: payoutd\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).expect("the daemon listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a whole answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }
}

/// An org with somebody in it, and a rail.
fn prepared(place: &mut Place) -> Rail {
    let rail = Rail::start(place);
    orders::write_payable(place, "data", 1);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    rail
}

fn the_daemon_listens_where_it_is_told_and_stops_listening_with_it(mut place: Place) {
    let _rail = prepared(&mut place);
    let daemon = Daemon::start(&mut place);
    assert_eq!(daemon.call("GET", "/livez", "", ""), (200, "ok\n".to_owned()));
    // No secret is set, so nobody can prove to be the provider.
    let (status, body) = daemon.call("POST", "/webhooks/paypal/acme", "", "{\"id\":\"WH-1\"}");
    assert_eq!(status, 401, "{body}");
    let problem: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&problem["code"], &problem["status"]), (&"webhook_refused".into(), &401.into()));
    let (status, _) = daemon.call("POST", "/webhooks/stripe/acme", "", "{}");
    assert_eq!(status, 404);

    place.set("HTTP__LISTEN", &daemon.address);
    let second = place.run(&["run"]).code(1);
    let second = second.says(&["cannot listen on", &daemon.address, "[http] listen"]);
    assert_eq!(second.out, "");

    let Daemon { process, address } = daemon;
    process.signal("TERM");
    let ran = process.ended().code(0);
    assert!(ran.err.contains("webhook.refused") && !ran.err.contains("WH-1"), "{}", ran.err);
    TcpListener::bind(&address).expect("the port is free again");
}

fn a_stop_waits_for_the_request_in_hand(mut place: Place) {
    let _rail = prepared(&mut place);
    let daemon = Daemon::start(&mut place);
    let mut stream = TcpStream::connect(&daemon.address).expect("the daemon listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let head = "POST /webhooks/paypal/acme HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{";
    stream.write_all(head.as_bytes()).expect("the daemon listens");
    std::thread::sleep(Duration::from_millis(300));
    let Daemon { mut process, .. } = daemon;
    process.signal("TERM");
    process.says("daemon.stopping");
    stream.write_all(b"}").expect("it still listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a whole answer");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    process.ended().code(0);
}

#[test]
fn an_address_that_is_none_is_named() {
    let place = Place::bare();
    for wrong in ["8320", "localhost:8320", "127.0.0.1", "127.0.0.1:99999"] {
        let set = format!("http.listen={wrong}");
        let ran = place.run(&["--set", &set, "config", "check"]).code(2);
        ran.says(&["http.listen", "an IP address and a port"]);
    }
    place.run(&["--set", "http.listen=[::1]:8320", "config", "check"]).code(0);
}

/// What Stripe would send with a body: signed so many seconds ago, with a secret.
fn signature(secret: &str, seconds_ago: i64, body: &str) -> String {
    let time = Clock::System.now().timestamp() - seconds_ago;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{time}.{body}").as_bytes());
    format!("stripe-signature: t={time},v1={}\r\n", hex::encode(tag.as_ref()))
}

fn only_what_stripe_signed_now_and_for_this_org_is_kept(mut place: Place) {
    let _rail = prepared(&mut place).with_stripe(&mut place);
    place.run(&["import", "data", "--org", "globex"]).code(0);
    place.run(&["import", "data", "--org", "initech"]).code(0);
    let secrets = "acme=whsec_old,acme=whsec_new,globex=whsec_globex";
    place.set("PROVIDERS__STRIPE__WEBHOOK_SECRETS", secrets);
    let daemon = Daemon::start(&mut place);
    let body = json!({"id": "evt_1", "type": "transfer.reversed", "data": {"object": {}}});
    let body = body.to_string();
    let deliver = |org: &str, headers: &str, body: &str| {
        daemon.call("POST", &format!("/webhooks/stripe/{org}"), headers, body).0
    };
    let signed = |secret: &str, seconds_ago: i64| signature(secret, seconds_ago, &body);
    for (org, headers, status) in [
        ("acme", String::new(), 401),
        ("acme", "stripe-signature: t=1,v1=00\r\n".to_owned(), 401),
        ("acme", signed("whsec_forged", 0), 401),
        ("acme", signed("whsec_globex", 0), 401),
        ("globex", signed("whsec_new", 0), 401),
        ("acme", signed("whsec_new", 301), 401),
        ("acme", signed("whsec_new", -360), 401),
        // No secret of this org is set: nothing it is sent can be proven.
        ("initech", signed("whsec_new", 0), 401),
        ("initech", signed("", 0), 401),
        ("nobody", signed("whsec_new", 0), 404),
    ] {
        assert_eq!(deliver(org, &headers, &body), status, "{org} {headers}");
    }
    assert_eq!(deliver("acme", &signed("whsec_new", 0), &body.replace("evt_1", "evt_2")), 401);
    let long = format!("{body}{}", " ".repeat(10 << 20));
    assert_eq!(deliver("acme", &signature("whsec_new", 0, &long), &long), 413);
    // The old secret holds while it is rotated out; a replay is taken and changes nothing.
    for (secret, seconds_ago) in [("whsec_new", 0), ("whsec_old", 290), ("whsec_new", 0)] {
        assert_eq!(deliver("acme", &signed(secret, seconds_ago), &body), 200);
    }
    assert_eq!(deliver("globex", &signed("whsec_globex", 0), &body), 200);
    let err = daemon.process.err();
    let kept: Vec<_> = err.lines().filter(|line| line.contains("webhook.kept")).collect();
    assert_eq!(kept.len(), 4, "{kept:?}");
    assert!(
        kept[2].contains("\"deliveries\":3") && kept[3].contains("\"deliveries\":1"),
        "{kept:?}"
    );
    assert!(!err.contains("whsec_"), "a secret is in the log");
    daemon.process.signal("TERM");
    daemon.process.ended().code(0);
    let shown = place.run(&["config", "show"]).code(0);
    assert!(!shown.out.contains("whsec_"), "a secret is shown: {}", shown.out);
}

/// Starts the daemon beside a payout by `method` and waits until it is completed; its reference.
fn paid_by(place: &mut Place, method: &str) -> (Daemon, String) {
    orders::write_payable_by(place, "data", 1, method);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    write_jobs(place);
    let daemon = Daemon::start(place);
    let status = |place: &Place| place.json(&["payout", "list"])[0]["status"].clone();
    soon("it is paid", || (status(place) == "completed").then_some(()));
    let id = place.json(&["payout", "list"])[0]["payout_id"].as_str().expect("an id").to_owned();
    let shown = place.json(&["payout", "show", &id]);
    let reference = shown["transfers"][0]["reference"].as_str().expect("a reference").to_owned();
    (daemon, reference)
}

fn tell(rail: &Rail, endpoint: &Value) {
    let (status, body) = rail.call("POST", "/_sandbox/webhooks", &endpoint.to_string());
    assert_eq!(status, 204, "{body}");
}

/// It would be asked about once a day: only because of the webhook it is known at once.
fn is_returned_soon(place: &Place, daemon: Daemon) {
    let status = || place.json(&["payout", "list"])[0]["status"].clone();
    soon("the money is back", || (status() == "returned").then_some(()));
    daemon.process.signal("TERM");
    let ran = daemon.process.ended().code(0);
    assert!(ran.err.contains("webhook.kept"), "{}", ran.err);
    place.run(&["check"]).code(0);
}

fn money_that_comes_back_is_noticed_at_once_because_stripe_says_so(mut place: Place) {
    let rail = Rail::start(&mut place).with_stripe(&mut place);
    place.set("PROVIDERS__STRIPE__WEBHOOK_SECRETS", "whsec_shared");
    let (daemon, reference) = paid_by(&mut place, "stripe-connect");
    let url = format!("http://{}/webhooks/stripe/acme", daemon.address);
    tell(&rail, &json!({"provider": "stripe", "url": url, "secret": "whsec_shared"}));
    let path = format!("/_sandbox/stripe/transfers/{reference}/reverse");
    assert_eq!(rail.call("POST", &path, "").0, 204);
    is_returned_soon(&place, daemon);
}

fn money_that_comes_back_is_noticed_at_once_because_paypal_says_so(mut place: Place) {
    let rail = Rail::start(&mut place);
    place.write("ca.pem", rail.call("GET", "/_sandbox/paypal-ca.pem", "").1);
    place.set("PROVIDERS__PAYPAL__WEBHOOK_IDS", "acme=WH0ACME");
    place.set("PROVIDERS__PAYPAL__WEBHOOK_CERT_HOSTS", "127.0.0.1");
    place.set("PROVIDERS__PAYPAL__WEBHOOK_CA_FILE", "ca.pem");
    let (daemon, reference) = paid_by(&mut place, "paypal");
    let url = format!("http://{}/webhooks/paypal/acme", daemon.address);
    tell(&rail, &json!({"provider": "paypal", "url": url, "webhook_id": "WH0ACME"}));
    let path = format!("/_sandbox/items/{reference}");
    assert_eq!(rail.call("POST", &path, "{\"status\":\"REFUNDED\"}").0, 204);
    is_returned_soon(&place, daemon);
}
