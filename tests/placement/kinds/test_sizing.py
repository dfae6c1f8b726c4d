"""Which sizes a manifest allows, and what is written where another one is chosen."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from e2e import manifests
from placement.elastic import sizes
from placement.kinds import emulate, roles, sizing
from placement.kinds.catalogue import Catalogue
from placement.kinds.reader import read
from placement.kinds.render import render
from placement.workload import Sizes, Workload

CATALOGUE = Catalogue.builtin()
RAY = """
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: r}
spec:
  headGroupSpec: {template: {spec: &pod {containers: [{name: ray}]}}}
  workerGroupSpecs:
  - {groupName: a, replicas: 3, minReplicas: 1, maxReplicas: 9, numOfHosts: 2, template: {spec: *pod}}
"""


def workload(obj: dict[str, Any]) -> Workload:
    return read(yaml.safe_dump(obj).encode(), CATALOGUE)[-1].workload


def sizes_of(obj: dict[str, Any]) -> dict[str, Sizes | None]:
    return {role.name: role.sizes for role in workload(obj).roles}


def ray(**spec: object) -> dict[str, Any]:
    obj: dict[str, Any] = yaml.safe_load(RAY)
    obj["spec"] |= spec
    return obj


def test_a_pytorchjob_says_its_range_by_its_elastic_policy() -> None:
    elastic = manifests.pytorchjob("t", workers=3, gpus=1, elastic=(2, 8))
    assert sizes_of(elastic) == {"Master": None, "Worker": Sizes(1, 7)}
    assert sizes_of(manifests.pytorchjob("t", workers=3, gpus=1)) == {"Master": None, "Worker": None}
    fixed = manifests.pytorchjob("t", workers=3, gpus=1, elastic=(4, 4))
    assert sizes_of(fixed) == {"Master": None, "Worker": None}, "there is nothing to choose"


def test_a_volcano_job_may_have_from_its_gang_to_all_its_pods() -> None:
    assert sizes_of(manifests.volcano_job("v", pods=6, gpus=1, at_least=2)) == {"worker": Sizes(2, 6)}
    assert sizes_of(manifests.volcano_job("v", pods=6, gpus=1)) == {"worker": None}


def test_of_a_volcano_job_no_task_is_given_up_altogether() -> None:
    job = manifests.volcano_job("v", pods=6, gpus=1, at_least=2)
    job["spec"]["tasks"].append({**job["spec"]["tasks"][0], "name": "ps", "replicas": 2})
    assert sizes_of(job) == {"worker": Sizes(1, 6), "ps": Sizes(1, 2)}
    assert sizes.pods_of(sizes.fewer(workload(job), 99)) == {"worker": 1, "ps": 1}


def test_ray_decides_itself_where_its_autoscaler_is_on() -> None:
    assert sizes_of(ray()) == {"head": None, "a": Sizes(2, 6, 2)}
    assert sizes_of(ray(enableInTreeAutoscaling=True)) == {"head": None, "a": None}
    job = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "r"}}
    assert sizes_of(job | {"spec": {"rayClusterSpec": ray()["spec"]}})["a"] == Sizes(2, 6, 2, running=False)


@pytest.mark.parametrize(
    "obj",
    [
        manifests.pytorchjob("t", workers=5, gpus=1, elastic=(2, 9)),
        manifests.volcano_job("v", pods=6, gpus=1, at_least=2),
        ray(),
    ],
    ids=lambda obj: str(obj["kind"]),
)
@given(st.integers(0, 12))
def test_what_is_written_is_what_is_read(obj: dict[str, Any], by: int) -> None:
    wanted = sizes.pods_of(sizes.fewer(workload(obj), by))
    made = render([obj], CATALOGUE, job="j-1", epoch=1, pods=wanted)[-1]
    kind = CATALOGUE.find(obj["apiVersion"], obj["kind"])
    assert kind is not None
    assert sizing.counts(kind, made) == wanted
    assert roles.shape(kind, made).min_pods == workload(obj).min_pods
    again = copy.deepcopy(made)
    sizing.write(kind, again, wanted)
    assert again == made, "nothing is left to write"


def test_what_cannot_be_written_is_said() -> None:
    kind = CATALOGUE.find("ray.io/v1", "RayCluster")
    assert kind is not None
    with pytest.raises(ValueError, match="it cannot have 3 pods"):
        sizing.write(kind, ray(), {"a": 3})  # two hosts each
    with pytest.raises(ValueError, match="pods written it has"):
        sizing.write(kind, ray(), {"a": 40})  # beyond maxReplicas


def test_the_pods_beyond_are_the_last() -> None:
    obj = manifests.pytorchjob("t", workers=3, gpus=1, elastic=(2, 8))
    obj["metadata"]["uid"] = "u-1"
    kind = CATALOGUE.find(obj["apiVersion"], obj["kind"])
    assert kind is not None
    pods = emulate.pods(kind, obj)
    assert len(pods) == 4
    assert emulate.surplus(kind, obj, pods) == ()
    sizing.write(kind, obj, {"Worker": 1})
    assert [pod["metadata"]["name"] for pod in emulate.surplus(kind, obj, pods)] == ["t-worker-1", "t-worker-2"]
