"""The table is whole, and following it leads to where it should, from anywhere, and stays there."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.distribution import lifecycle
from placement.distribution.lifecycle import STEPS, Distribution, Member, Standing, Step, Told, Wish, orders
from placement.selectors import BadSelector

NAMES = ("one", "two")
CLUSTERS = ("east", "west", "north")

distributions = st.lists(
    st.builds(
        Distribution,
        st.sampled_from(NAMES),
        st.integers(1, 3),
        st.sampled_from(["env=prod", "name=east", "region in (eu)", "*", "!env"]),
        st.booleans(),
    ),
    unique_by=lambda one: one.name,
)
members = st.lists(
    st.builds(
        Member,
        st.sampled_from(CLUSTERS),
        st.sampled_from(["eu", "us"]),
        st.sampled_from([{}, {"env": "prod"}, {"env": "dev"}]),
    ),
    unique_by=lambda one: one.name,
)
standings = st.lists(
    st.builds(
        Standing,
        st.sampled_from((*NAMES, "forgotten")),
        st.sampled_from((*CLUSTERS, "removed")),
        st.integers(1, 3),
        st.booleans(),
        st.booleans(),
    ).map(lambda one: replace(one, gone=one.gone and not one.present)),
    unique_by=lambda one: (one.distribution, one.cluster),
)


def test_the_table_has_a_row_for_everything() -> None:
    assert set(STEPS) == set(itertools.product(Wish, Told))


def selected(one: Distribution, member: Member) -> bool:
    """Written out anew."""
    env = member.labels.get("env")
    match one.selector:
        case "env=prod":
            return env == "prod"
        case "name=east":
            return member.name == "east"
        case "region in (eu)":
            return member.region == "eu"
        case "*":
            return True
    return env is None


@given(distributions, members, standings)
def test_following_the_table_gives_everything_to_who_is_selected_and_to_nobody_else(
    known: list[Distribution], here: list[Member], standing: list[Standing]
) -> None:
    told = {(one.distribution, one.cluster): one for one in standing}
    revisions = {one.name: one.revision for one in known}
    for _ in range(3):
        for order in orders(known, here, told.values()):
            key = (order.distribution, order.cluster)
            if order.step is Step.FORGET:
                del told[key]
            else:
                present = order.step is Step.DISTRIBUTE
                told[key] = Standing(*key, revisions[order.distribution], present)
        # Spokes do as they are told.
        told = {key: one if one.present else replace(one, gone=True) for key, one in told.items()}
    assert list(orders(known, here, told.values())) == []
    wanted = {
        (one.name, member.name): one.revision
        for one in known
        for member in here
        if not one.deleting and selected(one, member)
    }
    assert {key: one.revision for key, one in told.items()} == wanted
    assert all(one.present for one in told.values())


@given(distributions, members, standings)
def test_there_is_at_most_one_order_about_each_and_none_is_taken_back(
    known: list[Distribution], here: list[Member], standing: list[Standing]
) -> None:
    given = list(orders(known, here, standing))
    assert len({(one.distribution, one.cluster) for one in given}) == len(given)
    told = {(one.distribution, one.cluster): one for one in standing}
    for one in given:
        before = told.get((one.distribution, one.cluster))
        # What may be there is forgotten only once it is gone, or nobody is there to remove it.
        if one.step is Step.FORGET and one.cluster in {member.name for member in here}:
            assert before is not None
            assert before.gone or one.distribution not in {each.name for each in known}


def test_the_names_that_a_cluster_has_beside_its_labels_come_first() -> None:
    member = Member("east", "eu", {"name": "west", "region": "us", "env": "prod"})
    assert lifecycle.selects(lifecycle.parse("name=east,region=eu,env=prod"), member)
    assert lifecycle.selects(lifecycle.parse("*"), member)


def test_an_empty_selector_is_no_selector() -> None:
    with pytest.raises(BadSelector, match="write env=prod"):
        lifecycle.parse(" ")
