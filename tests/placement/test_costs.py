from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement import costs
from placement.costs import Attempt, Cost, Outcome, outcome_of
from placement.lifecycle import Event, Phase

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
RUN = Attempt(
    epoch=1,
    job="j",
    name="train",
    queue="q",
    tenant="red",
    owner="ann",
    cluster="c",
    uses=(("A100", 8.0), ("cpu", 4.0)),
    usd_per_hour=10.0,
    cpu_usd_per_hour=2.0,
    egress_usd=5.0,
    foreseen_usd=100.0,
    since=NOON,
    until=NOON + timedelta(hours=24),
    outcome=Outcome.SUCCEEDED,
)


def test_a_day_and_a_half_of_it() -> None:
    (first, one), (second, two) = costs.by_day(RUN)
    assert (first, second) == (MIDNIGHT - timedelta(days=1), MIDNIGHT)
    assert one == Cost(96.0, 48.0, 96.0, 24.0, 5.0, 0.0, 0.0, 0.0, 0, 0)
    assert two == Cost(96.0, 48.0, 96.0, 24.0, 0.0, 0.0, 100.0, 240.0, 1, 0)
    assert one + two == costs.cost(RUN)
    assert costs.cost(RUN).usd == pytest.approx(245.0)


def test_what_came_to_nothing_is_lost_with_what_was_moved_for_it() -> None:
    failed = costs.cost(replace(RUN, outcome=Outcome.FAILED))
    assert failed.lost_usd == failed.usd == pytest.approx(245.0)
    assert failed.foreseen_usd == 0  # it is no measure of what was foreseen
    assert costs.cost(replace(RUN, outcome=Outcome.CANCELLED)).lost_usd == 0


def test_one_that_runs_is_counted_and_has_not_ended() -> None:
    running = costs.cost(replace(RUN, outcome=None, runs=True))
    assert (running.attempts, running.running, running.foreseen_usd) == (0, 1, 0.0)
    assert costs.cost(replace(RUN, outcome=None, runs=True), NOON, MIDNIGHT).running == 0


@pytest.mark.parametrize(
    ("after", "event", "outcome"),
    [
        (Phase.SUCCEEDED, Event.SUCCEED, Outcome.SUCCEEDED),
        (Phase.FAILED, Event.FAIL, Outcome.FAILED),
        (Phase.CANCELLED, Event.STOPPED, Outcome.CANCELLED),
        (Phase.CANCELLED, Event.INTERRUPTED, Outcome.CANCELLED),
        (Phase.QUEUED, Event.STOPPED, Outcome.EVICTED),
        (Phase.QUEUED, Event.INTERRUPTED, Outcome.INTERRUPTED),
        (Phase.QUEUED, Event.REFUSE, Outcome.REFUSED),
    ],
)
def test_the_event_that_ended_it_names_its_outcome(after: Phase, event: Event, outcome: Outcome) -> None:
    assert outcome_of(after, event) is outcome


MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 2, 1), timezones=st.just(UTC))


@given(
    since=MOMENTS,
    lasts=st.timedeltas(timedelta(0), timedelta(days=20)),
    cuts=st.lists(MOMENTS, max_size=5),
    outcome=st.sampled_from([None, *Outcome]),
    usd=st.floats(0, 1e4),
)
def test_whatever_time_is_cut_into_the_parts_add_up(
    since: datetime, lasts: timedelta, cuts: list[datetime], outcome: Outcome | None, usd: float
) -> None:
    attempt = replace(
        RUN, since=since, until=since + lasts, outcome=outcome, usd_per_hour=usd, cpu_usd_per_hour=usd / 3
    )
    whole = costs.cost(attempt)
    edges = [costs.DAWN, *sorted(cuts), costs.DUSK]
    parts = costs.total(costs.cost(attempt, *pair) for pair in pairwise(edges))
    days = costs.total(part for _, part in costs.by_day(attempt))
    for summed in (parts, days):
        assert summed.attempts == whole.attempts == 1
        for name in ("gpu_hours", "cpu_hours", "gpu_usd", "cpu_usd", "egress_usd", "lost_usd", "foreseen_real_usd"):
            assert getattr(summed, name) == pytest.approx(getattr(whole, name), abs=1e-6)
    assert whole.usd == pytest.approx(usd * lasts / timedelta(hours=1) + 5.0)
