//! A year of schedules, looked at now and then under a fake clock, and held to what Python's
//! zoneinfo says: every instant is on record once, and no other.
//!
//! Python reads the time zones of the system (or of its package tzdata), we those that chrono-tz
//! has compiled in. The year begins in March 2026, for which the releases since 2025b agree.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use payoutd::jobs::Catalog;
use serde_json::{Value, json};

use crate::harness::Harness;

const ZONES: [&str; 12] = [
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Europe/London",
    "Europe/Berlin",
    "Africa/Cairo",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
];

/// Name, hour (none is every hour), minute, days: in the night, where clocks change.
const TIMES: [(&str, Option<u32>, u32, &str); 7] = [
    ("hourly", None, 0, "every"),
    ("midnight", Some(0), 30, "every"),
    ("half-past-one", Some(1), 30, "every"),
    ("half-past-two", Some(2), 30, "every"),
    ("chatham", Some(2), 50, "every"),
    ("sundays", Some(2), 30, "sunday"),
    ("fridays", Some(0), 30, "friday"),
];

/// In some zones, the days of a calendar.
const CALENDARS: [(&str, &str); 4] = [
    ("biweekly", "every_weeks = 2\nstarting = \"2026-01-05\""),
    ("last", "last_business_day = true"),
    ("mid", "day_of_month = 15"),
    ("net", "net_days = 30"),
];

const HOLIDAYS: [&str; 6] =
    ["2026-05-01", "2026-06-15", "2026-12-25", "2026-12-26", "2026-12-31", "2027-01-01"];

struct Job {
    id: String,
    zone: &'static str,
    hour: Option<u32>,
    minute: u32,
    days: &'static str,
    calendar: String,
}

impl Job {
    fn new(zone: &'static str, name: &str, time: (Option<u32>, u32), days: &'static str) -> Self {
        let id = format!("{name}-{}", zone.replace('/', "-").to_lowercase());
        Self { id, zone, hour: time.0, minute: time.1, days, calendar: String::new() }
    }

    fn file(&self) -> String {
        let hour = self.hour.map_or_else(|| "*".to_owned(), |hour| hour.to_string());
        let weekday = match self.days {
            "sunday" => "SUN",
            "friday" => "FRI",
            _ => "*",
        };
        format!(
            "kind = \"release_holds\"\nenabled = true\nschedule = \"{} {hour} * * {weekday}\"\n\
             timezone = \"{}\"\n\
             misfire = {{ policy = \"all\", window = \"60d\", max_runs = 1000 }}\n{}",
            self.minute, self.zone, self.calendar
        )
    }

    fn asked(&self) -> Value {
        json!({ "id": self.id, "zone": self.zone, "hour": self.hour, "minute": self.minute,
                "days": self.days })
    }
}

fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for zone in ZONES {
        for (name, hour, minute, days) in TIMES {
            jobs.push(Job::new(zone, name, (hour, minute), days));
        }
    }
    for zone in ["America/New_York", "Africa/Cairo", "Pacific/Apia"] {
        for (days, keys) in CALENDARS {
            let mut job = Job::new(zone, days, (Some(0), 30), days);
            job.calendar = format!("[calendar]\n{keys}\n");
            if days != "biweekly" {
                job.calendar += &format!("holidays = {HOLIDAYS:?}\n");
            }
            jobs.push(job);
        }
    }
    jobs
}

fn catalog(jobs: &[Job]) -> Catalog {
    let dir = tempfile::tempdir().expect("a folder");
    for job in jobs {
        std::fs::write(dir.path().join(format!("{}.toml", job.id)), job.file()).expect("written");
    }
    Catalog::load(Some(dir.path())).expect("jobs")
}

/// What Python says of the same jobs, and which time zones it has.
fn said_by_python(
    jobs: Vec<Value>,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> (String, BTreeMap<String, Vec<i64>>) {
    let asked = json!({
        "from": from.to_rfc3339(), "until": until.to_rfc3339(), "holidays": HOLIDAYS,
        "jobs": jobs,
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/replay.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3, from 3.9 on, is installed");
    let mut stdin = python.stdin.take().expect("a pipe");
    stdin.write_all(asked.to_string().as_bytes()).expect("it reads");
    drop(stdin);
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success(), "python3 needs the time zones of the system, or tzdata");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let instants = serde_json::from_value(said["instants"].clone()).expect("instants");
    (said["tzdata"].to_string(), instants)
}

fn first_difference(fired: &[i64], due: &[i64]) -> String {
    let at = |second: &i64| DateTime::from_timestamp(*second, 0).expect("an instant");
    let missing = due.iter().find(|instant| !fired.contains(instant)).map(at);
    let extra = fired.iter().find(|instant| !due.contains(instant)).map(at);
    format!("{} fired, {} due; missing {missing:?}, not due {extra:?}", fired.len(), due.len())
}

on_both! {
    async fn a_year_in_twelve_zones_fires_when_python_says(h: &Harness) {
        let jobs = jobs();
        let runner = h.runner_of(h.engine.clone(), catalog(&jobs));
        let from = h.clock.now();
        let until = from + TimeDelta::days(365);
        runner.tick().await.expect("a first look");
        // Now and then, at no round times, with outages of up to three weeks.
        for step in [3_601, 93_599, 1_814_401, 7, 500_003].iter().cycle() {
            let step = TimeDelta::seconds(*step).min(until - h.clock.now());
            h.clock.advance(step);
            runner.tick().await.expect("a look");
            if h.clock.now() == until {
                break;
            }
        }
        let rows = "SELECT job_id, scheduled_for FROM job_runs ORDER BY job_id, scheduled_for";
        let mut fired = BTreeMap::<String, Vec<i64>>::new();
        for (job_id, instant) in h.database.rows::<(String, DateTime<Utc>)>(rows).await {
            fired.entry(job_id).or_default().push(instant.timestamp());
        }
        // Python has to say something else of another zone: an oracle that cannot object is none.
        let mut moved = jobs.iter().map(Job::asked).collect::<Vec<_>>();
        moved.iter_mut().for_each(|job| job["zone"] = json!("Asia/Tokyo"));
        let (_, elsewhere) = said_by_python(moved, from, until);
        assert!(elsewhere.iter().all(|(job_id, due)| job_id.starts_with("hourly") || fired[job_id] != *due));
        let asked = jobs.iter().map(Job::asked).collect();
        let (tzdata, due) = said_by_python(asked, from, until);
        assert_eq!(due.len(), jobs.len());
        for (job_id, due) in &due {
            let fired = &fired[job_id];
            assert!(
                fired == due,
                "{job_id}: {} (Python has {tzdata}, we have {})",
                first_difference(fired, due),
                chrono_tz::IANA_TZDB_VERSION
            );
        }
    }
}
