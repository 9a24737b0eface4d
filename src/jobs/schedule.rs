//! Due instants: croner in the job's IANA zone. tokio-cron-scheduler never sees a schedule; its
//! zones are wrong across DST (ARCHITECTURE.md, "The metronome").

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use thiserror::Error;

/// Most instants listed at once: the latest ones, however many were missed.
const MOST_INSTANTS: usize = 1_000;

/// A cron pattern in a time zone.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    pattern: String,
    zone: Tz,
}

/// Why a schedule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    #[error(
        "\"{pattern}\" is no schedule: expected 5 or 6 fields (second minute hour day month weekday) or a name such as @weekly: {reason}"
    )]
    NotACron { pattern: String, reason: String },
    #[error(
        "\"{pattern}\" restricts both the day of month and the weekday, which different programs read differently: write the weekday with a + (both must match), or restrict one of them"
    )]
    TwoDays { pattern: String },
    #[error("\"{pattern}\" never falls due")]
    Never { pattern: String },
}

impl Schedule {
    /// Reads a pattern of 5 fields (seconds are 0), 6 fields, or a name such as `@weekly`.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub fn parse(pattern: &str, zone: Tz) -> Result<Self, ScheduleError> {
        let pattern = pattern.trim();
        let not_a_cron =
            |reason: String| ScheduleError::NotACron { pattern: pattern.to_owned(), reason };
        let fields: Vec<&str> = pattern.split_whitespace().collect();
        let six = match fields.as_slice() {
            [name] if name.starts_with('@') => (*name).to_owned(),
            [_, _, _, _, _] => format!("0 {}", fields.join(" ")),
            [_, _, _, day, _, weekday] => {
                if *day != "*" && *weekday != "*" && !weekday.starts_with('+') {
                    return Err(ScheduleError::TwoDays { pattern: pattern.to_owned() });
                }
                fields.join(" ")
            }
            _ => return Err(not_a_cron(format!("it has {} fields", fields.len()))),
        };
        if let [_, _, day, _, weekday] = fields.as_slice()
            && *day != "*"
            && *weekday != "*"
            && !weekday.starts_with('+')
        {
            return Err(ScheduleError::TwoDays { pattern: pattern.to_owned() });
        }
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        let cron = parser.parse(&six).map_err(|error| not_a_cron(error.to_string()))?;
        let schedule = Self { cron, pattern: pattern.to_owned(), zone };
        match schedule.next(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never { pattern: pattern.to_owned() }),
        }
    }

    /// The first due instant after `after`.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = after.with_timezone(&self.zone);
        let next = self.cron.find_next_occurrence(&local, false).ok()?;
        Some(next.with_timezone(&Utc))
    }

    /// The due instants in `(after, upto]`; of more than a thousand the latest thousand.
    pub fn between(&self, after: DateTime<Utc>, upto: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let mut latest = VecDeque::new();
        let instants = std::iter::successors(self.next(after), |instant| self.next(*instant));
        for instant in instants.take_while(|instant| *instant <= upto) {
            if latest.len() == MOST_INSTANTS {
                latest.pop_front();
            }
            latest.push_back(instant);
        }
        latest.into()
    }

    /// The zone that the pattern is read in.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The pattern in words.
    pub fn describe(&self) -> String {
        self.cron.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instants(pattern: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(pattern, chrono_tz::America::New_York).expect("a schedule");
        let after = after.parse().expect("an instant");
        std::iter::successors(schedule.next(after), |instant| schedule.next(*instant))
            .take(count)
            .map(|instant| instant.format("%m-%d %H:%M").to_string())
            .collect()
    }

    #[test]
    fn a_weekly_job_keeps_its_local_time_across_dst() {
        assert_eq!(
            instants("0 0 9 * * MON", "2026-03-02T15:00:00Z", 2),
            ["03-09 13:00", "03-16 13:00"]
        );
        assert_eq!(
            instants("0 0 9 * * MON", "2026-10-26T14:00:00Z", 2),
            ["11-02 14:00", "11-09 14:00"]
        );
    }

    #[test]
    fn a_job_in_the_gap_runs_once_at_its_end_and_in_the_overlap_once() {
        assert_eq!(
            instants("0 30 2 * * *", "2026-03-07T00:00:00Z", 3),
            ["03-07 07:30", "03-08 07:00", "03-09 06:30"]
        );
        assert_eq!(
            instants("0 30 1 * * *", "2026-10-31T00:00:00Z", 3),
            ["10-31 05:30", "11-01 05:30", "11-02 06:30"]
        );
    }

    #[test]
    fn of_many_missed_instants_the_latest_are_listed() {
        let every_second = Schedule::parse("* * * * * *", Tz::UTC).expect("a schedule");
        let (after, upto) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
        let upto = upto.parse().expect("an instant");
        let listed = every_second.between(after.parse().expect("an instant"), upto);
        assert_eq!((listed.len(), listed.last()), (MOST_INSTANTS, Some(&upto)));
    }

    #[test]
    fn five_fields_and_names_are_read_too() {
        assert_eq!(instants("30 9 * * MON", "2026-03-02T15:00:00Z", 1), ["03-09 13:30"]);
        assert_eq!(instants("@weekly", "2026-03-02T15:00:00Z", 1), ["03-08 05:00"]);
    }

    #[test]
    fn patterns_that_two_readers_read_differently_are_refused() {
        let refused = |pattern| Schedule::parse(pattern, Tz::UTC).expect_err("no schedule");
        assert!(matches!(refused("0 0 9 1 * MON"), ScheduleError::TwoDays { .. }));
        assert!(matches!(refused("0 9 1 * MON"), ScheduleError::TwoDays { .. }));
        assert!(matches!(refused("9 1"), ScheduleError::NotACron { .. }));
        assert!(matches!(refused("0 0 25 * * *"), ScheduleError::NotACron { .. }));
        assert!(matches!(refused("0 0 0 30 2 *"), ScheduleError::Never { .. }));
        assert!(Schedule::parse("0 0 9 1 * +MON", Tz::UTC).is_ok());
    }
}
