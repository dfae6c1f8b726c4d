from __future__ import annotations

import pytest
from sqlalchemy import Table, select

from hub.errors import Forbidden, Unauthenticated
from hub.records import JobFilter
from hub.store import clusters, rows
from placement.fleet import Health
from placement.lifecycle import Event
from tests.hub.loops.rig import ADMIN, ANN, FakeSpoke, Hub, manifest

DAY = 24 * 3600


async def test_a_silent_cluster_is_disconnected_then_lost_and_keeps_its_jobs(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.jobs.submit(ANN, manifest("a"))
    await hub.placing.settle()
    for seconds, health in ((10, Health.READY), (10, Health.DISCONNECTED), (60, Health.LOST)):
        hub.clock.advance(seconds)
        await hub.health.tick()
        assert hub.federation.fleet().clusters["east"].health is health
    assert len(hub.federation.fleet().reservations) == 1
    await hub.uplink.heartbeat("east")
    assert hub.federation.fleet().clusters["east"].health is Health.READY


async def test_sightings_and_summaries_are_kept(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.health.tick()
    kept = await hub.store.read(clusters.summaries)
    assert kept == {"east": hub.federation.fleet().clusters["east"].summary}
    hub.clock.advance(5)
    await hub.uplink.heartbeat("east")
    await hub.health.tick()
    record = await hub.store.read(lambda session: clusters.record(session, "east"))
    assert record is not None
    assert record.last_seen == hub.clock()


async def test_expired_tokens_are_told_apart_for_a_day_then_forgotten(hub: Hub) -> None:
    token = await hub.clusters.make_token(ADMIN, "east")
    hub.clock.advance(12 * 3600)
    await hub.health.tick()
    with pytest.raises(Forbidden):
        await hub.clusters.join(token, b"CSR")
    hub.clock.advance(13 * 3600)
    await hub.health.tick()
    with pytest.raises(Unauthenticated):
        await hub.clusters.join(token, b"CSR")


async def test_a_job_that_ended_long_ago_is_forgotten_with_all_that_refers_to_it(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)

    async def ended(name: str) -> None:
        await hub.jobs.submit(ANN, manifest(name), client_key=f"key of {name}")
        await hub.placing.settle()
        await spoke.obey(hub)
        (ref,) = spoke.live
        spoke.advance(ref, Event.SUCCEED)
        await spoke.send_reports(hub)
        await spoke.send_summary(hub)

    await ended("old")
    hub.clock.advance(DAY)
    await ended("new")  # the last number of either sort is this one's
    last = hub.copies.feed.last
    hub.clock.advance(29 * DAY - 1)
    await hub.health.tick()
    assert await named(hub) == {"old", "new"}
    hub.clock.advance(2)
    await hub.health.tick()
    assert await named(hub) == {"new"}
    for table in (rows.job_specs, rows.placements, rows.job_events, rows.submissions):
        assert len(await jobs_in(hub, table)) == 1
    # An event's number is never given twice, however much is forgotten.
    hub.clock.advance(60 * DAY)
    await hub.health.tick()
    assert await named(hub) == {"new"}
    await hub.jobs.submit(ANN, manifest("next"), client_key="key of old")
    assert hub.copies.feed.last == last + 1


async def test_a_job_that_lives_or_is_owed_an_answer_is_kept(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    await hub.jobs.submit(ANN, manifest("runs"))
    await hub.jobs.submit(ANN, manifest("owed"))
    await hub.placing.settle()
    await spoke.obey(hub)
    await spoke.send_reports(hub)
    owed = next(ref for ref, running in spoke.live.items() if running.start.workload.name == "owed")
    await hub.jobs.cancel(ANN, "owed")
    spoke._report(owed, Event.STOPPED, "gone")
    await spoke.send_reports(hub)  # and never answers the command
    await hub.jobs.submit(ANN, manifest("waits", gpus=100))  # its event is the last
    hub.clock.advance(100 * DAY)
    await hub.health.tick()
    assert await named(hub) == {"runs", "owed", "waits"}
    assert len(await hub.uplink.pending_commands("east")) == 1


async def test_acknowledged_commands_are_kept_for_a_day_and_the_last_one_for_ever(hub: Hub) -> None:
    spoke = FakeSpoke("east")
    await spoke.join(hub)
    await spoke.connect(hub)
    for name in "abc":
        await hub.jobs.submit(ANN, manifest(name))
    await hub.placing.settle()
    await spoke.obey(hub)
    await hub.health.tick()
    assert len(await jobs_in(hub, rows.commands)) == 3
    hub.clock.advance(DAY + 1)
    await hub.health.tick()
    assert len(await jobs_in(hub, rows.commands)) == 1
    await hub.jobs.cancel(ANN, "a")
    (stop,) = await hub.uplink.pending_commands("east")
    assert stop.id == 4


async def named(hub: Hub) -> set[str]:
    return {job.name for job in (await hub.jobs.list(ANN, JobFilter())).jobs}


async def jobs_in(hub: Hub, table: Table) -> set[object]:
    """What the rows of the table are about."""
    column = table.c.id if table is rows.commands else table.c.get("job", table.c.get("client_key"))
    return set(await hub.store.read(lambda session: session.connection().execute(select(column)).scalars().all()))
