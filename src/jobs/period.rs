//! Periods: an automatic payout belongs to one, and a wallet is paid at most once in each.

use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use serde::Deserialize;

/// How long a period is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Day,
    #[default]
    Week,
    Month,
}

impl Period {
    /// The key of the period that `instant` falls into, read in `zone`: `2026-11-22`,
    /// `2026-W47` (ISO week, Monday first) or `2026-11`.
    pub fn key(self, instant: DateTime<Utc>, zone: Tz) -> String {
        let local = instant.with_timezone(&zone);
        match self {
            Self::Day => local.format("%Y-%m-%d").to_string(),
            Self::Week => {
                let week = local.iso_week();
                format!("{}-W{:02}", week.year(), week.week())
            }
            Self::Month => local.format("%Y-%m").to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_the_iso_week_of_the_jobs_own_zone() {
        let sunday_night: DateTime<Utc> = "2026-11-23T03:00:00Z".parse().expect("an instant");
        assert_eq!(Period::Week.key(sunday_night, Tz::UTC), "2026-W48");
        assert_eq!(Period::Week.key(sunday_night, chrono_tz::America::New_York), "2026-W47");
        let new_year: DateTime<Utc> = "2027-01-01T12:00:00Z".parse().expect("an instant");
        assert_eq!(Period::Week.key(new_year, Tz::UTC), "2026-W53");
        assert_eq!(Period::Day.key(new_year, Tz::UTC), "2027-01-01");
        assert_eq!(Period::Month.key(new_year, Tz::UTC), "2027-01");
    }
}
