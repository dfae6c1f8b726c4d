"""Manifests of every kind, broken at random: the reader says what is wrong, or answers a gang that can be; nothing that
comes after it fails on what it let in."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2e import manifests
from e2e.kinds.operators import OPERATORS, Operator
from e2e.kinds.rows import ROWS, Row
from e2e.pods import Course
from placement.kinds import pods, reader, roles
from placement.kinds.catalogue import Catalogue
from placement.kinds.documents import Document
from placement.kinds.observe import observe
from placement.kinds.problems import Findings, ManifestError
from placement.kinds.reader import Submission
from placement.kinds.render import render
from placement.safety.reading import Reading, footprint

Json = Any
CATALOGUE = Catalogue.builtin()
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"


def _objects() -> Iterator[dict[str, Any]]:
    """A right one of every kind at least; as a list, where several objects of a file are one job."""
    for path in sorted(MANIFESTS.glob("*.yaml")):
        bodies = [body for body in yaml.safe_load_all(path.read_text()) if isinstance(body, dict)]
        if len(read(whole := _list(bodies))) == 1:
            yield whole
            continue
        for body in bodies:
            if CATALOGUE.find(str(body.get("apiVersion")), str(body.get("kind"))):
                yield body
    for row in ROWS:
        yield _list(row.manifest("x", Course()))
    yield manifests.indexed_job("x", pods=4, gpus=1)
    yield manifests.job("x")


def _list(bodies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """As kubectl writes several objects."""
    return bodies[0] if len(bodies) == 1 else {"apiVersion": "v1", "kind": "List", "items": list(bodies)}


def read(obj: dict[str, Any]) -> Sequence[Submission]:
    """Its workloads; none where it is refused, and then with words."""
    try:
        return reader.read_documents([Document(1, obj)], CATALOGUE)
    except ManifestError as error:
        refused = error
    assert refused.problems
    for problem in refused.problems:
        assert problem.message, problem
        assert problem.mend or problem.path, problem
    return ()


EVERY = list(_objects())
WORKLOADS = [submission.manifest for obj in EVERY for submission in read(obj)]
STATUS_WORDS: tuple[str, ...] = (
    "phase",
    "state",
    "conditions",
    "type",
    "status",
    "ready",
    "active",
    "replicaStatuses",
    "Worker",
)
STATUS_WORDS += ("applicationState", "jobStatus", "modelStatus", "replicatedJobsStatus", "readyReplicas", "reason")
values: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**31, 2**63, 0.5, "", "4", "many", "a/b", "Always", [], {}, [[]], [None], {"": None}]),
    st.integers(-5, 300),
    st.text(max_size=8),
)


def _spots(value: Json, spot: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if spot:
        yield spot
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from _spots(inner, (*spot, key))


@st.composite
def broken(draw: st.DrawFn) -> dict[str, Any]:
    """One of them with up to four of its fields changed, removed, doubled, or swapped with others."""
    obj: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(EVERY)))
    for _ in range(draw(st.integers(1, 4))):
        spots = list(_spots(obj))
        if not spots:
            break
        *way, last = draw(st.sampled_from(spots))
        holder: Json = obj
        for step in way:
            holder = holder[step]
        match draw(st.sampled_from(["change", "change", "remove", "double", "swap"])):
            case "change":
                holder[last] = copy.deepcopy(draw(values))
            case "remove":
                del holder[last]
            case "double":
                if isinstance(holder, list):
                    holder.append(copy.deepcopy(holder[int(last)]))
            case "swap":
                *other_way, other = draw(st.sampled_from(spots))
                found: Json = obj
                for step in (*other_way, other):
                    found = found[step] if _has(found, step) else None
                holder[last] = copy.deepcopy(found)
    return obj


def _has(value: Json, step: str | int) -> bool:
    return (isinstance(value, dict) and step in value) or (
        isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value)
    )


def test_there_is_one_of_every_kind() -> None:
    there = {(str(obj["apiVersion"]).rpartition("/")[0], obj["kind"]) for obj in WORKLOADS}
    assert {(kind.rules.group, kind.kind) for kind in CATALOGUE.kinds} <= there


def _called(obj: dict[str, Any]) -> str:
    last = obj["items"][-1] if obj["kind"] == "List" else obj
    return f"{last['kind']}-{last['metadata'].get('name', 'generated')}"


@pytest.mark.parametrize("obj", EVERY, ids=_called)
def test_the_right_ones_are_right(obj: dict[str, Any]) -> None:
    (submission,) = read(copy.deepcopy(obj))
    check(submission)


# Of an experiment there are more pods in all than at once.
@pytest.mark.parametrize("row", [row for row in ROWS if row.kind != "Experiment"], ids=lambda row: row.name)
def test_what_the_kinds_are_written_to_ask_for_is_what_is_read(row: Row) -> None:
    items = row.manifest("x", Course())
    (submission,) = read({"apiVersion": "v1", "kind": "List", "items": list(items)})
    assert (submission.workload.pods, submission.workload.total_gpus) == (row.pods, row.gpus)


# The same examples each time: what the operators are played to make is only nearly what they make of broken objects.
# Others, to hunt with: `tests.fuzz.read_manifests`, or another number here.
@settings(max_examples=1000, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(broken())
def test_a_broken_one_is_refused_with_words_or_is_a_gang_that_can_be(obj: dict[str, Any]) -> None:
    before = copy.deepcopy(obj)
    submissions = read(obj)
    assert obj == before, "the reader changed what it was given"
    for submission in submissions:
        check(submission)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.sampled_from(WORKLOADS),
    st.recursive(
        values,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(STATUS_WORDS),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
)
def test_no_status_makes_observing_fail(obj: dict[str, Any], status: Json) -> None:
    kind = CATALOGUE.find(obj["apiVersion"], obj["kind"])
    assert kind is not None
    said = observe(kind, {**obj, "status": status})
    assert isinstance(said.reason, str)


def check(submission: Submission) -> None:
    """What must be so of every gang, by counting alone; and what comes after the reader takes it."""
    workload = submission.workload
    assert workload.roles
    assert workload.pods > 0
    assert 0 < workload.min_pods <= workload.pods
    for role in workload.roles:
        assert 0 <= role.minimum <= role.replicas, role
        assert role.maximum is None or role.maximum >= 1, role
        assert all(amount >= 0 for amount in dict(role.requests).values()), role
        assert role.gpus_per_pod >= 0
        assert sum(dict(role.requests).get(each.resource, 0) for each in role.devices) >= sum(
            each.amount for each in role.devices
        )
    assert 0 < workload.awaited_pods <= workload.min_pods
    awaited = sum(role.minimum for role in workload.roles if not role.late)
    assert awaited <= workload.awaited_pods
    assert awaited + sum(role.minimum for role in workload.roles if role.late) <= workload.pods
    ordered = workload.kind in ("JobSet", "TrainJob", "Experiment")  # some of their pods come when others have ended
    assert ordered or sum(role.minimum for role in workload.roles) <= workload.min_pods
    assert all(pods % workload.groups == 0 for pods in (workload.awaited_pods, *(r.replicas for r in workload.roles)))
    *others, last = render([*submission.dependencies, submission.manifest], CATALOGUE, job="j-1", epoch=1)
    if (made := pods_made(last)) is not None:
        assert workload.pods == made
    kind = CATALOGUE.find(last["apiVersion"], last["kind"])
    assert kind is not None
    again = [pods.role(Findings(), entry) for entry in roles.shape(kind, last, beside=others).roles]
    assert sum(role.replicas for role in again) == workload.pods, "rendering changed how many pods there are"
    by_claim = sum(name.startswith("dra/") for role in workload.roles for name in dict(role.requests))
    gpus = sum(role.replicas * role.gpus_per_pod for role in again)
    assert by_claim or gpus == workload.total_gpus, "rendering changed what it asks for"
    footprint([*submission.dependencies, submission.manifest], CATALOGUE, Reading("default"))


# Pods of a workflow and of an experiment are not all there at once; an InferenceService has more parts than are played.
NOT_COUNTED = ("Workflow", "Experiment", "InferenceService", "TrainJob", "PodGroup")
PLAYED: dict[tuple[str, str], Operator] = {
    (each.api, each.kind): each for each in OPERATORS if each.kind not in NOT_COUNTED
}


def pods_made(obj: dict[str, Any]) -> int | None:
    """How many pods the kind's operator would make, as e2e plays it; None where that reads less than Muster does."""
    operator = PLAYED.get((obj["apiVersion"], obj["kind"]))
    if operator is None:
        return None
    try:
        return sum(1 for _ in operator.pods(obj))
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
