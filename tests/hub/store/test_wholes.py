"""Divided works in the tables: a whole and its parts under one name, changed in one transaction or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from hub.records import DivisionRecord, JobFilter, Shunned
from hub.store import codec, jobs, wholes
from hub.store.jobs import NewJob, name_of
from hub.store.wholes import Change, Whole
from placement.lifecycle import Phase
from placement.workload import Divide, DivideBy, Hints
from tests.hub.loops.rig import ADMIN, ANN, START_OF_TIME, Hub, workload

NOW = START_OF_TIME + timedelta(minutes=1)
ASKED = DivisionRecord(6, False)
DIVIDED = replace(workload("web", pods=6), hints=Hints(divide=Divide(DivideBy.WEIGHTS, (("eu-a", 2),), 1, 3)))


def a_whole(id_: str = "j-whole") -> NewJob:
    return jobs.new_job(id_, DIVIDED, ({"kind": "Job"},), START_OF_TIME, whole=id_, division=ASKED)


def a_part(id_: str, cluster: str, pods: int = 3) -> NewJob:
    there = replace(workload("web", pods=pods), hints=Hints(clusters=(cluster,)))
    return jobs.new_job(id_, there, ({"kind": "Job"},), NOW, whole="j-whole", said="a part")


async def submitted(hub: Hub, *more: NewJob) -> None:
    def insert(session: Session) -> None:
        jobs.insert_many(session, [(ANN, None, one) for one in (a_whole(), *more)])

    await hub.store.write(insert)


async def loaded(hub: Hub) -> Whole:
    (found,) = await hub.store.read(lambda session: wholes.load(session, ["j-whole"]))
    return found


def a_change(**more: object) -> Change:
    return Change(Phase.STARTING, "0 of 6", replace(ASKED, shares={"eu-a": 3}), **more)  # type: ignore[arg-type]


async def test_parts_bear_the_name_of_their_whole_and_nobody_else_does(hub: Hub) -> None:
    await submitted(hub, a_part("j-1", "eu-a"), a_part("j-2", "us-b"))
    names = {("red", name_of(DIVIDED))}
    assert await hub.store.read(lambda session: jobs.live_names(session, names)) == {
        ("red", name_of(DIVIDED)): "j-whole"
    }
    with pytest.raises(IntegrityError):
        await hub.store.write(lambda session: jobs.insert_many(session, [(ANN, None, a_whole("j-other"))]))


async def test_what_is_asked_for_and_decided_is_read_as_it_was_written(hub: Hub) -> None:
    record = DivisionRecord(
        6, True, {"eu-a": 4, "us-b": 2}, 6, (("code", "message"),), NOW, {"x": Shunned("why", NOW), "y": Shunned("no")}
    )
    assert codec.division_of(codec.dump(record)) == record
    await submitted(hub)
    work = (await loaded(hub)).job
    assert (work.workload.hints.divide, work.division, work.is_whole) == (DIVIDED.hints.divide, ASKED, True)


async def test_people_see_the_whole_and_the_loops_the_parts(hub: Hub) -> None:
    await submitted(hub, a_part("j-1", "eu-a"), a_part("j-2", "us-b"))
    page = await hub.store.read(lambda session: jobs.page(session, ADMIN, JobFilter()))
    assert ([job.id for job in page.jobs], page.total) == (["j-whole"], 1)
    assert (await hub.store.read(lambda session: jobs.by_ref(session, ANN, "web")))[0].id == "j-whole"
    assert (await hub.store.read(lambda session: jobs.by_ref(session, ANN, "j-1")))[0].is_part
    assert sorted(hub.copies.backlog._jobs) == ["j-1", "j-2"]
    assert await hub.store.read(wholes.live_ids) == ("j-whole",)


async def test_a_change_is_written_whole(hub: Hub) -> None:
    await submitted(hub, a_part("j-1", "us-b"))
    seen = await loaded(hub)
    change = a_change(made=(a_part("j-2", "eu-a"),), stopped=("j-1",), said="eu-a 3")
    busy = await hub.store.write(lambda session: wholes.apply(session, seen, change, now=NOW, grace_s=1.0))
    assert busy == ()
    after = await loaded(hub)
    assert [part.id for part in after.live] == ["j-2"]
    assert (after.job.phase, after.job.reason) == (Phase.STARTING, "0 of 6")
    assert after.job.division is not None
    assert after.job.division.shares == {"eu-a": 3}
    history = [one async for one in hub.jobs.events(ANN, after=None, job="j-whole", follow=False)]
    assert [(one.event, one.message) for one in history] == [
        ("submit", "by ann"),
        ("divide", "eu-a 3"),
        ("starting", "0 of 6"),
    ]


async def test_what_has_moved_meanwhile_is_not_changed(hub: Hub) -> None:
    await submitted(hub, a_part("j-1", "us-b"))
    seen = await loaded(hub)
    await hub.store.write(lambda session: jobs.insert_many(session, [(ANN, None, a_part("j-2", "eu-a"))]))
    change = a_change(stopped=("j-1",), said="nothing")
    assert await hub.store.write(lambda session: wholes.apply(session, seen, change, now=NOW, grace_s=1.0)) is None
    after = await loaded(hub)
    assert ([part.id for part in after.live], after.job.phase) == (["j-1", "j-2"], Phase.QUEUED)


async def test_cancelled_before_anything_was_made_of_it(hub: Hub) -> None:
    await submitted(hub)
    await hub.jobs.cancel(ANN, "j-whole")
    work = (await loaded(hub)).job
    assert (work.phase, work.finished_at is not None) == (Phase.CANCELLED, True)
    assert await hub.store.read(wholes.live_ids) == ()
    await hub.store.write(lambda session: jobs.insert_many(session, [(ANN, None, a_whole("j-again"))]))


async def test_whoever_stops_jobs_stops_a_divided_one_whole(hub: Hub) -> None:
    """As a CronJob does with its runs."""
    await submitted(hub, a_part("j-1", "eu-a"))
    other = jobs.new_job("j-other", workload("other"), ({"kind": "Job"},), START_OF_TIME)
    await hub.store.write(lambda session: jobs.insert_many(session, [(ANN, None, other)]))
    await hub.store.write(lambda session: wholes.stop(session, ["j-whole", "j-other"], "replaced", NOW, 1.0))
    assert (await loaded(hub)).job.phase is Phase.CANCELLED
    assert (await hub.jobs.show(ANN, "j-other")).phase is Phase.CANCELLED
    assert (await hub.jobs.show(ANN, "j-1")).phase is Phase.CANCELLED


async def test_what_is_in_its_secrets_is_blanked_when_the_whole_has_ended(hub: Hub) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"key": "cGFzc3dvcmQ="}}
    whole = jobs.new_job("j-whole", DIVIDED, (secret, {"kind": "Job"}), START_OF_TIME, whole="j-whole", division=ASKED)
    await hub.store.write(lambda session: jobs.insert_many(session, [(ANN, None, whole)]))
    await hub.jobs.cancel(ANN, "j-whole")
    stored = await hub.store.read(lambda session: jobs.objects_of(session, ["j-whole"]))
    assert "cGFzc3dvcmQ=" not in str(stored)
