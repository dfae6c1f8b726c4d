"""Nodes, networks and pods that go away under gangs that run, on real kubelets.

The figures that these print (seconds from the fault) are what a user waits for. A cluster is cut off for longer than
any heartbeat, lease or grace period of hub and cluster, so that whoever would act rashly has the time to; and not for
so long (80 s) that kubelets restart the control plane, which is without its address, and everybody waits for that.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from e2e import manifests, truth
from e2e.kind import network
from e2e.kind.clusters import KindCluster, is_ready
from e2e.kind.commands import run
from e2e.kind.installed import NAMESPACE, InstalledFederation
from e2e.kind.witness import bound_of, by_uid, epoch_of, is_new_and_ready, job_of, pods_everywhere, the_pod, untouched
from e2e.objects import Object
from e2e.shapes import A100, H100
from e2e.waiting import holds_for, until
from placement.lifecycle import Phase

RESTARTED_WITHIN_S = 60  # from a node's fault to the whole gang running again
RIGHT_WITHIN_S = 30  # from the mend of a cluster's network to the hub's state being the truth
CUT_FOR_S = 60  # longer than a node's lease (40 s) and the controller's patience (50 s)


def test_a_node_that_is_switched_off_moves_its_gang_to_another_cluster(
    federation: InstalledFederation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both GPU nodes of cloud-b, which is the cheapest, are needed: what is left of it holds half a gang."""
    job = federation.submit(manifests.indexed_job("moves", pods=2, gpus=8)).id
    assert federation.wait_phase(job, Phase.RUNNING, timeout_s=60).cluster == "cloud-b"
    cluster = federation.clusters["cloud-b"]
    old = by_uid(truth.pods_of(cluster, job))
    node = next(iter(old.values()))["spec"]["nodeName"]

    began = time.monotonic()
    cluster.stop_node(node)
    try:
        took_s = restarted_whole(federation, job, began)
        moved = federation.admin.job(job)
        assert (moved.cluster, moved.epoch) == ("onprem-a", 2)
        said = [event.message for event in federation.admin.events(job=job, follow=False) if node in event.message]
        assert said, "the history does not name the node"
    finally:
        cluster.start_node(node)
    tell(capsys, "node switched off, gang whole in another cluster", took_s)
    assert not truth.pods_of(cluster, job)
    assert federation.bound_anywhere(job) == {"onprem-a": 2}


def test_a_node_that_is_cut_off_gives_up_its_pods_when_it_comes_back(
    federation: InstalledFederation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its containers run on, unseen, while the gang runs elsewhere: the worst case of a node that is lost."""
    job = federation.submit(manifests.indexed_job("apart", pods=2, gpus=8, product=A100)).id
    assert federation.wait_phase(job, Phase.RUNNING, timeout_s=60).cluster == "onprem-a"
    cluster = federation.clusters["onprem-a"]
    old = by_uid(truth.pods_of(cluster, job))
    lost = next(iter(old.values()))
    node = lost["spec"]["nodeName"]
    containers = [status["containerID"].partition("://")[2] for status in lost["status"]["containerStatuses"]]
    assert set(containers) <= running_on(node)

    began = time.monotonic()
    cluster.cut([node])
    try:
        took_s = restarted_whole(federation, job, began)
        assert set(containers) <= running_on(node), "the fault was meant to leave them running"
    finally:
        cluster.mend()
    tell(capsys, "node cut off, gang whole on other nodes", took_s)
    until(f"{node} to be ready", lambda: is_ready(node_of(cluster, node)), timeout_s=90, every_s=0.5)
    until("the old containers to be gone", lambda: not set(containers) & running_on(node), timeout_s=90, every_s=0.5)
    now = by_uid(truth.pods_of(cluster, job))
    assert not set(now) & set(old)
    assert node not in {pod["spec"]["nodeName"] for pod in now.values()}
    assert federation.wait_phase(job, Phase.RUNNING).epoch == 2


def test_a_drained_node_moves_its_gang_and_does_not_fail_it(federation: InstalledFederation) -> None:
    """`kubectl drain` evicts one pod; a Job that may not fail once goes on elsewhere, whole."""
    job = federation.submit(manifests.indexed_job("drained", pods=2, gpus=8, product=A100)).id
    assert federation.wait_phase(job, Phase.RUNNING, timeout_s=60).cluster == "onprem-a"
    cluster = federation.clusters["onprem-a"]
    node = truth.pods_of(cluster, job)[0]["spec"]["nodeName"]
    try:
        cluster.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
        restarted_whole(federation, job, time.monotonic())
        assert node not in {pod["spec"]["nodeName"] for pod in truth.live_pods_of(cluster, job)}
    finally:
        cluster.kubectl("uncordon", node)


def test_a_clusters_network_is_cut_and_mended(
    federation: InstalledFederation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody can know what still runs there, so nothing is started a second time; one job ends while nobody looks."""
    runs_on = federation.submit(manifests.indexed_job("runs-on", pods=2, gpus=4, product=H100)).id
    ends = federation.submit(manifests.indexed_job("ends", pods=2, gpus=4, product=H100, run_for="40s")).id
    for job in (runs_on, ends):
        assert federation.wait_phase(job, Phase.RUNNING, timeout_s=60).cluster == "cloud-b"
    cluster = federation.clusters["cloud-b"]
    before = by_uid(truth.pods_of(cluster, runs_on))
    others = [one for name, one in federation.clusters.items() if name != "cloud-b"]

    def is_left_alone() -> bool:
        for job in (runs_on, ends):
            shown = federation.admin.job(job)
            assert (shown.cluster, shown.epoch, shown.phase) == ("cloud-b", 1, Phase.RUNNING)
            assert not any(truth.pods_of(other, job) for other in others)
        return True

    began = time.monotonic()
    with cluster.cut_off():
        until("the hub to notice", lambda: health(federation, "cloud-b") == "lost", timeout_s=40)
        holds_for("the jobs are left alone", is_left_alone, CUT_FOR_S - (time.monotonic() - began), every_s=1)
    mended = time.monotonic()
    federation.wait_phase(ends, Phase.SUCCEEDED, timeout_s=RIGHT_WITHIN_S)
    until("the cluster to be ready", lambda: health(federation, "cloud-b") == "ready", timeout_s=RIGHT_WITHIN_S)
    took_s = time.monotonic() - mended
    tell(capsys, "network mended, the hub's state right", took_s)
    assert took_s <= RIGHT_WITHIN_S
    # The nodes' own signs of life are late, too, and are no reason to touch what runs.
    holds_for("the gang is not touched", lambda: federation.admin.job(runs_on).epoch == 1, 15, every_s=1)
    assert untouched(before, by_uid(truth.pods_of(cluster, runs_on)))
    assert federation.admin.job(runs_on).phase is Phase.RUNNING
    assert federation.gangs_ever(ends) == {("cloud-b", 1): 2}


def test_the_hubs_pod_is_deleted_while_gangs_run(
    federation: InstalledFederation, capsys: pytest.CaptureFixture[str]
) -> None:
    runs_on = federation.submit(manifests.indexed_job("runs-on", pods=2, gpus=8, product=A100)).id
    ends = federation.submit(manifests.indexed_job("ends", pods=2, gpus=8, product=H100, run_for="10s")).id
    for job in (runs_on, ends):
        federation.wait_phase(job, Phase.RUNNING, timeout_s=60)
    before = pods_everywhere(federation)
    hub = the_pod(federation.home, federation.hub_pod)

    began = time.monotonic()
    federation.home.delete_pod(federation.hub_pod, NAMESPACE, grace_s=0)
    until("another hub", lambda: is_new_and_ready(federation.home, federation.hub_pod, hub), timeout_s=120, every_s=0.5)
    tell(capsys, "hub's pod deleted, the next one ready", time.monotonic() - began)
    federation.wait_phase(ends, Phase.SUCCEEDED, timeout_s=60)
    federation.wait_agreed()
    after = pods_everywhere(federation)
    assert set(after) == set(before)
    assert untouched({uid: pod for uid, pod in before.items() if job_of(pod) == runs_on}, after)
    assert [federation.admin.job(job).epoch for job in (runs_on, ends)] == [1, 1]


def test_the_spokes_pod_is_deleted_between_two_binds_of_a_gang(federation: InstalledFederation) -> None:
    """Three of four pods are bound and the fourth's binding hangs in the API server when the spoke is killed."""
    cluster = federation.clusters["onprem-a"]
    spoke_pod = federation.spoke_pod("onprem-a")
    spoke = the_pod(cluster, spoke_pod)
    with binding_hangs(cluster, pod_prefix="halfway-3-"):
        job = federation.submit(manifests.indexed_job("halfway", pods=4, gpus=4, product=A100)).id
        until("three binds", lambda: len(bound_of(cluster, job)) == 3, timeout_s=60, every_s=0.02)
        cluster.delete_pod(spoke_pod, NAMESPACE, grace_s=0)
        assert len(bound_of(cluster, job)) == 3
    until("another spoke", lambda: is_new_and_ready(cluster, spoke_pod, spoke), timeout_s=120, every_s=0.5)
    shown = federation.wait_phase(job, Phase.RUNNING, timeout_s=90)
    assert shown.cluster == "onprem-a"
    assert len(bound_of(cluster, job)) == 4
    assert federation.bound_anywhere(job) == {"onprem-a": 4}


# ---- what is looked at ----


def restarted_whole(federation: InstalledFederation, job: str, began: float) -> float:
    """Seconds from `began` until its second attempt runs whole: by the hub, and by the containers themselves."""

    def whole() -> float | None:
        shown = federation.admin.job(job)
        assert (shown.epoch, shown.phase) == (2, Phase.RUNNING), f"epoch {shown.epoch}, {shown.phase}: {shown.reason}"
        return time.monotonic() - began

    took_s = until("the gang to run again", whole, timeout_s=RESTARTED_WITHIN_S + 30, every_s=0.1)
    shown = federation.admin.job(job)
    pods = [pod for pod in truth.live_pods_of(federation.member(shown.cluster), job) if epoch_of(pod) == 2]
    assert all(pod["status"]["phase"] == "Running" for pod in pods)
    assert len(pods) == sum(role.total for role in shown.roles)
    assert took_s <= RESTARTED_WITHIN_S
    return took_s


def tell(capsys: pytest.CaptureFixture[str], what: str, took_s: float) -> None:
    with capsys.disabled():
        print(f"\n  {what}: {took_s:.1f} s")


def health(federation: InstalledFederation, name: str) -> str:
    return next(cluster.health for cluster in federation.admin.clusters() if cluster.name == name)


def node_of(cluster: KindCluster, name: str) -> Object:
    found = cluster.client.get("v1", "Node", name)
    assert found is not None
    return found


def running_on(node: str) -> set[str]:
    """Ids of the containers that run there, by its container runtime."""
    lines = run("docker", "exec", node, "ctr", "--namespace", "k8s.io", "tasks", "list").splitlines()[1:]
    return {line.split()[0] for line in lines if "RUNNING" in line}


# ---- a binding that hangs ----


@contextmanager
def binding_hangs(cluster: KindCluster, *, pod_prefix: str) -> Iterator[None]:
    """An admission webhook that never answers, asked about the bindings of these pods alone.

    The API server waits ten seconds for it, and then goes on without.
    """
    api, kind, name = "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "e2e-binding-hangs"
    with deaf_server(network.gateway_of(cluster.control_plane)) as address:
        hook = {
            "name": "binding-hangs.e2e.muster.test",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": f"https://{address}/"},
            "failurePolicy": "Ignore",
            "sideEffects": "None",
            "timeoutSeconds": 10,
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/binding"]}
            ],
            "matchConditions": [{"name": "those", "expression": f"request.name.startsWith('{pod_prefix}')"}],
        }
        cluster.client.create({"apiVersion": api, "kind": kind, "metadata": {"name": name}, "webhooks": [hook]})
        time.sleep(2)  # the API server has no word for having read it
        try:
            yield
        finally:
            cluster.client.delete(api, kind, name)


@contextmanager
def deaf_server(host: str) -> Iterator[str]:
    """HOST:PORT of one that takes connections and says nothing."""
    with socket.create_server((host, 0)) as listener, ThreadPoolExecutor(1) as threads:
        held: list[socket.socket] = []
        over = threading.Event()
        listener.settimeout(0.2)

        def accept() -> None:
            while not over.is_set():
                try:
                    held.append(listener.accept()[0])
                except TimeoutError:
                    continue

        threads.submit(accept)
        try:
            yield f"{host}:{listener.getsockname()[1]}"
        finally:
            over.set()
            for connection in held:
                connection.close()
