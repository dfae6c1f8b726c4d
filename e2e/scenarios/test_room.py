"""Where there is no room: refusals with numbers, nothing bound in part, and nothing waits once there is room."""

from __future__ import annotations

import re

import pytest

from e2e import manifests, truth
from e2e.federation import Federation
from e2e.processes import ProcessFederation
from e2e.shapes import A100, H100, T4
from e2e.waiting import holds_for, until
from placement.lifecycle import Phase

RACK_GANG = {"topology-required": "rack"}


def test_enough_in_sum_but_not_in_a_rack_is_refused_with_the_numbers_and_placed_elsewhere(
    federation: Federation,
) -> None:
    onprem, cloud = federation.clusters["onprem-a"].shape, federation.clusters["cloud-b"].shape
    size = onprem.rack_of(A100)
    manifest = manifests.indexed_job("rack-gang", pods=size, gpus=8, hints=RACK_GANG, run_for="2s")
    # cloud-b is cheaper and has more nodes of eight GPUs than that, in smaller racks.
    (planned,) = federation.admin.plan(manifests.text(manifest))
    refusal = {one.cluster: one for one in planned.candidates}["cloud-b"]
    assert not refusal.feasible
    (reason,) = refusal.reasons
    assert reason.code == "topology-short"
    assert f"largest rack of cloud-b fits {cloud.rack_of(H100)} of {size} pods" in reason.message
    numbers = re.search(rf"\((\d+) GPUs free in all, {8 * size} needed\)", reason.message)
    assert numbers is not None, reason.message
    assert int(numbers[1]) >= 8 * cloud.nodes_of(H100) >= 8 * size
    assert planned.chosen == "onprem-a"

    job = federation.submit(manifest)
    assert federation.wait_phase(job.id, Phase.RUNNING, Phase.SUCCEEDED).cluster == "onprem-a"
    pods = truth.pods_of(federation.clusters["onprem-a"], job.id)
    assert len(truth.racks_of(federation.clusters["onprem-a"], pods)) == 1
    federation.wait_phase(job.id, Phase.SUCCEEDED)

    # Without the requirement the same gang goes to the cheaper cluster, so it was the rack that kept it away.
    anywhere = federation.submit(manifests.indexed_job("no-rack-gang", pods=size, gpus=8, run_for="1s"))
    assert federation.wait_phase(anywhere.id, Phase.SUCCEEDED).cluster == "cloud-b"


def test_a_gang_that_fits_nowhere_waits_whole_and_has_no_pod_anywhere(federation: Federation) -> None:
    job = federation.submit(manifests.indexed_job("colossus", pods=12, gpus=8))

    reasons = federation.reasons(job.id)
    assert set(reasons) == {"onprem-a", "cloud-b", "edge-c"}
    for name, product in (("onprem-a", A100), ("cloud-b", H100)):
        fits = federation.clusters[name].shape.nodes_of(product)
        assert f"{fits} of 12 pods" in reasons[name]["resources-short"]
    holds_for("nothing of it in any cluster", lambda: not anything_of(federation, job.id), 1.5)
    assert federation.admin.job(job.id).phase is Phase.QUEUED


def test_a_gang_that_fits_nowhere_is_rejected_where_the_user_asks_for_that(federation: Federation) -> None:
    hints = {"if-too-large": "reject"}
    job = federation.submit(manifests.indexed_job("colossus-now", pods=12, gpus=8, hints=hints))

    assert "12" in federation.wait_phase(job.id, Phase.FAILED).reason
    assert not anything_of(federation, job.id)


def test_of_two_gangs_that_race_for_the_last_gpus_one_runs_whole_and_the_other_waits_whole(
    federation: Federation,
) -> None:
    nodes = federation.clusters["onprem-a"].shape.nodes_of(A100)
    size = nodes // 2 + 1
    racers = [
        manifests.indexed_job(name, pods=size, gpus=8, product=A100, run_for="3s") for name in ("racer-1", "racer-2")
    ]
    answer = federation.admin.submit_many([manifests.text(racer).decode() for racer in racers])
    jobs = [one.job.id for one in answer.jobs]
    assert len(jobs) == 2

    def one_runs() -> str | None:
        return next((job for job in jobs if federation.admin.job(job).phase is Phase.RUNNING), None)

    winner = until("one of them to run", one_runs)
    (loser,) = set(jobs) - {winner}
    assert federation.bound_anywhere(winner) == {"onprem-a": size}
    assert federation.bound_anywhere(loser) == {}
    assert f"{nodes - size} of {size} pods" in federation.reasons(loser)["onprem-a"]["resources-short"]

    federation.wait_phase(winner, Phase.SUCCEEDED)
    federation.wait_phase(loser, Phase.SUCCEEDED)
    assert {job: federation.gangs_ever(job) for job in jobs} == {job: {("onprem-a", 1): size} for job in jobs}


def test_many_gangs_in_a_small_cluster_all_get_their_turn(federation: Federation) -> None:
    """Each gang takes every T4, so they go one after another."""
    nodes = federation.clusters["edge-c"].shape.nodes_of(T4)
    gangs = [
        manifests.indexed_job(f"turn-{i}", pods=nodes, gpus=2, product=T4, run_for="1s", hints={"clusters": "edge-c"})
        for i in range(4)
    ]
    answer = federation.admin.submit_many([manifests.text(gang).decode() for gang in gangs])
    for one in answer.jobs:
        federation.wait_phase(one.job.id, Phase.SUCCEEDED, timeout_s=60)
        assert federation.gangs_ever(one.job.id) == {("edge-c", 1): nodes}


@pytest.mark.standard_shapes
def test_pods_of_other_schedulers_are_counted(federation: Federation) -> None:
    onprem = federation.clusters["onprem-a"]
    before = truth.free_gpus(onprem)
    # One by kube-scheduler, the real one, and one whole node of each rack by somebody who names nodes.
    onprem.client.create(manifests.job("theirs", gpus=8, product=A100))
    until("kube-scheduler to bind its pod", lambda: truth.free_gpus(onprem) == before - 8)
    for node in ("a100-1-1", "a100-2-1"):
        free = next(n for n in (node, node[:-1] + "2") if not onprem_pods_on(federation, n))
        onprem.client.create(manifests.foreign_pod(f"pinned-{free}", free, 8))
    federation.wait_agreed()

    job = federation.submit(manifests.indexed_job("beside-others", pods=4, gpus=8, product=A100, hints=RACK_GANG))
    message = federation.reasons(job.id)["onprem-a"]["topology-short"]
    assert re.search(r"fits [23] of 4 pods \(40 GPUs free in all, 32 needed\)", message), message
    assert federation.bound_anywhere(job.id) == {}

    # They go: the gang starts without anybody asking again.
    onprem.client.delete("batch/v1", "Job", "theirs")
    for pod in onprem.client.list("v1", "Pod"):
        if pod["metadata"]["name"].startswith("pinned-"):
            onprem.client.delete("v1", "Pod", pod["metadata"]["name"], grace_s=0)
    assert federation.wait_phase(job.id, Phase.RUNNING).cluster == "onprem-a"


@pytest.mark.processes
def test_the_spoke_refuses_what_its_cluster_cannot_hold_any_more(federation: ProcessFederation) -> None:
    """A node is taken between the hub's decision and the binding: nothing is bound in part, and the gang moves on.

    Whether the spoke hears of the pod before the order or after it, it refuses: at once, or after ten seconds.
    """
    cloud = federation.clusters["cloud-b"]
    spoke = federation.spokes["cloud-b"].process
    spoke.pause()  # its last summary says that all nine nodes are free
    try:
        job = federation.submit(manifests.indexed_job("late", pods=9, gpus=8, product=H100, run_for="1s"))
        federation.wait_event(job.id, "place")
        cloud.client.create(manifests.foreign_pod("quicker", "h100-3-3", 8))
    finally:
        spoke.resume()

    federation.wait_event(job.id, "refuse")
    assert federation.gangs_ever(job.id) == {}
    until("nothing of the first attempt to be left", lambda: not anything_of(federation, job.id))
    assert "8 of 9 pods" in " ".join(federation.reasons(job.id)["cloud-b"].values())

    cloud.client.delete("v1", "Pod", "quicker", grace_s=0)
    federation.wait_phase(job.id, Phase.SUCCEEDED)
    assert list(federation.gangs_ever(job.id).values()) == [9]


def anything_of(federation: Federation, job: str) -> list[str]:
    found = []
    for name, cluster in federation.clusters.items():
        for api_version, kind in (("batch/v1", "Job"), ("v1", "Pod")):
            found += [
                f"{name}: {o['metadata']['name']}"
                for o in cluster.client.list(api_version, kind, labels=f"muster.dev/job={job}")
            ]
    return found


def onprem_pods_on(federation: Federation, node: str) -> bool:
    return any(p["spec"].get("nodeName") == node for p in federation.clusters["onprem-a"].client.list("v1", "Pod"))
