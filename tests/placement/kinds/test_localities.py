"""Per role and per slice: Muster's own words, Kueue's podset annotations, Volcano's tiers."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from placement.kinds.documents import Problem
from placement.kinds.reader import Submission
from placement.workload import SliceRequest, TopologyMode, TopologyRequest, Workload

Read = Callable[[str], Submission]
Problems = Callable[[str], tuple[Problem, ...]]

KUEUE = "kueue.x-k8s.io/podset-"
RACK = TopologyRequest("rack", TopologyMode.REQUIRED)


def template(container: str = "c") -> dict[str, Any]:
    spec = {"restartPolicy": "Never", "containers": [{"name": container}]}
    return {"metadata": {"annotations": {}}, "spec": spec}


def kueue(**annotations: str) -> dict[str, str]:
    return {KUEUE + key.replace("_", "-"): value for key, value in annotations.items()}


def own(**hints: str) -> dict[str, str]:
    return {"muster.dev/" + key.replace("_", "-"): value for key, value in hints.items()}


def job(annotations: dict[str, str], pods: int = 8, workload: dict[str, str] | None = None) -> str:
    pod = template()
    pod["metadata"]["annotations"] = annotations
    body = {"parallelism": pods, "completions": pods, "completionMode": "Indexed", "template": pod}
    metadata = {"name": "j", "annotations": workload or {}}
    return yaml.safe_dump({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": body})


def pytorchjob(master: dict[str, str], worker: dict[str, str]) -> str:
    roles = {}
    for name, replicas, annotations in (("Master", 1, master), ("Worker", 4, worker)):
        pod = template("pytorch")
        pod["metadata"]["annotations"] = annotations
        roles[name] = {"replicas": replicas, "template": pod}
    body = {"pytorchReplicaSpecs": roles}
    return yaml.safe_dump(
        {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": {"name": "p"}, "spec": body}
    )


def volcano(topology: Any = None, partitions: Any = None) -> str:
    task = {"name": "worker", "replicas": 8, "template": template()}
    body: dict[str, Any] = {"minAvailable": 8, "tasks": [task]}
    if topology is not None:
        body["networkTopology"] = topology
    if partitions is not None:
        task["partitionPolicy"] = partitions
    return yaml.safe_dump(
        {"apiVersion": "batch.volcano.sh/v1alpha1", "kind": "Job", "metadata": {"name": "v"}, "spec": body}
    )


def asked(workload: Workload) -> tuple[Any, ...]:
    return workload.topology, *((role.topology, role.slices) for role in workload.roles)


def test_what_the_only_role_asks_for_the_gang_does(read_one: Read) -> None:
    rack = TopologyRequest("topology.muster.dev/rack", TopologyMode.REQUIRED)
    given = kueue(required_topology="topology.muster.dev/rack")
    assert asked(read_one(job(given)).workload) == (rack, (None, None))
    likes = kueue(preferred_topology="topology.muster.dev/rack")
    assert asked(read_one(job(likes)).workload)[0] == TopologyRequest(rack.level, TopologyMode.PREFERRED)
    free = read_one(job(kueue(unconstrained_topology="true"))).workload
    assert (asked(free), free.warnings) == ((None, (None, None)), ())
    both = read_one(job(given, workload={"muster.dev/topology-required": "zone"})).workload
    assert asked(both) == (TopologyRequest("zone", TopologyMode.REQUIRED), (rack, None))


def test_slices(read_one: Read) -> None:
    slices = kueue(slice_required_topology="kubernetes.io/hostname", slice_size="4", required_topology="block")
    expected = (TopologyRequest("block", TopologyMode.REQUIRED), (None, SliceRequest(4, "kubernetes.io/hostname")))
    assert asked(read_one(job(slices)).workload) == expected
    layer = kueue(slice_required_topology_constraints='[{"topology": "rack", "size": 2}]')
    assert asked(read_one(job(layer)).workload) == (None, (None, SliceRequest(2, "rack")))
    mine = own(slice_size="2", slice_level="nvlink")
    assert asked(read_one(job({**slices, **mine})).workload)[1] == (None, SliceRequest(2, "nvlink"))


def test_each_role_has_its_own(read_one: Read) -> None:
    workload = read_one(pytorchjob({}, own(topology_required="rack", slice_size="2", slice_level="host"))).workload
    assert asked(workload) == (None, (None, None), (RACK, SliceRequest(2, "host")))
    likes = read_one(pytorchjob(own(topology_preferred="rack"), kueue(required_topology="rack"))).workload
    assert asked(likes) == (None, (TopologyRequest("rack", TopologyMode.PREFERRED), None), (RACK, None))
    mine_first = read_one(pytorchjob({}, {**own(topology_required="rack"), **kueue(preferred_topology="zone")}))
    assert asked(mine_first.workload)[2] == (RACK, None)


def test_roles_of_one_group_are_one_gang(read_one: Read, problems_of: Problems) -> None:
    grouped = kueue(group_name="g", required_topology="rack")
    workload = read_one(pytorchjob(grouped, grouped)).workload
    assert (asked(workload), workload.warnings) == ((RACK, (None, None), (None, None)), ())
    (problem,) = problems_of(pytorchjob(kueue(group_name="g", required_topology="zone"), grouped))
    assert "different topologies" in problem.message
    assert problem.path.endswith(f'Worker.template.metadata.annotations["{KUEUE}group-name"]')
    alone = read_one(pytorchjob({}, grouped)).workload
    assert asked(alone) == (None, (None, None), (RACK, None))


def test_a_group_of_some_roles_is_kept_by_keeping_all_together(read_one: Read) -> None:
    text = yaml.safe_load(volcano())
    text["spec"]["tasks"] = [
        {"name": name, "replicas": 1, "template": template()} for name in ("driver", "worker", "logger")
    ]
    for task in text["spec"]["tasks"][:2]:
        task["template"]["metadata"]["annotations"] = kueue(group_name="g", required_topology="rack")
    text["spec"]["minAvailable"] = 3
    workload = read_one(yaml.safe_dump(text)).workload
    assert asked(workload) == (RACK, *[(None, None)] * 3)
    assert "all roles are kept in one rack" in workload.warnings[0]


@pytest.mark.parametrize(
    ("given", "key", "said", "mend"),
    [
        (kueue(required_topology="rack", preferred_topology="rack"), "preferred-topology", "exclude", "keep one"),
        (kueue(required_topology="rack", unconstrained_topology="true"), "unconstrained-topology", "exclude", "keep"),
        (kueue(unconstrained_topology="no"), "unconstrained-topology", '"no" is wrong', 'write "true"'),
        (kueue(required_topology=""), "required-topology", "names no level", "nvlink"),
        (kueue(slice_size="2"), "slice-size", "without kueue.x-k8s.io/podset-slice-required-topology", "add"),
        (kueue(slice_required_topology="rack"), "slice-required-topology", "without", "add kueue.x-k8s.io/podset-sl"),
        (kueue(slice_required_topology="rack", slice_size="0"), "slice-size", '"0" is wrong', "1 or more"),
        (kueue(slice_required_topology="rack", slice_size="two"), "slice-size", '"two" is wrong', "1 or more"),
        (kueue(slice_required_topology="rack", slice_size="3"), "slice-size", "8 pods of worker", "6 or 9 pods"),
        (kueue(slice_required_topology="rack", slice_size="20"), "slice-size", "not slices of 20", "20 pods"),
        (kueue(slice_required_topology_constraints="x"), "slice-required-topology-constraints", "wrong", "JSON list"),
        (
            kueue(slice_required_topology_constraints='[{"topology":"rack","size":4},{"topology":"host","size":2}]'),
            "slice-required-topology-constraints",
            "slices of slices are not kept",
            "keep one layer",
        ),
        (
            kueue(slice_required_topology_constraints="[]", slice_size="2"),
            "slice-required-topology-constraints",
            "excludes",
            "keep one",
        ),
    ],
)
def test_wrong_words_of_kueue(problems_of: Problems, given: dict[str, str], key: str, said: str, mend: str) -> None:
    (problem,) = problems_of(job(given))
    assert problem.path == f'spec.template.metadata.annotations["{KUEUE}{key}"]'
    assert said in problem.message
    assert mend in problem.mend


def test_own_words_in_the_wrong_place(problems_of: Problems, read_one: Read) -> None:
    (problem,) = problems_of(job({}, workload=own(slice_size="2")))
    assert "belongs on a role's pod template" in problem.message
    (problem,) = problems_of(job(own(queue="q")))
    assert "does not belong on a pod template" in problem.message
    (problem,) = problems_of(job(own(slice_size="2")))
    assert problem.mend == "add muster.dev/slice-level"
    (problem,) = problems_of(pytorchjob({}, own(topology_required="rack", topology_preferred="host")))
    assert "exclude each other" in problem.message
    misplaced = read_one(job({}, workload=kueue(required_topology="rack"))).workload
    assert misplaced.topology is None
    assert "does nothing here" in misplaced.warnings[0]


def test_volcano_s_tiers(read_one: Read) -> None:
    hard = read_one(volcano({"mode": "hard", "highestTierAllowed": 2})).workload
    assert asked(hard) == (TopologyRequest("tier-2", TopologyMode.REQUIRED), (None, None))
    assert "level number 2 above the node" in hard.warnings[0]
    named = read_one(volcano({"highestTierName": "rack"})).workload
    assert named.topology == RACK
    assert "is taken for the level of that name" in named.warnings[0]
    soft = read_one(volcano({"mode": "soft", "highestTierAllowed": 1})).workload
    assert soft.topology == TopologyRequest("tier-1", TopologyMode.PREFERRED)
    assert read_one(volcano({"mode": "soft"})).workload.warnings == ()
    nothing = read_one(volcano({"mode": "hard"})).workload
    assert nothing.topology is None
    assert "names no tier" in nothing.warnings[0]


def test_volcano_s_partitions(read_one: Read) -> None:
    tier = {"networkTopology": {"mode": "hard", "highestTierAllowed": 1}}
    policy = {"totalPartitions": 2, "partitionSize": 4, **tier}
    workload = read_one(volcano({"highestTierAllowed": 2}, policy)).workload
    assert asked(workload) == (
        TopologyRequest("tier-2", TopologyMode.REQUIRED),
        (None, SliceRequest(4, "tier-1")),
    )
    soft = {**policy, "minPartitions": 1, "networkTopology": {"mode": "soft", "highestTierAllowed": 1}}
    kept = read_one(volcano(partitions=soft)).workload
    assert asked(kept) == (None, (None, None))
    assert [any(word in each for each in kept.warnings) for word in ("minPartitions", "is soft")] == [True, True]
    assert asked(read_one(volcano(partitions={"totalPartitions": 2, "partitionSize": 4})).workload)[1] == (None, None)


@pytest.mark.parametrize(
    ("topology", "partitions", "path", "said"),
    [
        ({"mode": "near"}, None, "spec.networkTopology.mode", '"near" is wrong'),
        ({"highestTierAllowed": 0}, None, "spec.networkTopology.highestTierAllowed", "count from 1"),
        ({"highestTierAllowed": "1"}, None, "spec.networkTopology.highestTierAllowed", "whole number"),
        (
            {"highestTierAllowed": 1, "highestTierName": "rack"},
            None,
            "spec.networkTopology.highestTierAllowed",
            "exclude each other",
        ),
        ([], None, "spec.networkTopology", "must be a mapping"),
        (None, {"totalPartitions": 3, "partitionSize": 4}, "spec.tasks[0].partitionPolicy", "not the 8 replicas"),
        (None, "all", "spec.tasks[0].partitionPolicy", "must be a mapping"),
    ],
)
def test_wrong_words_of_volcano(problems_of: Problems, topology: Any, partitions: Any, path: str, said: str) -> None:
    (problem,) = problems_of(volcano(topology, partitions))
    assert problem.path == path
    assert said in problem.message
