from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from placement.division.manifests import Nature, PartSpec, nature_of, parts_of, replicas_of
from placement.kinds import reader
from placement.kinds.catalogue import Catalogue

CATALOGUE = Catalogue.builtin()

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {muster.dev/divide: WAY}}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: 1}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 3, maxReplicas: 13}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 4, selector: {matchLabels: {app: web}}}
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: work, annotations: {muster.dev/divide: free}}
spec:
  parallelism: 6
  completions: 20
  template: {spec: {restartPolicy: Never, containers: [{name: main}]}}
"""
ELASTIC = """
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: train, annotations: {muster.dev/divide: free}}
spec:
  elasticPolicy: {minReplicas: 3, maxReplicas: 9}
  pytorchReplicaSpecs:
    Worker: {replicas: 6, template: {spec: {containers: [{name: pytorch}]}}}
"""


def divided(text: str, shares: dict[str, int]) -> dict[str, PartSpec]:
    (found,) = reader.read(text.encode(), CATALOGUE)
    return parts_of(found.workload, (*found.dependencies, found.manifest), shares, CATALOGUE)


def of_kind(part: PartSpec, kind: str) -> Any:
    (found,) = [one for one in part.objects if one["kind"] == kind]
    return found["spec"]


def web(way: str = "weights") -> str:
    return DEPLOYMENT.replace("WAY", way)


def test_each_cluster_gets_its_replicas_and_may_run_nowhere_else() -> None:
    found = divided(web(), {"eu-a": 4, "us-b": 2})
    for cluster, share in (("eu-a", 4), ("us-b", 2)):
        part = found[cluster]
        assert of_kind(part, "Deployment")["replicas"] == share
        assert [role.replicas for role in part.workload.roles] == [share]
        assert (part.workload.hints.clusters, part.workload.hints.divide) == ((cluster,), None)
        assert (part.workload.min_pods, part.workload.total_gpus) == (1, share)
        assert of_kind(part, "Service")["ports"] == [{"port": 80}]


def test_an_autoscalers_range_is_divided_in_the_same_proportion() -> None:
    found = divided(web(), {"eu-a": 4, "us-b": 2})
    ranges = {c: (of_kind(p, "HorizontalPodAutoscaler")) for c, p in found.items()}
    assert {c: (one["minReplicas"], one["maxReplicas"]) for c, one in ranges.items()} == {
        "eu-a": (2, 9),
        "us-b": (1, 4),
    }
    assert {c: of_kind(p, "PodDisruptionBudget")["minAvailable"] for c, p in found.items()} == {"eu-a": 3, "us-b": 1}


def test_at_least_one_for_each_autoscaler() -> None:
    found = divided(web(), {"a": 1, "b": 1, "c": 1, "d": 1})
    assert [of_kind(p, "HorizontalPodAutoscaler")["minReplicas"] for p in found.values()] == [1, 1, 1, 1]


def test_what_is_duplicated_is_not_divided() -> None:
    found = divided(web("duplicate"), {"eu-a": 6, "us-b": 6})
    for part in found.values():
        assert of_kind(part, "Deployment")["replicas"] == 6
        scaled = of_kind(part, "HorizontalPodAutoscaler")
        assert (scaled["minReplicas"], scaled["maxReplicas"]) == (3, 13)
        assert of_kind(part, "PodDisruptionBudget")["minAvailable"] == 4


def test_replicas_that_are_left_to_the_autoscaler_begin_with_its_least() -> None:
    (found,) = reader.read(web().replace("  replicas: 6\n", "").encode(), CATALOGUE)
    assert replicas_of(found.workload, (*found.dependencies, found.manifest)) == 3
    (found,) = reader.read(web().encode(), CATALOGUE)
    assert replicas_of(found.workload, (*found.dependencies, found.manifest)) == 6


def test_the_completions_of_a_job_are_divided_with_its_pods() -> None:
    found = divided(JOB, {"eu-a": 4, "us-b": 2})
    assert {c: (of_kind(p, "Job")["parallelism"], of_kind(p, "Job")["completions"]) for c, p in found.items()} == {
        "eu-a": (4, 13),
        "us-b": (2, 7),
    }


def test_an_elastic_range_is_divided_and_holds_the_share() -> None:
    found = divided(ELASTIC, {"eu-a": 5, "us-b": 1})
    for cluster, share, least, most in (("eu-a", 5, 2, 8), ("us-b", 1, 1, 1)):
        (role,) = found[cluster].workload.roles
        assert (role.replicas, role.minimum, role.maximum) == (share, least, most)


def test_the_given_objects_are_not_changed() -> None:
    (found,) = reader.read(web().encode(), CATALOGUE)
    parts_of(found.workload, (found.manifest,), {"eu-a": 1}, CATALOGUE)
    assert found.manifest["spec"]["replicas"] == 6


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 20), min_size=1))
def test_sums_are_kept_for_any_shares(shares: dict[str, int]) -> None:
    found = divided(web(), shares)
    scaled = [of_kind(part, "HorizontalPodAutoscaler") for part in found.values()]
    assert sum(one["maxReplicas"] for one in scaled) == 13
    assert sum(one["minReplicas"] for one in scaled) == max(3, len(shares))
    assert all(1 <= one["minReplicas"] <= one["maxReplicas"] for one in scaled)
    tries = divided(JOB, shares)
    assert sum(of_kind(part, "Job")["completions"] for part in tries.values()) == max(20, len(shares))


SERVED = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: llm, annotations: {muster.dev/divide: weights}}
spec:
  predictor:
    minReplicas: 3
    maxReplicas: 9
    model: {modelFormat: {name: huggingface}, resources: {limits: {nvidia.com/gpu: 1}}}
"""


def test_the_range_of_an_inference_service_is_divided() -> None:
    found = divided(SERVED, {"eu-a": 2, "us-b": 1})
    ranges = {c: of_kind(part, "InferenceService")["predictor"] for c, part in found.items()}
    assert {c: (one["minReplicas"], one["maxReplicas"]) for c, one in ranges.items()} == {
        "eu-a": (2, 6),
        "us-b": (1, 3),
    }
    assert {c: part.workload.pods for c, part in found.items()} == {"eu-a": 2, "us-b": 1}


def nature(text: str) -> Nature:
    (found,) = reader.read(text.encode(), CATALOGUE)
    return nature_of(found.workload, (*found.dependencies, found.manifest), CATALOGUE)


def test_what_is_found_out_of_a_workload_once() -> None:
    assert nature(web()) == Nature(6, True, True)
    assert nature(web().partition("---")[0]) == Nature(6, False, True)
    assert nature(JOB) == Nature(6, False, True)
    assert nature(SERVED) == Nature(3, True, False)
