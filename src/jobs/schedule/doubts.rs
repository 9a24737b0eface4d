//! What a change of the clocks does to a schedule: what is refused, and what is warned of.

use std::iter::successors;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};

use super::clocks::{self, Change};
use super::{Schedule, ScheduleError, Vanished};
use croner::JobType;

/// Changes of the clocks are looked at in these years. They do not depend on today: a file that is
/// taken once is taken at every start.
const YEARS: (i32, i32) = (2026, 2046);
/// Most times that a message lists.
const MOST_TIMES: usize = 3;
/// Local hours before this one are those in which clocks change.
const MORNING: u32 = 4;

impl Schedule {
    /// What an operator should know about the schedule, as of `now`; empty if there is nothing.
    pub fn warnings(&self, now: DateTime<Utc>) -> Vec<String> {
        let doubts = [
            self.night(),
            self.doubled(now),
            self.holidays_end(now),
            self.uneven_step(),
            self.last_weekday(),
        ];
        doubts.into_iter().flatten().collect()
    }

    /// A step begins anew with the next larger unit, which its words do not say.
    fn uneven_step(&self) -> Option<String> {
        let fields: Vec<&str> = self.pattern.split_whitespace().collect();
        let units = [("seconds", "minute", 60), ("minutes", "hour", 60), ("hours", "day", 24)];
        let of_five = usize::from(fields.len() == 5);
        let mut steps = fields.iter().zip(&units[of_five..]).filter_map(|(field, unit)| {
            let step: u32 = field.strip_prefix("*/")?.parse().ok()?;
            (step > 0 && unit.2 % step != 0).then_some((field, unit))
        });
        steps.next().map(|(field, (what, larger, _))| {
            format!(
                "{field} in the {what} begins anew with each {larger}: the last step is shorter"
            )
        })
    }

    /// `LW` is put into words as the last day, weekend or not.
    fn last_weekday(&self) -> Option<String> {
        self.pattern.to_uppercase().contains("LW").then(|| {
            "LW is the last day of the month from Monday to Friday, whatever the words say"
                .to_owned()
        })
    }

    /// The first time that is lost in a gap of the zone without anything running for it.
    pub(super) fn vanishing(&self) -> Option<ScheduleError> {
        if self.is_hourly() {
            return None;
        }
        let gaps = self.changes().filter(|change| change.is_gap());
        for gap in gaps {
            let lost = self.local_times(gap.from, gap.to);
            let Some(first) = lost.first() else { continue };
            let moved = gap.at.checked_sub_signed(TimeDelta::seconds(1));
            if moved.and_then(|before| self.next(before)) == Some(gap.at) && self.is_one_time() {
                continue;
            }
            let (why, instead) = if self.is_one_time() {
                ("the gap ends on another day", "Choose a time outside of it")
            } else {
                (
                    "a list, range or step of hours, minutes or seconds is not moved to the end of the gap",
                    "Choose times outside of it, or a single time, which then runs at its end",
                )
            };
            return Some(ScheduleError::Vanishes(Box::new(Vanished {
                pattern: self.pattern.clone(),
                zone: self.zone,
                lost: list(&lost),
                day: first.date(),
                from: time(gap.from),
                to: time(gap.to),
                why,
                instead,
            })));
        }
        None
    }

    fn night(&self) -> Option<String> {
        if self.is_hourly() || self.changes().next().is_none() {
            return None;
        }
        // The times of a day are the same on every day: the first one will do.
        let first = self.local_time_after(eve()?)?.time();
        (first.hour() < MORNING).then(|| {
            format!(
                "{} in {} is between 00:00 and 03:59, where clocks change: on one day of the year such a time may not exist (a single time then runs at the end of the gap), on another it comes twice; a time from 04:00 on has neither",
                first.format("%H:%M"),
                self.zone
            )
        })
    }

    fn doubled(&self, now: DateTime<Utc>) -> Option<String> {
        if self.is_hourly() || self.is_one_time() {
            return None;
        }
        let mut overlaps = self.changes().filter(|change| !change.is_gap() && change.at > now);
        overlaps.find_map(|overlap| {
            let twice = self.local_times(overlap.to, overlap.from);
            let day = twice.first()?.date();
            Some(format!(
                "{} comes twice on {day}, when the clocks of {} go back, and runs both times: of a list, range or step every pass is due",
                list(&twice),
                self.zone
            ))
        })
    }

    fn holidays_end(&self, now: DateTime<Utc>) -> Option<String> {
        let last = self.calendar.as_ref()?.last_holiday()?;
        let today = now.with_timezone(&self.zone).date_naive();
        (last < today).then(|| {
            format!("the last holiday in its calendar is {last}, which is over: list those to come")
        })
    }

    fn changes(&self) -> impl Iterator<Item = Change> {
        let new_year = |year| {
            let day = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or_default();
            day.and_time(NaiveTime::MIN).and_utc()
        };
        clocks::changes(self.zone, new_year(YEARS.0), new_year(YEARS.1))
    }

    /// The first local times in `[from, until)` that the pattern names, whether they exist or not.
    fn local_times(&self, from: NaiveDateTime, until: NaiveDateTime) -> Vec<NaiveDateTime> {
        let start = from.checked_sub_signed(TimeDelta::seconds(1));
        let first = start.and_then(|before| self.local_time_after(before));
        successors(first, |at| self.local_time_after(*at))
            .take_while(|at| *at < until)
            .filter(|at| self.calendar.as_ref().is_none_or(|calendar| calendar.has(at.date())))
            .take(MOST_TIMES + 1)
            .collect()
    }

    fn local_time_after(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let found = self.cron.find_next_occurrence(&after.and_utc(), false).ok()?;
        Some(found.naive_utc())
    }

    /// In every hour: nothing is lost but what does not exist.
    fn is_hourly(&self) -> bool {
        self.cron.pattern.hours.values().len() == 24
    }

    /// One time of the day: croner runs it at the end of a gap, and once of two passes.
    fn is_one_time(&self) -> bool {
        self.cron.determine_job_type() == JobType::FixedTime
    }
}

/// Just before the first of the years.
fn eve() -> Option<NaiveDateTime> {
    NaiveDate::from_ymd_opt(YEARS.0 - 1, 12, 31)?.and_hms_opt(23, 59, 59)
}

fn time(at: NaiveDateTime) -> String {
    let format = if at.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    at.format(format).to_string()
}

fn list(times: &[NaiveDateTime]) -> String {
    let shown: Vec<_> = times.iter().take(MOST_TIMES).map(|at| time(*at)).collect();
    let more = if times.len() > MOST_TIMES { " and more" } else { "" };
    format!("{}{more}", shown.join(", "))
}
