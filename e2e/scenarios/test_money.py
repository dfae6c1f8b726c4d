"""Money: clusters that are kept for jobs which have waited, and what jobs did cost, failed ones too."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from e2e import manifests
from e2e.federation import PRICES, Federation
from hub.api.schemas import CostLineOut, JobDetailOut, QueueSpec
from placement.lifecycle import Phase

WAIT_H = 0.0025  # nine seconds
BURSTS = "bursts-late"


@pytest.fixture
def public_cloud(federation: Federation) -> Iterator[None]:
    """cloud-b is public, and a queue waits for it."""
    federation.admin.set_prices(PRICES + b"public: [cloud-b]\n")
    federation.admin.create_queue(BURSTS, QueueSpec(burst_after_hours=WAIT_H))
    yield
    federation.clear()
    federation.admin.delete_queue(BURSTS)
    federation.admin.set_prices(PRICES)


@pytest.mark.usefixtures("public_cloud")
def test_a_job_goes_to_a_public_cluster_when_it_has_waited_long_enough_and_others_at_once(
    federation: Federation,
) -> None:
    only = {"clusters": "cloud-b"}
    at_once = federation.submit(manifests.indexed_job("at-once", pods=1, gpus=1, hints=only, run_for="1s"))
    late = federation.submit(
        manifests.indexed_job("late", pods=1, gpus=1, hints={**only, "queue": BURSTS}, run_for="1s")
    )

    reason = federation.reasons(late.id)["cloud-b"]["burst-not-yet"]
    assert reason.startswith(f"cloud-b is public; queue {BURSTS} bursts after {WAIT_H} h of waiting")
    federation.wait_phase(at_once.id, Phase.SUCCEEDED)
    # Nothing else happens that would make the hub look again.
    ended = federation.wait_phase(late.id, Phase.SUCCEEDED)
    assert ended.cluster == "cloud-b"
    assert ended.placed_at is not None
    waited = ended.placed_at - ended.submitted_at
    assert timedelta(hours=WAIT_H) <= waited < timedelta(hours=WAIT_H, seconds=20)


@pytest.mark.usefixtures("public_cloud")
def test_a_job_of_that_queue_takes_a_dearer_cluster_that_is_not_public(federation: Federation) -> None:
    job = federation.submit(manifests.indexed_job("dearer", pods=1, gpus=1, hints={"queue": BURSTS}, run_for="1s"))

    assert federation.wait_phase(job.id, Phase.SUCCEEDED).cluster == "onprem-a"


def test_what_jobs_did_cost_is_told_and_what_was_lost_of_it(federation: Federation) -> None:
    job = federation.submit(manifests.indexed_job("priced", pods=2, gpus=8, run_for="2s"))
    before = federation.wait_phase(job.id, Phase.RUNNING, Phase.SUCCEEDED)
    ended = federation.wait_phase(job.id, Phase.SUCCEEDED)

    line = cost_of(federation, job.id)
    assert before.usd_per_hour == 16 * 1.5  # cloud-b, the cheapest
    held = hours_held(ended)
    assert held <= line.gpu_hours / 16 < held + 5 / 3600
    assert line.usd == pytest.approx(line.gpu_hours * 1.5)
    assert (line.lost_usd, line.attempts, line.running) == (0, 1, 0)

    drained = federation.submit(manifests.indexed_job("drained", pods=1, gpus=8, run_for="60s"))
    place = federation.wait_phase(drained.id, Phase.RUNNING).cluster
    assert place is not None
    running = cost_of(federation, drained.id)
    assert (running.attempts, running.running) == (0, 1)
    try:
        federation.admin.drain(place)
        federation.wait_event(drained.id, "stopped")
        lost = cost_of(federation, drained.id)
        assert 0 < lost.lost_usd <= lost.usd
        assert lost.attempts == 1
    finally:
        federation.admin.cordon(place, on=False)
    queue, cluster, day = (federation.admin.cost(by) for by in ("queue", "cluster", "day"))
    assert {one.key for one in queue.lines} >= {"default"}
    assert {one.key for one in cluster.lines} >= {"cloud-b"}
    assert day.total.lost_usd >= lost.lost_usd


def cost_of(federation: Federation, job: str) -> CostLineOut:
    (line,) = (one for one in federation.admin.cost("job", limit=10_000).lines if one.key == job)
    return line


def hours_held(job: JobDetailOut) -> float:
    assert job.placed_at is not None
    assert job.finished_at is not None
    return (job.finished_at - job.placed_at) / timedelta(hours=1)
