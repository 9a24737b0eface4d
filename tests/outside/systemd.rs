//! What systemd hears of the real program.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::program::Program;

/// Everything that is said until `end` is.
fn until(socket: &UnixDatagram, end: &str) -> Vec<String> {
    let (begun, mut said) = (Instant::now(), Vec::new());
    while !said.iter().any(|line: &String| line.starts_with(end)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "no {end}: {said:?}");
        let mut bytes = [0; 4096];
        if let Ok(length) = socket.recv(&mut bytes) {
            said.extend(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned));
        }
    }
    said
}

#[test]
fn the_service_manager_hears_that_it_is_ready_alive_and_stopping() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    let path = path.to_str().expect("text").to_owned();
    let environment = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "2000000")];
    let mut program = Program::within(
        folder,
        &["run", "--log-format", "json", "--log-level", "info"],
        &environment,
    );
    let said = until(&socket, "READY=1");
    let log =
        program.finds("the start", |log| log.contains("daemon.started").then(|| log.to_owned()));
    assert!(log.contains("daemon.started"), "{log}");
    assert!(!said.iter().any(|line| line.starts_with("STOPPING")), "{said:?}");
    // Half of two seconds.
    for _ in 0..2 {
        until(&socket, "WATCHDOG=1");
    }
    program.terminate();
    let said = until(&socket, "STOPPING=1").join(" ");
    assert!(said.contains("EXTEND_TIMEOUT_USEC="), "{said}");
    program.ends();
}
