from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from hub.errors import ConflictError, Forbidden, HubError, Invalid, NotFound, Unauthenticated
from hub.link.port import NotWelcome
from hub.store import clusters
from placement.lifecycle import Phase
from tests.hub.loops.rig import ADMIN, ANN, EVE, FakeSpoke, Hub, manifest
from wire.orders import Stop


async def member(hub: Hub, name: str = "east") -> FakeSpoke:
    spoke = FakeSpoke(name)
    await spoke.join(hub)
    await spoke.connect(hub)
    return spoke


# ---- joining ----


async def test_a_token_lets_one_cluster_in_under_its_name(hub: Hub) -> None:
    token = await hub.clusters.make_token(ADMIN, "east", region="eu", labels={"tier": "gold"})
    assert token.endswith("." + "f" * 64)
    assert (await hub.clusters.show(ADMIN, "east")).health == "joining"
    joined = await hub.clusters.join(token, b"CSR")
    assert (joined.cluster, joined.certificate_pem, joined.ca_pem) == ("east", b"east #1", b"CA")
    state = await hub.clusters.show(EVE, "east")
    assert (state.region, state.labels, state.health) == ("eu", {"tier": "gold"}, "joining")
    assert state.certificate_expires_at == hub.clock() + timedelta(hours=24)


async def test_a_token_is_good_once(hub: Hub) -> None:
    token = await hub.clusters.make_token(ADMIN, "east")
    answers = await asyncio.gather(*(hub.clusters.join(token, b"CSR") for _ in range(4)), return_exceptions=True)
    refused = [one for one in answers if isinstance(one, HubError)]
    assert len(refused) == 3
    assert {(type(one), one.code) for one in refused} == {(Forbidden, "join-token-used")}
    record = hub.federation.record("east")
    (joined,) = (one for one in answers if not isinstance(one, BaseException))
    assert record is not None
    assert joined.certificate_pem.decode() == f"east #{record.serial}"


async def test_a_token_is_good_for_fifteen_minutes(hub: Hub) -> None:
    token = await hub.clusters.make_token(ADMIN, "east")
    hub.clock.advance(15 * 60)
    with pytest.raises(Forbidden) as refused:
        await hub.clusters.join(token, b"CSR")
    assert refused.value.code == "join-token-expired"
    hub.clock.advance(-1)
    await hub.clusters.join(token, b"CSR")


def altered(token: str) -> str:
    return token[:20] + ("A" if token[20] != "A" else "B") + token[21:]


@pytest.mark.parametrize("spoil", [lambda _: "", lambda token: "x" + token, altered, lambda _: "a.b.c"])
async def test_a_wrong_token(hub: Hub, spoil: object) -> None:
    token = await hub.clusters.make_token(ADMIN, "east")
    with pytest.raises(Unauthenticated) as refused:
        await hub.clusters.join(spoil(token), b"CSR")  # type: ignore[operator]
    assert refused.value.code == "bad-join-token"


async def test_a_bad_signing_request_does_not_use_the_token_up(hub: Hub) -> None:
    token = await hub.clusters.make_token(ADMIN, "east")
    with pytest.raises(Invalid) as refused:
        await hub.clusters.join(token, b"nonsense")
    assert refused.value.code == "bad-csr"
    await hub.clusters.join(token, b"CSR")


@pytest.mark.parametrize("name", ["", "East", "a" * 64, "-a", "a b", "ä", "a\n"])
async def test_names_that_are_none(hub: Hub, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.clusters.make_token(ADMIN, name)
    assert refused.value.code == "bad-cluster-name"


async def test_the_secret_is_stored_hashed(hub: Hub) -> None:
    token = await hub.clusters.make_token(ADMIN, "east")
    id_, secret, _ = token.split(".")
    kept = await hub.store.read(lambda session: clusters.token(session, id_))
    assert kept is not None
    assert secret.encode() not in kept.secret_hash
    assert len(kept.secret_hash) == 32


async def test_only_admins_steer(hub: Hub) -> None:
    await member(hub)
    for actor in (ANN, EVE):
        for attempt in (
            hub.clusters.make_token(actor, "west"),
            hub.clusters.cordon(actor, "east", True),
            hub.clusters.drain(actor, "east"),
            hub.clusters.remove(actor, "east", force=True),
        ):
            with pytest.raises(Forbidden):
                await attempt
    assert len(await hub.clusters.list(EVE)) == 1


# ---- seeing and steering ----


async def test_what_people_see_of_a_cluster(hub: Hub) -> None:
    await member(hub)
    await hub.jobs.submit(ANN, manifest("a"))
    await hub.placing.settle()
    (state,) = await hub.clusters.list(EVE)
    assert (state.name, state.health, state.gpus_total, state.gpus_free, state.nodes) == ("east", "ready", 16, 16, 2)
    assert (dict(state.products), state.jobs, state.agent_version) == ({"A100": 16}, 1, "1.0")
    assert state.last_seen == hub.clock()


async def test_a_cordoned_cluster_takes_no_new_jobs(hub: Hub) -> None:
    await member(hub)
    await hub.clusters.cordon(ADMIN, "east", True)
    await hub.jobs.submit(ANN, manifest("a"))
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "a")).phase is Phase.QUEUED
    await hub.clusters.cordon(ADMIN, "east", False)
    await hub.placing.settle()
    assert (await hub.jobs.show(ANN, "a")).phase is Phase.PLACED


async def test_draining_gives_each_job_the_grace_that_it_asks_for(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.jobs.submit_many(ANN, [manifest("a"), manifest("b", grace_s=120.0)])
    await hub.placing.settle()
    await spoke.obey(hub)
    await hub.clusters.drain(ADMIN, "east")
    orders = [command.order for command in await hub.uplink.pending_commands("east")]
    assert sorted(order.grace_s for order in orders if isinstance(order, Stop)) == [30.0, 120.0]


async def test_draining_cordons_and_evicts_and_twice_is_once(hub: Hub) -> None:
    await member(hub)
    await hub.jobs.submit_many(ANN, [manifest(name) for name in "ab"])
    await hub.placing.settle()
    assert await hub.clusters.drain(ADMIN, "east") == 2
    await hub.clusters.drain(ADMIN, "east")
    assert len(await hub.uplink.pending_commands("east")) == 4  # two starts, two stops
    assert (await hub.clusters.show(ADMIN, "east")).cordoned


async def test_a_cluster_in_use_is_removed_by_force_only(hub: Hub) -> None:
    await member(hub)
    await hub.jobs.submit_many(ANN, [manifest("a"), manifest("b")])
    await hub.placing.settle()
    await hub.jobs.cancel(ANN, "b")
    with pytest.raises(ConflictError, match="2 jobs hold capacity"):
        await hub.clusters.remove(ADMIN, "east", force=False)
    assert hub.streams.closed == [("east", "certificate")]  # of its own joining
    await hub.clusters.remove(ADMIN, "east", force=True)
    assert hub.streams.closed[-1] == ("east", "removed")
    job = await hub.jobs.show(ANN, "a")
    assert (job.phase, job.epoch) == (Phase.QUEUED, 2)
    assert (await hub.jobs.show(ANN, "b")).phase is Phase.CANCELLED
    assert await hub.uplink.pending_commands("east") == ()
    assert hub.federation.fleet().clusters == {}
    with pytest.raises(NotFound):
        await hub.clusters.show(ADMIN, "east")
    with pytest.raises(NotFound):
        await hub.clusters.remove(ADMIN, "east", force=True)


async def test_a_removed_name_can_join_again_but_not_by_an_older_token(hub: Hub) -> None:
    spoke = await member(hub)
    unused = await hub.clusters.make_token(ADMIN, "east")
    await hub.clusters.remove(ADMIN, "east", force=False)
    with pytest.raises(Unauthenticated):
        await hub.clusters.join(unused, b"CSR")
    token = await hub.clusters.make_token(ADMIN, "east", region="us")
    with pytest.raises(NotWelcome):
        await hub.uplink.attach("east", spoke.serial, "1.0", "s")
    await hub.clusters.join(token, b"CSR")
    assert (await hub.clusters.show(ADMIN, "east")).region == "us"


@pytest.mark.parametrize("call", ["cordon", "drain", "remove"])
async def test_an_unknown_cluster(hub: Hub, call: str) -> None:
    attempts = {
        "cordon": lambda: hub.clusters.cordon(ADMIN, "mars", True),
        "drain": lambda: hub.clusters.drain(ADMIN, "mars"),
        "remove": lambda: hub.clusters.remove(ADMIN, "mars", force=True),
    }
    with pytest.raises(NotFound, match="mars"):
        await attempts[call]()
