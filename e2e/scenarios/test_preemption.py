"""A more important gang comes while the cluster is full: the cheapest others make room, and run again later."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from e2e import manifests, truth
from e2e.federation import Federation
from e2e.processes import ProcessFederation
from e2e.shapes import A100
from e2e.waiting import until
from placement.lifecycle import Phase

CLUSTER = "onprem-a"
GRACE_S = 7
AGE_S = 5.0  # longer than it takes until a checkpoint is told


def fill(federation: Federation, *names: str, stop_for: str = "") -> dict[str, str]:
    """Gangs of equal size that take every A100 together, begun one after another."""
    nodes = federation.clusters[CLUSTER].shape.nodes_of(A100)
    size = nodes // len(names)
    hints = {"grace-seconds": str(GRACE_S), "expected-hours": "5"}
    jobs = {}
    for name in names:
        gang = manifests.indexed_job(name, pods=size, gpus=8, product=A100, stop_for=stop_for, hints=hints)
        jobs[name] = federation.submit(gang).id
        federation.wait_phase(jobs[name], Phase.RUNNING)
    federation.wait_agreed()
    return jobs


def say_checkpointed(federation: Federation, name: str) -> None:
    """As the job would, on its workload object; it is told to the hub before this returns."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    patch = {"metadata": {"annotations": {"muster.dev/checkpointed-at": at}}}
    federation.clusters[CLUSTER].client.merge("batch/v1", "Job", name, patch)


def important(federation: Federation, name: str, pods: int, run_for: str = "2s") -> str:
    hints = {"priority": "100"}
    return federation.submit(
        manifests.indexed_job(name, pods=pods, gpus=8, product=A100, run_for=run_for, hints=hints)
    ).id


def gangs(federation: Federation, job: str) -> dict[tuple[str, int], int]:
    return federation.gangs_ever(job)


def age_s(federation: Federation, job: str) -> float:
    started = federation.admin.job(job).started_at
    return (datetime.now(UTC) - started).total_seconds() if started is not None else 0.0


def wait_told(federation: Federation, job: str) -> None:
    def told() -> bool:
        return federation.admin.job(job).checkpoint_at is not None

    until(f"the hub to know of {job}'s checkpoint", told)


@pytest.mark.standard_shapes
def test_the_cheapest_gang_by_its_checkpoint_makes_room_and_runs_again(federation: Federation) -> None:
    cluster = federation.clusters[CLUSTER]
    jobs = fill(federation, "first", "second", stop_for="3s")
    size = cluster.shape.nodes_of(A100) // 2
    until("the younger one to have run for some time", lambda: age_s(federation, jobs["second"]) > AGE_S)
    # The older one would lose more, but that it has just saved what it did.
    say_checkpointed(federation, "first")
    wait_told(federation, jobs["first"])

    vip = important(federation, "vip", size)
    federation.wait_event(jobs["first"], "evict")
    explained = federation.admin.explain(vip)
    assert explained.decision is not None
    assert explained.decision.room is not None
    assert explained.decision.room.victims == [jobs["first"]]
    assert f"waits for 1 job to be evicted from {CLUSTER} ({jobs['first']})" in explained.job.reason

    def stopping() -> list[dict[str, Any]]:
        pods = truth.pods_of(cluster, jobs["first"])
        return [pod for pod in pods if "deletionTimestamp" in pod["metadata"]]

    def graces() -> bool:
        return {pod["metadata"]["deletionGracePeriodSeconds"] for pod in stopping()} == {GRACE_S}

    until("its pods to be told to stop, with the grace that it asks for", graces)

    federation.wait_phase(vip, Phase.RUNNING)
    assert gangs(federation, vip) == {(CLUSTER, 1): size}
    assert federation.admin.job(jobs["second"]).phase is Phase.RUNNING
    assert gangs(federation, jobs["second"]) == {(CLUSTER, 1): size}
    victim = federation.admin.job(jobs["first"])
    assert (victim.phase, victim.epoch) == (Phase.QUEUED, 2)
    assert cluster.client.get("batch/v1", "Job", "first") is None

    federation.wait_phase(vip, Phase.SUCCEEDED)
    again = federation.wait_phase(jobs["first"], Phase.RUNNING)
    assert again.epoch == 2
    assert gangs(federation, jobs["first"]) == {(CLUSTER, 1): size, (CLUSTER, 2): size}
    made = cluster.client.get("batch/v1", "Job", "first")
    assert made is not None
    assert made["metadata"]["labels"][truth.EPOCH_LABEL] == "2"


@pytest.mark.processes
def test_hub_and_spoke_are_killed_while_they_evict(federation: ProcessFederation) -> None:
    jobs = fill(federation, "one", "two", stop_for="2s")
    size = federation.clusters[CLUSTER].shape.nodes_of(A100) // 2
    spoke = federation.spokes[CLUSTER]
    spoke.process.pause()  # the order to stop does not arrive
    try:
        vip = important(federation, "vip-crash", size)
        federation.wait_event(jobs["two"], "evict")
    finally:
        federation.hub.kill()
        spoke.process.resume()
        spoke.kill()
    federation.hub.start()
    spoke.start()
    federation.wait_phase(vip, Phase.SUCCEEDED, timeout_s=60)
    assert gangs(federation, vip) == {(CLUSTER, 1): size}
    assert gangs(federation, jobs["one"]) == {(CLUSTER, 1): size}, "nobody else was evicted"
    again = federation.wait_phase(jobs["two"], Phase.RUNNING, timeout_s=60)
    assert again.epoch == 2
    assert gangs(federation, jobs["two"]) == {(CLUSTER, 1): size, (CLUSTER, 2): size}
