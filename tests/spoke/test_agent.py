"""The agent on a cluster in memory: a job's whole way, gangs whole or not at all, restarts at bad moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from placement.lifecycle import Event
from spoke import status
from spoke.cluster.fake import DEFAULT_KINDS
from spoke.cluster.port import ClusterError, Conflict, NotFound, ObjectKey, Refused, Unavailable
from spoke.pods import OWNER_ANNOTATION
from tests.spoke.stage import OWNER, Stage, eventually, foreign_pod, job_yaml, node, stage, start
from wire.orders import JobRef, LogQuery


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "HOLD_BACK_S", 0.01)
    monkeypatch.setattr(status, "COUNTS_HOLD_BACK_S", 0.02)


async def start_gang(on: Stage, job: str, name: str, pods: int, gpus: int = 8) -> None:
    ack = await on.run(job, job_yaml(name, pods=pods, gpus=gpus))
    assert not ack.refused_code, ack.refused_message
    await on.make_pods(name, range(pods))


async def test_a_job_runs_from_command_to_success(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await start_gang(on, "j-1", "train", pods=2)
        await eventually("both pods are bound", lambda: len(on.bound("j-1")) == 2)
        assert set(on.bound("j-1").values()) == {("n1", "0,1,2,3,4,5,6,7"), ("n2", "0,1,2,3,4,5,6,7")}
        for pod in on.pods("j-1"):
            on.set_phase(pod, "Running")
        await on.set_status("train", active=2, ready=2, startTime="now")
        running = await on.told("j-1", Event.RUNNING)
        assert {place.node for place in running.pods} == {"n1", "n2"}
        summary = await on.agent.wait_for_summary(-1)
        await eventually("the hub sees it", lambda: on.agent._summaries._present.counted == {("j-1", 1)})  # type: ignore[union-attr]
        assert summary.gpus_total == 16
        await on.finish("train", "j-1")
        done = await on.told("j-1", Event.SUCCEED)
        assert [count.succeeded for count in done.roles] == [2]
        assert on.events("j-1")[-2:] == [Event.RUNNING, Event.SUCCEED]


async def test_a_gang_waits_until_it_is_whole(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await on.run("j-1", job_yaml("train", pods=2, gpus=8))
        await on.make_pods("train", [0])
        await on.told("j-1", Event.STARTING)
        assert on.bound("j-1") == {}
        await on.make_pods("train", [1])
        await eventually("both pods are bound", lambda: len(on.bound("j-1")) == 2)


async def test_what_does_not_fit_is_refused_with_numbers_and_nothing_is_made(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        on.cluster.put(foreign_pod("theirs", "n2", 6))
        await eventually("it is counted", lambda: on.agent._inventory.node("n2").free["nvidia.com/gpu"] == 2)  # type: ignore[union-attr]
        ack = await on.run("j-1", job_yaml("train", pods=2, gpus=8))
        assert ack.refused_code == "no-room"
        assert "1 of 2 pods" in ack.refused_message
        assert on.cluster.objects("batch/v1", "Job") == []
        assert await on.ledger.entries() == ()


async def test_a_kind_that_is_not_served_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), kinds=DEFAULT_KINDS - {"batch/v1/Job"}) as on:
        ack = await on.run("j-1", job_yaml("train"))
        assert (ack.refused_code, ack.refused_message) == ("invalid", "the cluster does not serve batch/v1/Job")


async def test_room_that_was_promised_is_not_promised_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        first, second = await on.agent.commanded(
            [start(1, "j-1", job_yaml("one", gpus=8)), start(2, "j-2", job_yaml("two", gpus=8))]
        )
        assert (first.refused_code, second.refused_code) == ("", "no-room")
        again, _ = await on.agent.commanded(
            [start(1, "j-1", job_yaml("one", gpus=8)), start(2, "j-2", job_yaml("two", gpus=8))]
        )
        assert again.refused_code == ""  # the same command again


async def test_a_promise_broken_by_another_scheduler_waits_with_its_reason(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        await on.run("j-1", job_yaml("train", pods=2, gpus=8))
        on.cluster.put(foreign_pod("theirs", "n1", 1))
        await on.make_pods("train", [0, 1])
        await eventually("it says why", lambda: on.reports and "room for 1 of 2 pods" in on.last("j-1").reason)
        assert on.bound("j-1") == {}
        on.cluster.remove(ObjectKey("v1", "Pod", "others", "theirs"))
        await eventually("both pods are bound", lambda: len(on.bound("j-1")) == 2)


async def test_two_gangs_that_race_for_the_last_gpus(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        on.cluster.put(foreign_pod("soon-gone", "n1", 8))
        for job in ("j-1", "j-2"):  # both accepted while there was room for each: as after a change of plans
            on.agent._inventory.release(JobRef("j-1", 1))
            on.cluster.remove(ObjectKey("v1", "Pod", "others", "soon-gone"))
            await eventually("it is gone", lambda: on.agent._inventory.node("n1").free["nvidia.com/gpu"] == 8)  # type: ignore[union-attr]
            ack = await on.run(job, job_yaml(f"train-{job}", pods=2, gpus=8))
            assert ack.refused_code == ""
            on.cluster.put(foreign_pod("soon-gone", "n1", 8))
        for job in ("j-1", "j-2"):
            await on.make_pods(f"train-{job}", [0, 1])
        on.cluster.remove(ObjectKey("v1", "Pod", "others", "soon-gone"))
        await eventually("one runs", lambda: len(on.bound("j-1")) + len(on.bound("j-2")) == 2)
        await eventually("the other says why", lambda: any("room" in report.reason for report in on.reports))
        assert sorted((len(on.bound("j-1")), len(on.bound("j-2")))) == [0, 2]


@pytest.mark.parametrize("failing", range(4))
@pytest.mark.parametrize("error", [NotFound("gone"), Conflict("taken"), Refused("no")])
async def test_a_bind_that_fails_for_good_unbinds_the_gang(tmp_path: Path, failing: int, error: ClusterError) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        binds = 0

        def fail(verb: str, key: ObjectKey | None) -> ClusterError | None:
            nonlocal binds
            binds += verb == "bind"
            return error if verb == "bind" and binds == failing + 1 else None

        on.cluster.faults.append(fail)
        await start_gang(on, "j-1", "train", pods=4, gpus=4)
        await eventually("it says why", lambda: any(str(error) in report.reason for report in on.reports))
        await eventually("nothing is bound", lambda: on.bound("j-1") == {})
        assert len(on.pods("j-1")) == 1  # the one that was not bound; the others were deleted
        left = {int(pod["metadata"]["name"].split("-")[1]) for pod in on.pods("j-1")}
        await on.make_pods("train", [i for i in range(4) if i not in left], suffix="-again")
        await eventually("all four are bound", lambda: len(on.bound("j-1")) == 4)
        gpus = [(at, gpu) for at, indices in on.bound("j-1").values() for gpu in indices.split(",")]
        assert len(set(gpus)) == 16


async def test_a_bind_that_fails_for_now_is_tried_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        errors: list[ClusterError] = [Unavailable("busy"), Unavailable("busy")]
        on.cluster.faults.append(lambda verb, key: errors.pop() if verb == "bind" and errors else None)
        await start_gang(on, "j-1", "train", pods=1)
        await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)
        assert on.cluster.calls["bind"] == 3


@pytest.mark.parametrize("bound", range(4))
async def test_a_restart_between_binds_completes_the_gang_where_it_was_to_be(tmp_path: Path, bound: int) -> None:
    async with stage(tmp_path, node("n1"), node("n2"), node("n3")) as on:
        hung: list[str] = []

        def hang_up(verb: str, key: ObjectKey | None) -> ClusterError | None:
            if verb == "bind" and key is not None:
                hung.append(key.name)
                return Unavailable("cut off") if len(hung) > bound else None
            return None

        on.cluster.faults.append(hang_up)
        await start_gang(on, "j-1", "train", pods=3)
        await eventually("some are bound", lambda: len(on.bound("j-1")) == min(bound, 3) and len(hung) >= 3)
        [entry] = await on.ledger.entries()
        intended = {place.pod: place.node for place in entry.assignment}
        on.cluster.faults.clear()
        await on.restart()
        await eventually("all are bound", lambda: len(on.bound("j-1")) == 3)
        assert len({at for at, _ in on.bound("j-1").values()}) == 3
        if bound:
            assert {pod: at for pod, (at, _) in on.bound("j-1").items()} == intended
        assert on.cluster.calls["create"] == 1  # the Job itself was not made again


async def test_a_half_bound_gang_whose_rest_has_no_room_is_given_up_and_begun_anew(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2")) as on:
        seen = 0

        def only_first(verb: str, key: ObjectKey | None) -> ClusterError | None:
            nonlocal seen
            seen += verb == "bind"
            return Unavailable("cut off") if verb == "bind" and seen > 1 else None

        on.cluster.faults.append(only_first)
        await start_gang(on, "j-1", "train", pods=2)
        await eventually("one is bound", lambda: len(on.bound("j-1")) == 1 and seen >= 2)
        await on.drop_curtain()
        [(taken, _)] = on.bound("j-1").values()
        other = {"n1": "n2", "n2": "n1"}[taken]
        on.cluster.remove(ObjectKey("v1", "Node", "", other))
        on.cluster.faults.clear()
        await on.raise_curtain()
        await eventually("it lets go of what it has", lambda: on.bound("j-1") == {})


async def test_a_lost_pod_of_a_whole_gang_is_replaced_alone(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), node("n2"), node("n3")) as on:
        await start_gang(on, "j-1", "train", pods=2)
        await eventually("both are bound", lambda: len(on.bound("j-1")) == 2)
        await eventually("it is known to be whole", lambda: on.agent._jobs.get("j-1").whole)  # type: ignore[union-attr]
        on.cluster.remove(ObjectKey("v1", "Pod", "team", "train-0"))
        await on.make_pods("train", [0], suffix="-again")
        await eventually("the new one is bound too", lambda: len(on.bound("j-1")) == 2)
        assert "train-1" in on.bound("j-1")


async def test_stopping_leaves_nothing_behind(tmp_path: Path) -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: team}\ndata: {a: '1'}\n---\n"
    mount = job_yaml("train", pods=2).replace(
        "      containers:", "      volumes: [{name: s, configMap: {name: settings}}]\n      containers:"
    )
    async with stage(tmp_path, node("n1")) as on:
        await on.run("j-1", config + mount)
        await on.make_pods("train", [0, 1])
        await eventually("both are bound", lambda: len(on.bound("j-1")) == 2)
        assert len(on.cluster.objects("v1", "ConfigMap")) == 1
        await on.cancel("j-1")
        await on.told("j-1", Event.STOPPED)
        for kind, version in (("Pod", "v1"), ("ConfigMap", "v1"), ("Job", "batch/v1")):
            assert on.cluster.objects(version, kind) == []
        await eventually("it is forgotten once told", lambda: on.agent._jobs.get("j-1") is None)
        assert on.agent._inventory.node("n1").free["nvidia.com/gpu"] == 8  # type: ignore[union-attr]
        await on.run("j-1", job_yaml("train"))  # the old command once more: it raises no dead
        assert on.agent._jobs.get("j-1") is None
        assert not on.agent._inventory.slots(JobRef("j-1", 1))


async def test_a_job_stopped_before_it_began_is_stopped(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await on.cancel("j-1")
        await on.told("j-1", Event.STOPPED)
        assert (await on.run("j-1", job_yaml("train"))).refused_code == "older-epoch"
        assert on.cluster.objects("batch/v1", "Job") == []


async def test_what_the_cluster_refuses_fails_with_its_words(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        on.cluster.faults.append(lambda verb, key: Refused("spec.x: Invalid value") if verb == "create" else None)
        await on.run("j-1", job_yaml("train"))
        failed = await on.told("j-1", Event.FAIL)
        assert failed.reason == "the cluster refused it: spec.x: Invalid value"
        await eventually("its promise is free", lambda: not on.agent._inventory.slots(JobRef("j-1", 1)))


async def test_somebody_elses_object_of_that_name_is_left_alone(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        theirs: dict[str, Any] = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "train", "namespace": "team"},
        }
        on.cluster.put(theirs)
        await on.run("j-1", job_yaml("train"))
        failed = await on.told("j-1", Event.FAIL)
        assert "already exists" in failed.reason
        assert "another name" in failed.reason
        await on.cancel("j-1")
        await on.told("j-1", Event.STOPPED)
        assert len(on.cluster.objects("batch/v1", "Job")) == 1


async def test_an_earlier_attempt_makes_way(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await on.run("j-1", job_yaml("train", gpus=8))
        await on.make_pods("train", [0])
        await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)
        # The hub took the cluster for lost and starts the job again, here of all places, once that is possible.
        on.cluster.put(node("n2"))
        await eventually("there is room", lambda: len(on.agent._inventory.nodes()) == 2)
        assert (await on.run("j-1", job_yaml("train", gpus=8), epoch=2)).refused_code == ""
        await eventually(
            "the new attempt is there",
            lambda: (
                [job["metadata"]["labels"]["muster.dev/epoch"] for job in on.cluster.objects("batch/v1", "Job")]
                == ["2"]
            ),
        )
        assert on.pods("j-1") == []


async def test_a_job_removed_by_somebody_fails_and_is_not_made_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await start_gang(on, "j-1", "train", pods=1)
        await on.told("j-1", Event.STARTING)
        on.cluster.remove(ObjectKey("batch/v1", "Job", "team", "train"))
        failed = await on.told("j-1", Event.FAIL)
        assert failed.reason == "Job team/train was removed from the cluster by somebody else"
        assert on.cluster.calls["create"] == 1


async def test_a_job_removed_while_the_agent_was_away_fails_too(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await start_gang(on, "j-1", "train", pods=1)
        await on.told("j-1", Event.STARTING)
        await on.drop_curtain()
        on.cluster.remove(ObjectKey("batch/v1", "Job", "team", "train"))
        await on.raise_curtain()
        await on.told("j-1", Event.FAIL)
        assert on.cluster.calls["create"] == 1


async def test_a_job_that_is_cleaned_up_as_it_ends_has_succeeded(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await start_gang(on, "j-1", "train", pods=1)
        await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)
        await on.finish("train", "j-1")
        on.cluster.remove(ObjectKey("batch/v1", "Job", "team", "train"))
        await on.told("j-1", Event.SUCCEED)
        assert Event.FAIL not in on.events("j-1")


async def test_orphans_are_removed_without_a_word(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await start_gang(on, "j-1", "keep", pods=1, gpus=4)
        await start_gang(on, "j-2", "orphan", pods=1, gpus=4)
        await eventually("both are bound", lambda: len(on.bound("j-1")) + len(on.bound("j-2")) == 2)
        said = len(on.reports)
        await on.agent.welcomed([JobRef("j-1", 1)], 60.0)
        await eventually("the orphan is gone", lambda: on.agent._jobs.get("j-2") is None)
        assert [job["metadata"]["name"] for job in on.cluster.objects("batch/v1", "Job")] == ["keep"]
        assert on.pods("j-2") == []
        assert not any(report.event is Event.STOPPED for report in on.reports[said:])


async def test_what_this_spoke_made_and_no_job_owns_is_removed(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        for job, maker in (
            ("j-lost", OWNER),
            ("j-live", OWNER),
            ("j-another-hubs", "there.ba9876543210"),
            ("j-old", ""),
        ):
            [*_, left] = start(1, job, job_yaml(job)).order.objects  # type: ignore[union-attr]
            on.cluster.put({**left, "metadata": {**left["metadata"], "annotations": {OWNER_ANNOTATION: maker}}})
        await on.agent.welcomed([JobRef("j-live", 1)], 60.0)
        names = lambda: {job["metadata"]["name"] for job in on.cluster.objects("batch/v1", "Job")}  # noqa: E731
        await eventually("the lost one is gone", lambda: names() == {"j-live", "j-another-hubs", "j-old"})


async def test_a_job_that_ended_keeps_its_pods_for_a_while(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), keep_finished_s=0.2) as on:
        await start_gang(on, "j-1", "train", pods=1)
        await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)
        await on.finish("train", "j-1")
        await on.told("j-1", Event.SUCCEED)
        await on.agent.welcomed([], 60.0)  # no orphan, though the hub has no capacity for it any more
        assert len(on.pods("j-1")) == 1
        await eventually("it is retired", lambda: on.agent._jobs.get("j-1") is None)
        assert on.pods("j-1") == []
        assert on.cluster.objects("batch/v1", "Job") == []
        assert on.events("j-1")[-1] is Event.SUCCEED


async def test_reports_that_were_not_acknowledged_are_told_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1"), acknowledge=False) as on:
        await start_gang(on, "j-1", "train", pods=1)
        await on.finish("train", "j-1")
        first = await on.told("j-1", Event.SUCCEED)
        on.reports.clear()
        await on.restart()
        again = await on.told("j-1", Event.SUCCEED)
        assert again == first


async def test_a_gap_in_the_watch_loses_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await start_gang(on, "j-1", "train", pods=1)
        on.cluster.gap()
        await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)
        on.cluster.gap()
        await on.finish("train", "j-1")
        on.cluster.gap()
        await on.told("j-1", Event.SUCCEED)
        assert Event.FAIL not in on.events("j-1")


async def test_a_cordoned_node_gets_nothing_until_it_is_back(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1", spec={"unschedulable": True})) as on:
        assert (await on.run("j-1", job_yaml("train"))).refused_code == "no-room"
        on.cluster.put(node("n1"))
        await eventually("it is ready", lambda: on.agent._inventory.node("n1").ready)  # type: ignore[union-attr]
        assert (await on.run("j-1", job_yaml("train"), epoch=2)).refused_code == ""


async def test_an_outage_of_the_cluster_is_told_and_waited_out(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        away = [Unavailable("webhook does not answer")] * 2
        on.cluster.faults.append(lambda verb, key: away.pop() if verb == "create" and away else None)
        await on.run("j-1", job_yaml("train"))
        await on.make_pods("train", [0])
        await eventually("it is bound", lambda: len(on.bound("j-1")) == 1)
        assert any("webhook" in report.reason for report in on.reports)


async def test_removal_stops_every_job(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        await start_gang(on, "j-1", "one", pods=1, gpus=4)
        await start_gang(on, "j-2", "two", pods=1, gpus=4)
        await on.agent.removed()
        assert on.cluster.objects("v1", "Pod") == []
        assert await on.ledger.entries() == ()


async def test_logs_of_a_job_that_is_not_here(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        with pytest.raises(KeyError, match="j-9 is not in this cluster"):
            on.agent.logs(LogQuery(JobRef("j-9", 1), "", False, 0))


async def test_a_namespace_that_is_deleted_under_a_step_is_made_again(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        errors: list[ClusterError] = [NotFound('namespaces "team" not found')]
        on.cluster.faults.append(lambda verb, key: errors.pop() if verb == "create" and errors else None)
        await on.run("j-1", job_yaml("a"))
        await on.workload("a")


async def test_a_binding_that_fails_as_nobody_foresaw_is_begun_anew(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        errors: list[Any] = [KeyError("uid")]
        on.cluster.faults.append(lambda verb, key: errors.pop() if verb == "bind" and errors else None)
        await start_gang(on, "j-1", "train", pods=1)
        await eventually("it is bound all the same", lambda: len(on.bound("j-1")) == 1)
