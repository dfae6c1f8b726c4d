"""Gangs of each kind land whole on the right cluster, run, and succeed."""

from __future__ import annotations

import copy

import pytest

from e2e import manifests, truth
from e2e.federation import Federation
from e2e.objects import Object
from e2e.shapes import A100, BLOCK, H100, RACK, T4
from placement.lifecycle import Phase


def test_a_pytorchjob_runs_in_one_rack_of_the_cluster_that_has_its_product(federation: Federation) -> None:
    onprem = federation.clusters["onprem-a"]
    rack = onprem.shape.rack_of(A100)
    manifest = manifests.pytorchjob("llama-finetune", workers=rack - 1, gpus=8, product=A100, run_for="4s")
    # As people write them: the workers say nothing but their GPUs, and those only as limits.
    worker = manifest["spec"]["pytorchReplicaSpecs"]["Worker"]["template"] = copy.deepcopy(
        manifest["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    )
    worker["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "8"}}
    job = federation.submit(manifest)

    shown = federation.wait_phase(job.id, Phase.RUNNING)
    assert shown.cluster == "onprem-a"
    by_operator = onprem.client.get("kubeflow.org/v1", "PyTorchJob", "llama-finetune")
    assert by_operator is not None
    assert condition(by_operator, "Running"), by_operator["status"]
    pods = truth.pods_of(onprem, job.id)
    assert sorted(pod["metadata"]["name"] for pod in pods) == [
        "llama-finetune-master-0",
        *(f"llama-finetune-worker-{i}" for i in range(rack - 1)),
    ]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == rack
    assert len(truth.racks_of(onprem, pods)) == 1
    assert all(truth.indices_of(pod) == list(range(8)) for pod in pods)
    assert all(pod["spec"]["schedulerName"] == "muster" for pod in pods)
    assert {(pod.node, tuple(pod.gpus)) for pod in shown.pods} == {
        (pod["spec"]["nodeName"], tuple(truth.indices_of(pod))) for pod in pods
    }

    federation.wait_phase(job.id, Phase.SUCCEEDED)
    ended = onprem.client.get("kubeflow.org/v1", "PyTorchJob", "llama-finetune")
    assert ended is not None
    assert condition(ended, "Succeeded"), ended["status"]
    assert federation.bound_anywhere(job.id).keys() <= {"onprem-a"}
    assert federation.gangs_ever(job.id) == {("onprem-a", 1): rack}


def test_a_volcano_job_runs_as_a_gang(federation: Federation, volcano: None) -> None:
    job = federation.submit(manifests.volcano_job("distributed-training", pods=4, gpus=2, product=H100, run_for="3s"))

    shown = federation.wait_phase(job.id, Phase.RUNNING)
    assert shown.cluster == "cloud-b"
    cloud = federation.clusters["cloud-b"]
    pods = truth.pods_of(cloud, job.id)
    assert len([pod for pod in pods if pod["spec"].get("nodeName")]) == 4
    assert all(len(truth.indices_of(pod)) == 2 for pod in pods)
    taken = [(pod["spec"]["nodeName"], index) for pod in pods for index in truth.indices_of(pod)]
    assert len(set(taken)) == 8

    federation.wait_phase(job.id, Phase.SUCCEEDED)
    assert federation.gangs_ever(job.id) == {("cloud-b", 1): 4}


def test_an_indexed_job_runs_as_a_gang_at_the_edge(federation: Federation) -> None:
    edge = federation.clusters["edge-c"]
    size = edge.shape.nodes_of(T4)
    hints = {"clusters": "edge-c"}
    job = federation.submit(manifests.indexed_job("sweep", pods=size, gpus=2, product=T4, run_for="2s", hints=hints))

    assert federation.wait_phase(job.id, Phase.RUNNING, Phase.SUCCEEDED).cluster == "edge-c"
    federation.wait_phase(job.id, Phase.SUCCEEDED)
    pods = truth.pods_of(edge, job.id)
    assert len({pod["spec"]["nodeName"] for pod in pods}) == size
    assert truth.racks_of(edge, pods) == {"edge-t4-1"}
    done = edge.client.get("batch/v1", "Job", "sweep")
    assert done is not None
    assert done["status"]["succeeded"] == size


@pytest.mark.standard_shapes
def test_slices_of_an_indexed_job_have_a_rack_each_and_one_block_for_all(federation: Federation) -> None:
    cloud = federation.clusters["cloud-b"]

    def job(name: str, slices: int) -> manifests.Manifest:
        asked = {
            "kueue.x-k8s.io/podset-required-topology": BLOCK,
            "kueue.x-k8s.io/podset-slice-required-topology": RACK,
            "kueue.x-k8s.io/podset-slice-size": "2",
        }
        return manifests.indexed_job(
            name,
            pods=2 * slices,
            gpus=8,
            product=H100,
            run_for="3s",
            pod_annotations=asked,
            hints={"clusters": "cloud-b"},
        )

    # Nine nodes, three in each rack: enough for eight pods, but for three slices of two only.
    too_many = federation.submit(job("four-slices", 4))
    said = federation.reasons(too_many.id)["cloud-b"]["topology-short"]
    assert said.startswith("largest block of cloud-b fits 3 of 4 slices of 2 pods in one rack domain each"), said
    federation.admin.cancel(too_many.id)

    sliced = federation.submit(job("three-slices", 3))
    assert federation.wait_phase(sliced.id, Phase.RUNNING, Phase.SUCCEEDED).cluster == "cloud-b"
    federation.wait_phase(sliced.id, Phase.SUCCEEDED)
    by_index = {
        int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]): pod
        for pod in truth.pods_of(cloud, sliced.id)
    }
    assert sorted(by_index) == list(range(6))
    racks = [truth.domains_of(cloud, (by_index[first], by_index[first + 1]), RACK) for first in (0, 2, 4)]
    assert [len(rack) for rack in racks] == [1, 1, 1]
    assert set.union(*racks) == {"h100-1", "h100-2", "h100-3"}
    assert truth.domains_of(cloud, by_index.values(), BLOCK) == {"h100"}
    assert federation.gangs_ever(sliced.id) == {("cloud-b", 1): 6}


def test_a_kind_that_a_cluster_does_not_serve_keeps_the_job_away(federation: Federation) -> None:
    manifest = manifests.pytorchjob("no-crd", workers=1, gpus=1, product=T4, hints={"clusters": "edge-c"})
    job = federation.submit(manifest)

    reasons = federation.reasons(job.id)
    assert "kind-not-served" in reasons["edge-c"]
    assert federation.admin.job(job.id).phase is Phase.QUEUED


def test_a_job_that_fails_by_its_own_status_is_failed_and_frees_its_gpus(federation: Federation) -> None:
    job = federation.submit(manifests.indexed_job("broken", pods=2, gpus=8, product=H100, fail_after="1s"))

    assert federation.wait_phase(job.id, Phase.FAILED).reason
    federation.wait_agreed()


def condition(obj: Object, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in obj.get("status", {}).get("conditions", ()))
