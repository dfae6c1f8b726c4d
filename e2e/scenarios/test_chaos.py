"""Several jobs at once while programs die and connections break at random moments; a seed replays the same faults.

Which faults, where and in which order is drawn from the seed before anything starts; how they fall between the steps
of the jobs is up to the machine, as it is in life. To look for more: E2E_CHAOS_SEEDS=100 runs a hundred seeds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from e2e import manifests
from e2e.manifests import Manifest
from e2e.processes import ProcessFederation
from e2e.shapes import A100, H100, T4
from e2e.waiting import until
from placement.lifecycle import TERMINAL, Phase

pytestmark = pytest.mark.processes

FAULTS = 4
SEEDS = range(int(os.environ.get("E2E_CHAOS_SEEDS", "2")))


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str  # kill-hub | kill-spoke | cut | restart-api
    cluster: str
    after_events: int  # of the hub's history since the one before: the clock of this scenario
    down_s: float


@dataclass(frozen=True, slots=True)
class Script:
    jobs: tuple[Manifest, ...]
    cancelled: frozenset[int]  # these jobs are cancelled halfway
    faults: tuple[Fault, ...]


def script(seed: int) -> Script:
    rng = Random(seed)
    jobs = tuple(_job(rng, f"chaos-{seed}-{i}") for i in range(8))
    faults = tuple(
        Fault(
            kind=rng.choice(("kill-hub", "kill-spoke", "kill-spoke", "cut", "restart-api")),
            cluster=rng.choice(("onprem-a", "cloud-b", "edge-c")),
            after_events=rng.randrange(0, 8),
            down_s=rng.uniform(0, 1.0),
        )
        for _ in range(FAULTS)
    )
    return Script(jobs, frozenset(rng.sample(range(len(jobs)), 2)), faults)


def _job(rng: Random, name: str) -> Manifest:
    run_for = f"{rng.randrange(1, 4)}s"
    match rng.randrange(3):
        case 0:
            return manifests.pytorchjob(name, workers=rng.randrange(1, 4), gpus=8, product=A100, run_for=run_for)
        case 1:
            return manifests.indexed_job(name, pods=rng.randrange(2, 6), gpus=8, product=H100, run_for=run_for)
        case _:
            return manifests.indexed_job(name, pods=3, gpus=2, product=T4, run_for=run_for)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_job_ends_once_whatever_breaks(federation: ProcessFederation, seed: int) -> None:
    plan = script(seed)
    answer = federation.admin.submit_many([manifests.text(job).decode() for job in plan.jobs])
    jobs = [one.job.id for one in answer.jobs]

    for number, fault in enumerate(plan.faults):
        _wait_for_events(federation, jobs, fault.after_events)
        _inflict(federation, fault)
        if number == len(plan.faults) // 2:
            for index in sorted(plan.cancelled):
                federation.admin.cancel(jobs[index])

    until("every job to end", lambda: _all_ended(federation, jobs), timeout_s=120)
    for index, job in enumerate(jobs):
        _ended_well(federation, job, plan.jobs[index], index in plan.cancelled)


def _wait_for_events(federation: ProcessFederation, jobs: list[str], count: int) -> None:
    """Or until nothing can happen any more."""
    before = _events(federation)
    until(
        f"{count} more events",
        lambda: _events(federation) >= before + count or _all_ended(federation, jobs),
        every_s=0.02,
    )


def _events(federation: ProcessFederation) -> int:
    return max((event.seq for event in federation.admin.events(follow=False)), default=0)


def _inflict(federation: ProcessFederation, fault: Fault) -> None:
    spoke = federation.spokes[fault.cluster]
    break_it: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "kill-hub": (federation.hub.kill, federation.hub.start),
        "kill-spoke": (spoke.kill, spoke.start),
        "cut": (spoke.cable.cut, spoke.cable.mend),
        "restart-api": (federation.clusters[fault.cluster].restart_api_server, lambda: None),
    }
    wound, heal = break_it[fault.kind]
    wound()
    # The only pause of the suite: how long an outage lasts is part of the script, not something to wait for.
    _outage(fault.down_s)
    heal()


def _outage(seconds: float) -> None:
    import threading

    threading.Event().wait(seconds)


def _all_ended(federation: ProcessFederation, jobs: list[str]) -> bool:
    return all(federation.admin.job(job).phase in TERMINAL for job in jobs)


def _ended_well(federation: ProcessFederation, job: str, manifest: Manifest, cancelled: bool) -> None:
    ended = federation.admin.job(job)
    allowed = {Phase.SUCCEEDED, Phase.CANCELLED} if cancelled else {Phase.SUCCEEDED}
    assert ended.phase in allowed, f"{job} is {ended.phase}: {ended.reason}"
    gangs = federation.gangs_ever(job)
    if ended.phase is Phase.SUCCEEDED:
        # The attempt that won ran whole; what an earlier one bound, if anything, was bound whole or torn down.
        assert gangs[str(ended.cluster), ended.epoch] == _pods(manifest), gangs
    assert len({epoch for _, epoch in gangs}) == len(gangs), f"one epoch in two clusters: {gangs}"


def _pods(manifest: Manifest) -> int:
    spec = manifest["spec"]
    if "pytorchReplicaSpecs" in spec:
        return sum(int(replicas["replicas"]) for replicas in spec["pytorchReplicaSpecs"].values())
    return int(spec["completions"])
