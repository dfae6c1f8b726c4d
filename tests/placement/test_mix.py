"""The mix of pods that was seen: shares that sum up to one, the common kinds kept, the rare ones let go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement import mix
from placement.mix import Ask, Mix
from placement.resources import Resources
from placement.workload import DeviceNeed, Role

GPU = "nvidia.com/gpu"


def role(gpus: int, replicas: int = 1, cpu: int = 1000) -> Role:
    devices = (DeviceNeed(GPU, gpus),) if gpus else ()
    return Role("worker", replicas, replicas, Resources({"cpu": cpu, GPU: gpus, "memory": 7}), devices)


def test_pods_are_counted_and_memory_does_not_tell_them_apart() -> None:
    seen = Mix()
    seen.note((role(1, 3), role(0)))
    assert seen.shares() == {Ask(1000, GPU, 1): 0.75, Ask(1000): 0.25}


def test_the_rarest_are_no_typical_pods() -> None:
    seen = Mix()
    seen.note((role(1, 96), role(8, 4)))
    assert seen.typical() == ((Ask(1000, GPU, 1), 1.0),)


def test_nothing_seen_is_nothing_typical() -> None:
    assert Mix().typical() == ()


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 400)), min_size=1, max_size=900))
def test_it_stays_small_and_sums_up_to_one(pods: list[tuple[int, int]]) -> None:
    seen = Mix()
    for cpu, replicas in pods:
        seen.note((role(1, replicas, cpu),))
    assert len(seen.shares()) <= 512
    assert seen.total <= 20_400
    assert sum(seen.shares().values()) == pytest.approx(1)
    assert sum(share for _, share in seen.typical()) == pytest.approx(1)


def test_distance() -> None:
    one, two = Ask(1), Ask(2)
    assert mix.distance({one: 1.0}, {one: 1.0}) == 0
    assert mix.distance({one: 1.0}, {two: 1.0}) == 1
    assert mix.distance({one: 1.0}, {one: 0.5, two: 0.5}) == 0.5
