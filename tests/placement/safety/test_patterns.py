from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.safety.patterns import any_matches, matches, overlap


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("team-a", "team-a", True),
        ("team-a", "team-ab", False),
        ("team-*", "team-a", True),
        ("team-*", "team-", True),
        ("*", "", True),
        ("kubeflow.org/*", "kubeflow.org/v1/PyTorchJob", True),
        ("kubeflow.org/*", "kubeflowXorg/v1/PyTorchJob", False),
        ("*/Job", "batch/v1/Job", True),
        ("a*b*c", "aXbXc", True),
        ("a*b*c", "acb", False),
    ],
)
def test_a_star_stands_for_anything(pattern: str, name: str, does: bool) -> None:
    assert matches(pattern, name) is does


def test_no_pattern_means_nothing() -> None:
    assert not any_matches((), "a")


PATTERN = st.text("ab*", max_size=6)


@given(PATTERN, PATTERN, st.text("ab", max_size=7))
def test_what_both_mean_is_an_overlap(one: str, other: str, name: str) -> None:
    if matches(one, name) and matches(other, name):
        assert overlap(one, other)


@given(PATTERN, st.text("ab", max_size=6))
def test_a_plain_name_overlaps_where_it_is_meant(pattern: str, name: str) -> None:
    assert overlap(pattern, name) is matches(pattern, name)


@given(PATTERN, PATTERN)
def test_order_does_not_matter(one: str, other: str) -> None:
    assert overlap(one, other) is overlap(other, one)
