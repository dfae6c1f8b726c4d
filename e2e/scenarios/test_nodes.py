"""Nodes that die, go or are emptied under a gang: it is restarted whole elsewhere, and what does not start says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e import manifests, shapes, truth
from e2e.federation import Federation
from e2e.objects import Object
from e2e.planes.provider import PlaneCluster
from e2e.processes import ProcessFederation
from e2e.shapes import H100
from e2e.waiting import until
from hub.api.schemas import JobDetailOut
from placement.lifecycle import Phase

CLUSTER = "cloud-b"
PODS = 2


@pytest.mark.processes
def test_a_node_that_is_deleted_takes_its_gang_to_other_nodes(federation: ProcessFederation) -> None:
    job = running_gang(federation, "bereft")
    cluster = federation.clusters[CLUSTER]
    gone = truth.pods_of(cluster, job)[0]["spec"]["nodeName"]
    before = cluster.client.get("v1", "Node", gone)
    assert before is not None
    cluster.client.delete("v1", "Node", gone)
    try:
        shown = wait_second_attempt(federation, job)
        assert shown.cluster == CLUSTER
        assert gone not in {pod.node for pod in shown.pods}
        assert federation.gangs_ever(job) == {(CLUSTER, 1): PODS, (CLUSTER, 2): PODS}
        assert epochs_of(truth.pods_of(cluster, job)) == {"2"}
        assert f"node {gone} is lost" in reason_of(federation, job, "interrupted")
    finally:
        [again] = [node for node in shapes.nodes(cluster.shape) if node["metadata"]["name"] == gone]
        cluster.client.create(again)
        until(f"{gone} to be ready again", lambda: is_ready(cluster.client.get("v1", "Node", gone)), timeout_s=60)


def test_an_evicted_pod_moves_its_gang_and_does_not_fail_it(federation: Federation) -> None:
    """As a drain does it. The Job may not retry a single pod: by its own count it has failed."""
    job = running_gang(federation, "evicted")
    cluster = federation.clusters[CLUSTER]
    evict(federation, truth.pods_of(cluster, job)[0])
    shown = wait_second_attempt(federation, job)
    assert federation.gangs_ever(job) == {(CLUSTER, 1): PODS, (str(shown.cluster), 2): PODS}
    assert epochs_of(truth.pods_of(cluster, job)) <= {"2"}
    assert "EvictionByEvictionAPI" in reason_of(federation, job, "interrupted")
    assert "fail" not in [one.event for one in federation.admin.explain(job).history]


@pytest.mark.processes
def test_when_no_node_gives_a_sign_of_life_gangs_go_elsewhere_and_cancels_end(federation: ProcessFederation) -> None:
    job = running_gang(federation, "silenced")
    only_there = federation.submit(
        manifests.indexed_job("stays", pods=PODS, gpus=8, product=H100, hints={"clusters": CLUSTER})
    ).id
    federation.wait_phase(only_there, Phase.RUNNING)
    with silent_nodes(federation):
        federation.admin.cancel(only_there)
        shown = wait_second_attempt(federation, job, timeout_s=120)
        assert shown.cluster == "onprem-a"
        assert federation.gangs_ever(job) == {(CLUSTER, 1): PODS, ("onprem-a", 2): PODS}
        assert "no heartbeat for 40 s" in reason_of(federation, job, "interrupted")
        # Nobody ends their pods: they are gone all the same.
        federation.wait_phase(only_there, Phase.CANCELLED, timeout_s=60)
        for gone in (job, only_there):
            truth.wait_collected(federation.clusters[CLUSTER], gone)
    federation.wait_agreed(timeout_s=90)


def test_a_job_whose_pods_are_not_admitted_says_so(federation: Federation) -> None:
    cluster = federation.clusters[CLUSTER]
    cluster.client.create_if_missing({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tight"}})
    quota = {"name": "no-pods", "namespace": "tight"}
    cluster.client.create(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": quota, "spec": {"hard": {"pods": "0"}}}
    )
    try:
        hints = {"clusters": CLUSTER}
        manifest = manifests.indexed_job("not-admitted", pods=PODS, gpus=1, hints=hints, namespace="tight")
        job = federation.submit(manifest).id

        def told() -> bool:
            seen = federation.admin.job(job)
            assert "FailedCreate" in seen.reason, f"it is {seen.phase}: {seen.reason}"
            return seen.phase is Phase.STARTING and "exceeded quota" in seen.reason

        until("the hub to say why it does not start", told, timeout_s=60)
    finally:
        cluster.client.delete("v1", "ResourceQuota", "no-pods", "tight")


def running_gang(federation: Federation, name: str) -> str:
    """On the cheapest cluster; it would fit on onprem-a too."""
    hints = {"clusters": f"{CLUSTER},onprem-a"}
    job = federation.submit(manifests.indexed_job(name, pods=PODS, gpus=8, hints=hints)).id
    assert federation.wait_phase(job, Phase.RUNNING).cluster == CLUSTER
    return job


def wait_second_attempt(federation: Federation, job: str, timeout_s: float = 60) -> JobDetailOut:
    def runs_again() -> JobDetailOut | None:
        seen = federation.admin.job(job)
        assert (seen.phase, seen.epoch) == (Phase.RUNNING, 2), f"{seen.phase} epoch {seen.epoch}: {seen.reason}"
        return seen

    return until(f"{job} to run again", runs_again, timeout_s)


def reason_of(federation: Federation, job: str, event: str) -> str:
    return next(one.message for one in federation.admin.explain(job).history if one.event == event)


def epochs_of(pods: list[Object]) -> set[str]:
    return {pod["metadata"]["labels"][truth.EPOCH_LABEL] for pod in pods}


def is_ready(node: Object | None) -> bool:
    conditions = node["status"].get("conditions", ()) if node is not None else ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def evict(federation: Federation, pod: Object) -> None:
    client, metadata = federation.clusters[CLUSTER].client, pod["metadata"]
    names = {"name": metadata["name"], "namespace": metadata["namespace"]}
    path = f"{client.path('v1', 'Pod', metadata['namespace'])}/{metadata['name']}/eviction"
    client.request("POST", path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": names})


@contextmanager
def silent_nodes(federation: ProcessFederation) -> Iterator[None]:
    """Whoever plays the cluster's kubelets is stopped: no lease is renewed, no pod ends."""
    cluster = federation.clusters[CLUSTER]
    assert isinstance(cluster, PlaneCluster)
    kubelets = cluster.plane["kwok"]
    kubelets.pause()
    try:
        yield
    finally:
        kubelets.resume()
        until("every node to be ready again", lambda: all(map(is_ready, cluster.client.list("v1", "Node"))), 90)
