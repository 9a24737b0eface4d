//! Calendars: which days a job runs on, where a cron pattern cannot say it.

use std::collections::BTreeSet;

use chrono::{Datelike, Days, Months, NaiveDate, TimeDelta, Weekday};
use serde::Deserialize;
use thiserror::Error;

/// Most days that a date is moved to reach a business day.
const FARTHEST_ROLL: u64 = 31;

/// `[calendar]` of a job's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarKeys {
    every_weeks: Option<i64>,
    starting: Option<NaiveDate>,
    #[serde(default)]
    last_business_day: bool,
    day_of_month: Option<u32>,
    net_days: Option<i64>,
    roll: Option<Roll>,
    weekend: Option<Vec<Weekday>>,
    holidays: Option<Vec<NaiveDate>>,
}

/// Where a date goes that is no business day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Roll {
    #[default]
    Next,
    Previous,
}

/// The days that a job runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    rule: Rule,
    weekend: Vec<Weekday>,
    holidays: BTreeSet<NaiveDate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// `weekly`: the pattern names weekdays, and the weeks alone are the calendar's.
    EveryWeeks {
        weeks: i64,
        starting: NaiveDate,
        weekly: bool,
    },
    LastBusinessDay,
    DayOfMonth {
        day: u32,
        roll: Roll,
    },
    AfterMonthEnd {
        days: i64,
        roll: Roll,
    },
}

/// What the pattern beside a calendar restricts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restricts {
    pub day_of_month: bool,
    pub month: bool,
    pub weekday: bool,
}

/// Why a calendar cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CalendarError {
    #[error(
        "it needs one of every_weeks, last_business_day, day_of_month and net_days, and one alone: it has {0}"
    )]
    OneRule(usize),
    #[error(
        "every_weeks and starting go together: starting is a day of the first week that counts"
    )]
    Starting,
    #[error("{key} is {value}: it may be from {from} to {to}")]
    Range { key: &'static str, value: i64, from: i64, to: i64 },
    #[error("{key} has no meaning beside {rule}: leave it out")]
    NoMeaning { key: &'static str, rule: &'static str },
    #[error("weekend names all seven days: no business day is left")]
    NoBusinessDay,
    #[error(
        "{rule} chooses the day: write * for the {field} in the schedule, such as \"0 0 9 * * *\""
    )]
    TwoDays { rule: &'static str, field: &'static str },
}

impl CalendarKeys {
    /// The calendar that the keys describe, beside a pattern that restricts days as `pattern` says.
    ///
    /// # Errors
    /// [`CalendarError`].
    pub fn calendar(self, pattern: Restricts) -> Result<Calendar, CalendarError> {
        let rule = self.rule(pattern)?;
        let name = rule.name();
        let no_meaning = |key| Err(CalendarError::NoMeaning { key, rule: name });
        match rule {
            Rule::EveryWeeks { .. } if self.weekend.is_some() => return no_meaning("weekend"),
            Rule::EveryWeeks { .. } if self.holidays.is_some() => return no_meaning("holidays"),
            Rule::EveryWeeks { .. } | Rule::LastBusinessDay if self.roll.is_some() => {
                return no_meaning("roll");
            }
            _ => {}
        }
        let two_days = |field| Err(CalendarError::TwoDays { rule: name, field });
        let weekday_too = !matches!(rule, Rule::EveryWeeks { .. });
        // A day that rolls may leave its month: a month in the pattern would lose it.
        let month_too = matches!(rule, Rule::DayOfMonth { .. } | Rule::AfterMonthEnd { .. });
        match pattern {
            Restricts { day_of_month: true, .. } => return two_days("day of month"),
            Restricts { weekday: true, .. } if weekday_too => return two_days("weekday"),
            Restricts { month: true, .. } if month_too => return two_days("month"),
            _ => {}
        }
        let weekend = self.weekend.unwrap_or_else(|| vec![Weekday::Sat, Weekday::Sun]);
        let week = weekend.iter().map(Weekday::num_days_from_monday).collect::<BTreeSet<_>>();
        if week.len() == 7 {
            return Err(CalendarError::NoBusinessDay);
        }
        let holidays = self.holidays.unwrap_or_default().into_iter().collect();
        Ok(Calendar { rule, weekend, holidays })
    }

    fn rule(&self, pattern: Restricts) -> Result<Rule, CalendarError> {
        let within = |key, value: i64, from, to| match (from..=to).contains(&value) {
            true => Ok(value),
            false => Err(CalendarError::Range { key, value, from, to }),
        };
        let roll = self.roll.unwrap_or_default();
        let mut rules = Vec::new();
        match (self.every_weeks, self.starting) {
            (Some(weeks), Some(starting)) => {
                let weeks = within("every_weeks", weeks, 1, 52)?;
                rules.push(Rule::EveryWeeks { weeks, starting, weekly: pattern.weekday });
            }
            (None, None) => {}
            _ => return Err(CalendarError::Starting),
        }
        if self.last_business_day {
            rules.push(Rule::LastBusinessDay);
        }
        if let Some(day) = self.day_of_month {
            within("day_of_month", i64::from(day), 1, 31)?;
            rules.push(Rule::DayOfMonth { day, roll });
        }
        if let Some(days) = self.net_days {
            let days = within("net_days", days, 0, 365)?;
            rules.push(Rule::AfterMonthEnd { days, roll });
        }
        match rules.as_slice() {
            [rule] => Ok(*rule),
            rules => Err(CalendarError::OneRule(rules.len())),
        }
    }
}

impl Rule {
    const fn name(self) -> &'static str {
        match self {
            Self::EveryWeeks { .. } => "every_weeks",
            Self::LastBusinessDay => "last_business_day",
            Self::DayOfMonth { .. } => "day_of_month",
            Self::AfterMonthEnd { .. } => "net_days",
        }
    }
}

impl Calendar {
    /// Whether the job runs on this day.
    pub fn has(&self, day: NaiveDate) -> bool {
        day.pred_opt().and_then(|before| self.next(before)) == Some(day)
    }

    /// The first day after `after`.
    pub fn next(&self, after: NaiveDate) -> Option<NaiveDate> {
        if let Rule::EveryWeeks { weeks, starting, weekly } = self.rule {
            let day = after.succ_opt()?.max(starting);
            let into = (day - starting).num_days() % (7 * weeks);
            let last = if weekly { 6 } else { 0 };
            let wait = if into <= last { 0 } else { 7 * weeks - into };
            return day.checked_add_signed(TimeDelta::days(wait));
        }
        let mut month = first_of_month(after.checked_sub_signed(self.reach())?);
        for _ in 0..self.most_months() {
            if let Some(day) = self.day_of(month).filter(|day| *day > after) {
                return Some(day);
            }
            month = month.checked_add_months(Months::new(1))?;
        }
        None
    }

    /// The last day before `before`.
    pub fn previous(&self, before: NaiveDate) -> Option<NaiveDate> {
        if let Rule::EveryWeeks { weeks, starting, weekly } = self.rule {
            let day = before.pred_opt().filter(|day| *day >= starting)?;
            let into = (day - starting).num_days() % (7 * weeks);
            let last = if weekly { 6 } else { 0 };
            return day.checked_sub_signed(TimeDelta::days((into - last).max(0)));
        }
        let mut month = first_of_month(before.checked_add_signed(TimeDelta::days(62))?);
        for _ in 0..self.most_months() {
            if let Some(day) = self.day_of(month).filter(|day| *day < before) {
                return Some(day);
            }
            month = month.checked_sub_months(Months::new(1))?;
        }
        None
    }

    /// The day that the month (its first) gives; `None` if no business day is near.
    fn day_of(&self, month: NaiveDate) -> Option<NaiveDate> {
        let next_month = month.checked_add_months(Months::new(1))?;
        let last = next_month.pred_opt()?;
        match self.rule {
            Rule::EveryWeeks { .. } => None,
            Rule::LastBusinessDay => self.rolled(last, Roll::Previous),
            Rule::DayOfMonth { day, roll } => {
                self.rolled(month.with_day(day).unwrap_or(last), roll)
            }
            Rule::AfterMonthEnd { days, roll } => {
                self.rolled(last.checked_add_signed(TimeDelta::days(days))?, roll)
            }
        }
    }

    fn rolled(&self, day: NaiveDate, roll: Roll) -> Option<NaiveDate> {
        let mut moved = (0..=FARTHEST_ROLL).filter_map(|days| match roll {
            Roll::Next => day.checked_add_days(Days::new(days)),
            Roll::Previous => day.checked_sub_days(Days::new(days)),
        });
        moved.find(|day| self.is_business_day(*day))
    }

    fn is_business_day(&self, day: NaiveDate) -> bool {
        !self.weekend.contains(&day.weekday()) && !self.holidays.contains(&day)
    }

    /// How long after its month's first a day can be.
    fn reach(&self) -> TimeDelta {
        let after_month_end = match self.rule {
            Rule::AfterMonthEnd { days, .. } => days,
            _ => 0,
        };
        TimeDelta::days(after_month_end + 62)
    }

    /// Months to look at until a day is found: a year's more than a day can be away from its month.
    fn most_months(&self) -> i64 {
        self.reach().num_days() / 28 + 15
    }

    /// The last holiday that is listed; `None` if none is.
    pub fn last_holiday(&self) -> Option<NaiveDate> {
        self.holidays.last().copied()
    }

    /// The calendar in words.
    pub fn describe(&self) -> String {
        let or = |roll| match roll {
            Roll::Next => "or the next business day",
            Roll::Previous => "or the business day before",
        };
        let days = match self.rule {
            Rule::EveryWeeks { weeks, starting, .. } => {
                return format!("every {weeks} weeks from {starting} on");
            }
            Rule::LastBusinessDay => "only on the last business day of the month".to_owned(),
            Rule::DayOfMonth { day, roll } => {
                format!("only on day {day} of the month {}", or(roll))
            }
            Rule::AfterMonthEnd { days, roll } => {
                format!("only {days} days after the end of a month {}", or(roll))
            }
        };
        let weekend: Vec<_> = self.weekend.iter().map(Weekday::to_string).collect();
        let weekend = if weekend.is_empty() { "none".to_owned() } else { weekend.join(", ") };
        format!("{days} (weekend: {weekend}; holidays listed: {})", self.holidays.len())
    }
}

fn first_of_month(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAILY: Restricts = Restricts { day_of_month: false, month: false, weekday: false };
    const WEEKLY: Restricts = Restricts { weekday: true, ..DAILY };

    fn keys(text: &str) -> CalendarKeys {
        toml::from_str(text).expect("keys")
    }

    fn date(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    /// The days from `from` on, which are the same when they are listed from the end.
    fn days(text: &str, from: &str, count: usize) -> Vec<String> {
        days_beside(DAILY, text, from, count)
    }

    fn days_beside(pattern: Restricts, text: &str, from: &str, count: usize) -> Vec<String> {
        let calendar = keys(text).calendar(pattern).expect("a calendar");
        let first = calendar.next(date(from));
        let next = |day: &NaiveDate| calendar.next(*day);
        let days: Vec<_> = std::iter::successors(first, next).take(count).collect();
        let end = days[days.len() - 1].succ_opt();
        let previous = |day: &NaiveDate| calendar.previous(*day);
        let mut back: Vec<_> = std::iter::successors(end, previous).skip(1).take(count).collect();
        back.reverse();
        assert_eq!(back, days, "{text} backwards");
        let every_day = date(from).iter_days().skip(1);
        let has = every_day.filter(|day| calendar.has(*day)).take(count).collect::<Vec<_>>();
        assert_eq!(has, days, "{text} day by day");
        days.iter().map(NaiveDate::to_string).collect()
    }

    #[test]
    fn every_second_week_is_counted_from_its_start_over_the_turn_of_the_year() {
        let text = "every_weeks = 2\nstarting = \"2026-01-05\"";
        assert_eq!(days(text, "2025-11-01", 2), ["2026-01-05", "2026-01-19"]);
        assert_eq!(days(text, "2026-12-10", 3), ["2026-12-21", "2027-01-04", "2027-01-18"]);
        let two_days = days_beside(WEEKLY, text, "2026-01-11", 8);
        assert_eq!((two_days[0].as_str(), two_days[7].as_str()), ("2026-01-19", "2026-02-02"));
    }

    #[test]
    fn the_last_business_day_is_before_weekends_and_holidays() {
        let text = "last_business_day = true\nholidays = [\"2026-12-31\", \"2026-05-29\"]";
        assert_eq!(
            days(text, "2026-01-01", 6),
            ["2026-01-30", "2026-02-27", "2026-03-31", "2026-04-30", "2026-05-28", "2026-06-30"]
        );
        assert_eq!(days(text, "2026-11-30", 2), ["2026-12-30", "2027-01-29"]);
        let fridays_off = "last_business_day = true\nweekend = [\"Fri\", \"Sat\"]";
        assert_eq!(days(fridays_off, "2026-07-01", 2), ["2026-07-30", "2026-08-31"]);
    }

    #[test]
    fn a_day_of_the_month_that_is_no_business_day_goes_to_the_next_one() {
        let christmas = "day_of_month = 25\nholidays = [\"2026-12-25\", \"2026-12-26\"]";
        assert_eq!(
            days(christmas, "2026-09-25", 4),
            ["2026-10-26", "2026-11-25", "2026-12-28", "2027-01-25"]
        );
        let end = "day_of_month = 31\nholidays = [\"2027-01-01\"]";
        assert_eq!(
            days(end, "2026-12-01", 4),
            ["2026-12-31", "2027-02-01", "2027-03-01", "2027-03-31"],
            "January's and February's last days are Sundays"
        );
        let before = "day_of_month = 31\nroll = \"previous\"";
        assert_eq!(days(before, "2028-02-01", 2), ["2028-02-29", "2028-03-31"]);
    }

    #[test]
    fn net_days_are_counted_from_the_end_of_a_month() {
        assert_eq!(
            days("net_days = 30", "2026-01-30", 4),
            ["2026-03-02", "2026-03-30", "2026-04-30", "2026-06-01"],
            "31 January and 30; 28 February and 30; 31 March and 30; 30 April and 30 is a Saturday"
        );
        assert_eq!(days("net_days = 0", "2026-01-01", 2), ["2026-02-02", "2026-03-02"]);
        let text = "net_days = 25\nholidays = [\"2026-12-25\", \"2026-12-26\"]";
        assert_eq!(days(text, "2026-12-01", 1), ["2026-12-28"]);
        assert_eq!(days("net_days = 365", "2026-01-01", 1), ["2026-02-02"]);
    }

    #[test]
    fn a_calendar_that_says_nothing_or_two_things_is_refused() {
        let refused = |pattern, text| keys(text).calendar(pattern).expect_err(text).to_string();
        let dom = Restricts { day_of_month: true, ..DAILY };
        let month = Restricts { month: true, ..DAILY };
        for (pattern, text, said) in [
            (DAILY, "", "it has 0"),
            (DAILY, "net_days = 30\nday_of_month = 1", "it has 2"),
            (DAILY, "every_weeks = 2", "go together"),
            (DAILY, "every_weeks = 0\nstarting = \"2026-01-05\"", "from 1 to 52"),
            (DAILY, "day_of_month = 32", "from 1 to 31"),
            (DAILY, "net_days = -1", "from 0 to 365"),
            (DAILY, "every_weeks = 2\nstarting = \"2026-01-05\"\nholidays = []", "no meaning"),
            (DAILY, "last_business_day = true\nroll = \"next\"", "no meaning"),
            (WEEKLY, "last_business_day = true", "for the weekday"),
            (dom, "every_weeks = 2\nstarting = \"2026-01-05\"", "for the day of month"),
            (month, "net_days = 30", "for the month"),
        ] {
            assert!(refused(pattern, text).contains(said), "{text}: {}", refused(pattern, text));
        }
        let all =
            "day_of_month = 1\nweekend = [\"Mon\",\"Tue\",\"Wed\",\"Thu\",\"Fri\",\"Sat\",\"Sun\"]";
        assert!(refused(DAILY, all).contains("no business day"));
        assert!(toml::from_str::<CalendarKeys>("holiday = []").is_err());
    }
}
