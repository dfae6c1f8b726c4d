"""Who is given what, as labels, files and clusters change; what spokes say of it, and what is shown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hub.distributions import Distributions, DistributionState
from hub.errors import ConflictError, Forbidden, Invalid, NotFound
from hub.loops.distributing import DistributingLoop
from hub.store import distributions as stored
from placement.distribution import reading
from placement.distribution.states import ObjectState, State
from placement.objects import ObjectKey
from tests.hub.loops.rig import ADMIN, ANN, CATALOGUE, FakeSpoke, Hub, a_hub
from wire import capabilities
from wire.distribution import (
    INVALID,
    OLDER,
    UNKNOWN,
    Distribute,
    DistributionAck,
    DistributionOrder,
    DistributionReport,
    Withdraw,
)

FAST = b"""
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
provisioner: csi.example.com
"""
MIG = b"{apiVersion: v1, kind: ConfigMap, metadata: {name: mig, namespace: gpu}, data: {a: '1'}}"


@dataclass
class Spokes:
    here: set[str] = field(default_factory=set)
    old: set[str] = field(default_factory=set)

    def connected(self, cluster: str) -> bool:
        return cluster in self.here

    def can(self, cluster: str, capability: str) -> bool:
        return capability == capabilities.DISTRIBUTE and cluster not in self.old


@dataclass
class Stand:
    hub: Hub
    book: Distributions
    loop: DistributingLoop
    spokes: Spokes

    async def orders(self, cluster: str, after: int = 0) -> list[DistributionOrder]:
        async with asyncio.timeout(5):
            return list(await self.hub.uplink.wait_for_distributions(cluster, after))

    async def obeys(self, cluster: str, state: State = State.APPLIED, reason: str = "") -> list[DistributionOrder]:
        """Takes every order, and does it at once."""
        orders = await self.orders(cluster)
        acks = [DistributionAck(order.ref) for order in orders]
        reports = [
            DistributionReport(one.ref, done(one, state, reason), isinstance(one.order, Withdraw)) for one in orders
        ]
        await self.hub.uplink.distributions_told(cluster, acks, reports)
        return orders

    async def shown(self, name: str = "storage") -> dict[str, State]:
        return {cluster: one.state for cluster, one in (await self.book.show(ADMIN, name)).clusters.items()}

    async def put(self, text: bytes = FAST, to: str = "env=prod", name: str = "storage") -> DistributionState:
        return await self.book.put(ADMIN, name, text, to=to)


def done(order: DistributionOrder, state: State, reason: str) -> tuple[ObjectState, ...]:
    if isinstance(order.order, Withdraw):
        return ()
    return tuple(ObjectState(reading.key_of(obj), state, reason) for obj in order.order.objects)


@pytest.fixture
async def stand(hub: Hub) -> Stand:
    for name, env in (("east", "prod"), ("west", "prod"), ("north", "dev")):
        await FakeSpoke(name).join(hub)
        await hub.clusters.label(ADMIN, name, {"env": env})
    return await standing(hub)


async def standing(hub: Hub) -> Stand:
    spokes = Spokes({"east", "west", "north"})
    book = Distributions(hub.store, hub.federation, CATALOGUE, spokes, clock=hub.clock)
    return Stand(hub, book, DistributingLoop(hub.store, clock=hub.clock), spokes)


async def test_those_that_are_selected_are_told_and_what_they_say_is_shown(stand: Stand) -> None:
    made = await stand.put()
    assert (made.record.revision, made.record.changed_by) == (1, ADMIN.user)
    assert await stand.shown() == {"east": State.PENDING, "west": State.PENDING}
    (order,) = await stand.obeys("east")
    assert isinstance(order.order, Distribute)
    assert order.order.objects[0]["metadata"] == {"name": "fast"}
    await stand.obeys("west", State.REFUSED, "the policy of this cluster's owner")
    assert await stand.shown() == {"east": State.APPLIED, "west": State.REFUSED}
    assert (await stand.book.show(ADMIN, "storage")).clusters["west"].reason == (
        "StorageClass fast: the policy of this cluster's owner"
    )
    assert await stand.hub.uplink.standing_distributions("east") == (order.ref,)
    assert await stand.hub.store.read(lambda db: stored.pending(db, "east")) == ()


async def test_a_label_moves_it_and_a_cluster_that_joins_is_given_it(stand: Stand) -> None:
    await stand.put()
    for cluster in ("east", "west"):
        await stand.obeys(cluster)
    await stand.hub.clusters.label(ADMIN, "west", {"env": None})
    await stand.hub.clusters.label(ADMIN, "north", {"env": "prod"})
    await FakeSpoke("south").join(stand.hub)
    await stand.hub.clusters.label(ADMIN, "south", {"env": "prod"})
    assert await stand.loop.tick() == 3
    assert await stand.loop.tick() == 0
    assert await stand.shown() == {
        "east": State.APPLIED,
        "west": State.REMOVING,
        "north": State.PENDING,
        "south": State.OFFLINE,
    }
    (order,) = await stand.obeys("west")
    assert order.order == Withdraw((ObjectKey("storage.k8s.io/v1", "StorageClass", "", "fast"),))
    assert "west" not in await stand.shown()


async def test_the_loop_is_woken_by_what_selectors_see_and_by_nothing_else(stand: Stand) -> None:
    looking = asyncio.ensure_future(stand.loop.run())
    await stand.put(to="env=prod")
    await stand.hub.clusters.label(ADMIN, "north", {"env": "prod"})
    await stand.orders("north")
    await asyncio.sleep(0)
    assert not stand.loop._changed.is_set()
    await stand.hub.clusters.cordon(ADMIN, "north", True)
    assert not stand.loop._changed.is_set()
    looking.cancel()


async def test_a_changed_file_is_told_again_and_the_same_one_is_not(stand: Stand) -> None:
    await stand.put()
    (first,) = await stand.obeys("east")
    assert (await stand.put()).record.revision == 1
    assert await stand.hub.store.read(lambda db: stored.pending(db, "east")) == ()
    assert (await stand.put(MIG)).record.revision == 2
    (second,) = await stand.orders("east", first.ref.generation)
    assert second.ref.generation > first.ref.generation
    # What is said of the earlier order changes nothing any more.
    late = DistributionReport(first.ref, done(first, State.FAILED, "late"))
    await stand.hub.uplink.distributions_told("east", [], [late])
    assert (await stand.shown())["east"] is State.PENDING


async def test_deleting_takes_it_from_everybody_and_then_forgets_it(stand: Stand) -> None:
    await stand.put()
    await stand.obeys("east")
    left = await stand.book.delete(ADMIN, "storage")
    assert left is not None
    assert (left.record.deleting, set(left.clusters)) == (True, {"east", "west"})
    await stand.obeys("east")
    stand.spokes.here.discard("west")
    assert await stand.shown() == {"west": State.OFFLINE}
    await stand.obeys("west")
    with pytest.raises(NotFound):
        await stand.book.show(ADMIN, "storage")
    assert (await stand.put()).record.revision == 1
    await stand.book.delete(ADMIN, "storage")
    assert (await stand.put()).record.deleting is False
    assert await stand.shown() == {"east": State.PENDING, "west": State.OFFLINE}


async def test_one_that_nobody_has_is_deleted_at_once(stand: Stand) -> None:
    await stand.put(to="env=nowhere")
    assert await stand.book.delete(ADMIN, "storage") is None
    with pytest.raises(NotFound, match="no distribution 'storage'"):
        await stand.book.delete(ADMIN, "storage")


async def test_a_removed_cluster_is_waited_for_no_more(stand: Stand) -> None:
    await stand.put()
    await stand.book.delete(ADMIN, "storage")
    for cluster in ("east", "west"):
        await stand.hub.clusters.remove(ADMIN, cluster, force=False)
    await stand.loop.tick()
    assert await stand.book.list(ADMIN) == []


async def test_a_spoke_that_is_too_old_and_one_that_is_away_are_told_apart(stand: Stand) -> None:
    stand.spokes.old.add("east")
    stand.spokes.here.discard("west")
    shown = (await stand.put()).clusters
    assert {name: one.state for name, one in shown.items()} == {"east": State.PENDING, "west": State.OFFLINE}
    assert "upgrade it" in shown["east"].reason


@pytest.mark.parametrize("code", [OLDER, UNKNOWN])
async def test_a_spoke_that_knows_more_or_less_is_told_again(stand: Stand, code: str) -> None:
    await stand.put()
    (order,) = await stand.obeys("east")
    ahead = order.ref.generation + 1_000_000_000
    await stand.hub.uplink.distributions_told("east", [DistributionAck(order.ref, code, "", ahead)], [])
    (again,) = await stand.orders("east", order.ref.generation)
    assert again.ref.generation > ahead
    assert again.order == order.order
    assert (await stand.shown())["east"] is State.PENDING


async def test_an_order_that_a_spoke_cannot_read_has_failed_there(stand: Stand) -> None:
    await stand.put()
    (order,) = await stand.orders("east")
    refused = DistributionAck(order.ref, INVALID, "distribute.objects_json: is not JSON")
    await stand.hub.uplink.distributions_told("east", [refused], [])
    assert (await stand.book.show(ADMIN, "storage")).clusters["east"].reason == refused.refused_message


async def test_what_one_distribution_gives_another_does_not_give_to_the_same_cluster(stand: Stand) -> None:
    await stand.put()
    with pytest.raises(ConflictError, match="distribution storage gives StorageClass fast to east already"):
        await stand.put(to="name=east", name="other")
    await stand.put(to="env=dev", name="other")
    await stand.put(MIG, to="name=east", name="third")


@pytest.mark.parametrize(
    ("name", "text", "to", "said"),
    [
        ("St", FAST, "*", "no name of a distribution"),
        ("storage", FAST, "", "write env=prod"),
        ("storage", FAST, "env=", ""),
        ("storage", FAST, "env in", "cannot be read"),
        ("storage", b"kind: X", "*", "no apiVersion"),
        ("storage", b"{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: b}}", "*", "again and again"),
    ],
)
async def test_bad_input_changes_nothing(stand: Stand, name: str, text: bytes, to: str, said: str) -> None:
    if not said:  # an empty value is a value
        await stand.put(text, to, name)
        return
    with pytest.raises(Invalid, match=said) as refused:
        await stand.put(text, to, name)
    assert refused.value.mend
    assert await stand.book.list(ADMIN) == []


async def test_a_dry_run_says_where_it_would_go_and_changes_nothing(stand: Stand) -> None:
    dry = await stand.book.put(ADMIN, "storage", FAST, to="env=prod", dry=True)
    assert set(dry.clusters) == {"east", "west"}
    assert await stand.book.list(ADMIN) == []


async def test_admins_only(stand: Stand) -> None:
    for asked in (
        stand.book.list(ANN),
        stand.book.show(ANN, "x"),
        stand.book.put(ANN, "x", FAST, to="*"),
        stand.book.delete(ANN, "x"),
        stand.hub.clusters.label(ANN, "east", {"a": "b"}),
    ):
        with pytest.raises(Forbidden):
            await asked


async def test_it_stands_after_a_restart(tmp_path: Path) -> None:
    async with a_hub(tmp_path / "hub.sqlite") as hub:
        await FakeSpoke("east").join(hub)
        first = await standing(hub)
        await first.put(to="*")
        (order,) = await first.orders("east")
    async with a_hub(tmp_path / "hub.sqlite", seed=1) as hub:
        again = await standing(hub)
        assert await again.loop.tick() == 0
        assert await again.obeys("east") == [order]
        assert await again.shown() == {"east": State.APPLIED}


@pytest.mark.parametrize("labels", [{"a b": "c"}, {"a": "c d"}, {"": "x"}, {"a/b/c": "x"}])
async def test_a_label_that_is_none_is_refused(stand: Stand, labels: dict[str, str | None]) -> None:
    with pytest.raises(Invalid, match="is no label"):
        await stand.hub.clusters.label(ADMIN, "east", labels)


async def test_many_orders_are_read_a_few_at_a_time_and_none_is_left_out(stand: Stand) -> None:
    many = stored.AT_A_TIME + 3
    for number in range(many):
        await stand.put(MIG.replace(b"name: mig", b"name: mig-%d" % number), to="name=east", name=f"d{number}")
    first = await stand.orders("east")
    rest = await stand.orders("east", first[-1].ref.generation)
    assert [one.ref.name for one in (*first, *rest)] == [f"d{number}" for number in range(many)]
