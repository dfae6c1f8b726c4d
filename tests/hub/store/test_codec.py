from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.store import codec
from placement import verdict
from placement.fleet import Reservation
from placement.inventory import Summary
from placement.resources import Resources
from placement.verdict import Candidate, Decision, Placed, Reason, Rejected, Score, Waiting
from placement.workload import Workload
from wire.orders import PodPlace, RoleCount

words = st.text(max_size=8)
# orjson takes 64-bit integers; amounts of resources are far below.
numbers = st.integers(-(2**53), 2**53)
st.register_type_strategy(str, words)
st.register_type_strategy(int, numbers)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(Resources, st.dictionaries(words, numbers, max_size=3).map(Resources))


def _with_names_of_their_own(workload: Workload) -> Workload:
    """Roles are told apart by name."""
    roles = (replace(role, name=f"{role.name}{number}") for number, role in enumerate(workload.roles))
    return replace(workload, roles=tuple(roles))


workloads = st.from_type(Workload).map(_with_names_of_their_own)
terms = st.dictionaries(words, st.floats(allow_nan=False, allow_infinity=False), max_size=3)
REASONS = [one for one in vars(verdict).values() if isinstance(one, type) and issubclass(one, Reason) and one != Reason]
reasons = st.lists(st.sampled_from(REASONS).flatmap(st.from_type), max_size=3).map(tuple)
candidates = st.builds(Candidate, words, reasons, st.none() | st.builds(Score, terms), words)


@settings(max_examples=50, deadline=None)
@given(workloads)
def test_workloads_come_back(workload: Workload) -> None:
    assert codec.workload_of(codec.dump(workload)) == workload


@settings(max_examples=50, deadline=None)
@given(st.from_type(Summary))
def test_summaries_come_back(summary: Summary) -> None:
    assert codec.summary_of(codec.dump(summary)) == summary


@settings(max_examples=50, deadline=None)
@given(workloads, st.data())
def test_decisions_come_back(workload: Workload, data: st.DataObject) -> None:
    placed = st.builds(
        lambda cluster, spot, terms: Placed(Reservation("j", 3, cluster, workload, spot), Score(terms)),
        words,
        st.booleans(),
        terms,
    )
    verdicts = placed | st.builds(Waiting, reasons) | st.builds(Rejected, reasons)
    decisions = st.builds(Decision, st.just("j"), st.just(3), verdicts, st.lists(candidates, max_size=3).map(tuple))
    decision = data.draw(decisions)
    assert codec.decision_of(codec.dump_decision(decision), workload) == decision


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_told_apart_by_its_code(reason: type[Reason]) -> None:
    assert [one for one in REASONS if one.code == reason.code] == [reason]
    assert "code" not in {field.name for field in fields(reason)}


def test_a_reason_of_another_release_is_left_out() -> None:
    decision = Decision("j", 1, Waiting((verdict.NoClusters(),)), ())
    text = codec.dump_decision(decision).replace("no-clusters", "no-moon")
    assert codec.decision_of(text, codec.workload_of(codec.dump(_plain()))).verdict == Waiting(())


def test_room_that_is_made_comes_back() -> None:
    room = verdict.RoomMade("a", datetime(2026, 1, 1, tzinfo=UTC), ("j-1", "j-2"), 2.5, 6.25)
    decision = Decision("j", 1, Waiting((), room=room), ())
    found = codec.decision_of(codec.dump_decision(decision), codec.workload_of(codec.dump(_plain())))
    assert found.verdict == decision.verdict


def test_an_older_row_without_a_hint_takes_its_default() -> None:
    row = codec.load(codec.dump(_plain()))
    del row["hints"]["expected_hours"]
    assert codec.workload_of(codec.dump(row)) == _plain()


def test_counts_and_pods_come_back() -> None:
    counts = (RoleCount("worker", 1, 2, 3, 6),)
    pods = (PodPlace("p-0", "worker", "n1", (0, 3)), PodPlace("p-1", "worker", "n2", ()))
    assert codec.role_counts_of(codec.dump(counts)) == counts
    assert codec.pod_places_of(codec.dump(pods)) == pods


def test_what_has_no_json_form_is_a_bug_that_is_seen() -> None:
    with pytest.raises(TypeError, match="object"):
        codec.dump({"a": object()})


def _plain() -> Workload:
    return Workload("batch/v1", "Job", "train", "default", (), 1)
