"""What was committed is all there is: a hub that was killed between any two steps goes on from its file."""

from __future__ import annotations

from pathlib import Path

from hub.records import UserRole
from placement.lifecycle import Event, Phase
from placement.money import Price, PriceBook
from tests.hub.loops.rig import ADMIN, ANN, Clock, FakeSpoke, a_hub, manifest
from wire.orders import JobRef


async def test_killed_at_each_step_of_a_jobs_way(tmp_path: Path) -> None:
    file, clock, spoke = tmp_path / "hub.sqlite", Clock(), FakeSpoke("east")
    async with a_hub(file, clock) as hub:
        await spoke.join(hub)
        await spoke.connect(hub)
        (one,) = await hub.jobs.submit(ANN, manifest("a"), client_key="k")
        ref = JobRef(one.job.id, 1)
    async with a_hub(file, clock) as hub:
        assert len(hub.copies.backlog) == 1
        await spoke.connect(hub)
        await hub.placing.settle()
    async with a_hub(file, clock) as hub:
        assert len(hub.copies.backlog) == 0
        assert [(held.job, held.epoch) for held in hub.federation.fleet().reservations] == [(ref.job, 1)]
        await spoke.connect(hub)
        await spoke.obey(hub, acknowledge=False)
    async with a_hub(file, clock) as hub:
        assert len(await hub.uplink.pending_commands("east")) == 1
        await spoke.connect(hub)
        await spoke.obey(hub)
        assert spoke.started == [ref]  # sent twice, started once
    async with a_hub(file, clock) as hub:
        assert await hub.uplink.pending_commands("east") == ()
        await spoke.connect(hub)
        spoke.advance(ref, Event.RUNNING)
        await spoke.send_reports(hub, acknowledge=False)
    async with a_hub(file, clock) as hub:
        assert (await hub.jobs.show(ANN, "a")).phase is Phase.RUNNING
        spoke.advance(ref, Event.SUCCEED)
        await spoke.connect(hub)
        assert spoke.unacked == []
    async with a_hub(file, clock) as hub:
        job = await hub.jobs.show(ANN, "a")
        assert (job.phase, job.epoch) == (Phase.SUCCEEDED, 1)
        assert hub.federation.fleet().reservations == ()
        history = (await hub.jobs.explain(ANN, "a")).history
        assert [event.event for event in history] == ["submit", "place", "starting", "running", "succeed"]
        assert [event.seq for event in history] == list(range(1, 6))
        again = await hub.jobs.submit(ANN, manifest("a"), client_key="k")
        assert [(one.job.id, one.created) for one in again] == [(ref.job, False)]


async def test_a_restarted_hub_knows_its_clusters_and_decides_when_they_are_back(tmp_path: Path) -> None:
    file, clock, spoke = tmp_path / "hub.sqlite", Clock(), FakeSpoke("east")
    book = PriceBook({("east", "A100"): Price(3.5, 1.25, 0.1)}, 0.02, Price(9.0))
    async with a_hub(file, clock) as hub:
        await spoke.join(hub)
        await spoke.connect(hub)
        await hub.clusters.cordon(ADMIN, "east", True)
        await hub.prices.replace(ADMIN, book)
        token = await hub.access.add_user(None, "ann", "red", UserRole.SUBMITTER)
        await hub.health.tick()
        seen = clock()
    clock.advance(30)
    async with a_hub(file, clock) as hub:
        state = await hub.clusters.show(ADMIN, "east")
        assert (state.health, state.gpus_total, state.cordoned) == ("disconnected", 16, True)
        assert (state.last_seen, state.agent_version) == (seen, "1.0")
        assert await hub.prices.book(ANN) == book
        assert (await hub.access.authenticate(token)).user == "ann"
        await hub.clusters.cordon(ADMIN, "east", False)
        await hub.uplink.attach("east", spoke.serial, "1.0", "s")  # before it has sent a summary
        await hub.jobs.submit(ANN, manifest("a"))
        await hub.placing.settle()
        job = await hub.jobs.show(ANN, "a")
        assert (job.phase, job.usd_per_hour) == (Phase.PLACED, 3.5)


async def test_a_removed_cluster_stays_removed(tmp_path: Path) -> None:
    file, clock, spoke = tmp_path / "hub.sqlite", Clock(), FakeSpoke("east")
    async with a_hub(file, clock) as hub:
        await spoke.join(hub)
        await spoke.connect(hub)
        await hub.health.tick()
        await hub.clusters.remove(ADMIN, "east", force=True)
    async with a_hub(file, clock) as hub:
        assert hub.federation.fleet().clusters == {}
        record = hub.federation.record("east")
        assert record is not None
        assert record.removed_at is not None
