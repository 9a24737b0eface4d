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

/// Says what the numbers mean that are counted in the process.
pub(super) fn describe() {
    for (name, what) in [
        ("payoutd_scheduler_ticks_total", "Looks at the schedules."),
        ("payoutd_job_runs_total", "Runs that ended for good, and instants that were skipped."),
        ("payoutd_job_missed_total", "Due instants that were skipped, by reason."),
        ("payoutd_job_items_total", "What runs looked at, by what became of it."),
        ("payoutd_job_lease_lost_total", "Runs whose worker was not heard of in time."),
        ("payoutd_job_retries_total", "Attempts that failed and are tried again."),
        ("payoutd_job_failures_total", "Attempts that failed, by the code of the error."),
        ("payoutd_payouts_total", "Payouts that came to a state, through this process."),
        ("payoutd_payout_amount_minor_units_total", "Amounts of payouts that were completed."),
        ("payoutd_heartbeat_failures_total", "Signs of life that did not arrive."),
        ("payoutd_webhook_attempts_total", "Deliveries to others that were tried."),
    ] {
        describe_counter!(name, what);
    }
    describe_gauge!(
        "payoutd_scheduler_last_tick_timestamp_seconds",
        "When this process last looked."
    );
    describe_histogram!("payoutd_job_run_duration_seconds", "How long attempts took.");
    describe_histogram!(
        "payoutd_job_start_delay_seconds",
        "How long after its instant a run began."
    );
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
