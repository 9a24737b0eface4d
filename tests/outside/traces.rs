//! Traces, as a collector gets them from the real program.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::program::Program;

/// A collector on loopback: its address, and the requests that it gets, head and body.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}", listener.local_addr().expect("a bound port"));
    let (tell, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Some(request) = stream.ok().and_then(|stream| read(stream).ok()) else { continue };
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (address, heard)
}

fn read(mut stream: TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 8192];
    loop {
        let length = stream.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..length]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let wanted = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let wanted: usize = wanted.and_then(|length| length.parse().ok()).unwrap_or(0);
        if bytes.len() >= end + 4 + wanted {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
            return Ok((head, bytes[end + 4..].to_vec()));
        }
    }
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|part| part == text)
}

#[test]
fn a_run_is_a_span_that_a_collector_gets_before_the_process_ends() {
    let (address, heard) = collector();
    let setting = format!("telemetry.otlp_endpoint={address}");
    let program = Program::new(&[
        "job",
        "run",
        "audit-ledger",
        "--set",
        &setting,
        "--log-format",
        "json",
        "--log-level",
        "info",
    ]);
    let log = program.ends();
    let finished = log.lines().find(|line| line.contains("\"job.run.finished\""));
    let finished: Value = serde_json::from_str(finished.expect("a run")).expect("JSON");
    let text = |field: &str| finished[field].as_str().expect(field).to_owned();
    let trace_id = text("trace_id");
    let bytes: Vec<u8> = (0..32)
        .step_by(2)
        .map(|at| u8::from_str_radix(&trace_id[at..at + 2], 16).expect("hex digits"))
        .collect();
    let (head, body) = heard.recv_timeout(Duration::from_secs(20)).expect("a batch");
    assert!(head.starts_with("post /v1/traces "), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    for name in ["payoutd", "job.run", "job_id", "audit-ledger", "run_id", &text("run_id")] {
        assert!(holds(&body, name.as_bytes()), "{name} in {}", String::from_utf8_lossy(&body));
    }
    assert!(holds(&body, &bytes), "the trace of the log: {trace_id}");
}

#[test]
fn a_collector_that_is_not_there_keeps_nothing_from_running() {
    let program = Program::new(&[
        "job",
        "run",
        "audit-ledger",
        "--set",
        "telemetry.otlp_endpoint=http://127.0.0.1:9",
    ]);
    program.ends();
}
