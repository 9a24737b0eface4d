//! Periods: an automatic payout belongs to one, and a wallet is paid at most once in each.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use thiserror::Error;

/// How long a period is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeriodLength {
    Day,
    #[default]
    Week,
    Month,
}

/// A half-open interval with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// `2026-11-22`, `2026-W47` (ISO week, Monday first) or `2026-11`.
    pub key: String,
    /// Its first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub until: DateTime<Utc>,
}

impl PeriodLength {
    /// The period that `instant` falls into, read in `zone`.
    pub fn at(self, instant: DateTime<Utc>, zone: Tz) -> Period {
        let today = instant.with_timezone(&zone).date_naive();
        let (key, first, next) = match self {
            Self::Day => (today.format("%Y-%m-%d").to_string(), today, today + Days::new(1)),
            Self::Week => {
                let week = today.iso_week();
                let monday = today - Days::new(u64::from(today.weekday().num_days_from_monday()));
                let key = format!("{}-W{:02}", week.year(), week.week());
                (key, monday, monday + Days::new(7))
            }
            Self::Month => {
                let first = today.with_day(1).expect("every month has a first day");
                (today.format("%Y-%m").to_string(), first, first + Months::new(1))
            }
        };
        Period { key, from: start_of(first, zone), until: start_of(next, zone) }
    }
}

/// The first instant of a local day; where midnight is skipped, the first one after the gap.
pub fn start_of(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    // A day's start is skipped by a day at most (Apia, 2011-12-30), in steps of a quarter of an hour.
    let local = (0..=4 * 24)
        .find_map(|quarter| {
            zone.from_local_datetime(&(midnight + TimeDelta::minutes(15 * quarter))).earliest()
        })
        .expect("a gap is no longer than a day");
    local.with_timezone(&Utc)
}

/// A time zone, by its IANA name.
///
/// # Errors
/// [`NoZone`] if there is none of that name.
pub fn zone_named(name: &str) -> Result<Tz, NoZone> {
    name.parse().map_err(|_| NoZone { name: name.to_owned() })
}

/// A name that is no time zone's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{name}\" is no time zone: expected an IANA name such as Europe/Berlin")]
pub struct NoZone {
    pub name: String,
}

/// The periods that the programs of one run are paid in: each in its own zone, or in the job's.
#[derive(Debug, Clone, Copy)]
pub struct Periods {
    pub length: PeriodLength,
    /// The due instant of the run.
    pub instant: DateTime<Utc>,
    /// The job's zone, for programs that have none.
    pub zone: Tz,
}

impl Periods {
    /// The period of a program that is in the zone of that name, if it is in one.
    pub fn of(&self, timezone: Option<&str>) -> Period {
        let own = timezone.and_then(|name| name.parse().ok());
        self.length.at(self.instant, own.unwrap_or(self.zone))
    }

    /// The keys between which that of any zone is: no zone is a day away from UTC.
    pub fn around(&self) -> (String, String) {
        let key = |instant| self.length.at(instant, Tz::UTC).key;
        (key(self.instant - TimeDelta::days(1)), key(self.instant + TimeDelta::days(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_week_is_the_iso_week_of_its_own_zone() {
        let key = |length: PeriodLength, instant, zone| length.at(at(instant), zone).key;
        let (utc, new_york) = (Tz::UTC, chrono_tz::America::New_York);
        let week = PeriodLength::Week;
        assert_eq!(key(week, "2026-11-23T03:00:00Z", utc), "2026-W48");
        assert_eq!(key(week, "2026-11-23T03:00:00Z", new_york), "2026-W47");
        assert_eq!(key(week, "2027-01-01T12:00:00Z", utc), "2026-W53");
        assert_eq!(key(PeriodLength::Day, "2027-01-01T12:00:00Z", utc), "2027-01-01");
        assert_eq!(key(PeriodLength::Month, "2027-01-01T12:00:00Z", utc), "2027-01");
    }

    #[test]
    fn a_period_starts_with_its_first_instant_and_ends_before_the_next_ones() {
        let zone = chrono_tz::America::New_York;
        let spring = PeriodLength::Week.at(at("2026-03-08T12:00:00Z"), zone);
        assert_eq!(
            (spring.from, spring.until),
            (at("2026-03-02T05:00:00Z"), at("2026-03-09T04:00:00Z"))
        );
        assert_eq!(PeriodLength::Week.at(spring.until, zone).from, spring.until);
        let last = spring.until - TimeDelta::milliseconds(1);
        assert_eq!(PeriodLength::Week.at(last, zone), spring);
        let december = PeriodLength::Month.at(at("2026-12-31T12:00:00Z"), Tz::UTC);
        assert_eq!(december.until, at("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn a_day_without_a_midnight_starts_at_its_first_instant() {
        // Cairo goes from 23:59:59 to 01:00 on the last Friday of April.
        let day = PeriodLength::Day.at(at("2026-04-24T12:00:00Z"), chrono_tz::Africa::Cairo);
        assert_eq!((day.from, day.until), (at("2026-04-23T22:00:00Z"), at("2026-04-24T21:00:00Z")));
    }

    #[test]
    fn a_program_without_a_zone_is_in_the_jobs() {
        let instant = at("2026-11-23T03:00:00Z");
        let periods = Periods { length: PeriodLength::Week, instant, zone: Tz::UTC };
        assert_eq!(periods.of(None).key, "2026-W48");
        assert_eq!(periods.of(Some("America/New_York")).key, "2026-W47");
    }
}
