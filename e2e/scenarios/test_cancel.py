"""Cancelling, at whatever moment, frees everything."""

from __future__ import annotations

import pytest

from e2e import manifests, truth
from e2e.federation import Federation
from e2e.shapes import A100, H100
from e2e.waiting import until
from placement.lifecycle import Phase


def test_cancelling_a_running_gang_frees_everything(federation: Federation) -> None:
    onprem = federation.clusters["onprem-a"]
    before = truth.free_gpus(onprem)
    rack = onprem.shape.rack_of(A100)
    job = federation.submit(manifests.pytorchjob("endless", workers=rack - 1, gpus=8, product=A100))
    federation.wait_phase(job.id, Phase.RUNNING)
    assert truth.free_gpus(onprem) == before - 8 * rack

    federation.admin.cancel(job.id)
    federation.wait_phase(job.id, Phase.CANCELLED)
    assert truth.pods_of(onprem, job.id) == []
    assert onprem.client.get("kubeflow.org/v1", "PyTorchJob", "endless") is None
    assert truth.free_gpus(onprem) == before
    federation.wait_agreed()
    assert federation.admin.cluster("onprem-a").jobs == 0


def test_cancelled_is_said_only_once_the_pods_are_gone(federation: Federation) -> None:
    """Until then their GPUs are in use, and must not be promised to anybody."""
    job = federation.submit(manifests.indexed_job("slow-to-go", pods=2, gpus=8, product=H100, stop_for="2s"))
    federation.wait_phase(job.id, Phase.RUNNING)

    federation.admin.cancel(job.id)
    cloud = federation.clusters["cloud-b"]

    def gone() -> bool:
        alive = len(truth.pods_of(cloud, job.id))
        phase = federation.admin.job(job.id).phase
        # Read in this order: pods that were there before the phase was asked for.
        return alive == 0 and phase is Phase.CANCELLED

    until("pods and job to be gone", gone)
    # The history says when; the pods took two seconds, so the end cannot have been said at once.
    history = {one.event: one.at for one in federation.admin.explain(job.id).history}
    assert (history["stopped"] - history["cancel"]).total_seconds() > 1.5


def test_cancelling_a_waiting_job_needs_no_cluster(federation: Federation) -> None:
    job = federation.submit(manifests.indexed_job("never", pods=12, gpus=8))
    federation.reasons(job.id)

    assert federation.admin.cancel(job.id).phase is Phase.CANCELLED


@pytest.mark.parametrize("event", ["submit", "place", "accept"])
def test_cancelling_while_it_starts_leaves_nothing(federation: Federation, event: str) -> None:
    onprem = federation.clusters["onprem-a"]
    workers = onprem.shape.rack_of(A100) - 1
    job = federation.submit(manifests.pytorchjob(f"hasty-{event}", workers=workers, gpus=8, product=A100))
    federation.wait_event(job.id, event)

    federation.admin.cancel(job.id)
    # On real nodes the training operator's wait-for-master hears no SIGTERM and takes all of a pod's grace, 30 s.
    federation.wait_phase(job.id, Phase.CANCELLED, timeout_s=60)
    truth.wait_collected(onprem, job.id)
    assert onprem.client.get("kubeflow.org/v1", "PyTorchJob", f"hasty-{event}") is None
