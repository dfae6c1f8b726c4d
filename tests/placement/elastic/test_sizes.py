"""Which sizes an elastic workload may have."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.elastic import sizes
from placement.resources import Resources
from placement.workload import Role, Sizes, SliceRequest, Workload


def role(name: str, replicas: int, least: int, most: int, step: int = 1, *, running: bool = True) -> Role:
    bounds = Sizes(least, most, step, running)
    return Role(name, replicas, min(least, replicas), Resources({"nvidia.com/gpu": 1}), sizes=bounds)


def workload(*roles: Role, min_pods: int = 0) -> Workload:
    least = sum(each.minimum for each in roles)
    return Workload("kubeflow.org/v1", "PyTorchJob", "x", "default", roles, max(min_pods, least))


MASTER = Role("Master", 1, 1, Resources())


@st.composite
def elastic(draw: st.DrawFn) -> Workload:
    roles = []
    for number in range(draw(st.integers(1, 4))):
        step = draw(st.sampled_from([1, 1, 2, 4]))
        least, replicas = sorted(draw(st.tuples(st.integers(0, 6), st.integers(0, 12))))
        most = replicas + draw(st.integers(0, 8))
        running = draw(st.booleans())
        roles.append(role(f"r{number}", replicas * step, least * step, most * step, step, running=running))
    free = sum(each.replicas - each.minimum for each in roles)
    kept = sum(each.minimum for each in roles)
    return workload(MASTER, *roles, min_pods=1 + kept + draw(st.integers(0, free)))


@given(elastic(), st.integers(0, 40), st.booleans())
def test_fewer_is_within_its_bounds_and_at_least_so_many_less(one: Workload, by: int, running: bool) -> None:
    less = sizes.fewer(one, by, running=running)
    assert less.min_pods == one.min_pods
    assert less.pods >= one.min_pods
    for before, after in zip(one.roles, less.roles, strict=True):
        assert after.replicas <= before.replicas
        if after.replicas != before.replicas:
            assert before.sizes is not None
            assert before.sizes.running or not running
            assert after.replicas >= before.sizes.least
            assert after.replicas % before.sizes.step == 0
    if all(each.sizes is None or each.sizes.step == 1 for each in one.roles):
        assert one.pods - less.pods == min(by, sizes.slack(one, running=running))


@given(elastic(), st.integers(0, 40))
def test_smaller_sizes_lie_within_larger_ones(one: Workload, by: int) -> None:
    larger, smaller = sizes.fewer(one, by), sizes.fewer(one, by + 1)
    assert smaller.pods <= larger.pods


@given(elastic(), st.integers(0, 40))
def test_more_is_within_its_bounds_and_at_most_so_many_more(one: Workload, by: int) -> None:
    grown = sizes.more(one, by)
    assert one.pods <= grown.pods <= one.pods + by
    for before, after in zip(one.roles, grown.roles, strict=True):
        if after.replicas != before.replicas:
            assert before.sizes is not None
            assert before.sizes.running
            assert before.replicas < after.replicas <= before.sizes.most
    if all(each.sizes is None or each.sizes.step == 1 for each in one.roles):
        assert grown.pods == one.pods + min(by, sizes.headroom(one))


@given(elastic(), st.integers(0, 40))
def test_what_was_added_is_the_difference(one: Workload, by: int) -> None:
    grown = sizes.more(one, by)
    added = sizes.added(grown, one)
    assert (added.pods if added is not None else 0) == grown.pods - one.pods
    assert sizes.added(one, grown) is None


def test_pods_are_taken_in_turn_from_those_that_have_most() -> None:
    one = workload(MASTER, role("a", 4, 1, 4), role("b", 8, 1, 8))
    assert sizes.pods_of(sizes.fewer(one, 4)) == {"Master": 1, "a": 4, "b": 4}
    assert sizes.pods_of(sizes.fewer(one, 6)) == {"Master": 1, "a": 3, "b": 3}
    assert sizes.pods_of(sizes.fewer(one, 99)) == {"Master": 1, "a": 1, "b": 1}


def test_the_number_of_the_gang_is_kept() -> None:
    one = workload(MASTER, role("a", 8, 1, 8), min_pods=5)
    assert sizes.slack(one) == 4
    assert sizes.fewer(one, 99).pods == 5


def test_a_billion_pods_are_counted_at_once() -> None:
    one = workload(role("a", 2**30, 1, 2**30), role("b", 2**30 - 7, 3, 2**30))
    assert sizes.fewer(one, 2**30).pods == 2**30 - 7


@pytest.mark.parametrize("running", [True, False])
def test_slices_and_roles_without_a_choice_keep_their_size(running: bool) -> None:
    sliced = replace(role("a", 8, 2, 8), slices=SliceRequest(4, "nvlink"))
    assert sizes.slack(workload(MASTER, sliced), running=running) == 0
    assert sizes.headroom(workload(MASTER, sliced)) == 0


def test_in_words() -> None:
    assert sizes.in_words(workload(MASTER, role("Worker", 3, 2, 8))) == "Worker 3 of 2 to 8"
