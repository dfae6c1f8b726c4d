"""`kill -9` of hub or spoke at each step, cut connections, a restarted API server: the end is that of no fault.

Each scenario runs one gang of four that succeeds by itself, breaks something at a step that the API servers or the
hub's history show, and asks afterwards: succeeded at the first attempt, and exactly four pods were ever made for it.
What the shared fixture asks after every scenario comes on top: nothing given twice at any moment, nothing left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from e2e import manifests, truth
from e2e.processes import ProcessFederation
from e2e.shapes import A100, H100
from e2e.waiting import holds_for, until
from placement.lifecycle import Phase

pytestmark = pytest.mark.processes

CLUSTER = "onprem-a"
PODS = 4

Step = Callable[[ProcessFederation, str], None]


def hub_says(event: str) -> Step:
    return lambda federation, job: federation.wait_event(job, event)


def pods_exist(count: int) -> Step:
    return lambda federation, job: federation.recorders[CLUSTER].wait_for(f"{count} pods", count, job, bound=False)


def pods_bound(count: int) -> Step:
    return lambda federation, job: federation.recorders[CLUSTER].wait_for(f"{count} bound", count, job, bound=True)


def operator_says(condition: str) -> Step:
    def wait(federation: ProcessFederation, job: str) -> None:
        client = federation.clusters[CLUSTER].client

        def said() -> bool:
            jobs = client.list("kubeflow.org/v1", "PyTorchJob", labels=f"muster.dev/job={job}")
            conditions = [c for obj in jobs for c in obj.get("status", {}).get("conditions", ())]
            return any(c["type"] == condition and c["status"] == "True" for c in conditions)

        until(f"{condition} by the operator", said, every_s=0.02)

    return wait


def at_once(federation: ProcessFederation, job: str) -> None:
    pass


STEPS: Mapping[str, Step] = {
    "submitted": at_once,
    "placed": hub_says("place"),
    "accepted": hub_says("accept"),
    "first pod made": pods_exist(1),
    "gang made": pods_exist(PODS),
    "first pod bound": pods_bound(1),
    "gang bound": pods_bound(PODS),
    "running": operator_says("Running"),
    "succeeded": operator_says("Succeeded"),
}


@pytest.fixture(params=STEPS)
def step(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_the_hub_is_killed(federation: ProcessFederation, step: str) -> None:
    job = begin(federation, f"hub-{step}")
    STEPS[step](federation, job)
    federation.hub.kill()
    federation.hub.start()
    ends_as_if_nothing_had_been(federation, job)


def test_the_spoke_is_killed(federation: ProcessFederation, step: str) -> None:
    job = begin(federation, f"spoke-{step}")
    STEPS[step](federation, job)
    federation.spokes[CLUSTER].kill()
    federation.spokes[CLUSTER].start()
    ends_as_if_nothing_had_been(federation, job)


@pytest.mark.parametrize("cut_at", ["placed", "accepted", "gang made", "running"])
def test_the_connection_is_cut(federation: ProcessFederation, cut_at: str) -> None:
    """For so long that the job ends meanwhile, where it was accepted before."""
    job = begin(federation, f"cut-{cut_at}")
    STEPS[cut_at](federation, job)
    cable = federation.spokes[CLUSTER].cable
    cable.cut()
    until("the hub to see it gone", lambda: federation.admin.cluster(CLUSTER).health != "ready")
    if cut_at in ("gang made", "running"):
        operator_says("Succeeded")(federation, job)
        assert federation.admin.job(job).phase is not Phase.SUCCEEDED
    cable.mend()
    ends_as_if_nothing_had_been(federation, job)


def test_a_frozen_connection_is_noticed_by_both_ends(federation: ProcessFederation) -> None:
    """No FIN, no RST: only the missing heartbeats tell."""
    job = begin(federation, "frozen")
    STEPS["accepted"](federation, job)
    cable = federation.spokes[CLUSTER].cable
    cable.freeze()
    until("the hub to miss the heartbeats", lambda: federation.admin.cluster(CLUSTER).health != "ready")
    cable.mend()
    ends_as_if_nothing_had_been(federation, job)


def test_hub_and_spokes_are_all_killed_at_once(federation: ProcessFederation) -> None:
    job = begin(federation, "all")
    STEPS["first pod bound"](federation, job)
    federation.hub.kill()
    for spoke in federation.spokes.values():
        spoke.kill()
    for spoke in federation.spokes.values():
        spoke.start()
    federation.hub.start()
    ends_as_if_nothing_had_been(federation, job)


@pytest.mark.parametrize("step_name", ["placed", "first pod made", "running"])
def test_the_api_server_is_restarted(federation: ProcessFederation, step_name: str) -> None:
    job = begin(federation, f"api-{step_name}")
    STEPS[step_name](federation, job)
    federation.clusters[CLUSTER].restart_api_server()
    ends_as_if_nothing_had_been(federation, job)


def test_a_job_cancelled_while_its_spoke_is_down_is_stopped_when_it_returns(federation: ProcessFederation) -> None:
    job = begin(federation, "cancel-while-down", run_for="")
    federation.wait_phase(job, Phase.RUNNING)
    federation.spokes[CLUSTER].kill()
    federation.admin.cancel(job)
    cluster = federation.clusters[CLUSTER]
    # Its pods still run: nobody may say that they do not.
    holds_for("it is not cancelled yet", lambda: federation.admin.job(job).phase is Phase.CANCELLING, 1)
    assert len(truth.live_pods_of(cluster, job)) == PODS

    federation.spokes[CLUSTER].start()
    federation.wait_phase(job, Phase.CANCELLED)
    assert truth.pods_of(cluster, job) == []


def test_the_hub_is_killed_while_it_cancels(federation: ProcessFederation) -> None:
    job = begin(federation, "cancel-hub-killed", run_for="")
    federation.wait_phase(job, Phase.RUNNING)
    federation.admin.cancel(job)
    federation.hub.kill()
    federation.hub.start()
    federation.wait_phase(job, Phase.CANCELLED)
    assert truth.pods_of(federation.clusters[CLUSTER], job) == []


def test_a_submit_repeated_with_its_key_after_a_crash_makes_no_second_job(federation: ProcessFederation) -> None:
    manifest = manifests.indexed_job("once", pods=2, gpus=8, product=H100, run_for="1s")
    first = federation.submit(manifest, key="the-key")
    federation.hub.kill()
    federation.hub.start()
    again = federation.submit(manifest, key="the-key")
    assert again.id == first.id
    federation.wait_phase(first.id, Phase.SUCCEEDED)
    assert federation.gangs_ever(first.id) == {("cloud-b", 1): 2}


def test_what_nobody_ordered_is_removed(federation: ProcessFederation) -> None:
    """An orphan: of this spoke's making, and unknown to a hub that was restored from a backup, say."""
    cluster = federation.clusters["edge-c"]
    model = federation.submit(manifests.indexed_job("model", pods=1, gpus=1, hints={"clusters": "edge-c"}))
    federation.wait_phase(model.id, Phase.RUNNING)
    made = cluster.client.get("batch/v1", "Job", "model")
    assert made is not None
    federation.spokes["edge-c"].kill()
    cluster.client.create(orphan("orphan", made["metadata"]["annotations"]))
    # One with the same labels that another spoke made, for a hub of its own, is none of this one's business.
    cluster.client.create(orphan("of-another-spoke", {"muster.dev/owner": "another"}))
    federation.spokes["edge-c"].start()
    until("the orphan to go", lambda: cluster.client.get("batch/v1", "Job", "orphan") is None)
    assert cluster.client.get("batch/v1", "Job", "of-another-spoke") is not None
    assert federation.recorders["edge-c"].gangs_of("j-0000000000") == {}
    assert federation.admin.job(model.id).phase is Phase.RUNNING
    cluster.client.delete("batch/v1", "Job", "of-another-spoke")


def orphan(name: str, annotations: Mapping[str, str]) -> manifests.Manifest:
    job = manifests.job(name, gpus=1)
    labels = {"muster.dev/job": "j-0000000000", "muster.dev/epoch": "1"}
    job["metadata"] |= {"labels": labels, "annotations": dict(annotations)}
    job["spec"]["template"]["metadata"] = {"labels": labels | {"muster.dev/role": "main"}}
    job["spec"]["template"]["spec"]["schedulerName"] = "muster"
    return job


def begin(federation: ProcessFederation, name: str, run_for: str = "3s") -> str:
    manifest = manifests.pytorchjob(name.replace(" ", "-"), workers=PODS - 1, gpus=8, product=A100, run_for=run_for)
    return federation.submit(manifest).id


def ends_as_if_nothing_had_been(federation: ProcessFederation, job: str) -> None:
    ended = federation.wait_phase(job, Phase.SUCCEEDED, timeout_s=60)
    assert (ended.cluster, ended.epoch) == (CLUSTER, 1)
    assert federation.gangs_ever(job) == {(CLUSTER, 1): PODS}
    assert sum(recorder.pods_of(job) for recorder in federation.recorders.values()) == PODS
