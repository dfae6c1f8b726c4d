from __future__ import annotations

import itertools

import pytest

from placement.distribution.states import (
    SHOWN,
    WORST_FIRST,
    Heard,
    ObjectState,
    Ordered,
    Reach,
    Shown,
    State,
    shown,
)
from placement.objects import ObjectKey

CLASS = ObjectKey("storage.k8s.io/v1", "StorageClass", "", "fast")
CONFIG = ObjectKey("v1", "ConfigMap", "gpu", "mig")
BOTH = (CLASS, CONFIG)


def test_the_table_has_a_row_for_everything() -> None:
    assert set(SHOWN) == set(itertools.product(Ordered, Heard, Reach))
    assert set(WORST_FIRST) == set(State)


def test_what_the_spoke_says_is_shown_and_the_worst_speaks_for_all() -> None:
    heard = (ObjectState(CLASS, State.APPLIED), ObjectState(CONFIG, State.FAILED, "data: Too long"))
    assert shown(True, BOTH, heard, Reach.HERE) == Shown(State.FAILED, "ConfigMap gpu/mig: data: Too long", heard)


@pytest.mark.parametrize(
    ("present", "reach", "state", "said"),
    [
        (True, Reach.HERE, State.PENDING, ""),
        (True, Reach.AWAY, State.OFFLINE, "told when it is back"),
        (True, Reach.TOO_OLD, State.PENDING, "older than distributions: upgrade it"),
        (False, Reach.HERE, State.REMOVING, ""),
        (False, Reach.AWAY, State.OFFLINE, "removed when it is back"),
    ],
)
def test_what_has_not_answered(present: bool, reach: Reach, state: State, said: str) -> None:
    found = shown(present, BOTH, None, reach)
    assert found.state is state
    assert said in found.reason
    assert [(one.key, one.state) for one in found.objects] == [(CLASS, state), (CONFIG, state)]


def test_of_who_is_away_the_last_is_told() -> None:
    found = shown(True, (CLASS,), (ObjectState(CLASS, State.APPLIED),), Reach.AWAY)
    assert found.state is State.OFFLINE
    assert found.objects == (ObjectState(CLASS, State.OFFLINE, "last known: Applied"),)


def test_an_order_that_the_spoke_cannot_read_has_failed() -> None:
    found = shown(True, (CLASS,), None, Reach.HERE, "distribute.objects_json: is not JSON")
    assert (found.state, found.reason) == (State.FAILED, "distribute.objects_json: is not JSON")


def test_where_nothing_is_left_it_is_being_forgotten() -> None:
    assert shown(False, BOTH, (), Reach.HERE).state is State.REMOVING
