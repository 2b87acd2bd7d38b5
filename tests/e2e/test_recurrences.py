"""Recurrences: what phrases become, and the times that rules mean, compared with python-dateutil and, for cron and for what happens often,
with a walk over every minute."""
from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import Any, Iterator, List, Tuple
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr

BASE = "2017-08-16T12:34:56"  # a Wednesday
UTC = timezone.utc
DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]


@pytest.fixture
def explain(tutti):
    server = tutti()

    def ask(phrase: str, status: Any = 200, **params: Any) -> Any:
        answer = server.get("/v1/schedules/explain", params={"phrase": phrase, **{"from": BASE, "zone": "UTC", **params}})
        assert status is None or answer.status == status, (phrase, answer.body)
        return answer.json

    return ask


def times(answer: Any) -> List[datetime]:
    return [datetime.fromisoformat(text.replace("Z", "+00:00")) for text in answer["next"]]


# ---- phrases ----

PHRASES = [
    ("daily", "INTERVAL=1;FREQ=DAILY"), ("everyday", "INTERVAL=1;FREQ=DAILY"), ("every day", "INTERVAL=1;FREQ=DAILY"),
    ("every other day", "INTERVAL=2;FREQ=DAILY"), ("every 3 days", "INTERVAL=3;FREQ=DAILY"), ("every 3rd day", "INTERVAL=3;FREQ=DAILY"),
    ("daily at 3pm", "BYHOUR=15;BYMINUTE=0;INTERVAL=1;FREQ=DAILY"), ("daily at 10:30", "BYHOUR=10;BYMINUTE=30;INTERVAL=1;FREQ=DAILY"),
    ("every 5 minutes", "INTERVAL=5;FREQ=MINUTELY"), ("every hour", "INTERVAL=1;FREQ=HOURLY"), ("every 2 hours", "INTERVAL=2;FREQ=HOURLY"),
    ("every 30 seconds", "INTERVAL=30;FREQ=SECONDLY"),
    ("weekdays", "BYDAY=MO,TU,WE,TH,FR;INTERVAL=1;FREQ=WEEKLY"), ("every weekday at 17:30", "BYDAY=MO,TU,WE,TH,FR;BYHOUR=17;BYMINUTE=30;INTERVAL=1;FREQ=WEEKLY"),
    ("weekends", "BYDAY=SA,SU;INTERVAL=1;FREQ=WEEKLY"), ("mondays and thursdays", "BYDAY=MO,TH;INTERVAL=1;FREQ=WEEKLY"),
    ("every monday", "BYDAY=MO;INTERVAL=1;FREQ=WEEKLY"), ("every other tuesday", "BYDAY=TU;INTERVAL=2;FREQ=WEEKLY"),
    ("every 2 weeks on fri", "BYDAY=FR;INTERVAL=2;FREQ=WEEKLY"), ("every mon, wed and fri", "BYDAY=MO,WE,FR;INTERVAL=1;FREQ=WEEKLY"),
    ("every 4th of the month", "BYMONTHDAY=4;INTERVAL=1;FREQ=MONTHLY"), ("every 1st and 15th of the month", "BYMONTHDAY=1,15;INTERVAL=1;FREQ=MONTHLY"),
    ("every first friday of the month", "BYDAY=1FR;INTERVAL=1;FREQ=MONTHLY"), ("every july 4th", "BYMONTHDAY=4;BYMONTH=7;INTERVAL=1;FREQ=YEARLY"),
    ("once a year on december 25th", "BYMONTHDAY=25;BYMONTH=12;INTERVAL=1;FREQ=YEARLY"), ("the last day of every month", "BYMONTHDAY=-1;INTERVAL=1;FREQ=MONTHLY"),
    # What the older library got wrong.
    ("weekly", "INTERVAL=1;FREQ=WEEKLY"), ("monthly", "INTERVAL=1;FREQ=MONTHLY"), ("yearly", "INTERVAL=1;FREQ=YEARLY"), ("hourly", "INTERVAL=1;FREQ=HOURLY"),
    ("bi weekly", "INTERVAL=2;FREQ=WEEKLY"), ("twice weekly", "BYDAY=MO,TH;INTERVAL=1;FREQ=WEEKLY"), ("every 20 min", "INTERVAL=20;FREQ=MINUTELY"),
    ("every monday at 9", "BYDAY=MO;BYHOUR=9;BYMINUTE=0;INTERVAL=1;FREQ=WEEKLY"), ("daily at 12pm", "BYHOUR=12;BYMINUTE=0;INTERVAL=1;FREQ=DAILY"),
    ("daily at 00:30", "BYHOUR=0;BYMINUTE=30;INTERVAL=1;FREQ=DAILY"), ("daily at 5", "BYHOUR=5;BYMINUTE=0;INTERVAL=1;FREQ=DAILY"),
    ("daily at midnight", "BYHOUR=0;BYMINUTE=0;INTERVAL=1;FREQ=DAILY"), ("every month on the 15th", "BYMONTHDAY=15;INTERVAL=1;FREQ=MONTHLY"),
    ("every last friday", "BYDAY=-1FR;INTERVAL=1;FREQ=MONTHLY"), ("daily at 9 and 17", "BYHOUR=9,17;BYMINUTE=0;INTERVAL=1;FREQ=DAILY"),
    ("daily until november", "INTERVAL=1;FREQ=DAILY;UNTIL=20171101"), ("FREQ=DAILY;BYHOUR=9", "BYHOUR=9;INTERVAL=1;FREQ=DAILY"),
]
WITH_START = [
    ("daily starting tomorrow", "20170817", "INTERVAL=1;FREQ=DAILY"),
    ("mondays from jan 1 to march 25th", "20180101", "BYDAY=MO;INTERVAL=1;FREQ=WEEKLY;UNTIL=20180325"),
    ("every 2 hours starting tomorrow at 9:30", "20170817T093000", "INTERVAL=2;FREQ=HOURLY"),
]


def test_phrases_become_rules(explain):
    for phrase, rule in PHRASES:
        assert explain(phrase)["rule"] == "RRULE:" + rule, phrase
    for phrase, start, rule in WITH_START:
        assert explain(phrase)["rule"] == "DTSTART:%s\nRRULE:%s" % (start, rule), phrase


def test_what_is_no_recurrence(explain):
    for phrase in ("every garbage", "every", "every monday at 25", "daily daily", "every 0 days", "garbage", "mondays until", "every monday and",
                   "daily at 9 and 10:30", "*/0 * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *", "@reboot",
                   "FREQ=DAILY;FREQ=DAILY", "FREQ=NEVER", "BYHOUR=9", "FREQ=DAILY;BYHOUR=24", "FREQ=DAILY;BYDAY=XX", "FREQ=DAILY;BYDAY=1MO", "FREQ=DAILY;X=1",
                   "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MINUTELY;INTERVAL=2;BYMINUTE=5", "FREQ=SECONDLY;BYMONTH=2", "FREQ=DAILY;COUNT=3",
                   "FREQ=DAILY;UNTIL=20170230", "DTSTART:20170101", "RRULE:", "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;BYHOUR=", "EXDATE:20170101\nFREQ=DAILY",
                   "FREQ=DAILY;INTERVAL=99999999999", "FREQ=DAILY\nFREQ=DAILY\nFREQ=DAILY", "FREQ=DAILY;" + "BYHOUR=" + "1," * 400):
        answer = explain(phrase, 400)
        assert answer["code"] == "invalid" and answer["detail"], phrase


def test_where_rules_without_a_start_begin(explain):
    for phrase, first in (("daily", "2017-08-17"), ("weekly", "2017-08-20"), ("monthly", "2017-09-01"), ("yearly", "2018-01-01"), ("every 3 days", "2017-08-19"),
                          ("every friday", "2017-08-18"), ("every 2 months", "2017-10-01"), ("hourly", "2017-08-16T13:00:00"),
                          ("every 20 min", "2017-08-16T12:40:00"), ("every 2 hours", "2017-08-16T14:00:00")):
        assert explain(phrase, count=1)["next"] == [first + ("Z" if "T" in first else "T00:00:00Z")], phrase


# ---- against dateutil ----

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns"]


HORIZON = 2026  # rules that seldom say yes are compared up to there


def instant(naive: datetime, zone: ZoneInfo) -> datetime:
    """A time that clocks skip is taken as if they had not yet gone forward, of two the first (PEP 495 with fold 0)."""
    return naive.replace(tzinfo=zone).astimezone(UTC)


def happens(rule: str, start: datetime) -> bool:
    bounded = "".join(";" + part for part in rule.split(";") if not part.startswith(("COUNT", "UNTIL")))[1:]
    return next(iter(rrulestr("%s;UNTIL=%d1231T235959" % (bounded, HORIZON), dtstart=start, cache=False)), None) is not None


def expected(rule: str, start: datetime, zone_name: str, after: datetime, count: int) -> List[datetime]:
    zone = ZoneInfo(zone_name)
    found: List[datetime] = []
    if not happens(rule, start):
        return []
    if "COUNT" not in rule and "UNTIL" not in rule:
        rule += ";UNTIL=%d1231T235959" % HORIZON  # or it looks until 9999 for what never comes
    for naive in rrulestr(rule, dtstart=start, cache=False).xafter(after.replace(tzinfo=None) - timedelta(days=2)):
        found.append(instant(naive, zone))
        if len([t for t in found[-60:] if t > after]) > count + 12:
            break
    return sorted({t for t in found if t > after})[:count]


def some(rng: random.Random, values: List[Any], most: int) -> str:
    return ",".join(str(v) for v in sorted(rng.sample(values, rng.randint(1, most))))


def random_rule(rng: random.Random) -> str:
    freq = rng.choice(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"])
    parts = ["FREQ=" + freq]
    if rng.random() < 0.5:
        parts.append("INTERVAL=%d" % rng.randint(1, 5))
    if freq == "WEEKLY" and rng.random() < 0.7 or rng.random() < 0.15:
        parts.append("BYDAY=" + some(rng, DAYS, 4))
    elif freq == "MONTHLY" and rng.random() < 0.4:
        parts.append("BYDAY=" + some(rng, ["1MO", "2TU", "-1FR", "3SU", "-2WE", "5SA"], 2))
    elif freq in ("MONTHLY", "YEARLY", "DAILY") and rng.random() < 0.6:
        parts.append("BYMONTHDAY=" + some(rng, [1, 2, 15, 28, 29, 30, 31, -1, -5], 3))
    elif freq == "YEARLY" and rng.random() < 0.3:
        parts.append(rng.choice(["BYYEARDAY=" + some(rng, [1, 60, 200, 366, -1, -100], 3), "BYDAY=%s;BYWEEKNO=%s" % (some(rng, DAYS, 3), some(rng, [1, 2, 20, 51], 2))]))
    if not any("BYWEEKNO" in p or "BYYEARDAY" in p for p in parts) and rng.random() < (0.6 if freq == "YEARLY" else 0.2):
        parts.append("BYMONTH=" + some(rng, list(range(1, 13)), 4))
    if rng.random() < 0.7:
        parts.append("BYHOUR=" + some(rng, [0, 1, 2, 3, 9, 23], 3))
    if rng.random() < 0.5:
        parts.append("BYMINUTE=" + some(rng, [0, 15, 30, 59], 2))
    if len(parts) > 2 and rng.random() < 0.2:
        # Others may never come, and dateutil looks for them until 9999; and it begins the first week with its first moment.
        parts.append("BYSETPOS=" + ("-1" if freq == "WEEKLY" else rng.choice(["1", "-1", "-1,1"])))
    if rng.random() < 0.2:
        parts.append("WKST=" + rng.choice(DAYS))
    end = rng.random()
    if end < 0.15:
        parts.append("COUNT=%d" % rng.randint(1, 40))
    elif end < 0.3:
        parts.append("UNTIL=%d1231T120000" % rng.randint(2017, 2030))
    return ";".join(parts)


def cases(rng: random.Random, count: int) -> Iterator[Tuple[str, datetime, str, datetime]]:
    for _ in range(count):
        start = datetime(2017, rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23), rng.choice([0, 30]), 0)
        yield random_rule(rng), start, rng.choice(ZONES), (start + timedelta(days=rng.randint(-30, 2000), minutes=rng.randint(0, 1440))).replace(tzinfo=UTC)


def test_rules_mean_what_dateutil_says(explain, is_long):
    for rule, start, zone, after in cases(random.Random(7), 1000 if is_long else 60):
        text = "DTSTART:%s\nRRULE:%s" % (start.strftime("%Y%m%dT%H%M%S"), rule)
        answer = explain(text, None, zone=zone, count=12, **{"from": after.strftime("%Y-%m-%dT%H:%M:%SZ")})
        if "would never happen" in answer.get("detail", ""):
            assert expected(rule, start, zone, after, 1) == [], text
            continue
        found = times(answer)
        wanted = expected(rule, start, zone, after, 12)
        assert found[:len(wanted)] == wanted and all(t.year > HORIZON - 1 for t in found[len(wanted):]), (text, zone, after)


def test_the_last_weeks_of_years(explain):
    """dateutil 2.9 takes 2022-01-01 for week 53 of 2021, which has 52: so here the calendar itself is asked."""
    for weeks, fits in (("53", lambda d: d.isocalendar()[1] == 53), ("52", lambda d: d.isocalendar()[1] == 52),
                        ("-1", lambda d: (d + timedelta(days=7)).isocalendar()[1] == 1)):
        found = [t.date() for t in times(explain("FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYWEEKNO=" + weeks, count=100))]
        walk = [datetime(2017, 8, 17).date() + timedelta(days=i) for i in range(60000)]
        assert found == [day for day in walk if fits(day)][:len(found)] and len(found) == 100, weeks


# ---- against a walk over every minute ----

CRON = ["*/5 * * * *", "7 * * * *", "30 9 * * 1-5", "0 0 1 * *", "0 0 1 * 1", "15,45 8-10 * jan-mar sun", "0 */6 */2 * *", "0 12 29 2 *", "5 4 * * 7", "0 0 1,15 * fri"]


def cron_set(text: str, low: int, high: int, names: str = "") -> set:
    found = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        for i, name in enumerate(names.split()):
            span = span.replace(name, str(low + i))
        first, _, last = span.partition("-")
        if span == "*":
            first, last = str(low), str(high)
        found |= set(range(int(first), int(last or (high if step else first)) + 1, int(step or 1)))
    return found


def cron_walk(line: str, at: datetime, count: int, limit_days: int) -> List[datetime]:
    minute, hour, day, month, weekday = line.split()
    minutes, hours, days_, months = cron_set(minute, 0, 59), cron_set(hour, 0, 23), cron_set(day, 1, 31), cron_set(month, 1, 12, "jan feb mar")
    weekdays = {d % 7 for d in cron_set(weekday, 0, 7, "sun mon tue wed thu fri sat")}
    found: List[datetime] = []
    at = at.replace(second=0) + timedelta(minutes=1)
    end = at + timedelta(days=limit_days)
    while at < end and len(found) < count:
        on_day, on_weekday = at.day in days_, (at.weekday() + 1) % 7 in weekdays
        fits = on_day or on_weekday if day[0] != "*" and weekday[0] != "*" else on_day and on_weekday
        if not (fits and at.month in months):
            at = (at + timedelta(days=1)).replace(hour=0, minute=0)
            continue
        if at.hour in hours and at.minute in minutes:
            found.append(at)
        at += timedelta(minutes=1)
    return found


def test_cron_means_what_cron_does(explain):
    for line in CRON:
        wanted = cron_walk(line, datetime.fromisoformat(BASE).replace(tzinfo=UTC), 20, 1500)
        found = times(explain(line, count=20))
        assert len(wanted) >= 1 and found[:len(wanted)] == wanted, line


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe"])
@pytest.mark.parametrize("text, fits", [
    ("*/5 * * * *", lambda local, utc: local.minute % 5 == 0), ("hourly at 30", None), ("FREQ=HOURLY;BYMINUTE=15;BYDAY=SA,SU", lambda local, utc: local.minute == 15 and local.weekday() > 4),
    ("FREQ=MINUTELY;BYHOUR=2", lambda local, utc: local.hour == 2),
])
def test_what_happens_often_goes_by_real_time(explain, zone, text, fits):
    if fits is None:
        explain(text, 400, zone=zone)
        return
    place = ZoneInfo(zone)
    for start in (datetime(2024, 3, 30, 20, tzinfo=UTC), datetime(2024, 10, 26, 20, tzinfo=UTC), datetime(2024, 4, 6, 10, tzinfo=UTC), datetime(2024, 10, 5, 10, tzinfo=UTC)):
        wanted = [t for t in (start + timedelta(minutes=i) for i in range(1, 1200)) if fits(t.astimezone(place), t)][:90]
        found = times(explain(text, zone=zone, count=90, **{"from": start.strftime("%Y-%m-%dT%H:%M:%SZ")}))
        assert found[:len(wanted)] == wanted, (start, zone)


def test_clocks_that_change(explain):
    """Daily at 02:30 in Berlin: on the day that has no 02:30 at 03:30, on the day that has two of them at the first."""
    found = times(explain("daily at 2:30", zone="Europe/Berlin", count=3, **{"from": "2024-03-30"}))
    assert [t.isoformat()[:16] for t in found] == ["2024-03-30T01:30", "2024-03-31T01:30", "2024-04-01T00:30"]
    found = times(explain("daily at 2:30", zone="Europe/Berlin", count=3, **{"from": "2024-10-26"}))
    assert [t.isoformat()[:16] for t in found] == ["2024-10-26T00:30", "2024-10-27T00:30", "2024-10-28T01:30"]
    found = times(explain("every 6 hours", zone="Europe/Berlin", count=8, **{"from": "2024-03-30"}))
    assert all(b - a == timedelta(hours=6) for a, b in zip(found, found[1:]))
