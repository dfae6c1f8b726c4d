"""Data is brought to the cluster that is cheaper with it, by a Job of the spoke's; the next job finds it there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e import manifests
from e2e.federation import PRICES, Federation
from e2e.objects import Object
from e2e.processes import ProcessFederation
from e2e.waiting import until
from hub.api import schemas
from placement.lifecycle import Phase

TB = 10**12
PLACE = "pvc://default/dataset-imagenet"
CHEAP_ONPREM = b"""
prices:
- {cluster: onprem-a, on_demand: 0.5}
- {cluster: cloud-b, on_demand: 4.0}
- {cluster: edge-c, on_demand: 4.0}
"""

pytestmark = pytest.mark.processes  # the pod that copies is played


@pytest.fixture
def imagenet(federation: Federation) -> Iterator[str]:
    """In an object store of cloud-b's region; 100 GB cost $9 to bring elsewhere."""
    federation.admin.set_prices(CHEAP_ONPREM)
    replicas = [schemas.ReplicaDoc(region="us-east", uri="s3://bucket/imagenet")]
    federation.admin.create_dataset("imagenet", schemas.DatasetSpec(size=TB // 10, replicas=replicas))
    onprem = federation.clusters["onprem-a"].client
    onprem.create(volume())
    yield "imagenet"
    federation.admin.delete_dataset("imagenet")
    federation.admin.set_prices(PRICES)
    onprem.delete("v1", "PersistentVolumeClaim", "dataset-imagenet")
    onprem.delete("v1", "PersistentVolume", "for-imagenet", "")


def volume() -> Object:
    """What a storage class would provide."""
    spec = {
        "capacity": {"storage": "1Ti"},
        "accessModes": ["ReadWriteMany"],
        "hostPath": {"path": "/data"},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "for-imagenet"}, "spec": spec}


def training(name: str, hours: str) -> manifests.Manifest:
    hints = {"datasets": "imagenet", "expected-hours": hours}
    return manifests.indexed_job(name, pods=1, gpus=8, run_for="3s", hints=hints)


def test_data_is_copied_by_a_job_before_the_gang_and_only_once(federation: Federation, imagenet: str) -> None:
    onprem = federation.clusters["onprem-a"].client
    job = federation.submit(training("first", "4"))
    federation.wait_event(job.id, "staging")
    copying = until(
        "a Job that copies", lambda: onprem.list("batch/v1", "Job", labels=f"muster.dev/copies-for={job.id}")
    )
    assert onprem.get("batch/v1", "Job", "first") is None
    [container] = copying[0]["spec"]["template"]["spec"]["containers"]
    assert container["command"][-4:] == ["--from", "s3://bucket/imagenet", "--to", "/data"]
    shown = federation.wait_phase(job.id, Phase.RUNNING, timeout_s=60)
    assert shown.cluster == "onprem-a"
    made = onprem.get("batch/v1", "Job", "first")
    assert made is not None
    spec = made["spec"]["template"]["spec"]
    assert [one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"]] == ["dataset-imagenet"]
    assert {"name": "MUSTER_DATASET_IMAGENET", "value": "/muster/datasets/imagenet"} in spec["containers"][0]["env"]
    assert not onprem.list("batch/v1", "Job", labels=f"muster.dev/copies-for={job.id}")
    federation.wait_phase(job.id, Phase.SUCCEEDED)

    copies = [one for one in federation.admin.dataset(imagenet).replicas if one.copied]
    assert [(one.cluster, one.region, one.uri) for one in copies] == [("onprem-a", "beijing", PLACE)]
    again = federation.submit(training("second", "4"))
    federation.wait_phase(again.id, Phase.SUCCEEDED, timeout_s=60)
    assert "staging" not in [one.event for one in federation.admin.events(job=again.id, follow=False)]
    decision = federation.admin.explain(again.id).decision
    assert decision is not None
    assert decision.chosen == "onprem-a"


def test_a_spoke_that_was_killed_goes_on_with_the_copy(federation: ProcessFederation, imagenet: str) -> None:
    onprem, spoke = federation.clusters["onprem-a"].client, federation.spokes["onprem-a"]
    job = federation.submit(training("resumed", "4"))
    labels = f"muster.dev/copies-for={job.id}"
    [before] = until("a Job that copies", lambda: onprem.list("batch/v1", "Job", labels=labels))
    spoke.kill()
    assert [one["metadata"]["uid"] for one in onprem.list("batch/v1", "Job", labels=labels)] == [
        before["metadata"]["uid"]
    ]
    spoke.start()
    federation.wait_phase(job.id, Phase.SUCCEEDED, timeout_s=60)
    assert not onprem.list("batch/v1", "Job", labels=labels)
    assert [one.cluster for one in federation.admin.dataset(imagenet).replicas if one.copied] == ["onprem-a"]
    assert federation.admin.job(job.id).epoch == 1


def test_cancelled_while_it_copies_nothing_is_left(federation: Federation, imagenet: str) -> None:
    onprem = federation.clusters["onprem-a"].client
    job = federation.submit(training("cancelled", "4"))
    until("a Job that copies", lambda: onprem.list("batch/v1", "Job", labels=f"muster.dev/copies-for={job.id}"))
    federation.admin.cancel(job.id)
    federation.wait_phase(job.id, Phase.CANCELLED)
    until(
        "no Job that copies",
        lambda: not onprem.list("batch/v1", "Job", labels=f"muster.dev/copies-for={job.id}"),
    )
    assert not [one for one in federation.admin.dataset(imagenet).replicas if one.copied]


def test_a_job_goes_where_the_claim_is_that_it_mounts(federation: Federation) -> None:
    """Nobody declared it: the spoke tells what claims its cluster has. By price alone it would go to cloud-b."""
    onprem = federation.clusters["onprem-a"].client
    metadata = {"name": "images", "namespace": "default"}
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    onprem.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    claim = "pvc://default/images"

    def learned() -> list[str]:
        return [one.name for one in federation.admin.datasets(learned=True) if one.learned]

    try:
        until("the hub to learn of the claim", lambda: claim in learned(), timeout_s=60)
        manifest = manifests.indexed_job("mounts", pods=1, gpus=1, run_for="2s")
        pod = manifest["spec"]["template"]["spec"]
        pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "images"}}]
        job = federation.submit(manifest)
        assert federation.wait_phase(job.id, Phase.SUCCEEDED, timeout_s=60).cluster == "onprem-a"
        decision = federation.admin.explain(job.id).decision
        assert decision is not None
        reasons = {one.cluster: [reason.code for reason in one.reasons] for one in decision.candidates}
        assert reasons == {"onprem-a": [], "cloud-b": ["dataset-out-of-reach"], "edge-c": ["dataset-out-of-reach"]}
    finally:
        onprem.delete("v1", "PersistentVolumeClaim", "images")
    until("the hub to forget it", lambda: claim not in learned(), timeout_s=60)
