"""Pods of one file that name the same pod group: one gang, whoever's label it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from placement import marks
from placement.kinds import podgroups, reader
from placement.kinds.catalogue import Catalogue
from placement.kinds.observe import observe
from placement.kinds.problems import Problem
from placement.kinds.reader import Submission
from placement.kinds.render import render
from placement.lifecycle import Event
from placement.workload import Reference

ProblemsOf = Callable[[str], tuple[Problem, ...]]
Json = dict[str, Any]

LABEL = {"labels": {"scheduling.x-k8s.io/pod-group": "train"}}
KUEUE = {
    "labels": {"kueue.x-k8s.io/pod-group-name": "train", "kueue.x-k8s.io/queue-name": "research"},
    "annotations": {"kueue.x-k8s.io/pod-group-total-count": "2"},
}
VOLCANO = {"annotations": {"scheduling.k8s.io/group-name": "train"}}
OLD = {"labels": {"pod-group.scheduling.sigs.k8s.io": "train"}}


def pod(name: str, metadata: Json | None = None, gpus: int = 1, **spec: Any) -> Json:
    container = {"name": "main", "image": "train:1", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    container |= spec.pop("container", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name} | (LABEL if metadata is None else metadata),
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


def stated(api_version: str = "scheduling.x-k8s.io/v1alpha1", name: str = "train", **spec: Any) -> Json:
    return {"apiVersion": api_version, "kind": "PodGroup", "metadata": {"name": name}, "spec": spec}


def text(*objects: Json) -> str:
    return yaml.safe_dump_all(objects)


def read(catalogue: Catalogue, *objects: Json) -> tuple[Submission, ...]:
    return reader.read(text(*objects).encode(), catalogue)


@pytest.mark.parametrize("metadata", [LABEL, KUEUE, VOLCANO, OLD], ids=["label", "kueue", "volcano", "old"])
def test_pods_of_a_group_are_one_gang(catalogue: Catalogue, metadata: Json) -> None:
    (one,) = read(catalogue, pod("w-0", metadata), pod("w-1", metadata))
    workload = one.workload
    assert (workload.resource_kind, workload.name, workload.namespace) == ("muster.dev/v1/PodGroup", "train", "default")
    assert [(role.name, role.replicas, role.minimum, role.gpus_per_pod) for role in workload.roles] == [("w", 2, 2, 1)]
    assert (workload.min_pods, workload.long_running) == (2, False)
    assert workload.hints.queue == ("research" if metadata is KUEUE else "default")


def test_pods_that_differ_in_what_they_ask_for_are_roles_of_their_own(catalogue: Catalogue) -> None:
    ranks = [pod(f"w-{i}", container={"env": [{"name": "RANK", "value": str(i)}]}, hostname=f"w-{i}") for i in (0, 1)]
    secret = {"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}}]}
    data = {"env": [{"name": "DATA", "value": "s3://bucket/b"}]}
    (one,) = read(catalogue, *ranks, pod("w-2", container=secret), pod("w-3", container=data), pod("head", gpus=4))
    roles = {role.name: (role.replicas, role.gpus_per_pod) for role in one.workload.roles}
    assert roles == {"w": (2, 1), "w-2": (1, 1), "w-3": (1, 1), "head": (1, 4)}
    assert Reference("Secret", "keys") in one.workload.references
    assert [use.name for use in one.workload.data] == ["s3://bucket/b"]
    assert one.workload.min_pods == 5


def test_other_pods_and_other_groups_are_jobs_of_their_own(catalogue: Catalogue) -> None:
    other = {"labels": {"scheduling.x-k8s.io/pod-group": "eval"}}
    elsewhere = {"namespace": "team", **LABEL}
    found = read(catalogue, pod("w-0"), pod("lone", {}), pod("e-0", other), pod("w-1"), pod("w-0", elsewhere))
    assert [(one.workload.kind, one.workload.namespace, one.workload.name) for one in found] == [
        ("PodGroup", "default", "train"),
        ("Pod", "default", "lone"),
        ("PodGroup", "default", "eval"),
        ("PodGroup", "team", "train"),
    ]


def test_a_podgroup_says_how_many_start_together_and_stays_behind(catalogue: Catalogue) -> None:
    (one,) = read(catalogue, stated(minMember=2), pod("w-0"), pod("w-1"), pod("w-2"))
    (role,) = one.workload.roles
    assert (one.workload.min_pods, role.replicas, role.minimum) == (2, 3, 2)
    assert one.dependencies == ()
    assert one.workload.warnings == ("PodGroup train is not applied: Muster itself starts its pods together",)


def test_what_volcanos_podgroup_says_counts(catalogue: Catalogue) -> None:
    group = stated(
        "scheduling.volcano.sh/v1beta1",
        minMember=2,
        queue="research",
        priorityClassName="high",
        networkTopology={"mode": "hard", "highestTierAllowed": 2},
    )
    (one,) = read(catalogue, pod("w-0", VOLCANO, schedulerName="volcano"), pod("w-1", VOLCANO), group)
    assert (one.workload.hints.queue, one.workload.hints.priority_class) == ("research", "high")
    assert one.workload.topology is not None
    assert one.workload.min_pods == 2


def test_a_podgroup_beside_other_workloads_refuses_nothing(catalogue: Catalogue) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}},
    }
    (one,) = read(catalogue, job, stated(minMember=9))
    assert one.workload.kind == "Job"
    assert len(one.workload.warnings) == 1


def test_hints_on_any_of_the_pods_count_for_the_whole(catalogue: Catalogue, problems_of: ProblemsOf) -> None:
    def hinted(name: str, level: str) -> Json:
        return pod(name, {**LABEL, "annotations": {"muster.dev/topology-required": level}})

    (one,) = read(catalogue, pod("w-0"), hinted("w-1", "rack"))
    assert one.workload.topology is not None
    assert one.workload.topology.level == "rack"
    assert [role.name for role in one.workload.roles] == ["w"]
    (problem,) = problems_of(text(hinted("w-0", "block"), hinted("w-1", "rack")))
    assert problem.message == "the pods of group train say block and rack"


@pytest.mark.parametrize(
    ("objects", "document", "path", "words"),
    [
        (
            [stated(minMember=4), pod("w-0"), pod("w-1")],
            2,
            "spec.minMember",
            "4 pods of group train are to start together, the file has 2 of them",
        ),
        (
            [pod("w-0", KUEUE)],
            1,
            'metadata.annotations["kueue.x-k8s.io/pod-group-total-count"]',
            "pod group train has 2 pods by its annotation, the file has 1 of them",
        ),
        (
            [pod("w-0", KUEUE), pod("w-1", KUEUE), pod("w-2", KUEUE)],
            1,
            'metadata.annotations["kueue.x-k8s.io/pod-group-total-count"]',
            "pod group train has 2 pods by its annotation, the file has 3 of them",
        ),
        (
            [pod("w-0", {"labels": {**OLD["labels"], "pod-group.scheduling.sigs.k8s.io/min-available": "3"}})],
            1,
            'metadata.labels["pod-group.scheduling.sigs.k8s.io/min-available"]',
            "3 pods of group train are to start together, the file has 1 of them",
        ),
        (
            [pod("w-0", {**LABEL, "annotations": {"kueue.x-k8s.io/pod-group-total-count": "two"}})],
            1,
            'metadata.annotations["kueue.x-k8s.io/pod-group-total-count"]',
            "must be a whole number of 1 or more, is 'two'",
        ),
        (
            [pod("w-0", {"labels": {**LABEL["labels"], "kueue.x-k8s.io/pod-group-name": "other"}})],
            1,
            'metadata.labels["kueue.x-k8s.io/pod-group-name"]',
            "the pod is in two groups, other and train",
        ),
        (
            [pod("w-0"), pod("e-0", gpus=2, nodeName="n1")],
            2,
            "spec.nodeName",
            "Muster chooses the node",
        ),
        (
            [pod("w-0"), pod("w-1", {"labels": {**LABEL["labels"], "rank": 1}})],
            2,
            "metadata.labels.rank",
            "must be a string, is 1",
        ),
        (
            [pod("w-0", {"labels": {"scheduling.x-k8s.io/pod-group": "My_Group"}})],
            1,
            'metadata.labels["scheduling.x-k8s.io/pod-group"]',
            '"My_Group" is not a valid name',
        ),
        ([pod("w-0"), pod("w-0")], 2, "metadata.name", "the file has two objects Pod default/w-0"),
        (
            [{"apiVersion": "muster.dev/v1", "kind": "PodGroup", "metadata": {"name": "x"}, "spec": {}}],
            1,
            "kind",
            "PodGroup (muster.dev/v1) is put together by Muster itself",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_numbers_and_where_it_is(
    problems_of: ProblemsOf, objects: Sequence[Json], document: int, path: str, words: str
) -> None:
    problem = problems_of(text(*objects))[0]
    assert (problem.document, problem.path, problem.message) == (document, path, words)
    assert problem.mend


def test_a_file_with_nothing_but_a_podgroup_is_refused_with_what_to_do(problems_of: ProblemsOf) -> None:
    (problem,) = problems_of(text(stated(minMember=2)))
    assert problem.message.startswith("the file has no workload, only a PodGroup")
    assert problem.mend == "give the workload that it is for, in the same file"


def test_every_pod_is_marked_and_the_spoke_gets_them_all(catalogue: Catalogue) -> None:
    own = {**LABEL, "annotations": {"a": "b"}}
    (one,) = read(catalogue, pod("w-0", own, schedulerName="other"), pod("w-1", own), pod("head", gpus=2))
    (rendered,) = render([one.manifest], catalogue, job="j-1", epoch=3)
    found = podgroups.pods(rendered)
    assert [each["metadata"]["name"] for each in found] == ["w-0", "w-1", "head"]
    assert {each["metadata"]["namespace"] for each in found} == {"default"}
    assert {each["spec"]["schedulerName"] for each in found} == {"muster"}
    for each, role in zip(found, ("w", "w", "head"), strict=True):
        assert each["metadata"]["labels"] == {
            **LABEL["labels"],
            marks.JOB: "j-1",
            marks.EPOCH: "3",
            marks.ROLE: role,
        }
    assert found[0]["metadata"]["annotations"] == {"a": "b"}


@pytest.mark.parametrize(
    ("counts", "event"),
    [
        ({}, Event.STARTING),
        ({"running": 1}, Event.STARTING),
        ({"running": 2}, Event.RUNNING),
        ({"running": 1, "succeeded": 1}, Event.RUNNING),
        ({"running": 2, "failed": 1}, Event.RUNNING),
        ({"running": 1, "failed": 2}, Event.FAIL),
        ({"succeeded": 3}, Event.SUCCEED),
        ({"succeeded": 2, "failed": 1}, Event.SUCCEED),
        ({"succeeded": 1, "failed": 2}, Event.FAIL),
    ],
)
def test_its_pods_are_its_status(catalogue: Catalogue, counts: dict[str, int], event: Event) -> None:
    (one,) = read(catalogue, stated(minMember=2), pod("w-0"), pod("w-1"), pod("w-2"))
    kind = catalogue.find("muster.dev/v1", "PodGroup")
    assert kind is not None
    status = {"running": 0, "succeeded": 0, "failed": 0, "message": "pod w-0: exit code 1", **counts}
    said = observe(kind, {**one.manifest, "status": status})
    assert said.event is event
    assert ("exit code 1" in said.reason) == (event is Event.FAIL)


def test_pods_that_are_started_again_serve(catalogue: Catalogue) -> None:
    (one,) = read(catalogue, pod("w-0", restartPolicy="Always"), pod("w-1"))
    assert one.workload.long_running


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=12), st.integers(1, 14))
def test_no_pod_is_lost_and_no_role_mixes_needs(pods: list[tuple[int, int]], least: int) -> None:
    catalogue = _CATALOGUE
    objects = [pod(f"w-{i}", gpus=gpus, priority=priority) for i, (gpus, priority) in enumerate(pods)]
    try:
        (one,) = read(catalogue, stated(minMember=least), *objects)
    except reader.ManifestError:
        assert least > len(pods)
        return
    assert one.workload.min_pods == least
    assert one.workload.pods == len(pods)
    assert one.workload.total_gpus == sum(gpus for gpus, _ in pods)
    assert len(one.workload.roles) == len(set(pods))


_CATALOGUE = Catalogue.builtin()
