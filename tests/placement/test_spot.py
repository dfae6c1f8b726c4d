from __future__ import annotations

from math import inf
from random import Random

import pytest

from placement.spot import LOST_WORK_HOURS, RESTART_HOURS, lengthening, lost_hours
from placement.workload import Hints
from tests.placement.worlds import role, workload


def test_half_an_interval_and_the_restart_are_lost() -> None:
    asked = workload(role(gpus=8), hints=Hints(checkpoint_minutes=30))
    assert lost_hours(asked) == pytest.approx(0.25 + RESTART_HOURS)
    assert lost_hours(workload(role(gpus=8))) == LOST_WORK_HOURS


def test_without_interruptions_it_takes_its_hours_and_with_too_many_it_never_ends() -> None:
    assert lengthening(0.0, 5.0) == 1.0
    assert lengthening(2.0, 0.5) == inf


@pytest.mark.parametrize(("rate", "interval_h"), [(0.05, 0.5), (0.2, 1.0), (0.5, 0.5)])
def test_it_is_what_a_simulated_job_takes(rate: float, interval_h: float) -> None:
    """Saves every `interval_h` of work; an interruption throws it back to the last save and costs the restart."""
    rng, work_h, runs = Random(7), 200.0, 60
    took = 0.0
    for _ in range(runs):
        done = clock = 0.0
        while done < work_h:
            gap = rng.expovariate(rate)
            if done + gap >= work_h:
                clock += work_h - done
                break
            clock += gap + RESTART_HOURS
            done = (done + gap) // interval_h * interval_h
        took += clock
    told = work_h * lengthening(rate, interval_h / 2 + RESTART_HOURS)
    # Time lost is not interrupted in the simulation's restarts, and jobs shorter than an interval lose less.
    assert took / runs == pytest.approx(told, rel=0.06)
