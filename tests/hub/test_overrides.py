from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.errors import Forbidden, Invalid, NotFound
from hub.overrides import OverrideBook
from hub.records import Object
from hub.store import audit, commands, jobs
from placement.fleet import PendingJob
from placement.kinds import reader
from placement.overrides.override import Clusters, ObjectPatch, Override
from placement.workload import NodeConstraint, OverrideRefusal, Toleration, Variant
from tests.hub.loops.rig import ADMIN, ANN, CATALOGUE, EVE, FakeSpoke, Hub, a_hub, manifest, workload

EAST = Clusters(names=("east",))
JOB = b"""
apiVersion: batch/v1
kind: Job
metadata: {name: train}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: main, image: torch}]}}
"""


def override(name: str, clusters: Clusters = EAST, **changes: Any) -> Override:
    return Override(name, clusters, **({"runtime_class": "nvidia"} | changes))


async def member(hub: Hub, name: str) -> None:
    spoke = FakeSpoke(name, nodes=2)
    await spoke.join(hub)
    await spoke.connect(hub)


@pytest.fixture
def book(hub: Hub) -> OverrideBook:
    return OverrideBook(hub.store, hub.federation, clock=hub.clock)


async def test_overrides_are_listed_in_the_order_in_which_they_are_applied(book: OverrideBook) -> None:
    await book.put(ADMIN, [override("b"), override("c"), override("a", priority=1)])
    assert [one.override.name for one in await book.list(EVE)] == ["b", "c", "a"]
    with pytest.raises(NotFound, match="override 'bb'"):
        await book.show(EVE, "bb")
    await book.delete(ADMIN, "c")
    assert [one.override.name for one in await book.list(EVE)] == ["b", "a"]


async def test_admins_alone_change_them_and_only_to_what_changes_something(book: OverrideBook, hub: Hub) -> None:
    with pytest.raises(Forbidden):
        await book.put(ANN, [override("a")])
    with pytest.raises(Forbidden):
        await book.delete(ANN, "a")
    with pytest.raises(Invalid, match="override a changes nothing"):
        await book.put(ADMIN, [override("a", runtime_class="")])
    large = ({"name": "A", "value": "x" * 70_000},)
    with pytest.raises(Invalid, match="bytes"):
        await book.put(ADMIN, [override("a", env=large)])
    assert hub.federation.overrides == ()
    assert book.check(ADMIN, [override("a")]) == ["override a means no cluster that is there now"]


async def test_every_change_is_in_the_audit_for_admins(book: OverrideBook, hub: Hub) -> None:
    await book.put(ADMIN, [override("a")])
    await book.delete(ADMIN, "a")
    noted = await hub.store.read(lambda session: audit.newest(session, ADMIN))
    assert [(one.user, one.action) for one in noted] == [("root", "override-delete"), ("root", "override-apply")]
    assert '"runtime_class":"nvidia"' in noted[1].detail
    assert await hub.store.read(lambda session: audit.newest(session, ANN)) == []


async def test_a_hub_that_starts_anew_knows_them(tmp_path: Path) -> None:
    patches = (ObjectPatch(({"op": "add", "path": "/spec/x", "value": {"a": [1]}},), kind="Job"),)
    asked = override("a", Clusters(labels={"env": ("prod",)}), claims={"a": "b"}, patches=patches)
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        await OverrideBook(hub.store, hub.federation, clock=hub.clock).put(ADMIN, [asked])
    async with a_hub(tmp_path / "hub.sqlite", seed=1) as hub:
        assert hub.federation.overrides == (asked,)


# ---- what they make of queued jobs ----


class Objects:
    """What is stored of jobs, and how often it was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def __call__(self, ids: Sequence[str]) -> Mapping[str, Sequence[Object]]:
        self.asked.append(list(ids))
        (submission,) = reader.read(JOB, CATALOGUE)
        return {id_: (submission.manifest,) for id_ in ids if id_ != "lost"}


def pending(hub: Hub, *names: str, tenant: str = "red") -> list[PendingJob]:
    (submission,) = reader.read(JOB, CATALOGUE)
    found = [PendingJob(name, 1, submission.workload, tenant, hub.clock()) for name in names]
    hub.copies.backlog.load(found)
    return found


async def test_a_job_is_worked_out_once_and_again_when_an_override_is_another(hub: Hub, book: OverrideBook) -> None:
    await member(hub, "east")
    await member(hub, "west")
    objects, backlog = Objects(), hub.copies.backlog
    jobs_ = pending(hub, "a")
    found, used = await hub.overriding.varied(jobs_, hub.federation.fleet(), objects)
    assert (found, used, objects.asked) == (jobs_, (), [])
    await book.put(ADMIN, [override("o", node_selector={"pool": "x"}), override("p", Clusters(names=("north",)))])
    found, used = await hub.overriding.varied(jobs_, hub.federation.fleet(), objects)
    assert [one.name for one in used] == ["o", "p"]
    (one,) = found
    assert list(one.workload.variants) == ["east"]
    assert one.workload.at("east").roles[0].constraint.terms
    assert one.workload.at("west") is one.workload
    kept = backlog.pending("a")
    assert kept is not None
    assert kept.workload is one.workload
    again, _ = await hub.overriding.varied([kept], hub.federation.fleet(), objects)
    assert again[0].workload is one.workload
    assert objects.asked == [["a"]]
    await book.delete(ADMIN, "o")
    (bare,), _ = await hub.overriding.varied([kept], hub.federation.fleet(), objects)
    assert bare.workload.variants == {}
    await book.delete(ADMIN, "p")
    (bare,), _ = await hub.overriding.varied([kept], hub.federation.fleet(), objects)
    assert bare.workload.variants == {}


async def test_one_job_that_cannot_be_worked_out_is_refused_alone(hub: Hub, book: OverrideBook) -> None:
    await member(hub, "east")
    await book.put(ADMIN, [override("o")])
    found, _ = await hub.overriding.varied(pending(hub, "lost", "a"), hub.federation.fleet(), Objects())
    lost, fine = (one.workload.variants["east"] for one in found)
    assert lost.refusal is not None
    assert lost.refusal.override == "o"
    assert (fine.overrides, fine.refusal) == (("o",), None)


async def test_a_tenant_is_judged_by_its_own_policy(hub: Hub, book: OverrideBook) -> None:
    await member(hub, "east")
    network = ObjectPatch(({"op": "add", "path": "/spec/template/spec/hostNetwork", "value": True},))
    await book.put(ADMIN, [override("net", patches=(network,))])
    (one,), _ = await hub.overriding.varied(pending(hub, "a"), hub.federation.fleet(), Objects())
    refusal = one.workload.variants["east"].refusal
    assert isinstance(refusal, OverrideRefusal)
    assert "hostNetwork" in refusal.field


# ---- what is kept of a placement ----


async def test_what_was_placed_stays_what_it_was_over_a_restart(tmp_path: Path) -> None:
    """The reservation and the command that is on its way are those of the overridden workload."""
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        await member(hub, "east")
        job = (await hub.jobs.submit(ANN, manifest("train")))[0].job
        plain = workload()
        tolerating = NodeConstraint(tolerations=(Toleration("gpu", "Exists"),))
        there = replace(plain, roles=tuple(replace(role, constraint=tolerating) for role in plain.roles))
        hub.copies.backlog.vary(job.id, 1, replace(plain, variants={"east": Variant(("o",), there)}))
        hub.overriding.varied = _as_they_are  # type: ignore[method-assign]
        hub.overriding.rendered_from = lambda objects, *_, **__: objects  # type: ignore[method-assign]
        await hub.placing.settle()
        (event, *_) = [one for one in (await hub.jobs.explain(ANN, job.id)).history if one.event == "place"]
        assert event.message == "placed on east, with the overrides o"
    async with a_hub(tmp_path / "hub.sqlite", seed=1) as hub:
        (held,) = await hub.store.read(jobs.reservations)
        assert held.workload.variants == {"east": Variant(("o",), there)}
        ((_, command),) = await hub.store.read(commands.open_commands)
        assert command.order.workload == there  # type: ignore[union-attr]
        assert command.order.varied  # type: ignore[union-attr]


async def _as_they_are(pending: Sequence[PendingJob], *_: object) -> tuple[Sequence[PendingJob], tuple[Override, ...]]:
    return pending, ()
