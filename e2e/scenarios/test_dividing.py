"""A service divided over three clusters: by weight, with its Service and its autoscaler, as clusters come and go."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pytest

from e2e import pods, truth
from e2e.manifests import Manifest
from e2e.objects import Object
from e2e.pods import Course
from e2e.processes import ProcessFederation
from e2e.provider import MemberCluster
from e2e.shapes import A100, T4
from e2e.waiting import until
from hub.api.schemas import DivisionOut, JobDetailOut
from placement.lifecycle import Phase

pytestmark = [pytest.mark.standard_shapes, pytest.mark.processes]

NAME = "web"
GPUS = 2  # of each pod: edge-c has room for three, and cloud-b for four on its T4s


def service(**hints: str) -> list[Manifest]:
    template = pods.template("main", GPUS, "", Course())
    template.setdefault("metadata", {})["labels"] = {"app": NAME}
    either = [{"key": "nvidia.com/gpu.product", "operator": "In", "values": [T4, A100]}]
    term = {"nodeSelectorTerms": [{"matchExpressions": either}]}
    template["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}
    annotations = {f"muster.dev/{name.replace('_', '-')}": value for name, value in hints.items()}
    metadata = {"name": NAME, "namespace": "default"}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata, "annotations": annotations},
            "spec": {"replicas": 6, "selector": {"matchLabels": {"app": NAME}}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"type": "NodePort", "selector": {"app": NAME}, "ports": [{"name": "http", "port": 80}]},
        },
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": metadata,
            "spec": {"scaleTargetRef": target, "minReplicas": 6, "maxReplicas": 12},
        },
    ]


def test_a_service_lies_in_three_clusters_and_follows_them(federation: ProcessFederation) -> None:
    cloud, edge = federation.clusters["cloud-b"], federation.clusters["edge-c"]
    node = next(n["metadata"]["name"] for n in cloud.client.list("v1", "Node") if "t4-" in n["metadata"]["name"])
    occupant = foreign_pod(node)
    federation.admin.cordon("onprem-a", on=True)
    cloud.client.create(occupant)
    try:
        job = federation.submit(*service(divide="weights", divide_weights="cloud-b=1,edge-c=1,onprem-a=1")).id
        # One T4 node of cloud-b is somebody else's, and onprem-a takes nobody: five of six have a place.
        wait_shares(federation, job, {"cloud-b": 2, "edge-c": 3})
        waiting = federation.admin.job(job)
        assert waiting.phase == Phase.STARTING
        assert "5 of 6 replicas have a place" in waiting.reason
        assert "onprem-a is cordoned" in waiting.reason

        federation.admin.cordon("onprem-a", on=False)
        wait_shares(federation, job, {"cloud-b": 2, "edge-c": 3, "onprem-a": 1})
        running = wait_running(federation, job, 6)
        assert running.shares == {"cloud-b": 2, "edge-c": 3, "onprem-a": 1}
        wait_ranges(federation, {"cloud-b": (2, 4), "edge-c": (3, 6), "onprem-a": (1, 2)})
        assert len({part.job for part in division(running).parts}) == 3

        found = federation.admin.endpoints(job)
        assert [(one.cluster, one.kind, one.name) for one in found.endpoints] == [
            (name, "Service", NAME) for name in ("cloud-b", "edge-c", "onprem-a")
        ]
        assert {one.region for one in found.endpoints} == {"us-east", "shanghai", "beijing"}
        assert all(one.ports[0].startswith("http 80:") for one in found.endpoints)

        federation.spokes["cloud-b"].cable.cut()
        wait_shares(federation, job, {"edge-c": 3, "onprem-a": 3}, without=("cloud-b",))
        wait_ranges(federation, {"edge-c": (3, 6), "onprem-a": (3, 6)})
        lost = wait_running(federation, job, 6)
        assert lost.shares == {"edge-c": 3, "onprem-a": 3}
        assert any(part.away for part in division(lost).parts)
        assert any("cloud-b" in note for note in federation.admin.endpoints(job).notes)

        federation.spokes["cloud-b"].cable.mend()
        wait_shares(federation, job, {"cloud-b": 2, "edge-c": 2, "onprem-a": 2})
        wait_ranges(federation, {"cloud-b": (2, 4), "edge-c": (2, 4), "onprem-a": (2, 4)})
        back = wait_running(federation, job, 6)
        assert back.shares == {"cloud-b": 2, "edge-c": 2, "onprem-a": 2}
        told = [one.message for one in federation.admin.explain(job).history if one.event == "divide"]
        assert any("cloud-b is lost" in message for message in told), told

        federation.admin.cancel(job)
        federation.wait_phase(job, Phase.CANCELLED, timeout_s=60)
        for name, cluster in federation.clusters.items():
            until(f"nothing to be left in {name}", partial(nothing_of_it, cluster), timeout_s=30)
    finally:
        federation.spokes["cloud-b"].cable.mend()
        federation.admin.cordon("onprem-a", on=False)
        cloud.client.delete("v1", "Pod", occupant["metadata"]["name"], grace_s=0)
    assert edge.client.get("v1", "Service", NAME) is None


def foreign_pod(node: str) -> Object:
    """All four cards of one node."""
    template = pods.template("main", 4, "", Course())
    metadata = {"name": "occupant", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] | {"nodeName": node}}


def wait_shares(
    federation: ProcessFederation, job: str, shares: Mapping[str, int], without: tuple[str, ...] = ()
) -> None:
    """Until the Deployments of the API servers' own account have so many replicas, and so many pods of theirs run."""

    def as_wished() -> bool:
        there: dict[str, tuple[int, int]] = {}
        for name, cluster in federation.clusters.items():
            found = cluster.client.get("apps/v1", "Deployment", NAME)
            if found is not None and name not in without:
                there[name] = (found["spec"]["replicas"], len(truth.live_pods_of(cluster)))
        wished = {name: (share, share) for name, share in shares.items()}
        assert there == wished, f"{there}: {federation.admin.job(job).reason}"
        return True

    until(f"{job} to lie as {dict(shares)}", as_wished, timeout_s=90)


def wait_running(federation: ProcessFederation, job: str, ready: int) -> JobDetailOut:
    def runs() -> JobDetailOut:
        shown = federation.admin.job(job)
        counted = sum(part.ready for part in division(shown).parts if not part.away)
        assert (shown.phase, counted) == (Phase.RUNNING, ready), f"{shown.phase}, {counted} ready: {shown.reason}"
        return shown

    return until(f"{job} to run with {ready} replicas", runs, timeout_s=60)


def division(job: JobDetailOut) -> DivisionOut:
    assert job.division is not None
    return job.division


def wait_ranges(federation: ProcessFederation, wished: Mapping[str, tuple[int, int]]) -> None:
    """Of the autoscaler that travelled to each cluster: from least to most."""

    def as_wished() -> bool:
        found = {
            name: federation.clusters[name].client.get("autoscaling/v2", "HorizontalPodAutoscaler", NAME)
            for name in wished
        }
        ranges = {name: one and (one["spec"]["minReplicas"], one["spec"]["maxReplicas"]) for name, one in found.items()}
        assert ranges == wished, ranges
        return True

    until("the autoscalers to follow the shares", as_wished)


def nothing_of_it(cluster: MemberCluster) -> bool:
    for version, kind in (
        ("apps/v1", "Deployment"),
        ("v1", "Service"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ):
        assert cluster.client.get(version, kind, NAME) is None, f"{kind} {NAME} is still in {cluster.name}"
    assert not truth.pods_of(cluster), f"pods are left in {cluster.name}"
    return True


def test_training_is_divided_where_it_says_so_and_ends_with_the_last_of_its_parts(
    federation: ProcessFederation,
) -> None:
    divided = federation.submit(work("shared-out", divide="weights", divide_weights="cloud-b=1,edge-c=1")).id
    whole = federation.submit(work("in-one-piece")).id
    federation.wait_phase(divided, Phase.RUNNING, Phase.SUCCEEDED, timeout_s=60)
    there = {name: completions(cluster, "shared-out") for name, cluster in federation.clusters.items()}
    assert there == {"cloud-b": 3, "edge-c": 3, "onprem-a": None}
    one_place = federation.wait_phase(whole, Phase.RUNNING, Phase.SUCCEEDED, timeout_s=60).cluster
    assert [name for name, cluster in federation.clusters.items() if completions(cluster, "in-one-piece")] == [
        one_place
    ]
    shown = federation.wait_phase(divided, Phase.SUCCEEDED, timeout_s=60)
    assert {part.phase for part in division(shown).parts} == {Phase.SUCCEEDED}
    assert sum(role.succeeded for role in shown.roles) == 6
    federation.wait_phase(whole, Phase.SUCCEEDED, timeout_s=60)


def work(name: str, **hints: str) -> Manifest:
    """Six pods that share it."""
    template = pods.template("main", 1, "", Course(run_for="5s"))
    template["spec"]["restartPolicy"] = "Never"
    annotations = {f"muster.dev/{hint.replace('_', '-')}": value for hint, value in hints.items()}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"parallelism": 6, "completions": 6, "template": template},
    }


def completions(cluster: MemberCluster, name: str) -> int | None:
    found = cluster.client.get("batch/v1", "Job", name)
    return None if found is None else found["spec"]["completions"]
