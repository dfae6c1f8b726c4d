"""Divided works carried through in a whole hub without doors."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from hub import dividing
from hub.endpoints import Endpoints
from hub.errors import ConflictError, NotFound
from hub.happenings import Happenings
from hub.records import CostBy, CostQuery, JobFilter
from hub.store import jobs, rows
from hub.store.wholes import Whole
from placement.division.division import REST
from placement.lifecycle import Event, Phase
from tests.hub.loops.divided import World, a_world, service, training
from tests.hub.loops.rig import ADMIN, ANN, BOB, FakeSpoke, open_hub
from wire.orders import ENDPOINTS, LogLines, Scale


async def test_replicas_are_divided_by_weight_and_each_cluster_gets_its_own(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights", divide_weights="eu-a=2,us-b=1"))
        assert await world.shares(id_) == {"eu-a": 4, "us-b": 2}
        whole = await world.show(id_)
        assert (whole.phase, whole.reason, whole.cluster) == (Phase.RUNNING, "", None)
        (counted,) = whole.roles
        assert (counted.ready, counted.total) == (6, 6)
        for name, share in (("eu-a", 4), ("us-b", 2)):
            (running,) = world.spokes[name].live.values()
            (obj,) = running.start.objects
            assert obj["spec"]["replicas"] == share
            assert obj["metadata"]["labels"]["muster.dev/job"] == (await world.parts(id_))[name].id
        history = [event async for event in world.hub.jobs.events(ANN, after=None, job=id_, follow=False)]
        assert [(one.event, one.message) for one in history][:2] == [
            ("submit", "by ann"),
            ("divide", "eu-a 4, us-b 2"),
        ]


async def test_the_whole_holds_nothing_and_only_parts_are_reserved(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        parts = {part.id for part in (await world.parts(id_)).values()}

        def held(session: Session) -> set[str]:
            return set(session.connection().execute(select(rows.reservations.c.job)).scalars())

        assert await world.hub.store.read(held) == parts


async def test_a_list_shows_the_whole_and_its_parts_where_asked(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        page = await world.hub.jobs.list(ANN, JobFilter())
        assert [job.id for job in page.jobs] == [id_]
        assert (await world.hub.jobs.list(ANN, JobFilter(cluster="eu-a"))).jobs[0].id == id_
        everything = await world.hub.jobs.list(ANN, JobFilter(parts=True))
        assert {job.whole for job in everything.jobs} == {id_}
        assert everything.total == 3
        assert (await world.hub.jobs.show(ANN, "web")).id == id_
        assert (await world.hub.jobs.list(BOB, JobFilter(parts=True))).total == 0


async def test_a_third_cluster_takes_what_had_no_place(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 2, "us-b": 2}) as world:
        id_ = await world.submit(service(divide="weights"))
        assert await world.shares(id_) == {"eu-a": 2, "us-b": 2}
        whole = await world.show(id_)
        assert whole.phase is Phase.STARTING
        assert whole.reason.startswith("4 of 6 replicas are ready: 4 of 6 replicas have a place: eu-a has room for 2")
        third = world.spokes["ap-c"] = FakeSpoke("ap-c", nodes=1, gpus=8)
        await third.join(world.hub, region="ap")
        await third.connect(world.hub)
        await world.run_all()
        assert await world.shares(id_) == {"eu-a": 2, "us-b": 2, "ap-c": 2}
        assert (await world.show(id_)).phase is Phase.RUNNING


async def test_a_lost_clusters_share_moves_and_comes_back_when_it_does(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 8, "us-b": 8, "ap-c": 8}) as world:
        id_ = await world.submit(service(divide="price", divide_max_clusters="2"))
        (home,) = await world.shares(id_)
        world.dead.add(home)
        await world.pass_time(20)
        assert await world.shares(id_) == {home: 6}, "silent, and not lost yet"
        await world.pass_time(61)
        await world.run_all()
        shares = await world.shares(id_)
        assert shares.pop(home) == 6
        ((other, share),) = shares.items()
        assert share == 6
        whole = await world.show(id_)
        assert whole.phase is Phase.RUNNING
        assert whole.division is not None
        assert whole.division.shares == {other: 6}
        world.dead.clear()
        await world.spokes[home].connect(world.hub)
        await world.run_all()
        assert sum((await world.shares(id_)).values()) == 6
        assert sum(len(spoke.live) for spoke in world.spokes.values()) == 1


async def test_cancelling_the_whole_stops_every_part(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        part = (await world.parts(id_))["eu-a"]
        with pytest.raises(ConflictError) as refused:
            await world.hub.jobs.cancel(ANN, part.id)
        assert refused.value.code == "is-a-part"
        assert (await world.hub.jobs.cancel(ANN, "web")).phase is Phase.CANCELLING
        await world.settle()
        assert (await world.show(id_)).phase is Phase.CANCELLED
        assert not any(spoke.live for spoke in world.spokes.values())
        again = await world.submit(service(divide="weights"))
        assert (await world.show(again)).phase is Phase.RUNNING


async def test_a_cluster_that_goes_on_refusing_is_left_out_for_a_while(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.spokes["eu-a"].refuses = True
        id_ = await world.submit(service(divide="weights"))
        assert await world.shares(id_) == {"eu-a": 3, "us-b": 3}
        assert "eu-a has 0 of 3 (refused by eu-a" in (await world.show(id_)).reason
        await world.pass_time(31)
        await world.run_all()
        await world.settle()
        assert await world.shares(id_) == {"us-b": 6}
        whole = await world.show(id_)
        assert whole.division is not None
        assert whole.division.shunned["eu-a"].why.endswith("0 of 1 pods fit")
        world.spokes["eu-a"].refuses = False
        await world.pass_time(301)
        await world.run_all()
        await world.pass_time(REST.total_seconds() + 1)
        await world.run_all()
        assert await world.shares(id_) == {"eu-a": 3, "us-b": 3}


async def test_late_numbers_are_put_right_by_the_next_summary(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.spokes["eu-a"].taken_elsewhere = 14
        (one,) = await world.hub.jobs.submit(ANN, service(divide="weights"))
        await world.settle()
        assert await world.shares(one.job.id) == {"eu-a": 3, "us-b": 3}
        await world.spokes["eu-a"].send_summary(world.hub)
        await world.run_all()
        assert await world.shares(one.job.id) == {"eu-a": 2, "us-b": 4}


async def test_a_part_that_fails_leaves_its_cluster_out_for_good(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.spokes["eu-a"].invalid.add("web")
        id_ = await world.submit(service(divide="weights"))
        assert await world.shares(id_) == {"us-b": 6}
        assert (await world.show(id_)).phase is Phase.RUNNING
        world.spokes["us-b"].invalid.add("other")
        world.spokes["eu-a"].invalid.add("other")
        lost = await world.submit(service(2, "other", divide="weights"))
        whole = await world.show(lost)
        assert whole.phase is Phase.FAILED
        assert "its part in eu-a failed: spec.template is required" in whole.reason


async def test_training_starts_once_all_of_it_has_a_place_and_ends_with_its_parts(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 4, "us-b": 1}) as world:
        id_ = await world.submit(training(divide="free"))
        assert await world.shares(id_) == {}
        assert (await world.show(id_)).reason.startswith("5 of 6 replicas have a place")
        world.spokes["us-b"].gpus = 2
        await world.spokes["us-b"].send_summary(world.hub)
        await world.run_all()
        assert await world.shares(id_) == {"eu-a": 4, "us-b": 2}
        assert (await world.show(id_)).phase is Phase.RUNNING
        for spoke in world.spokes.values():
            (ref,) = spoke.live
            spoke.advance(ref, Event.SUCCEED)
        await world.settle()
        assert (await world.show(id_)).phase is Phase.SUCCEEDED


async def test_training_that_fails_in_one_cluster_stops_in_all(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(training(divide="weights"))
        (ref,) = world.spokes["eu-a"].live
        world.spokes["eu-a"].advance(ref, Event.FAIL)
        await world.settle()
        whole = await world.show(id_)
        assert (whole.phase, whole.reason) == (Phase.FAILED, "its part in eu-a failed: fail")
        assert not world.spokes["us-b"].live


async def test_training_on_a_lost_cluster_waits_for_a_person(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(training(divide="weights"))
        world.dead.add("eu-a")
        await world.pass_time(61)
        assert await world.shares(id_) == {"eu-a": 3, "us-b": 3}


async def test_what_does_not_say_so_is_never_divided(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 4, "us-b": 4}) as world:
        (one,) = await world.hub.jobs.submit(ANN, service(6))
        await world.run_all()
        job = await world.show(one.job.id)
        assert (job.phase, job.whole) == (Phase.QUEUED, None)


async def test_a_hub_that_starts_anew_goes_on(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        await world.hub.store.close()
        world.hub = await open_hub(tmp_path / "hub.db", world.clock, seed=9, manifests=True)
        for spoke in world.spokes.values():
            await spoke.connect(world.hub)
        await world.run_all()
        assert await world.shares(id_) == {"eu-a": 3, "us-b": 3}
        assert len(await world.parts(id_)) == 2
        assert (await world.show(id_)).phase is Phase.RUNNING


async def test_given_up_when_it_has_waited_so_long(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 0}) as world:
        id_ = await world.submit(service(divide="weights", give_up_hours="1"))
        assert (await world.show(id_)).phase is Phase.QUEUED
        await world.pass_time(3601)
        assert (await world.show(id_)).phase is Phase.FAILED


async def test_costs_by_job_are_the_wholes(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        await world.pass_time(3600)
        today = world.clock().date()

        async def told() -> tuple[str, int, float]:
            report = await world.hub.costs.report(ANN, CostQuery(CostBy.JOB, today, today))
            (line,) = report.lines
            assert report.total.gpu_hours == pytest.approx(line.cost.gpu_hours)
            return line.key, line.cost.attempts, round(line.cost.gpu_hours, 2)

        assert (await told())[0] == id_
        assert (await told())[2] == 6.0
        await world.hub.jobs.cancel(ANN, id_)
        await world.settle()
        assert await told() == (id_, 2, 6.0)


async def test_logs_of_all_parts_in_one_with_their_clusters(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        world.hub.streams.logs = {
            "eu-a": [LogLines("web-0", b"from the east\n", "7")],
            "us-b": [LogLines("web-0", b"from the west\n", "9")],
        }
        logs = world.hub.jobs.logs(ANN, id_, follow=False, tail_lines=0, after={"eu-a/web-0": "3"})
        found = {(one.pod, one.data, one.position) async for one in logs}
        assert found == {("eu-a/web-0", b"from the east\n", "7"), ("us-b/web-0", b"from the west\n", "9")}
        assert {cluster: query.after for cluster, query in world.hub.streams.asked} == {
            "eu-a": (("web-0", "3"),),
            "us-b": (),
        }
        del world.hub.streams.logs["us-b"]
        found_lines = [one async for one in world.hub.jobs.logs(ANN, id_, follow=False, tail_lines=0)]
        assert [one.data for one in found_lines if one.pod == "us-b/?"] == [
            b"the logs of web are on us-b, which is not connected now\n"
        ]
        with pytest.raises(ConflictError) as refused:
            [one async for one in world.hub.jobs.logs(ANN, id_, follow=False, tail_lines=0, rank=0)]
        assert refused.value.code == "divided"


async def test_events_of_the_whole_and_its_parts_in_one_order(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        happenings = Happenings(world.hub.jobs, world.hub.streams, clock=world.hub.clock)
        found = [one async for one in happenings.of(ANN, id_, follow=False)]
        assert ("divide", "eu-a 3, us-b 3") in [(one.reason, one.message) for one in found]
        assert {"PLACED in eu-a", "PLACED in us-b"} <= {one.object for one in found}
        assert [one.at for one in found if one.source == "muster"] == sorted(
            one.at for one in found if one.source == "muster"
        )


async def test_a_shell_in_the_whole_is_one_in_a_part(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights", divide_weights="eu-a=2,us-b=1"))
        assert (await world.hub.jobs.reach(ANN, id_)).cluster == "eu-a"


async def test_endpoints_of_all_clusters_in_one_answer(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 8, "us-b": 8, "ap-c": 8}) as world:
        id_ = await world.submit(service(divide="weights"))
        told = {"kind": "Service", "name": "web", "namespace": "default", "type": "LoadBalancer", "ports": ["80/TCP"]}
        world.hub.streams.logs = {
            name: [LogLines("", json.dumps({**told, "addresses": [address]}).encode() + b"\nnonsense\n")]
            for name, address in (("eu-a", "203.0.113.1"), ("us-b", "203.0.113.2"))
        }
        endpoints = Endpoints(world.hub.jobs, world.hub.streams, world.hub.federation)
        found = await endpoints.of(ANN, "web")
        assert [(one.cluster, one.region, one.addresses, one.ports) for one in found.endpoints] == [
            ("eu-a", "eu", ("203.0.113.1",), ("80/TCP",)),
            ("us-b", "us", ("203.0.113.2",), ("80/TCP",)),
        ]
        assert found.notes == ("ap-c is not connected now",)
        assert {query.of for _, query in world.hub.streams.asked} == {ENDPOINTS}
        world.hub.streams.abilities = frozenset()
        assert "too old" in (await endpoints.of(ANN, id_)).notes[1]
        with pytest.raises(NotFound):
            await endpoints.of(BOB, id_)
        await world.hub.jobs.cancel(ANN, id_)
        await world.settle()
        assert (await endpoints.of(ANN, id_)).endpoints == ()


async def test_a_plan_says_how_it_would_be_divided(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 3, "us-b": 2}) as world:
        (planned,) = await world.hub.jobs.plan(ANN, service(divide="weights"))
        assert planned.division is not None
        assert dict(planned.division.made.shares) == {"eu-a": 3, "us-b": 2}
        assert [one.room for one in planned.division.places] == [3, 2]
        assert (await world.hub.jobs.list(ANN, JobFilter(parts=True))).total == 0


AUTOSCALER = """
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 6, maxReplicas: 12}
"""


async def scales(world: World, cluster: str) -> list[Scale]:
    pending = await world.hub.uplink.pending_commands(cluster)
    return [one.order for one in pending if isinstance(one.order, Scale)]


async def test_a_share_that_changes_changes_the_part_where_it_is(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 2, "us-b": 8}) as world:
        id_ = await world.submit(service(divide="weights"))
        assert await world.shares(id_) == {"eu-a": 2, "us-b": 4}
        before = {cluster: part.id for cluster, part in (await world.parts(id_)).items()}
        world.spokes["eu-a"].gpus = 8
        await world.spokes["eu-a"].send_summary(world.hub)
        await world.pass_time(REST.total_seconds() + 1)
        await world.run_all()
        assert await world.shares(id_) == {"eu-a": 3, "us-b": 3}
        assert {cluster: part.id for cluster, part in (await world.parts(id_)).items()} == before
        assert {name: len(job.nodes) for name, spoke in world.spokes.items() for job in spoke.live.values()} == {
            "eu-a": 3,
            "us-b": 3,
        }
        assert {one.cluster: one.workload.pods for one in world.hub.federation.fleet().reservations} == {
            "eu-a": 3,
            "us-b": 3,
        }
        assert (await world.show(id_)).phase is Phase.RUNNING


async def test_an_autoscaler_follows_its_parts_share(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 2, "us-b": 8}) as world:
        id_ = await world.submit(service(divide="weights") + AUTOSCALER.encode())
        world.spokes["eu-a"].gpus = 8
        await world.spokes["eu-a"].send_summary(world.hub)
        world.clock.advance(REST.total_seconds() + 1)
        for name in world.spokes:
            await world.hub.uplink.heartbeat(name)
        await world.hub.dividing.settle()
        for name, share in (("eu-a", 3), ("us-b", 3)):
            (scale,) = await scales(world, name)
            (autoscaler,) = scale.objects
            assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (3, 6)
            assert dict(scale.pods) == {"replica": share}
        await world.run_all()
        # What is placed anew later goes with the new range.
        part = (await world.parts(id_))["eu-a"]
        stored = await world.hub.store.read(lambda session: jobs.objects_of(session, [part.id]))
        (kept,) = [one for one in stored[part.id] if one["kind"] == "HorizontalPodAutoscaler"]
        assert kept["spec"]["maxReplicas"] == 6


async def test_a_spoke_that_cannot_resize_gets_another_part_in_its_place(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 2, "us-b": 8}) as world:
        for spoke in world.spokes.values():
            spoke.resizes = False
            await spoke.send_summary(world.hub)
        id_ = await world.submit(service(divide="weights"))
        before = {cluster: part.id for cluster, part in (await world.parts(id_)).items()}
        world.spokes["eu-a"].gpus = 8
        await world.spokes["eu-a"].send_summary(world.hub)
        await world.pass_time(REST.total_seconds() + 1)
        await world.run_all()
        assert await world.shares(id_) == {"eu-a": 3, "us-b": 3}
        assert {part.id for part in (await world.parts(id_)).values()}.isdisjoint(before.values())


async def test_a_cluster_that_cannot_give_a_part_its_size_is_asked_again(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 4, "us-b": 4}) as world:
        id_ = await world.submit(service(4, divide="weights"))
        assert await world.shares(id_) == {"eu-a": 2, "us-b": 2}
        world.dead.add("us-b")
        world.spokes["eu-a"].taken_elsewhere = 2  # and its summary does not say so yet
        await world.pass_time(61)
        assert (await world.shares(id_))["eu-a"] == 4, "as the hub knows it, there is room"
        (held,) = [one for one in world.hub.federation.fleet().reservations if one.cluster == "eu-a"]
        assert held.workload.pods == 2, "the cluster has refused"
        world.spokes["eu-a"].taken_elsewhere = 0
        await world.pass_time(11)
        await world.run_all()
        (held,) = [one for one in world.hub.federation.fleet().reservations if one.cluster == "eu-a"]
        assert held.workload.pods == 4


async def test_pods_that_lost_their_node_find_a_place_in_another_cluster(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 3, "us-b": 8}) as world:
        id_ = await world.submit(service(divide="weights"))
        assert await world.shares(id_) == {"eu-a": 3, "us-b": 3}
        spoke = world.spokes["eu-a"]
        (ref,) = spoke.live
        spoke.live[ref].nodes = spoke.live[ref].nodes[:2]
        spoke.gpus = 2
        spoke.advance(ref, Event.RUNNING)
        await spoke.send_reports(world.hub)
        await spoke.send_summary(world.hub)
        await world.settle()
        assert await world.shares(id_) == {"eu-a": 3, "us-b": 3}, "it may be back in a moment"
        await world.pass_time(31)
        await world.run_all()
        assert await world.shares(id_) == {"eu-a": 2, "us-b": 4}


async def test_a_drained_clusters_share_goes_elsewhere(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        await world.hub.clusters.drain(ADMIN, "eu-a")
        await world.run_all()
        assert await world.shares(id_) == {"us-b": 6}
        assert not world.spokes["eu-a"].live
        assert (await world.show(id_)).phase is Phase.RUNNING


async def test_a_removed_clusters_share_goes_elsewhere_and_the_whole_can_end(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        world.dead.add("eu-a")
        await world.hub.clusters.remove(ADMIN, "eu-a", force=True)
        await world.run_all()
        assert await world.shares(id_) == {"us-b": 6}
        await world.hub.jobs.cancel(ANN, id_)
        await world.settle()
        assert (await world.show(id_)).phase is Phase.CANCELLED


async def test_a_cancel_ends_only_when_a_lost_cluster_has_said_that_nothing_is_left(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        id_ = await world.submit(service(divide="weights"))
        world.dead.add("eu-a")
        await world.pass_time(61)
        await world.hub.jobs.cancel(ANN, id_)
        await world.settle()
        assert (await world.show(id_)).phase is Phase.CANCELLING
        world.dead.clear()
        await world.spokes["eu-a"].connect(world.hub)
        await world.settle()
        assert (await world.show(id_)).phase is Phase.CANCELLED
        assert not world.spokes["eu-a"].live


async def test_one_work_that_cannot_be_decided_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_world(tmp_path) as world:
        decide = dividing.decide

        def moody(whole: Whole, *rest: Any) -> dividing.Outcome:
            if whole.job.name == "bad":
                raise RuntimeError("of its own making")
            return decide(whole, *rest)

        monkeypatch.setattr(dividing, "decide", moody)
        bad = await world.submit(service(2, "bad", divide="weights"))
        good = await world.submit(service(2, "good", divide="weights"))
        assert (await world.show(good)).phase is Phase.RUNNING
        assert (await world.show(bad)).phase is Phase.QUEUED


async def test_any_history_keeps_the_sum_and_one_part_to_a_cluster(tmp_path: Path) -> None:
    """Clusters lost and back, rooms that shrink and grow, in an order that a seed replays."""
    rng = Random(7)
    async with a_world(tmp_path, gpus={"eu-a": 4, "us-b": 4, "ap-c": 4}) as world:
        id_ = await world.submit(service(6, divide="weights", divide_min_per_region="1"))
        for _ in range(25):
            name = rng.choice(sorted(world.spokes))
            match rng.choice(("lose", "find", "fill", "empty", "wait")):
                case "lose" if len(world.dead) < 2:
                    world.dead.add(name)
                case "find" if name in world.dead:
                    world.dead.discard(name)
                    await world.spokes[name].connect(world.hub)
                case "fill" if not world.spokes[name].taken_elsewhere and name not in world.dead:
                    world.spokes[name].taken_elsewhere = min(2, *world.spokes[name]._free())
                case "empty":
                    world.spokes[name].taken_elsewhere = 0
                case _:
                    pass
            await world.pass_time(rng.choice((1, 35, 70, 301)))
            await world.run_all()
            shares = {c: n for c, n in (await world.shares(id_)).items() if c not in world.dead}
            assert sum(shares.values()) <= 6
        for name in list(world.dead):
            world.dead.discard(name)
            await world.spokes[name].connect(world.hub)
        for spoke in world.spokes.values():
            spoke.taken_elsewhere = 0
        for _ in range(4):
            await world.pass_time(REST.total_seconds() + 1)
            await world.run_all()
        assert await world.shares(id_) == {"eu-a": 2, "us-b": 2, "ap-c": 2}
        assert (await world.show(id_)).phase is Phase.RUNNING
        assert {name: len(job.nodes) for name, spoke in world.spokes.items() for job in spoke.live.values()} == {
            "eu-a": 2,
            "us-b": 2,
            "ap-c": 2,
        }


async def test_a_hub_that_starts_anew_does_not_place_a_waiting_whole_itself(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 0}) as world:
        id_ = await world.submit(service(2, divide="weights"))
        assert (await world.show(id_)).phase is Phase.QUEUED
        await world.hub.store.close()
        world.hub = await open_hub(tmp_path / "hub.db", world.clock, seed=9, manifests=True)
        assert len(world.hub.copies.backlog) == 0
        world.spokes["eu-a"].gpus = 8
        await world.spokes["eu-a"].connect(world.hub)
        await world.run_all()
        assert await world.shares(id_) == {"eu-a": 2}
        assert {one.job for one in world.hub.federation.fleet().reservations} == {
            part.id for part in (await world.parts(id_)).values()
        }


async def test_a_whole_that_lies_nowhere_has_no_log(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 0}) as world:
        id_ = await world.submit(service(divide="weights"))
        with pytest.raises(ConflictError) as refused:
            [one async for one in world.hub.jobs.logs(ANN, id_, follow=False, tail_lines=0)]
        assert refused.value.code == "not-placed"


async def test_a_log_is_followed_into_parts_that_come_later(tmp_path: Path) -> None:
    async with a_world(tmp_path, gpus={"eu-a": 2, "us-b": 0}) as world:
        id_ = await world.submit(service(4, divide="weights"))
        world.hub.streams.logs = {"eu-a": [LogLines("a", b"one\n")], "us-b": [LogLines("b", b"two\n")]}
        following = world.hub.jobs.logs(ANN, id_, follow=True, tail_lines=0)
        assert (await anext(following)).pod == "eu-a/a"
        world.spokes["us-b"].gpus = 8
        await world.spokes["us-b"].send_summary(world.hub)
        await world.run_all()
        async with asyncio.timeout(10):
            assert (await anext(following)).pod == "us-b/b"
        await world.hub.jobs.cancel(ANN, id_)
        await world.settle()
        async with asyncio.timeout(10):
            assert [one async for one in following] == []
