"""Says when jobs fall due, from Python's zoneinfo alone: the other side of tests/it/replay.rs.

Reads {"from", "until", "holidays", "jobs": [{"id", "zone", "hour", "minute", "days"}]} from standard
input, and prints {"tzdata", "instants": {id: [seconds since 1970]}}. `hour` null is every hour.
`days` is "every", "sunday", "friday", "biweekly", "last", "mid" or "net".

A time that a gap leaves out is the first instant after the gap; a time that comes twice is its first
pass; an hourly job has every hour that there is.
"""

import calendar
import json
import pathlib
import sys
import zoneinfo
from datetime import date, datetime, timedelta, timezone

DAY = timedelta(days=1)
QUARTER = timedelta(minutes=15)


def instant_of(wall, zone):
    early = wall.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
    if early.astimezone(zone).replace(tzinfo=None) == wall:
        return early
    # In a gap the later fold lies before the change and the earlier one behind it.
    at = wall.replace(tzinfo=zone, fold=1).astimezone(timezone.utc)
    offset = at.astimezone(zone).utcoffset()
    while at.astimezone(zone).utcoffset() == offset:
        at += timedelta(minutes=1)
    return at


def hourly(zone, minute, begin, end):
    at = begin
    while at <= end:
        local = at.astimezone(zone)
        assert local.utcoffset().total_seconds() % 900 == 0, "a walk in quarters of an hour"
        if local.minute == minute and at > begin:
            yield at
        at += QUARTER


def is_open(day, holidays):
    return day.weekday() < 5 and day not in holidays


def rolled(day, step, holidays):
    while not is_open(day, holidays):
        day += step
    return day


def days_of(rule, first, last, holidays):
    """The days that a rule names, some of them outside of what is asked."""
    every = [first + DAY * number for number in range((last - first).days + 1)]
    if rule == "every":
        return every
    if rule in ("sunday", "friday"):
        wanted = {"sunday": 6, "friday": 4}[rule]
        return [day for day in every if day.weekday() == wanted]
    if rule == "biweekly":
        return [day for day in every if (day - date(2026, 1, 5)).days % 14 == 0]
    days = []
    for number in range(-3, 18):
        year, month = divmod(first.year * 12 + first.month - 1 + number, 12)
        end = date(year, month + 1, calendar.monthrange(year, month + 1)[1])
        if rule == "last":
            days.append(rolled(end, -DAY, holidays))
        elif rule == "mid":
            days.append(rolled(date(year, month + 1, 15), DAY, holidays))
        elif rule == "net":
            days.append(rolled(end + 30 * DAY, DAY, holidays))
    return days


def due(job, begin, end, holidays):
    zone = zoneinfo.ZoneInfo(job["zone"])
    if job["hour"] is None:
        return list(hourly(zone, job["minute"], begin, end))
    days = days_of(job["days"], begin.date() - 2 * DAY, end.date() + 2 * DAY, holidays)
    walls = [datetime(day.year, day.month, day.day, job["hour"], job["minute"]) for day in days]
    instants = [instant_of(wall, zone) for wall in walls]
    return sorted(at for at in instants if begin < at <= end)


def tz_version():
    for folder in zoneinfo.TZPATH:
        file = pathlib.Path(folder, "tzdata.zi")
        if file.exists():
            return file.open().readline().strip("# \n")
    return "unknown"


def main():
    asked = json.load(sys.stdin)
    begin, end = (datetime.fromisoformat(asked[key]) for key in ("from", "until"))
    holidays = {date.fromisoformat(day) for day in asked["holidays"]}
    instants = {
        job["id"]: [int(at.timestamp()) for at in due(job, begin, end, holidays)]
        for job in asked["jobs"]
    }
    json.dump({"tzdata": tz_version(), "instants": instants}, sys.stdout)


main()
