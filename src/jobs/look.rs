//! What a look at a schedule means, as a function of the job, how far it was looked at, and the time:
//! which due instants are run, and which are only recorded, with the reason.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Definition, MisfirePolicy, Schedule};

/// An instant that is older than this when it is noticed was missed.
pub(super) const MISSED_AFTER: TimeDelta = TimeDelta::minutes(1);
/// Most instants that one look puts on record one by one: the latest ones.
pub(super) const MOST_INSTANTS: usize = 1_000;

/// What is to become of a due instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intent {
    pub scheduled_for: DateTime<Utc>,
    /// `schedule` for one that is on time, `catchup` for one that is made up for.
    pub trigger: &'static str,
    /// Why it is only put on record: a stable word, then words.
    pub skipped: Option<String>,
}

/// What is to become of the instants of a job in `(watermark, now]`, oldest first.
pub(super) fn intents(
    job: &Definition,
    watermark: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Vec<Intent> {
    let due = due(&job.schedule, watermark, now);
    let mut intents: Vec<Intent> = due.beyond.into_iter().collect();
    intents.extend(sort_out(job, &due.instants, now));
    intents
}

/// The instants that fell due.
struct Due {
    /// Stands for the ones before `instants`, when there are too many of them to be listed.
    beyond: Option<Intent>,
    instants: Vec<DateTime<Utc>>,
}

/// The latest instants of `(watermark, now]`. What it costs goes by how many they are, not by how
/// long nobody looked: a job of every second may have been off for years.
fn due(schedule: &Schedule, watermark: DateTime<Utc>, now: DateTime<Utc>) -> Due {
    let mut span = TimeDelta::minutes(1);
    let (from, mut instants) = loop {
        let from = watermark.max(now - span);
        let instants = schedule.between(from, now);
        if from == watermark || instants.len() >= MOST_INSTANTS {
            break (from, instants);
        }
        span = span * 2;
    };
    instants.drain(..instants.len().saturating_sub(MOST_INSTANTS));
    let full = instants.len() == MOST_INSTANTS;
    let first = schedule.next(watermark).filter(|_| full || from > watermark);
    let beyond = match (first, instants.first()) {
        (Some(first), Some(listed)) if first < *listed => Some(Intent {
            scheduled_for: first,
            trigger: "catchup",
            skipped: Some(format!(
                "misfire_window: it stands for all instants before {}, which are too many to be listed",
                listed.format("%Y-%m-%dT%H:%M:%SZ")
            )),
        }),
        _ => None,
    };
    Due { beyond, instants }
}

/// By the misfire policy: what is late, or was followed by another instant before anybody looked, was
/// missed.
fn sort_out(job: &Definition, instants: &[DateTime<Utc>], now: DateTime<Utc>) -> Vec<Intent> {
    let misfire = &job.misfire;
    let last = instants.len().saturating_sub(1);
    let made_up_for = instants.len().saturating_sub(misfire.max_runs);
    let one = |(i, at): (usize, &DateTime<Utc>)| {
        let late = now - *at;
        let missed = late > MISSED_AFTER || i < last;
        let skipped = match misfire.policy {
            _ if !missed => None,
            _ if late > misfire.window.0 => {
                Some(format!("misfire_window: noticed more than {} late", misfire.window))
            }
            MisfirePolicy::Skip => Some("misfire: noticed too late".to_owned()),
            MisfirePolicy::Latest if i < last => {
                Some("misfire: the latest instant is made up for".to_owned())
            }
            MisfirePolicy::All if i < made_up_for => {
                Some(format!("misfire: the latest {} are made up for", misfire.max_runs))
            }
            MisfirePolicy::Latest | MisfirePolicy::All => None,
        };
        // The last of several is on time if it is not late.
        let trigger = if late > MISSED_AFTER || i < last { "catchup" } else { "schedule" };
        Intent { scheduled_for: *at, trigger, skipped }
    };
    instants.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    fn job(schedule: &str, misfire: &str) -> Definition {
        let text = format!(
            "kind = \"release_holds\"\nenabled = true\nschedule = \"{schedule}\"\n{misfire}"
        );
        Definition::parse("a-job", &text).expect("a job")
    }

    /// Each instant's day and hour, with what it is run as, or the word for why not.
    fn told(misfire: &str, watermark: &str, now: &str) -> Vec<String> {
        let job = job("0 0 0 * * *", misfire);
        let word = |intent: &Intent| match &intent.skipped {
            None => intent.trigger.to_owned(),
            Some(reason) => reason.split(':').next().unwrap_or_default().to_owned(),
        };
        let intents = intents(&job, at(watermark), at(now));
        intents
            .iter()
            .map(|one| format!("{} {}", one.scheduled_for.format("%d"), word(one)))
            .collect()
    }

    const OFF: (&str, &str) = ("2026-11-19T00:00:00Z", "2026-11-22T17:00:00Z");

    #[test]
    fn after_days_off_each_policy_makes_up_for_what_it_says() {
        let skip = told("misfire = { policy = \"skip\" }", OFF.0, OFF.1);
        assert_eq!(skip, ["20 misfire", "21 misfire", "22 misfire"]);
        let latest = told("misfire = { policy = \"latest\" }", OFF.0, OFF.1);
        assert_eq!(latest, ["20 misfire", "21 misfire", "22 catchup"]);
        let all = told("misfire = { policy = \"all\" }", OFF.0, OFF.1);
        assert_eq!(all, ["20 catchup", "21 catchup", "22 catchup"]);
        let two = told("misfire = { policy = \"all\", max_runs = 2 }", OFF.0, OFF.1);
        assert_eq!(two, ["20 misfire", "21 catchup", "22 catchup"]);
        let window = told("misfire = { policy = \"all\", window = \"2d\" }", OFF.0, OFF.1);
        assert_eq!(window, ["20 misfire_window", "21 catchup", "22 catchup"]);
        let none = told("misfire = { policy = \"latest\", window = \"1h\" }", OFF.0, OFF.1);
        assert_eq!(none, ["20 misfire_window", "21 misfire_window", "22 misfire_window"]);
    }

    #[test]
    fn an_instant_that_is_noticed_in_time_is_run_under_every_policy() {
        for policy in ["skip", "latest", "all"] {
            let misfire = format!("misfire = {{ policy = \"{policy}\" }}");
            let punctual = told(&misfire, "2026-11-21T00:00:00Z", "2026-11-22T00:00:59Z");
            assert_eq!(punctual, ["22 schedule"], "{policy}");
            assert!(told(&misfire, OFF.1, OFF.1).is_empty());
        }
    }

    #[test]
    fn a_year_off_of_a_job_of_every_second_is_a_bounded_list_and_one_word_for_the_rest() {
        let job = job("* * * * * *", "misfire = { policy = \"all\" }");
        let (watermark, now) = (at("2025-11-22T17:00:00Z"), at("2026-11-22T17:00:00Z"));
        let begun = std::time::Instant::now();
        let intents = intents(&job, watermark, now);
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
        assert_eq!(intents.len(), MOST_INSTANTS + 1);
        let first = &intents[0];
        assert_eq!(first.scheduled_for, at("2025-11-22T17:00:01Z"));
        assert!(first.skipped.as_deref().is_some_and(|why| why.starts_with("misfire_window: it")));
        assert_eq!(intents.iter().filter(|one| one.skipped.is_none()).count(), 10);
        assert_eq!(intents.last().map(|one| one.scheduled_for), Some(now));
    }

    #[test]
    fn a_rare_job_that_was_off_for_years_has_every_instant_listed() {
        let job = job("0 0 0 1 * *", "misfire = { policy = \"latest\", window = \"3650d\" }");
        let intents = intents(&job, at("2020-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        assert_eq!(intents.len(), 72);
        assert_eq!(intents.iter().filter(|one| one.skipped.is_none()).count(), 1);
    }
}
