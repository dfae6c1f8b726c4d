"""A calendar that is looked at whenever: no run twice, none that is not on the schedule, at most the last that was
missed; suspended, too late and kept back as Kubernetes has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from placement.calendar import schedule
from placement.calendar.decisions import COUNTED, Concurrency, Decision, Rules, decide
from tests.placement.calendar.test_schedule import CHANGES, schedules

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HOURLY = Rules(schedule.parse("0 * * * *"))

rules = st.builds(
    Rules,
    schedules,
    st.none() | st.integers(0, 7200).map(lambda seconds: timedelta(seconds=seconds)),
    st.sampled_from(Concurrency),
    st.just(False),
)


@given(
    rules,
    st.sampled_from(CHANGES),
    st.lists(st.tuples(st.integers(1, 3 * 86_400), st.booleans()), min_size=1, max_size=12),
)
def test_whenever_one_looks(one: Rules, began: datetime, looks: list[tuple[int, bool]]) -> None:
    since, now, running, started = began, began, (), []
    for wait_s, ended in looks:
        before, now = now, now + timedelta(seconds=wait_s)
        running = () if ended else running
        decision = decide(one, since, running, now)
        on_schedule = one.schedule.last_until(now)
        if decision.start is not None:
            assert decision.start == on_schedule  # the last, whatever was missed before
            assert since < decision.start <= now
            assert one.deadline is None or now - decision.start < one.deadline
            assert not (running and one.concurrency is Concurrency.FORBID)
            assert decision.stop == (running if one.concurrency is Concurrency.REPLACE else ())
            started.append(decision.start)
            since, running = decision.start, (*(() if decision.stop else running), f"r{len(started)}")
            assert decide(one, since, running, now).start is None
        elif on_schedule is not None and since < on_schedule:
            late = one.deadline is not None and now - on_schedule >= one.deadline
            assert late or (bool(running) and one.concurrency is Concurrency.FORBID)
            assert decision.note
        assert decision.look_again is not None
        assert decision.look_again > now
        assert one.schedule.last_until(decision.look_again - timedelta(seconds=1)) == on_schedule  # nothing in between
        assert before < now
    assert started == sorted(set(started))


@given(schedules, st.sampled_from(CHANGES))
def test_looked_at_when_it_says_nothing_is_missed(one: schedule.Schedule, began: datetime) -> None:
    wanted = [at for _, at in zip(range(20), one.after(began), strict=False)]
    since, now, started = began, began, []
    while len(started) < 20:
        decision = decide(Rules(one), since, (), now)
        if decision.start is not None:
            assert decision.missed == 0
            started.append(decision.start)
            since = decision.start
        assert decision.look_again is not None
        now = decision.look_again
    assert started == wanted


def test_of_what_was_missed_the_last_is_started_and_the_others_are_told() -> None:
    since = NOON - 5 * HOUR
    assert decide(HOURLY, since, (), NOON + MINUTE) == Decision(
        NOON, (), NOON + HOUR, 4, "4 runs before it were missed"
    )
    assert decide(HOURLY, NOON - 2 * HOUR, (), NOON).note == "1 run before it was missed"
    many = decide(HOURLY, NOON - 30 * DAY, (), NOON)
    assert (many.start, many.missed) == (NOON, COUNTED + 1)
    assert "more than 100 runs" in many.note


def test_what_is_too_late_is_missed_for_good() -> None:
    strict = replace(HOURLY, deadline=10 * MINUTE)
    late = decide(strict, NOON - HOUR, (), NOON + 11 * MINUTE)
    assert (late.start, late.look_again) == (None, NOON + HOUR)
    assert late.note == (
        "the run of 2026-05-01 12:00 UTC was missed: 660 s late, 600 s are allowed (startingDeadlineSeconds)"
    )
    assert decide(strict, NOON - HOUR, (), NOON + 9 * MINUTE).start == NOON


def test_one_that_goes_on() -> None:
    running = ("j-1",)
    assert decide(HOURLY, NOON - HOUR, running, NOON).start == NOON
    replaced = decide(replace(HOURLY, concurrency=Concurrency.REPLACE), NOON - HOUR, running, NOON)
    assert (replaced.start, replaced.stop) == (NOON, running)
    forbidding = replace(HOURLY, concurrency=Concurrency.FORBID)
    kept = decide(forbidding, NOON - HOUR, running, NOON)
    assert (kept.start, kept.look_again) == (None, NOON + HOUR)
    assert "the one before has not ended" in kept.note
    assert decide(forbidding, NOON - HOUR, (), NOON + 5 * MINUTE).start == NOON


def test_what_is_suspended_waits_for_somebody() -> None:
    assert decide(replace(HOURLY, suspended=True), NOON - DAY, (), NOON) == Decision(note="suspended")


def test_what_never_comes_is_not_waited_for() -> None:
    never = Rules(schedule.Schedule("* * */20 * 1L", "UTC"))
    assert decide(never, NOON, (), NOON + HOUR) == Decision()
