//! Due instants: croner in the job's IANA zone. tokio-cron-scheduler never sees a schedule; its
//! zones are wrong across DST (ARCHITECTURE.md, "The metronome").

mod clocks;
mod doubts;
#[cfg(test)]
mod tests;

use std::iter::successors;

use chrono::{DateTime, Days, NaiveDate, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use serde::Deserialize;
use thiserror::Error;

use super::calendar::{Calendar, CalendarError, CalendarKeys, Restricts};

/// Most instants listed at once: the latest ones, however many were missed.
const MOST_INSTANTS: usize = 1_000;
/// Most days of a calendar that are tried until one meets the pattern.
const MOST_DAYS: usize = 1_000;
/// croner gives up in a longer gap.
const LONG_GAP: TimeDelta = TimeDelta::hours(2);
/// How far away such a gap is looked for.
const FAR: TimeDelta = TimeDelta::days(40 * 366);

/// A cron pattern in a time zone, and the days of a calendar if it has one.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    pattern: String,
    zone: Tz,
    calendar: Option<Calendar>,
}

/// What a list, a range or a step does about local times that a change of the clocks leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dst {
    /// Such a schedule is refused.
    #[default]
    #[serde(skip)]
    Refuse,
    /// Nothing runs for them.
    Skip,
}

/// A due instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub utc: DateTime<Utc>,
    /// The same in the schedule's zone.
    pub local: DateTime<Tz>,
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
    #[error("\"{pattern}\" never falls due{}", beside(.calendar))]
    Never { pattern: String, calendar: Option<String> },
    #[error("[calendar] {0}")]
    Calendar(CalendarError),
    #[error(transparent)]
    Vanishes(Box<Vanished>),
}

/// Times that a change of the clocks leaves out, and that nothing would run for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "\"{pattern}\" loses {lost} when the clocks of {zone} go forward, as on {day} from {from} to {to}: {why}. {instead}, or write dst = \"skip\" if nothing needs to run for them"
)]
pub struct Vanished {
    pub pattern: String,
    pub zone: Tz,
    pub lost: String,
    pub day: NaiveDate,
    /// What the clocks were about to show, and what they show instead.
    pub from: String,
    pub to: String,
    pub why: &'static str,
    pub instead: &'static str,
}

impl From<CalendarError> for ScheduleError {
    fn from(cause: CalendarError) -> Self {
        Self::Calendar(cause)
    }
}

fn beside(calendar: &Option<String>) -> String {
    calendar.as_ref().map(|words| format!(" {words}")).unwrap_or_default()
}

impl Schedule {
    /// Reads a pattern of 5 fields (seconds are 0), 6 fields, or a name such as `@weekly`, and the
    /// calendar beside it.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub fn parse(
        pattern: &str,
        zone: Tz,
        calendar: Option<CalendarKeys>,
        dst: Dst,
    ) -> Result<Self, ScheduleError> {
        let pattern = pattern.trim().to_owned();
        let refused = |reason| ScheduleError::NotACron { pattern: pattern.clone(), reason };
        let six = six_fields(&pattern).map_err(refused)?;
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        let cron = parser.parse(&six).map_err(|error| refused(error.to_string()))?;
        let read = &cron.pattern;
        let restricts = Restricts {
            day_of_month: !read.is_dom_wildcard(),
            month: read.months.values().len() < 12,
            weekday: !read.is_dow_wildcard(),
        };
        if restricts.day_of_month && restricts.weekday && !read.matches_dom_and_dow() {
            return Err(ScheduleError::TwoDays { pattern });
        }
        let calendar = calendar.map(|keys| keys.calendar(restricts)).transpose()?;
        let schedule = Self { cron, pattern, zone, calendar };
        if schedule.next(DateTime::UNIX_EPOCH).is_none() {
            let calendar = schedule.calendar.as_ref().map(Calendar::describe);
            return Err(ScheduleError::Never { pattern: schedule.pattern, calendar });
        }
        match schedule.vanishing() {
            Some(error) if dst == Dst::Refuse => Err(error),
            _ => Ok(schedule),
        }
    }

    /// The first due instant after `after`.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Some(calendar) = &self.calendar else { return self.pattern_next(after) };
        let mut from = after;
        for _ in 0..MOST_DAYS {
            let found = self.pattern_next(from)?;
            let day = found.with_timezone(&self.zone).date_naive();
            if calendar.has(day) {
                return Some(found);
            }
            let start = clocks::start_of(self.zone, calendar.next(day)?)?;
            from = found.max(start.checked_sub_signed(TimeDelta::seconds(1))?);
        }
        None
    }

    /// The last due instant before `before`.
    pub fn previous(&self, before: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Some(calendar) = &self.calendar else { return self.pattern_previous(before) };
        let mut from = before;
        for _ in 0..MOST_DAYS {
            let found = self.pattern_previous(from)?;
            let day = found.with_timezone(&self.zone).date_naive();
            if calendar.has(day) {
                return Some(found);
            }
            let day = calendar.previous(day)?.checked_add_days(Days::new(1))?;
            from = found.min(clocks::start_of(self.zone, day)?);
        }
        None
    }

    /// The due instants after `after`, one after the other.
    pub fn upcoming(&self, after: DateTime<Utc>) -> impl Iterator<Item = Due> {
        let instants = successors(self.next(after), |instant| self.next(*instant));
        instants.map(|utc| Due { utc, local: utc.with_timezone(&self.zone) })
    }

    /// The due instants in `(after, upto]`, oldest first; of more than a thousand the latest
    /// thousand. It is searched backwards, so that a long outage costs no more than a short one.
    pub fn between(&self, after: DateTime<Utc>, upto: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        // What is due at `upto` itself counts, and instants are whole seconds.
        let end = upto.trunc_subsecs(0).checked_add_signed(TimeDelta::seconds(1)).unwrap_or(upto);
        let instants = successors(self.previous(end), |instant| self.previous(*instant));
        let mut latest: Vec<_> =
            instants.take_while(|instant| *instant > after).take(MOST_INSTANTS).collect();
        latest.reverse();
        latest
    }

    /// The zone that the pattern is read in.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The pattern, and the calendar, in words.
    pub fn describe(&self) -> String {
        let words = self.cron.describe();
        match &self.calendar {
            None => words,
            Some(calendar) => {
                format!("{}, {}", words.trim_end_matches('.'), calendar.describe())
            }
        }
    }

    fn pattern_next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (mut from, mut inclusive) = (after, false);
        loop {
            let local = from.with_timezone(&self.zone);
            if let Ok(found) = self.cron.find_next_occurrence(&local, inclusive) {
                return Some(found.to_utc());
            }
            // A day that the zone left out (Apia, 2011-12-30) has no instants: go on behind it.
            let until = from.checked_add_signed(FAR)?;
            from = clocks::changes(self.zone, from, until).find(is_long)?.at;
            inclusive = true;
        }
    }

    fn pattern_previous(&self, before: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // croner cuts fractions off, and would miss an instant that is less than a second ago.
        let whole = before.trunc_subsecs(0);
        let up = TimeDelta::seconds(i64::from(whole < before));
        let (mut from, mut inclusive) = (whole.checked_add_signed(up)?, false);
        loop {
            let local = from.with_timezone(&self.zone);
            if let Ok(found) = self.cron.find_previous_occurrence(&local, inclusive) {
                return Some(found.to_utc());
            }
            let since = from.checked_sub_signed(FAR)?;
            let gap = clocks::last_change(self.zone, since, from, is_long)?;
            from = gap.at.checked_sub_signed(TimeDelta::seconds(1))?;
            inclusive = true;
        }
    }
}

fn is_long(change: &clocks::Change) -> bool {
    change.to - change.from > LONG_GAP
}

/// A pattern of 5 or 6 fields, or a name, as 6 fields; else what is wrong with it.
fn six_fields(pattern: &str) -> Result<String, String> {
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    match fields.as_slice() {
        [name] if name.starts_with('@') => {
            let six = match name.to_ascii_lowercase().as_str() {
                "@yearly" | "@annually" => "0 0 0 1 1 *",
                "@monthly" => "0 0 0 1 * *",
                "@weekly" => "0 0 0 * * SUN",
                "@daily" | "@midnight" => "0 0 0 * * *",
                "@hourly" => "0 0 * * * *",
                _ => {
                    return Err(
                        "the names are @yearly, @monthly, @weekly, @daily and @hourly".into()
                    );
                }
            };
            Ok(six.to_owned())
        }
        [_, _, _, _, _] => Ok(format!("0 {}", fields.join(" "))),
        [_, _, _, _, _, _] => Ok(fields.join(" ")),
        _ => Err(format!("it has {} fields", fields.len())),
    }
}
