"""What is distributed is made as ordered, kept so, and removed; what is not Muster's, or not allowed, is left alone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from placement.distribution.states import State
from placement.objects import ObjectKey
from placement.safety.policy import Policy
from spoke import policy
from spoke.cluster.fake import key_of
from spoke.cluster.port import ClusterError, Object, Refused, Unavailable
from spoke.policy import ClusterPolicy, Guard
from tests.spoke.stage import CATALOGUE, OWNER, Stage, eventually, node, stage
from wire.distribution import (
    OLDER,
    UNKNOWN,
    Distribute,
    DistributionAck,
    DistributionOrder,
    DistributionRef,
    DistributionReport,
    Withdraw,
)

JOBS = policy.default(CATALOGUE).jobs
ALLOWING = ClusterPolicy(JOBS, Policy(kinds=("storage.k8s.io/v1/StorageClass", "v1/ConfigMap")))


def storage_class(name: str = "fast", **parameters: str) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "csi.example.com",
        "parameters": parameters,
    }


def config(name: str = "mig", namespace: str = "gpu", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


DAEMON_SET = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "plugin", "namespace": "gpu"}}


def order(generation: int, *objects: dict[str, Any], name: str = "storage", adopt: bool = False) -> DistributionOrder:
    return DistributionOrder(DistributionRef(name, generation), Distribute(objects, adopt))


def withdrawal(generation: int, *keys: ObjectKey, name: str = "storage") -> DistributionOrder:
    return DistributionOrder(DistributionRef(name, generation), Withdraw(keys))


class Hub:
    """What it was told last of each distribution."""

    def __init__(self, on: Stage) -> None:
        self.on = on
        self.reports: dict[str, DistributionReport] = {}

    async def orders(self, *orders: DistributionOrder) -> list[DistributionAck]:
        return list(await self.on.agent.distributed(orders, None))

    async def listens(self) -> None:
        self.reports |= {one.ref.name: one for one in self.on.agent.distribution_reports()}
        while True:
            self.reports |= {one.ref.name: one for one in await self.on.agent.wait_for_distribution_reports()}

    async def told(self, generation: int, *states: State, name: str = "storage") -> DistributionReport:
        def found() -> bool:
            report = self.reports.get(name)
            return (
                report is not None
                and report.ref.generation == generation
                and tuple(one.state for one in report.objects) == states
            )

        await eventually(f"{states} is told of generation {generation}: {self.reports.get(name)}", found)
        return self.reports[name]

    async def gone(self, generation: int, name: str = "storage") -> None:
        ref = DistributionRef(name, generation)
        await eventually("it is gone", lambda: self.reports.get(name) == DistributionReport(ref, (), gone=True))


async def on_stage(on: Stage) -> Hub:
    hub = Hub(on)
    on.agent.crew.spawn(hub.listens(), "the hub listens")
    return hub


def present(on: Stage, obj: dict[str, Any]) -> Any:
    return on.cluster._objects.get(key_of(obj))


@pytest.fixture
def guard() -> Guard:
    return Guard(ALLOWING, CATALOGUE)


async def test_what_is_ordered_is_made_marked_changed_and_removed(tmp_path: Path, guard: Guard) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        assert await hub.orders(order(1, storage_class(tier="gold"), config(a="1"))) == [
            DistributionAck(DistributionRef("storage", 1))
        ]
        await hub.told(1, State.APPLIED, State.APPLIED)
        made = present(on, storage_class())
        assert made["parameters"] == {"tier": "gold"}
        assert made["metadata"]["labels"] == {"muster.dev/distribution": "storage"}
        assert made["metadata"]["annotations"] == {"muster.dev/owner": OWNER}
        await hub.orders(order(2, storage_class(tier="lead")))
        await hub.told(2, State.APPLIED)
        assert present(on, storage_class())["parameters"] == {"tier": "lead"}
        assert present(on, config()) is None
        await hub.orders(withdrawal(3))
        await hub.gone(3)
        assert present(on, storage_class()) is None


async def test_what_somebody_changes_or_deletes_is_put_right_and_what_they_add_stays(
    tmp_path: Path, guard: Guard
) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        await hub.orders(order(1, config(a="1")))
        await hub.told(1, State.APPLIED)
        made = present(on, config())
        on.cluster.put({**made, "data": {"a": "2", "theirs": "x"}})
        await eventually("it is as ordered", lambda: present(on, config())["data"] == {"a": "1", "theirs": "x"})
        on.cluster.remove(key_of(config()))
        await eventually("it is made again", lambda: present(on, config()) is not None)
        unmarked = {**present(on, config())["metadata"], "labels": {}, "annotations": {}}
        on.cluster.put({**present(on, config()), "metadata": unmarked})
        await eventually("it is marked again", lambda: bool(present(on, config())["metadata"]["labels"]))


async def test_what_the_owner_does_not_allow_is_refused_and_the_rest_is_made(tmp_path: Path, guard: Guard) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        await hub.orders(order(1, DAEMON_SET, storage_class()))
        report = await hub.told(1, State.REFUSED, State.APPLIED)
        assert "apps/v1/DaemonSet is not among the kinds" in report.objects[0].reason
        assert present(on, DAEMON_SET) is None
        assert present(on, storage_class()) is not None


async def test_by_default_nothing_is_let_in(tmp_path: Path) -> None:
    async with stage(tmp_path, node("n1")) as on:
        hub = await on_stage(on)
        await hub.orders(order(1, storage_class()))
        await hub.told(1, State.REFUSED)
        assert present(on, storage_class()) is None


async def test_what_is_not_musters_is_neither_changed_nor_removed(tmp_path: Path, guard: Guard) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        theirs = on.cluster.put(config(a="theirs"))
        await hub.orders(order(1, config(a="ours")))
        report = await hub.told(1, State.FAILED)
        assert "not Muster's" in report.objects[0].reason
        await hub.orders(order(2, config(a="ours"), adopt=True))
        report = await hub.told(2, State.REFUSED)
        assert "adopt: false" in report.objects[0].reason
        await hub.orders(withdrawal(3))
        await hub.gone(3)
        assert present(on, config()) == theirs


async def test_what_exists_is_taken_over_where_the_owner_lets_it(tmp_path: Path) -> None:
    rules = ClusterPolicy(JOBS, ALLOWING.distributed, adopt=True)
    async with stage(tmp_path, node("n1"), guard=Guard(rules, CATALOGUE)) as on:
        hub = await on_stage(on)
        on.cluster.put(config(a="theirs", b="theirs"))
        await hub.orders(order(1, config(a="ours"), adopt=True))
        await hub.told(1, State.APPLIED)
        assert present(on, config())["data"] == {"a": "ours", "b": "theirs"}
        await hub.orders(withdrawal(2))
        await hub.gone(2)
        assert present(on, config()) is None


async def test_an_object_goes_from_one_distribution_to_another(tmp_path: Path, guard: Guard) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        await hub.orders(order(1, config(a="1"), name="one"))
        await hub.told(1, State.APPLIED, name="one")
        await hub.orders(order(2, config(a="2"), name="two"))
        report = await hub.told(2, State.FAILED, name="two")
        assert report.objects[0].reason == "distribution one has it here"
        await hub.orders(withdrawal(3, name="one"))
        await hub.told(2, State.APPLIED, name="two")
        assert present(on, config())["data"] == {"a": "2"}


async def test_a_cluster_that_is_away_is_waited_for_and_one_that_says_no_is_told(tmp_path: Path, guard: Guard) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        errors: dict[str, ClusterError] = {"apply": Unavailable("it is starting")}
        on.cluster.faults.append(lambda verb, key: errors.get(verb))
        await hub.orders(order(1, config(a="1")))
        assert (await hub.told(1, State.PENDING)).objects[0].reason == "it is starting"
        errors["apply"] = Refused("data: Too long")
        assert (await hub.told(1, State.FAILED)).objects[0].reason == "data: Too long"
        await hub.orders(withdrawal(2))
        await hub.gone(2)


async def test_a_restart_goes_on_with_what_the_ledger_says(tmp_path: Path, guard: Guard) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        await hub.orders(order(1, config(a="1"), config("other", a="1")))
        await hub.told(1, State.APPLIED, State.APPLIED)
        blocked = [lambda verb, key: Unavailable("away") if verb == "delete" else None]
        on.cluster.faults += blocked
        await hub.orders(order(2, config(a="2")))
        await hub.told(2, State.APPLIED, State.REMOVING)
        await on.drop_curtain()
        on.cluster.faults.clear()
        on.cluster.put({**present(on, config()), "data": {"a": "changed meanwhile"}})
        await on.raise_curtain()
        hub = await on_stage(on)
        await hub.told(2, State.APPLIED)
        assert present(on, config())["data"] == {"a": "2"}
        assert present(on, config("other")) is None
        assert (await hub.orders(order(1, config(a="1"))))[0] == DistributionAck(
            DistributionRef("storage", 1), OLDER, "storage is at generation 2 here", 2
        )


async def test_an_order_that_comes_while_the_one_before_is_carried_out_is_carried_out_too(
    tmp_path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        await hub.orders(order(1, config(a="1")))
        await hub.told(1, State.APPLIED)
        await on.drop_curtain()
        gate, apply = asyncio.Event(), on.cluster.apply

        async def slow(obj: Object, *, manager: str, force: bool) -> Object:
            await gate.wait()
            return await apply(obj, manager=manager, force=force)

        monkeypatch.setattr(on.cluster, "apply", slow)
        await on.raise_curtain()  # it applies the first once more, slowly
        hub = await on_stage(on)
        await hub.orders(order(2, config(a="2")))
        gate.set()
        await hub.told(2, State.APPLIED)
        assert present(on, config())["data"] == {"a": "2"}


async def test_what_the_hub_does_not_know_is_removed_and_what_was_lost_is_asked_for(
    tmp_path: Path, guard: Guard
) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        await hub.orders(order(1, config(a="1")))
        await hub.told(1, State.APPLIED)
        lost = DistributionRef("lost", 7)
        assert [(ack.ref, ack.refused_code) for ack in await on.agent.distributed([], [lost])] == [(lost, UNKNOWN)]
        await eventually("the other is gone", lambda: present(on, config()) is None)
        assert "storage" not in {one.ref.name for one in on.agent.distribution_reports()}
        await eventually("the ledger forgets it", lambda: not on.ledger._distributions)
        # Its ledger was lost with it: what it may have comes with the order.
        on.cluster.put(config("stray", a="1") | {"metadata": marked("lost", "stray")})
        await hub.orders(withdrawal(8, key_of_config("stray"), name="lost"))
        await hub.gone(8, "lost")
        assert present(on, config("stray")) is None
        assert await on.agent.distributed([], []) == []
        assert await on.ledger.distributions() == ()


async def test_a_removed_cluster_keeps_nothing(tmp_path: Path, guard: Guard) -> None:
    async with stage(tmp_path, node("n1"), guard=guard) as on:
        hub = await on_stage(on)
        await hub.orders(order(1, config(a="1"), storage_class()))
        await hub.told(1, State.APPLIED, State.APPLIED)
        await on.agent.removed()
        assert (present(on, config()), present(on, storage_class())) == (None, None)


def marked(distribution: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "gpu",
        "labels": {"muster.dev/distribution": distribution},
        "annotations": {"muster.dev/owner": OWNER},
    }


def key_of_config(name: str) -> ObjectKey:
    return ObjectKey("v1", "ConfigMap", "gpu", name)
