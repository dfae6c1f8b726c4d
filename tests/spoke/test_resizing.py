"""A job that runs gets another size: its object is written, its pods are held room for, and the hub is told."""

from __future__ import annotations

from pathlib import Path

from placement.lifecycle import Event
from spoke.cluster.port import Refused, Unavailable
from spoke.jobs import key_of
from tests.spoke.stage import Stage, eventually, job_yaml, node, stage
from wire.orders import Command, CommandAck, JobRef, Scale

J1 = JobRef("j-1", 1)


async def scale(on: Stage, revision: int, pods: int, ref: JobRef = J1) -> CommandAck:
    [ack] = await on.agent.commanded([Command(100 + revision, ref, Scale(revision, {"worker": pods}, "because"))])
    return ack


async def running(on: Stage, *, pods: int = 2, most: int = 4) -> None:
    text = job_yaml("train", pods=pods, gpus=4, indexed=False).replace(f"completions: {pods}", f"completions: {most}")
    ack = await on.run("j-1", text)
    assert not ack.refused_code, ack.refused_message
    await come(on, range(pods))


async def come(on: Stage, indices: range) -> None:
    """The controller makes them, and they run."""
    await on.make_pods("train", indices)
    await eventually("they are bound", lambda: len(on.bound("j-1")) == len(on.pods("j-1")))
    for pod in on.pods("j-1"):
        if pod["metadata"]["name"] in {f"train-{index}" for index in indices}:
            on.set_phase(pod, "Running")
    await on.set_status("train", active=len(on.pods("j-1")), ready=len(on.pods("j-1")), startTime="now")
    await on.told("j-1", Event.RUNNING)


async def parallelism(on: Stage) -> int:
    found: int = (await on.workload("train"))["spec"]["parallelism"]
    return found


def resized(on: Stage) -> frozenset[tuple[str, int, int]]:
    present = on.agent._summaries._present
    return present.resized if present is not None else frozenset()


async def test_it_grows_and_says_so_once_its_object_has_the_size(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await running(on)
        assert on.last("j-1").size == 0
        assert not (await scale(on, 1, 4)).refused_code
        await eventually("the hub is told", lambda: on.last("j-1").size == 1)
        assert await parallelism(on) == 4
        assert resized(on) == frozenset()
        await come(on, range(2, 4))
        assert len(set(on.bound("j-1").values())) == 4
        await eventually("all of it is counted", lambda: resized(on) == {("j-1", 1, 1)})
        assert not (await scale(on, 1, 4)).refused_code, "the same again"


async def test_the_room_of_pods_to_come_is_not_promised_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await running(on)
        await scale(on, 1, 4)
        ack = await on.run("j-2", job_yaml("other", pods=1, gpus=4))
        assert ack.refused_code == "no-room"


async def test_what_has_no_room_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await running(on)
        ack = await scale(on, 1, 4)
        assert ack.refused_code == "invalid"
        assert "0 of 2 pods" in ack.refused_message
        assert await parallelism(on) == 2
        assert not (await scale(on, 1, 2)).refused_code


async def test_a_role_that_it_does_not_have_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await running(on)
        [ack] = await on.agent.commanded([Command(9, J1, Scale(1, {"Master": 1}, ""))])
        assert ack.refused_message == "it has no role called Master"


async def test_it_has_shrunk_when_the_pods_are_gone(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await running(on, pods=4)
        assert not (await scale(on, 1, 1)).refused_code
        await eventually("it is written", lambda: on.cluster.calls.get("update"))
        assert await parallelism(on) == 1
        for pod in on.pods("j-1")[1:-1]:
            on.cluster.remove(key_of(pod))
        await eventually("two are left", lambda: sum(count.ready for count in on.last("j-1").roles) == 2)
        assert on.last("j-1").size == 0, "one too many still holds its GPUs"
        on.cluster.remove(key_of(on.pods("j-1")[-1]))
        await eventually("the hub is told", lambda: on.last("j-1").size == 1)
        assert on.last("j-1").event is Event.RUNNING
        assert on.last("j-1").roles[0].total == 1
        await eventually("it is counted", lambda: resized(on) == {("j-1", 1, 1)})


async def test_an_order_that_was_accepted_outlives_the_agent(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await running(on)
        on.cluster.faults.append(lambda verb, key: Unavailable("away") if verb == "update" else None)
        await scale(on, 1, 4)
        await eventually("it was tried", lambda: on.cluster.calls.get("update"))
        on.cluster.faults.clear()
        await on.restart()
        await eventually("the hub is told", lambda: on.last("j-1").size == 1)
        assert await parallelism(on) == 4
        await on.set_status("train", active=2, ready=2, startTime="now")
        grown = await on.workload("train")
        on.cluster.put({**grown, "spec": {**grown["spec"], "parallelism": 3}})  # somebody else's change
        await on.restart()
        await come(on, range(2, 3))
        assert await parallelism(on) == 3, "what was done is not done again"


async def test_of_a_job_that_is_stopped_or_not_here_it_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        assert (await scale(on, 1, 4, JobRef("j-9", 1))).refused_code == "older-epoch"
        await running(on)
        await on.cancel("j-1")
        assert (await scale(on, 1, 4)).refused_code == "older-epoch"


async def test_what_the_cluster_does_not_take_is_told_and_is_as_it_was(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await running(on)
        on.cluster.faults.append(lambda verb, key: Refused("jobs is forbidden") if verb == "update" else None)
        assert not (await scale(on, 1, 4)).refused_code
        await eventually("the hub is told", lambda: on.last("j-1").size_refused)
        told = on.last("j-1")
        assert (told.size, told.size_refused, told.event) == (1, "jobs is forbidden", Event.RUNNING)
        assert told.roles[0].total == 2
        on.cluster.faults.clear()
        await eventually("no room is held for it", lambda: not on.agent._inventory.slots(J1))
        await on.restart()
        ack = await on.run("j-2", job_yaml("other", pods=2, gpus=4))
        assert not ack.refused_code, "the room of the pods that never came is free"
        assert await parallelism(on) == 2
