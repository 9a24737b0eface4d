//! The days on which American banks settle: neither weekends nor the Federal Reserve's holidays.
//!
//! The holidays are computed, so the calendar has no end. A day declared closed by proclamation
//! is not in it; a bank rolls what it gets for such a day to the next one by itself.

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// The first year with Juneteenth as a holiday of the Federal Reserve.
const FIRST_JUNETEENTH: i32 = 2022;

/// Whether the Federal Reserve Banks settle on that day.
pub fn is_banking_day(day: NaiveDate) -> bool {
    !matches!(day.weekday(), Weekday::Sat | Weekday::Sun) && !is_holiday(day)
}

/// The first banking day after `day`.
pub fn next_banking_day(day: NaiveDate) -> NaiveDate {
    let mut next = tomorrow(day);
    while !is_banking_day(next) {
        next = tomorrow(next);
    }
    next
}

/// The `count`th banking day after `day`; `day` itself for 0.
pub fn add_banking_days(day: NaiveDate, count: u32) -> NaiveDate {
    (0..count).fold(day, |day, _| next_banking_day(day))
}

/// Holidays as they are kept: one that falls on a Sunday is kept on Monday, one that falls on a
/// Saturday is not kept at all.
fn is_holiday(day: NaiveDate) -> bool {
    let kept_on_monday =
        day.weekday() == Weekday::Mon && day.pred_opt().is_some_and(is_fixed_holiday);
    is_fixed_holiday(day) || kept_on_monday || is_floating_holiday(day)
}

/// New Year, Juneteenth, Independence Day, Veterans Day, Christmas.
fn is_fixed_holiday(day: NaiveDate) -> bool {
    match (day.month(), day.day()) {
        (1, 1) | (7, 4) | (11, 11) | (12, 25) => true,
        (6, 19) => day.year() >= FIRST_JUNETEENTH,
        _ => false,
    }
}

/// Martin Luther King Day, Washington's Birthday, Memorial Day, Labor Day, Columbus Day,
/// Thanksgiving: the nth of a weekday in its month.
fn is_floating_holiday(day: NaiveDate) -> bool {
    let nth = (day.day() - 1) / 7 + 1;
    let is_last = day.day() + 7 > 31;
    match (day.month(), day.weekday()) {
        (1 | 2, Weekday::Mon) => nth == 3,
        (5, Weekday::Mon) => is_last,
        (9, Weekday::Mon) => nth == 1,
        (10, Weekday::Mon) => nth == 2,
        (11, Weekday::Thu) => nth == 4,
        _ => false,
    }
}

fn tomorrow(day: NaiveDate) -> NaiveDate {
    day.checked_add_days(Days::new(1)).expect("payouts end long before the calendar does")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn holidays_of(year: i32) -> Vec<String> {
        let first = NaiveDate::from_ymd_opt(year, 1, 1).expect("a year");
        let days = first.iter_days().take_while(|day| day.year() == year);
        let weekend = |day: &NaiveDate| matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let closed = days.filter(|day| !is_banking_day(*day) && !weekend(day));
        closed.map(|day| day.format("%m-%d").to_string()).collect()
    }

    #[test]
    fn holidays_are_those_that_the_federal_reserve_publishes() {
        for (year, published) in [
            (2021, "01-01 01-18 02-15 05-31 07-05 09-06 10-11 11-11 11-25"),
            (2022, "01-17 02-21 05-30 06-20 07-04 09-05 10-10 11-11 11-24 12-26"),
            (2023, "01-02 01-16 02-20 05-29 06-19 07-04 09-04 10-09 11-23 12-25"),
            (2026, "01-01 01-19 02-16 05-25 06-19 09-07 10-12 11-11 11-26 12-25"),
            (2027, "01-01 01-18 02-15 05-31 07-05 09-06 10-11 11-11 11-25"),
        ] {
            assert_eq!(holidays_of(year).join(" "), published, "{year}");
        }
    }

    #[test]
    fn a_holiday_on_a_saturday_leaves_the_friday_before_a_banking_day() {
        assert!(is_banking_day(day("2026-07-03")));
        assert!(is_banking_day(day("2021-12-31")));
    }

    #[test]
    fn banking_days_are_counted_over_weekends_and_thanksgiving() {
        assert_eq!(next_banking_day(day("2026-11-25")), day("2026-11-27"));
        assert_eq!(next_banking_day(day("2026-11-27")), day("2026-11-30"));
        assert_eq!(add_banking_days(day("2026-11-24"), 3), day("2026-11-30"));
        assert_eq!(add_banking_days(day("2026-11-28"), 0), day("2026-11-28"));
    }
}
