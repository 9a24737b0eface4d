//! Due instants held to the vectors of croner 4.0.3, and to each other: forward, backward, resumed.

use chrono_tz::{Africa, America, Asia, Australia, Europe, Pacific};
use serde_json::json;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn in_zone(pattern: &str, zone: Tz) -> Schedule {
    Schedule::parse(pattern, zone, None, Dst::Skip).expect("a schedule")
}

fn refused(pattern: &str, zone: Tz) -> ScheduleError {
    Schedule::parse(pattern, zone, None, Dst::Refuse).expect_err("no schedule")
}

/// The instants after `after`, in UTC, and the same ones found backwards and with fresh searches.
fn instants(pattern: &str, zone: Tz, after: &str, count: usize) -> Vec<String> {
    let schedule = in_zone(pattern, zone);
    let forward: Vec<_> = schedule.upcoming(at(after)).take(count).map(|due| due.utc).collect();
    let last = *forward.last().expect("an instant");
    assert_eq!(schedule.between(at(after), last), forward, "{pattern} backwards");
    forward.iter().map(|instant| instant.format("%m-%d %H:%MZ").to_string()).collect()
}

/// A row of the table: the pattern, from when in spring and in autumn, and what falls due.
type Row =
    (&'static str, &'static str, &'static [&'static str], &'static str, &'static [&'static str]);

const NEW_YORK: &[Row] = &[
    (
        "0 30 2 * * *",
        "2026-03-06T12:00:00Z",
        &["03-07 07:30Z", "03-08 07:00Z", "03-09 06:30Z"],
        "2026-10-30T12:00:00Z",
        &["10-31 06:30Z", "11-01 07:30Z", "11-02 07:30Z"],
    ),
    (
        "0 0 2 * * *",
        "2026-03-06T12:00:00Z",
        &["03-07 07:00Z", "03-08 07:00Z", "03-09 06:00Z"],
        "2026-10-30T12:00:00Z",
        &["10-31 06:00Z", "11-01 07:00Z", "11-02 07:00Z"],
    ),
    (
        "0 59 2 * * *",
        "2026-03-06T12:00:00Z",
        &["03-07 07:59Z", "03-08 07:00Z", "03-09 06:59Z"],
        "2026-10-30T12:00:00Z",
        &["10-31 06:59Z", "11-01 07:59Z", "11-02 07:59Z"],
    ),
    (
        "0 0 3 * * *",
        "2026-03-06T12:00:00Z",
        &["03-07 08:00Z", "03-08 07:00Z", "03-09 07:00Z"],
        "2026-10-30T12:00:00Z",
        &["10-31 07:00Z", "11-01 08:00Z", "11-02 08:00Z"],
    ),
    (
        "0 30 1 * * *",
        "2026-03-06T12:00:00Z",
        &["03-07 06:30Z", "03-08 06:30Z", "03-09 05:30Z"],
        "2026-10-30T12:00:00Z",
        &["10-31 05:30Z", "11-01 05:30Z", "11-02 06:30Z"],
    ),
    (
        "0 0 0 * * *",
        "2026-03-07T12:00:00Z",
        &["03-08 05:00Z", "03-09 04:00Z", "03-10 04:00Z"],
        "2026-10-31T12:00:00Z",
        &["11-01 04:00Z", "11-02 05:00Z", "11-03 05:00Z"],
    ),
    (
        "0 30 2 * * SUN",
        "2026-03-06T12:00:00Z",
        &["03-08 07:00Z", "03-15 06:30Z", "03-22 06:30Z"],
        "2026-10-30T12:00:00Z",
        &["11-01 07:30Z", "11-08 07:30Z"],
    ),
    (
        "0 0 9 * * MON",
        "2026-03-06T12:00:00Z",
        &["03-09 13:00Z", "03-16 13:00Z"],
        "2026-10-30T12:00:00Z",
        &["11-02 14:00Z", "11-09 14:00Z"],
    ),
    (
        "0 15 * * * *",
        "2026-03-08T06:00:00Z",
        &["03-08 06:15Z", "03-08 07:15Z", "03-08 08:15Z"],
        "2026-11-01T05:00:00Z",
        &["11-01 05:15Z", "11-01 06:15Z", "11-01 07:15Z"],
    ),
    (
        "0 15,45 2 * * *",
        "2026-03-06T12:00:00Z",
        &["03-07 07:15Z", "03-07 07:45Z", "03-09 06:15Z"],
        "2026-10-31T12:00:00Z",
        &["11-01 07:15Z", "11-01 07:45Z", "11-02 07:15Z"],
    ),
];

#[test]
fn new_york_keeps_to_the_vectors_on_both_days_of_change() {
    for (pattern, spring, in_spring, autumn, in_autumn) in NEW_YORK {
        let zone = America::New_York;
        assert_eq!(&instants(pattern, zone, spring, in_spring.len()), in_spring, "{pattern}");
        assert_eq!(&instants(pattern, zone, autumn, in_autumn.len()), in_autumn, "{pattern}");
    }
}

#[test]
fn zones_with_other_changes_keep_to_them() {
    // Half an hour, at 02:00: the gap is over at 02:30, the second pass begins at 01:30.
    let lord_howe = Australia::Lord_Howe;
    assert_eq!(
        instants("0 15 2 * * *", lord_howe, "2026-10-02T20:00:00Z", 3),
        ["10-03 15:30Z", "10-04 15:15Z", "10-05 15:15Z"]
    );
    assert_eq!(
        instants("0 45 1 * * *", lord_howe, "2026-04-03T20:00:00Z", 3),
        ["04-04 14:45Z", "04-05 15:15Z", "04-06 15:15Z"]
    );
    // Cairo's gap is the first hour of a Friday, its overlap the last of a Thursday.
    assert_eq!(
        instants("0 30 0 * * *", Africa::Cairo, "2026-04-22T20:00:00Z", 3),
        ["04-22 22:30Z", "04-23 22:00Z", "04-24 21:30Z"]
    );
    assert_eq!(
        instants("0 30 23 * * *", Africa::Cairo, "2026-10-28T12:00:00Z", 3),
        ["10-28 20:30Z", "10-29 20:30Z", "10-30 21:30Z"]
    );
    // Apia left the 30th of December 2011 out when it crossed the date line.
    assert_eq!(
        instants("0 30 2 * * *", Pacific::Apia, "2011-12-28T00:00:00Z", 3),
        ["12-28 12:30Z", "12-29 12:30Z", "12-30 12:30Z"]
    );
    assert_eq!(
        instants("0 0 */6 * * *", Pacific::Apia, "2011-12-30T03:00:00Z", 3),
        ["12-30 04:00Z", "12-30 10:00Z", "12-30 16:00Z"]
    );
    assert_eq!(
        instants("0 0 9 * * MON", Pacific::Apia, "2026-11-20T00:00:00Z", 2),
        ["11-22 20:00Z", "11-29 20:00Z"]
    );
}

#[test]
fn the_instant_after_a_gap_is_found_from_both_sides_and_once() {
    let schedule = in_zone("0 30 2 * * *", America::New_York);
    let end = at("2026-03-08T07:00:00Z");
    assert_eq!(schedule.next(end), Some(at("2026-03-09T06:30:00Z")));
    assert_eq!(schedule.next(end - TimeDelta::milliseconds(1)), Some(end));
    assert_eq!(schedule.previous(end + TimeDelta::milliseconds(1)), Some(end));
    assert_eq!(schedule.previous(end), Some(at("2026-03-07T07:30:00Z")));
    assert_eq!(schedule.between(end - TimeDelta::seconds(1), end), [end]);
    assert!(schedule.between(end, end + TimeDelta::hours(12)).is_empty());
}

/// Irregular looks: a minute, then longer and longer, up to some weeks, and again.
fn looks(from: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let steps = [61, 3_599, 7_200, 86_399, 200_001, 1_814_407].iter().cycle();
    let mut at = from;
    steps
        .map(move |step| {
            at = (at + TimeDelta::seconds(*step)).min(until);
            at
        })
        .take_while(move |at| *at < until)
        .chain([until])
}

#[test]
fn forward_backward_and_resumed_searches_agree() {
    const PATTERNS: [&str; 9] = [
        "0 0 0 * * *",
        "0 30 1 * * *",
        "0 30 2 * * *",
        "0 30 2 * * SUN",
        "0 0 9 * * MON",
        "0 0 12 L * *",
        "0 15,45 1,2 * * SUN",
        "0 15 */7 1-7 * *",
        "0 45 23 13 * +FRI",
    ];
    let zones = [
        (America::New_York, 2017),
        (Europe::London, 2019),
        (Australia::Lord_Howe, 2021),
        (America::Sao_Paulo, 2017),
        (Africa::Cairo, 2023),
        (Asia::Kolkata, 2026),
        (Pacific::Apia, 2011),
        (Pacific::Chatham, 2024),
        (America::St_Johns, 2010),
        (America::Nuuk, 2025),
    ];
    for (zone, year) in zones {
        let from = at(&format!("{year}-01-01T00:00:00Z"));
        let until = at(&format!("{}-01-01T00:00:00Z", year + 2));
        for pattern in PATTERNS {
            let schedule = in_zone(pattern, zone);
            let forward: Vec<_> =
                successors(schedule.next(from), |instant| schedule.next(*instant))
                    .take_while(|instant| *instant <= until)
                    .collect();
            assert!(forward.is_sorted(), "{pattern} {zone}");
            let backward = schedule.between(from, until);
            assert_eq!(backward, forward, "{pattern} {zone} backwards");
            let mut watermark = from;
            let mut resumed = Vec::new();
            for look in looks(from, until) {
                resumed.extend(schedule.between(watermark, look));
                watermark = look;
            }
            assert_eq!(resumed, forward, "{pattern} {zone} resumed");
        }
    }
}

#[test]
fn a_daily_job_runs_once_on_each_local_day() {
    for zone in [America::New_York, Africa::Cairo, Australia::Lord_Howe, Europe::London] {
        for pattern in ["0 0 0 * * *", "0 30 1 * * *", "0 30 2 * * *"] {
            let schedule = in_zone(pattern, zone);
            let days = schedule.upcoming(at("2026-01-01T00:00:00Z")).take(720);
            let days: Vec<_> = days.map(|due| due.local.date_naive()).collect();
            let next = |day: &NaiveDate| day.succ_opt().expect("a day");
            assert!(days.windows(2).all(|two| two[1] == next(&two[0])), "{pattern} {zone}");
        }
    }
}

#[test]
fn of_many_missed_instants_the_latest_are_listed_however_long_ago_the_first_was() {
    let every_second = in_zone("* * * * * *", Tz::UTC);
    let upto = at("2026-01-01T01:00:00Z");
    let listed = every_second.between(at("1996-01-01T00:00:00Z"), upto);
    assert_eq!((listed.len(), listed.last()), (MOST_INSTANTS, Some(&upto)));
}

#[test]
fn five_fields_and_names_are_read_too() {
    let zone = America::New_York;
    assert_eq!(instants("30 9 * * MON", zone, "2026-03-02T15:00:00Z", 1), ["03-09 13:30Z"]);
    assert_eq!(instants("@weekly", zone, "2026-03-02T15:00:00Z", 1), ["03-08 05:00Z"]);
    assert_eq!(instants("@Midnight", zone, "2026-03-02T15:00:00Z", 1), ["03-03 05:00Z"]);
    assert_eq!(instants("0 0 9 ? * MON", zone, "2026-03-02T15:00:00Z", 1), ["03-09 13:00Z"]);
}

#[test]
fn patterns_that_two_readers_read_differently_are_refused() {
    let refused = |pattern| refused(pattern, Tz::UTC);
    assert!(matches!(refused("0 0 9 1 * MON"), ScheduleError::TwoDays { .. }));
    assert!(matches!(refused("0 9 1 * MON"), ScheduleError::TwoDays { .. }));
    assert!(matches!(refused("0 9 */2 * MON"), ScheduleError::TwoDays { .. }));
    for no_cron in ["9 1", "0 0 25 * * *", "0 0 9 * * * 2027", "@fortnightly", "", "0 5/15 * * * *"]
    {
        assert!(matches!(refused(no_cron), ScheduleError::NotACron { .. }), "{no_cron}");
    }
    assert!(matches!(refused("0 0 0 30 2 *"), ScheduleError::Never { .. }));
    assert!(Schedule::parse("0 0 9 1 * +MON", Tz::UTC, None, Dst::Refuse).is_ok());
}

#[test]
fn what_a_gap_would_swallow_is_refused_where_there_is_one() {
    let error = refused("0 15,45 2 * * *", America::New_York).to_string();
    for said in ["loses 02:15, 02:45", "on 2026-03-08 from 02:00 to 03:00", "dst = \"skip\""] {
        assert!(error.contains(said), "{error}");
    }
    for pattern in
        ["0 0 2,14 * * *", "0 * 2 * * *", "0 0 */2 * * *", "0 0 1-5 * * *", "*/30 30 2 * * *"]
    {
        let error = refused(pattern, America::New_York);
        assert!(matches!(error, ScheduleError::Vanishes { .. }), "{pattern}");
    }
    // A single time whose gap ends on the next day would not run on a Saturday either.
    let error = refused("0 30 23 * * SAT", America::Nuuk).to_string();
    assert!(error.contains("another day"), "{error}");
    let taken = |pattern, zone| Schedule::parse(pattern, zone, None, Dst::Refuse).is_ok();
    assert!(taken("0 15,45 2 * * *", Tz::UTC));
    assert!(taken("0 15,45 2 * * *", Asia::Kolkata));
    assert!(taken("0 15,45 2 * * *", America::Sao_Paulo), "no changes since 2019");
    assert!(taken("0 15,45 2 * * MON", America::New_York), "clocks change on Sundays");
    assert!(taken("0 0 */6 * * *", America::New_York), "none of them is in the gap");
    assert!(taken("0 15,45 * * * *", America::New_York), "every hour that exists");
    assert!(taken("0 30 2 * * *", America::New_York), "it runs when the gap ends");
    assert!(Schedule::parse("0 15,45 2 * * *", America::New_York, None, Dst::Skip).is_ok());
}

#[test]
fn what_runs_where_clocks_change_is_warned_of() {
    let warnings = |pattern, zone| in_zone(pattern, zone).warnings(at("2026-03-02T09:00:00Z"));
    let night = warnings("0 30 2 * * *", America::New_York);
    assert!(night.len() == 1 && night[0].contains("02:30 in America/New_York"), "{night:?}");
    let twice = warnings("0 15,45 1 * * *", America::New_York);
    assert!(twice[1].contains("01:15, 01:45 comes twice on 2026-11-01"), "{twice:?}");
    assert!(warnings("0 0 9 * * MON", America::New_York).is_empty());
    assert!(warnings("0 0 * * * *", America::New_York).is_empty());
    assert!(warnings("0 30 2 * * *", Tz::UTC).is_empty());
    assert!(warnings("0 30 2 * * *", Asia::Kolkata).is_empty());
    let keys = json!({ "last_business_day": true, "holidays": ["2025-12-25"] });
    let keys = serde_json::from_value(keys).expect("keys");
    let ended = Schedule::parse("0 9 * * *", Tz::UTC, Some(keys), Dst::Refuse).expect("a schedule");
    let ended = ended.warnings(at("2026-03-02T09:00:00Z"));
    assert!(ended[0].contains("2025-12-25, which is over"), "{ended:?}");
}

#[test]
fn what_words_do_not_say_of_a_pattern_is_warned_of() {
    let warned = |pattern| {
        let schedule = Schedule::parse(pattern, Tz::UTC, None, Dst::Refuse).expect("a schedule");
        schedule.warnings(DateTime::UNIX_EPOCH).join(" ")
    };
    assert!(warned("*/45 * * * *").contains("*/45 in the minutes begins anew with each hour"));
    assert!(warned("0 0 */7 * * *").contains("*/7 in the hours"));
    assert!(warned("0 0 9 LW * *").contains("Monday to Friday"));
    assert_eq!(warned("*/15 * * * *"), "");
}
