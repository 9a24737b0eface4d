//! The gauges of one scrape, in Prometheus' text format, and what every number means.

use std::collections::BTreeMap;
use std::fmt::Write;

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What is read at a scrape: name and meaning.
const GAUGES: &[(&str, &str)] = &[
    ("payoutd_alerts_open", "Alerts that a person has to look at, by kind."),
    ("payoutd_build_info", "1, with the version of this program."),
    ("payoutd_database_up", "Whether the database answered this scrape."),
    ("payoutd_job_definition_drift", "Whether replicas hold different definitions of the job."),
    ("payoutd_job_enabled", "Whether the job's file says that it is enabled."),
    ("payoutd_job_expected_interval_seconds", "How often a run of the job is expected."),
    ("payoutd_job_last_run_timestamp_seconds", "When the last run of the job began."),
    ("payoutd_job_last_success_timestamp_seconds", "When a run of the job last ended well."),
    ("payoutd_job_next_run_timestamp_seconds", "The next due instant of the job."),
    ("payoutd_job_paused", "Whether a person or a failure paused the job."),
    ("payoutd_job_running", "Whether a run of the job is under way."),
    ("payoutd_job_running_seconds", "For how long the run under way has been at work."),
    ("payoutd_job_timeout_seconds", "The longest time that an attempt of the job may take."),
    ("payoutd_payout_oldest_pending_age_seconds", "How long the oldest payout waits to be sent."),
    ("payoutd_payouts_pending", "Payouts that are not over."),
    ("payoutd_reconcile_breaks_open", "Differences with providers' statements that are open."),
];

/// What is counted in the process: its type, name and meaning.
const COUNTED: &[(Counted, &str, &str)] = &[
    (Counter, "payoutd_heartbeat_failures_total", "Signs of life that did not arrive."),
    (Counter, "payoutd_job_failures_total", "Attempts that failed, by the code of the error."),
    (Counter, "payoutd_job_items_total", "What runs looked at, by what became of it."),
    (Counter, "payoutd_job_lease_lost_total", "Runs whose worker was not heard of in time."),
    (Counter, "payoutd_job_missed_total", "Due instants that were skipped, by reason."),
    (Counter, "payoutd_job_retries_total", "Attempts that failed and are tried again."),
    (Counter, "payoutd_job_runs_total", "Runs that ended for good, and skipped instants."),
    (Counter, "payoutd_payout_amount_minor_units_total", "Amounts of payouts that were completed."),
    (Counter, "payoutd_payouts_total", "Payouts that came to a state, through this process."),
    (Counter, "payoutd_scheduler_ticks_total", "Looks at the schedules."),
    (Counter, "payoutd_webhook_attempts_total", "Deliveries to others that were tried."),
    (Gauge, "payoutd_scheduler_last_tick_timestamp_seconds", "When this process last looked."),
    (Histogram, "payoutd_job_run_duration_seconds", "How long attempts took."),
    (Histogram, "payoutd_job_start_delay_seconds", "How long after its instant a run began."),
];

/// The type of a number that is counted in the process.
#[derive(Debug, Clone, Copy)]
enum Counted {
    Counter,
    Gauge,
    Histogram,
}

use Counted::{Counter, Gauge, Histogram};

/// Says what the numbers mean that are counted in the process.
pub(super) fn describe() {
    for (kind, name, what) in COUNTED {
        match kind {
            Counter => describe_counter!(*name, *what),
            Gauge => describe_gauge!(*name, *what),
            Histogram => describe_histogram!(*name, *what),
        }
    }
}

/// Names what is counted and has not happened yet, so that a scrape holds every name.
pub(super) fn name_the_rest(text: &mut String) {
    for (kind, name, what) in COUNTED {
        let kind = match kind {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        };
        let declared = format!("# TYPE {name} {kind}\n");
        if !text.contains(&declared) {
            write!(text, "# HELP {name} {what}\n{declared}").expect("text can be written to");
        }
    }
}

/// The gauges of one scrape: for each name its samples, by their labels.
#[derive(Default)]
pub(super) struct Page(BTreeMap<&'static str, Vec<(String, f64)>>);

impl Page {
    /// Sets a gauge.
    pub(super) fn set(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        let mut text = String::new();
        for (name, value) in labels {
            let comma = if text.is_empty() { "" } else { "," };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(text, "{comma}{name}=\"{value}\"").expect("text can be written to");
        }
        self.0.entry(name).or_default().push((text, value));
    }

    /// All of it, as Prometheus reads it. A gauge without a sample is named all the same.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, what) in GAUGES {
            writeln!(text, "# HELP {name} {what}\n# TYPE {name} gauge").expect("text");
            for (labels, value) in self.0.get(name).into_iter().flatten() {
                match labels.as_str() {
                    "" => writeln!(text, "{name} {value}"),
                    labels => writeln!(text, "{name}{{{labels}}} {value}"),
                }
                .expect("text can be written to");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_holds_whatever_a_file_may_be_called() {
        let mut page = Page::default();
        page.set("payoutd_job_paused", &[("job_id", "a\"b\\c\nd")], 1.0);
        let text = page.text();
        assert!(text.contains("payoutd_job_paused{job_id=\"a\\\"b\\\\c\\nd\"} 1\n"), "{text}");
    }
}
