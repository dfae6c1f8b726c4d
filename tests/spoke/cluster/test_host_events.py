"""What the host cluster tells of its pods, as Kubernetes tells it."""

from __future__ import annotations

from spoke.cluster import host_events
from spoke.cluster.host import HostCluster
from spoke.cluster.port import Selection
from tests.spoke.cluster.test_host import NAMESPACE, clock, cluster, gone, key, nodes, phase, pod, run, state, until

__all__ = ["clock", "cluster", "nodes", "state"]  # fixtures


async def reasons(cluster: HostCluster, name: str = "p") -> list[str]:
    found = await cluster.list(Selection("v1", "Event", NAMESPACE, "", f"involvedObject.name={name}"))
    return [event["reason"] for event in sorted(found, key=lambda event: event["metadata"]["resourceVersion"].zfill(9))]


async def test_a_life(cluster: HostCluster) -> None:
    await run(cluster, pod(shell="exit 0"))
    await phase(cluster, "Succeeded")
    found = await reasons(cluster)
    assert found[0] == "Scheduled"
    assert found[-1] == "Completed"


async def test_one_that_crashes_and_is_deleted(cluster: HostCluster) -> None:
    await run(cluster, pod(shell="exit 3", restartPolicy="OnFailure"))

    async def backs_off() -> bool:
        return "BackOff" in await reasons(cluster)

    await until(backs_off)
    await cluster.delete(key())
    await gone(cluster)
    found = await cluster.list(Selection("v1", "Event", NAMESPACE))
    told = {event["reason"]: event for event in found}
    assert told["Failed"]["type"] == told["BackOff"]["type"] == "Warning"
    assert "exit code 3" in told["Failed"]["message"]
    assert told["Failed"]["count"] >= 1
    assert "Killing" in told
    assert told["Killing"]["involvedObject"]["kind"] == "Pod"


async def test_they_are_bounded(cluster: HostCluster) -> None:
    await cluster.create(pod())
    made = await cluster.get(key())
    for number in range(host_events.AT_MOST + 10):
        cluster._events.tell(made, "Said", f"number {number}")
    for _ in range(3):
        cluster._events.tell(made, "Said", "again")
    found = await cluster.list(Selection("v1", "Event", NAMESPACE))
    assert len(found) == host_events.AT_MOST
    (again,) = (event for event in found if event["message"] == "again")
    assert again["count"] == 3
