//! When a zone's clocks change, and when its days begin.

use chrono::{
    DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;

/// A change of a zone's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// The first instant of the new time.
    pub at: DateTime<Utc>,
    /// What the clocks were about to show.
    pub from: NaiveDateTime,
    /// What they show instead.
    pub to: NaiveDateTime,
}

impl Change {
    /// Whether local times are left out, as in spring; else some come twice.
    pub fn is_gap(self) -> bool {
        self.to > self.from
    }
}

/// The changes in `(after, until]`, oldest first. Days are looked at one by one: two changes within
/// a day that undo each other are not seen.
pub(super) fn changes(
    zone: Tz,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
) -> impl Iterator<Item = Change> {
    let days = std::iter::successors(Some(after), move |at| {
        let next = at.checked_add_signed(TimeDelta::days(1))?.min(until);
        (*at < until).then_some(next)
    });
    let mut before = after;
    days.skip(1).filter_map(move |day| {
        let change = change_between(zone, before, day);
        before = day;
        change
    })
}

/// The last change in `(after, until]` that `wanted` says yes to.
pub(super) fn last_change(
    zone: Tz,
    after: DateTime<Utc>,
    until: DateTime<Utc>,
    wanted: impl Fn(&Change) -> bool,
) -> Option<Change> {
    let mut end = until;
    while end > after {
        let begin = end.checked_sub_signed(TimeDelta::days(1))?.max(after);
        if let Some(change) = change_between(zone, begin, end).filter(&wanted) {
            return Some(change);
        }
        end = begin;
    }
    None
}

/// Halves the time between until the change is found, to the second.
fn change_between(zone: Tz, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<Change> {
    let (mut low, mut high) = (after.timestamp(), until.timestamp());
    let offset = |second: i64| {
        let at = DateTime::from_timestamp(second, 0).unwrap_or_default();
        i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
    };
    let (before, now) = (offset(low), offset(high));
    if before == now {
        return None;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if offset(middle) == before { low = middle } else { high = middle }
    }
    let at = DateTime::from_timestamp(high, 0)?;
    let local = |offset: i64| at.naive_utc().checked_add_signed(TimeDelta::seconds(offset));
    Some(Change { at, from: local(before)?, to: local(now)? })
}

/// The first instant of a day, which is not always midnight; of a day that a zone left out, the
/// first instant after it.
pub(super) fn start_of(zone: Tz, day: NaiveDate) -> Option<DateTime<Utc>> {
    let midnight = day.and_time(NaiveTime::MIN);
    if let Some(start) = zone.from_local_datetime(&midnight).earliest() {
        return Some(start.to_utc());
    }
    // In a gap: the change is within a day and a half around what UTC calls midnight.
    let after = midnight.checked_sub_days(Days::new(2))?.and_utc();
    let until = midnight.checked_add_days(Days::new(2))?.and_utc();
    let mut gaps = changes(zone, after, until).filter(|change| change.is_gap());
    gaps.find(|gap| gap.to > midnight).map(|gap| gap.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    #[test]
    fn the_changes_of_a_year_are_found_to_the_second() {
        let year = |zone| -> Vec<String> {
            changes(zone, at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"))
                .map(|change| {
                    format!("{} {} {}", change.at.format("%F %TZ"), change.from, change.to)
                })
                .collect()
        };
        assert_eq!(
            year(chrono_tz::America::New_York),
            [
                "2026-03-08 07:00:00Z 2026-03-08 02:00:00 2026-03-08 03:00:00",
                "2026-11-01 06:00:00Z 2026-11-01 02:00:00 2026-11-01 01:00:00"
            ]
        );
        assert_eq!(year(chrono_tz::Australia::Lord_Howe).len(), 2);
        assert!(year(chrono_tz::Asia::Kolkata).is_empty());
        assert!(year(Tz::UTC).is_empty());
    }

    #[test]
    fn a_day_begins_at_midnight_or_when_the_gap_over_it_ends() {
        let start = |zone, day: &str| {
            let start = start_of(zone, day.parse().expect("a day")).expect("a start");
            start.with_timezone(&zone).format("%F %T").to_string()
        };
        let (cairo, apia) = (chrono_tz::Africa::Cairo, chrono_tz::Pacific::Apia);
        assert_eq!(start(cairo, "2026-04-23"), "2026-04-23 00:00:00");
        assert_eq!(start(cairo, "2026-04-24"), "2026-04-24 01:00:00");
        assert_eq!(start(apia, "2011-12-30"), "2011-12-31 00:00:00");
    }
}
