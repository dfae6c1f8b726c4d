from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub.loops.timers import Timers
from tests.hub.loops.rig import START_OF_TIME

SECONDS = st.integers(0, 50)
STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(SECONDS, max_size=3))  # set
    | SECONDS,  # ring
    max_size=60,
)


@given(STEPS)
def test_as_if_all_moments_of_all_jobs_were_looked_through(steps: list[tuple[str, list[int]] | int]) -> None:
    timers, known = Timers(), dict[str, set[int]]()
    for step in steps:
        if isinstance(step, tuple):
            job, moments = step
            timers.set(job, [START_OF_TIME + timedelta(seconds=one) for one in moments])
            known[job] = set(moments)
        else:
            expected = sorted(job for job, moments in known.items() if any(one <= step for one in moments))
            assert sorted(timers.rung(START_OF_TIME + timedelta(seconds=step))) == expected
            known = {job: {one for one in moments if one > step} for job, moments in known.items()}
        left = [one for moments in known.values() for one in moments]
        assert timers.next == (START_OF_TIME + timedelta(seconds=min(left)) if left else None)


def test_a_moment_that_moves_with_every_decision_leaves_nothing_behind() -> None:
    timers = Timers()
    for number in range(10_000):
        timers.set(f"j-{number % 10}", [START_OF_TIME + timedelta(seconds=number)])
    assert len(timers) < 100
    assert timers.next == START_OF_TIME + timedelta(seconds=9_990)
