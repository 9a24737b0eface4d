//! The daemon's HTTP server: it listens where it is told, says so, and stops with the daemon.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::orders;
use crate::place::Place;
use crate::process::{Process, soon};
use crate::rail::Rail;

on_both!(
    the_daemon_listens_where_it_is_told_and_stops_listening_with_it,
    a_stop_waits_for_the_request_in_hand,
);

/// A daemon with a server on a free port.
struct Daemon {
    process: Process,
    address: String,
}

impl Daemon {
    fn start(place: &mut Place) -> Self {
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
    fn call(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
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
