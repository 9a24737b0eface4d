//! docs/metrics.md, held against a scrape of the real program.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::pages::{quoted, table, text};
use crate::program::Program;

/// Type and labels, by name.
pub type Numbers = BTreeMap<String, (String, BTreeSet<String>)>;

/// What docs/metrics.md lists.
pub fn documented() -> Numbers {
    let row = |cells: Vec<String>| {
        let [name, kind, labels, meaning] = cells.try_into().expect("four columns");
        assert!(meaning.ends_with('.'), "{name}: what does it mean?");
        let name = quoted(&name).pop().expect("a name in backticks");
        (name, (kind, quoted(&labels).into_iter().collect()))
    };
    table(&text("docs/metrics.md"), "name").into_iter().map(row).collect()
}

/// What a request is answered: its status line, and its body.
pub fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

/// The address in the line that says that somebody listens.
pub fn listening(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("\"http.listening\""))?;
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(line["address"].as_str()?.to_owned())
}

/// What a scrape holds, and the labels that each number has there.
fn scraped(text: &str) -> Numbers {
    let mut numbers = Numbers::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a name and a type");
            let fresh = numbers.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            assert!(fresh.is_none(), "{name} is declared twice");
        } else if !line.starts_with('#') && !line.is_empty() {
            let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|base| numbers.contains_key(*base)));
            let number = numbers.get_mut(base.unwrap_or(name)).expect("it was declared before");
            let labels = labels.trim_end_matches('}').split("\",");
            let names = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            number.1.extend(names.filter(|name| name != "le"));
        }
    }
    numbers
}

#[test]
fn a_scrape_holds_what_is_documented_and_nothing_else() {
    let settings =
        ["--set", "http.listen=127.0.0.1:0", "--log-format", "json", "--log-level", "info"];
    let mut program = Program::new(&[&["demo"], &settings[..]].concat());
    let address = program.finds("the server", listening);
    program.finds("a look", |log| log.contains("\"daemon.started\"").then_some(()));
    let (documented, mut text) = (documented(), String::new());
    // The first look comes a second after the start.
    let tick = "payoutd_scheduler_last_tick_timestamp_seconds ";
    while !text.contains(tick) {
        let (status, body) = get(&address, "/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK");
        text = body;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let scraped = scraped(&text);
    let names = |numbers: &Numbers| numbers.keys().cloned().collect::<BTreeSet<_>>();
    let (there, written) = (names(&scraped), names(&documented));
    let unwritten: Vec<_> = there.difference(&written).collect();
    let missing: Vec<_> = written.difference(&there).collect();
    assert!(unwritten.is_empty(), "not in docs/metrics.md: {unwritten:?}");
    assert!(missing.is_empty(), "in docs/metrics.md, and not scraped: {missing:?}\n{text}");
    for (name, (kind, labels)) in &scraped {
        let (wanted, known) = &documented[name];
        assert_eq!(kind, wanted, "{name}");
        // What never happened has no sample, and so no labels.
        assert!(labels.is_empty() || labels == known, "{name} has {labels:?}, not {known:?}");
    }
    for sample in [
        "payoutd_job_runs_total{job_id=\"auto-payout\",trigger=\"manual\",outcome=\"succeeded\"} 1",
        "payoutd_payout_amount_minor_units_total{currency=\"USD\"} ",
        "payoutd_database_up 1",
    ] {
        assert!(text.contains(sample), "{sample}:\n{text}");
    }
    let paid = "payoutd_payouts_total{provider=\"paypal\",state=\"completed\"} ";
    let paid = text.lines().find_map(|line| line.strip_prefix(paid)).expect("payouts by PayPal");
    assert!(paid.parse::<u32>().expect("a count") > 0);
    assert_eq!(get(&address, "/readyz").0, "HTTP/1.1 200 OK");
    assert!(!text.contains("aff-0"), "nobody is named");
    program.terminate();
    program.ends();
}
