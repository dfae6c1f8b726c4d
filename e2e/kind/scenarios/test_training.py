"""Gangs of real containers: the ranks find each other over the cluster's network, sum, and agree to the last bit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from e2e import manifests, truth
from e2e.kind.installed import InstalledFederation
from e2e.manifests import Manifest
from e2e.pods import TRAIN_IMAGE
from e2e.shapes import A100
from placement.lifecycle import Phase

DEMO = Path(__file__).resolve().parents[3] / "deploy" / "demo"
RANKS = 4


def test_an_indexed_job_of_four_trains(federation: InstalledFederation) -> None:
    """The demo's own manifest, with the ConfigMap and the Service that travel along; only its sizes are changed."""
    documents = list(yaml.safe_load_all((DEMO / "indexed-job.yaml").read_text()))
    (workload,) = (document for document in documents if document["kind"] == "Job")
    _shrink(workload["spec"]["template"]["spec"]["containers"][0])
    trains_together(federation, "indexed", documents)


def test_a_pytorchjob_of_four_trains(federation: InstalledFederation) -> None:
    """Addresses, ranks and world size come from the operator."""
    manifest = manifests.pytorchjob("torch", workers=RANKS - 1, gpus=4, product=A100)
    for replicas in manifest["spec"]["pytorchReplicaSpecs"].values():
        replicas["template"]["spec"]["containers"][0]["command"] = ["python", "-u", "/train/allreduce.py"]
    trains_together(federation, "torch", [manifest])


def trains_together(federation: InstalledFederation, name: str, documents: list[Manifest]) -> None:
    file = federation.directory / f"{name}.yaml"
    file.write_bytes(manifests.text(*documents))
    said = federation.muster("submit", str(file), "--output", "json")
    job = re.findall(r"\bj-[a-z0-9]+\b", said)[0]
    shown = federation.wait_phase(job, Phase.RUNNING, Phase.SUCCEEDED, timeout_s=90)
    cluster = federation.member(shown.cluster)

    # From outside: only the hub's address is known here, and it has the lines through the spoke's own connection.
    lines = federation.muster("logs", job, "--follow", timeout_s=120)
    agreed = re.findall(r"^(\S+) +\| rank (\d) agrees: (weights .*), sum of ranks (\d+)$", lines, re.MULTILINE)
    assert sorted(int(rank) for _, rank, _, _ in agreed) == list(range(RANKS)), lines
    assert len({pod for pod, _, _, _ in agreed}) == RANKS, lines
    assert len({weights for _, _, weights, _ in agreed}) == 1, lines
    assert {total for _, _, _, total in agreed} == {str(sum(range(1, RANKS + 1)))}

    ended = federation.wait_phase(job, Phase.SUCCEEDED, timeout_s=60)
    assert ended.epoch == 1
    pods = truth.pods_of(cluster, job)
    assert len(pods) == RANKS
    taken = [(pod["spec"]["nodeName"], index) for pod in pods for index in truth.indices_of(pod)]
    assert len(set(taken)) == sum(truth.gpus_of(pod) for pod in pods), taken
    assert {(pod.node, tuple(pod.gpus)) for pod in ended.pods} == {
        (pod["spec"]["nodeName"], tuple(truth.indices_of(pod))) for pod in pods
    }
    assert federation.gangs_ever(job) == {(cluster.name, 1): RANKS}


def _shrink(container: dict[str, Any]) -> None:
    """To what a node of this test bed has."""
    container["image"] = TRAIN_IMAGE
    container["resources"]["requests"] = {"cpu": "10m", "memory": "32Mi"}
