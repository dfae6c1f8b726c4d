"""Orders, restarts, outages and other people's hands in any order: in the end the cluster has what was ordered last,
and nothing of theirs is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from placement.distribution.states import State
from spoke.cluster.fake import key_of
from spoke.cluster.port import ClusterError, Object, ObjectKey, Unavailable
from spoke.distribution.caring import Patience
from spoke.policy import Guard
from tests.spoke.distribution.test_caring import ALLOWING, Hub, config, order, present, withdrawal
from tests.spoke.stage import CATALOGUE, Stage, eventually, node, stage

NAMES = ("a", "b", "c")
DISTRIBUTIONS = ("one", "two")
QUICK = Patience(check_s=0.2, again_s=0.05, soon_s=0.005, calm_s=0.05)


class History:
    def __init__(self, on: Stage, seed: int) -> None:
        self.on = on
        self.rng = Random(seed)
        self.generation = 0
        self.last: dict[str, tuple[int, dict[str, str]]] = {}  # name -> the generation, and what each object is to say
        self.failing = 0.0
        on.cluster.faults.append(self.fault)
        self._apply = on.cluster.apply
        on.cluster.apply = self.apply  # type: ignore[method-assign]

    async def apply(self, obj: Object, *, manager: str, force: bool) -> Object:
        """Takes its time, so that things happen meanwhile."""
        await asyncio.sleep(self.rng.random() * 0.01)
        return await self._apply(obj, manager=manager, force=force)

    def fault(self, verb: str, key: ObjectKey | None) -> ClusterError | None:
        ours = verb in ("get", "apply", "delete") and key is not None and key.kind == "ConfigMap"
        return Unavailable("away") if ours and self.rng.random() < self.failing else None

    async def step(self) -> None:
        match self.rng.choice(["order", "order", "withdraw", "change", "delete", "restart", "fail", "wait"]):
            case "order":
                name = self.rng.choice(DISTRIBUTIONS)
                free = [
                    one
                    for one in NAMES
                    if all(one not in said for other, (_, said) in self.last.items() if other != name)
                ]
                if chosen := self.rng.sample(free, self.rng.randint(0, len(free))):
                    await self.order(name, {one: str(self.rng.randint(0, 3)) for one in chosen})
            case "withdraw":
                await self.order(self.rng.choice(DISTRIBUTIONS), {})
            case "change":
                if (obj := present(self.on, config(self.rng.choice(NAMES)))) is not None:
                    self.on.cluster.put({**obj, "data": {**obj["data"], "v": "x"}})
            case "delete":
                self.on.cluster.remove(key_of(config(self.rng.choice(NAMES))))
            case "restart":
                await self.on.restart()
            case "fail":
                self.failing = self.rng.choice([0.0, 0.5, 1.0])
            case "wait":
                await asyncio.sleep(self.rng.random() * 0.02)

    async def order(self, name: str, said: dict[str, str]) -> None:
        self.generation += 1
        self.last[name] = (self.generation, said)
        objects = [config(one, v=value) for one, value in said.items()]
        given: Any = order(self.generation, *objects, name=name) if said else withdrawal(self.generation, name=name)
        [ack] = await self.on.agent.distributed([given], None)
        assert ack.refused_code == ""

    def is_as_ordered(self) -> bool:
        wanted = {one: value for _, said in self.last.values() for one, value in said.items()}
        found = {one: present(self.on, config(one)) for one in NAMES}
        return {one: obj["data"]["v"] for one, obj in found.items() if obj is not None} == wanted


@pytest.mark.parametrize("seed", range(25))
async def test_in_the_end_it_is_as_was_ordered_last(tmp_path: Path, seed: int) -> None:
    guard = Guard(ALLOWING, CATALOGUE)
    async with stage(tmp_path, node("n1"), guard=guard, with_distributions=QUICK) as on:
        theirs = on.cluster.put(config("theirs", v="theirs"))
        history = History(on, seed)
        for _ in range(25):
            await history.step()
        history.failing = 0.0
        await eventually(f"{history.last} is there", history.is_as_ordered)
        hub = Hub(on)
        on.agent.crew.spawn(hub.listens(), "the hub listens")
        for name, (generation, said) in history.last.items():
            if said:
                await hub.told(generation, *[State.APPLIED] * len(said), name=name)
            else:
                await hub.gone(generation, name)
        assert present(on, config("theirs")) == theirs
        assert history.is_as_ordered()
