from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoke.cluster.merging import applied
from spoke.cluster.port import Conflict

leaves = st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2)
bodies = st.dictionaries(st.sampled_from("abc"), leaves | st.dictionaries(st.sampled_from("xyz"), leaves, max_size=3))


def obj(body: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "X", "metadata": {"name": "o"}, "spec": body}


@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), bodies), min_size=1, max_size=5))
def test_what_was_applied_last_is_there_and_applying_it_again_changes_nothing(
    changes: list[tuple[str, dict[str, Any]]],
) -> None:
    present: dict[str, Any] | None = None
    for manager, body in changes:
        present = applied(present, obj(body), manager, force=True)
        assert within(body, present["spec"])
        assert applied(present, obj(body), manager, force=False) == present


@given(bodies, bodies)
def test_alone_a_manager_gets_just_what_it_says(first: dict[str, Any], second: dict[str, Any]) -> None:
    made = applied(applied(None, obj(first), "one", force=False), obj(second), "one", force=False)
    assert within(second, made["spec"])
    assert set(made["spec"]) == set(second)


def within(wanted: Any, present: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(present, dict):
        return all(key in present and within(value, present[key]) for key, value in wanted.items())
    return bool(wanted == present)


def test_what_nobody_applied_is_somebodys() -> None:
    present = obj({"a": {"x": 1}})
    with pytest.raises(Conflict, match=r"\.spec\.a\.x"):
        applied(present, obj({"a": {"x": 2}}), "one", force=False)
    assert applied(present, obj({"a": {"x": 2}}), "one", force=True)["spec"] == {"a": {"x": 2}}
    assert applied(present, obj({"a": {"y": 2}}), "one", force=False)["spec"] == {"a": {"x": 1, "y": 2}}


def test_what_a_manager_leaves_out_goes_unless_another_has_set_it_too() -> None:
    both = applied(applied(None, obj({"a": 1, "b": 1}), "one", force=True), obj({"a": 1, "c": 1}), "two", force=True)
    assert applied(both, obj({}), "one", force=True)["spec"] == {"a": 1, "c": 1}
