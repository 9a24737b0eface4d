//! Webhooks to others, by the daemon: added over the API, delivered, listed, told again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use jsonwebtoken::{EncodingKey, Header, encode};
use payoutd::clock::Clock;
use serde_json::{Value, json};

use crate::orders;
use crate::place::Place;
use crate::process::soon;
use crate::rail::Rail;
use crate::webhooks::Daemon;

on_both!(the_daemon_tells_others_and_an_operator_sees_it_and_tells_it_again);

const SECRET: &str = "a secret of a test, of more than 32 bytes";

/// Somebody who is told: bodies as they come.
fn receiver() -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("a bound port"));
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).expect("a head");
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = value.trim().parse().expect("a number");
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            told.lock().expect("a list").push(serde_json::from_slice(&body).expect("JSON"));
            let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            stream.get_mut().write_all(answer.as_bytes()).expect("a caller who listens");
        }
    });
    (url, heard)
}

fn staff() -> String {
    let exp = Clock::System.now().timestamp() + 600;
    let claims = json!({ "sub": "sam", "orgid": "acme", "roles": ["staff"], "exp": exp });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&Header::default(), &claims, &key).expect("claims that can be signed");
    format!("authorization: Bearer {token}\r\norgid: acme\r\ncontent-type: application/json\r\n")
}

fn the_daemon_tells_others_and_an_operator_sees_it_and_tells_it_again(mut place: Place) {
    let _rail = Rail::start(&mut place);
    orders::write_payable(&place, "data", 3);
    place.run(&["import", "data", "--org", "acme"]).code(0);
    place.set("AUTH__JWT_SECRET", SECRET);
    place.set("NOTIFY__ALLOW_PRIVATE", true);
    let (url, heard) = receiver();
    let daemon = Daemon::start(&mut place);
    let body = json!({ "url": url, "events": ["payout.requested"] }).to_string();
    let (status, answer) = daemon.call("POST", "/webhook-endpoints", &staff(), &body);
    assert_eq!(status, 201, "{answer}");
    let secret = serde_json::from_str::<Value>(&answer).expect("JSON")["secret"].clone();
    for job in ["release-holds", "auto-payout"] {
        place.run(&["job", "run", job]).code(0);
    }
    let count = || heard.lock().expect("a list").len();
    soon("three payouts are told", || (count() == 3).then_some(()));
    let delivered = || {
        let list = place.json(&["webhook", "deliveries", "--status", "delivered"]);
        list.as_array().expect("a list").clone()
    };
    let rows = soon("all three are recorded", || Some(delivered()).filter(|rows| rows.len() == 3));
    assert_eq!((&rows[0]["type"], &rows[0]["attempts"]), (&json!("payout.requested"), &json!(1)));
    let list = place.run(&["webhook", "list"]).code(0);
    assert!(list.out.contains(&url) && list.out.contains("payout.requested"), "{}", list.out);
    place.run(&["webhook", "deliveries"]).code(0).says(&[]);

    let event = rows[0]["event_id"].as_str().expect("an id");
    assert_eq!(place.json(&["webhook", "replay", event]), json!({ "queued": 1 }));
    soon("it is told again", || (count() == 4).then_some(()));
    let time = ["--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"];
    let missed = place.json(&[&["webhook", "replay"][..], &time].concat());
    assert_eq!(missed, json!({ "queued": 0 }));
    place.run(&["webhook", "replay", "ev_9"]).code(2).says(&["ev_9 is no event of this org"]);
    place.run(&["webhook", "replay"]).code(2);

    daemon.process.signal("TERM");
    let ran = daemon.process.ended().code(0);
    let secret = secret.as_str().expect("a secret");
    assert!(!ran.err.contains(secret) && !ran.err.contains(SECRET), "a secret is in the log");
}
