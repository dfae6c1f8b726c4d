from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.calendar import schedule
from placement.calendar.schedule import BadSchedule

EXPRESSIONS = (
    "* * * * *",
    "*/15 * * * *",
    "30 2 * * *",
    "0,30 2,3 * * *",
    "5 1-3 * * *",
    "0 */2 * * *",
    "0 3 * * MON-FRI",
    "0 0 1 * *",
    "0 0 29 2 *",
    "15 2 1,15 * SUN",
    "0 12 1-7 * *",
)
ZONES = ("UTC", "Europe/Stockholm", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia")
schedules = st.builds(schedule.parse, st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES))
# Around changes of the clock as often as not.
CHANGES = tuple(
    datetime(*day, tzinfo=UTC)
    for day in ((2026, 3, 29), (2026, 10, 25), (2026, 3, 8), (2026, 11, 1), (2026, 4, 4), (2026, 10, 3), (2011, 12, 30))
)
moments = st.datetimes(datetime(2010, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)) | st.builds(
    lambda day, seconds: day + timedelta(seconds=seconds), st.sampled_from(CHANGES), st.integers(-86_400, 2 * 86_400)
)


@given(schedules, moments)
def test_they_come_in_order_each_once_and_where_one_looks_from_makes_no_difference(
    one: schedule.Schedule, since: datetime
) -> None:
    found = [at for _, at in zip(range(8), one.after(since), strict=False)]
    assert found == sorted(set(found))
    assert all(at > since and at.tzinfo is UTC and at.second == 0 for at in found)
    for before, after in zip([since, *found], found, strict=False):
        assert one.next_after(before) == after
        middle = before + (after - before) / 2
        assert one.next_after(middle) == after
        assert one.last_until(after) == after
        assert one.last_until(after + timedelta(seconds=1)) == after
        if before != since:
            assert one.last_until(after - timedelta(seconds=1)) == before
    assert one.count(since, found[4], 100) == 5
    assert one.count(since, found[4], 3) == 3


@given(schedules, moments)
def test_each_is_at_an_hour_of_the_schedule_unless_that_hour_is_skipped(
    one: schedule.Schedule, since: datetime
) -> None:
    zone = ZoneInfo(one.zone)
    minute, hour = one.expression.split()[:2]
    found = one.next_after(since)
    assert found is not None
    local = found.astimezone(zone)
    if minute == "30" and hour == "2" and (local.hour, local.minute) != (2, 30):
        # 02:30 was skipped that day, and it comes as the clock has jumped.
        earlier = (found - timedelta(minutes=1)).astimezone(zone)
        assert earlier.utcoffset() != local.utcoffset()


def test_changes_of_the_clock() -> None:
    nightly = schedule.parse("30 2 * * *", "Europe/Stockholm")
    spring, autumn = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)
    assert nightly.next_after(spring) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # 03:00, for 02:30 is skipped
    first = nightly.next_after(autumn)
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # the first 02:30
    assert nightly.next_after(first) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)  # and not the second
    quarterly = schedule.parse("*/15 * * * *", "Europe/Stockholm")
    assert quarterly.count(autumn, autumn + timedelta(hours=3), 100) == 12


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        ("", "", "empty"),
        ("* * * *", "", "has 4 fields"),
        ("0 * * * * *", "", "has 6 fields"),
        ("61 * * * *", "", "bad minute"),
        ("0 25 * * *", "", "bad hour"),
        ("0 0 31 2 *", "", "bad day-of-month"),
        ("a b c d e", "", "bad minute"),
        ("5-1 * * * *", "", "bad minute"),
        ("*/0 * * * *", "", "bad minute"),
        ("* * * * 1#9", "", "bad day-of-week"),
        ("* * * * L", "", "bad day-of-week"),
        ("@every 5m", "", "there is no '@every 5m'"),
        ("@reboot", "", "there is no"),
        ("TZ=UTC 0 0 * * *", "", "names a time zone"),
        ("CRON_TZ=UTC 0 0 * * *", "", "names a time zone"),
        ("0 0 * * *", "Europe/Atlantis", "no time zone 'Europe/Atlantis'"),
        ("0 0 * * *", "../../etc/passwd", "no time zone"),
        ("0 0 * * *", "Local", "no time zone"),
        ("0 0 * * *", "a\x00b", "no time zone"),
        ("1," * 300 + "1 * * * *", "", ""),
    ],
)
def test_what_is_no_schedule_is_refused_with_a_mend(text: str, zone: str, said: str) -> None:
    with pytest.raises(BadSchedule) as refused:
        schedule.parse(text, zone)
    assert said in str(refused.value)
    assert refused.value.mend


@given(st.text("0123456789*/,-?LW#@ MONJAN", max_size=30))
def test_no_text_breaks_it(text: str) -> None:
    try:
        found = schedule.parse(text)
    except BadSchedule:
        return
    at = found.next_after(datetime(2026, 1, 1, tzinfo=UTC))
    assert at is None or at.minute in range(60)


@pytest.mark.parametrize(
    ("macro", "same"), [("@daily", "0 0 * * *"), ("@hourly", "0 * * * *"), ("0 0 ? * ?", "0 0 * * *")]
)
def test_other_ways_to_write_them(macro: str, same: str) -> None:
    assert schedule.parse(macro) == schedule.parse(same)
