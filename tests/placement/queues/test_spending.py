from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.queues.spending import Past, mean_use, next_month, past_with, spendings

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_an_attempt_is_cut_into_hours_and_nothing_is_lost() -> None:
    records = list(
        spendings("q", [("A100", 4.0), ("cpu", 12.0)], 8.0, NOON + timedelta(minutes=30), NOON.replace(hour=14))
    )
    assert [(r.hour.hour, r.device, r.amount_hours, r.usd) for r in records] == [
        (12, "A100", 2.0, 1.0),
        (12, "cpu", 6.0, 3.0),
        (13, "A100", 4.0, 2.0),
        (13, "cpu", 12.0, 6.0),
    ]


def test_days_and_months_end_and_only_gpus_are_gpu_hours() -> None:
    records = spendings("q", [("A100", 4.0), ("cpu", 4.0)], 8.0, NOON - timedelta(hours=14), NOON)
    past = past_with({}, records, NOON, 24.0)["q"]
    assert (past.gpu_hours_day, past.usd_day) == (48.0, 96.0)
    assert (past.gpu_hours_month, past.usd_month) == (56.0, 112.0)
    tomorrow = past.at(NOON + timedelta(hours=12), 24.0)
    assert (tomorrow.gpu_hours_day, tomorrow.gpu_hours_month) == (0.0, 0.0)
    assert next_month(NOON) == datetime(2026, 2, 1, tzinfo=UTC)


def test_use_counts_half_after_a_half_life() -> None:
    past = Past(NOON, {"A100": 10.0})
    assert past.at(NOON + timedelta(hours=6), 6.0).decayed_hours == {"A100": 5.0}
    assert past.at(NOON - timedelta(hours=6), 6.0) is past


def test_a_steady_use_has_itself_as_mean() -> None:
    records = spendings("q", [("A100", 4.0)], 0.0, NOON - timedelta(days=10), NOON)
    assert mean_use(past_with({}, records, NOON, 12.0)["q"].decayed_hours["A100"], 12.0) == pytest.approx(4.0, rel=0.01)


@given(st.lists(st.integers(0, 90), min_size=1, max_size=12), st.integers(0, 95))
def test_taking_records_in_one_by_one_or_all_at_once_is_the_same(begins: list[int], later: int) -> None:
    start = NOON.replace(day=30, hour=0)
    now = start + timedelta(hours=95)
    all_records = [
        next(spendings("q", [("T4", 1.0)], 2.0, b, b + timedelta(hours=1)))
        for b in (start + timedelta(hours=h) for h in begins)
    ]
    past: dict[str, Past] = {}
    for number, record in enumerate(all_records):
        seen = max(record.hour + timedelta(hours=1), start + timedelta(hours=min(number + later, 95)))
        past = past_with(past, [record], max([seen, *(p.as_of for p in past.values())]), 24.0)
    one, other = past["q"].at(now, 24.0), past_with({}, all_records, now, 24.0)["q"]
    assert one.decayed_hours["T4"] == pytest.approx(other.decayed_hours["T4"])
    assert (one.usd_day, one.usd_month) == pytest.approx((other.usd_day, other.usd_month))
