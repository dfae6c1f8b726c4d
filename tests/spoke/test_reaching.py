"""From a role, a rank or a service to a pod of the job, and what is refused on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from placement.safety.policy import Policy
from spoke.cluster.port import ObjectKey
from spoke.policy import ClusterPolicy, Guard
from spoke.reaching import Reached, TunnelRefused
from tests.spoke.stage import CATALOGUE, Stage, eventually, job_yaml, node, stage
from wire.orders import JobRef
from wire.tunnels import Port, Process, TunnelQuery

REF = JobRef("j-1", 1)
LS = Process(("ls",))


@pytest.fixture
async def on(tmp_path: Path) -> AsyncIterator[Stage]:
    """A gang of three, of which rank 2 does not run yet."""
    async with stage(tmp_path, node("n1")) as on:
        await on.run("j-1", job_yaml("train", pods=3))
        await on.make_pods("train", [0, 1, 2])
        await eventually("all are bound", lambda: len(on.bound("j-1")) == 3)
        for name in ("train-0", "train-1"):
            change(on, name, status={"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
        await eventually("it is seen", lambda: sum(pod.ready for pod in on.agent._jobs.of(REF).pods.values()) == 2)  # type: ignore[union-attr]
        yield on


def change(on: Stage, name: str, **what: Any) -> None:
    pod = on.cluster._objects[ObjectKey("v1", "Pod", "team", name)]
    metadata = {**pod["metadata"], **what.pop("metadata", {})}
    on.cluster.put({**pod, **what, "metadata": metadata})


async def reach(on: Stage, to: Process | Port = LS, **more: Any) -> Reached:
    return await on.agent.reach(TunnelQuery(REF, to, **more))


async def test_the_lowest_rank_that_runs(on: Stage) -> None:
    assert (await reach(on)).pod == "train-0"
    assert (await reach(on, rank=1)).pod == "train-1"
    assert (await reach(on, Port(80), role="worker", rank=1)).pod == "train-1"
    change(on, "train-0", status={"phase": "Failed"})
    await eventually("it is seen", lambda: any(pod.over for pod in on.agent._jobs.of(REF).pods.values()))  # type: ignore[union-attr]
    assert (await reach(on)).pod == "train-1"


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ({"rank": 2}, "not-running", "no pod of rank 2 runs: train-2 is Pending"),
        ({"rank": 3}, "no-pod", "the job has no pod of rank 3; its roles are worker"),
        ({"role": "boss"}, "no-pod", "the job has no pod of role boss; its roles are worker"),
        ({"to": Port(80, "web")}, "no-service", "there is no service web in team"),
    ],
)
async def test_what_is_not_there(on: Stage, asked: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(TunnelRefused, match=words) as refused:
        await reach(on, **asked)
    assert refused.value.code == code


async def test_of_a_job_that_is_not_here(on: Stage) -> None:
    with pytest.raises(TunnelRefused, match="j-2 is not in this cluster"):
        await on.agent.reach(TunnelQuery(JobRef("j-2", 1), LS))


async def test_a_ready_pod_of_the_job_behind_a_service(on: Stage) -> None:
    def service(selector: dict[str, str], target: Any) -> None:
        spec = {"selector": selector, "ports": [{"port": 80, "targetPort": target}]}
        metadata = {"name": "web", "namespace": "team"}
        on.cluster.put({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})

    foreign = {"name": "foreign", "namespace": "team", "labels": {"app": "web"}}
    on.cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": foreign, "spec": {}})
    service({"app": "web"}, 8080)
    with pytest.raises(TunnelRefused, match="no pod of this job behind service web is ready"):
        await reach(on, Port(80, "web"))
    labels = on.cluster._objects[ObjectKey("v1", "Pod", "team", "train-1")]["metadata"]["labels"]
    change(on, "train-1", metadata={"labels": {**labels, "app": "web"}})
    assert (await reach(on, Port(80, "web"))).pod == "train-1"
    with pytest.raises(TunnelRefused, match="service web has no port 81; it has 80"):
        await reach(on, Port(81, "web"))
    service({"app": "web"}, "http")
    with pytest.raises(TunnelRefused, match="'http', which no container"):
        await reach(on, Port(80, "web"))
    service({}, 80)
    with pytest.raises(TunnelRefused, match="selects no pods"):
        await reach(on, Port(80, "web"))


async def test_what_the_owner_of_the_cluster_does_not_give(on: Stage) -> None:
    on.agent._guard = Guard(ClusterPolicy(Policy(namespaces=("team",)), access=("port-forward",)), CATALOGUE)
    with pytest.raises(TunnelRefused, match="does not give exec") as refused:
        await reach(on)
    assert refused.value.code == "forbidden-here"
    assert (await reach(on, Port(80))).pod == "train-0"


async def test_it_ends_with_its_pod(on: Stage) -> None:
    reached = await reach(on)
    assert reached.is_there()
    change(on, "train-0", status={"phase": "Succeeded"})
    await eventually("it is seen", lambda: not reached.is_there())
