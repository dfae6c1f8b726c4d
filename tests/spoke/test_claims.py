"""The agent with devices in its cluster: claims allocated before pods are bound, all of a gang or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from placement.inventory import DeviceForm
from placement.kinds import claims as claims_of_kinds
from placement.lifecycle import Event
from spoke.cluster.port import ClusterError, Conflict, ObjectKey, Refused, Unavailable
from spoke.jobs import Job
from tests.spoke.driver import (
    API,
    DEVICE_CLASS,
    KINDS,
    claim,
    claims,
    devices_of,
    given_back,
    job_yaml,
    make_claims,
    resource_slice,
    taken,
)
from tests.spoke.stage import Stage, eventually, node, stage, start
from tests.spoke.stage import job_yaml as stage_job
from wire.orders import JobRef, Start


@asynccontextmanager
async def with_devices(directory: Path, **devices: int) -> AsyncIterator[Stage]:
    """Nodes with so many devices each."""
    async with stage(directory, *(node(name, gpus=0) for name in devices), kinds=KINDS) as found:
        found.cluster.put(DEVICE_CLASS)
        for name, count in devices.items():
            found.cluster.put(resource_slice(name, count))
        await eventually(
            "the devices are known",
            lambda: sum(n.capacity["dra/gpu"] for n in found.agent._inventory.actual_nodes()) == sum(devices.values()),
        )
        yield found


async def run(stage: Stage, name: str, *, pods: int, count: int, **more: Any) -> None:
    ack = await stage.run(name, job_yaml(name, pods=pods, count=count, **more))
    assert not ack.refused_code, ack
    await stage.make_pods(name, range(pods))
    await eventually("its template is there", lambda: _template(stage, name))
    make_claims(stage, name, name)


def _products(stage: Stage) -> set[object]:
    stocks = stage.agent._inventory.stocks().values()
    return {device.attribute("product") for stock in stocks for device in stock.offered.devices}


def _template(stage: Stage, name: str) -> bool:
    return any(t["metadata"]["name"] == name for t in stage.cluster.objects(API, "ResourceClaimTemplate"))


def job_of(stage: Stage, name: str) -> Job:
    job = stage.agent._jobs.get(name)
    assert job is not None
    return job


async def bound(stage: Stage, job: str, pods: int) -> None:
    await eventually(f"{pods} pods of {job} are bound", lambda: len(stage.bound(job)) == pods)


async def test_claims_are_allocated_with_all_that_a_kubelet_needs(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=2, n2=4) as here:
        await run(here, "train", pods=2, count=2)
        await bound(here, "train", 2)
        for made in claims(here):
            pod = made["metadata"]["ownerReferences"][0]
            on = here.bound("train")[pod["name"]][0]
            status = made["status"]
            assert {pool for pool, _ in devices_of(made)} == {on}
            assert status["reservedFor"] == [{"resource": "pods", "name": pod["name"], "uid": pod["uid"]}]
            assert [r["request"] for r in status["allocation"]["devices"]["results"]] == ["gpu", "gpu"]
            [config] = status["allocation"]["devices"]["config"]
            assert (config["source"], config["requests"]) == ("FromClass", ["gpu"])
            assert config["opaque"]["parameters"] == {"mode": "exclusive"}
            assert made["metadata"]["finalizers"] == ["resource.kubernetes.io/delete-protection"]
        assert len(set(taken(here))) == 4


async def test_nothing_is_bound_before_every_claim_of_the_gang_is_made(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        await here.run("train", job_yaml("train", pods=2, count=2))
        await here.make_pods("train", [0])
        await eventually("its template is there", lambda: _template(here, "train"))
        make_claims(here, "train", "train")
        await here.make_pods("train", [1])
        await eventually("both pods are known", lambda: len(job_of(here, "train").pods) == 2)
        assert not taken(here)
        make_claims(here, "train", "train")
        await bound(here, "train", 2)


async def test_the_summary_counts_devices_by_class(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4, n2=2) as here:
        await run(here, "train", pods=1, count=2)
        await bound(here, "train", 1)
        await eventually(
            "it is seen", lambda: sum(n.free["dra/gpu"] for n in here.agent._inventory.actual_nodes()) == 4
        )
        await here.agent._summaries.renew()
        summary = await here.agent.wait_for_summary(0)
        assert (summary.gpus_total, summary.gpus_free) == (6, 4)
        assert {d.form for c in summary.node_classes for d in c.devices} == {DeviceForm.DRA}


async def test_a_gang_whose_devices_do_not_match_is_refused_with_the_numbers(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        here.cluster.put(resource_slice("n1", 4, product="V100"))
        await eventually("it is seen", lambda: _products(here) == {"V100"})
        ack = await here.run("train", job_yaml("train", pods=2, count=2, product="H100"))
        assert ack.refused_code == "no-room"
        assert "devices for 0 of 2 pods (request gpu of role worker, 2 × gpu where" in ack.refused_message
        assert "4 offered, 0 match" in ack.refused_message


async def test_devices_of_a_gang_to_come_are_held(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        assert not (await here.run("first", job_yaml("first", pods=1, count=3))).refused_code
        ack = await here.run("second", job_yaml("second", pods=1, count=2))
        assert "1 of them free" in ack.refused_message
        await here.make_pods("first", [0])
        await eventually("its template is there", lambda: _template(here, "first"))
        make_claims(here, "first", "first")
        await bound(here, "first", 1)


async def test_what_is_allocated_survives_a_restart_and_is_given_when_it_is_back(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        await run(here, "first", pods=1, count=3)
        await bound(here, "first", 1)
        await here.restart()
        assert (await here.run("second", job_yaml("second", pods=1, count=2))).refused_code == "no-room"
        await here.finish("first", "first")
        given_back(here, "first-0")
        await eventually("all are free", lambda: here.agent._inventory.actual_nodes()[0].free["dra/gpu"] == 4)
        await run(here, "third", pods=1, count=4)
        await bound(here, "third", 1)


async def test_a_template_that_only_the_cluster_has_is_allocated_too(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        manifest = job_yaml("train", pods=2, count=3)
        template, job = manifest.split("---")
        await here.run("train", job)
        await here.make_pods("train", range(2))
        here.cluster.put(yaml.safe_load(template))
        make_claims(here, "train", "train")
        await eventually("it says why it waits", lambda: job_of(here, "train").shortfall)
        assert "devices for 1 of 2 pods" in job_of(here, "train").shortfall
        assert not taken(here)
        here.cluster.put(node("n2", gpus=0))
        here.cluster.put(resource_slice("n2", 3))
        await bound(here, "train", 2)


async def test_where_one_claim_cannot_be_written_none_stays_allocated(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=8) as here:
        broken = True

        def fault(verb: str, key: ObjectKey | None) -> ClusterError | None:
            is_one = key is not None and key.kind == "ResourceClaim" and key.name == "train-1-devices"
            return Refused("a webhook says no") if broken and verb == "update" and is_one else None

        here.cluster.faults.append(fault)
        await run(here, "train", pods=3, count=2)
        await eventually("it is said", lambda: "a webhook says no" in job_of(here, "train").problem)
        await eventually("nothing is taken", lambda: not taken(here))
        assert not here.bound("train")
        assert all("reservedFor" not in made.get("status", {}) for made in claims(here))
        broken = False
        await bound(here, "train", 3)
        assert len(set(taken(here))) == 6


async def test_an_outage_while_claims_are_written_is_waited_out(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        failures = [Unavailable("the API server is away")] * 4

        def fault(verb: str, key: ObjectKey | None) -> ClusterError | None:
            return failures.pop() if failures and verb == "update" else None

        here.cluster.faults.append(fault)
        await run(here, "train", pods=2, count=2)
        await bound(here, "train", 2)
        assert len(set(taken(here))) == 4


async def test_a_pod_that_is_not_bound_gives_its_devices_back(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        broken = True

        def fault(verb: str, key: ObjectKey | None) -> ClusterError | None:
            return Refused("no") if broken and verb == "bind" else None

        here.cluster.faults.append(fault)
        await run(here, "train", pods=2, count=2)
        await eventually("binding failed", lambda: here.cluster.calls.get("bind", 0) >= 2)
        await eventually("nothing is taken", lambda: not taken(here))
        broken = False
        await bound(here, "train", 2)


@pytest.mark.parametrize("written", [0, 1, 2, 3])
async def test_a_crash_at_any_write_ends_as_if_there_was_none(tmp_path: Path, written: int) -> None:
    """The agent dies after so many writes; the next one completes the gang, and gives nothing twice."""
    async with with_devices(tmp_path, n1=4, n2=4) as here:
        left = written

        def fault(verb: str, key: ObjectKey | None) -> ClusterError | None:
            nonlocal left
            if verb not in ("update", "bind"):
                return None
            left -= 1
            return Unavailable("it dies") if left < 0 else None

        here.cluster.faults.append(fault)
        await run(here, "train", pods=2, count=3)
        await eventually("it is at that step", lambda: left < 0)
        await here.drop_curtain()
        here.cluster.faults.clear()
        await here.raise_curtain()
        await bound(here, "train", 2)
        assert len(set(taken(here))) == len(taken(here)) == 6
        for made in claims(here):
            pod = made["metadata"]["ownerReferences"][0]["name"]
            assert {pool for pool, _ in devices_of(made)} == {here.bound("train")[pod][0]}


async def test_pods_share_a_claim_that_is_allocated_and_go_where_it_is(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4, n2=4) as here:
        shared = claim("shared", {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}})
        here.cluster.put(shared)
        manifest = job_yaml("train", pods=2, count=1, travels=False).replace(
            "resourceClaimTemplateName: train", "resourceClaimName: shared"
        )
        await here.run("train", manifest)
        await here.make_pods("train", range(2))
        await eventually("it says why it waits", lambda: job_of(here, "train").shortfall)
        assert "2 pods share it and it is not allocated" in job_of(here, "train").shortfall
        result = {"request": "gpu", "driver": "gpu.example.com", "pool": "n2", "device": "d3"}
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}
        allocation = {"devices": {"results": [result]}, "nodeSelector": {"nodeSelectorTerms": [term]}}
        here.cluster.put({**shared, "status": {"allocation": allocation}})
        await bound(here, "train", 2)
        assert {where for where, _ in here.bound("train").values()} == {"n2"}
        [made] = claims(here)
        assert len(made["status"]["reservedFor"]) == 2


async def test_a_claim_with_admin_access_is_not_allocated_and_says_why(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        asked = {"name": "gpu", "exactly": {"deviceClassName": "gpu", "adminAccess": True}}
        here.cluster.put(claim("admin", {"devices": {"requests": [asked]}}))
        manifest = job_yaml("train", pods=1, count=1, travels=False).replace(
            "resourceClaimTemplateName: train", "resourceClaimName: admin"
        )
        await here.run("train", manifest)
        await here.make_pods("train", [0])
        await eventually("it says why", lambda: "adminAccess" in job_of(here, "train").shortfall)


async def test_a_cluster_that_serves_no_claims_works_as_before_and_says_so(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as here:
        ack = await here.run("train", job_yaml("train", pods=1, count=1))
        assert "does not serve resource.k8s.io/v1" in ack.refused_message
        ack = await here.run("theirs", job_yaml("theirs", pods=1, count=1, travels=False))
        assert "does not serve resource.k8s.io/v1" in ack.refused_message
        assert Event.RUNNING not in here.events("train")


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_no_device_is_given_twice(tmp_path: Path, seed: int) -> None:
    """Jobs come and go, calls fail, the agent is killed: asked before every single call that reaches the cluster."""
    rng = Random(seed)
    async with with_devices(tmp_path, n1=4, n2=4) as here:
        failing = False

        def fault(verb: str, key: ObjectKey | None) -> ClusterError | None:
            assert len(set(taken(here))) == len(taken(here)), taken(here)
            if failing and verb in ("update", "bind") and rng.random() < 0.3:
                return rng.choice([Unavailable("away"), Refused("no"), Conflict("changed")])
            return None

        here.cluster.faults.append(fault)
        running: list[str] = []
        for number in range(8):
            failing = rng.random() < 0.5
            name, pods = f"job-{number}", rng.randint(1, 3)
            ack = await here.run(name, job_yaml(name, pods=pods, count=rng.randint(1, 3)))
            if not ack.refused_code:
                running.append(name)
                await here.make_pods(name, range(pods))
                await eventually("its template is there", partial(_template, here, name))
                make_claims(here, name, name)
            for _ in range(rng.randint(0, 30)):
                await asyncio.sleep(0)
            if rng.random() < 0.4:
                await here.restart()
            whole = [job for job in running if here.pods(job) and len(here.bound(job)) == len(here.pods(job))]
            if whole and rng.random() < 0.7:
                over = rng.choice(whole)
                running.remove(over)
                await here.finish(over, over)
                for pod in here.pods(over):
                    given_back(here, pod["metadata"]["name"])
        failing = False
        assert len(set(taken(here))) == len(taken(here))


async def test_jobs_with_and_without_claims_share_a_cluster(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        here.cluster.put(node("n2", gpus=8))
        await run(here, "claiming", pods=1, count=2)
        await bound(here, "claiming", 1)
        assert not (await here.run("plain", stage_job("plain", gpus=2))).refused_code
        await here.make_pods("plain", [0])
        await bound(here, "plain", 1)
        assert here.bound("plain")["plain-0"] == ("n2", "0,1")
        assert here.bound("claiming")["claiming-0"][0] == "n1"


async def test_a_command_that_cannot_be_read_is_refused_and_the_others_are_obeyed(tmp_path: Path) -> None:
    """Raised instead, it would end the stream, and come again on the next."""
    async with with_devices(tmp_path, n1=4) as here:
        newer, other = start(1, "newer", job_yaml("newer", pods=1, count=1)), start(2, "other", stage_job("b", gpus=0))
        assert isinstance(newer.order, Start)
        template = {**newer.order.objects[0], "spec": {"spec": {"devices": {"requests": [{"name": "x", "eons": {}}]}}}}
        newer = replace(newer, order=replace(newer.order, objects=(template, *newer.order.objects[1:])))
        refused, accepted = await here.agent.commanded([newer, other])
        assert (refused.refused_code, accepted.refused_code) == ("no-room", "")
        assert "is it older than its hub?" in refused.refused_message


async def test_a_job_for_which_nothing_can_be_held_stops_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_devices(tmp_path, n1=4) as here:
        assert not (await here.run("train", job_yaml("train", pods=1, count=1))).refused_code

        def broken(*_: object) -> None:
            raise ValueError("of another version")

        monkeypatch.setattr(claims_of_kinds, "by_role", broken)
        await here.restart()
        await here.make_pods("train", [0])
        make_claims(here, "train", "train")
        await bound(here, "train", 1)


async def test_a_slice_s_devices_are_in_one_rack_whichever_pods_come_first(tmp_path: Path) -> None:
    names = [f"{rack}-{number}" for rack in ("r1", "r2") for number in range(2)]
    async with stage(tmp_path, *(node(name, gpus=0, rack=name[:2]) for name in names), kinds=KINDS) as here:
        here.cluster.put(DEVICE_CLASS)
        for name in names:
            here.cluster.put(resource_slice(name, 1))
        await eventually("the devices are known", lambda: len(here.agent._inventory.stocks()) == 4)
        slices = 'metadata: {annotations: {muster.dev/slice-size: "2", muster.dev/slice-level: rack}}'
        manifest = job_yaml("train", pods=4, count=1).replace("template:\n", f"template:\n    {slices}\n", 1)
        assert not (await here.run("train", manifest)).refused_code
        held = here.agent._inventory.slots(JobRef("train", 1))
        assert [slot.node[:2] for _, slot in sorted(held.items())] in (
            ["r1", "r1", "r2", "r2"],
            ["r2", "r2", "r1", "r1"],
        )
        for index, suffix in ((2, "-aaaa"), (1, "-bbbb"), (3, "-cccc"), (0, "-dddd")):  # as an indexed Job's
            await here.make_pods("train", [index], suffix)
        for pod in here.pods("train"):
            index = pod["metadata"]["name"].split("-")[1]
            annotations = {"batch.kubernetes.io/job-completion-index": index}
            here.cluster.put({**pod, "metadata": {**pod["metadata"], "annotations": annotations}})
        await eventually("its template is there", lambda: _template(here, "train"))
        make_claims(here, "train", "train")
        await bound(here, "train", 4)
        racks = {name.split("-")[1]: at[:2] for name, (at, _) in here.bound("train").items()}
        assert racks["0"] == racks["1"] != racks["2"] == racks["3"]
        assert len(set(taken(here))) == 4


async def test_devices_of_a_gang_that_fails_as_nobody_foresaw_are_given_again(tmp_path: Path) -> None:
    async with with_devices(tmp_path, n1=2) as here:
        errors: list[Any] = [KeyError("uid")]
        here.cluster.faults.append(lambda verb, key: errors.pop() if verb == "bind" and errors else None)
        await run(here, "train", pods=2, count=1)
        await bound(here, "train", 2)
        assert len(set(taken(here))) == 2
