"""Elastic gangs on real API servers: fewer pods where there is no room for all, more when there is, fewer again before
anybody is evicted. PyTorchJobs by the real training operator; Volcano's controller is played."""

from __future__ import annotations

import pytest

from e2e import manifests, truth
from e2e.federation import Federation
from e2e.processes import ProcessFederation
from e2e.shapes import A100
from e2e.volcano import VolcanoController
from e2e.waiting import until
from placement.lifecycle import Phase

CLUSTER = "onprem-a"
HINTS = {"grow-after": "1s", "expected-hours": "5", "clusters": CLUSTER}


def wait_pods(federation: Federation, job: str, count: int) -> None:
    """So many that live, all bound, and the hub counts as many."""

    def there() -> bool:
        live = truth.live_pods_of(federation.clusters[CLUSTER], job)
        bound = [pod for pod in live if pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]]
        told = federation.admin.job(job)
        return len(live) == len(bound) == count == sum(role.ready for role in told.roles)

    until(f"{job} to have {count} pods", there, timeout_s=40)


def busy(federation: Federation, name: str, nodes: int, run_for: str = "") -> str:
    gang = manifests.indexed_job(name, pods=nodes, gpus=8, product=A100, run_for=run_for, hints={"clusters": CLUSTER})
    job = federation.submit(gang).id
    federation.wait_phase(job, Phase.RUNNING, Phase.SUCCEEDED)
    return job


@pytest.mark.standard_shapes
@pytest.mark.processes
def test_a_pytorchjob_follows_the_room_that_there_is(federation: ProcessFederation) -> None:
    cluster = federation.clusters[CLUSTER]
    nodes = cluster.shape.nodes_of(A100)
    taken = busy(federation, "taken", 2)
    elastic = manifests.pytorchjob("elastic", workers=nodes - 2, gpus=8, product=A100, hints=HINTS, elastic=(2, nodes))
    job = federation.submit(elastic).id
    started = federation.wait_phase(job, Phase.RUNNING)
    assert federation.gangs_ever(job) == {(CLUSTER, 1): nodes - 2}, "one fewer than it asked for"
    assert started.total_gpus == 8 * (nodes - 1)
    made = cluster.client.get("kubeflow.org/v1", "PyTorchJob", "elastic")
    assert made is not None
    assert made["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"] == nodes - 3

    federation.admin.cancel(taken)
    wait_pods(federation, job, nodes)
    federation.wait_agreed()

    spoke = federation.spokes[CLUSTER]
    spoke.process.pause()  # the order does not arrive
    try:
        needs = federation.submit(
            manifests.indexed_job("needs", pods=2, gpus=8, product=A100, run_for="6s", hints={"clusters": CLUSTER})
        ).id
        federation.wait_event(job, "resize")
    finally:
        federation.hub.kill()
        spoke.process.resume()
        spoke.kill()
    federation.hub.start()
    spoke.start()
    federation.wait_phase(needs, Phase.RUNNING, timeout_s=60)
    wait_pods(federation, job, nodes - 2)
    assert federation.admin.job(job).epoch == 1, "it was not evicted"
    assert federation.gangs_ever(needs) == {(CLUSTER, 1): 2}

    federation.wait_phase(needs, Phase.SUCCEEDED, timeout_s=60)
    wait_pods(federation, job, nodes)
    events = [one.event for one in federation.admin.explain(job).history]
    assert events.count("resize") >= 3
    assert "evict" not in events
    federation.admin.cancel(job)
    federation.wait_phase(job, Phase.CANCELLED)
    truth.wait_collected(cluster, job)


@pytest.mark.standard_shapes
def test_a_volcano_job_gives_back_what_it_has_beyond_its_gang(federation: Federation) -> None:
    cluster = federation.clusters["cloud-b"]
    product = cluster.shape.pools[0].product
    nodes = cluster.shape.nodes_of(product)
    controller = VolcanoController(cluster)
    try:
        hints = HINTS | {"clusters": "cloud-b"}
        job = federation.submit(
            manifests.volcano_job("many", pods=nodes, gpus=8, product=product, hints=hints, at_least=2)
        ).id
        federation.wait_phase(job, Phase.RUNNING)
        gang = manifests.indexed_job(
            "gang", pods=nodes - 2, gpus=8, product=product, run_for="3s", hints={"clusters": "cloud-b"}
        )
        asks = federation.submit(gang).id
        federation.wait_phase(asks, Phase.RUNNING, Phase.SUCCEEDED)
        assert federation.admin.job(job).epoch == 1
        made = cluster.client.get("batch.volcano.sh/v1alpha1", "Job", "many")
        assert made is not None
        assert [task["replicas"] for task in made["spec"]["tasks"]] == [2]
        federation.wait_phase(asks, Phase.SUCCEEDED)

        def grown() -> bool:
            return sum(role.ready for role in federation.admin.job(job).roles) == nodes

        until("it to have all its pods again", grown, timeout_s=40)
    finally:
        controller.stop()
