"""Days of jobs: the load they ask for, and what is drawn is drawn again with the same seed."""

from __future__ import annotations

import pytest

from benchmarks.simulation import arrivals, federation
from benchmarks.simulation.arrivals import DataMix, Mix
from benchmarks.simulation.jobs import Job
from tests.benchmarks.small_federations import HOUR_S, job


def work_h(jobs: list[Job]) -> float:
    return sum(each.gpus * each.runtime_s for each in jobs) / HOUR_S


def test_a_day_asks_for_its_load_and_is_the_same_with_the_same_seed() -> None:
    there = arrivals.with_datasets(federation.usual(), DataMix(), 3)
    jobs = arrivals.drawn(Mix(), there, 0.5, 24, 3)
    wanted = 0.5 * there.gpus * 24
    assert wanted <= work_h(jobs) <= wanted + 32 * 24
    assert jobs == arrivals.drawn(Mix(), there, 0.5, 24, 3) != arrivals.drawn(Mix(), there, 0.5, 24, 4)
    assert all(0 <= each.at_s <= 24 * HOUR_S + 1e-6 for each in jobs)
    assert {each.expected_hours for each in jobs} <= set(arrivals.USUAL_HOURS)


def test_sizes_and_hours_are_those_of_the_trace() -> None:
    there = federation.usual()
    jobs = arrivals.drawn(Mix(), there, 8, 24, 1)
    assert sum(each.gpus == 1 for each in jobs) / len(jobs) == pytest.approx(0.687, abs=0.03)
    hours = sorted(each.runtime_s / HOUR_S for each in jobs)
    assert hours[len(hours) // 2] == pytest.approx(3.0, rel=0.15)
    assert hours[len(hours) // 10] == pytest.approx(0.2, rel=0.3)


def test_a_stretch_of_a_longer_stream_is_squeezed_into_the_day() -> None:
    there = federation.usual()
    stream = [job(f"j{n}", at_h=n * 10, gpus=8, hours=20) for n in range(200)]
    day = arrivals.brought_to(stream, there, 0.5, 24, 1)
    wanted = 0.5 * there.gpus * 24
    assert wanted <= work_h(day) <= wanted + 160
    assert (day[0].at_s, day[-1].at_s) == (0.0, pytest.approx(24 * HOUR_S))
    assert arrivals.brought_to(stream, there, 0.5, 24, 1) == day


def test_a_stream_that_is_too_little_is_refused_with_numbers() -> None:
    with pytest.raises(
        ValueError, match=r"the jobs ask for 16 GPU-hours, a load of 0.5 for 24 hours on 928 GPUs is 11136"
    ):
        arrivals.brought_to([job()], federation.usual(), 0.5, 24, 1)


def test_datasets_of_the_federation_are_kept() -> None:
    there = arrivals.with_datasets(federation.usual(), DataMix(count=7), 1)
    assert len(there.datasets) == 7
    assert arrivals.with_datasets(there, DataMix(count=9), 2) is there
    regions = {site.region for site in there.sites.values()}
    assert all(set(each.regions) <= regions for each in there.datasets.values())
